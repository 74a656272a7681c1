-- The results of a user's own functions, and a data set's statements on its law, are checked before
-- the first step, with sentences that name the function, the value found and the value expected.

local t = require "harness"
local apart = require "flowmap.measure.apart"
local experiment = require "flowmap.experiment"
local files = require "flowmap.base.files"
local fm = require "flowmap"
local json = require "flowmap.base.json"
local own_files = require "own_experiment"
local sandbox = require "sandbox"

local root = sandbox.root

-- An experiment with these lines in it; `own` is its table.
local HEAD = [[
local fm = require "flowmap"
local losses = fm.losses
local own = { name = "own", methods = { "lsd" } }
own.settings = { width = 8, depth = 1, batch = 16, micro = 16, steps = 2, eval_samples = 2000,
  nfe = { 1 }, log_every = 1 }
own.profiles = { smoke = {} }
]]

local function load(lines) return own_files.load(HEAD .. lines .. "\nreturn own\n") end

local function run(lines, set)
  local it = load(lines)
  local dir = ("%s/run%d"):format(root, own_files.count)
  fm.run.run(it, experiment.resolve(it, { profile = "smoke", set = set }), dir)
  return dir
end

-- Refused before anything is written.
local function refused(lines, pattern, set, code)
  local err = t.raises(function() run(lines, set) end, pattern)
  t.eq(err.code, code or "usage", pattern)
  local dir = ("%s/run%d"):format(root, own_files.count)
  t.eq(files.exists(dir), false, "nothing is written: " .. lines)
end

local function loss(body)
  return 'own.methods = { "mine" }\nown.losses = { mine = ' .. body .. " }"
end

local LSD = [[
local function lsd(a)
  local X = a.map
  local moved, d_t = X:dt(a.s, a.t, a.x)
  local target = losses.stop_if(a.stop, X:b(a.t, moved), "convex")
  return losses.norm2(d_t - target)
end
]]

