--- The checkerboard on [-1,1]^2: 4 x 4 squares, uniform on the 8 whose column + row is even.
-- @module flowmap.data.checkerboard

local fm = require "flowmap"

local M = { dim = 2 }

--- Each coordinate alone is uniform on [-1, 1].
M.sd = 1 / math.sqrt(3)

--- Samples from two uniform variates: u picks x, hence the column; v picks one of the two squares
-- of that column and the height inside it.
-- @param b the batch of a program
-- @treturn tensor (b.n, 2)
function M.sample(b)
  local uniform = b:uniform({ 2 }, "data")
  local u, v = fm.slice(uniform, 2, 1, 1), fm.slice(uniform, 2, 2, 1)
  local odd = fm.floor(4 * u) - 2 * fm.floor(2 * u)
  local upper = fm.floor(2 * v)
  return fm.concat({ 2 * u - 1, v + (upper + odd) / 2 - 1 }, 2)
end

local function overlap(a0, a1, b0, b1)
  return math.max(0, math.min(a1, b1) - math.max(a0, b0))
end

--- Exact probability of a box.
-- @tparam number x0
-- @tparam number x1
-- @tparam number y0
-- @tparam number y1
-- @treturn number
function M.mass(x0, x1, y0, y1)
  local area = 0
  for column = 0, 3 do
    local left = column / 2 - 1
    for row = column % 2, 3, 2 do
      local low = row / 2 - 1
      area = area + overlap(x0, x1, left, left + 0.5) * overlap(y0, y1, low, low + 0.5)
    end
  end
  return area / 2
end

--- Whether a point is on one of the eight squares.
-- @tparam number x
-- @tparam number y
-- @treturn boolean
function M.inside(x, y)
  if x < -1 or x >= 1 or y < -1 or y >= 1 then return false end
  return (math.floor(2 * (x + 1)) + math.floor(2 * (y + 1))) % 2 == 0
end

return M
