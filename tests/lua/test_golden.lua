-- Comparison with golden values: an independent implementation of the method (tests/golden/make.py)
-- gives losses, gradients, optimisers, training steps and samples, and ours must agree.

local t = require "harness"
local fm = require "flowmap"
local interpolants = require "flowmap.interpolants"
local losses = require "flowmap.losses"
local sampler = require "flowmap.sampler"
local step = require "flowmap.step"
local trainer = require "flowmap.trainer"
local tree = require "flowmap.tree"

local F64, F32 = "float64", "float32"
local here = arg[0]:match "^(.*)/lua/[^/]*$" or "tests"

-- float64: both sides differ only by rounding. float32: golden/README.md explains the bounds.
local BOUND = { [F64] = 1e-10, [F32] = 1e-4 }

-- ---------------------------------------------------------------------- golden files

local function load(name)
  local G, meta = fm.load_safetensors(("%s/golden/%s.safetensors"):format(here, name))
  G.meta = meta
  return G
end

local function typed(x, dtype) return fm.cast(x, dtype) end

-- The tree of the golden values PREFIX.*, in the structure of `like`.
local function golden(G, prefix, like)
  return tree.map(function(_, name)
    local key = name == "" and prefix or prefix .. "." .. name
    return G[key] or error("there is no golden value " .. key)
  end, like)
end

local function mlp(G)
  local cfg = { net = "mlp", features = 0, time_input = "raw", times = "uniform",
    interpolant = G.meta.interpolant, off_weight = 1, robust = 0 }
  for _, key in ipairs { "sigma", "width", "depth", "dim", "eta" } do
    cfg[key] = tonumber(G.meta[key])
  end
  return fm.nets.build(cfg), cfg
end

local function parameters(G, net, dtype)
  local like = net.init(function() return false end)
  return tree.map(function(x) return typed(x, dtype) end, golden(G, "params", like))
end

-- Check that trees agree tensor by tensor, relative to the largest value of each tensor.
local function near(found, expected, bound, what)
  local expect = {}
  tree.each(function(x, name) expect[name] = x end, expected)
  tree.each(function(x, name)
    local e = expect[name] or error(what .. ": found " .. name .. ", which was not expected")
    expect[name] = nil
    t.eq(x.shape, e.shape, what .. " " .. name)
    local size = fm.max_reduce(fm.abs(e)):item()
    local off = fm.max_reduce(fm.abs(typed(x, F64) - e)):item()
    t.near(off, 0, bound * size, ("%s %s, of size %.3g"):format(what, name, size))
  end, found)
  t.eq(next(expect), nil, what .. ": a value is absent")
end

-- ---------------------------------------------------------------------- losses

-- The golden name of a loss -> its file and what it takes for g.
local METHODS = {
  diagonal = { file = "diagonal", stops = { "default" } },
  lsd = { file = "lsd", stops = { "convex", "none" } },
  esd = { file = "esd", stops = { "full", "convex", "none" } },
  ["psd-m"] = { file = "psd", stops = { "convex", "none" }, g = 0.5 },
  ["psd-u"] = { file = "psd", stops = { "convex", "none" } },
}

