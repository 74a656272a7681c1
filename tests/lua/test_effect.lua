-- Settings without effect, ranges, the outline of experiments and render lists: refused with the
-- reason before anything runs.

local t = require "harness"
local effect = require "flowmap.experiment.effect"
local experiment = require "flowmap.experiment"
local files = require "flowmap.base.files"
local fm = require "flowmap"
local own_files = require "own_experiment"
local settings = require "flowmap.experiment.settings"
local sandbox = require "sandbox"

local root = sandbox.root

local board = experiment.load "experiments/checkerboard.lua"
local cifar = experiment.load "experiments/cifar10.lua"

local function refused(it, set, pattern, method)
  local err = t.raises(function()
    experiment.resolve(it, { profile = "smoke", method = method, set = set })
  end, pattern)
  t.eq(err.code, "usage", pattern)
end

-- ------------------------------------------------------------------ without effect

t.test("a setting that nothing reads is refused with the reason", function()
  local no = "%-%-set: %s has no effect: "
  local function says(key, why) return no:gsub("%%s", key) .. why end
  refused(board, { classes = 10 }, says("classes", "only the net edm2 reads it, .* net is mlp"))
  refused(board, { guidance = 1.5 }, says("guidance", "classes is 0"))
  refused(board, { mult = { 1 } }, says("mult", "only the net edm2"))
  refused(board, { resolution = 16 }, says("resolution", "the data are points, not images"))
  refused(board, { eta = 1, off_weight = 2 }, says("off_weight", "eta is 1: all samples"))
  refused(board, { eta = 1, robust = 0.1 }, says("robust", "eta is 1"))
  refused(board, { decay_start = 5 }, says("decay_start", ".* the schedule is linear"))
  refused(board, { weight_decay = 0.1 }, says("weight_decay", "the optimiser is radam"))
  refused(board, { teacher = "x" }, says("teacher", "the method psd%-m has no teacher"), "psd-m")
  refused(board, { teacher_experiment = "x" }, says("teacher_experiment", "there is no teacher"))
  refused(cifar, { bins = 32 }, says("bins", "the data are not judged on a grid"))
  refused(cifar, { features = 2 }, says("features", "only the net mlp"))
  refused(cifar, { depth = 2 }, says("depth", "only the net mlp"))
  refused(cifar, { label_dropout = 0.5 }, says("label_dropout", "classes is 0"))
end)

t.test("at eta = 0 a batch of one sample is off-diagonal where the sample gives the velocity",
  function()
    local set = { eta = 0, batch = 1, micro = 1, p = 0.5 }
    refused(board, set, "p has no effect: eta is 0: all samples of a batch are diagonal", "lsd")
    t.eq(experiment.resolve(board, { profile = "smoke", method = "meanflow", set = set }).p, 0.5)
  end)

t.test("with classes a tenth of the labels is dropped, as the chapter says", function()
  local cfg = experiment.resolve(cifar, { profile = "smoke",
    set = { classes = 10, guidance = 1.5 } })
  t.eq({ cfg.label_dropout, cfg.guidance }, { 0.1, 1.5 })
  refused(cifar, { classes = 10, guidance = 1.5, label_dropout = 0 },
    "label_dropout is 0: the null class would never be trained")
end)

local function experiment_of(fields)
  local it = { name = "own", path = "own.lua", methods = { "lsd", "esd" },
    profiles = { smoke = {} } }
  for key, value in pairs(fields) do it[key] = value end
  return it
end

t.test("so is a setting without effect in an experiment; defaults may be stated", function()
  refused(experiment_of { settings = { mult = { 1, 1 } } }, {},
    "own.lua: settings: mult has no effect: only the net edm2")
  refused(experiment_of { profiles = { smoke = { guidance = 2 } } }, {}, "guidance has no effect")
  refused(experiment_of { profiles = { smoke = { by_method = { LSD = { classes = 3 } } } } }, {},
    "by_method lsd: classes has no effect")
  experiment.resolve(experiment_of { settings = { guidance = 1, mult = { 2, 2, 2 } } },
    { profile = "smoke" })
  -- read by one of the methods, so not a fault
  experiment.resolve(experiment_of { methods = { "psd-m", "lsd" },
    profiles = { smoke = { robust = 0.1 } } }, { profile = "smoke" })
  refused(experiment_of { grid = { eta = { 1, 0.5 } }, settings = { off_weight = 2 } }, { eta = 1,
    robust = 1 }, "%-%-set: robust has no effect")
end)

-- The settings that a run reads, as recorded by views of them.
local function read_by_run(it, want)
  local cfg, read = experiment.resolve(it, want), {}
  local job = fm.trainer.new(it, cfg)
  job.cfg = effect.view(job.cfg, read)
  job.program = fm.step.program(job, job.shared)
  fm.trainer.step(job)
  fm.sampler.generator(job, job.params, 1)(2, 0)
  for key in pairs(job.read) do read[key] = true end
  return read, cfg
