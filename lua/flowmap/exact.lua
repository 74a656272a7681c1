--- The true flow map X_{s,t} of a Gaussian mixture (see flowmap.mixture), in float64.
--
-- For a single Gaussian it is affine, and in one dimension it maps quantiles to quantiles:
--
--     X_{s,t}(x) = beta_t m + sqrt(V_t / V_s) (x - beta_s m),     X_{s,t}(x) = F_t^{-1}(F_s(x)),
--
-- because a flow on the line preserves order. In general dx/dt = b_t(x) is integrated by steps of
-- order 8, see flowmap.ode.
-- @module flowmap.exact

local fm = require "flowmap"
local mixture = require "flowmap.mixture"
local normal = require "flowmap.normal"
local ode = require "flowmap.ode"

local M = {}

local STEPS = 64 -- per unit of time

local function scalar(value) return fm.full({ 1, 1 }, value, "float64") end

--- The integrator of a mixture's flow.
-- @tparam table law see flowmap.mixture
-- @tparam table interpolant
-- @tparam number sigma standard deviation of the base
-- @tparam[opt=64] integer steps per unit of time
-- @treturn function flow(s, t, x) -> X_{s,t}(x); numbers s and t in any order, x (n, d) in float64
function M.flow(law, interpolant, sigma, steps)
  local b, d = mixture.velocity(law, interpolant, sigma), #law.means[1]
  local zero = scalar(0)
  local program = fm.program(function(input, batch)
    return { rows = { x = ode.extrapolated(b, input.t, batch.rows.x, input.H) } }
  end, { shared = { t = zero, H = zero }, rows = { x = { d, dtype = "float64" } }, micro = 256 })
  return function(s, t, x)
    local count = math.max(1, math.ceil(math.abs(t - s) * (steps or STEPS) - 1e-9))
    local H = (t - s) / count
    for k = 0, count - 1 do
      x = program:run { shared = { t = scalar(s + k * H), H = scalar(H) }, rows = { x = x },
        batch = x.shape[1] }.rows.x
    end
    return x
  end
end

--- Points of the flow at increasing times: X_{t_1,t_i}(x) for each i.
-- @tparam function flow
-- @tparam {number,...} times
-- @param x (n, d), at the first time
-- @treturn {tensor,...} as many as times, the first is x
function M.path(flow, times, x)
  local points = { x }
  for i = 2, #times do points[i] = flow(times[i - 1], times[i], points[i - 1]) end
  return points
end

--- The velocity v_{s,t} of the flow map of a single Gaussian, for a linear interpolant:
--
--     v_{s,t}(x) = m + (r - 1) / (t - s) (x - s m),   r = sqrt(V_t / V_s),
--     (r - 1) / (t - s) = ((s + t) D - (2 - s - t) sigma^2) / (V_s + sqrt(V_s V_t)),
--
-- which holds on the diagonal, too: a map for tests.
-- @tparam table law with a single component
-- @tparam number sigma
-- @treturn function v(s, t, x): s, t (n, 1), x (n, d) -> (n, d)
function M.gaussian(law, sigma)
  return function(s, t, x)
    local d, base = #law.means[1], sigma * sigma
    local m = fm.reshape(fm.tensor(law.means[1], x.dtype), { 1, d })
    local D = fm.square(fm.reshape(fm.tensor(law.sds[1], x.dtype), { 1, d }))
    local function V(time) return fm.square(1 - time) * base + fm.square(time) * D end
    local slope = (s + t) * D - (2 - s - t) * base
    return m + slope / (V(s) + fm.sqrt(V(s) * V(t))) * (x - s * m)
  end
end

-- P(X < x), and P(X > x), for a mixture on the line.
local function tails(law, x)
  local below, above = 0, 0
  for k, w in ipairs(law.weights) do
    local z = (x - law.means[k][1]) / law.sds[k][1]
    below = below + w * normal.between(-math.huge, z)
    above = above + w * normal.between(z, math.huge)
  end
  return below, above
end

--- X_{s,t}(x) = F_t^{-1}(F_s(x)) on the line, by bisection on the smaller of both tails.
-- @tparam table law with a single coordinate
-- @tparam table interpolant
-- @tparam number sigma
-- @tparam number s
-- @tparam number t
-- @tparam number x
-- @treturn number
function M.by_quantile(law, interpolant, sigma, s, t, x)
  local below, above = tails(mixture.at(law, interpolant, sigma, s), x)
  local target, low, high = mixture.at(law, interpolant, sigma, t), -100, 100
  while true do
    local middle = (low + high) / 2
    if middle == low or middle == high then return middle end
    local p, q = tails(target, middle)
    local right -- whether the quantile is to the right of `middle`
    if below < above then right = p < below else right = q > above end
    if right then low = middle else high = middle end
  end
end

return M
