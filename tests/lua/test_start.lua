-- Runs that begin with the weights of a checkpoint, and the gradients of the two terms apart.

local t = require "harness"
local cache = require "flowmap.runs.cache"
local fm = require "flowmap"
local sandbox = require "sandbox"

local experiment, trainer = fm.experiment, fm.trainer
local board = experiment.load "experiments/checkerboard.lua"

local function resolve(more, method)
  local set = { width = 16, depth = 2, batch = 96, micro = 16, steps = 6, log_every = 2,
    save_every = 0 }
  for key, value in pairs(more or {}) do set[key] = value end
  return experiment.resolve(board, { profile = "smoke", method = method or "esd", set = set })
end

local function bits(tensors)
  local parts = {}
  fm.tree.each(function(x, name) parts[#parts + 1] = name .. fm.bytes(x) end, tensors)
  return fm.sha256(table.concat(parts))
end

local dir = sandbox.mkdir "start"
local path = dir .. "/checkpoint.safetensors"

local base = trainer.new(board, resolve())
for _ = 1, 3 do trainer.step(base) end
fm.checkpoint.save(path, base, { step = base.done })

t.test("a run begins with the weights of `start`, whatever else differs", function()
  local job = trainer.new(board, resolve { start = path, stop = "convex", batch = 48 })
  t.eq(bits(job.params), bits(base.params))
  t.eq(bits(job.opt:ema(1)), bits(base.params), "the averages begin with the weights")
  t.eq({ job.done, job.opt:steps() }, { 0, 0 })
  trainer.step(job)
  t.eq(bits(job.params) == bits(base.params), false)
  local other = trainer.new(board, resolve { start = path, target = "ema" })
  t.eq(bits(other.shared.target), bits(base.params))
end)

t.test("what was only evaluated can begin a run as well", function()
  local kept = dir .. "/weights-3.safetensors"
  fm.checkpoint.save_weights(kept, base, base.opt:ema(1), 3)
  t.eq(bits(trainer.new(board, resolve { start = kept }).params), bits(base.opt:ema(1)))
end)

t.test("a continued run does not look at `start` again", function()
  local cfg = resolve { start = path, stop = "target" }
  local job = trainer.new(board, cfg)
  trainer.step(job)
  local at = dir .. "/continued.safetensors"
  fm.checkpoint.save(at, job, { step = job.done })
  local again = trainer.new(board, cfg, fm.checkpoint.load(at))
  for _, one in ipairs { job, again } do trainer.step(one) end
  t.eq(bits(again.params), bits(job.params))
end)

t.test("the bytes of `start` are an input of the run", function()
  local cfg = resolve { start = path }
  t.eq(cache.inputs(board, cfg).start, fm.sha256(fm.files.read(path)))
  t.eq(cache.inputs(board, resolve()).start, nil)
end)

t.test("a missing checkpoint, or one of another network, is refused", function()
  t.raises(function() trainer.new(board, resolve { start = dir .. "/none" }) end,
    "start: there is no checkpoint .*none")
  t.raises(function() trainer.new(board, resolve { start = path, width = 8 }) end,
    "params.1.b has shape .16., expected .8.")
end)

t.test("a folder in place of a checkpoint is an error, not another checkpoint", function()
  local cfg = resolve { start = sandbox.root }
  t.eq(t.raises(function() cache.inputs(board, cfg) end, "it is a folder").code, "data")
end)

-- ------------------------------------------------------------------ gradients

local function norm2(tensors)
  local sum = 0
  fm.tree.each(function(x) sum = sum + fm.sum(fm.square(fm.cast(x, "float64"))):item() end, tensors)
  return sum
end

for _, method in ipairs { "esd", "psd-m" } do
  t.test(method .. ": the gradients of both terms add up to that of the step", function()
    -- micro-batches of 16 with 72 diagonal rows: one of them has both terms
    local job = trainer.new(board, resolve({ gradients_every = 2, off_weight = 3 }, method))
    trainer.step(job)
    local a, b, cosine = fm.gradients.measure(job)
    local step = job.program:run { shared = job.shared, batch = 96, seed = job.cfg.seed, step = 1 }
    local whole = math.sqrt(norm2(step.sum.grads)) / 96
    t.near(math.sqrt(a * a + b * b + 2 * a * b * cosine) / whole, 1, 1e-5)
    t.eq(a > 0 and b > 0 and cosine > -1 and cosine < 1, true)
  end)
end

t.test("measuring gradients changes no bit of the training, and needs a log line", function()
  local with, without = trainer.new(board, resolve { gradients_every = 2 }),
    trainer.new(board, resolve())
  for _ = 1, 2 do
    trainer.step(with)
    trainer.step(without)
  end
  local line = fm.gradients.add({}, with)
  t.eq(line.grad_cos ~= nil and line.grad_off > 0, true)
  t.eq(fm.gradients.add({}, without), {})
  for _, job in ipairs { with, without } do trainer.step(job) end
  t.eq(bits(with.params), bits(without.params))
  t.eq(fm.gradients.add({}, with), {}, "not due after three steps")
  t.raises(function() resolve { gradients_every = 3 } end,
    "gradients_every is 3, expected a multiple of log_every, which is 2")
end)

-- ------------------------------------------------------------------ the four switches

t.test("all sixteen combinations of the switches between ESD and MeanFlow train", function()
  local seen = {}
  for _, stop in ipairs { "full", "target" } do
    for _, velocity in ipairs { "self", "sample" } do
      for _, p in ipairs { 0, 1 } do
        for _, target in ipairs { "current", "ema" } do
          local job = trainer.new(board, resolve { stop = stop, velocity = velocity, p = p,
            target = target })
          for _ = 1, 3 do trainer.step(job) end
          seen[bits(job.params)] = true
        end
      end
    end
  end
  t.eq(#fm.tree.keys(seen), 16, "and each differs from all others")
end)

t.done()
