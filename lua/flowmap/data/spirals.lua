--- Two interleaved spirals, each the image of the other under x -> -x: curved bands with sharp
-- edges, thin in one direction and long in the other.
--
-- In polar coordinates the first band is r = R0 + A a + W (v - 1/2), with a, the angle, uniform on
-- [0, TURN] and v uniform on [0, 1].
-- @module flowmap.data.spirals

local fm = require "flowmap"

local M = { dim = 2 }

local TURN = 3 * math.pi -- one and a half turns
local R0, A, W = 0.15, 0.75 / TURN, 0.1

--- E|x|^2 = 2 sd^2, because x and -x are equally likely.
M.sd = math.sqrt(((R0 + A * TURN / 2) ^ 2 + (A * TURN) ^ 2 / 12 + W ^ 2 / 12) / 2)

--- Samples from two uniform variates: u picks the spiral and the angle, v the place across it.
-- @param b the batch of a program
-- @treturn tensor (b.n, 2)
function M.sample(b)
  local u, v = fm.split(b:uniform({ 2 }, "data"), { 1, 1 }, 2)
  local second = fm.floor(2 * u)
  local angle = (2 * u - second) * TURN
  local r = (R0 + A * angle + W * (v - 0.5)) * (1 - 2 * second)
  return fm.concat({ r * fm.cos(angle), r * fm.sin(angle) }, 2)
end

-- ------------------------------------------------------------------ the mass of a box

-- The distances r at which r c is between two bounds, for r in an interval; empty: low >= high.
local function clip(low, high, first, last, c)
  if math.abs(c) < 1e-300 then return low, first <= 0 and last >= 0 and high or low end
  local p, q = first / c, last / c
  if p > q then p, q = q, p end
  return math.max(low, p), math.min(high, q)
end

-- A function of the angle a of the first spiral: the part of the band's width that is in the box.
local function across(x0, x1, y0, y1)
  return function(a)
    local r = R0 + A * a
    local low, high = clip(r - W / 2, r + W / 2, x0, x1, math.cos(a))
    if low >= high then return 0 end
    low, high = clip(low, high, y0, y1, math.sin(a))
    return math.max(0, high - low) / W
  end
end

local EXACT = 1e-9 -- of the integral over a piece

-- The integral of f over [a, b] by Simpson's rule, halved until it agrees with its halves; `depth`
-- bounds that, because f has kinks where the sides of the box cross the edges of the band.
local function simpson(f, a, b, at_a, at_m, at_b, depth)
  local m = (a + b) / 2
  local p, q = f((a + m) / 2), f((m + b) / 2)
  local whole = (b - a) / 6 * (at_a + 4 * at_m + at_b)
  local halves = (b - a) / 12 * (at_a + 4 * p + 2 * at_m + 4 * q + at_b)
  if depth == 0 or math.abs(halves - whole) < EXACT then return halves + (halves - whole) / 15 end
  return simpson(f, a, m, at_a, p, at_m, depth - 1) + simpson(f, m, b, at_m, q, at_b, depth - 1)
end

-- The angles, between 0 and TURN, at which the first spiral may be in the box: those of its corners
-- seen from the origin, repeated every turn, cut to where the distance fits.
local function arcs(x0, x1, y0, y1)
  local far = math.sqrt(math.max(x0 ^ 2, x1 ^ 2) + math.max(y0 ^ 2, y1 ^ 2))
  local near = math.sqrt(math.max(0, x0, -x1) ^ 2 + math.max(0, y0, -y1) ^ 2)
  local first, last = (near - W / 2 - R0) / A, (far + W / 2 - R0) / A
  local cuts = { math.max(0, first), math.min(TURN, last) }
  if cuts[1] >= cuts[2] then return {} end
  for _, x in ipairs { x0, x1 } do
    for _, y in ipairs { y0, y1 } do
      local corner = math.atan(y, x) % (2 * math.pi)
      for a = corner, TURN, 2 * math.pi do
        if a > cuts[1] and a < cuts[2] then cuts[#cuts + 1] = a end
      end
    end
  end
  table.sort(cuts)
  return cuts
end

local PIECE = 0.1 -- of an angle: a rule that sees only zeros at its points would stop too early

-- The mass of the first spiral in a box.
local function mass_of_first(x0, x1, y0, y1)
  local f, cuts, sum = across(x0, x1, y0, y1), arcs(x0, x1, y0, y1), 0
  for k = 2, #cuts do
    local a, length = cuts[k - 1], cuts[k] - cuts[k - 1]
    local pieces = math.ceil(length / PIECE)
    for i = 1, pieces do
      local p, q = a + length * (i - 1) / pieces, a + length * i / pieces
      sum = sum + simpson(f, p, q, f(p), f((p + q) / 2), f(q), 20)
    end
  end
  return sum / TURN
end

--- Probability of a box, exact up to a quadrature error below 1e-7.
-- @tparam number x0
-- @tparam number x1
-- @tparam number y0
-- @tparam number y1
-- @treturn number
function M.mass(x0, x1, y0, y1)
  return (mass_of_first(x0, x1, y0, y1) + mass_of_first(-x1, -x0, -y1, -y0)) / 2
end

--- Whether a point is on one of the spirals.
-- @tparam number x
-- @tparam number y
-- @treturn boolean
function M.inside(x, y)
  local r = math.sqrt(x * x + y * y)
  for angle = math.atan(y, x) % math.pi, TURN, math.pi do -- of either spiral
    if math.abs(r - (R0 + A * angle)) <= W / 2 then return true end
  end
  return false
end

return M
