--- Bounds of the Wasserstein-2 distance between the law of one-step samples X_{0,1}(x_0) of a
-- trained map and the data, from the residuals of the map (see flowmap.measure.map_error).
--
-- Let e_t = v_{t,t}(x_t) - b_t(x_t) on a true trajectory, r_t the Lagrangian residual of
-- X_{0,t}(x_0) and q_s the Eulerian residual of X_{s,1}(x_s).
--
-- - Along t, y_t = X_{0,t}(x_0) satisfies dy/dt = v_{t,t}(y) + r_t and dx/dt = v_{t,t}(x) - e_t. If
--   L_t is a Lipschitz constant of v_{t,t}, then d|y - x|^2/dt <= (2 L_t + 1) |y - x|^2
--   + |r_t + e_t|^2, and Gronwall's inequality gives, with Lambda = the integral of L_t,
--
--       W2^2 <= E|y_1 - x_1|^2 <= 2 exp(1 + 2 Lambda) (integral of E|r_t|^2 + E|e_t|^2).
--
-- - Along s, d/ds X_{s,1}(x_s) = q_s - grad X_{s,1}(x_s) . e_s, so with G_s >= |grad X_{s,1}|
--
--       W2^2 <= E|X_{0,1}(x_0) - x_1|^2 <= 2 (integral of E|q_s|^2 + G_s^2 E|e_s|^2).
--
-- If both terms of a loss are at most epsilon, the bounds are 4 exp(1 + 2 Lambda) epsilon and
-- 2 (1 + G^2) epsilon: those of Boffi, Albergo, Vanden-Eijnden 2025 (arXiv 2505.18825) up to a
-- constant of the second. The constants are the largest spectral norms at sampled points, so they
-- are estimates from below; the integrals are trapezoidal sums.
-- @module flowmap.measure.bounds

local fm = require "flowmap"

local M = {}

local GREATEST = 1e30 -- bound that is recorded: a network that has exploded still has its row
local POINTS = 256    -- at which gradients are computed
local CANDIDATES = 16 -- of them with the largest Frobenius norm, whose spectral norm is computed

--- The spectral norm of a matrix, by power iteration on J'J.
-- @tparam {number,...} values of one or more matrices; that of d x d numbers after `at` is used
-- @tparam integer at
-- @tparam integer d
-- @treturn number
function M.spectral_norm(values, at, d)
  local x, norm = {}, 0
  for i = 1, d do x[i] = math.cos(i) end -- any start
  for _ = 1, 50 do
    local y, z, length = {}, {}, 0
    for i = 1, d do
      y[i] = 0
      for j = 1, d do y[i] = y[i] + values[at + (i - 1) * d + j] * x[j] end
    end
    for j = 1, d do
      z[j] = 0
      for i = 1, d do z[j] = z[j] + values[at + (i - 1) * d + j] * y[i] end
      length = length + z[j] ^ 2
    end
    if length == 0 then return 0 end
    length = math.sqrt(length)
    for j = 1, d do x[j] = z[j] / length end
    if math.abs(math.sqrt(length) - norm) < 1e-6 * norm then break end
    norm = math.sqrt(length) -- |J'J x| with |x| = 1
  end
  return norm
end

-- The largest spectral norm among the gradients, (n, d d), with the largest Frobenius norms. One
-- whose Frobenius norm is smaller than the largest found needs no iteration.
local function largest(jacobians, d)
  local values, order, found = jacobians:flat(), {}, 0
  for k = 0, jacobians.shape[1] - 1 do
    local square = 0
    for i = 1, d * d do square = square + values[k * d * d + i] ^ 2 end
    order[k + 1] = { at = k * d * d, frobenius = math.sqrt(square) }
  end
  table.sort(order, function(a, b) return a.frobenius > b.frobenius end)
  for k, it in ipairs(order) do
    if it.frobenius <= found or k > CANDIDATES then break end
    found = math.max(found, M.spectral_norm(values, it.at, d))
  end
  return found
end

-- The gradient of f(x) in x, one column after the other: (n, d d), transposed.
local function gradient(f, x)
  local d, columns = x.shape[2], {}
  for k = 1, d do
    local unit = {}
    for i = 1, d do unit[i] = i == k and 1 or 0 end
    local direction = fm.broadcast(fm.reshape(fm.tensor(unit, x.dtype), { 1, d }), x.shape)
    local _, dy = fm.jvp(f, x, direction)
    columns[k] = dy
  end
  return d == 1 and columns[1] or fm.concat(columns, 2)
end

--- The integral over [0, 1] of values at equally spaced times, by the trapezoidal rule.
-- @tparam {number,...} values
-- @treturn number
function M.integral(values)
  local sum = -(values[1] + values[#values]) / 2
  for _, v in ipairs(values) do sum = sum + v end
  return sum / (#values - 1)
end

-- L_t at every time, at points of the true trajectories and of the map's, and G_s.
local function constants(bench, map, params)
  local few = math.min(POINTS, bench.n)
  local of_v = bench:program(map, params, { "x" }, function(X, _, t, rows)
    return { rows = { J = gradient(function(x) return X:b(t, x) end, rows.x) } }
  end)
  local of_X = bench:program(map, params, { "x" }, function(X, s, t, rows)
    return { rows = { J = gradient(function(x) return X(s, t, x) end, rows.x) } }
  end)
  local moved = bench:program(map, params, { "x" }, function(X, s, t, rows)
    return { rows = { y = X(s, t, rows.x) } }
  end)
  local L, G, start = {}, {}, fm.rows(bench.x[1], 1, few)
  for i, t in ipairs(bench.times) do
    local x = fm.rows(bench.x[i], 1, few)
    local y = moved(0, t, { x = start }).rows.y
    L[i] = math.max(largest(of_v(t, t, { x = x }).rows.J, bench.d),
      largest(of_v(t, t, { x = y }).rows.J, bench.d))
    G[i] = largest(of_X(t, 1, { x = x }).rows.J, bench.d)
  end
  return L, G
end

--- The bounds of a trained map.
-- @tparam table bench see flowmap.measure.map_error
-- @tparam function map map(params) -> Map
-- @tparam table params
-- @tparam table found the mean squares of its pairs
-- @treturn table field -> number: lipschitz = Lambda, gradient = the largest G_s, and the bounds of
--   W2, not of its square, relative to the root of the data's variance: bound_lsd, bound_esd, at
--   most 1e30
function M.measure(bench, map, params, found)
  local L, G = constants(bench, map, params)
  local forward, backward, most = {}, {}, 0
  for i, e in ipairs(found.diagonal) do
    forward[i] = found.lagrangian[1][i] + e
    backward[i] = found.eulerian[i][#bench.times] + G[i] ^ 2 * e
    most = math.max(most, G[i])
  end
  local lambda = M.integral(L)
  local function bound(square)
    return math.min(math.sqrt(square / bench.variance), GREATEST)
  end
  return { lipschitz = lambda, gradient = most,
    bound_lsd = bound(2 * math.exp(1 + 2 * lambda) * M.integral(forward)),
    bound_esd = bound(2 * M.integral(backward)) }
end

return M
