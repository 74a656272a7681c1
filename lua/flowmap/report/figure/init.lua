--- The figures. They are drawn only from result files, so a changed colour never causes retraining.
-- Each function writes NAME.svg, NAME.png, NAME.gp and NAME.dat into a folder and returns their
-- paths. The texts of a spec are shown literally, see gnuplot.text.
-- @module flowmap.report.figure

local axes = require "flowmap.report.axis"
local errors = require "flowmap.base.errors"
local measured = require "flowmap.report.measured"
local gnuplot = require "flowmap.report.gnuplot"
local palette = require "flowmap.report.palette"

local M = {
  traces = require("flowmap.report.figure.traces").traces,
  density = require("flowmap.report.figure.density").density,
  effects_by_steps = require("flowmap.report.figure.effects").effects_by_steps,
  heat = require("flowmap.report.figure.heat").heat,
  triangle = require("flowmap.report.figure.triangle").triangle,
}

local NAN = 0 / 0 -- a row that contains it is not drawn

-- A summary as a row {x, mean, low, high}.
local function interval_row(x, summary)
  local mean, half = summary.mean or NAN, summary.half or 0
  return { x, mean, mean - half, mean + half }
end

-- Append the values behind a summary; a summary with a diverged run has none.
local function append(list, values)
  table.move(values or {}, 1, #(values or {}), #list + 1, list)
end

-- Give all panels the same y axis. It fits `values` with a margin for the intervals; an interval
-- that reaches further ends at the edge, because a range that includes it would flatten the values.
-- `scale` is "linear", "log", or nil: as the values demand.
local function share_axis(panels, values, scale)
  if scale then errors.choice("scale", scale, { "linear", "log" }) end
  local log
  if scale then log = scale == "log" end
  local axis = axes.range(axes.finite_values(values), { zero = "near", margin = 1.5, log = log })
  for _, panel in ipairs(panels) do
    panel.yrange, panel.ylog = { axis.low, axis.high }, axis.log
  end
end

-- The curves of a panel of M.against_steps: the other methods' means in grey, the published values
-- dashed and with open points, each seed as a dot, and our mean with its interval.
local function steps_series(panel, method, means, spec)
  for _, name in ipairs(means.order) do
    if name ~= method then
      panel[#panel + 1] = { kind = "line", label = name .. " ours, for comparison", width = 1,
        colour = "#c8c8c8", rows = means[name].curve, key = "ours, the other methods" }
    end
  end
  local style, theirs = palette.method(method, 1), spec.published and spec.published[method]
  if theirs then
    local rows = {}
    for _, N in ipairs(spec.steps) do
      if theirs[N] then rows[#rows + 1] = { N, theirs[N] } end
    end
    panel[#panel + 1] = { kind = "linespoints", label = method .. " " .. spec.source, dash = 2,
      width = 1.2, colour = 1, point = style.open, size = 0.8, rows = rows, key = spec.source }
  end
  local dots, bars = {}, {}
  for i, N in ipairs(means[method].xs) do
    local summary = means[method].summaries[i]
    bars[i] = interval_row(N, summary)
    for _, v in ipairs(summary.values or {}) do dots[#dots + 1] = { N * 1.07, v } end
  end
  if means[method].summaries[1].n == 1 then -- one seed is its own mean and has no interval
    panel[#panel + 1] = { kind = "linespoints", label = method .. " ours, one seed", rows = bars,
      colour = style.colour, point = style.filled, key = "ours, one seed" }
    return
  end
  panel[#panel + 1] = { kind = "points", label = method .. " ours, single seeds (beside N)",
    point = 7, size = 0.3, colour = "#404040", rows = dots, key = "ours, single seeds" }
  panel[#panel + 1] = { kind = "interval", label = method .. " ours: N, mean, low, high",
    rows = bars, colour = style.colour, point = style.filled,
    key = "ours, mean and 95 % interval over seeds" }
end

--- Draw a metric against the number of steps, one panel per method, all with the same axes.
-- @tparam string dir
-- @tparam string name
-- @tparam Set set runs of one configuration per method
-- @tparam table spec {metric=, label= (of the y axis), steps=, published= and source= (as in
--   flowmap.report.table), scale= "linear" or "log" (default: logarithmic for positive values that
--   span it, linear if one is negative)}
-- @treturn {string,...} the paths
function M.against_steps(dir, name, set, spec)
  local means, all, most = { order = set:methods() }, {}, 0
  for _, method in ipairs(means.order) do
    local own, curve, summaries = set:select { method = method }, {}, {}
    local used = measured.evaluations(own) -- steps of its own choice: one point, at their number
    local xs = used and { used } or spec.steps
    for i, N in ipairs(xs) do
      local summary = measured.summary(own, spec.metric, used and "adaptive" or N)
      summaries[i], curve[i] = summary, { N, summary.mean or NAN }
      append(all, summary.values)
      local theirs = spec.published and spec.published[method]
      all[#all + 1] = theirs and theirs[N]
    end
    means[method] = { curve = curve, summaries = summaries, xs = xs, used = used }
    most = math.max(most, used or 0)
  end
  local panels, xs = {}, spec.steps
  if most > xs[#xs] then xs = table.move(xs, 1, #xs, 1, { [#xs + 1] = math.ceil(most) }) end
  if #xs == 1 then xs = { xs[1], 2 * xs[1] } end -- an axis needs two labels
  for i, method in ipairs(means.order) do
    local series = {}
    steps_series(series, method, means, spec)
    panels[i] = { title = method, ylabel = i % 2 == 1 and spec.label,
      xlabel = means[method].used and "evaluations" or "steps N",
      xlog = true, xtics = xs, series = series, xrange = { xs[1] / 1.25, xs[#xs] * 1.25 } }
  end
  share_axis(panels, all, spec.scale)
  return gnuplot.panels(dir, name, { columns = math.min(2, #panels), width = 360, height = 220,
    panels = panels })
end

-- Shift the i-th of `count` curves along the x axis by a small part of its length (on a logarithmic
-- axis by a factor), so that curves do not overlap.
local function shifted(x, axis, i, count)
  local part = (i - (count + 1) / 2) / 60
  if axis.log then return x * (axis.high / axis.low) ^ part end
  return x + part * (axis.high - axis.low)
end

-- The curve in one panel for one value of the series field.
local function setting_rows(part, spec, shift, all)
  local rows = {}
  for _, x in ipairs(part:distinct(spec.x)) do
    local summary = measured.summary(part:select { [spec.x] = x }, spec.metric, spec.N)
    rows[#rows + 1] = interval_row(shift(x), summary)
    append(all, summary.values)
  end
  return rows
end

-- The x axis for the tried values of a setting, and these values.
local function setting_axis(set, field)
  local xs = set:distinct(field)
  for _, x in ipairs(xs) do
    if not axes.finite(x) then
      errors.data("a figure against '%s' needs numbers; in %s it is '%s'", field, set.root,
        tostring(x))
    end
  end
  return axes.range(xs, { log = axes.spaced_by_factors(xs) }), xs
end

--- Draw a metric against a setting (an ablation): one panel per method, one curve per value of
-- `series`, means with intervals over seeds. Values spaced by factors, such as learning rates, get
-- a logarithmic axis.
-- @tparam string dir
-- @tparam string name
-- @tparam Set set
-- @tparam table spec {metric=, N=, label=, x= config field such as "eta", xlabel=, series= config
--   field such as "stop", series_label=}
-- @treturn {string,...} the paths
function M.against_setting(dir, name, set, spec)
  local values, panels, all = set:distinct(spec.series), {}, {}
  local axis, xs = setting_axis(set, spec.x)
  for p, method in ipairs(set:methods()) do
    local own, series, present = set:select { method = method }, {}, {}
    for _, value in ipairs(own:distinct(spec.series)) do present[value] = true end
    for i, value in ipairs(values) do
      local style = palette.curve(i)
      local function shift(x) return shifted(x, axis, i, #values) end
      series[#series + 1] = present[value] and { kind = "interval", colour = style.colour,
        rows = setting_rows(own:select { [spec.series] = value }, spec, shift, all),
        point = style.filled, key = (spec.series_label or spec.series) .. ": " .. tostring(value),
        label = ("%s, %s = %s: x, mean, low, high"):format(method, spec.series, value) } or nil
    end
    panels[p] = { title = method, xlabel = spec.xlabel or spec.x, xlog = axis.log, xtics = xs,
      ylabel = p % 2 == 1 and spec.label, series = series, xrange = { axis.low, axis.high } }
  end
  share_axis(panels, all)
  return gnuplot.panels(dir, name, { columns = math.min(2, #panels), width = 360, height = 220,
    panels = panels })
end

return M
