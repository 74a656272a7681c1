--- Eulerian self-distillation of a constant velocity b: whether an error of the learned map grows.
--
-- Let v_{s,t}(x) = b + phi(tau) e^{ikx} with the gap tau = t - s in [0, t], where the diagonal is
-- learned; u = tau phi is the error of the map. The Eulerian residual is r = -u' + i k b u. A step
-- of gradient descent changes phi by the gradient that the stop-gradient lets through, so errors
-- follow d phi / d eta = -A phi with the form
--
--     none     <w, A phi> = <-(w)' + i k b w, r>     (w = tau times the test function)
--     full     <w, A phi> = <-(w)', r>               the advection i k b u passes no gradient
--     target   A phi = -r                            the gradient reaches v alone
--
-- `convex` is `none` here, since b is learned. In units of t only the turn K = k b t matters: the
-- angle by which the mode turns while a point travels. Which norm the gradient is taken in depends
-- on the parametrisation; `metric` is that of v, or of the map X.
--
-- A is projected on orthonormal polynomials of tau, which converges exponentially.
-- @module flowmap.measure.stop_spectrum

local fm = require "flowmap"

local M = {}

local SIZE = 24   -- polynomials
local TIME = 1024 -- over which growth is observed

-- ------------------------------------------------------------------ a basis on [0, 1]

-- Legendre polynomials at x in [-1, 1] and their derivatives, of degrees 0 to n.
local function legendre(n, x)
  local p, d = { 1, x }, { 0, 1 }
  for k = 2, n do
    p[k + 1] = ((2 * k - 1) * x * p[k] - (k - 1) * p[k - 1]) / k
    d[k + 1] = d[k - 1] + (2 * k - 1) * p[k]
  end
  return p, d
end

-- Nodes and weights of Gauss and Legendre on [0, 1].
local function quadrature(n)
  local nodes = {}
  for i = 1, n do
    local x = math.cos(math.pi * (i - 0.25) / (n + 0.5))
    for _ = 1, 20 do
      local p, slope = legendre(n, x)
      x = x - p[n + 1] / slope[n + 1]
    end
    local _, d = legendre(n, x)
    nodes[i] = { at = 0.5 * (1 + x), weight = 1 / ((1 - x * x) * d[n + 1] ^ 2) }
  end
  return nodes
end

-- The integral of f g; both are given at the nodes.
local function inner(f, g, nodes)
  local sum = 0
  for i, node in ipairs(nodes) do sum = sum + node.weight * f[i] * g[i] end
  return sum
end

-- Make the functions orthonormal in one of their fields, by Gram and Schmidt, twice.
local function orthonormal(basis, field, nodes)
  local function add(f, factor, g)
    for _, name in ipairs { "phi", "u", "slope" } do
      for i = 1, #nodes do f[name][i] = f[name][i] + factor * g[name][i] end
    end
  end
  for j, f in ipairs(basis) do
    for _ = 1, 2 do
      for k = 1, j - 1 do add(f, -inner(f[field], basis[k][field], nodes), basis[k]) end
    end
    add(f, inner(f[field], f[field], nodes) ^ -0.5 - 1, f)
  end
end

local METRICS = { velocity = "phi", map = "u", slope = "slope" }
local known = {} -- bases by metric and size

-- Functions phi, u = tau phi and slope = u' at the nodes, orthonormal in the metric.
local function basis_of(metric, size)
  local name = metric .. size
  if known[name] then return known[name] end
  local nodes = quadrature(size + 4)
  local basis = { nodes = nodes }
  for j = 1, size do basis[j] = { phi = {}, u = {}, slope = {} } end
  for i, node in ipairs(nodes) do
    local p, d = legendre(size, 2 * node.at - 1)
    for j, f in ipairs(basis) do
      f.phi[i], f.u[i] = p[j], node.at * p[j]
      f.slope[i] = p[j] + 2 * node.at * d[j]
    end
  end
  orthonormal(basis, METRICS[metric], nodes)
  known[name] = basis
  return basis
end

-- ------------------------------------------------------------------ the operator

-- The matrix of <f, g> over the basis, n x n rows.
local function gram(basis, f, g)
  local rows = {}
  for i, a in ipairs(basis) do
    rows[i] = {}
    for j, b in ipairs(basis) do rows[i][j] = inner(a[f], b[g], basis.nodes) end
  end
  return fm.tensor(rows, "float64")