end

t.test("the declared conditions agree with the code", function()
  local of_part = { width = true, depth = true, time_input = true, features = true,
    model_channels = true, mult = true, num_blocks = true, attention = true,
    off_weight = true, p = true, velocity = true, decay_start = true, label_dropout = true,
    guidance = true }
  for _, case in ipairs {
    { board, {} }, { board, { schedule = "cooldown", decay_start = 10 } }, { board, { eta = 1 } },
    { cifar, { batch = 2, micro = 2 } },
    { cifar, { classes = 10, guidance = 2, batch = 2, micro = 2 } },
  } do
    local it, set = table.unpack(case)
    local read, cfg = read_by_run(it, { profile = "smoke", set = set })
    local loss = fm.losses.find(cfg.method)
    for key in pairs(of_part) do
      local declared = effect.reads(key, it, cfg, loss)
      t.eq(read[key] == true, declared, ("%s of %s, net %s"):format(key, it.name, cfg.net))
    end
  end
end)

local OWN_NET = [[
local fm = require "flowmap"
local own = { name = "own", settings = { net = "mine" }, profiles = { smoke = { batch = 16,
  steps = 2, eval_samples = 2000, nfe = { 1 }, log_every = 1, micro = 16 } } }
own.nets = { mine = function(cfg)
  return {
    init = function(rng) return { w = rng({ 2, cfg.width }, "lecun"), u = rng({ cfg.width, 2 },
      "lecun") } end,
    v = function(p, s, t, x) return fm.matmul(fm.silu(fm.matmul(x, p.w)), p.u) end,
  }
end }
return own
]]

t.test("the settings that an own network reads are recorded in the rehearsal", function()
  local path = root .. "/net.lua"
  fm.write_file(path, OWN_NET)
  local it = experiment.load(path)
  local function run(set)
    local dir = root .. "/net-run"
    local cfg = experiment.resolve(it, { profile = "smoke", set = set })
    local ok, err = pcall(fm.run.run, it, cfg, dir)
    sandbox.run "rm -rf net-run"
    return ok, tostring(err)
  end
  t.eq(run { width = 8 }, true)
  local ok, message = run { depth = 3 }
  t.eq(ok, false)
  t.eq(message:find "depth has no effect: no part of the experiment's own reads it" ~= nil, true,
    message)
  t.eq(select(2, run { dropout = 0.5 }):find "dropout has no effect" ~= nil, true)
  fm.write_file(path, (OWN_NET:gsub("v = function%(p, s, t, x%)", [[v = function(p, s, t, x, extra)
    if extra and extra.dropout then x = extra.dropout(x, "x") end]])))
  it = experiment.load(path)
  t.eq({ run { dropout = 0.5, dropout_off = true } }, { true, "nil" })
end)

-- ------------------------------------------------------------------ ranges

t.test("every number has a finite range", function()
  for _, s in ipairs(settings.list) do
    local key, default = s[1], s[2]
    for _, bad in ipairs { math.huge, -math.huge, 0 / 0, -1, 1 << 62, 1e300 } do
      if type(default) == "number" or type(default) == "table" and type(default[1]) == "number" then
        local err = t.raises(function()
          settings.check(key, type(default) == "table" and { bad } or bad, "--set")
        end, key .. " must be ")
        t.eq(err.code, "usage")
      end
    end
  end
end)

t.test("ranges of the settings in the faults", function()
  refused(board, { lr = settings.parse "1e999" }, "lr must be .* at most 1000, found inf")
  refused(board, { robust = 1e-30 }, "robust must be 0, or from 1e%-06 to 1000000, found 1e%-30")
  refused(board, { batch = 1 << 62 }, "batch must be from 1 to 1073741824")
  refused(board, { width = 1 << 40 }, "width must be from 1 to 65536")
  refused(board, { bins = 1000000000 }, "bins must be from 2 to 2048")
  refused(board, { nfe = { 1, 1 } }, "nfe must be a list of different numbers")
  refused(board, { nfe = { 1000000000 } }, "nfe must be a list of numbers, each from 1 to 4096")
  refused(board, { ema = { 0.1, 0.2, 0.3, 0.4, 0.5 } }, "ema must be a list of at most 4 numbers")
  refused(board, { checkpoints = 61 }, "checkpoints is 61, but there are only 60 steps")
  refused(board, { schedule = "late" }, "decay_start is 35000, but there are only 60 steps")
  refused(board, { net = "mpl" }, "unknown net 'mpl'; did you mean mlp%?")
  refused(board, { width = function() end }, "width must be a whole number .* found a function")
  refused(board, { nfe = { a = 1 } }, "nfe must be a list of numbers .* a table with named fields")
end)

