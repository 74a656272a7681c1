--- Axes: range, scale and labels for any finite values, with at least two labels per axis.
--
-- An axis is { low=, high=, log=, tics={{value=, text=, length=},...}, above=, below= }. `above`
-- and `below` count the values outside the range; `length` counts the characters of a label.
-- @module flowmap.report.axis

local M = {}

local LARGEST, LEAST = 1e200, 1e-200 -- magnitudes that gnuplot can draw; others are clamped

--- Whether a value is a finite number.
-- @param v any value
-- @treturn boolean
function M.finite(v)
  return type(v) == "number" and v == v and math.abs(v) < math.huge
end

--- The finite values of a list, clamped to the magnitudes that gnuplot can draw.
-- @tparam table values
-- @treturn {number,...}
function M.finite_values(values)
  local out = {}
  for _, v in ipairs(values) do
    if M.finite(v) then
      v = math.max(-LARGEST, math.min(LARGEST, v))
      out[#out + 1] = math.abs(v) < LEAST and 0 or v
    end
  end
  return out
end

-- ------------------------------------------------------------------ scale

local function bounds(values)
  local low, high = math.huge, -math.huge
  for _, v in ipairs(values) do low, high = math.min(low, v), math.max(high, v) end
  return low, high
end

--- Whether values are geometric: positive and spread by more than a factor of eight.
-- @tparam {number,...} values
-- @treturn boolean
function M.geometric(values)
  local low, high = bounds(values)
  return low > 0 and high / low > 8
end

--- Whether the tried values of a setting are spaced by factors rather than by differences.
-- @tparam {number,...} values sorted, distinct
-- @treturn boolean
function M.spaced_by_factors(values)
  if not M.geometric(values) then return false end
  local steps, factors = {}, {}
  for i = 2, #values do
    steps[i - 1] = values[i] - values[i - 1]
    factors[i - 1] = math.log(values[i] / values[i - 1])
  end
  local function unevenness(gaps)
    local least, most = bounds(gaps)
    return most / least
  end
  return #values == 2 or unevenness(factors) < unevenness(steps)
end

-- The range without outliers, which would flatten all other values. The core lies between the
-- quantiles 0.05 and 0.95. The range ends at the last value whose distance from the core is at most
-- `reach` times the core's width, or at most `least`.
local function clipped(values, reach, least)
  local sorted = table.move(values, 1, #values, 1, {})
  table.sort(sorted)
  local count = #sorted
  local first, last = 1, count
  if count >= 10 then
    local from, to = sorted[count - 95 * (count - 1) // 100], sorted[1 + 95 * (count - 1) // 100]
    local beyond = math.max(reach * (to - from), least)
    while sorted[first] < from - beyond do first = first + 1 end
    while sorted[last] > to + beyond do last = last - 1 end
  end
  return sorted[first], sorted[last]
end

-- The same on a logarithmic scale, where a value within two decades of the core is not an outlier.
local function clipped_log(values)
  local logs = {}
  for i, v in ipairs(values) do logs[i] = math.log(v, 10) end
  local low, high = clipped(logs, 1, 2)
  return 10 ^ low, 10 ^ high
end

local function positive(values)
  local out = {}
  for _, v in ipairs(values) do
    if v > 0 then out[#out + 1] = v end
  end
  return out
end

-- Widen an empty range, or one too narrow for double precision.
local function widened(low, high)
  local size = math.max(math.abs(low), math.abs(high))
  if high - low > 1e-9 * size then return low, high end
  local margin = size == 0 and 1 or 0.1 * size
  return low - margin, high + margin
end

--- The axis range for values. It is logarithmic if they are geometric (zeros are drawn at its lower
-- edge), unless `log` decides.
-- @tparam {number,...} values finite ones
-- @tparam[opt] table how options: log = true or false; zero = "always" starts a linear axis of
--   values >= 0 at 0, zero = "near" does so unless the values lie within a third of the highest;
--   clip = true ignores a few outliers; margin = 1.2 is the factor of free space at both ends of a
--   logarithmic axis, a linear one gets half as much
-- @treturn table an axis without tics
function M.range(values, how)
  how = how or {}
  local margin = how.margin or 1.2
  if #values == 0 then return { low = 0, high = 1, log = false, above = 0, below = 0 } end
  local low, high = bounds(values)
  local above_zero = positive(values)
  local log = how.log
  if log == nil then log = low >= 0 and #above_zero > 0 and M.geometric(above_zero) end
  log = log and #above_zero > 0 and low >= 0
  if log then
    low = bounds(above_zero)
    if how.clip then low, high = clipped_log(above_zero) end
    low, high = low / margin, high * margin
    if high / low < 1.5 then low, high = low / 1.25, high * 1.25 end
  else
    if how.clip then low, high = clipped(values, 4, LEAST) end
    local from_zero = low >= 0 and (how.zero == "always" or how.zero == "near" and low < high / 1.5)
    low, high = widened(from_zero and 0 or low, high)
    local free = (margin - 1) / 2 * (high - low)
    low, high = from_zero and 0 or low - free, high + free
  end
  local axis = { low = low, high = high, log = log, above = 0, below = 0 }
  for _, v in ipairs(values) do
    if v > high then axis.above = axis.above + 1 end
    if v < low and not (log and v == 0) then axis.below = axis.below + 1 end
  end
  return axis
end

-- ------------------------------------------------------------------ labels

-- The smallest number >= x that is 1, 2 or 5 times a power of ten.
local function nice_step(x)
  local power = 10.0 ^ math.floor(math.log(x, 10))
  for _, digit in ipairs { 1, 2, 5 } do
    if digit * power >= x * (1 - 1e-9) then return digit * power end
  end
  return 10 * power
end

local function exponent(x) return math.floor(math.log(math.abs(x), 10) + 1e-9) end

local raised = { ["-"] = "⁻", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹", ["0"] = "⁰" }

-- A power of ten in Unicode superscript digits.
local function power_of_ten(n)
  return "10" .. tostring(n):gsub(".", function(c) return raised[tonumber(c)] or raised[c] end)
end

-- The text of a multiple of a step, and its length: plain digits, or a power of ten where these
-- would be many.
local function linear_text(value, step, largest)
  if math.abs(value) < step / 2 then return "0", 1 end
  local top, unit = exponent(largest), exponent(step)
  local digits = top - unit
  if (top >= 6 and digits <= 5) or top > 14 or (top < -3 and digits <= 5) then
    local mantissa = ("%%.%df"):format(math.max(0, digits)):format(value / 10.0 ^ top)
    local text = mantissa .. "×" .. power_of_ten(top)
    return text, utf8.len(text)
  end
  local text = ("%%.%df"):format(math.max(0, -unit)):format(value)
  return text, #text
end

local function linear_tics(low, high, count)
  local step = nice_step((high - low) / count)
  local tics, largest = {}, math.max(math.abs(low), math.abs(high))
  for k = math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6) do
    local text, length = linear_text(k * step, step, largest)
    tics[#tics + 1] = { value = k * step, text = text, length = length }
  end
  return tics
end

local function log_text(value, decade)
  if math.abs(decade) < 4 then
    local text = ("%g"):format(value)
    return text, #text
  end
  local digit, power = (value / 10.0 ^ decade + 0.5) // 1, power_of_ten(decade)
  local text = digit < 2 and power or ("%d×%s"):format(digit, power)
  return text, utf8.len(text)
end

-- Labels at decades (every few decades in a wide range), at 1, 2, 5 and 10 in a narrow range, and
-- at the multiples of a linear axis in a very narrow one.
local function log_tics(low, high, count)
  local first, last, tics = math.log(low, 10), math.log(high, 10), {}
  local wide = last - first > 2.5
  local apart = math.max(1, math.ceil((last - first) / count))
  for decade = math.floor(first), math.floor(last) do
    for _, digit in ipairs((wide or count < 5) and { 1 } or { 1, 2, 5 }) do
      local v = digit * 10.0 ^ decade
      if decade % apart == 0 and v >= low * (1 - 1e-9) and v <= high * (1 + 1e-9) then
        local text, length = log_text(v, decade)
        tics[#tics + 1] = { value = v, text = text, length = length }
      end
    end
  end
  return (#tics < 2 and last - first < 1) and linear_tics(low, high, count) or tics
end

-- The position of a value along the axis, from 0 to 1.
local function place(axis, value)
  if axis.log then return math.log(value / axis.low) / math.log(axis.high / axis.low) end
  return (value - axis.low) / (axis.high - axis.low)
end

-- Whether adjacent labels touch along a horizontal axis of the given length in pixels.
local function crowded(axis, tics, pixels)
  for i = 2, #tics do
    local gap = (place(axis, tics[i].value) - place(axis, tics[i - 1].value)) * pixels
    if gap < (tics[i].length + tics[i - 1].length) * 3.7 + 8 then return true end
  end
  return false
end

--- Add labels to an axis.
-- @tparam table axis see `range`
-- @tparam[opt] integer pixels length of a horizontal axis, whose labels must not touch
-- @treturn table the axis
function M.label(axis, pixels)
  local make = axis.log and log_tics or linear_tics
  for count = axis.log and 7 or 5, 2, -1 do
    local tics = make(axis.low, axis.high, count)
    if axis.tics and #tics < 2 then break end
    axis.tics = tics
    if not pixels or not crowded(axis, tics, pixels) then break end
  end
  return axis
end

--- Label given values, such as the tried values of a setting: the first, the last and all others
-- that fit. With fewer than two values the axis is labelled as by `label`.
-- @tparam table axis see `range`
-- @tparam {number,...} values sorted, distinct
-- @tparam integer pixels length of the axis
-- @treturn table the axis
function M.label_values(axis, values, pixels)
  local tics = {}
  for i, v in ipairs(values) do
    local text = ("%.6g"):format(v)
    tics[i] = { value = v, text = text, length = #text }
  end
  if #tics < 2 then return M.label(axis, pixels) end
  local kept = { tics[1] }
  for i = 2, #tics do
    local last = tics[#tics]
    local fits = not crowded(axis, { kept[#kept], tics[i] }, pixels)
    if i == #tics then
      if not fits and #kept > 1 then kept[#kept] = nil end
      kept[#kept + 1] = last
    elseif fits then
      kept[#kept + 1] = tics[i]
    end
  end
  axis.tics = kept
  return axis
end

return M
