-- Methods as coordinates in a run: settings that override a row, the average that targets read,
-- laws of times, `robust` as an older name, and the printed table.

local t = require "harness"
local coordinates = require "flowmap.report.coordinates"
local fm = require "flowmap"
local sandbox = require "sandbox"
local weave = require "flowmap.report.weave"

local experiment, trainer, methods = fm.experiment, fm.trainer, fm.methods
-- An experiment that leaves all coordinates to the methods.
local board = { name = "plain", path = "plain", methods = { "lsd" }, profiles = { smoke = {} },
  settings = { data = "checkerboard", lr = 1e-3, ema = { 0.9 } } }

local function resolve(method, more, it)
  local set = { width = 16, depth = 2, batch = 96, micro = 16, steps = 6, save_every = 0 }
  for key, value in pairs(more or {}) do set[key] = value end
  return experiment.resolve(it or board, { profile = "smoke", method = method, set = set })
end

local function bits(tensors)
  local parts = {}
  fm.tree.each(function(x, name) parts[#parts + 1] = name .. fm.bytes(x) end, tensors)
  return fm.sha256(table.concat(parts))
end

local function trained(cfg, steps)
  local job = trainer.new(board, cfg)
  for _ = 1, steps do trainer.step(job) end
  return job
end

t.test("the checkerboard states no coordinate that a method brings with it", function()
  local it = fm.experiment.load "experiments/checkerboard.lua"
  local lsd = fm.experiment.resolve(it, { profile = "long", method = "lsd" })
  t.eq({ lsd.times, lsd.p, lsd.eta, lsd.off_weight }, { "uniform", 0.0, 0.75, 1.0 })
  local meanflow = fm.experiment.resolve(it, { profile = "long", method = "meanflow" })
  t.eq({ meanflow.times, meanflow.p, meanflow.velocity }, { "logit_normal", 1.0, "sample" })
end)

t.test("a row gives the defaults of settings; what the user sets comes after it", function()
  local plain = experiment.load(sandbox.write("plain.lua",
    "return { name = 'plain', profiles = { smoke = {} } }"))
  local cfg = resolve("meanflow", {}, plain)
  t.eq({ cfg.velocity, cfg.stop, cfg.p, cfg.c, cfg.p_diagonal, cfg.times, cfg.times_mean },
    { "sample", "target", 1.0, 0.1, true, "logit_normal", { 0.4, 0.4 } })
  cfg = resolve("meanflow", { p = 0.5, times = "uniform", velocity = "self" })
  t.eq({ cfg.p, cfg.times, cfg.velocity }, { 0.5, "uniform", "self" })
  cfg = resolve "lsd"
  t.eq({ cfg.velocity, cfg.target, cfg.p, cfg.times }, { "self", "current", 0.0, "uniform" })
end)

t.test("a teacher that is needed but absent is asked for before anything runs", function()
  t.raises(function() resolve("lsd", { velocity = "teacher" }) end,
    "the velocity is that of a teacher, but there is none")
  t.raises(function() resolve("psd-m", { target = "frozen" }) end, "set teacher to a checkpoint")
end)

t.test("two rows that name the same point train to the same bits", function()
  local one = trained(resolve("meanflow", { p = 0, times = "uniform", times_diagonal = "uniform" }),
    3)
  local two = trained(resolve("esd", { stop = "target", velocity = "sample" }), 3)
  local other = trained(resolve("esd", { stop = "target" }), 3)
  t.eq(bits(one.params), bits(two.params))
  t.eq(bits(one.params) == bits(other.params), false)
end)

t.test("the target's average lags behind the weights and is resumed with them", function()
  local cfg = resolve "tvm"
  local job = trained(cfg, 2)
  t.eq(bits(job.shared.target) == bits(job.params), false)
  local path = sandbox.mkdir "average" .. "/checkpoint.safetensors"
  fm.checkpoint.save(path, job, { step = job.done })
  local resumed = trainer.new(board, cfg, fm.checkpoint.load(path))
  t.eq(bits(resumed.shared.target), bits(job.shared.target))
  for _, it in ipairs { job, resumed } do trainer.step(it) end
  t.eq(bits(resumed.params), bits(job.params))
  -- with the decay 0 it is the weights themselves, and TVM is LSD
  local set = { target_decay = 0, times = "uniform", both_terms = false, eta = 0.75,
    times_diagonal = "uniform" }
  t.eq(bits(trained(resolve("tvm", set), 3).params), bits(trained(resolve "lsd", 3).params))
  set.target_decay = 0.9
  local lagging = trained(resolve("tvm", set), 3)
  t.eq(bits(lagging.params) == bits(trained(resolve "lsd", 3).params), false)
end)

t.test("robust is p = 1 with that c, also in a checkpoint from before p existed", function()
  local now, before = resolve("lsd", { p = 1, c = 0.2 }), resolve("lsd", { robust = 0.2 })
  t.eq({ before.p, before.c }, { 1.0, 0.2 })
  local job = trained(now, 2)
  t.eq(bits(trained(before, 2).params), bits(job.params))
  t.eq(bits(trained(resolve "lsd", 2).params) == bits(job.params), false)
  t.eq(resolve("lsd", { robust = 0 }).p, 0.0)
  t.eq(resolve("lsd", { robust = 0.2, p = 0.5 }).p, 0.5)
  local path, cfg = sandbox.mkdir "robust" .. "/checkpoint.safetensors", {}
  for key, value in pairs(job.cfg) do cfg[key] = value end
  cfg.robust, cfg.p, cfg.c = 0.2, nil, nil
  local full = job.cfg
  job.cfg = cfg
  fm.checkpoint.save(path, job, { step = 2 })
  job.cfg = full
  local saved = fm.checkpoint.load(path)
  t.eq({ saved.cfg.p, saved.cfg.c }, { 1.0, 0.2 })
end)

t.test("an experiment's own method may be a row", function()
  local own = { name = "own", path = "own", profiles = { smoke = {} }, methods = { "mine" },
    settings = board.settings, losses = {
      mine = { family = "eulerian", stops = { "target" }, velocity = "sample" } } }
  fm.outline.check({ name = "own", profiles = { smoke = {} }, losses = own.losses }, "own")
  local set = { width = 16, depth = 2, batch = 96, micro = 16, steps = 6 }
  local cfg = experiment.resolve(own, { profile = "smoke", method = "mine", set = set })
  t.eq({ cfg.velocity, cfg.stop }, { "sample", "target" })
  local job = trainer.new(own, cfg)
  for _ = 1, 2 do trainer.step(job) end
  set.stop, set.velocity = "target", "sample"
  local suite = { name = "own", path = "own", profiles = { smoke = {} }, methods = { "esd" },
    settings = board.settings }
  local other = trainer.new(suite, experiment.resolve(suite, { profile = "smoke", set = set }))
  for _ = 1, 2 do trainer.step(other) end
  t.eq(bits(job.params), bits(other.params))
end)

t.test("a row that names nothing known is refused", function()
  local function check(row)
    return function()
      fm.outline.check({ name = "own", profiles = { smoke = {} }, losses = { mine = row } }, "own")
    end
  end
  t.raises(check { family = "eulerain" }, "unknown own: losses%['mine'%]: family 'eulerain'")
  t.raises(check { family = "eulerian", stops = { "fulll" } }, "did you mean full")
  t.raises(check { family = "semigroup" }, "the semigroup needs g")
  t.raises(check { stops = { "full" } }, "the field loss is missing")
  t.raises(check { family = "eulerian", velocty = "self" }, "unknown field 'velocty'")
end)

-- A row of the suite with one field changed.
local function with(key, value, f)
  local row = require "flowmap.methods.lsd"
  local was = row[key]
  row[key] = value
  local ok, message = pcall(f)
  row[key] = was
  t.eq(ok, true, message)
end

t.test("the file of a method is checked like a method of an experiment", function()
  local function refused(words, ...)
    for _, f in ipairs { ... } do t.raises(f, "lua/flowmap/methods/lsd.lua: " .. words) end
  end
  local function run() return resolve "lsd" end
  with("width", 75, function() refused("unknown field 'width'", run, coordinates.table) end)
  with("stops", "none", function() refused("the field stops must be a table", run) end)
  with("family", "eulerain", function() refused("family 'eulerain'", run, coordinates.table) end)
  with("cite", nil, function() refused("the field cite is missing", coordinates.table) end)
  with("title", nil, function()
    refused("the field title is missing", function() coordinates.describe "lsd" end)
  end)
end)

t.test("a file that returns nothing is named", function()
  local source, name = require "flowmap.runs.source", "flowmap.methods.lsd"
  local row = package.loaded[name]
  package.loaded[name] = true -- so says `require`
  local ok, message = pcall(source.peek, name)
  package.loaded[name] = row
  t.eq(ok, false)
  t.has(tostring(message), "flowmap/methods/lsd.lua returns nothing, expected a table")
end)

t.test("images are refused where the network takes points", function()
  local it = { name = "own", path = "own", profiles = { smoke = {} }, methods = { "lsd" },
    settings = { data = "pictures" }, data = { pictures = { new = function()
      return { shape = { 32, 32, 3 }, dim = 3072, sd = 0.5, title = "pictures" }
    end } } }
  t.raises(function() resolve("lsd", {}, it) end, "the net mlp is for points, but these data are "
    .. "images of the shape %(32, 32, 3%); the net for images is edm2")
end)

t.test("conditioning = gap gives the network s and t - s", function()
  local plain = fm.job.parts(board, resolve("lsd", { dtype = "float64" }))
  local gap = fm.job.parts(board, resolve("lsd", { dtype = "float64", conditioning = "gap" }))
  local params = plain.net.init(fm.nets.rng(1, "float64"))
  local function draw(columns, stream)
    return fm.uniform({ 8, columns }, { seed = 1, stream = stream, dtype = "float64" })
  end
  local s, h, x = draw(1, "s"), draw(1, "h"), draw(2, "x")
  t.eq(fm.bytes(gap.net.v(params, s, s + h, x)), fm.bytes(plain.net.v(params, s, (s + h) - s, x)))
  t.eq(fm.bytes(gap.net.v(params, s, h, x)) == fm.bytes(plain.net.v(params, s, h, x)), false)
end)

-- ------------------------------------------------------------------ laws of times

local n = 40000
local u = fm.uniform({ n, 2 }, { seed = 6, stream = "times" })
local a, c = fm.slice(u, 2, 1, 1), fm.slice(u, 2, 2, 1)

local function moments(x)
  local mean = fm.mean(x):item()
  return mean, math.sqrt(fm.mean(fm.square(x - mean)):item())
end

local function logit(x) return fm.log(x / (1 - x)) end

t.test("logit-normal laws have the moments that are set", function()
  local cfg = { times_mean = { -0.8, 0.4 }, times_sd = { 1, 1.5 } }
  local s = fm.times.logit_normal_to_one(a, c, cfg)
  local mean, sd = moments(logit(s))
  t.near(mean, -0.8, 0.02)
  t.near(sd, 1, 0.02)
  for _, name in ipairs { "gap", "gap_normal" } do
    local from, to = fm.times[name](a, c, { times_mean = { -0.8, 0.4 }, times_sd = { 0.5, 1 } })
    mean, sd = moments(logit(to - from))
    t.near(mean, -0.8, 0.02, name)
    t.near(sd, 0.5, 0.02, name)
  end
  local from, to = fm.times.gap(a, c, cfg)
  local place = moments(from / (1 - (to - from))) -- t is uniform above the gap
  t.near(place, 0.5, 0.01)
  from, to = fm.times.logit_normal(a, c, { times_mean = { 0.4, 0.4 }, times_sd = { 1, 1 } })
  t.near(0.5 * (moments(logit(from)) + moments(logit(to))), 0.4, 0.02)
end)

t.test("noise levels: s and u are neighbours on the grid of sigma, the last u is 1", function()
  local s, to, next_s = fm.times.noise_levels(a, c, { levels = 5 })
  local seen = {}
  s, to, next_s = s:flat(), to:flat(), next_s:flat()
  for i = 1, 2000 do
    seen[("%.5f %.5f %g"):format(s[i], next_s[i], to[i])] = true
  end
  local function time_of(k)
    if k == 4 then return 1 end
    local root = 80 ^ (1 / 7) + k / 4 * (0.002 ^ (1 / 7) - 80 ^ (1 / 7))
    return 0.5 / (0.5 + root ^ 7)
  end
  local expected = {}
  for k = 0, 3 do expected[("%.5f %.5f 1"):format(time_of(k), time_of(k + 1))] = true end
  t.eq(seen, expected)
end)

-- ------------------------------------------------------------------ the printed table

t.test("the table has a line per file, and each row a description with its source", function()
  local names, rows = methods.rows()
  local text = coordinates.table()
  for _, name in ipairs(names) do
    t.eq(text:find("\n" .. name .. " ", 1, true) ~= nil, true, name)
    local about = coordinates.describe(name)
    t.eq(about:find(rows[name].cite, 1, true) ~= nil, true, name)
    t.eq(about:find("    L(", 1, true) ~= nil, true, name .. ": its equation")
  end
  t.eq(coordinates.describe "PSD-M":find "Progressive self%-distillation" ~= nil, true)
  t.raises(function() coordinates.describe "psdd" end, "unknown method 'psdd'; did you mean psd%?")
end)

t.test("the page shows the same cells, sources, and the experiment's own methods", function()
  local path = sandbox.write("own.lua", "-- {{methods}}\n\nreturn { name = 'own', profiles = "
    .. "{ smoke = {} }, losses = { fn = function() end, row = { family = 'eulerian', p = 1, "
    .. "stops = { 'none' }, c = 0.2, velocity = 'sample', tangent = 'self' } } }\n")
  local page = weave.chapter(path, { profile = "smoke" }):gsub("\\(%p)", "%1")
  local function cells(line) -- words; an arXiv number is a link
    local out = {}
    for word in line:gsub("%[([^%]]*)%]%b()", "%1"):gmatch "[^%s|]+" do out[#out + 1] = word end
    return table.concat(out, " "):gsub("–", "-")
  end
  local shown = {}
  for line in page:gmatch "| [^\n]*" do shown[cells(line)] = true end
  for line in coordinates.table():gmatch "[^\n]+" do t.eq(shown[cells(line)], true, line) end
  t.eq(shown["fn own loss - - - - - - - - -"], true)
  t.eq(shown["row eulerian sample/self current none 1 0 0.2 - uniform -"], true)
  local _, rows = methods.rows()
  for name, row in pairs(rows) do
    local entry = ("\n- **%s**: %s. %s."):format(name, row.title, row.cite)
    t.eq(page:find(entry, 1, true) ~= nil, true, entry)
  end
end)

t.test("a row has at most 15 lines below its equation, and no field that nothing reads", function()
  local known = { stops = true, args = true, variants = true }
  for key in pairs(methods.fields) do known[key] = true end
  for _, name in ipairs((methods.rows())) do
    local path = package.searchpath("flowmap.methods." .. name, package.path)
    local code = fm.files.read(path):match "\n(return.*)$"
    local _, lines = code:gsub("\n", "")
    t.eq(lines <= 15, true, name)
    local row = require("flowmap.methods." .. name)
    for key in pairs(row) do t.eq(known[key], true, name .. key) end
    methods.check(row, name)
  end
end)

t.done()
