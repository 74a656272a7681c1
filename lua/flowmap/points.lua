--- A data set of one's own points: the rows of a tensor.
--
--     experiment.data = fm.load_csv "points.csv" -- short for fm.points(fm.load_csv "points.csv")
--     experiment.data = fm.load_npy "points.npy"
--     experiment.data = fm.points(fm.load_npy "points.npy", { standardise = "none" })
--
-- Trained on are the rows themselves, in random order; an evaluation compares with rows drawn with
-- replacement. `standardise` states the units of both: "columns" (the default) subtracts the mean
-- of each coordinate and divides by its standard deviation; "all" subtracts the means and divides
-- by one number, the root of the mean variance, which keeps angles; "none" leaves the points as
-- they are. Results are in these units; `./flowmap sample` writes samples in the units of the file.
-- @module flowmap.points

local core = require "flowmap.core"
local errors = require "flowmap.base.errors"

local M = {}

local MOST = 1 << 24    -- points: each is chosen by the 24 bits of a uniform number
local WIDEST = 65536    -- coordinates
local FINEST = 1e-5    -- scale to mean: float32 then keeps the scale to 1 part in 150
local WAYS = { "columns", "all", "none" }

local origins = setmetatable({}, { __mode = "k" }) -- tensor -> the file that it was read from

--- Remember from which file a tensor was read, for titles and sentences.
-- @param x
-- @tparam string path
function M.remember(x, path) origins[x] = path end

local function check(x, who)
  if not core.is_tensor(x) or x.traced or #x.shape ~= 2 then
    errors.usage("%s: expected a tensor (n, d), a point in each row, found %s", who,
      core.is_tensor(x) and ("(%s)"):format(table.concat(x.shape, ", ")) or "a " .. type(x))
  end
  local n, d = x.shape[1], x.shape[2]
  if n < 2 or n > MOST or d < 1 or d > WIDEST then
    errors.usage("%s: %d points of %d coordinates found, expected 2 to %d points of 1 to %d", who,
      n, d, MOST, WIDEST)
  end
  local ok, at = x:finite()
  if not ok then
    errors.data("%s: row %d, column %d is not finite", who, (at - 1) // d + 1, (at - 1) % d + 1)
  end
end

-- Mean and standard deviation of each coordinate, lists of d numbers.
local function moments(x)
  local mean = core.mean(x, 1, true)
  local sd = core.sqrt(core.mean(core.square(x - mean), 1, true))
  return mean:flat(), sd:flat()
end

-- The centre and the scale of each coordinate.
local function units(x, way, who)
  local centre, sd = moments(x)
  if way == "none" then return nil end
  local total, scale = 0, {}
  for k, value in ipairs(sd) do
    total = total + value ^ 2
    if way == "columns" and value <= 1e-12 * math.abs(centre[k]) then
      errors.data("%s: column %d is constant (%.6g); leave it out, or use standardise = \"all\"",
        who, k, centre[k])
    end
  end
  if total == 0 then
    errors.data("%s: all points are equal", who)
  elseif total ~= total or total == math.huge then
    errors.data("%s: the variance of the points is too large for a number", who)
  end
  for k = 1, #sd do
    scale[k] = way == "columns" and sd[k] or math.sqrt(total / #sd)
    if scale[k] < FINEST * math.abs(centre[k]) then
      errors.data("%s: column %d has the mean %.6g and the scale %.3g, too fine for single "
        .. "precision; subtract the mean in the file", who, k, centre[k], scale[k])
    end
  end
  return { centre = centre, scale = scale }
end

-- The smallest range, a multiple of a half, that holds all coordinates: that of the grids of
-- densities.
local function range_of(x)
  local values, low, high = x:flat(), math.huge, -math.huge
  for _, v in ipairs(values) do low, high = math.min(low, v), math.max(high, v) end
  local spread = math.max(high - low, 1e-6 * math.max(math.abs(low), math.abs(high)), 1e-30)
  local step = 0.5 * 10.0 ^ math.floor(math.log(spread, 10)) -- also of equal points
  return { math.floor(low / step) * step, (math.floor(high / step) + 1) * step }
end

--- A data set whose points are the rows of a tensor.
-- @param x (n, d)
-- @tparam[opt] table options { standardise = "columns", "all" or "none", title = in tables }
-- @treturn table a data set, see flowmap.data
function M.new(x, options)
  options = options or {}
  local who = origins[x] or "points"
  if type(options) ~= "table" then
    errors.usage("points: options must be a table, found a %s", type(options))
  end
  errors.fields("points", options, { "standardise", "title" })
  local way = errors.choice("standardise", options.standardise or "columns", WAYS)
  check(x, who)
  local exact = core.cast(x, "float64")
  local unit = units(exact, way, who)
  if unit then
    local d = x.shape[2]
    exact = (exact - core.reshape(core.tensor(unit.centre, "float64"), { 1, d }))
      / core.reshape(core.tensor(unit.scale, "float64"), { 1, d })
  end
  local points = core.cast(exact, "float32")
  if not points:finite() then
    errors.data("%s: a coordinate is too large for single precision, expected at most 3.4e38", who)
  end
  local given = x.dtype == "float64" and x or core.cast(x, "float32") -- all bits that matter
  local hash = core.sha256(("%s %dx%d "):format(way, x.shape[1], x.shape[2])
    .. core.bytes(given))
  local function draw(rows, b) -- with replacement
    local index = core.floor(x.shape[1] * b:uniform({ 1 }, "data"))
    return core.gather(rows, core.reshape(index, { b.n }))
  end
  return { dim = x.shape[2], points = points, count = x.shape[1], units = unit, hash = hash,
    range = range_of(points), title = options.title or origins[x] and origins[x]:match "[^/]*$",
    draw = draw, sample = function(b) return draw(points, b) end }
end

return setmetatable(M, { __call = function(_, x, options) return M.new(x, options) end })