-- The off-diagonal ones.
local OFF = {}
for _, name in ipairs(tree.keys(METHODS)) do
  if name ~= "diagonal" then OFF[#OFF + 1] = name end
end

-- Compare one loss, called directly, and the gradient of its mean with the golden NAME.STOP.
local function check_loss(G, name, stop, against, dtype)
  local method, net = METHODS[name], mlp(G)
  local function column(key) return typed(fm.reshape(G[key], { #G[key], 1 }), dtype) end
  local s, time = column "s", column "t"
  local x, dx = interpolants.at(interpolants[G.meta.interpolant],
    name == "diagonal" and time or s, typed(G.x0, dtype), typed(G.x1, dtype))
  local function each(params)
    return losses[method.file] {
      map = fm.map.of(net, params), s = s, t = time, x = x, dx = dx, stop = stop,
      g = method.g or column "g",
    }
  end
  local params, bound = parameters(G, net, dtype), BOUND[dtype]
  local total, grads = fm.value_and_grad(function(p) return fm.mean(each(p)) end)(params)
  local L = G[("%s.%s.loss"):format(name, against)]
  near(each(params), L, bound, "losses")
  near(total, fm.mean(L), bound, "mean")
  near(grads, golden(G, ("%s.%s.grad"):format(name, against), params), bound, "gradient")
end

-- ---------------------------------------------------------------------- batches

-- A job of the trainer for given draws, with the weight w(params, s, t).
local function job_of(G, method, weight, params)
  local net, cfg = mlp(G)
  local loss = losses.find(method)
  cfg.stop = loss.stops[1]
  local weighted = {
    v = function(p, ...) return net.v(p.layers, ...) end,
    weight = weight,
  }
  return fm.job.new { net = weighted, cfg = cfg, loss = loss, params = params,
    times = fm.times[cfg.times], interpolant = interpolants[cfg.interpolant] }
end

local function columns(G, prefix, dtype)
  local rows = {}
  for _, key in ipairs { "x0", "x1", "a", "c", "g" } do
    local x = G[prefix .. key]
    rows[key] = typed(#x.shape == 1 and fm.reshape(x, { #x, 1 }) or x, dtype)
  end
  return rows
end

-- Gradient and losses of a micro-batch, as flowmap.step has them, except that the draws are given.
local function batch_program(job, rows, micro)
  local shapes = {}
  for key, x in pairs(rows) do shapes[key] = { x.shape[2], dtype = x.dtype } end
  return fm.program(function(input, b)
    local nd, it = b:split(job.cfg.eta), {}
    for key, x in pairs(b.rows) do it[key] = x end
    it.g = job.loss.args.g ~= "uniform" and job.loss.args.g or it.g
    local on, off
    local _, grads = fm.value_and_grad(function(params)
      on, off = step.losses(job, params, it, nd, b.n)
      return fm.sum(on) + fm.sum(off)
    end)(input.params)
    return {
      sum = { grads = grads, diagonal = fm.sum(on), off = fm.sum(off) },
      rows = { loss = fm.concat({ on, off }, 1) },
    }
  end, { shared = { params = job.params }, rows = shapes, micro = micro })
end

-- Rows in the order given, so that the golden diagonal samples lead in every micro-batch.
local function reorder(x, order)
  local parts = {}
  for k, i in ipairs(order) do parts[k] = fm.slice(x, 1, i, 1) end
  return fm.concat(parts, 1)
end

local function check_batch(G, name, method, weight, micro, order, dtype)
  local params = { layers = parameters(G, mlp(G), dtype) }
  params.weight = name == "learned" and typed(G.weight, dtype) or nil
  local job = job_of(G, method, weight, params)
  if name == "least" then job.cfg.eta = 0.1 end
  local rows = columns(G, "", dtype)
  for key, x in pairs(rows) do rows[key] = reorder(x, order) end
  local out = batch_program(job, rows, micro):run {
    shared = { params = params }, rows = rows, batch = #order,
  }
  local at, bound = name .. "." .. method, BOUND[dtype]
  local total = (out.sum.diagonal + out.sum.off) / #order
  near(out.rows.loss, reorder(G[at .. ".loss"], order), bound, "losses")
  near(total, G[at .. ".total"], bound, "total")
  near(tree.map(function(g) return g / #order end, out.sum.grads.layers),
    golden(G, at .. ".grad", params.layers), bound, "gradient")
  if params.weight then
    near(out.sum.grads.weight / #order, G[at .. ".grad.weight"], bound, "gradient of the weight")
  end
end

-- w(s,t) = p1 + p2 sin(3 s) + p3 s t
local function toy_weight(params, s, time)
  local p1, p2, p3 = fm.split(params.weight, { 1, 1, 1 })
  s, time = fm.reshape(s, { s.shape[1] }), fm.reshape(time, { s.shape[1] })
  return p1 + p2 * fm.sin(3 * s) + p3 * s * time
end

-- ---------------------------------------------------------------------- networks

local STRAIGHT, TURNED = { 1, 2, 3, 4, 5, 6 }, { 1, 2, 5, 3, 4, 6 }

local function check_file(file, dtype)
  local G = load(file)
  local where = (" (%s, %s)"):format(file, dtype)
  for name, method in pairs(METHODS) do
    for _, stop in ipairs(method.stops) do
      t.test(name .. " " .. stop .. where, function() check_loss(G, name, stop, stop, dtype) end)
    end
  end
  for _, method in ipairs(OFF) do
    t.test("batch of " .. method .. where, function()
      check_batch(G, "plain", method, nil, 6, STRAIGHT, dtype)
    end)
    t.test("batch of " .. method .. " in two micro-batches" .. where, function()
      check_batch(G, "plain", method, nil, 3, TURNED, dtype)
    end)
    t.test("learned weight, " .. method .. where, function()
      check_batch(G, "learned", method, toy_weight, 6, STRAIGHT, dtype)
    end)
  end
  t.test("at least one sample is diagonal" .. where, function()
    check_batch(G, "least", "lsd", nil, 6, STRAIGHT, dtype)
  end)
  t.test("samples in 1, 2 and 4 steps" .. where, function()
    local net = mlp(G)
    local X = fm.map.of(net, parameters(G, net, dtype))
    for _, N in ipairs { 1, 2, 4 } do
      near(sampler.steps(X, typed(G.x0, dtype), N), G["sample." .. N], BOUND[dtype], "N = " .. N)
    end
  end)
end

for _, file in ipairs { "linear2d", "trig3d" } do
  for _, dtype in ipairs { F64, F32 } do check_file(file, dtype) end
end

t.test("the comparison tells stop-gradients apart", function()
  local G = load "linear2d"
  for name, method in pairs(METHODS) do
    for _, stop in ipairs(method.stops) do
      for _, other in ipairs(method.stops) do
        if stop ~= other then
          for _, dtype in ipairs { F64, F32 } do
            t.raises(function() check_loss(G, name, stop, other, dtype) end, "gradient")
          end
        end
      end
    end
  end
end)

-- ---------------------------------------------------------------------- optimisers

-- Twenty updates; `scale` times gradients divided by it are the golden ones.
local function check_optimiser(kind, dtype, scale)
  local G, bound = load "optimisers", BOUND[dtype]
  local like = { a = false, b = false }
  local params = tree.map(function(x) return typed(x, dtype) end, golden(G, kind .. ".start", like))
  local opt = fm.optimiser {
    kind = kind, params = params, b1 = 0.9, b2 = 0.999, eps = 1e-8, clip = 1, ema = { 0.9, 0.99 },
    weight_decay = kind == "adamw" and 0.1 or 0,
  }
  local cfg = { lr = 0.01, schedule = "sqrt", decay_start = 7, warmup = 0 }
  for k = 0, 19 do
    local at = ("%s.%d"):format(kind, k)
    local grads = tree.map(function(g) return typed(g / scale, dtype) end,
      golden(G, at .. ".grad", like))
    local norm = opt:update(grads, fm.schedule.rate(k, cfg), scale)
    local expected = G[at .. ".norm"]:item()
    t.near(norm, expected, bound * expected, "norm")
    near(params, golden(G, at .. ".param", like), bound, "after update " .. k + 1)
  end
  for k = 1, 2 do
    near(opt:ema(k), golden(G, ("%s.ema.%d"):format(kind, k), like), bound, "average " .. k)
  end
end

for _, kind in ipairs { "radam", "adamw" } do
  for _, dtype in ipairs { F64, F32 } do
    t.test(("%s (%s)"):format(kind, dtype), function() check_optimiser(kind, dtype, 1) end)
    t.test(("%s, scaled gradients (%s)"):format(kind, dtype), function()
      check_optimiser(kind, dtype, 0.125)
    end)
  end
end

-- ---------------------------------------------------------------------- training

-- A job that trains on the golden noise: the trainer's step except for the draws.
local function training_job(G, method, w, dtype)
  local net = mlp(G)
  local params = { layers = parameters(G, net, dtype) }
  local job = job_of(G, method, function(_, s) return fm.full({ s.shape[1] }, w, dtype) end, params)
  local cfg = job.cfg
  cfg.batch, cfg.seed, cfg.method = 6, 0, method
  cfg.lr, cfg.schedule, cfg.decay_start, cfg.warmup = 0.02, "sqrt", 2, 0
  job.shared, job.done, job.terms = { params = params }, 0, step.terms(cfg)
  job.opt = fm.optimiser {
    kind = "radam", params = params, b1 = 0.9, b2 = 0.999, eps = 1e-8, clip = 1.5,
    ema = { 0.5, 0.9 },
  }
  local program = batch_program(job, columns(G, "noise.0.", dtype), 6)
  job.program = {
    run = function(_, it)
      it.rows = columns(G, ("noise.%d."):format(it.step), dtype)
      return program:run(it)
    end,
  }
  return job
end

local function check_training(G, method, w, dtype)
  local job, name = training_job(G, method, w, dtype), ("train.%s.w%d"):format(method, w)
  local bound, layers = BOUND[dtype], job.params.layers
  local norms = G[name .. ".norms"]:flat()
  for k = 1, 8 do
    t.near(trainer.step(job).norm, norms[k], bound * norms[k], "norm of step " .. k)
    local after = ("%s.after%d"):format(name, k)
    if k == 3 or k == 8 then near(layers, golden(G, after, layers), bound, after) end
  end
  for k = 1, 2 do
    near(job.opt:ema(k).layers, golden(G, ("%s.ema.%d"):format(name, k), layers), bound,
      "average " .. k)
  end
end

local function check_method(method, w)
  for _, dtype in ipairs { F64, F32 } do
    t.test(("eight steps of %s, w = %d (%s)"):format(method, w, dtype), function()
      check_training(load "training", method, w, dtype)
    end)
  end
end

for _, method in ipairs(OFF) do check_method(method, 0) end
check_method("lsd", 1)

t.done()
