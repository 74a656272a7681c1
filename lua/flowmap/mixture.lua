--- Gaussian mixtures, whose probability flow from a Gaussian base is known in closed form.
--
-- The data are x1 ~ sum_k w_k N(m_k, D_k) with diagonal D_k, the base is x0 ~ N(0, sigma^2 I), and
-- I_t = alpha x0 + beta x1. Within component k, the pair (dI_t, I_t) is Gaussian, so with
--
--     V_k = alpha^2 sigma^2 + beta^2 D_k,    C_k = alpha alpha' sigma^2 + beta beta' D_k
--
-- I_t ~ sum_k w_k N(beta m_k, V_k), and the velocity of the flow is
--
--     b_t(x) = E[dI_t | I_t = x] = sum_k p_k(x) (beta' m_k + C_k / V_k (x - beta m_k)),
--
-- where p_k(x) is the posterior probability of component k (Albergo, Boffi, Vanden-Eijnden 2023,
-- arXiv 2303.08797, appendix on Gaussian mixtures).
--
-- A law is a table of plain numbers { weights = {...}, means = { {...}, ... }, sds = { {...}, ... }
-- }, one row of `means` and `sds` per component and one entry per coordinate.
-- @module flowmap.mixture

local fm = require "flowmap"
local errors = require "flowmap.base.errors"
local normal = require "flowmap.normal"

local M = {}

local function row(values, dtype) return fm.reshape(fm.tensor(values, dtype), { 1, #values }) end

-- Mean and variance of coordinate i.
local function moments(law, i)
  local mean, square = 0, 0
  for k, w in ipairs(law.weights) do
    mean = mean + w * law.means[k][i]
    square = square + w * (law.means[k][i] ^ 2 + law.sds[k][i] ^ 2)
  end
  return mean, square - mean ^ 2
end

--- The root of the mean variance of the coordinates.
-- @tparam table law
-- @treturn number
function M.sd(law)
  local sum, d = 0, #law.means[1]
  for i = 1, d do sum = sum + select(2, moments(law, i)) end
  return math.sqrt(sum / d)
end

--- Draw samples. A uniform number chooses the component.
-- @tparam table law
-- @param b the batch of a program
-- @treturn tensor (b.n, d)
function M.sample(law, b)
  local d = #law.means[1]
  local u, z = b:uniform({ 1 }, "data"), b:normal({ d }, "data noise")
  local x, before, sum = nil, nil, 0
  for k, w in ipairs(law.weights) do
    sum = sum + w
    local here = row(law.means[k], z.dtype) + row(law.sds[k], z.dtype) * z
    local chosen = k < #law.weights and fm.lt(u, sum) or fm.ones(u.shape, u.dtype)
    x = x and x + (chosen - before) * here or chosen * here
    before = chosen
  end
  return x
end

--- Probability of a box.
-- @tparam table law
-- @tparam number ... low and high of each coordinate
-- @treturn number
function M.mass(law, ...)
  local ends, total = { ... }, 0
  for k, w in ipairs(law.weights) do
    local part = w
    for i, m in ipairs(law.means[k]) do
      local sd = law.sds[k][i]
      part = part * normal.between((ends[2 * i - 1] - m) / sd, (ends[2 * i] - m) / sd)
    end
    total = total + part
  end
  return total
end

-- Whether a value is a list of n finite numbers, none below `least`.
local function numbers_of(list, n, least)
  if type(list) ~= "table" or #list ~= n or n == 0 then return false end
  for _, x in ipairs(list) do
    if not (math.type(x) and x >= least and math.abs(x) < math.huge) then return false end
  end
  return true
end

-- Refuse a law of which a number is missing, or that is no probability.
local function check(law)
  local weights = errors.fields("mixture", law, { "weights", "means", "sds" }).weights
  local count, total = type(weights) == "table" and #weights or 0, 0
  if not numbers_of(weights, count, 1e-300) then
    errors.usage "mixture: weights must be a list of numbers above 0, one for each component"
  end
  for _, name in ipairs { "means", "sds" } do
    local rows = law[name]
    if type(rows) ~= "table" or #rows ~= count then
      errors.usage("mixture: %s must be a list with an entry for each of the %d components", name,
        count)
    end
    local dim = type(law.means[1]) == "table" and #law.means[1] or 0
    for k, numbers in ipairs(rows) do
      if not numbers_of(numbers, dim, name == "sds" and 0 or -math.huge) then
        errors.usage("mixture: %s of component %d must be a list of finite numbers%s, one for each "
          .. "coordinate", name, k, name == "sds" and " of at least 0" or "")
      end
    end
  end
  for _, w in ipairs(weights) do total = total + w end
  if math.abs(total - 1) >= 1e-9 then
    errors.usage("mixture: the weights have the sum %.9g, expected 1", total)
  end
end

--- A data set, see flowmap.data. In one and two dimensions it has the exact mass of boxes.
-- @tparam table law
-- @tparam[opt] table range of each axis of the grid of KL
-- @treturn table
function M.data(law, range)
  check(law)
  local d = #law.means[1]
  return { dim = d, sd = M.sd(law), mixture = law, range = range,
    sample = function(b) return M.sample(law, b) end,
    mass = d <= 2 and function(...) return M.mass(law, ...) end or nil }
end

--- alpha, beta and their derivatives at some times.
-- @tparam table interpolant see flowmap.interpolants
-- @param t a tensor
-- @treturn table { a =, b =, da =, db = } of tensors of t's shape
function M.coefficients(interpolant, t)
  local one = fm.ones(t.shape, t.dtype)
  local a, da = fm.jvp(interpolant.alpha, t, one)
  local b, db = fm.jvp(interpolant.beta, t, one)
  return { a = a, b = b, da = da, db = db }
end

-- The parts of component k at the coefficients `c`: x - beta m, V and C, (n, d) or (1, d).
local function component(law, k, c, sigma, x)
  local m, sd = row(law.means[k], x.dtype), row(law.sds[k], x.dtype)
  local var, base = fm.square(sd), sigma * sigma
  local V = c.a * c.a * base + c.b * c.b * var
  local C = c.a * c.da * base + c.b * c.db * var
  return x - c.b * m, V, C, c.db * m
end

--- The velocity of the probability flow.
-- @tparam table law
-- @tparam table interpolant
-- @tparam number sigma standard deviation of the base
-- @treturn function b(t, x): t (n, 1) or (1, 1), x (n, d) -> (n, d)
function M.velocity(law, interpolant, sigma) -- [eq:velocity]
  return function(t, x)
    local c, logs, means = M.coefficients(interpolant, t), {}, {}
    for k, w in ipairs(law.weights) do
      local off, V, C, drift = component(law, k, c, sigma, x)
      means[k] = drift + C / V * off
      logs[k] = -0.5 * fm.sum(fm.square(off) / V + fm.log(V), 2, true) + math.log(w)
    end
    if #means == 1 then return means[1] end
    local posterior, b = fm.softmax(fm.concat(logs, 2)), 0
    for k, mean in ipairs(means) do b = b + fm.slice(posterior, 2, k, 1) * mean end
    return b
  end
end

-- The coefficients at one time, as numbers.
local function numbers(interpolant, t)
  local c = M.coefficients(interpolant, fm.tensor({ t }, "float64"))
  for key, value in pairs(c) do c[key] = value:item() end
  return c
end

--- The law of I_t, a mixture again.
-- @tparam table law
-- @tparam table interpolant
-- @tparam number sigma
-- @tparam number t
-- @treturn table law
function M.at(law, interpolant, sigma, t)
  local c, out = numbers(interpolant, t), { weights = law.weights, means = {}, sds = {} }
  for k, mean in ipairs(law.means) do
    out.means[k], out.sds[k] = {}, {}
    for i, m in ipairs(mean) do
      out.means[k][i] = c.b * m
      out.sds[k][i] = math.sqrt((c.a * sigma) ^ 2 + (c.b * law.sds[k][i]) ^ 2)
    end
  end
  return out
end

--- The law of dI_t given I_t = x, in one dimension: again a mixture.
-- @tparam table law with a single coordinate
-- @tparam table interpolant
-- @tparam number sigma
-- @tparam number t
-- @tparam number x
-- @treturn table law
function M.conditional(law, interpolant, sigma, t, x)
  local c, out, sum = numbers(interpolant, t), { weights = {}, means = {}, sds = {} }, 0
  for k, w in ipairs(law.weights) do
    local m, var, base = law.means[k][1], law.sds[k][1] ^ 2, sigma ^ 2
    local V, C = c.a ^ 2 * base + c.b ^ 2 * var, c.a * c.da * base + c.b * c.db * var
    local off = x - c.b * m
    out.weights[k] = w * math.exp(-off ^ 2 / (2 * V)) / math.sqrt(V)
    out.means[k] = { c.db * m + C / V * off }
    out.sds[k] = { math.sqrt(base * var / V) * math.abs(c.a * c.db - c.b * c.da) }
    sum = sum + out.weights[k]
  end
  for k, w in ipairs(out.weights) do out.weights[k] = w / sum end
  return out
end

return M
