--- What an evaluation costs, measured on few samples: the judge's own work and that of the
-- experiment's metrics. In seconds of one processor (`serial`), and of work that all threads share
-- (`shared`): processor time is the same on a machine that others use, too.
-- @module flowmap.measure.cost

local fm = require "flowmap"
local evaluate = require "flowmap.measure.evaluate"
local jobs = require "flowmap.job"
local measures = require "flowmap.measure.measures"
local metrics = require "flowmap.measure.metrics"

local M = {}

-- Samples, few and more, on which is measured.
local FEW, MORE = { points = 1024, images = 32 }, { points = 16384, images = 128 }

-- Processor seconds of a function, and what it returned.
local function timed(f, ...)
  local start = os.clock()
  local result = f(...)
  return os.clock() - start, result
end

-- From the costs of `few` and `more` samples the cost of `all`, if it grows linearly.
local function extended(small, large, few, more, all)
  if more <= few then return small end
  local each = math.max(0, large - small) / (more - few)
  return large + each * (all - more)
end

-- Calls measure(count) -> list of costs with few and with more samples; the costs of all samples.
local function of_all(job, measure)
  local kind, all = evaluate.judge(job.set), job.cfg.eval_samples
  local few, more = math.min(FEW[kind], all), math.min(MORE[kind], all)
  local small, costs = measure(few), {}
  local large = more > few and measure(more) or small
  for k in ipairs(small) do costs[k] = extended(small[k], large[k], few, more, all) end
  return costs
end

-- Pairs of points that an energy distance visits are this number squared.
local function compared(judges, job, count)
  return judges.few(jobs.with(job, { eval_samples = count }).cfg)
end

-- The judge of points: once, and for each N; the pairs of the energy distance apart from the rest.
local function of_points(job)
  local judges = require "flowmap.measure.judges.points"
  local costs = of_all(job, function(count)
    local once, judge = timed(judges.new, jobs.with(job, { eval_samples = count }))
    local x = fm.data.draw(job.set, count, 1)
    return { once, (timed(judge.measure, judge, x)) }
  end)
  local few, all = compared(judges, job, MORE.points), compared(judges, job, job.cfg.eval_samples)
  local x = fm.data.draw(job.set, few, 1)
  local pair = timed(metrics.mean_distance, x) / few ^ 2
  local more = pair * math.max(0, all ^ 2 - few ^ 2)
  return { serial = costs[1], shared = 3 * more }, { serial = costs[2], shared = 2 * more }
end

-- The judge of images: features and patches of the samples. Statistics of the data are kept in a
-- cache from the first run on.
local function of_images(job)
  local features = require("flowmap.measure.features").open "cnn"
  local sliced = require "flowmap.measure.sliced"
  local shape = job.set.shape
  local costs = of_all(job, function(count)
    local x = fm.uniform({ count, table.unpack(shape) }, { seed = 1, stream = "cost" })
    local function images(first, n) return fm.slice(x, 1, first + 1, n) end
    return { timed(features.extract, x) + timed(function()
      local clouds = sliced.patches(images, count)
      return sliced.between(clouds, clouds)
    end) }
  end)
  return { serial = 0, shared = 0 }, { serial = 0, shared = costs[1] }
end

--- Measure the judge of a run.
-- @tparam table job see flowmap.job
-- @treturn table serial, shared = seconds once per run
-- @treturn table serial, shared = seconds for each N
function M.judge(job)
  if evaluate.judge(job.set) == "points" then return of_points(job) end
  return of_images(job)
end

--- Measure the experiment's own metrics.
-- @tparam table job see flowmap.job
-- @treturn number seconds for each N
function M.metrics(job)
  local own = measures.new(job)
  if #own == 0 then return 0 end
  return of_all(job, function(count)
    local x = fm.cast(own.context.data(count), "float32")
    return { (timed(own.add, own, {}, x, job.cfg.nfe[1], job.params)) }
  end)[1]
end

return M
