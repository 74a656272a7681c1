--- Steps of ODE solvers for dx/dt = b_t(x), as functions of tensors: they may be traced.
--
-- Times t and lengths h broadcast against x: (1, 1), or one per sample, (n, 1, ..., 1). b(t, x) is
-- of the shape of x. Coefficients: Hairer, Norsett, Wanner, Solving Ordinary Differential Equations
-- I, sections II.4, II.5 and II.9; Dormand, Prince 1980.
-- @module flowmap.ode

local fm = require "flowmap"

local M = {}

--- Euler's method, order 1, one evaluation.
function M.euler(b, t, x, h) return x + h * b(t, x) end

--- Heun's method, order 2, two evaluations.
function M.heun(b, t, x, h)
  local k = b(t, x)
  return x + 0.5 * h * (k + b(t + h, x + h * k))
end

-- ------------------------------------------------------------------ Dormand and Prince, 5(4)

-- The nodes, the rows of the tableau, of which the last gives the point of order 5, and the
-- differences from the weights of order 4.
local C = { 0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1, 1 }
local A = {
  {},
  { 1 / 5 },
  { 3 / 40, 9 / 40 },
  { 44 / 45, -56 / 15, 32 / 9 },
  { 19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729 },
  { 9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656 },
  { 35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84 },
}
local E = { 71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40 }

local function combined(weights, k)
  local sum
  for j, w in ipairs(weights) do
    if w ~= 0 then sum = sum and sum + w * k[j] or w * k[j] end
  end
  return sum
end

--- One step of order 5. The last of its stages is the first of the next step, so that a step takes
-- six evaluations.
-- @tparam function b
-- @param t times
-- @param x points, (n, ...)
-- @param h lengths
-- @param first b(t, x)
-- @treturn tensor the new points
-- @treturn tensor b there
-- @treturn tensor an estimate of the error
function M.dormand_prince(b, t, x, h, first)
  local k, y = { first }, nil
  for i = 2, 7 do
    y = x + h * combined(A[i], k)
    k[i] = b(t + C[i] * h, y)
  end
  return y, k[7], h * combined(E, k)
end

-- The root of the mean square of each sample, (n, 1, ..., 1).
local function rms(x)
  local axes = {}
  for i = 2, #x.shape do axes[i - 1] = i end
  return fm.sqrt(fm.mean(fm.square(x), axes, true))
end

local function scale_of(x, tolerance) return tolerance.atol + tolerance.rtol * fm.abs(x) end

--- The state in which the adaptive solver begins. Each sample has a step of its own, so that no
-- sample depends on others of its batch. The first length is that of Hairer, Norsett, Wanner,
-- section II.4; with b at the start it takes two evaluations.
-- @tparam function b
-- @param x points at time 0, (n, ...)
-- @tparam table tolerance { rtol =, atol = }
-- @treturn table x; t, h, (n, 1, ..., 1); k = b_t(x); error = of the last accepted step; grow = 1
--   if the step may grow; nfe = number of evaluations
function M.begin(b, x, tolerance)
  local shape = { x.shape[1] }
  for i = 2, #x.shape do shape[i] = 1 end
  local function all(value) return fm.full(shape, value, x.dtype) end
  local t, scale = all(0), scale_of(x, tolerance)
  local k = b(t, x)
  local d0, d1 = rms(x / scale), rms(k / scale)
  local small = 1e-5
  local trial = fm.where(fm.lt(fm.minimum(d0, d1), small), all(1e-6),
    0.01 * d0 / fm.maximum(d1, small))
  local d2 = rms((b(trial, x + trial * k) - k) / scale) / trial
  local h = fm.pow(0.01 / fm.maximum(fm.maximum(d1, d2), 1e-10), 0.2)
  return { x = x, t = t, h = fm.minimum(fm.minimum(100 * trial, h), 1), k = k, error = all(1e-4),
    grow = all(1), nfe = all(2) }
end

-- PI control (section IV.2 there): safety, exponents, bounds of the factor.
local SAFETY, BETA, LEAST, MOST = 0.9, 0.04, 0.2, 10
local ALPHA = 0.2 - 0.75 * BETA

--- Attempt one step of each sample that has not reached time 1: accept it where the error is below
-- the tolerance, and choose the next length.
-- @tparam function b
-- @tparam table s the state, see `begin`
-- @tparam table tolerance { rtol =, atol = }
-- @treturn table the new state
function M.attempt(b, s, tolerance)
  local left = 1 - s.t
  local h, active = fm.minimum(s.h, left), fm.lt(s.t, 1)
  local y, k, estimate = M.dormand_prince(b, s.t, s.x, h, s.k)
  local scale = fm.maximum(scale_of(s.x, tolerance), scale_of(y, tolerance))
  local error = rms(estimate / scale)
  local good = fm.le(error, 1) * active -- not where it is not a number
  local known = fm.minimum(fm.maximum(error, 1e-10), 1e10)
  local factor = SAFETY * fm.pow(known, -ALPHA)
  local grown = fm.minimum(fm.maximum(factor * fm.pow(s.error, BETA), LEAST),
    1 + (MOST - 1) * s.grow)
  local shrunk = fm.where(fm.le(error, 1e10), fm.maximum(factor, LEAST), LEAST)
  local function choose(yes, no) return fm.where(good, yes, no) end
  return {
    x = choose(y, s.x), k = choose(k, s.k), h = h * choose(grown, shrunk), nfe = s.nfe + 6 * active,
    t = choose(fm.where(fm.lt(s.h, left), s.t + h, 1), s.t),
    error = choose(fm.maximum(error, 1e-4), s.error),
    grow = fm.where(active, good, s.grow),
  }
end

-- ------------------------------------------------------------------ order 8

local SUBSTEPS = { 2, 4, 6, 8 }

-- The explicit midpoint rule: n substeps from (t, x), n even; `first` is b(t, x).
local function midpoint(b, t, x, H, n, first)
  local h = H / n
  local before, now = x, x + h * first
  for k = 1, n - 1 do
    before, now = now, before + 2 * h * b(t + k * h, now)
  end
  return now
end

--- One step of order 8: Gragg's explicit midpoint rule with 2, 4, 6 and 8 substeps, extrapolated;
-- its error has an expansion in even powers of the substep (section II.9).
-- @tparam function b
-- @param t time
-- @param x points
-- @param H length of the step, of either sign
-- @treturn tensor
function M.extrapolated(b, t, x, H)
  local first, column = b(t, x), {}
  for j, n in ipairs(SUBSTEPS) do
    local new = { midpoint(b, t, x, H, n, first) }
    for k = 1, j - 1 do -- Aitken and Neville, in h^2
      local ratio = (n / SUBSTEPS[j - k]) ^ 2
      new[k + 1] = new[k] + (new[k] - column[k]) / (ratio - 1)
    end
    column = new
  end
  return column[#SUBSTEPS]
end

return M
