--- Estimate the time, memory and disk space of a run from a few of its steps. Nothing is written,
-- and blank images replace those that are missing.
-- @module flowmap.runs.estimate

local fm = require "flowmap"
local evaluate = require "flowmap.measure.evaluate"
local files = require "flowmap.base.files"
local jobs = require "flowmap.job"
local rehearse = require "flowmap.runs.rehearse"
local sampler = require "flowmap.sampler"
local trainer = require "flowmap.trainer"
local tree = require "flowmap.tree"

local M = {}

local STEPS, SECONDS = 20, 1 -- timed: at most so many steps, for about so long

-- Bytes of tensors in a tree of parameters.
local function bytes_of(params, dtype)
  return tree.count(params) * (dtype == "float64" and 8 or 4)
end

-- Bytes on disk: two checkpoints, each with weights, two moments and averages; the weights kept for
-- the evaluation; the samples that are kept; at most, the states for an audit.
local function disk(cfg, weights, sample)
  local kept = math.min(cfg.eval_samples, #cfg.shape == 1 and 100000 or 64)
  return 2 * weights * (3 + #cfg.ema) + #tree.keys(jobs.kept_weights(cfg, "")) * weights
    + (#cfg.nfe + 1) * kept * sample + (cfg.audit_bytes or 0) + 2 ^ 16
end

-- The peak memory of this process as the system counts it, in bytes.
local function resident()
  local kib = (files.read "/proc/self/status" or ""):match "VmHWM:%s*(%d+)"
  return kib and tonumber(kib) * 1024 or fm.info().peak
end

-- Seconds of training per sample.
local function pace_of_training(job, batch)
  trainer.step(job) -- the first step also traces and plans
  local start, steps = fm.clock(), 0
  repeat
    trainer.step(job)
    steps = steps + 1
  until steps == STEPS or fm.clock() - start > SECONDS
  return (fm.clock() - start) / (steps * batch), steps
end

-- Seconds of one evaluation of the map per sample.
local function pace_of_sampling(job)
  local draw, count = sampler.generator(job, job.params, 1), job.set.shape and 64 or 2048
  draw(count, 0)
  local start = fm.clock()
  draw(count, 1)
  return (fm.clock() - start) / count
end

-- Samples, few and more, with which the experiment's own metrics are timed.
local FEW, MORE = { points = 1024, images = 32 }, { points = 8192, images = 128 }

-- Seconds that the experiment's own metrics take for one N: those for any number of samples, and
-- those for each sample.
local function pace_of_metrics(job)
  local seconds = evaluate.stopwatch(job)
  if not seconds then return 0, 0 end
  local kind, most = evaluate.judge(job.set), job.cfg.eval_samples
  local few, more = math.min(FEW[kind], most), math.min(MORE[kind], most)
  local small, large = seconds(few), few < more and seconds(more)
  local each = large and math.max(0, large - small) / (more - few) or 0
  return math.max(0, small - each * few), each
end

--- Measure. Micro-batches have the run's size, so that its memory is measured.
-- @tparam table experiment
-- @tparam table cfg resolved settings
-- @tparam[opt] {table,...} stages see experiment.staged; they need not exist
-- @treturn table { params =, memory, disk = bytes, sample_s = seconds of training per sample,
--   map_s = seconds of an evaluation per sample, metrics_s, metric_s = seconds of the experiment's
--   own metrics for one N, and per sample in addition, steps = that were timed, timed_s = seconds
--   that this took, threads = }
function M.measure(experiment, cfg, stages)
  local small = {}
  for key, value in pairs(cfg) do small[key] = value end
  small.batch = math.min(cfg.batch, 2048)
  require("flowmap.data.packed").imagine()
  local job = trainer.new(experiment, small, nil, stages and stages[#stages])
  rehearse.check(job, small) -- as a run does, with the same errors and time
  local start = fm.clock()
  local sample_s, steps = pace_of_training(job, small.batch)
  local map_s = pace_of_sampling(job)
  local metrics_s, metric_s = pace_of_metrics(job)
  local timed_s = fm.clock() - start
  local sample = job.cfg.dim * 4
  return { params = tree.count(job.params), sample_s = sample_s, map_s = map_s,
    metrics_s = metrics_s, metric_s = metric_s, steps = steps, timed_s = timed_s,
    memory = resident() + cfg.eval_samples * sample, threads = fm.info().threads,
    disk = disk(job.cfg, bytes_of(job.params, cfg.dtype), sample) }
end

--- Seconds that a run takes at a measured pace.
-- @tparam table cfg its settings
-- @tparam table pace what `measure` returned, of a run of the same kind
-- @treturn number seconds of training
-- @treturn number seconds of evaluation
function M.seconds(cfg, pace)
  local times = #cfg.nfe * (1 + #tree.keys(jobs.kept_weights(cfg, "")))
  return pace.sample_s * cfg.batch * cfg.steps, pace.map_s * evaluate.evaluations(cfg)
    + times * (pace.metrics_s + pace.metric_s * cfg.eval_samples)
end

return M
