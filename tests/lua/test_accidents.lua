-- Mistakes and accidents of the author of an experiment, before, during and after its runs. Others
-- are in test_mistakes, test_user_functions, test_stale and test_settings.

local t = require "harness"
local experiment = require "flowmap.experiment"
local files = require "flowmap.base.files"
local fm = require "flowmap"
local own_files = require "own_experiment"
local record = require "flowmap.runs.record"
local sandbox = require "sandbox"

local root = sandbox.root

local HEAD = [[
local fm = require "flowmap"
local own = { name = "own", methods = { "lsd" } }
own.settings = { width = 8, depth = 1, batch = 16, micro = 16, steps = 2, eval_samples = 500,
  nfe = { 1, 2 }, log_every = 1 }
own.profiles = { smoke = {} }
]]

local function load(lines) return own_files.load(HEAD .. lines .. "\nreturn own\n") end

local function run(it, set, dir, how)
  dir = dir or ("%s/run%d"):format(root, own_files.count)
  fm.run.run(it, experiment.resolve(it, { profile = "smoke", set = set }), dir, how)
  return dir
end

local function refused(lines, pattern, set)
  local err = t.raises(function() run(load(lines), set) end, pattern)
  t.eq(err.code, "usage", pattern)
end

-- ------------------------------------------------------------------ silent wrong results

t.test("an unknown setting is not nil for an experiment's own part", function()
  local net = [[own.nets = { mine = { options = { gain = 2 }, new = function(cfg)
    local net = {}
    function net.init(rng) return { a = rng({ 2, 2 }, "lecun") } end
    function net.v(p, s, t, x) return fm.matmul(x, p.a) * (cfg.%s or 2) end
    return net
  end } }
  own.settings.net = "mine"]]
  refused(net:format "gian", "this run has no setting 'gian'; did you mean gain")
  run(load(net:format "gain"))
  refused('own.metrics = { m = function(_, context) return context.cfg.bin or 1 end }',
    "no setting 'bin'")
  refused('own.methods = { "m" } own.losses = { m = function(a) return '
    .. "fm.losses.norm2(a.map:b(a.t, a.x) - a.dx) * (a.cfg.scale or 1) end }", "no setting 'scale'")
end)

t.test("Lua's own generator gives the same numbers in every process", function()
  local lines = [[
  local at_load = math.random()
  own.data = { d = { dim = 2, sd = 1, sample = function(b)
    return b:normal({ 2 }, "d") * (0.95 + 0.1 * math.random())
  end } }
  own.settings.data = "d"
  own.metrics = { m = function() return math.random() + at_load end }]]
  local function results(state)
    math.randomseed(state) -- it differs between processes
    local dir = run(load(lines))
    return fm.sha256(files.read(dir .. "/data.npy")), record.need(dir, "eval").rows
  end
  local a, rows = results(1)
  local b, again = results(2)
  t.eq({ a, rows }, { b, again })
end)

t.test("trials before a run leave no trace in a loss that draws by Lua's generator", function()
  local lines = [[own.methods = { "m" } own.losses = { m = function(a)
    return fm.losses.norm2(a.map:b(a.t, a.x) - a.dx) * (1 + math.random()) end }]]
  local rehearse = require "flowmap.runs.rehearse"
  local check = rehearse.check
  local first = files.read(run(load(lines)) .. "/metrics.jsonl")
  rehearse.check = function(...) math.random() return check(...) end
  local second = files.read(run(load(lines)) .. "/metrics.jsonl")
  rehearse.check = check
  t.eq(second, first)
end)

t.test("a mass that agrees with the samples only on a coarse grid",
  function()
    local lines = [[
    local normal = require "flowmap.normal"
    own.data = { d = { dim = 1, sd = 1, range = { -5, 5 }, mass = function(a, b)
      return b - a < 0.1 and 0 or normal.between(a, b)
    end, sample = function(b) return b:normal({ 1 }, "d") end } }
    own.settings.data = "d"]]
    refused(lines, "512 bins per axis, added up to 64, differ by 2%.0", { bins = 512 })
    run(load(lines)) -- 64 bins
    run(load(lines), { bins = 48 })
  end)

