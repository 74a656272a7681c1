--- Training traces, drawn from metrics.jsonl.
-- @module flowmap.report.figure.traces

local axes = require "flowmap.report.axis"
local errors = require "flowmap.base.errors"
local gnuplot = require "flowmap.report.gnuplot"
local palette = require "flowmap.report.palette"

local M = {}

-- Reduce a trace to at most `count` points: means over equal bins, which lessen noise and still
-- show spikes.
local function binned(lines, field, count)
  local rows, per = {}, math.max(1, math.ceil(#lines / count))
  for first = 1, #lines, per do
    local sum, n, x = 0, 0, nil
    for i = first, math.min(first + per - 1, #lines) do
      local at, y = lines[i].samples, lines[i][field]
      if axes.finite(at) and axes.finite(y) then sum, n, x = sum + y, n + 1, at end
    end
    if n > 0 then rows[#rows + 1] = { x, sum / n } end
  end
  return rows
end

local trace_panels = {
  { field = "loss", label = "loss" },
  { field = "off", label = "off-diagonal term" },
  { field = "off_weighted", label = "off-diagonal term, weighted", optional = true },
  { field = "grad_norm", label = "gradient norm" },
}

-- Add the curves of a run, one per panel. A cross ends the curves of a diverged run.
local function add_traces(panels, shown, run, style, points)
  local lines, method = run:metrics(), run:method()
  for i, of in ipairs(shown) do
    local rows, series = binned(lines, of.field, points), panels[i].series
    local label = ("%s seed %s %s"):format(method, run:field("config", "seed"), of.field)
    local some = not of.optional
      and (of.field ~= "off" or #rows > 0 or run:field("config", "eta") < 1)
    if #rows == 0 and some and not run.diverged then
      errors.data("%s/metrics.jsonl has no number '%s' in any line", run.dir, of.field)
    end
    if #rows > 0 then
      series[#series + 1] = { kind = #rows > 2 and "line" or "linespoints", width = 1.2,
        rows = rows, key = method, label = label, colour = style.colour, dash = style.dash,
        point = style.filled }
    end
    if #rows > 0 and run.diverged then
      series[#series + 1] = { kind = "points", rows = { rows[#rows] }, key = method .. " diverged",
        label = label .. ": the last mean before the values ceased to be finite", point = 2,
        size = 1.4, width = 2, colour = style.colour }
    end
  end
end

-- The styles of methods. A colour that stands for an earlier method as well is dashed.
local function styles_of(methods)
  local styles, used = {}, {}
  for k, method in ipairs(methods) do
    local style = palette.method(method, k)
    styles[k] = { colour = style.colour, filled = style.filled,
      dash = used[style.colour] and 2 or nil }
    used[style.colour] = true
  end
  return styles
end

-- Rescale the samples of a panel to thousands or millions.
local function count_in_units(panel)
  local most = 0
  for _, one in ipairs(panel.series) do
    for _, row in ipairs(one.rows) do most = math.max(most, row[1]) end
  end
  local unit = most < 1e6 and 1e3 or 1e6
  for _, one in ipairs(panel.series) do
    for k, row in ipairs(one.rows) do one.rows[k] = { row[1] / unit, row[2] } end
  end
  panel.xlabel = unit == 1e3 and "samples seen (thousands)" or "samples seen (millions)"
end

-- The panels of which some run has numbers.
local function panels_of(runs)
  local list = {}
  for _, of in ipairs(trace_panels) do
    local shown = not of.optional
    for _, run in ipairs(runs) do
      local first = run:metrics()[1]
      shown = shown or first ~= nil and first[of.field] ~= nil
    end
    list[#list + 1] = shown and of or nil
  end
  return list
end

--- Draw training traces: loss, off-diagonal term (also as weighted in the objective, where weights
-- differ between samples) and gradient norm (before clipping) against samples seen, one colour per
-- method, one line per seed.
-- @tparam string dir
-- @tparam string name
-- @tparam Set set
-- @tparam ?table spec {points= (per line, default 300)}
-- @treturn {string,...} the paths
function M.traces(dir, name, set, spec)
  local panels = {}
  local runs = table.move(set.diverged, 1, #set.diverged, #set.runs + 1, { table.unpack(set.runs) })
  local shown = panels_of(runs)
  for i, of in ipairs(shown) do
    panels[i] = { title = of.label, series = {}, xzero = "always", clip = true }
  end
  local styles = styles_of(set:traced_methods())
  for k, method in ipairs(set:traced_methods()) do
    for _, run in ipairs(runs) do
      if run:method() == method then
        add_traces(panels, shown, run, styles[k], spec and spec.points or 300)
      end
    end
  end
  if #panels[2].series == 0 and #panels[1].series > 0 then table.remove(panels, 2) end
  for _, p in ipairs(panels) do count_in_units(p) end
  local columns = #panels == 4 and 2 or #panels -- four in a row would be illegible in print
  return gnuplot.panels(dir, name, { columns = columns, width = 270, height = 240,
    panels = panels })
end

return M
