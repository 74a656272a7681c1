-- A foreign file is data, never code: what a checkpoint's metadata may and may not contain.

local t = require "harness"
local fm = require "flowmap"
local experiment = require "flowmap.experiment"
local files = require "flowmap.base.files"
local json = require "flowmap.base.json"
local sandbox = require "sandbox"

local work, write = sandbox.root, sandbox.write

-- The program's exit code and output.
local function flowmap(line, folder)
  return sandbox.run(("cd %s && %s %s"):format(folder or ".", sandbox.program, line))
end

local board = experiment.load "experiments/checkerboard.lua"
local cfg = experiment.resolve(board, { profile = "smoke", set = { width = 8, depth = 1 } })
local job = fm.trainer.new(board, cfg)
fm.checkpoint.save(work .. "/good.safetensors", job, { step = 0 })
local tensors, meta = fm.load_safetensors(work .. "/good.safetensors")

-- A checkpoint whose metadata differ; `settings` are changed in its config.
local function forge(name, changed, settings)
  local out, config = {}, json.decode(meta.config)
  for key, value in pairs(meta) do out[key] = value end
  for key, value in pairs(settings or {}) do config[key] = value end
  out.config = json.encode(config)
  for key, value in pairs(changed or {}) do out[key] = value or nil end
  fm.save_safetensors(("%s/%s.safetensors"):format(work, name), tensors, out, false)
end

local SAMPLE = "sample %s.safetensors --count 8 --out x.npy %s"

local function sample(name, more) return flowmap(SAMPLE:format(name, more or "")) end

write("evil.lua", ("io.open('%s/executed', 'w'):close() return { name = 'evil', profiles = {} }")
  :format(work))

t.test("a checkpoint never runs the file that it names", function()
  local absolute = work .. "/evil.lua"
  local pinned = require("flowmap.runs.source").today(absolute, "experiment")
  for _, path in ipairs { absolute, "evil.lua", "./evil.lua" } do
    forge("evil", { experiment = path, code = false })
    t.eq(sample "evil", 0)
    forge("evil", { experiment = path, code = json.encode { own_net = true,
      experiment = { path = path, hash = pinned, loads = {} } } })
    local code, text = sample "evil"
    t.eq(code, 2, text)
    t.eq(text:find("a checkpoint never loads code, so name that file by --experiment", 1, true)
      ~= nil, true, text)
    code = flowmap(("run %s/experiments/checkerboard.lua --profile smoke --set steps=2 "
      .. "--set teacher=evil.safetensors --out evil"):format(require("lfs").currentdir()))
    t.eq(code, 3)
    t.eq(files.exists(work .. "/executed"), false, path)
  end
end)

t.test("names in a checkpoint are never paths, settings have their types and ranges", function()
  local function fails(pattern, settings, changed)
    forge("bad", changed, settings)
    local code, text = sample "bad"
    t.eq(code, 3, text)
    t.eq(text:find(pattern) ~= nil, true, text)
    t.eq(select(2, text:gsub("\n", "")), 1, text)
  end
  write("mlp.lua", ("io.open('%s/executed', 'w'):close()"):format(work))
  for _, net in ipairs { "../../mlp", "mlp.lua", "/tmp/mlp", "nets.mlp", "", "init" } do
    fails("net", { net = net })
  end
  for _, key in ipairs { "data", "method", "interpolant", "times", "stop" } do
    fails("must be a name", { [key] = "../x" })
    fails("must be a", { [key] = 5 })
  end
  t.eq(files.exists(work .. "/executed"), false)
  fails("ema must be a list of numbers, found a number", { ema = 0.9 })
  fails("ema must be", { ema = { 2 } })
  fails("width must be a whole number", { width = "8" })
  fails("width must be from 1 to 65536", { width = -1 })
  fails("unknown setting 'widht'", { widht = 1 })
  fails("schedule must be one of [^\27]*, found %?%[31mred", { schedule = "\27[31mred" })
  fails("depth must be from 1 to 1024", { depth = 1 << 40 })
  fails("num_blocks must be from 1 to 1024", { net = "edm2", shape = { 8, 8, 3 }, dim = 192,
    num_blocks = 1 << 40 })
  fails("fewer tensors", { depth = 900 })
  fails("shape", { width = 1 << 16 })
  fails("what a sample is", { shape = { 1 << 52, 4, 4 } })
  fails("what a sample is", { dim = 3 })
  fails("type float32, expected float64", { dtype = "float64" })
  fails("not a checkpoint", nil, { step = "1.5" })
  fails("not a checkpoint", nil, { config = "[1, 2" })
  fails("not a checkpoint", nil, { format = "other" })
  fails("damaged", nil, { config = "[1, 2]" })
  fails("damaged", nil, { code = "{}" })
  fails("the field metrics is missing", nil, { state = '{"sums": {"count": -1}}' })
  t.eq(sample "good", 0)
end)

