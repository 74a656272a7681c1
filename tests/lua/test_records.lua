-- Records of a run: every byte of every file counts, every field has a type and a range, and a run
-- of a killed process is continued to the same bits.

local t = require "harness"
local files = require "flowmap.base.files"
local json = require "flowmap.base.json"
local lfs = require "lfs"
local made_run = require "made_run"
local record = require "flowmap.runs.record"
local results = require "flowmap.report.results"
local schema = require "flowmap.runs.schema"
local sandbox = require "sandbox"

local work, put = sandbox.root, sandbox.write

t.test("one bit flipped in any file of a finished run is noticed when its set is read", function()
  local root = work .. "/flip"
  local run = root .. "/run"
  local code, said = sandbox.flowmap(("run %s/experiments/checkerboard.lua --profile smoke "
    .. "--set width=4 --set depth=1 --set steps=4 --set log_every=2 --set eval_samples=16 "
    .. "--set nfe=1 --set batch=8 --set bins=2 --out %s"):format(sandbox.here, run))
  t.eq(code, 0, said)
  t.eq(#results.open(root).runs, 1)
  local count, seed = 0, 1
  for name in lfs.dir(run) do
    local path = run .. "/" .. name
    local kept_for_audit = name:find "^state%-" -- the chain of hashes vouches for these
    if lfs.attributes(path, "mode") == "file" and not kept_for_audit then
      local text = files.read(path)
      for _ = 1, math.min(#text, 150) do
        seed = (seed * 1103515245 + 12345) % 2^31 // 1
        local at, bit = seed // 65536 % #text + 1, seed // 256 % 8
        put(path, text:sub(1, at - 1) .. string.char(text:byte(at) ~ 1 << bit) .. text:sub(at + 1))
        local ok, err = pcall(results.open, root)
        t.eq(ok, false, ("%s: bit %d of byte %d was flipped and not noticed"):format(name, bit, at))
        t.eq(err.code, name == ".flowmap" and "usage" or "data", name .. ": " .. tostring(err))
        count = count + 1
      end
      put(path, text)
    end
  end
  t.eq(count > 900, true, count .. " flips")
  t.eq(#results.open(root).runs, 1)
end)

t.test("a sealed record has a unique text", function()
  local text = record.seal { a = 1, b = "x\n" }
  t.eq(record.unseal(text, "f"), { a = 1, b = "x\n" })
  t.eq(json.decode(text).a, 1)
  for _, other in ipairs { text .. " ", " " .. text, (text:gsub(": 1", ":  1")), "", "{}",
    (text:gsub("\n", "\r\n")), text:sub(1, -2), (text:gsub("1", "2", 1)) } do
    t.eq(t.raises(function() record.unseal(other, "f") end, "^f is damaged").code, "data")
  end
  t.raises(function() record.seal { sha256 = "x" } end, "can be sealed")
  t.raises(function() record.seal {} end, "can be sealed")
end)

t.test("equal inputs and results have one id, whenever they were made", function()
  local function id(inputs, eval, history)
    return record.id(inputs, { ["eval.json"] = eval, ["history.jsonl"] = history })
  end
  t.eq(id("a", "b", "c"), id("a", "b", "d"))
  t.eq({ id("a", "b", "c") == id("x", "b", "c"), id("a", "b", "c") == id("a", "x", "c") },
    { false, false })
end)

-- A record with one field replaced.
local function with(value, path, new)
  local copy = json.decode(json.encode(value))
  local at, last = copy, nil
  for name in path:gmatch "[^.]+" do
    if last then at = at[last] end
    last = math.tointeger(tonumber(name)) or name
  end
  at[last] = new
  return copy
end

t.test("types and ranges of fields: file, field, found and expected value", function()
  local dir = work .. "/made"
  made_run.finished(dir, { config = { method = "lsd", seed = 1 }, rows = { { N = 1, kl = 1 } },
    metrics = { { step = 1, samples = 1 } } })
  local nan = 0 / 0
  for _, it in ipairs {
    { "eval", "rows", "x", "rows is \"x\", expected a list" },
    { "eval", "rows.1.N", 0, "rows.1.N is 0, expected a whole number of at least 1" },
    { "eval", "rows.1.N", 1.5, "rows.1.N" }, { "eval", "rows.1.kl", "low", "rows.1.kl is \"low\"" },
    { "eval", "rows.1.kl", nan, "rows.1.kl" }, { "eval", "ema", 2, "ema is 2, expected a number" },
    { "eval", "columns.1.3", "%s", "columns.1.3" },
    { "eval", "columns.1.3", "%.4f%n", "columns.1.3" },
    { "eval", "rule", nil, "rule is missing" }, { "manifest", "isa", 3, "isa is 3, expected text" },
    { "manifest", "files", { a = "b" }, "files.a is \"b\", expected a SHA%-256" },
    { "manifest", "surprise", 1, "surprise is 1, expected no such field" },
    { "manifest", "finished", "today", "finished is \"today\", expected a time" },
    { "manifest", "history.1.step", -1, "history.1.step is %-1" },
    { "config", "seed", "1", "seed is \"1\"" }, { "config", "eta", { x = 1 }, "eta" },
    { "inputs", "version", 1, "version is 1, expected text" },
  } do
    local kind, path, new, pattern = table.unpack(it, 1, 4)
    local good = record.read(dir, kind)
    local bad = new ~= new and good or with(good, path, new)
    if new ~= new then bad.rows[1].kl = new end
    local err = t.raises(function() schema.check(kind, bad, "made/" .. kind) end, pattern)
    t.eq({ err.code, (err.message:find("^made/" .. kind)) }, { "data", 1 })
    t.raises(function() record.write(dir, kind, bad) end, pattern)
  end
end)

t.test("lines: errors state their number; an incomplete last line is ignored", function()
  local good = '{"step":1,"samples":2,"lr":0.1,"loss":1,"diag":1,"grad_norm":1}\n'
  t.eq(#record.lines("metrics", good .. good .. '{"st', "m"), 2)
  for text, pattern in pairs { ["5\n"] = "m, line 2 is not a JSON object: 5$",
    ["\t5\n"] = "m, line 2 is not a JSON object: %?5$",
    ["{}\n"] = "m, line 2: the field grad_norm is missing", ["\n"] = "m, line 2",
    [good:gsub("0.1", "NaN")] = "m, line 2", [good:gsub(":2", ":-2")] = "line 2: the field samples",
    [good:gsub('"loss":1', '"loss":"1"')] = "line 2: the field loss is \"1\"" } do
    t.eq(t.raises(function() record.lines("metrics", good .. text, "m") end, pattern).code, "data")
  end
end)

t.done()
