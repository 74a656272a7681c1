--- The fingerprint of a training: a hash of the bits of twenty steps of the run's method in
-- float32, bfloat16 and float64, with samples; and of some steps of its network, unless that is the
-- multilayer perceptron with which methods are probed. Like the fingerprint of the numerics it is
-- an input of the run, see flowmap.runs.cache.
-- @module flowmap.runs.fingerprint

local core = require "flowmap.core"
local experiment = require "flowmap.experiment"
local jobs = require "flowmap.job"
local losses = require "flowmap.losses"
local nets = require "flowmap.nets"
local numerics = require "flowmap.runs.numerics"
local sampler = require "flowmap.sampler"
local source = require "flowmap.runs.source"
local step = require "flowmap.step"
local trainer = require "flowmap.trainer"

local M = {}

-- Every setting that makes numbers is set, so that a changed default does not look like changed
-- numerics.
local TINY = {
  width = 64, depth = 2, batch = 64, micro = 32, steps = 20, lr = 1e-2, sigma = 1.0, ema = { 0.9 },
  model_channels = 8, mult = { 1, 1 }, num_blocks = 1, attention = { 4 }, dropout = 0.25,
  data = "probe", coupling = "independent", interpolant = "linear",
  times = "uniform", eta = 0.75, off_weight = 1.0,
  p = 0.0, time_input = "raw", features = 1, schedule = "linear", warmup = 0, b1 = 0.9,
  b2 = 0.999, eps = 1e-8, weight_decay = 0.0, clip = 1.0, optimiser = "radam",
}

-- A job on normal data of the given shape.
local function job_of(method, net, shape, number)
  local set = { dim = 2, sd = 1, sample = function(b) return b:normal(shape, "data") end,
    shape = #shape > 1 and shape or nil }
  local it = { name = "probe", path = "probe", methods = { method }, profiles = { smoke = {} },
    data = { probe = set } }
  local row = losses.find(method).row
  local want = { net = net, dtype = number[1], precision = number[2] }
  for key, value in pairs(TINY) do want[key] = value end
  if row and row.velocity == "teacher" then want.velocity = "self" end -- there is none
  if row and row.target == "frozen" then want.target = "current" end
  want.teacher, want.start = "", ""
  if #shape > 1 then want.batch, want.micro = 4, 2 end
  want = experiment.readable(it, "smoke", method, want)
  local cfg = experiment.resolve(it, { profile = "smoke", method = method, set = want })
  local job = jobs.parts(it, cfg)
  local params = job.net.init(nets.rng(1, job.cfg.dtype))
  if job.net.renew then job.net.renew(params) end
  jobs.begin(job, params, {})
  job.program = step.program(job, job.shared)
  return job
end

-- Weights, their average and samples after some steps, in all number formats.
local function training(method, net, shape, steps)
  local parts = {}
  for _, number in ipairs(numerics.formats) do
    local job = job_of(method, net, shape, number)
    for _ = 1, steps do trainer.step(job) end
    local samples = sampler.generator(job, job.params, 2)(64, 1)
    parts[#parts + 1] = numerics.bits { job.params, job.opt:ema(1), samples }
  end
  return table.concat(parts)
end

local MODULES = { "trainer", "step", "experiment", "sampler" }

-- The probes of a training: name, modules, function that computes it.
local function parts_of(cfg)
  local known = source.aside(pcall, losses.find, cfg.method)
  local loss = source.aside(losses.find, known and cfg.method or "lsd")
  local list = {
    { "method " .. loss.name, { loss.file:sub(9), table.unpack(MODULES) }, function()
      return training(loss.name, "mlp", { 2 }, 20)
    end },
  }
  if cfg.net == "edm2" then
    list[2] = { "net edm2", { "nets.edm2", table.unpack(MODULES) }, function()
      return training("lsd", "edm2", { 8, 8, 3 }, 5)
    end }
  end
  return list
end

--- The fingerprint of a run's training.
-- @tparam table cfg its settings: method and net
-- @treturn string a hash
function M.training(cfg)
  local hashes = {}
  for i, it in ipairs(parts_of(cfg)) do hashes[i] = numerics.probe(table.unpack(it)) end
  return core.sha256(table.concat(hashes))
end

return M
