-- Settings, experiments, schedules, JSON and the cache's reasons.

local t = require "harness"
local chapters = require "flowmap.experiment.chapters"
local design = require "flowmap.design"
local experiment = require "flowmap.experiment"
local errors = require "flowmap.base.errors"
local grid = require "flowmap.experiment.grid"
local json = require "flowmap.base.json"
local own_files = require "own_experiment"
local settings = require "flowmap.experiment.settings"
local schedule = require "flowmap.schedule"
local sandbox = require "sandbox"
local tree = require "flowmap.tree"

local board = experiment.load "experiments/checkerboard.lua"

local function resolve(want) return experiment.resolve(board, want) end

t.test("the paper profile is the reference configuration", function()
  local cfg = resolve { profile = "paper", method = "LSD" }
  local reference = { batch = 100000, steps = 250000, eta = 0.75, lr = 1e-3, schedule = "sqrt",
    decay_start = 35000, clip = 10.0, ema = { 0.999, 0.9999 }, optimiser = "radam", b1 = 0.9,
    b2 = 0.999, eps = 1e-8, width = 512, depth = 5, features = 0, dataset_size = 10000000,
    interpolant = "linear", net = "mlp", stop = "convex", times = "uniform", warmup = 0 }
  for key, value in pairs(reference) do t.eq(cfg[key], value, key) end
  t.eq(resolve({ profile = "paper", method = "esd" }).stop, "full")
end)

