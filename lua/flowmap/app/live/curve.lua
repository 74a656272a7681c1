--- The loss of a run over its steps, in a bounded number of points, and its pictures in characters.
-- @module flowmap.app.live.curve

local M = {}

local MOST = 512 -- points; when there are more, neighbours are joined two by two

local Curve = {}
Curve.__index = Curve

--- An empty curve.
-- @treturn Curve its list `points` holds { step, loss }, the mean loss of the lines up to a step
function M.new()
  return setmetatable({ points = {}, each = 1, count = 0, sum = 0, version = 0 }, Curve)
end

-- Halve the number of points; the last one has no partner if the number is odd.
local function halve(self)
  local points, half = self.points, {}
  for k = 2, #points, 2 do
    half[k // 2] = { points[k][1], (points[k - 1][2] + points[k][2]) / 2 }
  end
  if #points % 2 == 1 then half[#half + 1] = points[#points] end
  self.points, self.each = half, self.each * 2
end

--- Add a line of metrics.jsonl.
-- @tparam integer step
-- @tparam number loss finite
function Curve:add(step, loss)
  self.count, self.sum = self.count + 1, self.sum + loss
  self.version, self.last = self.version + 1, step
  if self.count < self.each then return end
  self.points[#self.points + 1] = { step, self.sum / self.count }
  self.count, self.sum = 0, 0
  if #self.points > MOST then halve(self) end
end

--- The points with that of the lines since the last one.
-- @treturn {table,...}
function Curve:all()
  if self.count == 0 then return self.points end
  local list = table.move(self.points, 1, #self.points, 1, {})
  list[#list + 1] = { self.last, self.sum / self.count }
  return list
end

--- Least and greatest loss of the points; nothing if there are none.
-- @treturn ?number
-- @treturn ?number
function Curve:range()
  local low, high
  for _, point in ipairs(self.points) do
    low, high = math.min(low or point[2], point[2]), math.max(high or point[2], point[2])
  end
  return low, high
end

-- ------------------------------------------------------------------ pictures in characters

local BLOCKS = { "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" }
local PLAIN = { "_", ".", ",", "-", "=", "+", "*", "#" }

-- Means of the points in `width` columns of equal numbers of steps; nil where there is none.
local function columns_of(self, width, steps)
  local sums, counts, means = {}, {}, {}
  local last = math.max(steps or 0, self.points[#self.points][1], 1)
  for _, point in ipairs(self.points) do
    local k = math.max(1, math.min(width, math.ceil(width * point[1] / last)))
    sums[k], counts[k] = (sums[k] or 0) + point[2], (counts[k] or 0) + 1
  end
  for k = 1, width do means[k] = counts[k] and sums[k] / counts[k] end
  local until_column = math.ceil(width * self.points[#self.points][1] / last)
  local before = self.points[1][2]
  for k = 1, math.min(width, until_column) do -- few points: each lasts until the next
    means[k] = means[k] or before
    before = means[k]
  end
  return means
end

-- A function from a loss to 0 to 1: logarithmic where losses are positive and far apart.
local function scale_of(low, high)
  local log = low > 0 and high > 4 * low
  local function of(x) return log and math.log(x) or x end
  local from, span = of(low), math.max(of(high) - of(low), 1e-300)
  return function(x) return math.max(0, math.min(1, (of(x) - from) / span)) end
end

local function eighth(part) return math.min(8, math.floor(part * 8) + 1) end

--- The curve in rows of characters, the first one on top.
-- @tparam integer width columns
-- @tparam integer height rows
-- @tparam ?integer steps of the whole training; the columns stand for these. nil: steps so far
-- @tparam boolean unicode whether the terminal shows block characters
-- @treturn {string,...} no rows if there is no point
function Curve:rows(width, height, steps, unicode)
  local low, high = self:range()
  if not low then return {} end
  local of, means, rows = scale_of(low, high), columns_of(self, width, steps), {}
  for row = 1, height do
    local cells = {}
    for k = 1, width do
      local filled = means[k] and of(means[k]) * height - (height - row) or -1
      if means[k] and row == height then filled = math.max(filled, 0) end
      cells[k] = filled < 0 and " " or (unicode and BLOCKS or PLAIN)[eighth(filled)]
    end
    rows[row] = table.concat(cells)
  end
  return rows
end

return M
