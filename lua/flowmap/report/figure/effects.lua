--- A figure of effects against the number of steps: one panel per effect, one curve per method.
-- @module flowmap.report.figure.effects

local axes = require "flowmap.report.axis"
local contrasts = require "flowmap.report.contrasts"
local gnuplot = require "flowmap.report.gnuplot"
local palette = require "flowmap.report.palette"

local M = {}

local NAN = 0 / 0 -- a row that contains it is not drawn

-- The ratio of an estimate with its interval as { x, ratio, low, high }.
local function interval_row(x, it)
  local mean, half = it.mean or NAN, it.half or 0
  return { x, math.exp(mean), math.exp(mean - half), math.exp(mean + half) }
end

-- The effects at every number of steps.
local function estimates(set, spec)
  local of = {}
  for i, N in ipairs(spec.steps) do
    local one = setmetatable({ N = N }, { __index = spec })
    of[i] = contrasts.factors(set, one)
  end
  return of
end

local function index_of(list, name)
  for i, text in ipairs(list) do
    if text == name then return i end
  end
end

-- The curves of one effect; their values are appended to `all`.
local function curves(of, spec, effect, all)
  local series, methods = {}, of[1].columns
  for j = 1, #methods - 1 do -- the last is their mean
    local style, rows = palette.method(methods[j], j), {}
    for i, N in ipairs(spec.steps) do
      local at = index_of(of[i].rows, effect)
      local shift = 1.04 ^ (j - #methods / 2)
      rows[i] = interval_row(N * shift, at and of[i].cells[j][at] or {})
      all[#all + 1] = rows[i][2]
    end
    series[j] = { kind = "interval", rows = rows, colour = style.colour, point = style.filled,
      label = ("%s, %s: N, ratio, low, high"):format(effect, methods[j]), key = methods[j] }
  end
  local xs = spec.steps
  series[#series + 1] = { kind = "line", label = "no effect", colour = "#808080", width = 1,
    rows = { { xs[1] / 1.25, 1 }, { xs[#xs] * 1.25, 1 } } }
  return series
end

--- Draw effects as ratios with 95 % intervals, one panel for each, all with the same axes.
-- @tparam string dir
-- @tparam string name
-- @tparam Set set
-- @tparam table spec {metric=, steps=, factors= and order= (see flowmap.report.contrasts), shown=
--   names of the effects, label= of the y axis}
-- @treturn {string,...} the paths
function M.effects_by_steps(dir, name, set, spec)
  local of, panels, all, xs = estimates(set, spec), {}, { 1 }, spec.steps
  if #xs == 1 then xs = { xs[1], 2 * xs[1] } end -- an axis needs two labels
  for k, effect in ipairs(spec.shown) do
    panels[k] = { title = effect, xlabel = "steps N", ylabel = k % 2 == 1 and spec.label,
      xlog = true, xtics = xs, series = curves(of, spec, effect, all),
      xrange = { xs[1] / 1.25, xs[#xs] * 1.25 } }
  end
  local axis = axes.range(axes.finite_values(all), { margin = 1.5, log = true })
  for _, panel in ipairs(panels) do panel.yrange, panel.ylog = { axis.low, axis.high }, true end
  return gnuplot.panels(dir, name, { columns = 2, width = 360, height = 220, panels = panels })
end

return M
