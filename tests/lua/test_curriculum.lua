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
  t.raises(span("ct", { 2.5, 150 }), "two whole numbers of levels")
  t.raises(span("ect", { 0.25, 0.5 }), "at most the first")
  t.raises(function() resolve("lsd", { curriculum = "sigmoid" }) end, "only the semigroup")
  t.raises(function() resolve("psd-m", { curriculum = "root" }) end, "the law of times uniform")
  t.raises(function() resolve("ict", { levels = 20 }) end, "the curriculum drives it")
  t.raises(function() resolve("esd", { tangent_warmup = 5 }) end, "only with stop = target")
end)

t.test("a curriculum drives an experiment's own law of times", function()
  local own = { name = "own", path = "own", methods = { "psd-m" }, profiles = { smoke = {} },
    settings = board.settings, times = { mine = function(a, c, cfg)
      return fm.minimum(a, c), fm.maximum(a, c) * (1 - 1 / cfg.levels)
    end, deaf = function(a, c) return fm.minimum(a, c), fm.maximum(a, c) end } }
  local function job_of(law)
    local cfg = experiment.resolve(own, { profile = "smoke", set = { times = law, width = 16,
      depth = 2, batch = 96, micro = 32, curriculum = "doubling", curriculum_span = { 2, 8 } } })
    local job = trainer.new(own, cfg)
    trainer.step(job)
    fm.effect.settle(cfg, job.read)
    return job
  end
  t.eq(job_of "mine".shared.fed.levels:item(), 3.0)
  t.raises(function() job_of "deaf" end, "curriculum has no effect: no part of the experiment")
end)

t.test("only what a coordinate reads is fed", function()
  for _, method in ipairs { "lsd", "esd", "psd-u", "meanflow", "shortcut" } do
    t.eq(curriculum.inputs(resolve(method)), nil, method)
  end
  t.eq(fm.tree.keys(curriculum.inputs(resolve "alphaflow")), { "g" })
  t.eq(fm.tree.keys(curriculum.inputs(resolve("meanflow", { tangent_warmup = 5 }))), { "tangent" })
end)

