--- The cost of an evaluation, measured on few samples: the judge's own work and that of the
-- experiment's metrics. It is given in seconds of one processor (`serial`), and of work that all
-- threads share (`shared`): processor time is the same on a machine that others use, too.
-- @module flowmap.measure.cost

local fm = require "flowmap"
local evaluate = require "flowmap.measure.evaluate"
local jobs = require "flowmap.job"
local measures = require "flowmap.measure.measures"
local metrics = require "flowmap.measure.metrics"

local M = {}

-- Samples on which is measured first; then on four times as many, until that takes as many seconds
-- of processors as LONG says. Some metrics look at a part of the samples, however many there are:
-- if all samples would take FAR times longer, more are tried unless that takes longer than LONGEST.
local FEW, LONG, FAR, LONGEST = { points = 1024, images = 32 }, 0.3, 4, 6

-- The judge of points compares equally many pairs of points for all numbers of samples up to this.
local SAME_PAIRS = 65536

-- Processor seconds of a function, and what it returned.
local function timed(f, ...)
  local start = os.clock()
  local result = f(...)
  return os.clock() - start, result
end

local function total(costs)
  local sum = 0
  for _, seconds in ipairs(costs) do sum = sum + seconds end
  return sum
end

-- The costs of `all` samples from those of `few` and `more`.
local function extended(small, large, few, more, all)
  local costs = {}
  for k, seconds in ipairs(large) do
    local each = few and math.max(0, seconds - small[k]) / (more - few) or seconds / more
    costs[k] = seconds + each * (all - more)
  end
  return costs
end

-- The costs of all samples. measure(count) returns a list of costs, which grow linearly from some
-- number on; it is called with growing numbers up to `most`.
local function of_all(job, measure, most)
  local all = job.cfg.eval_samples
  local more, few = math.min(FEW[evaluate.judge(job.set)], all), nil
  local large, small = measure(more), nil
  most = math.min(most or all, all)
  local costs = extended(small, large, few, more, all)
  local function unsure()
    local now = total(large)
    return now < LONG or now < LONGEST and (not few or total(costs) > FAR * now)
  end
  while more < most and unsure() do
    few, small = more, large
    more = math.min(4 * more, most)
    large = measure(more)
    costs = extended(small, large, few, more, all)
  end
  return costs
end

-- The judge of points: once, and for each N; the pairs of the energy distance apart from the rest.
local function of_points(job)
  local judges = require "flowmap.measure.judges.points"
  local costs = of_all(job, function(count)
    local once, judge = timed(judges.new, jobs.with(job, { eval_samples = count }))
    local x = fm.data.draw(job.set, count, 1)
    return { once, (timed(judge.measure, judge, x)) }
  end, SAME_PAIRS)
  local few, all = judges.few { eval_samples = SAME_PAIRS }, judges.few(job.cfg)
  local x = fm.data.draw(job.set, few, 1)
  local pair = timed(metrics.mean_distance, x) / few ^ 2
  local more = pair * (all ^ 2 - few ^ 2)
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
-- @treturn number seconds once per run: what they prepare when they are first called
-- @treturn number seconds for each N
function M.metrics(job)
  local own = measures.new(job)
  if #own == 0 then return 0, 0 end
  local costs = of_all(job, function(count)
    local x = fm.cast(own.context.data(count), "float32")
    local first = timed(own.add, own, {}, x, job.cfg.nfe[1], job.params)
    local again = timed(own.add, own, {}, x, job.cfg.nfe[1], job.params)
    return { math.max(0, first - again), again }
  end)
  return costs[1], costs[2]
end

return M