t.test("inside must return true or false for every sample, not only for the first", function()
  refused([[own.data = { d = { dim = 2, sd = 1, inside = function(x)
      if x > 1 then return 0 end
      return true
    end, sample = function(b) return b:normal({ 2 }, "d") end } }
    own.settings.data = "d"]], "inside of the data set returned a number")
end)

t.test("data without spread are refused before the first step, not by an infinite loss", function()
  refused("", "has the standard deviation 0 %(dataset_size is 1%)", { dataset_size = 1 })
  run(load "", { dataset_size = 1, sigma = 1 })
end)

t.test("a metric that returns different names at another N", function()
  refused("own.metrics = { m = function(_, context) return { [\"n\" .. context.N] = 1 } end }",
    "metric 'm' returned m_n2 at N = 2, but m_n1 before")
end)

-- ------------------------------------------------------------------ work lost

local LATE = [[
local calls = 0
own.metrics = { m = function()
  calls = calls + 1
  if calls > 1 then %s end
  return 1
end }]]

local function accept(dir, path)
  require("flowmap.runs.accept").run { run = dir, why = "the metric alone", experiment = path }
end

for what, failure in pairs { ["an error"] = 'error("late")', ["not a number"] = "return 0 / 0" } do
  t.test("a metric fails after the training (" .. what .. "): once fixed, it is only evaluated",
    function()
      local it = load(LATE:format(failure))
      local dir = root .. "/late"
      t.raises(function() run(it, {}, dir) end, what == "an error" and "late" or "finite number")
      t.eq(files.exists(dir .. "/diverged.json"), false)
      for key in pairs(record.need(dir, "inputs")) do
        t.eq(key:find "^variable" or key:find "^exists", nil, "what recording looks at: " .. key)
      end
      fm.write_file(it.path, (files.read(it.path):gsub("if calls.-end", "")))
      it = experiment.load(it.path)
      local trained = fm.sha256(files.read(dir .. "/checkpoint.safetensors"))
      t.raises(function() run(it, {}, dir, { resume = true }) end,
        "declare by flowmap accept that the change does not matter")
      accept(dir, it.path)
      t.raises(function() run(it, {}, dir) end, "holds this run, interrupted: %-%-resume continues")
      run(it, {}, dir, { resume = true })
      t.eq(fm.sha256(files.read(dir .. "/checkpoint.safetensors")), trained)
      t.eq(record.need(dir, "eval").rows[2].m, 1)
      local cfg = experiment.resolve(it, { profile = "smoke", set = {} })
      local decision, why = fm.cache.decide(dir, fm.cache.inputs(it, cfg))
      t.eq({ decision, why:find "but what was accepted" ~= nil }, { "reuse", true })
      local words = require("flowmap.runs.accept").words(record.need(dir, "accepted"))
      t.eq(words[1]:find "the metric alone %(experiment changed" ~= nil, true, words[1])
      fm.write_file(it.path, files.read(it.path) .. "-- no change\n")
      accept(dir, it.path) -- a result, as before, so that there is nothing to accept
      os.execute("rm -rf " .. files.quote(dir))
    end)
end

t.test("accept refuses diverged runs and runs without a checkpoint", function()
  local dir = run(load "")
  os.remove(dir .. "/manifest.json")
  record.write(dir, "diverged", { step = 1, message = "x", files = {} })
  t.raises(function() accept(dir) end, "diverged; only a result or an interrupted run")
  os.remove(dir .. "/diverged.json")
  os.remove(dir .. "/checkpoint.safetensors")
  t.raises(function() accept(dir) end, "is not finished and has no checkpoint to go on from")
end)

-- The decision about a run of an experiment's file as it is now.
local function decided(path, dir)
  local it = experiment.load(path)
  return fm.cache.decide(dir, fm.cache.inputs(it, experiment.resolve(it, { profile = "smoke",
    set = {} })))
end

