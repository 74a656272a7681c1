--- Estimate the time, memory and disk space of a run from a few of its steps. Nothing is written,
-- and blank images replace those that are missing.
--
-- Time is that of a machine that does nothing else. It follows from processor time, which hardly
-- depends on what else runs: the steps after the first, which also traces and plans, shared by as
-- many threads as there are micro-batches for.
-- @module flowmap.runs.estimate

local fm = require "flowmap"
local cost = require "flowmap.measure.cost"
local evaluate = require "flowmap.measure.evaluate"
local files = require "flowmap.base.files"
local jobs = require "flowmap.job"
local rehearse = require "flowmap.runs.rehearse"
local sampler = require "flowmap.sampler"
local trainer = require "flowmap.trainer"
local tree = require "flowmap.tree"

local M = {}

-- Timed are so many steps, or as many as take a time of processors or by the clock.
local FEWEST, STEPS, PROCESSOR, CLOCK = 2, 200, 0.5, 4

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

-- Seconds by the clock of an idle machine for work that took processors `cpu` seconds and, by the
-- clock here, `wall`, if its `pieces` are shared by the threads. The clock counts if no other
-- process can have slowed the work down.
local function idle(cpu, wall, pieces)
  local least = cpu * math.ceil(pieces / fm.info().threads) / pieces
  return wall > least and wall < cpu and wall or least
end

-- Time work: what(k) for k = 1, 2, ... until it returns true.
local function timed(what)
  local cpu, wall, k = os.clock(), fm.clock(), 0
  local last
  repeat
    k = k + 1
    last = what(k, os.clock() - cpu, fm.clock() - wall)
  until last
  return os.clock() - cpu, fm.clock() - wall, k
end

-- Seconds of training per sample: on an idle machine, of processors, and by the clock here.
local function pace_of_training(job, batch)
  trainer.step(job) -- the first step also traces and plans
  local cpu, wall, steps = timed(function(k, cpu, wall)
    trainer.step(job)
    return k == STEPS or k >= FEWEST and (cpu > PROCESSOR or wall > CLOCK)
  end)
  local count = steps * batch
  local pieces = job.program:stats(batch).micro
  return { sample_s = idle(cpu, wall, pieces) / count, cpu_s = cpu / count,
    now_s = wall / count, steps = steps }
end

-- Seconds of one evaluation of the map per sample, on an idle machine and of processors.
local function pace_of_sampling(job)
  local draw, count = sampler.generator(job, job.params, 1), job.set.shape and 64 or 2048
  draw(count, 0)
  local cpu, wall = timed(function() return draw(count, 1) end)
  return idle(cpu, wall, fm.info().threads) / count, cpu / count
end

-- Add what judge and metrics take.
local function add_judge(pace, job)
  local once, rows = cost.judge(job)
  local first, again = cost.metrics(job)
  once.serial, rows.serial = once.serial + first, rows.serial + again
  for name, it in pairs { judge = once, rows = rows } do
    pace[name .. "_cpu_s"] = it.serial + it.shared
    pace[name .. "_s"] = it.serial + it.shared / fm.info().threads
  end
end

--- Measure. Micro-batches have the run's size, so that its memory is measured.
-- @tparam table experiment
-- @tparam table cfg resolved settings
-- @tparam[opt] {table,...} stages see experiment.staged; they need not exist
-- @treturn table { params =, memory, disk = bytes; in seconds: start_s = until the first step,
--   sample_s = of training per sample, cpu_s = of processors for it, now_s = by the clock while
--   this was measured, map_s, map_cpu_s = of an evaluation per sample, judge_s, judge_cpu_s = of
--   the judge once, rows_s, rows_cpu_s = of judge and metrics for each N; steps = that were timed,
--   threads = }
function M.measure(experiment, cfg, stages)
  require("flowmap.data.packed").imagine()
  require("flowmap.runs.cache").inputs(experiment, cfg) -- as a run does
  local small = {}
  for key, value in pairs(cfg) do small[key] = value end
  small.batch = math.min(cfg.batch, 2048)
  local job = trainer.new(experiment, small, nil, stages and stages[#stages])
  rehearse.check(job, small) -- as a run does, with the same errors and time
  local pace = { start_s = os.clock() }
  for key, value in pairs(pace_of_training(job, small.batch)) do pace[key] = value end
  pace.map_s, pace.map_cpu_s = pace_of_sampling(job)
  add_judge(pace, job)
  local sample = job.cfg.dim * 4
  pace.params, pace.threads = tree.count(job.params), fm.info().threads
  -- All samples are held in pieces and, at the end, whole; true points are held beside them.
  pace.memory = resident() + cfg.eval_samples * sample * (job.set.shape and 2 or 3)
  pace.disk = disk(job.cfg, bytes_of(job.params, cfg.dtype), sample)
  return pace
end

--- Seconds that a run takes at a measured pace, on a machine that does nothing else.
-- @tparam table cfg its settings
-- @tparam table pace what `measure` returned, of a run of the same kind
-- @treturn number seconds of training
-- @treturn number seconds of evaluation
-- @treturn number seconds of processors for both, and the start
function M.seconds(cfg, pace)
  local rows = #evaluate.steps(cfg) * (1 + #tree.keys(jobs.kept_weights(cfg, "")))
  local samples, evaluations = cfg.batch * cfg.steps, evaluate.evaluations(cfg)
  return pace.sample_s * samples,
    pace.map_s * evaluations + pace.judge_s + rows * pace.rows_s,
    pace.start_s + pace.cpu_s * samples + pace.map_cpu_s * evaluations + pace.judge_cpu_s
      + rows * pace.rows_cpu_s
end

return M
