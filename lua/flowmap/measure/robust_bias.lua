--- The bias of flow matching with a robust loss, in one dimension and without any training.
--
-- With the sample weights (L + c^2)^-p of the squared residual L = (v - dI_t)^2, held fixed, the
-- gradient vanishes in expectation where
--
--     E[(v - dI_t) ((v - dI_t)^2 + c^2)^-p | I_t = x] = 0.
--
-- For p = 0 that is v = E[dI_t | I_t = x] = b_t(x), for p = 1/2 the minimiser of the pseudo-Huber
-- loss, for p = 1 of Cauchy's. They differ from b_t(x) unless the conditional law is symmetric,
-- and for a mixture it is not.
-- @module flowmap.measure.robust_bias

local mixture = require "flowmap.mixture"

local M = {}

local NODES, REACH = 160, 8 -- points of the trapezoidal rule, standard deviations on either side

-- Visit the nodes of a quadrature for a mixture on the line: visit(z, weight).
local function quadrature(law, visit)
  for k, w in ipairs(law.weights) do
    local h = 2 * REACH / NODES
    for i = 0, NODES do
      local u = -REACH + i * h
      visit(law.means[k][1] + law.sds[k][1] * u, w * h * math.exp(-u * u / 2)
        / math.sqrt(2 * math.pi))
    end
  end
end

--- The stationary point that is reached from the mean by iterated reweighting.
-- @tparam table law of dI_t given I_t = x, see mixture.conditional
-- @tparam number p
-- @tparam number c
-- @treturn number v
function M.centre(law, p, c)
  local nodes, v = {}, 0
  quadrature(law, function(z, w) nodes[#nodes + 1] = { z, w } end)
  for k, w in ipairs(law.weights) do v = v + w * law.means[k][1] end
  for _ = 1, p == 0 and 0 or 2000 do
    local sum, weight = 0, 0
    for _, it in ipairs(nodes) do
      local w = it[2] * ((v - it[1]) ^ 2 + c * c) ^ -p
      sum, weight = sum + w * it[1], weight + w
    end
    local before = v
    v = sum / weight
    if math.abs(v - before) < 1e-13 then break end
  end
  return v
end

--- v_{t,t}(x) - b_t(x) at the optimum of the robust loss.
-- @tparam table law see flowmap.mixture, one coordinate
-- @tparam table interpolant
-- @tparam number sigma
-- @tparam number t
-- @tparam number x
-- @tparam number p
-- @tparam number c
-- @treturn number
function M.at(law, interpolant, sigma, t, x, p, c)
  local conditional = mixture.conditional(law, interpolant, sigma, t, x)
  return M.centre(conditional, p, c) - M.centre(conditional, 0, c)
end

--- The mean square of the bias under the law of I_t, relative to the variance of the data, at some
-- quantiles of I_t. It is the value of `diagonal` in flowmap.measure.map_error that no training can
-- go below.
-- @tparam table law
-- @tparam table interpolant
-- @tparam number sigma
-- @tparam number t
-- @tparam number p
-- @tparam number c
-- @treturn number
function M.mean_square(law, interpolant, sigma, t, p, c)
  local sum, weight = 0, 0
  local here = mixture.at(law, interpolant, sigma, t)
  for k, w in ipairs(here.weights) do
    for u = -3, 3, 0.25 do
      local x, q = here.means[k][1] + here.sds[k][1] * u, w * math.exp(-u * u / 2)
      sum = sum + q * M.at(law, interpolant, sigma, t, x, p, c) ^ 2
      weight = weight + q
    end
  end
  return sum / weight / mixture.sd(law) ^ 2
end

--- The bias as curves over x, for a figure: one panel.
-- @tparam table set a data set with `mixture`, of one dimension
-- @tparam table spec { interpolant =, sigma =, t =, c =, p = a list }
-- @treturn table a panel, see flowmap.report.gnuplot
function M.panel(set, spec)
  local low, high = table.unpack(set.range or { -1, 1 })
  local panel = { xlabel = "x", ylabel = "v - b", xrange = { low, high }, series = {},
    title = ("t = %g, c = %g"):format(spec.t, spec.c) }
  for k, p in ipairs(spec.p) do
    local rows = {}
    for i = 0, 120 do
      local x = low + (high - low) * i / 120
      rows[i + 1] = { x, M.at(set.mixture, spec.interpolant, spec.sigma, spec.t, x, p, spec.c) }
    end
    panel.series[k] = { kind = "line", key = ("p = %g"):format(p), label = ("p = %g"):format(p),
      rows = rows }
  end
  return panel
end

return M