end

local function transposed(x) return fm.transpose(x, { 2, 1 }) end

-- Real and imaginary part of A, split into what acts on the weights and what on the target's.
local function operator(stop, K, basis)
  local S, C = gram(basis, "slope", "slope"), gram(basis, "slope", "u")
  if stop == "full" then return { S, 0 * S }, { 0 * S, -K * C } end
  if stop == "target" then
    local P = gram(basis, "phi", "phi")
    return { P, 0 * P }, { gram(basis, "phi", "slope") - P, -K * gram(basis, "phi", "u") }
  end
  return { S + K * K * gram(basis, "u", "u"), -K * (C - transposed(C)) }, nil
end

-- A complex matrix as a real one of twice the size.
local function real_form(z)
  return fm.concat({ fm.concat({ z[1], -z[2] }, 2), fm.concat({ z[2], z[1] }, 2) }, 1)
end

-- The generator of the flow: -A, or with an average phi' of rate g beside the weights
--     d phi = -A_weights phi - A_target phi',   d phi' = g (phi - phi').
local function generator(how)
  local basis = basis_of(how.metric or "velocity", how.size or SIZE)
  local weights, target = operator(how.stop, how.turn, basis)
  local W = real_form(weights)
  local T = target and real_form(target) or 0 * W
  if not how.average then return -(W + T) end
  local one = how.average * fm.tensor(M.identity(W.shape[1]), "float64")
  return fm.concat({ fm.concat({ -W, -T }, 2), fm.concat({ one, -one }, 2) }, 1)
end

--- Rows of the identity matrix.
-- @tparam integer n
-- @treturn {{number,...},...}
function M.identity(n)
  local rows = {}
  for i = 1, n do
    rows[i] = {}
    for j = 1, n do rows[i][j] = i == j and 1 or 0 end
  end
  return rows
end

local function norm(x) return math.sqrt(fm.sum(fm.square(x)):item()) end

-- exp(h B) for |h B| <= 1/4, by ten terms of its series.
local function short_exp(B, h)
  local sum = fm.tensor(M.identity(B.shape[1]), "float64")
  local term = sum
  for k = 1, 10 do
    term = fm.matmul(term, B) * (h / k)
    sum = sum + term
  end
  return sum
end

--- The rate at which the fastest error grows: the limit of log |exp(-eta A)| / eta, from repeated
-- squaring in double precision.
-- @tparam table how { stop = "full", "none" or "target", turn = K, metric = "velocity" or "map"
--   (target: velocity), average = rate of the average that the target reads (nil: current
--   weights), size = number of polynomials }
-- @treturn number below 0: all errors decay
function M.growth(how)
  local B = generator(how)
  local h = 0.25 / norm(B)
  local power, log, before = short_exp(B, h), 0, nil
  while h < TIME do
    local size = norm(power)
    power, before = power / size, log + math.log(size)
    power, log, h = fm.matmul(power, power), 2 * before, 2 * h
  end
  return (log + math.log(norm(power)) - before) / (h / 2)
end

--- The turn from which on some error grows.
-- @tparam table how as for `growth`, without turn
-- @tparam[opt=30] number most
-- @treturn ?number nil: errors decay up to `most`
function M.threshold(how, most)
  local at = setmetatable({}, { __index = how })
  local function grows(K)
    at.turn = K
    return M.growth(at) > 0
  end
  local low, high = 0, most or 30
  if not grows(high) then return nil end
  while high - low > 1e-4 do
    local middle = 0.5 * (low + high)
    if grows(middle) then high = middle else low = middle end
  end
  return high
end

--- The largest turn at which `full` is stable in every metric: up to it Re <A phi, phi> >= 0, since
-- |Im <u', u>| <= |u'|^2 / pi; beyond it some metric makes it unstable.
-- @treturn number pi, as the inverse of the largest eigenvalue of (C - C^T) / 2i, computed
function M.safe_turn()
  local C = gram(basis_of("slope", SIZE), "slope", "u")
  local skew = 0.5 * (C - transposed(C))
  local values = fm.eigh(real_form { 0 * skew, -skew }):flat()
  return 1 / math.max(table.unpack(values))
end

return M
