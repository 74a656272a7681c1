--- Interpolants between base and data, I_t = alpha(t) x0 + beta(t) x1.
-- An interpolant is the pair of its two coefficients; its velocity is their derivative,
-- dI_t = alpha'(t) x0 + beta'(t) x1, so a new one is two lines.
-- @module flowmap.interpolants

local fm = require "flowmap"
local registry = require "flowmap.base.registry"
local returned = require "flowmap.base.returned"
local tree = require "flowmap.tree"

local M = {}

--- alpha = 1 - t, beta = t.
M.linear = {
  alpha = function(t) return 1 - t end,
  beta = function(t) return t end,
}

--- alpha = cos(pi t / 2), beta = sin(pi t / 2).
M.trig = {
  alpha = function(t) return fm.cos(t * (math.pi / 2)) end,
  beta = function(t) return fm.sin(t * (math.pi / 2)) end,
}

--- Names of the interpolants.
M.names = tree.keys(M)

-- Those of an experiment are tables { alpha =, beta = } as well.
registry.of_module(M, { what = "interpolant", field = "interpolants",
  table_fields = { alpha = "function", beta = "function" }, needs = { "alpha", "beta" } })

--- Times as a column that broadcasts against x: (n), (n, 1) or (n, 1, ..., 1) -> (n, 1, ..., 1),
-- of the rank of x. Losses and formulas of a map are given their times in this form.
-- @param t one value per sample
-- @param x (n, ...)
-- @treturn tensor
function M.column(t, x)
  local shape = { x.shape[1] }
  for i = 2, #x.shape do shape[i] = 1 end
  return fm.reshape(t, shape)
end

--- A point of the interpolant and its velocity.
-- @tparam table interpolant one of this module
-- @param t times, one per sample; alpha and beta are given them as (n, 1, ..., 1)
-- @param x0 base samples, (n, ...)
-- @param x1 data samples, (n, ...)
-- @treturn tensor I_t, (n, ...)
-- @treturn tensor dI_t, (n, ...)
function M.at(interpolant, t, x0, x1)
  local column = M.column(t, x0)
  local function I(time)
    local alpha = returned.one("alpha of the interpolant", interpolant.alpha(time))
    local beta = returned.one("beta of the interpolant", interpolant.beta(time))
    returned.tensor(alpha, "alpha of the interpolant", column.shape, column.dtype)
    returned.tensor(beta, "beta of the interpolant", column.shape, column.dtype)
    return alpha * x0 + beta * x1 -- [eq:interpolant]
  end
  return fm.jvp(I, column, fm.ones(column.shape, column.dtype))
end

return M
