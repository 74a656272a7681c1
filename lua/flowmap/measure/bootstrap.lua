--- Aggregates over many results with bootstrap intervals: the interquartile mean and the
-- probability of improvement (Agarwal et al. 2021, arXiv 2108.13264).
--
-- Runs are resampled within strata. A stratum is a law (data set) or another question whose runs
-- are independent of those of other strata; a run has one value or a list, for example one per
-- number of steps. The values of one run depend on each other and stay together: strata of single
-- values would make the interval too short. Values of different strata are pooled, so they must
-- share one scale, such as the ratio to a reference method at the same seed.
--
-- **Interval.** With few runs the plain percentile interval covers too little: the variance of n
-- draws from n values is too small by (n - 1) / n, and normal quantiles are below Student's. In
-- simulations with 5 runs per stratum it covered 91 to 92 % (87 % for one stratum of 6 runs with 5
-- values each), the BCa interval no more. Here both effects are corrected, which gave 93 to 96 %:
-- each resample first leaves out one run of every stratum ("bootknife"; Hesterberg 2004, Unbiasing
-- the bootstrap), and the percentiles are those at which a normal law has Student's quantile with
-- sum(n - 1) degrees of freedom (Hesterberg 2015, doi 10.1080/00031305.2015.1089789). A single
-- stratum of 5 runs still covered only 92 %.
-- @module flowmap.measure.bootstrap

local draws = require "flowmap.measure.draws"
local normal = require "flowmap.normal"
local stats = require "flowmap.measure.stats"

local M = {}

local RESAMPLES = 2000

-- ------------------------------------------------------------------ statistics of strata

-- All values of all runs of all strata.
local function flat(strata)
  local out = {}
  for _, runs in ipairs(strata) do
    for _, run in ipairs(runs) do
      if type(run) == "table" then
        table.move(run, 1, #run, #out + 1, out)
      else
        out[#out + 1] = run
      end
    end
  end
  return out
end

--- The mean of the middle half of the values. A value that lies across a quartile counts in part.
-- @tparam {number,...} values at least one; the list is not modified
-- @treturn number infinite if a value of the middle half is; not a number if it has infinite values
--   of both signs
function M.interquartile_mean(values)
  local sorted = table.move(values, 1, #values, 1, {})
  table.sort(sorted)
  local n, sum = #sorted, 0
  for i = n // 4 + 1, n - n // 4 do
    local from, to = math.max(i - 1, n / 4), math.min(i, 3 * n / 4)
    sum = sum + (to - from) * sorted[i]
  end
  return sum / (n / 2)
end

-- The share of pairs of a first and a second side whose first is smaller, ties counting half; `k`
-- selects a value where sides are lists.
local function smaller(runs, k)
  local count = 0
  for _, one in ipairs(runs) do
    local a = k and one[1][k] or one[1]
    for _, other in ipairs(runs) do
      local b = k and other[2][k] or other[2]
      count = count + (a < b and 1 or a == b and 0.5 or 0)
    end
  end
  return count / (#runs * #runs)
end

-- The mean over strata and values of the share of pairs of runs with a smaller first side.
local function improvement(strata)
  local sum, parts = 0, 0
  for _, runs in ipairs(strata) do
    local lists = type(runs[1][1]) == "table" and #runs[1][1] or nil
    for k = 1, lists or 1 do
      sum, parts = sum + smaller(runs, lists and k), parts + 1
    end
  end
  return sum / parts
end

-- ------------------------------------------------------------------ resampling

-- One resample: n of the n runs of every stratum are drawn, or, with `fewer`, n of n - 1: one is
-- left out.
local function resample(strata, uniform, fewer)
  local out = {}
  for k, runs in ipairs(strata) do
    local n, drawn = #runs, {}
    local absent = fewer and math.floor(uniform() * n) + 1 or n + 1
    local others = fewer and n - 1 or n
    for i = 1, n do
      local at = math.floor(uniform() * others) + 1
      drawn[i] = runs[at < absent and at or at + 1]
    end
    out[k] = drawn
  end
  return out
end

-- The value below which a share q of a distribution lies, from a sorted list of R draws of it: the
-- one of rank q (R + 1), interpolated. Beyond the list's ends it is the first or the last. Next to
-- an infinite draw it is the outer of the two neighbours.
local function percentile(sorted, q)
  local at = math.max(1, math.min(#sorted, q * (#sorted + 1)))
  local low = math.floor(at)
  local a, b = sorted[low], sorted[math.min(low + 1, #sorted)]
  if a == b or at == low then return a end
  if b - a < math.huge then return a + (at - low) * (b - a) end
  return q < 0.5 and a or b
end

-- Both ends of an interval that leaves a share `tail` of the sorted draws outside on either side.
-- A draw that is not a number may lie anywhere: with `undefined` ones the interval is the line.
local function ends(sorted, tail, undefined)
  if undefined then return -math.huge, math.huge end
  if sorted[1] == sorted[#sorted] then return nil end
  return percentile(sorted, tail), percentile(sorted, 1 - tail)
end

--- A statistic of strata with its 95 % bootstrap interval.
-- @tparam {{run,...},...} strata at least one, each of at least two runs
-- @tparam function statistic strata -> number
-- @tparam[opt=2000] integer resamples; 0: the value alone, of any number of runs
-- @tparam[opt] boolean of_pairs whether the statistic is a mean over pairs of runs; its bootstrap
--   variance is large enough without leaving out a run
-- @treturn table {value=, low=, high= (nil if no resample differs from another; infinite where
--   enough resamples are, or where one is not a number), runs=, resamples=}
function M.interval(strata, statistic, resamples, of_pairs)
  if resamples == 0 then return { value = statistic(strata), resamples = 0 } end
  local uniform, values, runs = draws.uniform(1, "bootstrap"), {}, 0
  local count, undefined = resamples or RESAMPLES, false
  for k, stratum in ipairs(strata) do
    assert(#stratum >= 2, ("interval: stratum %d has fewer than two runs"):format(k))
    runs = runs + #stratum
  end
  for _ = 1, count do
    local value = statistic(resample(strata, uniform, not of_pairs))
    if value == value then values[#values + 1] = value else undefined = true end
  end
  local out = { value = statistic(strata), runs = runs, resamples = count }
  table.sort(values)
  out.low, out.high = ends(values, normal.between(stats.t_quantile(runs - #strata), math.huge),
    undefined)
  return out
end

--- The interquartile mean of all values with its interval.
-- @tparam {{run,...},...} strata runs are numbers or lists of numbers
-- @tparam[opt=2000] integer resamples
-- @treturn table see `interval`
function M.iqm(strata, resamples)
  return M.interval(strata, function(some) return M.interquartile_mean(flat(some)) end, resamples)
end

--- The probability that a run of the first method has a smaller value than one of the second,
-- averaged over strata and numbers of steps; ties count half. Pairs of runs with one seed are
-- resampled together.
-- @tparam {{run,...},...} strata a run is { first, second }, two numbers or two lists of numbers
-- @tparam[opt=2000] integer resamples
-- @treturn table see `interval`; without low and high where every pair agrees
function M.improvement(strata, resamples)
  return M.interval(strata, improvement, resamples, true)
end

return M