t.test("every profile of every experiment resolves, for every method", function()
  local paths = chapters.experiments()
  paths[#paths + 1] = "experiments/template.lua"
  for _, path in ipairs(paths) do
    local it = experiment.load(path)
    for profile in pairs(it.profiles) do
      local seed = experiment.seeds(it, profile)[1]
      t.eq(#experiment.runs(it, profile, { seed }) > 0, true, path .. " " .. profile)
    end
  end
end)

t.test("a profile may define its own methods", function()
  local it = { name = "own", path = "own.lua", methods = { "lsd", "psd-m", "esd" },
    profiles = { laptop = { methods = { "psd-m" } }, smoke = {} } }
  local runs = experiment.runs(it, "laptop", { 1 })
  t.eq({ #runs, runs[1].cfg.method }, { 1, "psd-m" })
  t.eq(#experiment.runs(it, "smoke", { 1 }), 3)
  t.raises(function() experiment.runs(it, "lapdog", { 1 }) end, "profile")
end)

-- The points of the runs of an experiment: "method seed key=value ...".
local function points_of(it, profile, seeds)
  local texts = {}
  for i, run in ipairs(experiment.runs(it, profile, seeds)) do
    local words = { run.cfg.method, tostring(run.cfg.seed) }
    for _, key in ipairs(tree.keys(run.set)) do
      words[#words + 1] = ("%s=%s"):format(key, settings.text(run.set[key]))
    end
    texts[i] = table.concat(words, " ")
  end
  return texts
end

t.test("a grid may be a list of points, of some methods or seeds", function()
  local it = { name = "own", path = "own.lua", methods = { "lsd", "psd-m" }, seeds = { 11, 12 },
    grid = { { p = 0.0 }, { p = 1.0, c = 0.2, method = "LSD" }, { eta = 0.5, seed = 12 } },
    profiles = { laptop = {}, long = { seeds = 3, grid = { eta = { 0.5, 0.75 } } } } }
  t.eq(points_of(it, "laptop", experiment.seeds(it, "laptop")), {
    "lsd 11 p=0", "lsd 11 c=0.2 p=1", "psd-m 11 p=0",
    "lsd 12 p=0", "lsd 12 c=0.2 p=1", "lsd 12 eta=0.5", "psd-m 12 p=0", "psd-m 12 eta=0.5" })
  t.eq(experiment.seeds(it, "long"), { 1, 2, 3 })
  t.eq(points_of(it, "long", { 1 }), { "lsd 1 eta=0.5", "lsd 1 eta=0.75", "psd-m 1 eta=0.5",
    "psd-m 1 eta=0.75" })
  it.grid = { { eta = 0.5, seed = 11 }, { seed = 12 } }
  t.eq(experiment.seeds(it, "laptop", { 12, 13 }), { 12, 13 })
  t.eq(experiment.seeds(it, "laptop", { 1 }), { 11 }, "as many of its own")
  t.eq(experiment.seeds(it, "long", { 1 }), { 1 })
  it.grid = { { seed = 12 } }
  t.raises(function() experiment.runs(it, "laptop", { 11 }) end,
    "no point of the grid belongs to the seeds 11 and the methods lsd,psd%-m")
end)

t.test("the run of an experiment that a folder's name and recorded settings belong to", function()
  local it = { name = "own", path = "own.lua", methods = { "lsd", "psd-m" }, profiles = {
    laptop = { grid = { { p = 0.0 }, { p = 1.0, c = 0.2, method = "lsd" } } },
    long = { grid = { eta = { 0.5, 0.75 } } } } }
  for _, profile in ipairs { "laptop", "long" } do
    for _, run in ipairs(experiment.runs(it, profile, { 1 })) do
      local found = experiment.run_named(it, run.cfg, run.dir:match "[^/]+$", {})
      t.eq({ found.set, found.cfg }, { run.set, run.cfg })
    end
  end
  local known, lsd = {}, { profile = "laptop", method = "lsd", seed = 1 }
  local other = { profile = "laptop", method = "psd-m", seed = 1 }
  t.eq(experiment.run_named(it, lsd, "lsd-c=0.2-p=1-seed1", known).cfg.c, 0.2)
  t.eq(experiment.run_named(it, other, "psd-m-c=0.2-p=1-seed1", known), nil, "of another method")
  other.method = "gone"
  local _, fault = experiment.run_named(it, other, "gone-seed1", known)
  t.eq(fault:find "unknown method 'gone'" ~= nil, true, fault)
  t.eq(grid.varied(it.profiles.laptop.grid), { p = 2, c = 2 })
  t.eq(grid.all_varied(it), { "c", "eta", "p" })
end)

-- The levels of the six factors of a run of the ablations.
local function levels_of(cfg)
  local high = { cfg.stop == "none", cfg.eta == 0.5, cfg.interpolant == "trig", cfg.p == 1,
    cfg.times == "logit_normal", cfg.budget == "seconds" }
  local row = {}
  for j = 1, 6 do row[j] = high[j] and 1 or -1 end
  return row
end

t.test("ablations: an orthogonal fraction of six factors, the same for all methods", function()
  local it = experiment.load "experiments/ablations.lua"
  for profile, cells in pairs { laptop = 24, long = 48 } do
    local runs, dirs, rows, laws = experiment.runs(it, profile, experiment.seeds(it, profile)), {},
      {}, {}
    for _, run in ipairs(runs) do
      dirs[run.dir] = true
      local cfg = run.cfg
      rows[cfg.method] = rows[cfg.method] or {}
      table.insert(rows[cfg.method], levels_of(cfg))
      laws[cfg.data] = (laws[cfg.data] or 0) + 1
      t.eq(cfg.steps == it.profiles[profile].steps or cfg.budget == "seconds", true, "steps")
    end
    t.eq(#tree.keys(dirs), #runs, "distinct folders")
    for _, method in ipairs { "lsd", "esd", "psd-m", "psd-u" } do
      t.eq({ #rows[method], design.resolution(rows[method]) }, { cells, 4 }, method)
      t.eq(rows[method], rows.lsd, "the same cells")
    end
    t.eq(#rows["esd-convex"], cells / 2, "where the target is held fixed")
    for _, count in pairs(laws) do t.eq(count, #runs / 3, "the laws share the runs") end
  end
end)

t.test("the changed objectives: a full factorial for every method and seed", function()
  local it = experiment.load "experiments/objective.lua"
  for _, method in ipairs(it.methods) do
    local rows, c = {}, {}
    for i, run in ipairs(experiment.runs(it, "long", { 11 }, { method })) do
      local cfg = run.cfg
      rows[i] = { cfg.p == 1 and 1 or -1, cfg.off_weight > 1 and 1 or -1,
        cfg.times ~= "uniform" and 1 or -1 }
      c[cfg.c] = true
    end
    t.eq(rows, design.factorial(3), method)
    t.eq(#tree.keys(c), 1)
  end
end)

t.test("--set is typed", function()
  t.eq(settings.parse "0.5", 0.5)
  t.eq(settings.parse "12", 12)
  t.eq(settings.parse "0.999,0.9999", { 0.999, 0.9999 })
  t.eq(settings.parse "cosine", "cosine")
  -- Lua takes the first for 64 and the second for 0
  for _, text in ipairs { "0x10000000000000040", "1e-400", "0x1p-1,2" } do
    t.eq(settings.parse(text), text)
  end
  t.eq({ settings.parse "1,1e-400", settings.parse "0e5", settings.parse "-0.0e-9" },
    { { 1, "1e-400" }, 0.0, -0.0 })
  local cfg = resolve { set = { ema = 0.9, lr = 1, width = 64.0 } }
  t.eq(cfg.ema, { 0.9 })
  t.eq(math.type(cfg.lr), "float")
  t.eq(math.type(cfg.width), "integer")
end)

t.test("a sentence about a text that is empty by default gives no example", function()
  local err = t.raises(function() settings.check("teacher", 1, "--set") end, "teacher must be a")
  t.eq(err.message, "--set: teacher must be a string, found 1")
end)

t.test("a setting's text reads back as exactly the same number", function()
  for _, x in ipairs { 1700000000000001, 1700000000000002, math.maxinteger, 0.1 + 0.2, 1 / 3,
    1e-300, 2 ^ -1074, 2.0 ^ 63, 123456789.123456789, 1e15 + 0.5 } do
    t.eq(settings.parse(settings.text(x)), x, settings.text(x))
  end
  t.eq({ settings.text(0.75), settings.text(2e-3), settings.text(1.0) }, { "0.75", "0.002", "1" })
  t.eq(settings.text { 0.999, 1 / 3 }, "0.999,0.3333333333333333")
end)

t.test("integers that records cannot hold exactly are refused as settings", function()
  own_files.refused_run("own.options = { n = 1 }",
    "n must be from %-2%^53 to 2%^53, found 9007199254740993", { n = (1 << 53) + 1 })
end)

t.test("a whole number of any kind is the same setting, as the records have it", function()
  local text = settings.text
  t.eq({ text(1e15), text(10 ^ 15 // 1 | 0), text(-0.5), text(1e16), text(2.0 ^ 53) },
    { "1000000000000000", "1000000000000000", "-0.5", "1e+16", "9007199254740992" })
end)

t.test("an experiment's own setting may be a truth value", function()
  t.eq(settings.check("quiet", false, "own", { quiet = true }), false)
  t.eq(settings.check("quiet", true, "own", { quiet = false }), true)
  t.raises(function() settings.check("quiet", 1, "own", { quiet = true }) end,
    "own: quiet must be a boolean such as true, found 1")
end)

t.test("a schedule may be called by its former name, as old runs call it", function()
  local rates = {}
  for _, name in ipairs { "late", "cooldown" } do
    local cfg = resolve { set = { schedule = name, steps = 10, decay_start = 6 } }
    t.eq(cfg.schedule, name)
    rates[#rates + 1] = schedule.rate(8, cfg)
  end
  t.eq(rates[1], rates[2])
end)

t.test("bad settings give sentences", function()
  local function set(key, value) return function() resolve { set = { [key] = value } } end end
  t.raises(set("widht", 3), "%-%-set: unknown setting 'widht'; did you mean width%?")
  t.raises(set("width", 2.5), "width must be a whole number such as 512, found 2.5")
  t.raises(set("width", "big"), "width must be a whole number such as 512, found big")
  t.raises(set("lr", -1), "lr must be more than 0 and at most 1000, found %-1")
  t.raises(set("eta", 2), "eta must be between 0 and 1, found 2")
  t.raises(set("schedule", "step"), "schedule must be one of constant, cooldown, cosine, linear, "
    .. "sqrt")
  t.raises(set("stop", "full"), "unknown stop%-gradient of lsd 'full'")
  t.raises(set("ema", { 0.9, 2 }), "ema must be a list of numbers, each at least 0 and below 1")
  t.raises(set("eval_ema", 4), "eval_ema is 4, but there are 1 averages")
  t.raises(set("nfe", { 1, 2.5 }), "nfe must be a list of numbers")
  t.raises(function() resolve { profile = "labtop" } end, "did you mean laptop%?")
  t.raises(function() resolve { method = "sld" } end, "unknown method 'sld'")
  t.eq(t.raises(set("widht", 3), "widht").code, "usage")
end)

t.test("bad experiments give sentences", function()
  t.raises(function() experiment.load "experiments/nothing.lua" end, "there is no experiment")
  local function write(text) sandbox.write("own.lua", text) end
  local function load() experiment.load(sandbox.path "own.lua") end
  write "return {"
  t.raises(load, "is not valid Lua")
  write "return 3"
  t.raises(load, "returns a number; an experiment returns a table")
  write "return { name = 'x', profiles = {}, setings = {} }"
  t.raises(load, "unknown field 'setings'; did you mean settings%?")
  write "return { name = 'x' }"
  t.raises(load, "the field profiles is missing")
  write "return { name = 'x', profiles = { laptop = { stepz = 3 } } }"
  t.raises(function() experiment.resolve(experiment.load(sandbox.path "own.lua"), {}) end,
    "profile laptop: unknown setting 'stepz'; did you mean steps%?")
end)

t.test("an experiment without the default profile", function()
  local err = t.raises(function() experiment.resolve(own_files.small "", {}) end,
    "has no profile 'laptop', which is taken where %-%-profile names none; it has: smoke")
  t.eq(err.code, "usage")
end)

t.test("lists of texts that would be written alike, and profiles named as other folders", function()
  local fields = "own.options = { words = { 'a', 'b' } } own.profiles = { ['%s'] = { words = %s } }"
  own_files.small(fields:format("smoke-1", "{ 'a' }"))
  for list, fault in pairs { ["{ 'a,b' }"] = "holds a comma", ["{ '' }"] = "is empty" } do
    t.raises(function() own_files.small(fields:format("smoke", list)) end,
      "words must be a line of text, .*" .. fault)
  end
  for _, ending in ipairs { "-own", "-stages", "-outdated" } do
    t.raises(function() own_files.small(fields:format("smoke" .. ending, "{ 'a' }")) end,
      "has the ending '" .. ending:gsub("-", "%%-"))
  end
end)

t.test("a text that reads like a number is called a text", function()
  for fields, words in pairs {
    ["settings = { lr = '1e-3' }"] = "lr must be a number such as 0.0015, found the text '1e%-3'",
    ["settings = { nfe = '1,2' }"] = "nfe must be a list of numbers .* found the text '1,2'",
    ["seeds = '2'"] = "or a list of as many, found the text '2'",
    ["seeds = 2.0"] = "or a list of as many, found 2%.0",
    ["seeds = true"] = "or a list of as many, found a boolean",
    ["seeds = {}"] = "or a list of as many, found 0 of them",
  } do
    own_files.refused(fields, words)
  end
end)

t.test("a list with a gap, behind which Lua reads nothing, is refused", function()
  local gap = "the list has an entry 3 but no entry 2, expected one without gaps"
  for fields, words in pairs {
    ["methods = { 'lsd', nil, 'esd' }"] = "methods: " .. gap,
    ["seeds = { 1, nil, 3 }"] = "seeds: " .. gap,
    ["seeds = { 1, 2, x = 3 }"] = "seeds: the list has the field 'x', expected entries alone",
    ["grid = { eta = { 0.5, nil, 0.75 } }"] = "grid, eta: " .. gap,
    ["grid = { { eta = 0.5 }, nil, { eta = 0.75 } }"] = "grid: " .. gap,
    ["render = { [3] = { kind = 'traces', name = 't' } }"] = "render: the list has an entry 3 but "
      .. "no entry 1",
    ["render = { { kind = 'density', name = 't', range = { 0, 1 }, steps = { 1, nil, 4 } } }"] =
      "steps: " .. gap,
    ["losses = { m = { loss = print, stops = { 'none', nil, 'convex' } } }"] = "stops: " .. gap,
    ["profiles = { smoke = { methods = { 'lsd', nil, 'esd' } } }"] = "smoke, methods: " .. gap,
    ["data = { m = { dim = 1, sample = print, range = { -1, 1, 2 } } }"] = "range must be a list "
      .. "of two numbers",
    ["options = { k = 0 / 0 }"] = "the default of k is %-?nan, expected a finite number",
    ["nets = { m = { new = print, options = { k = { 1, 1 / 0 } } } }"] = "the default of k is inf",
    ["nets = { m = { new = print, options = { k = { 1, nil, 2 } } } }"] = "of k: " .. gap,
  } do
    own_files.refused(fields, words)
  end
end)

t.test("numbers and formats of tables and figures are checked beforehand", function()
  local function entry(text) return "render = { { name = 't', " .. text .. " } }" end
  local density = "kind = 'density', range = { 0, 1 }, "
  for fields, words in pairs {
    [entry(density .. "bins = 1e6")] = "bins must be a whole number from 2 to 2048, found 1000000",
    [entry(density .. "bins = 9.5")] = "bins must be a whole number from 2 to 2048, found 9.5",
    [entry "kind = 'density', range = { 0, 1 / 0 }"] = "range must be a list of two numbers",
    [entry "kind = 'traces', points = 0"] = "points must be a whole number from 2 to 100000",
    [entry "kind = 'triangle', eta = 0 / 0"] = "eta must be a finite number from 0 on",
    [entry "kind = 'compare', metric = 'kl', title = 'KL', format = '%.100f'"] =
      "format must be that of one number",
    ["metrics = { m = { measure = print, format = '%.100f' } }"] =
      "format must be that of one number, such as %%.4f, found '%%.100f'",
  } do
    own_files.refused(fields, words)
  end
end)

t.test("a warm-up ends within the training; a setting that is set again is told", function()
  resolve { profile = "smoke", set = { warmup = 60, steps = 60 } }
  t.raises(function() resolve { profile = "smoke", set = { warmup = 61, steps = 60 } } end,
    "warmup is 61, but there are only 60 steps: the learning rate would never reach lr")
  local code, said = sandbox.flowmap("params experiments/checkerboard.lua --set width=64 "
    .. "--set depth=2 --set depth=2 --set width=32 2>&1 >/dev/null")
  t.eq({ code, said },
    { 0, "note: --set: width is set to 64 and then to 32, which counts\n" })
end)

t.test("the setting of a law of times names all laws", function()
  local said = select(2, sandbox.flowmap "settings times")
  for _, name in ipairs(require("flowmap.times").names) do
    t.eq(said:find("%f[%w_]" .. name .. "%f[^%w_]") ~= nil, true, name)
  end
end)

t.test("schedules", function()
  local cfg = { lr = 2, steps = 100, decay_start = 25, warmup = 0, schedule = "constant" }
  t.eq(schedule.rate(99, cfg), 2)
  cfg.schedule = "sqrt"
  t.eq(schedule.rate(25, cfg), 2.0)
  t.near(schedule.rate(100, cfg), 1, 1e-15)
  cfg.schedule = "linear"
  t.eq(schedule.rate(0, cfg), 2.0)
  t.near(schedule.rate(75, cfg), 0.5, 1e-15)
  cfg.schedule = "cosine"
  t.near(schedule.rate(50, cfg), 1, 1e-15)
  cfg.schedule = "cooldown" -- the last of 100 steps still learns
  t.eq({ schedule.rate(0, cfg), schedule.rate(25, cfg) }, { 2.0, 2.0 })
  t.near(schedule.rate(55, cfg), 2 * 45 / 75, 1e-15)
  t.near(schedule.rate(99, cfg), 2 / 75, 1e-15)
  cfg.warmup, cfg.schedule = 10, "constant"
  t.near(schedule.rate(4, cfg), 1, 1e-15)
end)

t.test("equal times: as many steps as a costlier method makes, to the nearest", function()
  local jobs = require "flowmap.job"
  local function steps(all, cost) return jobs.equal_time { steps = all, relative_cost = cost } end
  t.eq({ steps(10, 3), steps(10, 1.5), steps(4, 100), steps(10, 0.5) }, { 3, 7, 1, 10 })
  t.eq({ steps(10, 0), steps(10, nil) }, {})
end)

t.test("JSON: sorted, exact, one line or many", function()
  local value = { b = { 1, 2.5, 0.1 }, a = "x\n\"y\"", c = { d = true } }
  t.eq(json.encode(value), [[{"a": "x\n\"y\"", "b": [1, 2.5, 0.1], "c": {"d": true}}]])
  t.eq(json.decode(json.encode(value, "")), value)
  t.eq(json.decode(json.encode { x = 1 / 3 }).x, 1 / 3)
  for _, it in ipairs { { { a = { b = 0 / 0 } }, "a.b is %-?nan" },
    { { x = { 1, 1 / 0 } }, "x.2 is inf" },
    { { a = { 1, x = 2 } }, "a is a list with" }, { { [3] = 1 }, "the key 3" },
    { { s = 1 << 60 }, "beyond 2^53" }, { { f = print }, "f is a function" } } do
    t.raises(function() json.encode(it[1]) end, it[2])
  end
  for _, text in ipairs { "[NaN]", "[1e999]", "[0x10]", "[1]x", "" } do
    t.eq((json.decode(text)), nil, text)
  end
  t.eq((json.decode "{"), nil)
end)

t.test("names in sentences are on one line; a program's output at the end of one is not", function()
  local err = t.raises(function() errors.usage("%s: '%s' found", "a\nb", "c\nd") end, "found")
  t.eq(err.message, "a?b: 'c?d' found")
  err = t.raises(function() errors.data("%s failed: %s", "a\nb", "c\nd") end, "failed")
  t.eq(err.message, "a?b failed: c\nd")
  own_files.refused("losses = { ['a\\nb'] = print }", "losses%['a%?b'%]: a method is named by")
end)

t.test("a ~ that the shell left as it is names no folder", function()
  for _, words in ipairs { "params ~/x.lua", "run experiments/checkerboard.lua --out=~/x",
    "sample c --out=~" } do
    local code, said = sandbox.flowmap(words:gsub("~", "'~'") .. " 2>&1")
    t.eq({ code, said:find("($HOME or ./~ in place of ~", 1, true) ~= nil }, { 2, true }, said)
  end
end)

t.test("edit distance", function()
  t.eq(errors.distance("kitten", "sitting"), 3)
  t.eq(errors.distance("", "abc"), 3)
end)

t.test("the cache states its reasons", function()
  local cache = require "flowmap.runs.cache"
  local cfg = resolve { profile = "smoke" }
  local was = cache.inputs(board, cfg)
  t.eq(cache.differences(was, was), {})
  local other = cache.inputs(board, resolve { profile = "smoke", set = { lr = 0.5 } })
  t.eq(cache.differences(was, other), { "lr changed from 0.002 to 0.5" })
  local saved = cache.inputs(board, resolve { profile = "smoke", set = { save_every = 1 } })
  t.eq(cache.hash(saved), cache.hash(was))
  was["module flowmap.methods.lsd"], other = "code a", cache.inputs(board, cfg)
  other["module flowmap.methods.lsd"] = "code b"
  t.eq(cache.differences(was, other), { "flowmap.methods.lsd changed" })
  t.eq(cache.decide(sandbox.path "none", was), "run")
end)

t.test("comments do not change what a source means, constants do", function()
  local meaning = require("flowmap.runs.meaning").of
  local first = meaning "local x = 3\nreturn x"
  t.eq(meaning "-- prose\nlocal x = 3 -- more\n\n\nreturn x", first)
  t.eq(meaning "local x = 4\nreturn x" == first, false)
  -- a line more moves functions, but changes nothing; text in strings is no comment
  local f = meaning "return function() return 'a -- b', [[c\n-- d]] end"
  local same = "-- title\n\nreturn function() -- f\n  return 'a -- b', [[c\n-- d]]\nend --[[ x\n]]"
  t.eq(meaning(same), f)
  t.eq(meaning "return function() return 'a -- c', [[c\n-- d]] end" == f, false)
  t.eq(meaning "return function() return 'a -- b', [[c\n-- e]] end" == f, false)
end)

t.done()
