-- The switch of the learned weight w(s,t): off is w = 0 exactly, on is the default, and both start
-- from the same weights.

local t = require "harness"
local fm = require "flowmap"
local edm2 = require "flowmap.nets.edm2"
local sandbox = require "sandbox"
local tree = require "flowmap.tree"

local squares = { shape = { 8, 8, 3 }, sd = 0.5 }

function squares.sample(b) return fm.clip(b:normal({ 8, 8, 3 }, "squares"), -1, 1) end

-- edm2 with the weight w = 0; its parameter exists and is never read.
local function zero_weight(cfg)
  local net = edm2(cfg)
  net.weight = function(_, s) return fm.zeros({ s.shape[1] }, s.dtype) end
  return net
end

local painting = { name = "painting", path = "tests", methods = { "lsd", "psd-m" },
  profiles = { smoke = {} }, data = { squares = squares }, nets = { zero = zero_weight } }

local function resolve(set, method)
  local all = { data = "squares", net = "edm2", batch = 8, micro = 2, steps = 3, clip = 1,
    lr = 1e-2, ema = { 0.9 }, eval_samples = 8, nfe = { 1 } }
  local shape = { model_channels = 8, mult = { 1, 2 }, num_blocks = 1, attention = {} }
  for key, value in pairs(shape) do all[key] = value end
  for key, value in pairs(set) do all[key] = value end
  return fm.experiment.resolve(painting, { profile = "smoke", method = method, set = all })
end

-- The bytes of each parameter by name.
local function bytes(params)
  local all = {}
  tree.each(function(w, name) all[name] = fm.bytes(w) end, params)
  return all
end

local function trained(set, method)
  local job = fm.trainer.new(painting, resolve(set, method))
  for _ = 1, 3 do fm.trainer.step(job) end
  return job
end

t.test("without the weight: w = 0 exactly, and no parameter of it", function()
  for _, method in ipairs { "lsd", "psd-m" } do
    local off = bytes(trained({ learned_weight = false }, method).params)
    local zero = bytes(trained({ net = "zero" }, method).params)
    t.eq(off.weight, nil)
    zero.weight = nil
    t.eq(off, zero, method)
  end
end)

t.test("with and without it the other weights start alike, and then part", function()
  local function start(set) return bytes(fm.trainer.new(painting, resolve(set, "lsd")).params) end
  local on, off = start { learned_weight = true }, start { learned_weight = false }
  t.eq(#on.weight > 0, true)
  on.weight = nil
  t.eq(off, on)
  local default = bytes(trained({}, "lsd").params)
  t.eq(bytes(trained({ learned_weight = true }, "lsd").params), default)
  t.eq(default.out_conv == bytes(trained({ learned_weight = false }, "lsd").params).out_conv, false)
end)

t.test("checkpoints without it are resumed to the same bits, and by no run with it", function()
  local set, path = { learned_weight = false }, sandbox.path "checkpoint.safetensors"
  local job = fm.trainer.new(painting, resolve(set, "lsd"))
  fm.trainer.step(job)
  fm.checkpoint.save(path, job, { step = 1 })
  local resumed = fm.trainer.new(painting, resolve(set, "lsd"), fm.checkpoint.load(path))
  for _, it in ipairs { job, resumed } do fm.trainer.step(it) end
  t.eq(bytes(resumed.params), bytes(job.params))
  t.eq(fm.checkpoint.load(path).cfg.learned_weight, false)
  t.raises(function()
    fm.trainer.new(painting, resolve({}, "lsd"), fm.checkpoint.load(path))
  end, "weight")
end)

t.test("networks without a learned weight refuse the switch", function()
  local board = fm.experiment.load "experiments/checkerboard.lua"
  t.raises(function()
    fm.experiment.resolve(board, { profile = "smoke", set = { learned_weight = false } })
  end, "learned_weight has no effect: only the net edm2 reads it, and the net is mlp")
end)

t.done()
