--- Evaluation of a trained run: samples for every N, what a judge says of them, and the files of
-- both. Points and images have each a judge of their own, see flowmap.measure.judges.
-- @module flowmap.measure.evaluate

local fm = require "flowmap"
local Progress = require "flowmap.base.progress"
local checkpoint = require "flowmap.checkpoint"
local errors = require "flowmap.base.errors"
local jobs = require "flowmap.job"
local record = require "flowmap.runs.record"
local sampler = require "flowmap.sampler"
local tree = require "flowmap.tree"

local M = {}

local SAMPLE_SEED = 104729

--- The name of the judge of a data set: images are its own rows, points have a law.
-- @tparam table set a data set
-- @treturn string module flowmap.measure.judges.NAME
function M.judge(set)
  return set.shape and "images" or "points"
end

local function check_finite(x, N)
  if x:finite() then return end
  errors.numeric("the samples at N = %d are not finite: training diverged", N)
end

-- Every number of the evaluation passes here: none that is not finite enters a file.
local function check_numbers(row)
  for _, field in ipairs(tree.keys(row)) do
    local value = row[field]
    if type(value) == "number" and value - value ~= 0 then
      errors.numeric("the measure '%s' at N = %s is %s, not a finite number", field,
        tostring(row.N or "-"), tostring(value))
    end
  end
end

local function judge_module(set) return require("flowmap.measure.judges." .. M.judge(set)) end

local function stop_if_interrupted()
  if fm.interrupted() then
    errors.raise("interrupted", "interrupted during the evaluation; --resume repeats it")
  end
end

--- Evaluations of the map for one sample of every N, times the number of samples and checkpoints.
-- @tparam table cfg
-- @treturn integer
function M.evaluations(cfg)
  local sum = 0
  for _, N in ipairs(cfg.nfe) do sum = sum + N * cfg.eval_samples end
  return sum * cfg.checkpoints
end

-- The rows of one checkpoint; `keep` is called with the samples of each N.
local function rows_of(job, params, judge, measures, bar, keep)
  local cfg, rows = job.cfg, {}
  for i, N in ipairs(cfg.nfe) do
    local before = bar.count or 0
    local draw = sampler.generator(job, params, N)
    local x = fm.cast(draw(cfg.eval_samples, SAMPLE_SEED, function(done)
      bar.count = before + N * done
      bar:update(bar.count, ("N = %d"):format(N))
      stop_if_interrupted()
    end), "float32")
    check_finite(x, N)
    rows[i] = judge:measure(x)
    rows[i].N = N
    measures:add(rows[i], x, N)
    check_numbers(rows[i])
    if keep then keep(N, x) end
  end
  return rows
end

-- Beside each value of the last checkpoint the best of all, FIELD_best, and its step: the rule by
-- which the paper's own numbers were chosen, separately for each N.
local function add_best(rows, earlier, fields, last)
  for i, row in ipairs(rows) do
    for _, field in ipairs(fields) do
      row[field .. "_best"], row[field .. "_best_step"] = row[field], last
      for _, it in ipairs(earlier) do
        if it.rows[i][field] < row[field .. "_best"] then
          row[field .. "_best"], row[field .. "_best_step"] = it.rows[i][field], it.step
        end
      end
    end
  end
end

-- The columns of a run's results: the judge's, then those of the experiment's metrics.
local function joined(judge, measures)
  local columns = {}
  for _, list in ipairs { judge.columns, measures.columns } do
    table.move(list, 1, #list, #columns + 1, columns)
  end
  return columns
end

local DRY = { points = 1024, images = 32 } -- true samples

--- What an evaluation will need, tried on few true samples: nothing may fail after the training.
-- @tparam table job a job that has not been trained
-- @treturn table fields: the fields of a row of its results
-- @treturn {table,...} columns
function M.rehearse(job)
  local kind = M.judge(job.set)
  local dry = jobs.with(job, { eval_samples = math.min(job.cfg.eval_samples, DRY[kind]) })
  local cfg = dry.cfg
  local judge, row, x = judge_module(job.set), {}
  judge.check(job)
  local measures = require("flowmap.measure.measures").new(dry)
  if kind == "points" then
    judge, x = judge.new(dry)
    row = judge:measure(x)
  else -- the distances of images are too expensive to try
    for _, column in ipairs(judge.columns) do
      row[column[1]], row[column[1] .. "_half"] = 0, 0
    end
    row.samples, row.about = cfg.eval_samples, {}
    x = measures.context.data(cfg.eval_samples)
  end
  row.N = cfg.nfe[1]
  if cfg.checkpoints > 1 then add_best({ row }, {}, judge.best, cfg.steps) end
  measures:add(row, fm.cast(x, "float32"), row.N)
  check_numbers(row)
  return row, joined(judge, measures)
end

--- Sample, measure and write eval.json and what figures need.
-- @tparam table job a trained job
-- @tparam string dir
-- @treturn table what eval.json holds
function M.run(job, dir)
  local cfg = job.cfg
  math.randomseed(cfg.seed or 0) -- a metric may draw by it, in a resumed run, too
  local params, decay = jobs.evaluated(job)
  local judge = judge_module(job.set).new(job, dir)
  local measures = require("flowmap.measure.measures").new(job)
  local bar <close> = Progress.new("evaluating", M.evaluations(cfg))
  local earlier = {}
  local kept = jobs.kept_weights(cfg, dir)
  for k, step in ipairs(tree.keys(kept)) do
    local weights = checkpoint.tree(checkpoint.load(kept[step]), "params", params)
    earlier[k] = { step = step, rows = rows_of(job, weights, judge, measures, bar) }
  end
  local result = judge:summary()
  check_numbers(result)
  result.rows = rows_of(job, params, judge, measures, bar, function(N, x)
    judge:keep(dir, N, x)
  end)
  result.rule, result.ema, result.columns = "last", decay, joined(judge, measures)
  result.checkpoints = #earlier > 0 and earlier or nil
  if #earlier > 0 then add_best(result.rows, earlier, judge.best, cfg.steps) end
  record.write(dir, "eval", result)
  return result
end

return M
