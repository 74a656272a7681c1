--- A mixture of eight Gaussians on a circle, with equal weights: smooth, unlike the checkerboard,
-- and with separate modes.
-- @module flowmap.data.gaussians

local fm = require "flowmap"
local normal = require "flowmap.normal"

local M = { dim = 2 }

local MODES, RADIUS, SD = 8, 0.7, 0.08

--- Variance of a coordinate: half the squared radius plus the variance of a mode.
M.sd = math.sqrt(RADIUS ^ 2 / 2 + SD ^ 2)

--- Samples: a mode, and normal noise around its centre.
-- @param b the batch of a program
-- @treturn tensor (b.n, 2)
function M.sample(b)
  local mode = fm.floor(MODES * b:uniform({ 1 }, "data"))
  local angle = mode * (2 * math.pi / MODES)
  local centre = fm.concat({ fm.cos(angle), fm.sin(angle) }, 2)
  return RADIUS * centre + SD * b:normal({ 2 }, "data noise")
end

local function centres()
  local k = -1
  return function()
    k = k + 1
    if k == MODES then return nil end
    local angle = 2 * math.pi * k / MODES
    return RADIUS * math.cos(angle), RADIUS * math.sin(angle)
  end
end

--- Exact probability of a box.
-- @tparam number x0
-- @tparam number x1
-- @tparam number y0
-- @tparam number y1
-- @treturn number
function M.mass(x0, x1, y0, y1)
  local mass = 0
  for cx, cy in centres() do
    mass = mass + normal.between((x0 - cx) / SD, (x1 - cx) / SD)
      * normal.between((y0 - cy) / SD, (y1 - cy) / SD)
  end
  return mass / MODES
end

--- Whether a point is within four standard deviations of a centre; 3e-4 of the data is not.
-- @tparam number x
-- @tparam number y
-- @treturn boolean
function M.inside(x, y)
  for cx, cy in centres() do
    if (x - cx) ^ 2 + (y - cy) ^ 2 < (4 * SD) ^ 2 then return true end
  end
  return false
end

return M