local function weights(dir)
  local tensors, parts = fm.load_safetensors(dir .. "/checkpoint.safetensors"), {}
  for _, name in ipairs(fm.tree.keys(tensors)) do
    parts[#parts + 1] = name .. fm.bytes(tensors[name])
  end
  return fm.sha256(table.concat(parts))
end

t.test("LSD written as an own loss is LSD to the bit, with or without declared stops", function()
  local expected = weights(run "")
  t.eq(weights(run(LSD .. loss "lsd")), expected)
  t.eq(weights(run(LSD .. loss '{ loss = lsd, stops = { "convex", "none" } }')), expected)
  local none = weights(run("", { stop = "none" }))
  t.eq(weights(run(LSD .. loss '{ loss = lsd, stops = { "none", "convex" } }')), none)
  t.eq(none == expected, false)
end)

t.test("a stop that is not declared is an error", function()
  refused(LSD .. loss '{ loss = lsd, stops = { "convx", "none" } }',
    "the loss 'mine' stops a gradient at 'convex', which is none of its stops: convx, none")
end)

t.test("results of a loss", function()
  local function returns(what) return loss("function(a) return " .. what .. " end") end
  refused(returns "fm.sum(a.x)", "loss 'mine' returned a tensor %(%) of float32, expected a tensor "
    .. "%(4%) of float32: one value per sample")
  refused(returns "3", "loss 'mine' returned a number")
  refused(returns "", "loss 'mine' returned nothing")
  refused(returns "a.map:b(a.t, a.x)", "loss 'mine' returned a tensor %(4, 2%)")
  refused(returns 'fm.cast(losses.norm2(a.dx), "float64")', "of float64, expected .* of float32")
  refused(returns "fm.ones(4)", "loss 'mine' returned a constant")
  refused(returns "losses.norm2(fm.stop(a.map.v(a.s, a.t, a.x)))", "loss 'mine' has no gradient")
  refused(loss "{ loss = function() end, variants = { a = { x = 1 } } }", "'x' of a variant is set")
end)

local function net(fields)
  return 'own.settings.net = "mine"\nown.nets = { mine = function(cfg) return ' .. fields
    .. " end }"
end

t.test("results of a network", function()
  local init = 'init = function(rng) return { w = rng({ 2, 2 }, "lecun") } end, '
  refused(net("{ " .. init .. "v = function(p, s, t, x) return fm.sum(x, 2, true) end }"),
    "the net 'mine': v returned a tensor %(%d+, 1%) of float32, expected a tensor %(%d+, 2%)")
  refused(net("{ " .. init .. "v = function() end }"), "net 'mine': v returned nothing")
  refused(net("{ " .. init .. "}"), "net 'mine': v is nothing, expected a function")
  refused(net "nil", "net 'mine' returned nothing, expected a table with the functions init, v")
  local v = "v = function(p, s, t, x) return fm.matmul(x, p.w) end"
  refused(net('{ init = function(rng) return { w = rng({ 2, 2 }, "foo") } end, ' .. v .. " }"),
    "unknown kind of initial values 'foo'; known: lecun, normal, zeros")
  refused(net("{ init = function(rng) return { w = 3 } end, " .. v .. " }"),
    "net 'mine': init returned a number as w, expected tensors")
  refused(net("{ init = function(rng) end, " .. v .. " }"), "init returned nothing")
  refused(net("{ init = function(rng) return {} end, " .. v .. " }"), "init returned no tensor")
  refused(net("{ init = function(rng) local w = rng({ 1 }, 'zeros') return { w, a = { w } } end, "
    .. v .. " }"), "init returned one tensor as 1 and as a.1, expected it once")
  refused(net("{ " .. init .. v .. ", weight = function(p, s, t) return s end }"),
    "net 'mine': weight returned a tensor %(%d+, 1%)")
end)

-- A data set: the square [-1, 1]^2, some fields replaced.
local function square(fields, more)
  return 'own.settings.data = "mine"\nown.data = { mine = { dim = 2, sd = 1 / math.sqrt(3),\n'
    .. 'sample = function(b) return b:uniform({ 2 }, "data") * 2 - 1 end,\n'
    .. "inside = function(x, y) return math.abs(x) <= 1 and math.abs(y) <= 1 end,\n"
    .. "mass = function(x0, x1, y0, y1) return (x1 - x0) * (y1 - y0) / 4 end } }\n"
    .. "for k, v in pairs " .. fields .. " do own.data.mine[k] = v end\n" .. (more or "")
end

t.test("samples and declarations of a data set", function()
  run(square "{}")
  refused(square "{ sample = function(b) return b:uniform({ 3 }, 'data') end }",
    "sample of the data set returned a tensor %(%d+, 3%) of float32, expected a tensor %(%d+, 2%)")
  refused(square "{ sample = function(b) end }", "sample of the data set returned nothing")
  refused(square "{ sample = function(b) return fm.log(-b:uniform({ 2 }, 'data')) end }",
    "'mine' drew a number that is not finite")
  refused(square "{ inside = function() end }", "inside returned nothing, expected true or false")
  refused(square "{ mass = function() end }", "mass of the data set gave nothing for the box")
  refused(square "{ mass = function() return 0 / 0 end }", "gave %-?nan for the box")
  refused(square "{ sd = 2 }", "sd is 2, but 65536 draws have the standard deviation 0.57")
  refused(square "{ dim = 2.5 }", "dim must be a whole number")
  refused(square("{}", "own.data.mine.sd = nil"),
    "has no sd, the standard deviation of a coordinate; 65536 draws of it have 0.57")
end)

-- Wide in x, narrow in y.
local BOX = [[{
  sd = math.sqrt((1 + 1 / 16) / 6),
  sample = function(b)
    local u = b:uniform({ 2 }, "data") * 2 - 1
    return fm.concat({ fm.slice(u, 2, 1, 1), fm.slice(u, 2, 2, 1) / 4 }, 2)
  end,
  inside = function(x, y) return math.abs(x) <= 1 and math.abs(y) <= 0.25 end,
  mass = function(x0, x1, y0, y1)
    return (x1 - x0) * math.max(0, math.min(y1, 0.25) - math.max(y0, -0.25))
  end }]]

t.test("a mass that does not agree with the samples", function()
  run(square(BOX))
  refused(square(BOX) .. "local m = own.data.mine.mass\n"
    .. "own.data.mine.mass = function(a, b, c, d) return m(c, d, a, b) end",
    "'mine': mass gives the probability .* but .* of 65536 draws are there")
  refused(square(BOX) .. "local m = own.data.mine.mass\n"
    .. "own.data.mine.mass = function(...) return m(...) * 1.1 end",
    "masses of the 64 cells of the grid add up to 1.1000")
  refused(square(BOX) .. "local m = own.data.mine.mass\n"
    .. "own.data.mine.mass = function(...) return m(...) * 0.99 end", "mass gives the probability")
  refused(square(BOX) .. "own.data.mine.inside = function(y, x) "
    .. "return math.abs(x) <= 1 and math.abs(y) <= 0.25 end", "%d+ %% of the set's own samples")
  refused(square(BOX) .. "own.data.mine.inside = function() return true end",
    "mass is 0 .* but inside says that the support is there")
  refused(square("{ sd = 4 / math.sqrt(3), "
    .. "mass = function(x0, x1, y0, y1) return (x1 - x0) * (y1 - y0) / 64 end, "
    .. "sample = function(b) return b:uniform({ 2 }, 'data') * 8 - 4 end }",
    "own.data.mine.inside = nil"), "94 %% of the samples are outside the grid")
end)

-- A uniform law on [-1, 1]^dim.
t.test("a mass that agrees with the samples only on a coarse grid",
  function()
    local lines = [[
    local normal = require "flowmap.normal"
    own.data = { d = { dim = 1, sd = 1, range = { -5, 5 }, mass = function(a, b)
      return b - a < 0.1 and 0 or normal.between(a, b)
    end, sample = function(b) return b:normal({ 1 }, "d") end } }
    own.settings.data = "d"]]
    refused(lines, "512 bins per axis, added up to 64, differ by 2%.0", { bins = 512 })
    run(lines) -- 64 bins
    run(lines, { bins = 48 })
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
  run("", { dataset_size = 1, sigma = 1 })
end)

local function cube(dim, fields)
  return 'own.settings.data = "mine"\nown.data = { mine = { sd = 1 / math.sqrt(3), dim = ' .. dim
    .. (", sample = function(b) return b:uniform({ %d }, 'data') * 2 - 1 end, %s } }"):format(dim,
    fields or "")
end

t.test("data of one, three and five dimensions: right numbers", function()
  local dir = run(cube(1, "mass = function(a, b) return (b - a) / 2 end, "
    .. "inside = function(x) return math.abs(x) <= 1 end"))
  local eval = json.read(dir .. "/eval.json")
  local x = fm.load_npy(dir .. "/samples-N1.npy"):flat()
  local out, sum, cells = 0, 0, {}
  for _, v in ipairs(x) do
    if math.abs(v) > 1 then out = out + 1 end
    local cell = v >= -1 and v < 1 and math.floor((v + 1) * 32) or 64
    cells[cell] = (cells[cell] or 0) + 1
  end
  for k = 0, 63 do
    sum = sum + math.log((#x + 32.5) / 64 / ((cells[k] or 0) + 0.5)) / 64
  end
  t.near(eval.rows[1].outside, out / #x, 1e-12)
  t.near(eval.rows[1].kl, sum, 1e-9)
  t.near(eval.rows[1].kl_floor, 64 / (2 * 2000), 0.02)
  for _, dim in ipairs { 3, 5 } do
    local row = json.read(run(cube(dim)) .. "/eval.json").rows[1]
    t.eq(row.kl, nil)
    t.near(row.energy_floor, 0, 0.02)
    t.near(row.sw_floor, 0, 0.05)
    t.eq(row.energy > row.energy_floor and row.mean_error >= 0 and row.cov_error > 0, true)
  end
  t.raises(function() load(cube(3, "mass = function() return 0 end")) end,
    "mass is the probability of an interval or of a rectangle, but dim is 3")
end)

t.test("data without mass", function()
  local eval = json.read(run(square("{}", "own.data.mine.mass = nil")) .. "/eval.json")
  t.eq(eval.columns[1][1], "outside")
  t.eq(eval.rows[1].kl, nil)
end)

t.test("draws of a law of times", function()
  local function times(body)
    return 'own.settings.times = "mine"\nown.times = { mine = function(a, c) ' .. body .. " end }"
  end
  refused(times "return fm.maximum(a, c), fm.minimum(a, c)", "'mine' drew s = .* 0 <= s <= t <= 1")
  refused(times "return a", "'mine' returned nothing, expected a tensor")
  refused(times "return fm.reshape(a, a.shape[1]), c", "'mine' returned a tensor %(4096%)")
  refused(times "return a, a + c", "drew s = ")
  local u = "local s, t = fm.minimum(a, c), fm.maximum(a, c); return s, t, "
  refused(times(u .. "2 * t"), "'mine' drew u = .* for s = .*, t = .*; expected s <= u <= t")
  refused(times(u .. "0 * s"), "'mine' drew u = 0 for s = ")
  refused(times(u .. "0.5"), "'mine' returned a number, expected a tensor")
  run(times(u .. "0.5 * (s + t)"))
end)

t.test("properties of an interpolant", function()
  local function bent(alpha, beta)
    return 'own.settings.interpolant = "mine"\nown.interpolants = { mine = { alpha = function(t) '
      .. "return " .. alpha .. " end, beta = function(t) return " .. beta .. " end } }"
  end
  run(bent("1 - t * t", "t * t"))
  refused(bent("1 - t", "t * 2"), "the interpolant 'mine': beta%(1%) is 2, expected 1")
  refused(bent("t", "t"), "alpha%(0%) is 0, expected 1")
  refused(bent("1 - t", "fm.floor(t * 8) / 8"), "beta jumps: its derivative adds up to 0")
  refused(bent("1 - t", "fm.stop(t)"), "beta has the derivative 0 at t")
  refused(bent("1 - t", "1"), "beta returned a number")
  refused(bent("1 - t", "fm.sum(t)"), "beta returned a tensor %(%)")
  refused(bent("1 - t", "t, 1"), "the interpolant 'mine': beta returned 2 values, expected one")
end)

t.test("results of a metric", function()
  local function metric(body)
    return "own.metrics = { mine = function(x, context) return " .. body .. " end }"
  end
  refused(metric "'big'", "the metric 'mine' returned a string, expected a number")
  refused(metric "nil", "the metric 'mine' returned nothing")
  refused(metric "fm.mean(x, 1)", "the metric 'mine' returned a tensor %(2%)")
  refused(metric "{ a = print }", "the metric 'mine', a, returned a function")
  refused(metric "0 / 0", "the metric 'mine' returned %-?nan, expected a finite number", nil,
    "numeric")
  refused("own.settings.checkpoints = 2 own.metrics = { kl_best = function() return 1 end }",
    "the name of an existing value")
  refused(metric "{ ['a b'] = 1 }", "named a number 'a b'")
  refused("own.metrics = { energy = function() return 1 end }", "the name of an existing value")
end)

t.test("a metric that returns different names at another N", function()
  own_files.refused_run(
    "own.metrics = { m = function(_, context) return { ['n' .. context.N] = 1 } end }",
    "metric 'm' returned m_n2 at N = 2, but m_n1 before")
end)

t.test("a metric's whole number is recorded, however large", function()
  local dir = run "own.metrics = { m = function() return math.mininteger end }"
  t.eq(require("flowmap.runs.record").need(dir, "eval").rows[1].m, -2^63)
end)

t.test("values beside the expected one are refused, which Lua would drop", function()
  refused(loss "function(a) return losses.norm2(a.map:b(a.t, a.x) - a.dx), 5 end",
    "the loss 'mine' returned 2 values, expected one")
  refused(net('{ init = function(rng) return { w = rng({ 2, 2 }, "lecun") } end, '
    .. "v = function(p, s, t, x) return fm.matmul(x, p.w), x end }"), "v returned 2 values")
  refused(net "{ init = function(rng) return { w = rng({ 1 }, 'zeros') }, 1 end, v = print }",
    "init returned 2 values")
  refused(square "{ sample = function(b) return b:uniform({ 2 }, 'd'), b:uniform({ 1 }, 'e') end }",
    "sample of the data set returned 2 values")
  refused("own.metrics = { mine = function() return 1, 2 end }", "'mine' returned 2 values")
  run "own.metrics = { mine = function() return 1, nil end }"
end)

t.test("samples are drawn in every step, and their streams are independent", function()
  local constant = "sample of the data set returned a constant, the same samples in every step"
  refused("local u = fm.uniform({ 8192, 2 }, { seed = 1 })\n"
    .. square "{ sample = function(b) return fm.rows(u, 1, b.n) end }", constant)
  refused(square [[{ sample = function(b)
    local x = {}
    for i = 1, b.n do x[i] = { math.random() * 2 - 1, math.random() * 2 - 1 } end
    return fm.tensor(x)
  end }]], constant)
  local kept = "a program that is being traced would keep these numbers, the same in every step"
  refused(square "{ sample = function(b) return b:uniform(2) * fm.uniform(2, { seed = 1 }) end }",
    "uniform: " .. kept)
  refused(loss [[function(a)
    return losses.norm2(a.map:b(a.t, a.x) - a.dx + fm.normal(a.x.shape, { seed = 1 })) end]],
    "normal: " .. kept)
  refused(square "{ sample = function(b) return fm.concat({ b:uniform(1), b:uniform(1) }, 2) end }",
    "uniform: the stream without a name has been drawn before in this micro%-batch")
  refused(square [[{ sample = function(b)
    return fm.where(fm.lt(b:normal(1, "d"), 0), b:uniform(2, "d"), 0.5) end }]],
    "uniform: the stream 'd' has been drawn before")
  refused(square("{ sample = function(b) return b:normal({ 2 }, 'base') / 1.7320508 end }",
    "own.data.mine.mass, own.data.mine.inside = nil, nil"),
    "normal: the stream 'base' has been drawn before")
end)

t.test("networks and losses treat samples one by one and keep no state", function()
  local init = 'init = function(rng) return { w = rng({ 2, 2 }, "zeros") } end, '
  local beside = "the net 'mine': v of a sample changes with the samples beside it"
  local v = "v = function(p, s, t, x) local h = fm.matmul(x, p.w) return h %s end }"
  refused(net("{ " .. init .. v:format "- fm.mean(h, 1, true)"), beside)
  refused(net("{ " .. init .. v:format "/ x.shape[1]"), beside)
  refused("local calls = 0\n" .. loss [[function(a)
    calls = calls + 1
    return losses.norm2(a.map:b(a.t, a.x) - a.dx) * math.min(1, calls / 1e6)
  end]], "the loss 'mine' has other values when it is traced again")
  local function beside_others(lines, set)
    local it = load(lines)
    local job = fm.trainer.new(it, experiment.resolve(it, { profile = "smoke", set = set }))
    return apart.check(job, job.params)
  end
  local weighted = loss [[function(a) local l = losses.norm2(a.map:b(a.t, a.x) - a.dx)
    return %s end]]
  t.eq(beside_others(weighted:format "fm.sum(a.t * l, { 2 })"), true) -- (n, 1) * (n)
  t.eq(beside_others(weighted:format "fm.sum(a.t, { 2 }) * l"), false)
  t.eq(beside_others(square "{}"), false)
  t.eq(beside_others(square "{}", { coupling = "ot" }), false)
  t.eq(beside_others(square "{}", { devices = 2 }), false)
end)

t.test("a metric changes nothing that others are given", function()
  local function metric(body)
    return "own.metrics = { mine = function(x, context) " .. body .. " return 1 end }"
  end
  local words = ": the tensor is one that all metrics are given, which is read%-only"
  refused(metric "x:copy_from(2 * x)", "copy_from" .. words)
  refused(metric "x:view(1, 2):view(2, 1):copy_from(x:rows(1, 1))", "copy_from" .. words)
  refused(metric "local d = context.data(10) d:copy_from(-d)", "copy_from" .. words)
  refused(metric "fm.optimiser { kind = 'adamw', params = { x } }", "optimiser" .. words)
  refused(metric "fm.optimiser { kind = 'adamw', params = context.params }", "optimiser" .. words)
  local dir = run [[own.metrics = {
    a = function(x, c) c.N = 7 local y = fm.copy(x) y:copy_from(0 * y) return fm.sum(y):item() end,
    b = function(_, c) return c.N end }]]
  local row = json.read(dir .. "/eval.json").rows[1]
  t.eq({ row.a, row.b }, { 0, 1 })
end)

t.test("a metric sees the trained map, and keeps a tensor once the run is trained", function()
  local dir = run [[own.settings.eval_ema, own.settings.sigma = 0, 0.5
    own.metrics = { mine = function(samples, context)
      local X, one = context.map(context.params), fm.ones { 1, 1 }
      local y = X(0 * one, one, fm.concat({ one, one }, 2))
      context.keep("mine", y)
      return fm.sum(y):item()
    end }]]
  local kept = fm.load_npy(dir .. "/mine.npy")
  t.eq(kept.shape, { 1, 2 })
  local row = json.decode(files.read(dir .. "/eval.json")).rows[1]
  t.near(row.mine, fm.sum(kept):item(), 0)
  t.eq(json.decode(files.read(dir .. "/manifest.json")).files["mine.npy"] ~= nil, true)
  refused("own.metrics = fm.map_error.metrics", "'checkerboard' has no `mixture`")
  refused("own.settings.data, own.metrics = 'modes2', fm.map_error.metrics",
    "the metric 'law' samples in N steps, but dopri5 chooses its steps", { sampler = "dopri5" })
  refused("own.settings.data, own.metrics = 'modes2', { far = fm.map_error.metrics.map }",
    "the metric 'far' compares in float32, but dtype is float64", { dtype = "float64" })
end)

t.test("the least number of samples of an evaluation", function()
  refused("", "eval_samples is 1; the energy distance needs at least 2", { eval_samples = 1 })
  refused("", "eval_samples is 4, but the estimate of KL from the 5 nearest neighbours needs",
    { eval_samples = 4, kl_estimates = true })
end)

t.test("samples that are not finite are not written", function()
  local dir = run ""
  local path = dir .. "/checkpoint.safetensors"
  local tensors, meta = fm.load_safetensors(path)
  for name, tensor in pairs(tensors) do tensors[name] = tensor * 1e30 end
  fm.save_safetensors(path, tensors, meta)
  for _, kind in ipairs { "csv", "npy", "png" } do
    local out = ("%s/huge.%s"):format(root, kind)
    local err = t.raises(function()
      fm.samples.write { checkpoint = path, out = out, steps = 2, count = 100, seed = 0 }
    end, "the samples at N = 2 are not finite")
    t.eq(err.code, "numeric")
    t.eq(files.exists(out), false)
  end
end)

local ENDING = [[
return { name = "own", %s, profiles = { smoke = { steps = 2, batch = 8, micro = 8, width = 8,
  depth = 1, eval_samples = 50, nfe = { 1 }, bins = 4, log_every = 1 } } }]]

t.test("a function that ends the program does not let a run succeed that has no result", function()
  for where, field in pairs { ["the file"] = "seeds = os.exit(0)",
    ["a metric"] = "metrics = { m = function() os.exit(true, true) end }" } do
    sandbox.write("ending.lua", ENDING:format(field))
    local code, said = sandbox.flowmap "run ending.lua --profile smoke --out ending"
    t.eq({ code, said:find "ending.lua:1: os.exit was called; an experiment returns" ~= nil },
      { 2, true }, where .. ": " .. said)
  end
  t.eq(sandbox.flowmap("lua " .. sandbox.write("ends.lua", "os.exit(7)")), 7)
end)

t.done()