t.test("a change is accepted and then taken back: the run's own inputs count, no work is lost",
  function()
    local it, dir = load "own.metrics = { m = function() return 1 end }", root .. "/back"
    run(it, {}, dir)
    local text = files.read(it.path)
    local function accept_and_take_back()
      fm.write_file(it.path, (text:gsub("return 1", "return 2")))
      accept(dir, it.path)
      fm.write_file(it.path, text)
    end
    accept_and_take_back()
    local action, why = decided(it.path, dir)
    t.eq({ action, why:find "accepted" }, { "reuse" })
    os.remove(dir .. "/accepted.json")
    os.remove(dir .. "/manifest.json") -- as if it had been interrupted
    accept_and_take_back()
    t.eq((decided(it.path, dir)), "run")
    run(experiment.load(it.path), {}, dir)
    local aside = files.folders(dir .. "-outdated")
    t.eq(#aside, 1)
    t.eq(files.exists(("%s-outdated/%s/checkpoint.safetensors"):format(dir, aside[1])), true)
  end)

t.test("a run that another process makes in the folder during the rehearsal is left as it is",
  function()
    local made, dir = run(load ""), root .. "/meanwhile"
    local it = load(("own.metrics = { m = function() os.execute [[cp -a %s %s]] return 1 end }")
      :format(made, dir))
    local err = t.raises(function() run(it, {}, dir) end, "another process has made a run there")
    t.eq({ err.code, (decided(load("").path, dir)) }, { "usage", "reuse" })
  end)

t.test("a run of another seed is put aside where the grid lost its value, only then", function()
  local it, said, base = load 'own.grid = { { stop = "default" } }', {}, experiment.base
  experiment.base = root .. "/results"
  local planned = experiment.runs(it, "smoke", { 2 })[1]
  fm.run.run(it, planned.cfg, planned.dir)
  local function prepare()
    require("flowmap.app.due").prepare(function(...) said[#said + 1] = string.format(...) end,
      { experiments = { it.path }, profile = "smoke", seeds = { 1 }, dry_run = true })
    return table.concat(said)
  end
  t.eq(prepare(), "", "default is a name of the run's stop")
  fm.write_file(it.path, (files.read(it.path):gsub("{ { stop.-} }", '{ stop = { "none" } }')))
  t.eq(prepare():find "lsd%-stop=convex%-seed2 would be .-: the experiment has no such run now"
    ~= nil, true)
  experiment.base = base
end)

-- ------------------------------------------------------------------ first contact

t.test("an experiment without the default profile", function()
  local err = t.raises(function() experiment.resolve(load "", {}) end,
    "has no profile 'laptop', which is taken where %-%-profile names none; it has: smoke")
  t.eq(err.code, "usage")
end)

t.test("integers that records cannot hold exactly are refused as settings", function()
  refused("own.options = { n = 1 }", "n must be from %-2%^53 to 2%^53, found 9007199254740993",
    { n = (1 << 53) + 1 })
end)

t.test("lists of texts that would be written alike, and profiles named as other folders", function()
  local fields = "own.options = { words = { 'a', 'b' } } own.profiles = { ['%s'] = { words = %s } }"
  own_files.load(HEAD .. fields:format("smoke-1", "{ 'a' }") .. " return own")
  for list, fault in pairs { ["{ 'a,b' }"] = "holds a comma", ["{ '' }"] = "is empty" } do
    t.raises(function() load(fields:format("smoke", list)) end, "words must be a line of text, .*"
      .. fault)
  end
  for _, ending in ipairs { "-own", "-stages", "-outdated" } do
    t.raises(function() load(fields:format("smoke" .. ending, "{ 'a' }")) end, "has the ending '"
      .. ending:gsub("-", "%%-"))
  end
end)

t.test("params and explain of an experiment that trains no flow map", function()
  local commands = require "flowmap.app.commands"
  for _, name in ipairs { "params", "explain" } do
    local err = t.raises(function()
      commands[name] { experiment = "experiments/classifier.lua", profile = "smoke", set = {} }
    end, "classifier.lua trains no flow map; `" .. name .. "` describes the training step of one")
    t.eq(err.code, "usage")
  end
end)

-- ------------------------------------------------------------------ grids and names

-- The runs of a grid of an experiment's own option.
local function runs(lines)
  local it = load("own.options = { o = " .. lines)
  return experiment.runs(it, "smoke", { 1 })
end

t.test("grid values that cannot be file names have distinct folders", function()
  local seen = {}
  for _, one in ipairs(runs '"a" } own.grid = { o = { "a b", "a/b", "a_b", "../b" } }') do
    t.eq(seen[one.dir], nil, one.dir)
    seen[one.dir] = true
  end
  t.eq(seen["results/own/smoke/lsd-o=a_b-seed1"], true, "one is its own name")
  local long = runs(('"a" } own.grid = { o = { "%s", "%s2" } }'):format(("x"):rep(300),
    ("x"):rep(300)))
  t.eq(#long[1].dir < 200 and long[1].dir ~= long[2].dir, true, long[1].dir)
end)

t.test("grids of true and false and of lists are rendered", function()
  local results = require "flowmap.report.results"
  for values, expected in pairs { ["true } own.grid = { o = { true, false } }"] = { false, true },
    ["{ 1, 2 } } own.grid = { o = { { 1, 2 }, { 3 } } }"] = { "1,2", "3" },
    ['{ "a" } } own.grid = { o = { { "b" }, { "a", "c" } } }'] = { "a,c", "b" } } do
    local set = root .. "/set"
    for k, one in ipairs(runs(values)) do
      fm.run.run(one.experiment, one.cfg, ("%s/run%d"):format(set, k))
    end
    local found = results.open(set)
    t.eq(found:distinct "o", expected)
    for _, value in ipairs(expected) do t.eq(#found:select({ o = value }).runs, 1) end
    t.eq(#require("flowmap.report.table").grid(found, { metric = "kl", N = 1, rows = { "method" },
      column = "o", title = "x" }).columns, 2)
    os.execute("rm -rf " .. files.quote(set))
  end
end)

t.test("two experiments with the same name are not reproduced together", function()
  local a, b = load "", load ""
  local err = t.raises(function()
    require("flowmap.app.reproduce").run { profile = "smoke", experiments = { a.path, b.path },
      dry_run = true }
  end, "both have a run in results/own/smoke/lsd%-seed1; give the experiments different names")
  t.eq(err.code, "usage")
end)

t.test("names that differ only in capitals", function()
  local loss = "function(a) return fm.losses.norm2(a.map:b(a.t, a.x) - a.dx) end"
  refused("own.losses = { My = " .. loss .. ", my = " .. loss .. " }",
    "there is already a '[Mm]y', and names that differ only in capitals are the same")
  refused("own.losses = { LSD = " .. loss .. " }", "there is already a 'lsd'")
end)

t.test("a metric's whole number is recorded, however large", function()
  local dir = run(load "own.metrics = { m = function() return math.mininteger end }")
  t.eq(record.need(dir, "eval").rows[1].m, -2^63)
end)

t.test("unknown options of programs, optimisers and random numbers", function()
  local x, w = fm.ones { 4, 2 }, { fm.ones { 2 } }
  local function twice(_, b) return { rows = { y = b.rows.x * 2 } } end
  local spec = { rows = { x = { 2 } }, micro = 2 }
  local p = fm.program(twice, spec)
  p:run { rows = { x = x }, batch = 4, seed = 1, step = 0, shared = {}, reuse = true }
  for pattern, f in pairs {
    ["no field 'mirco'; did you mean micro"] = function()
      fm.program(twice, { rows = { x = { 2 } }, mirco = 2 })
    end,
    ["unknown precision 'bfloat61'; did you mean bfloat16"] = function()
      fm.program(twice, { rows = { x = { 2 } }, precision = "bfloat61" })
    end,
    ["run: there is no field 'sede'"] = function()
      p:run { rows = { x = x }, batch = 4, sede = 1 }
    end,
    ["optimiser: there is no field 'weight_deacy'"] = function()
      fm.optimiser { kind = "adamw", params = w, weight_deacy = 0.1 }
    end,
    ["the field 'dtpye' found, expected seed, stream"] = function()
      fm.normal({ 2 }, { seed = 1, stream = "x", dtpye = "float64" })
    end,
    ["the field '%?' found"] = function() fm.uniform({ 2 }, { "x" }) end,
  } do
    t.eq(t.raises(f, pattern).code, "usage", pattern)
  end
end)

t.done()
