--- Evaluation of a trained run: draws samples for every N, lets a judge measure them, and writes
-- both to files. Points and images have separate judges, see flowmap.measure.judges.
-- @module flowmap.measure.evaluate

local fm = require "flowmap"
local Progress = require "flowmap.base.progress"
local checkpoint = require "flowmap.checkpoint"
local errors = require "flowmap.base.errors"
local jobs = require "flowmap.job"
local ranks = require "flowmap.base.ranks"
local record = require "flowmap.runs.record"
local sampler = require "flowmap.sampler"
local trainer = require "flowmap.trainer"
local tree = require "flowmap.tree"

local M = {}

local SAMPLE_SEED = 104729

--- The name of the judge for a data set: "images" or "points".
-- @tparam table set a data set
-- @treturn string NAME of the module flowmap.measure.judges.NAME
function M.judge(set)
  return set.shape and "images" or "points"
end

local function check_finite(x, N)
  if x:finite() then return end
  errors.numeric("the samples at N = %d are not finite: training diverged", N)
end

-- Check every number of the evaluation, so that no file contains one that is not finite.
local function check_numbers(row)
  for _, field in ipairs(tree.keys(row)) do
    local value = row[field]
    if type(value) == "number" and value - value ~= 0 then
      errors.numeric("the metric '%s' at N = %s is %s, expected a finite number", field,
        tostring(row.N or "-"), tostring(value))
    end
  end
end

local function judge_module(set) return require("flowmap.measure.judges." .. M.judge(set)) end

local function stop_if_interrupted()
  if ranks.any(fm.interrupted()) then
    errors.raise("interrupted", "interrupted during the evaluation; --resume repeats it")
  end
end

--- The numbers of steps that are evaluated; a sampler that chooses its steps makes one row.
-- @tparam table cfg
-- @treturn {integer,...}
function M.steps(cfg) return sampler.is_adaptive(cfg) and { 1 } or cfg.nfe end

--- The total number of map evaluations, over all N, samples and checkpoints; of samples, if the
-- sampler chooses its steps.
-- @tparam table cfg
-- @treturn integer
function M.evaluations(cfg)
  local sum = 0
  for _, N in ipairs(M.steps(cfg)) do sum = sum + N * cfg.eval_samples end
  return sum * (1 + #tree.keys(jobs.kept_weights(cfg, "")))
end

-- The weights for N steps: those of the run or, where each student makes a number of steps of its
-- own, those of the student with the fewest that are not below N.
local function weights_for(job, params, N)
  local students, steps = job.students or {}, job.cfg.student_steps
  if not next(students) or N <= steps then return params end
  for _, many in ipairs(tree.keys(students)) do
    steps = many
    if N <= many then break end
  end
  local _, weights = trainer.load(students[steps], nil, { experiment = job.experiment,
    option = "--set teacher_experiment=FILE" })
  return weights
end

-- The result rows of one checkpoint. With a folder, what figures show is written there.
local function rows_of(job, params, judge, measures, bar, dir)
  local cfg, rows = job.cfg, {}
  for i, N in ipairs(M.steps(cfg)) do
    local before = bar.count or 0
    local weights = weights_for(job, params, N)
    local draw, cost = sampler.generator(job, weights, N)
    local x = fm.cast(draw(cfg.eval_samples, SAMPLE_SEED, function(done)
      bar.count = before + N * done
      bar:update(bar.count, ("N = %d"):format(N))
      stop_if_interrupted()
    end), "float32")
    check_finite(x, N)
    if sampler.is_adaptive(cfg) then N = math.ceil(cost.nfe) end
    rows[i] = judge:measure(x)
    rows[i].N, rows[i].nfe_used = N, cost.nfe ~= N and cost.nfe or nil
    measures:add(rows[i], x, N, weights, dir)
    check_numbers(rows[i])
    if dir then judge:keep(dir, N, x) end
  end
  return rows
end

-- Add FIELD_best, the best value over all checkpoints, and its step to each value of the last
-- checkpoint, separately for each N. This is the rule behind the paper's own numbers.
local function add_best(rows, earlier, fields, last)
  for i, row in ipairs(rows) do
    for _, field in ipairs(fields) do
      row[field .. "_best"], row[field .. "_best_step"] = row[field], last
      for _, checked in ipairs(earlier) do
        if checked.rows[i][field] < row[field .. "_best"] then
          row[field .. "_best"], row[field .. "_best_step"] = checked.rows[i][field], checked.step
        end
      end
    end
  end
end

-- Add FIELD_equal_time, the value after as many steps as equal times allow, to each value of the
-- last checkpoint.
local function add_equal_time(rows, earlier, fields, step)
  for i, row in ipairs(rows) do
    for _, field in ipairs(fields) do
      row[field .. "_equal_time"] = row[field]
      for _, checked in ipairs(earlier) do
        if checked.step == step then row[field .. "_equal_time"] = checked.rows[i][field] end
      end
    end
  end
end

-- Add what depends on earlier checkpoints.
local function add_earlier(rows, earlier, fields, cfg)
  if cfg.checkpoints > 1 then add_best(rows, earlier, fields, cfg.steps) end
  local step = jobs.equal_time(cfg)
  if step then add_equal_time(rows, earlier, fields, step) end
end

-- The columns of a run's results: first the judge's, then those of the experiment's metrics.
local function joined(judge, measures)
  local columns = {}
  for _, list in ipairs { judge.columns, measures.columns } do
    table.move(list, 1, #list, #columns + 1, columns)
  end
  return columns
end

local DRY = { points = 1024, images = 32 } -- true samples

--- Rehearse an evaluation on a few true samples, so that it cannot fail after the training.
-- @tparam table job a job before training
-- @treturn table a row of its results
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
  else -- image distances are too expensive to rehearse
    judge = { columns = judge.columns_of(job), best = judge.best }
    for _, column in ipairs(judge.columns) do
      for _, ending in ipairs { "", "_half", "_floor", "_gaussian" } do
        row[column[1] .. ending] = 0
      end
    end
    row.samples, row.about = cfg.eval_samples, {}
    x = measures.context.data(cfg.eval_samples)
  end
  row.N = cfg.nfe[1]
  add_earlier({ row }, {}, judge.best, cfg)
  measures:add(row, fm.cast(x, "float32"), row.N, job.params)
  check_numbers(row)
  return row, joined(judge, measures)
end

--- Sample, measure, and write eval.json and the files for figures.
-- @tparam table job a trained job
-- @tparam string dir
-- @treturn table the contents of eval.json
function M.run(job, dir)
  local cfg = job.cfg
  math.randomseed(cfg.seed or 0) -- so that a metric that uses it gives the same in a resumed run
  local params, decay = jobs.evaluated(job)
  local judge = judge_module(job.set).new(job, dir)
  local measures = require("flowmap.measure.measures").new(job)
  local bar <close> = Progress.new("evaluating", M.evaluations(cfg))
  local earlier = {}
  local kept = jobs.kept_weights(cfg, dir)
  for k, step in ipairs(tree.keys(kept)) do
    local weights = checkpoint.kept_weights(kept[step], params)
    earlier[k] = { step = step, rows = rows_of(job, weights, judge, measures, bar) }
  end
  local result = judge:summary()
  check_numbers(result)
  result.rows = rows_of(job, params, judge, measures, bar, dir)
  result.rule, result.ema, result.columns = "last", decay, joined(judge, measures)
  result.checkpoints = #earlier > 0 and earlier or nil
  add_earlier(result.rows, earlier, judge.best, cfg)
  record.write(dir, "eval", result)
  return result
end

return M