t.test("a loss that is not finite only because of its weight is reported as such", function()
  local own = experiment_of { methods = { "mine" }, settings = { width = 8, depth = 1, batch = 8,
    off_weight = 1 }, losses = {
    mine = function(a) return fm.losses.norm2(a.map:b(a.t, a.x)) end } }
  local job = fm.trainer.new(own, experiment.resolve(own, { profile = "smoke" }))
  job.net.weight = function(_, s) return fm.log(fm.reshape(s, { s.shape[1] }) * 0 - 1) end
  job.program = fm.step.program(job, job.shared)
  t.raises(function() fm.trainer.step(job) end,
    "not finite in the weighted terms %(by p and c, or the net's weight%), samples 1 to 8 of 8")
end)

-- ------------------------------------------------------------------ the outline

local load, bad = own_files.load, own_files.refused

t.test("every field of an experiment is checked for its form", function()
  bad("methods = {}", "methods is an empty list")
  bad("methods = { 'lsd', 'LSD' }", "names the method lsd twice")
  bad("methods = { 'sld' }", "unknown method 'sld'")
  bad("methods = { 3 }", "methods must be a list of methods, found a number")
  bad("methods = { a = 'lsd' }", "methods must be a list of methods")
  bad("profiles = {}", "profiles is empty")
  bad("profiles = { laptop = 5 }", "profile laptop must be a table of settings, found a number")
  bad("profiles = { ['a/b'] = {} }", "a profile is named by")
  bad("profiles = { smoke = { methods = 'lsd' } }", "profile smoke, methods must be a list")
  bad("profiles = { smoke = { by_method = 3 } }", "by_method must be a table")
  bad("profiles = { smoke = { by_method = { sld = {} } } }", "unknown method 'sld'")
  bad("profiles = { smoke = { by_method = { lsd = 3 } } }", "by_method 'lsd' must be a table")
  bad("profiles = { smoke = { by_method = { lsd = {}, LSD = {} } } }", "the method lsd twice")
  bad("profiles = { smoke = { stepz = 3 } }", "unknown setting 'stepz'; did you mean steps")
  bad("settings = { width = 'wide' }", "settings: width must be a whole number")
  bad("settings = { 3 }", "unknown setting '1'")
  bad("grid = { eta = 0.5 }", "grid, eta must be a list of values such as { 0.5 }, found a number")
  bad("grid = { eta = {} }", "grid, eta: the list is empty")
  bad("grid = { eta = { 0.5, 0.5 } }", "the value 0.5 is listed twice")
  bad("grid = { etta = { 0.5 } }", "unknown setting 'etta'; did you mean eta")
  bad("grid = { eta = { 2 } }", "eta must be between 0 and 1")
  bad("grid = { { eta = 2 } }", "grid, point 1: eta must be between 0 and 1")
  bad("grid = { { eta = 0.5, method = 'sld' } }", "unknown method 'sld'")
  bad("grid = { { eta = 0.5, seed = 0 } }", "point 1: seed must be a whole number from 1 to")
  bad("seeds = { 1, 1 << 60 }", "seeds must be different whole numbers from 1 to 2")
  bad("grid = { { eta = 0.5 }, { eta = 0.5 } }", "point 2 is point 1 again: eta=0.5")
  bad("grid = { 3 }", "grid, point 1 must be a table { key = value }, found a number")
  bad("grid = { { eta = 0.5 }, p = { 0 } }", "is a list of points, but has the field 'p' as well")
  bad("profiles = { smoke = { grid = { etta = { 0.5 } } } }", "profile smoke: grid, etta: unknown")
  bad("profiles = { smoke = { grid = 3 } }", "profile smoke: grid must be a table")
  bad("profiles = { smoke = { seeds = 0 } }", "profile smoke: seeds must be a whole number")
  bad("seeds = { 1, 1 }", "different whole numbers from 1 to 2^53, found 1,1")
  bad("seeds = {}", "seeds must be a whole number from 1 to 1000, or a list")
  bad("seeds = 0", "seeds must be a whole number from 1")
  bad("seeds = 1.5", "seeds must be a whole number from 1")
  bad("options = { width = 3 }", "the option width has the name of a setting")
  bad("options = { w = print }", "the default of w is a function")
  bad("run = 3", "the field run must be a function, found a number")
  bad("nets = 3", "the field nets must be a table")
  t.raises(function() load "return { name = '../x', profiles = { a = {} } }" end,
    "an? experiment is named by")
  t.raises(function() load "return nil" end, "returns nothing; an experiment returns a table")
end)

-- ------------------------------------------------------------------ render lists

