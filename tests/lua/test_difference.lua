-- The command `diff`: settings, inputs, results, traces and states of two runs, with known answers.

local t = require "harness"
local cache = require "flowmap.runs.cache"
local checkpoint = require "flowmap.checkpoint"
local core = require "flowmap.core"
local difference = require "flowmap.runs.difference"
local edit = require("made_run").edit
local files = require "flowmap.base.files"
local fm = require "flowmap"
local record = require "flowmap.runs.record"
local sandbox = require "sandbox"

local flowmap, root = sandbox.flowmap, sandbox.root

local SET = "--profile smoke --set width=8 --set depth=1 --set steps=20 --set log_every=5 "
  .. "--set batch=32 --set micro=16 --set eval_samples=200 --set nfe=1,2 --set bins=4 "
  .. "--set kl_estimates=false --set schedule=sqrt --set decay_start="

-- The learning rate falls behind step 10 + 1 of the one, behind 14 + 1 of the other.
for _, start in ipairs { "10", "14" } do
  local code, said = flowmap(("run %s/experiments/checkerboard.lua %s%s --out %s"):format(
    sandbox.here, SET, start, start))
  t.eq(code, 0, said)
end
local early, late = root .. "/10", root .. "/14"

local copies = 0

local function copy(from)
  copies = copies + 1
  local dir = ("%s/copy%d"):format(root, copies)
  files.mkdir(dir)
  for _, name in ipairs(files.below(from)) do
    core.write_file(dir .. "/" .. name, files.read(from .. "/" .. name))
  end
  return dir
end

local function seal(dir)
  edit(dir, "manifest", function(it)
    it.inputs_hash, it.files = cache.hash(record.read(dir, "inputs")), record.checksums(dir)
  end)
end

local function compared(a, b)
  local lines = {}
  local same = difference.compare(a, b, function(line) lines[#lines + 1] = line end)
  return same, table.concat(lines)
end

t.test("a run and its copy have the same results, with exit code 0", function()
  local code, said = flowmap(("diff %s %s/"):format(early, copy(early)))
  t.eq(code, 0, said)
  t.has(said, "settings  the same\ninputs    the same sources, data and numerics\n"
    .. "results   the same\nsamples   the same\ntrace     the same 4 lines\n"
    .. "states    same bits until step 20, the last of both chains\nthe results are the same\n")
end)

t.test("one setting that acts late: same bits until the step at which it acts", function()
  local code, said = flowmap(("diff %s %s"):format(early, late))
  t.eq(code, 1, said)
  t.has(said, "settings  decay_start: 10 -> 14\ninputs    the same")
  t.has(said, "trace     the first line that differs is line 3, step 15\n")
  t.has(said, ("lr: %.10g -> 0.002"):format(0.002 * math.sqrt(10 / 14)))
  t.has(said, "states    same bits until step 11; other bits at step 12\n")
  t.has(said, "samples-N1.npy has other bits")
  t.has(said, "the results differ\n")
end)

t.test("the first tensor that differs, with its largest difference", function()
  local _, said = compared(early, late)
  local a = checkpoint.load(early .. "/state-12.safetensors").tensors
  local b = checkpoint.load(late .. "/state-12.safetensors").tensors
  local first
  for _, name in ipairs(require("flowmap.tree").keys(a)) do
    if name:find "^params" and a[name]:bytes() ~= b[name]:bytes() then
      first = name
      break
    end
  end
  local far = fm.max_reduce(fm.abs(a[first] - b[first])):item()
  t.has(said, ("  %s, float32 ("):format(first))
  t.has(said, ("values differ, by at most %.3g ("):format(far))
end)

t.test("without states at that step, the next one that both kept, or a sentence", function()
  local other = copy(late)
  os.remove(other .. "/state-12.safetensors")
  local _, said = compared(early, other)
  t.has(said, "same bits until step 11; other bits at step 12")
  t.has(said, "at step 13, ")
  for k = 1, 20 do os.remove(("%s/state-%d.safetensors"):format(other, k)) end
  t.has(select(2, compared(early, other)), "at step 20, ")
  os.remove(other .. "/checkpoint.safetensors")
  t.has(select(2, compared(early, other)), "no state that both runs kept is left")
end)

t.test("one number of the results: that number, and no other difference", function()
  local other = copy(early)
  local was
  edit(other, "eval", function(it)
    was = it.rows[2].kl
    it.rows[2].kl = was + 0.25
  end)
  seal(other)
  local same, said = compared(early, other)
  t.eq(same, false)
  t.has(said, ("results   N = 2 kl: %.10g -> %.10g (+0.25)\nsamples   the same"):format(was,
    was + 0.25))
end)

t.test("inputs that differ are named; results that are the same stay the same", function()
  local other = copy(early)
  edit(other, "inputs", function(it)
    it["module flowmap.step"] = "code " .. ("0"):rep(64)
    it["setting save_every"] = "7"
    it.fingerprint = it.fingerprint:gsub("^%x%x%x", "000"):gsub(" %w+ ", " abacus ")
  end)
  seal(other)
  local same, said = compared(early, other)
  t.eq(same, true, said)
  t.has(said, "settings  save_every: absent -> 7\n")
  t.has(said, "-> abacus")
  t.has(said, "flowmap.step changed\n")
end)

t.test("an interrupted run beside a finished one: the trace as far as it goes", function()
  local other = copy(early)
  os.remove(other .. "/manifest.json")
  os.remove(other .. "/eval.json")
  for _, kind in ipairs { "metrics", "chain" } do
    local text = files.read(("%s/%s.jsonl"):format(other, kind))
    core.write_file(("%s/%s.jsonl"):format(other, kind), text:match '^.-"step": 10}\n' .. '{"cut')
  end
  local same, said = compared(early, other)
  t.eq(same, false)
  t.has(said, other .. " is not finished")
  t.has(said, ("the same for 2 lines; %s goes on for 2 more"):format(early))
  t.has(said, "same bits until step 10, the last of both chains")
end)

t.test("diverged runs, older runs without a chain, and folders that hold no run", function()
  local function diverged(step)
    local dir = copy(early)
    os.remove(dir .. "/manifest.json")
    record.write(dir, "diverged", { step = step, message = "not finite", files = {} })
    return dir
  end
  local a, b = diverged(21), diverged(22)
  t.has(select(2, compared(a, b)), "results   diverged at: 21 -> 22 (+1)")
  t.eq((compared(a, a)), true)
  os.remove(a .. "/chain.jsonl")
  t.has(select(2, compared(a, b)), "states    not compared: a run has no chain.jsonl")
  local code, said = flowmap "diff nowhere 10"
  t.eq(code, 2)
  t.has(said, "diff: there is no run at nowhere")
  core.write_file(b .. "/config.json", "{}")
  code, said = flowmap("diff 10 " .. b)
  t.eq(code, 3)
  t.has(said, "config.json is damaged")
end)

t.done()
