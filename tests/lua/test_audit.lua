-- The command `audit`: an honest run passes, and whatever is changed in one is found, also by a
-- forger who corrects all checksums.

local t = require "harness"
local audit = require "flowmap.runs.audit"
local cache = require "flowmap.runs.cache"
local chain = require "flowmap.runs.chain"
local edit = require("made_run").edit
local files = require "flowmap.base.files"
local fm = require "flowmap"
local json = require "flowmap.base.json"
local record = require "flowmap.runs.record"
local sandbox = require "sandbox"

local flowmap, root = sandbox.flowmap, sandbox.root
local honest = root .. "/honest"

local SET = "--set width=8 --set depth=1 --set steps=70 --set log_every=5 --set batch=32 "
  .. "--set micro=16 --set eval_samples=200 --set nfe=1,2 --set bins=4 --set kl_estimates=false"

local code, said = flowmap(("run %s/experiments/checkerboard.lua --profile smoke %s --out %s")
  :format(sandbox.here, SET, honest))
t.eq(code, 0, said)

local function put(path, text) fm.write_file(path, text) end

local copies = 0

-- A copy of the honest run.
local function copy()
  copies = copies + 1
  local dir = ("%s/copy%d"):format(root, copies)
  files.mkdir(dir)
  for _, name in ipairs(files.below(honest)) do
    put(dir .. "/" .. name, files.read(honest .. "/" .. name))
  end
  return dir
end

-- Correct all checksums, as a forger would.
local function seal(dir)
  local manifest = record.read(dir, "manifest")
  manifest.inputs_hash = cache.hash(record.read(dir, "inputs"))
  manifest.files = record.checksums(dir)
  record.write(dir, "manifest", manifest)
end