t.test("a render list is checked when the experiment is loaded", function()
  local function list(entry, pattern, more)
    bad("render = { " .. entry .. " }" .. (more or ""), pattern)
  end
  list("{ kind = 'densty', name = 'a' }", "unknown render kind 'densty'; did you mean density")
  list("{ kind = 'density', name = 'a' }", "entry 1 'a' %(density%): the field range is missing")
  list("{ kind = 'density', name = 'a', range = { 1 } }", "range must be a list of two numbers")
  list("{ kind = 'traces', name = 'a/b' }", "needs a name for its files")
  list("{ kind = 'traces' }", "needs a name for its files")
  list("{ kind = 'traces', name = 'a', pionts = 3 }", "unknown field 'pionts'; did you mean points")
  list("{ kind = 'traces', name = 'a', points = 'many' }", "points must be a number")
  list("3", "must be a table { kind =, name =, ... }, found a number")
  list("a = 3", "render must be a list of entries")
  list("{ kind = 'traces', name = 'a' }, { kind = 'traces', name = 'a' }", "write the figure a")
  list("{ kind = 'against_setting', name = 'a', metric = 'kl', N = 1, x = 'eta' }",
    "the field series is missing")
  list("{ kind = 'against_setting', name = 'a', metric = 'kl', N = 1, x = 'etta', "
    .. "series = 'stop' }",
    "unknown .*setting 'etta'; did you mean eta")
  list("{ kind = 'compare', name = 'a', metric = 'kl', title = 't', where = { wdth = 3 } }",
    "setting 'wdth'; did you mean width")
  list("{ kind = 'compare', name = 'a', metric = 'kl', title = 't', format = '%s' }",
    "format must be that of one number")
  list("{ kind = 'compare', name = 'a', metric = 'kl', title = 't' }",
    "the runs differ in eta %(grid%), which this entry does not distinguish",
    ", grid = { eta = { 0.5, 0.7 } }")
end)

t.test("and checked before the first step against the contents of the results", function()
  local function run(entry, pattern, more)
    local it = load(("return { name = 'x', settings = { width = 8, depth = 1, batch = 16, "
      .. "micro = 16, steps = 2, eval_samples = 2000, nfe = { 1 }, log_every = 1 }, "
      .. "profiles = { smoke = {} }, render = { %s } %s }"):format(entry, more or ""))
    local dir = ("%s/r%d"):format(root, own_files.count)
    local function go()
      fm.run.run(it, experiment.resolve(it, { profile = "smoke" }), dir)
    end
    if not pattern then return go() end
    t.eq(t.raises(go, pattern).code, "usage")
    t.eq(files.exists(dir), false)
  end
  run("{ kind = 'compare', name = 'a', metric = 'fid', title = 't' }",
    "the results will have no number 'fid'")
  run("{ kind = 'against_setting', name = 'a', metric = 'kl', N = 3, x = 'eta', series = 'stop' }",
    "N = 3 will not be evaluated; nfe is 1")
  run("{ kind = 'grids', name = 'a' }", "a grid shows images")
  run("{ kind = 'compare', name = 'a', metric = 'kl', title = 't', published = true }",
    "no published values of 'kl' for the experiment 'x'")
  run("{ kind = 'compare', name = 'a', metric = 'mine', title = 't' }", nil,
    ", metrics = { mine = function() return 1 end }")
end)

t.test("a grid without a list has tables; data without a mass have theirs", function()
  local it = load("return { name = 'gridded', settings = { width = 8, depth = 1, batch = 16, "
    .. "micro = 16, steps = 2, eval_samples = 2000, nfe = { 1 }, log_every = 1 }, "
    .. "profiles = { smoke = {} }, grid = { eta = { 0.5, 0.75 } } }")
  for _, run in ipairs(experiment.runs(it, "smoke", { 1 })) do
    fm.run.run(it, run.cfg, root .. "/" .. run.dir)
  end
  local made = table.concat(fm.render.experiment(it, "smoke", root .. "/results"), " ")
  t.eq(made:find("tables/kl-N1.md", 1, true) ~= nil, true, made)
end)

t.test("images: needs of the evaluation before the first step", function()
  local function check(set, pattern)
    local cfg = experiment.resolve(cifar, { profile = "smoke", set = set })
    local job = setmetatable({ cfg = cfg, set = fm.data.reduced({ shape = { 32, 32, 3 },
      count = 300 }, cfg.resolution) }, {})
    t.eq(t.raises(function() require("flowmap.measure.judges.images").check(job) end, pattern).code,
      "usage")
  end
  check({ eval_samples = 64 }, "eval_samples is 64; .* 'cnn' needs at least .* dimensions, 128")
  check({ resolution = 16 }, "images of 16 x 16 .* need squares of 32, 64, 96")
end)

t.done()
