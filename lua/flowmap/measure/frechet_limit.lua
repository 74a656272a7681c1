--- The Frechet distance at infinitely many points on both sides. The estimate from n samples and
-- m images is too large by about c / n + c' / m, where c differs between models, so that models
-- cannot be compared at different n (Chong, Forsyth 2020, who extrapolate in the samples alone).
-- Both sides are divided into 16 groups. A line in 1/g through estimates from g = 16, 8 and 4
-- groups of each side, extrapolated to 1/g = 0, removes both terms; its error, over both sides, is
-- that of a jackknife that deletes one group of each. By simulation in 6 dimensions, the interval
-- holds the true value in 92 to 95 % of cases if the deviations of the laws differ by the factors
-- 1.3 and 2. Near a distance of 0 it is 1.4 to 1.6 times too wide and holds it in 99 % (factors 1
-- and 1.1): there the estimate is quadratic in the points, and a jackknife counts the variance of a
-- quadratic statistic twice (Efron, Stein 1981).
-- @module flowmap.measure.frechet_limit

local fm = require "flowmap"
local errors = require "flowmap.base.errors"
local frechet = require "flowmap.measure.frechet"
local stats = require "flowmap.measure.stats"

local M = {}

local GROUPS = 16           -- of samples, the unit of the jackknife
local SIZES = { 16, 8, 4 }  -- groups in an estimate; those of one size are disjoint

--- The parameters of this file that determine a result, as text.
M.protocol = "line in 1/n at n, n/2, n/4 of both sides"

--- The fewest points of a side with which every covariance, also without a group, has full rank.
-- @tparam integer dim dimension of the features
-- @treturn integer
function M.least(dim) return GROUPS * math.ceil(dim / (SIZES[#SIZES] - 1) + 1) end

-- One side: number, sum and sum of squares of each group of rows of x, about one centre.
local function side_of(x)
  local size, groups = x.shape[1] // GROUPS, {}
  x = fm.cast(x, "float64")
  local centre = fm.mean(x, 1, true)
  for g = 1, GROUPS do
    local rows = fm.slice(x, 1, (g - 1) * size + 1, size) - centre
    groups[g] = { n = size, sum = fm.sum(rows, 1, true), squares = fm.matmul(rows, rows, true) }
  end
  return { groups = groups, centre = centre, n = GROUPS * size }
end

-- Moments of the groups first .. last of one side, without one of them.
local function moments(side, first, last, without)
  local groups, centre = side.groups, side.centre
  local n, sum, squares = 0, 0, 0
  for g = first, last do
    if g ~= without then
      n, sum, squares = n + groups[g].n, sum + groups[g].sum, squares + groups[g].squares
    end
  end
  local cov = (squares - fm.matmul(sum, sum, true) / n) / (n - 1)
  return { n = n, mean = fm.reshape(centre + sum / n, { cov.shape[1] }),
    cov = (cov + fm.transpose(cov, { 2, 1 })) / 2 }
end

-- The value at 0 of the least-squares line through points { x, y }.
local function intercept(points)
  local mx, my, xx, xy = 0, 0, 0, 0
  for _, p in ipairs(points) do mx, my = mx + p[1] / #points, my + p[2] / #points end
  for _, p in ipairs(points) do
    xx, xy = xx + (p[1] - mx) ^ 2, xy + (p[1] - mx) * (p[2] - my)
  end
  return my - mx * xy / xx
end

-- The extrapolated distance, with or without a group. `distance(first, last, without)` gives the
-- estimate from a range of groups and their number.
local function extrapolated(distance, without)
  local points = {}
  for i, size in ipairs(SIZES) do
    local count = GROUPS // size
    local point = { 0, 0 }
    for first = 1, GROUPS, size do
      local value, groups = distance(first, first + size - 1, without)
      point[1], point[2] = point[1] + 1 / (groups * count), point[2] + value / count
    end
    points[i] = point
  end
  return intercept(points)
end

-- Half the width of the 95 % interval from the values without each group.
local function jackknife(values)
  local sd = stats.summary(values).sd
  return stats.t_quantile(GROUPS - 1) * sd * (GROUPS - 1) / math.sqrt(GROUPS)
end

-- The estimate from a range of groups of both sides, without one of them, each computed once.
local function estimates(a, b, offset)
  local known = {}
  return function(first, last, without)
    local inside = without and without >= first and without <= last and without or nil
    local key = ("%d %d %d"):format(first, last, inside or 0)
    known[key] = known[key] or frechet.distance(moments(b, first, last, inside),
      moments(a, first, last, inside), offset)
    return known[key], last - first + 1 - (inside and 1 or 0)
  end
end

--- Extrapolate to infinitely many points.
-- @tparam tensor x features of the samples, (n, d); both sides need at least `least(d)` rows, and
--   rows beyond the last multiple of 16 are not used
-- @tparam tensor y features of the data, (m, d)
-- @tparam[opt=0] number offset see frechet.distance
-- @treturn table { value =, half = half width of the 95 % interval, n =, m = rows used }
function M.limit(x, y, offset)
  local least = M.least(x.shape[2])
  if math.min(x.shape[1], y.shape[1]) < least then
    errors.usage("frechet_limit: %d and %d points found, expected at least %d for features of "
      .. "dimension %d", x.shape[1], y.shape[1], least, x.shape[2])
  end
  local a, b = side_of(x), side_of(y)
  local distance = estimates(a, b, offset)
  local value, without = extrapolated(distance), {}
  for g = 1, GROUPS do without[g] = extrapolated(distance, g) end
  return { value = value, half = jackknife(without), n = a.n, m = b.n }
end

return M
