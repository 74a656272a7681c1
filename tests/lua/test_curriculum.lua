-- Values that change during a training: the curricula as functions, what a step's program is fed,
-- and resumption.

local t = require "harness"
local fm = require "flowmap"
local sandbox = require "sandbox"

local curriculum, experiment, trainer = fm.curriculum, fm.experiment, fm.trainer
local board = { name = "plain", path = "plain", methods = { "lsd" }, profiles = { smoke = {} },
  settings = { data = "checkerboard", lr = 1e-3, ema = { 0.9 } } }

local function resolve(method, more)
  local set = { width = 16, depth = 2, batch = 96, micro = 32, steps = 8, save_every = 0 }
  for key, value in pairs(more or {}) do set[key] = value end
  return experiment.resolve(board, { profile = "smoke", method = method, set = set })
end

local function bits(tensors)
  local parts = {}
  fm.tree.each(function(x, name) parts[#parts + 1] = name .. fm.bytes(x) end, tensors)
  return fm.sha256(table.concat(parts))
end

local function value(name, x, span) return curriculum.shapes[name].value(x, span) end

t.test("alpha-Flow's sigmoid: 1/2 in the middle, exactly 1 and 0 at the ends", function()
  t.near(value("sigmoid", 0.5, { 0, 1 }), 0.5, 1e-15)
  t.eq({ value("sigmoid", 0.2, { 0, 1 }), value("sigmoid", 0.8, { 0, 1 }) }, { 0.0, 1.0 })
  t.near(value("sigmoid", 0.6, { 0, 1 }), 1 / (1 + math.exp(-2.5)), 1e-15)
  t.near(value("sigmoid", 0.7, { 0.5, 0.8 }), 1 / (1 + math.exp(-25 * 0.05 / 0.3)), 1e-14)
  t.eq(value("sigmoid", 0.49, { 0.5, 0.8 }), 0.0)
end)

t.test("numbers of levels: CT's root with its mu, iCT's doubling, ECT's shares", function()
  local span = { 2, 150 }
  t.eq({ value("root", 0, span), value("root", 1, span) }, { 2.0, 151.0 })
  t.eq(value("root", 0.5, span), math.ceil(math.sqrt(0.5 * (151 ^ 2 - 4) + 4) - 1) + 1.0)
  t.near(curriculum.shapes.root.decay(151, 0.9, span), math.exp(2 * math.log(0.9) / 150), 1e-15)
  local levels = {}
  for k = 0, 7 do levels[k + 1] = value("doubling", (k + 0.5) / 8, { 10, 1280 }) end
  t.eq(levels, { 11.0, 21.0, 41.0, 81.0, 161.0, 321.0, 641.0, 1281.0 })
  t.eq({ value("shrinking", 0, { 0.5, 1 / 256 }), value("shrinking", 0.99, { 0.5, 1 / 256 }) },
    { 0.5, 1 / 256 })
end)

t.test("spans that a curriculum cannot take are refused", function()
  local function span(method, list)
    return function() resolve(method, { curriculum_span = list }) end
  end
  t.raises(span("alphaflow", { 1, 0 }), "curriculum sigmoid takes two fractions of the training")
  t.raises(span("ct", { 1, 150 }), "the first at least 2")
  t.raises(span("ect", { 0.25, 0.5 }), "at most the first")
  t.raises(function() resolve("lsd", { curriculum = "sigmoid" }) end, "only the semigroup")
  t.raises(function() resolve("psd-m", { curriculum = "root" }) end, "the law of times uniform")
  t.raises(function() resolve("ict", { levels = 20 }) end, "the curriculum drives it")
  t.raises(function() resolve("esd", { tangent_warmup = 5 }) end, "only with stop = target")
end)

t.test("only what a coordinate reads is fed", function()
  for _, method in ipairs { "lsd", "esd", "psd-u", "meanflow", "shortcut" } do
    t.eq(curriculum.inputs(resolve(method)), nil, method)
  end
  t.eq(fm.tree.keys(curriculum.inputs(resolve "alphaflow")), { "g" })
  t.eq(fm.tree.keys(curriculum.inputs(resolve("meanflow", { tangent_warmup = 5 }))), { "tangent" })
end)

local function trained(cfg, steps, saved)
  local job = trainer.new(board, cfg, saved)
  for _ = 1, steps do trainer.step(job) end
  return job
end

t.test("one program serves all steps, each with its own value", function()
  -- a curriculum whose value is constant gives the bits of the constant
  local double = { dtype = "float64", micro = 96 }
  local function with(more)
    for key, x in pairs(double) do more[key] = x end
    return more
  end
  local warm = trained(resolve("meanflow", with { tangent_warmup = 4 }), 5)
  t.eq(warm.shared.fed.tangent:item(), 1.0)
  local compiled = 0
  for _ in pairs(warm.program.compiled) do compiled = compiled + 1 end
  t.eq(compiled, 1)
  t.eq(bits(warm.params) == bits(trained(resolve("meanflow", with {}), 5).params), false)
  -- a curriculum of one value
  local levels = trained(resolve("ict", with { curriculum_span = { 5, 5 } }), 3)
  local fixed = trained(resolve("ict", with { curriculum = "none", levels = 6 }), 3)
  t.eq(levels.shared.fed.levels:item(), 6.0)
  t.eq(bits(levels.params), bits(fixed.params))
  local other = trained(resolve("ict", with { curriculum_span = { 6, 6 } }), 3)
  t.eq(bits(other.params) == bits(levels.params), false)
end)

for _, method in ipairs { "ct", "ict", "ect", "alphaflow", "sct" } do
  t.test(method .. ": a resumed training ends with the same bits", function()
    local cfg = resolve(method)
    local job = trained(cfg, 4)
    local path = sandbox.mkdir("resumed-" .. method) .. "/checkpoint.safetensors"
    fm.checkpoint.save(path, job, { step = job.done })
    local again = trained(cfg, 4, fm.checkpoint.load(path))
    for _ = 1, 4 do trainer.step(job) end
    t.eq(bits(again.params), bits(job.params))
    t.eq(bits(again.opt:state()), bits(job.opt:state()))
    local late = trainer.new(board, cfg, fm.checkpoint.load(path))
    late.done = 0 -- a training that forgets where it was
    for _ = 1, 4 do trainer.step(late) end
    t.eq(bits(late.params) == bits(job.params), false)
  end)
end

t.test("alpha-Flow at alpha = 0 is MeanFlow, sample by sample", function()
  local X = fm.map.new(function(s, to, x) return fm.tanh(x * (1 + s) - to) end)
  local function draw(columns, stream)
    return fm.uniform({ 8, columns }, { seed = 1, stream = stream, dtype = "float64" })
  end
  local a = { map = X, s = 0.5 * draw(1, "s"), t = 0.5 + 0.5 * draw(1, "t"), x = draw(2, "x"),
    dx = draw(2, "dx"), x0 = draw(2, "x0"), x1 = draw(2, "x1") }
  local expected = fm.losses.meanflow(a):flat()
  a.stop, a.g = nil, fm.ones({ 8, 1 }, "float64")
  local found = fm.losses.alphaflow(a):flat()
  a.g = 0.99 * a.g
  local near = fm.losses.alphaflow(a):flat()
  for k = 1, 8 do
    t.near(found[k], expected[k], 1e-12 * (1 + expected[k]))
    t.eq(near[k] ~= expected[k], true)
  end
end)

t.done()
