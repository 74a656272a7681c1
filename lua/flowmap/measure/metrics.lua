--- Distances between samples and a data set with a known law.
--
-- The KL estimator works in one or two dimensions. The square [-1,1]^2, or the one given by the
-- data set's `range`, is divided into bins x bins cells, and a line into bins; one more cell is
-- "outside". The data's cell masses p are exact. The model's are estimated from n samples by q =
-- (count + 1/2) / (n + cells / 2), and KL(data || model) = sum of p log(p / q). True samples do not
-- give 0 but the estimator's floor, about cells / (2 n).
-- @module flowmap.measure.metrics

local fm = require "flowmap"
local errors = require "flowmap.base.errors"
local ranks = require "flowmap.base.ranks"
local returned = require "flowmap.base.returned"

local M = {}

-- The interval covered by each axis of the grid.
local function range_of(set)
  local range = set and set.range or { -1, 1 }
  return range[1], range[2]
end

-- A box as text: "[0, 0.5] x [-1, -0.5]".
local function box_text(...)
  local parts, ends = {}, { ... }
  for k = 1, #ends, 2 do parts[#parts + 1] = ("[%g, %g]"):format(ends[k], ends[k + 1]) end
  return table.concat(parts, " x ")
end

-- The probability of a box according to the data set, checked.
local function mass_of(set, ...)
  local mass = set.mass(...)
  if type(mass) ~= "number" or not (mass >= -1e-9 and mass <= 1 + 1e-9) then
    errors.usage("mass of the data set gave %s for the box %s, expected a probability",
      type(mass) == "number" and tostring(mass) or returned.describe(mass), box_text(...))
  end
  return mass
end

--- Exact masses of the cells, row by row from the lower left; the last is "outside".
-- @tparam table set a data set, of dimension 1 or 2
-- @tparam integer bins per axis
-- @treturn {number,...} bins^dim + 1 values
function M.masses(set, bins)
  local p, rest, low, high = {}, 1, range_of(set)
  local h = (high - low) / bins
  for j = 0, set.dim == 2 and bins - 1 or 0 do
    for i = 0, bins - 1 do
      local mass
      if set.dim == 2 then
        mass = mass_of(set, i * h + low, (i + 1) * h + low, j * h + low, (j + 1) * h + low)
      else
        mass = mass_of(set, i * h + low, (i + 1) * h + low)
      end
      p[#p + 1] = mass
      rest = rest - mass
    end
  end
  p[#p + 1] = math.max(0, rest)
  return p, rest
end

-- Call visit(x, ...) with the coordinates of samples first .. last, in pieces, so that Lua holds
-- few numbers at a time.
local function each_point(x, first, last, visit)
  local d, piece = x.shape[2], 65536
  for at = first, last, piece do
    local values = fm.slice(x, 1, at, math.min(piece, last - at + 1)):flat()
    if d == 2 then
      for k = 1, #values, 2 do visit(values[k], values[k + 1]) end
    else
      for k = 1, #values, d do visit(table.unpack(values, k, k + d - 1)) end
    end
  end
end

--- Counts of samples in the cells, in the order of `masses`.
-- @param x samples, (n, 1) or (n, 2)
-- @tparam integer bins
-- @tparam[opt] table set their data set, whose range is that of the grid
-- @treturn {integer,...} bins^dim + 1 values
function M.histogram(x, bins, set)
  local low, high = range_of(set)
  local plane, width, floor = x.shape[2] == 2, high - low, math.floor
  local outside = (plane and bins * bins or bins) + 1
  return ranks.total(x.shape[1], function(first, last)
    local count = {}
    for k = 1, outside do count[k] = 0 end
    each_point(x, first, last, function(a, b)
      local k = outside
      b = b or low
      if a >= low and a < high and b >= low and b < high then
        k = floor((b - low) / width * bins) * bins + floor((a - low) / width * bins) + 1
      end
      count[k] = count[k] + 1
    end)
    return count
  end)
end

--- KL(p || q) with q the smoothed frequencies of the counts.
-- @tparam {number,...} p exact masses
-- @tparam {integer,...} count
-- @treturn number
function M.kl(p, count) -- [eq:kl]
  local n = 0
  for _, c in ipairs(count) do n = n + c end
  local total, sum = n + #count / 2, 0
  for k, mass in ipairs(p) do
    if mass > 0 then sum = sum + mass * math.log(mass * total / (count[k] + 0.5)) end
  end
  return sum
end

--- Fraction of samples outside the data's support.
-- @param x samples, (n, d)
-- @tparam table set a data set
-- @treturn number
function M.outside(x, set)
  local inside, n = set.inside, x.shape[1]
  local total = ranks.total(n, function(first, last)
    local out = 0
    local function add(answer)
      if answer == false then
        out = out + 1
      elseif answer ~= true then
        errors.usage("inside of the data set returned %s for a sample, expected true or false",
          returned.describe(answer))
      end
    end
    if x.shape[2] == 2 then
      each_point(x, first, last, function(a, b) add(inside(a, b)) end)
    else
      each_point(x, first, last, function(...) add(inside(...)) end)
    end
    return { out }
  end)
  return total[1] / n
end

--- Mean of |x_i - y_j| over all pairs; without y, over the pairs of different rows of x.
-- @param x samples, (n, d)
-- @param[opt] y samples, (m, d)
-- @treturn number
function M.mean_distance(x, y)
  local shared, n, d = { y = y or x }, x.shape[1], x.shape[2]
  local m = shared.y.shape[1]
  local program = fm.program(function(input, b)
    local sum = 0
    for k = 1, d do -- coordinate by coordinate: (b.n, 1) - (1, m)
      local column = fm.reshape(fm.slice(input.y, 2, k, 1), { 1, m })
      sum = sum + fm.square(fm.slice(b.rows.x, 2, k, 1) - column)
    end
    return { sum = { total = fm.sum(fm.sqrt(sum)) } }
  end, { shared = shared, rows = { x = { d } }, micro = 64 })
  local total = program:run { shared = shared, rows = { x = x }, batch = n }.sum.total:item()
  return total / (y and n * m or n * (n - 1))
end

--- Energy distance 2 E|X-Y| - E|X-X'| - E|Y-Y'| (Szekely, Rizzo 2013). The estimate is unbiased:
-- its mean is 0 for equal laws, so it may be negative near 0.
-- @param x samples, (n, d)
-- @param y samples, (m, d)
-- @tparam[opt] number within E|Y-Y'|, if known
-- @treturn number
function M.energy(x, y, within) -- [eq:energy]
  return 2 * M.mean_distance(x, y) - M.mean_distance(x) - (within or M.mean_distance(y))
end

return M
