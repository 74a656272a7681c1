--- Checks and completes descriptions of panels of curves before they reach gnuplot. They may come
-- from an experiment's own figures, where a mistake must produce a clear error.
-- @module flowmap.report.panels

local axes = require "flowmap.report.axis"
local errors = require "flowmap.base.errors"
local escape = require "flowmap.base.escape"
local palette = require "flowmap.report.palette"

local M = {}

-- The number of values per row for each kind of curve.
local kinds = { line = 2, points = 2, linespoints = 2, interval = 4 }

local function wrong(place, what, expected, found)
  local kind = type(found)
  local shown = (kind == "string" or kind == "number") and "'" .. escape.short(found, 40) .. "'"
    or kind == "table" and "a table of other contents" or kind
  errors.usage("%s: %s is %s, expected %s", place, what, shown, expected)
end

-- An optional number between bounds, or its default.
local function number(place, options, key, default, low, high)
  local v = options[key]
  if v == nil then return default end
  if not axes.finite(v) or v < low or v > high then
    wrong(place, key, ("a number from %g to %g"):format(low, high), v)
  end
  return v
end

local function whole(place, options, key, default, high)
  local v = number(place, options, key, default, 1, high)
  if v and v % 1 ~= 0 then wrong(place, key, "a whole number", v) end
  return v and v // 1 | 0
end

local function list(place, what, expected, found)
  if type(found) ~= "table" then wrong(place, what, expected, found) end
  return found
end

local function check_range(place, key, range, log)
  if range == nil then return end
  list(place, key, "{ low, high }", range)
  local low, high = range[1], range[2]
  if not (axes.finite(low) and axes.finite(high) and low < high and (not log or low > 0)) then
    wrong(place, key, ("{ low, high } with %slow < high"):format(log and "0 < " or ""), range)
  end
end

local function check_rows(place, rows, count)
  list(place, "rows", "a list of rows { x, y }", rows)
  for i, row in ipairs(rows) do
    local good = type(row) == "table" and #row >= count
    for k = 1, good and #row or 0 do good = good and type(row[k]) == "number" end
    if not good then
      wrong(place, ("row %d"):format(i), ("a list of %d numbers"):format(count), row)
    end
  end
  return rows
end

local function series(place, curve, index)
  list(place, "a curve", "a table { rows = { { x, y }, ... } }", curve)
  local kind = curve.kind or "line"
  if not kinds[kind] then wrong(place, "kind", "line, points, linespoints or interval", kind) end
  return { kind = kind, rows = check_rows(place, curve.rows, kinds[kind]),
    label = curve.label or curve.key or "", key = curve.key,
    colour = curve.colour or palette.curve(index).colour,
    point = whole(place, curve, "point", nil, 99), size = number(place, curve, "size", nil, 0, 50),
    width = number(place, curve, "width", nil, 0, 50), dash = whole(place, curve, "dash", nil, 99) }
end

local function panel(place, spec)
  list(place, "a panel", "a table { series = {...} }", spec)
  local out = {}
  for key, value in pairs(spec) do out[key] = value end
  check_range(place, "xrange", spec.xrange, spec.xlog)
  check_range(place, "yrange", spec.yrange, spec.ylog)
  for _, v in ipairs(list(place, "xtics", "a list of numbers", spec.xtics or {})) do
    if not axes.finite(v) then wrong(place, "xtics", "a list of numbers", v) end
  end
  for i, name in ipairs(list(place, "ynames", "a list of texts", spec.ynames or {})) do
    if type(name) ~= "string" then wrong(place, ("ynames, %d,"):format(i), "a text", name) end
  end
  out.series = {}
  for i, one in ipairs(list(place, "series", "a list of curves", spec.series)) do
    out.series[i] = series(("%s, curve %d"):format(place, i), one, i)
  end
  return out
end

--- Complete a description of panels with all defaults. A mistake raises an error that names figure,
-- panel and curve.
-- @tparam string name of the figure
-- @tparam table spec see gnuplot.panels; it is not modified
-- @treturn table
function M.complete(name, spec)
  local place = ("figure '%s'"):format(escape.short(name, 60))
  list(place, "the description", "{ panels = {...} }", spec)
  local panels = list(place, "panels", "a list of panels", spec.panels)
  if #panels == 0 then errors.usage("%s has no panel", place) end
  local out = { columns = whole(place, spec, "columns", 1, 100), panels = {},
    width = number(place, spec, "width", 360, 20, 4000),
    height = number(place, spec, "height", 220, 20, 4000) }
  for i, item in ipairs(panels) do
    out.panels[i] = panel(("%s, panel %d"):format(place, i), item)
  end
  return out
end

return M