local OWN = [[
  local fm = require "flowmap"
  local t = { name = "own", title = "Own", profiles = { smoke = { data = "points", net = "line",
    steps = 3, batch = 16, width = 4, eval_samples = 200, nfe = { 1 } } } }
  t.nets = { line = function(cfg)
    return { init = function(rng) return { w = rng({ cfg.dim, cfg.dim }, "lecun") } end,
      v = function(p, _, _, x) return fm.sin(fm.matmul(x, p.w)) * 1 end }
  end }
  t.data = { points = { dim = 2, sd = 1, sample = function(b) return b:normal({ 2 }, "data") end } }
  return t
]]

t.test("an experiment's own network: named by the user, with the pinned code",
  function()
    write("own.lua", OWN)
    local own = experiment.load(work .. "/own.lua")
    local it = fm.trainer.new(own, experiment.resolve(own, { profile = "smoke" }))
    fm.checkpoint.save(work .. "/own.safetensors", it, { step = 0 })
    local code, text = sample "own"
    t.eq(code, 2, text)
    t.eq(text:find("of the experiment own.lua", 1, true) ~= nil, true, text)
    t.eq(sample("own", "--experiment own.lua"), 0)
    write("own.lua", "-- a comment\n" .. OWN) -- its meaning is the same
    t.eq(sample("own", "--experiment own.lua"), 0)
    write("own.lua", (OWN:gsub("%* 1 end", "* 2 end")))
    code, text = sample("own", "--experiment own.lua")
    t.eq(code, 3, text)
    t.eq(text:find "has changed since the training, or is another one" ~= nil, true, text)
    write("own.lua", "io.open('executed', 'w'):close() " .. OWN) -- not even loaded
    t.eq(sample("own", "--experiment own.lua"), 3)
    t.eq(files.exists(work .. "/executed"), false)
    code, text = sample("own", "--experiment nothing.lua")
    t.eq(code, 2, text)
  end)

t.test("helpers of an own network are also pinned, wherever the program is started", function()
  files.mkdir(work .. "/lib")
  files.mkdir(work .. "/elsewhere")
  local text = OWN:gsub("%* 1 end", "* factor end"):gsub("local fm = ",
    ("local factor = dofile '%s/lib/factor.lua' %%0"):format(work))
  write("helped.lua", text)
  write("lib/factor.lua", "return 1")
  local code, out = flowmap "run helped.lua --profile smoke --set checkpoints=2 --out helped"
  t.eq(code, 0, out)
  for _, name in ipairs { "checkpoint", "weights-1" } do
    local line = ("sample ../helped/%s.safetensors --count 8 --out x.npy "):format(name)
    code, out = flowmap(line, "elsewhere")
    t.eq(code, 2, out)
    t.eq(out:find("of the experiment helped.lua", 1, true) ~= nil, true, out)
    line = line .. "--experiment ../helped.lua"
    code, out = flowmap(line, "elsewhere")
    t.eq(code, 0, out)
    write("lib/factor.lua", "-- one\nreturn 1")
    t.eq(flowmap(line, "elsewhere"), 0)
    write("lib/factor.lua", "return 2")
    code, out = flowmap(line, "elsewhere")
    t.eq(code, 3, out)
    t.eq(out:find "lib/factor.lua, which .-helped.lua loads, has the hash %x+; pinned is %x+"
      ~= nil, true, out)
    write("lib/factor.lua", "return 1")
  end
end)

t.test("a teacher's network comes from the running experiment, if it is the pinned code", function()
  write("own.lua", OWN)
  local teacher = work .. "/own.safetensors"
  local own = experiment.load(work .. "/own.lua")
  local function make(it, set)
    set.teacher = teacher
    return fm.trainer.new(it, experiment.resolve(it, { profile = "smoke", set = set }))
  end
  t.eq(make(own, {}).teacher_net ~= nil, true)
  local err = t.raises(function() make(board, {}) end, "teacher_experiment=FILE names the right")
  t.eq(err.code, "data")
  t.eq(make(board, { teacher_experiment = work .. "/own.lua" }).teacher_net ~= nil, true)
end)

t.done()