-- The audit of a run: number of faults, and what was printed.
local function audited(dir, how, today)
  local lines = {}
  local faults, conclusion = audit.audit(dir, { segments = how or 100, today = today,
    experiment = sandbox.here .. "/experiments/checkerboard.lua",
    write = function(text) lines[#lines + 1] = text end })
  return faults, table.concat(lines), conclusion
end

t.test("an honest run passes, whole or in parts", function()
  local faults, words = audited(copy())
  t.eq(faults, 0, words)
  t.eq(select(2, words:gsub("the same bits", "")), 18, words) -- from 0 and from 17 kept states
  t.eq(words:find("the same numbers at N = 1", 1, true) ~= nil, true, words)
  faults, words = audited(copy(), 3)
  t.eq(faults, 0, words)
  t.eq(select(2, words:gsub("the same bits", "")), 3, words)
end)

-- Recompute all links of chain.jsonl, after `change(link)` of each.
local function forge_chain(dir, change)
  local trace, texts = record.lines("metrics", files.read(dir .. "/metrics.jsonl"), dir)
  local before, out = nil, {}
  for k, link in ipairs((record.lines("chain", files.read(dir .. "/chain.jsonl"), dir))) do
    if change then change(link) end
    local kept = {}
    for i, line in ipairs(trace) do
      if line.step <= link.step then kept[i] = texts[i] end
    end
    link.link = chain.link(before, link.step, link.state, fm.sha256(table.concat(kept)))
    before, out[k] = link.link, json.encode(link) .. "\n"
  end
  put(dir .. "/chain.jsonl", table.concat(out))
end

-- Change one byte at the end of a file.
local function touch(path)
  local text = files.read(path)
  put(path, text:sub(1, -2) .. string.char(text:byte(-1) ~ 1))
end

-- Change one weight of a checkpoint, with its own checksums corrected.
local function nudge(path)
  local tensors, meta = fm.load_safetensors(path)
  local name = fm.tree.keys(tensors)[1]
  tensors[name] = tensors[name] + 1e-6
  fm.save_safetensors(path, tensors, meta, false)
end

local function everywhere(dir, key, value, text)
  edit(dir, "config", function(config) config[key] = value end)
  edit(dir, "inputs", function(inputs) inputs["setting " .. key] = text or tostring(value) end)
end

local PLANTED = {
  { "a line of metrics.jsonl", function(dir)
    put(dir .. "/metrics.jsonl", (files.read(dir .. "/metrics.jsonl"):gsub("0%.", "0.1", 1)))
  end, "does not follow from" },
  { "a line of metrics.jsonl and all links", function(dir)
    put(dir .. "/metrics.jsonl", (files.read(dir .. "/metrics.jsonl"):gsub("0%.", "0.1", 1)))
    forge_chain(dir)
  end, "had other lines" },
  { "a link", function(dir)
    local text = files.read(dir .. "/chain.jsonl")
    put(dir .. "/chain.jsonl", (text:gsub('"state": "(%x)', function(digit)
      return '"state": "' .. (digit == "0" and "1" or "0")
    end, 1)))
  end, "does not follow from" },
  { "the end of the chain", function(dir)
    put(dir .. "/chain.jsonl", files.read(dir .. "/chain.jsonl"):match "^(.*\n)[^\n]*\n$")
  end, "but the last is of step 69" },
  { "a state in a chain with all links", function(dir)
    forge_chain(dir, function(link)
      if link.step == 35 then link.state = ("0"):rep(64) end
    end)
  end, "WRONG" },
  { "a kept state", function(dir) nudge(dir .. "/state-36.safetensors") end,
    "does not hold the state of step 36" },
  { "bytes of a kept state", function(dir) touch(dir .. "/state-36.safetensors") end,
    "is damaged" },
  { "the last weights", function(dir) nudge(dir .. "/checkpoint.safetensors") end,
    "the weights are not those of the last link" },
  { "a result", function(dir)
    edit(dir, "eval", function(eval) eval.rows[1].kl = 0.01 end)
  end, "kl is .*, recorded was 0.01" },
  { "a setting of the record", function(dir)
    edit(dir, "config", function(config) config.lr = 0.5 end)
  end, "lr changed from" },
  { "a setting everywhere", function(dir) everywhere(dir, "lr", 0.004) end,
    "is not what was recorded" },
  { "the seed everywhere", function(dir)
    everywhere(dir, "seed", 2)
    edit(dir, "manifest", function(manifest) manifest.seed = 2 end)
  end, "is not what was recorded" },
  { "the data set everywhere", function(dir)
    everywhere(dir, "data", "gaussians")
  end, "WRONG" },
  { "a source", function(dir)
    edit(dir, "inputs", function(inputs)
      inputs["module flowmap.step"] = inputs["module flowmap.step"]:gsub("%x$", "x")
    end)
  end, "flowmap.step changed" },
  { "the method in the manifest", function(dir)
    edit(dir, "manifest", function(manifest) manifest.method = "psd-m" end)
  end, "manifest.json says method = psd%-m" },
}

for _, it in ipairs(PLANTED) do
  t.test("found: " .. it[1] .. ", with all checksums corrected", function()
    local dir = copy()
    it[2](dir)
    seal(dir)
    local faults, words = audited(dir)
    t.eq(faults > 0, true, words)
    t.eq(words:find(it[3]) ~= nil, true, words)
  end)
end

t.test("sources that have changed since: the parts are repeated on demand", function()
  local dir = copy()
  edit(dir, "inputs", function(inputs)
    inputs["module flowmap.step"] = inputs["module flowmap.step"]:gsub("%x$", "x")
  end)
  seal(dir)
  local found = "1 of the checks found a difference: inputs"
  local faults, words, conclusion = audited(dir)
  t.eq({ faults, conclusion, words:find "the same bits" }, { 1, found }, words)
  faults, words, conclusion = audited(dir, 3, true)
  t.eq({ faults, conclusion }, { 1, found
    .. "; it changes nothing in the steps that were repeated" }, words) -- the changed source itself
  t.eq(select(2, words:gsub("the same bits", "")), 3, words)
end)

t.test("found: a changed file whose checksum was not corrected", function()
  local dir = copy()
  touch(dir .. "/samples-N1.npy")
  local faults, words = audited(dir, 0)
  t.eq(faults, 1, words)
  t.eq(words:find("samples-N1.npy: not what was recorded", 1, true) ~= nil, true, words)
end)

t.test("other numerics: the losses are compared, and the audit says so", function()
  local dir = copy()
  edit(dir, "inputs", function(inputs)
    inputs.fingerprint = inputs.fingerprint:gsub("^%x%x%x%x", "0000")
  end)
  seal(dir)
  local faults, words = audited(dir)
  t.eq(faults, 0, words)
  t.eq(words:find "where bits differ, losses are compared" ~= nil, true, words)
  t.eq(select(2, words:gsub("the same bits", "")), 18, words)
  everywhere(dir, "eps", 1e-7, "1e-07") -- as little as other rounding changes
  seal(dir)
  faults, words = audited(dir)
  t.eq(faults, 0, words)
  t.eq(words:find "losses differ by %-?0.00 %% on average" ~= nil, true, words)
  everywhere(dir, "eta", 0.5)
  seal(dir)
  faults, words = audited(dir)
  t.eq(faults > 0, true, words)
end)

t.test("a run without a chain, an unfinished run and no run are refused with the reason", function()
  local dir = copy()
  os.remove(dir .. "/chain.jsonl")
  seal(dir)
  t.raises(function() audited(dir) end, "has no chain.jsonl")
  os.remove(dir .. "/manifest.json")
  t.raises(function() audited(dir) end, "has not ended")
  local status, out = flowmap("audit " .. root .. "/nowhere")
  t.eq(status, 2)
  t.eq(out:find "there is no run at" ~= nil, true, out)
end)

t.test("the command says what it checked, and its exit code is that of a failed check", function()
  local status, out = flowmap("audit --segments 2 " .. honest)
  t.eq(status, 0, out)
  t.eq(out:find "nothing was found that differs from the record\n$" ~= nil, true, out)
  local dir = copy()
  touch(dir .. "/checkpoint.safetensors")
  status, out = flowmap("audit --segments 1 " .. dir)
  t.eq(status, 1, out)
  t.eq(out:find "2 of the checks found a difference: files, result\n$" ~= nil, true, out)
end)

t.done()