t.test("the tangent's warm-up is k/H, H in steps or as a part of them", function()
  for H, expected in pairs { [4] = { 0.0, 0.25, 0.5, 0.75, 1.0, 1.0 },
    [0.25] = { 0.0, 0.5, 1.0, 1.0, 1.0, 1.0 } } do -- of 8 steps
    local cfg, found = resolve("meanflow", { tangent_warmup = H }), {}
    local inputs = curriculum.inputs(cfg)
    for k = 0, 5 do
      curriculum.feed(cfg, k, inputs)
      found[k + 1] = inputs.tangent:item()
    end
    t.eq(found, expected, H)
  end
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

t.test("the target's average follows mu(k)", function()
  local job = trained(resolve("ct", { dtype = "float64" }), 2)
  local before = job.shared.target[1].w:get(1, 1)
  trainer.step(job)
  local mu = curriculum.target_decay(job.cfg, 2)
  local expected = mu * before + (1 - mu) * job.params[1].w:get(1, 1)
  t.near(job.shared.target[1].w:get(1, 1), expected, 1e-15)
  t.eq(mu ~= curriculum.target_decay(job.cfg, 0), true)
end)

t.test("a compiled step reads the value of its own run", function()
  for method, values in pairs { ict = { 6, 11 }, ect = { 0.5, 0.25 }, alphaflow = { 0.5, 1 },
    sct = { 0.5, 1 } } do
    local job = trainer.new(board, resolve(method))
    local function loss(x)
      local _, input = next(job.shared.fed)
      input:copy_from(fm.full({}, x, "float32"))
      local out = job.program:run { shared = job.shared, batch = 96, seed = 1, step = 0 }
      return fm.bytes(out.sum.off)
    end
    local first = loss(values[1])
    t.eq(loss(values[2]) == first, false, method)
    t.eq(loss(values[1]), first, method)
  end
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

-- ------------------------------------------------------------------ terms and their columns

local function drawn(job, rows)
  local it = { fed = {} }
  for name, columns in pairs { x0 = 2, x1 = 2, a = 1, c = 1, diagonal_a = 1, diagonal_c = 1 } do
    it[name] = fm.uniform({ rows, columns }, { seed = 3, stream = name, dtype = job.cfg.dtype })
  end
  return it
end

t.test("both_terms: every sample enters both, each with times of its own", function()
  local job = fm.job.parts(board, resolve("tvm", { dtype = "float64", target = "current" }))
  local params = job.net.init(fm.nets.rng(1, "float64"))
  local it = drawn(job, 8)
  local diagonal, off = fm.step.losses(job, params, it, 5, 8)
  t.eq({ diagonal.shape, off.shape }, { { 8 }, { 8 } })
  local apart = fm.job.with(job, { both_terms = false })
  local _, all_off = fm.step.losses(apart, params, it, 0, 8)
  local all_diagonal = fm.step.losses(apart, params, it, 8, 8)
  t.eq(fm.bytes(off), fm.bytes(all_off))
  t.eq(fm.bytes(diagonal), fm.bytes(all_diagonal))
  it.diagonal_a = nil -- the diagonal's times are its own
  t.eq(fm.bytes((fm.step.losses(job, params, it, 8, 8))) == fm.bytes(diagonal), false)
  t.eq({ fm.step.terms(job.cfg)[1].rows, fm.step.terms(job.cfg)[2].rows }, { 96, 96 })
  t.raises(function() resolve("tvm", { eta = 0.5 }) end, "every sample enters both terms")
  t.raises(function() resolve("tvm", { devices = 2 }) end, "no sample belongs to one term alone")
end)

t.test("the loss of both terms is the sum of their means", function()
  local job = trainer.new(board, resolve("tvm", { steps = 1, log_every = 1 }))
  local dir = sandbox.mkdir "both"
  trainer.train(job, dir)
  local line = fm.json.decode(fm.files.read(dir .. "/metrics.jsonl"))
  t.near(line.loss, line.diag + line.off, 1e-6)
  t.eq(line.off_weighted, nil)
end)

t.test("a weighted term is logged beside the unweighted one", function()
  local job = trainer.new(board, resolve("meanflow", { steps = 1, log_every = 1, c = 1e4,
    dtype = "float64" }))
  local dir = sandbox.mkdir "weighted"
  trainer.train(job, dir)
  local line = fm.json.decode(fm.files.read(dir .. "/metrics.jsonl"))
  -- c is large: R_p(L) is nearly L, and the net's weight w is 1
  t.near(line.off_weighted / (math.exp(-1) * line.off + 1), 1, 1e-4)
  t.near(line.diag_weighted / (math.exp(-1) * line.diag + 1), 1, 1e-4)
  t.near(line.loss, (72 * line.diag + 24 * line.off) / 96, 1e-6)
  -- a checkpoint from before these columns can be continued
  local saved = fm.checkpoint.load(dir .. "/checkpoint.safetensors")
  saved.sums.off_weighted = nil
  t.eq(trainer.new(board, saved.cfg, saved).sums.off_weighted, 0)
end)

t.test("laws of the diagonal's times", function()
  local job = fm.job.parts(board, resolve("meanflow", { dtype = "float64" }))
  local params, it = job.net.init(fm.nets.rng(1, "float64")), drawn(job, 8)
  it.diagonal_a, it.diagonal_c = nil, nil
  local seen
  local v = job.net.v
  function job.net.v(p, s, ...)
    seen = seen or s
    return v(p, s, ...)
  end
  fm.step.losses(job, params, it, 8, 8)
  t.eq(fm.bytes(seen), fm.bytes((job.times(it.a, it.c, job.cfg))))
end)

-- ------------------------------------------------------------------ laws of times

local function column(stream)
  return fm.uniform({ 20000, 1 }, { seed = 2, stream = stream, dtype = "float64" })
end

local function moments(x)
  local mean = fm.mean(x):item()
  return mean, math.sqrt(fm.mean(fm.square(x - mean)):item())
end

t.test("sCM's angle has a log-normal tangent", function()
  local s = fm.times.angle_normal(column "a", column "c", { times_mean = { -0.3, 0 },
    times_sd = { 1.4, 1 } })
  local angle = math.pi / 2 * (1 - s)
  local mean, sd = moments(fm.log(fm.sin(angle) / fm.cos(angle)))
  t.near(mean, -0.3, 0.03)
  t.near(sd, 1.4, 0.03)
end)

t.test("shortcut models: h = 1, 1/2, ..., 1/64 equally likely, s any multiple of it", function()
  local s, to = fm.times.dyadic(column "a", column "c")
  local count, later = {}, {}
  s, to = s:flat(), to:flat()
  for i = 1, #s do
    local level = math.floor(0.5 - math.log(to[i] - s[i], 2))
    local place = s[i] * 2 ^ level
    t.near(place, math.floor(place + 0.5), 1e-9)
    t.near(to[i] - s[i], 2 ^ -level, 1e-12)
    count[level] = (count[level] or 0) + 1
    later[level] = (later[level] or 0) + (s[i] > 0.4999 and 1 or 0)
  end
  t.eq(fm.tree.keys(count), { 0, 1, 2, 3, 4, 5, 6 })
  for level = 0, 6 do
    t.near(count[level] / #s, 1 / 7, 0.01)
    t.near(later[level] / count[level], level == 0 and 0 or 0.5, 0.04)
  end
end)

t.test("the diagonal's times: multiples of 1/128; the law's second logit-normal variate", function()
  local odd = 0
  for _, x in ipairs(fm.times.diagonal.grid(column "a"):flat()) do
    t.eq(x * 128 % 1, 0.0)
    odd = odd + x * 128 % 2
  end
  t.near(odd / 20000, 0.5, 0.015)
  local x = fm.times.diagonal.logit_normal(column "a", column "c", { times_mean = { -2, 0.5 },
    times_sd = { 1, 0.7 } })
  local mean, sd = moments(fm.log(x / (1 - x)))
  t.near(mean, 0.5, 0.02)
  t.near(sd, 0.7, 0.02)
end)

t.test("ECT's u: the noise level falls by the share, more at small noise", function()
  local s, _, u = fm.times.noise_share(column "a", column "c", { share = 0.1,
    times_mean = { 0, 0 }, times_sd = { 2, 1 } })
  local function noise(x) return 0.5 * (1 - x) / x end
  local ratio = (noise(u) / noise(s)):flat()
  local sigma = noise(s):flat()
  for i = 1, 200 do
    t.near(ratio[i], math.max(0, 1 - 0.1 * (1 + 8 / (1 + math.exp(sigma[i])))), 1e-9)
  end
end)

t.test("iCT's steps are those of the grid, drawn by a log-normal noise level", function()
  local cfg = { levels = 11, times_mean = { 0.41, 0 }, times_sd = { 2, 1 } }
  local s, _, u = fm.times.noise_levels_normal(column "a", column "c", cfg)
  local drawn_s = fm.times.logit_normal_to_one(column "a", column "c", cfg):flat()
  local from, to = s:flat(), u:flat()
  local grid = fm.times.noise_levels(column "a", nil, { levels = 11 }):flat()
  local known = {}
  for i = 1, 2000 do known[("%.9f"):format(grid[i])] = true end
  for i = 1, 500 do
    t.eq(known[("%.9f"):format(from[i])], true)
    local inside = from[i] <= drawn_s[i] + 1e-12 and drawn_s[i] <= to[i] + 1e-12
    local below = drawn_s[i] < 0.5 / 80.5 and from[i] < 0.5 / 80.4
    t.eq(inside or below, true)
  end
end)

t.test("IMM's u: the noise ratio falls by 160/N, but u is at most t", function()
  local s, to, u = fm.times.noise_ratio(column "a", column "c", { levels = 1600 })
  local a, b, c = s:flat(), to:flat(), u:flat()
  local at_end = 0
  for i = 1, 500 do
    local expected = 1 / (1 + math.max(0, (1 - a[i]) / a[i] - 0.1))
    t.near(c[i], math.min(expected, b[i]), 1e-12)
    at_end = at_end + (c[i] == b[i] and 1 or 0)
  end
  t.eq(at_end > 0 and at_end < 500, true)
end)

t.test("particles of a group share their times", function()
  local shared = fm.groups.shared(fm.reshape(fm.tensor { 1, 2, 3, 4, 5, 6, 7 }, { 7, 1 }), 3):flat()
  t.eq(shared, { 1.0, 1.0, 1.0, 4.0, 4.0, 4.0, 7.0 })
end)

t.done()
