--- Drawing with gnuplot: writes DIR/NAME.gp, DIR/NAME.dat and, for readers without gnuplot, its
-- values as DIR/NAME.figure.csv (a table may have the name NAME.csv), then runs `cd DIR && gnuplot
-- NAME.gp`, which makes NAME.svg and NAME.png; the script can be edited and run again in the same
-- way. Both terminals produce the same bytes for the same data. The colours are gnuplot's `podo`,
-- which remain distinguishable with common colour-vision deficiencies.
-- @module flowmap.report.gnuplot

local axes = require "flowmap.report.axis"
local descriptions = require "flowmap.report.panels"
local errors = require "flowmap.base.errors"
local escape = require "flowmap.base.escape"
local files = require "flowmap.base.files"
local results = require "flowmap.report.results"
local tree = require "flowmap.tree"

local M = {}

-- ------------------------------------------------------------------ scripts and data

--- A gnuplot string expression that shows a text unchanged. All text of a script goes through this
-- function, so that a title from a file never acts as a command or macro; the terminals run without
-- markup.
-- @param value any printable value; text of more than 200 characters is truncated
-- @treturn string an expression
function M.text(value)
  return escape.gnuplot(escape.short(value, 200))
end

--- A number in a script.
-- @tparam number value
-- @treturn string the number with nine digits if these are exact, otherwise with seventeen
function M.number(value)
  if not axes.finite(value) then
    errors.data("a figure needs a finite number, found %s", escape.short(value, 60))
  end
  local short = ("%.9g"):format(value)
  return tonumber(short) == value and short or ("%.17g"):format(value)
end

-- A colour: an index into the colour sequence, or "#rrggbb".
local function colour_text(colour)
  if math.type(colour) == "integer" then return "lc " .. colour end
  if type(colour) == "string" and colour:find "^#%x%x%x%x%x%x$" then
    return ("lc rgb '%s'"):format(colour)
  end
  errors.usage("a curve's colour is an index or '#rrggbb', found %s", escape.short(colour, 60))
end

local script_head = [[
# Written by flowmap from result files; run `gnuplot %s.gp` in this folder to draw it again.
do for [format in "svg png"] {
if (format eq "svg") {
  set terminal svg size %d,%d noenhanced font "DejaVu Sans,12" background "white"
} else {
  set terminal pngcairo size %d,%d noenhanced font "DejaVu Sans,12" \
    fontscale 2 linewidth 2 pointscale 2 background "white"
}
set output "%s.".format
set colorsequence podo
set encoding utf8
set tics nomirror front
set border 3 linecolor rgb "#404040"
set multiplot
]]
local script_tail = [[
unset multiplot
unset output
reset
}
]]

--- Write script and data and run gnuplot.
-- @tparam string dir created if missing
-- @tparam string name of the files, without folder and extension
-- @tparam table spec {width=, height= (pixels of the SVG; the PNG has twice as many), script=
--   (gnuplot commands; they read "NAME.dat"), data=, csv= (texts, optional)}
-- @treturn {string,...} the paths: svg, png, gp, dat, csv
function M.render(dir, name, spec)
  if name ~= escape.filename(name) then
    errors.usage("a figure's name has letters, digits, '_', '-' and '.', found '%s'",
      escape.line(name))
  end
  local stem = dir .. "/" .. name
  local head = script_head:format(name, spec.width, spec.height, 2 * spec.width, 2 * spec.height,
    name)
  local paths = { stem .. ".svg", stem .. ".png", stem .. ".gp" }
  results.write_file(stem .. ".gp", head .. spec.script .. script_tail)
  for _, extra in ipairs { { ".dat", spec.data }, { ".figure.csv", spec.csv } } do
    if extra[2] then
      results.write_file(stem .. extra[1], extra[2])
      paths[#paths + 1] = stem .. extra[1]
    end
  end
  -- The scripts are UTF-8 in any locale of the caller, and do not depend on ~/.gnuplot. With
  -- CDPATH, cd would look into other folders first, and print where it went; a GNUTERM that this
  -- gnuplot lacks, such as that of a desktop, would be an error.
  local command = ("unset CDPATH GNUTERM; cd -- %s && LC_ALL=C.UTF-8 gnuplot -d %s 2>&1"):format(
    escape.shell(dir), escape.shell("./" .. name .. ".gp"))
  local pipe <close> = files.pipe("gnuplot", command)
  local output = pipe:read("a")
  if not pipe:close() then
    errors.data("gnuplot failed on %s.gp: %s", stem, escape.line(output:gsub("%s+", " ")))
  elseif output:find "%S" then
    io.stderr:write(("gnuplot warns about %s.gp: %s\n"):format(stem, escape.short(output, 200)))
  end
  return paths
end

--- Commands that place the next plot: pixels from the top left become gnuplot's fractions from the
-- bottom left.
-- @tparam number width of the figure
-- @tparam number height of the figure
-- @tparam number x left edge of the plot
-- @tparam number y upper edge of the plot
-- @tparam number w width of the plot
-- @tparam number h height of the plot
-- @treturn string commands
function M.margins(width, height, x, y, w, h)
  return ("set lmargin at screen %.5f\nset rmargin at screen %.5f\n"
    .. "set tmargin at screen %.5f\nset bmargin at screen %.5f\n"):format(
    x / width, (x + w) / width, 1 - y / height, 1 - (y + h) / height)
end

-- ------------------------------------------------------------------ panels of curves

-- Data blocks of one file, addressed by index. A row with a value that is not finite is omitted,
-- because an axis cannot show it.
local function new_blocks()
  local blocks = { count = 0 }
  function blocks:add(comment, rows, format)
    local lines = { "# " .. escape.line(comment) }
    for _, row in ipairs(rows) do
      local cells = {}
      for i, v in ipairs(row) do cells[i] = axes.finite(v) and format:format(v) or nil end
      lines[#lines + 1] = #cells == #row and table.concat(cells, " ") or nil
    end
    lines[2] = lines[2] or "NaN NaN NaN NaN"
    self.count = self.count + 1
    self[self.count] = table.concat(lines, "\n")
    return self.count - 1
  end
  return blocks
end

local MOST_ROWS = 20000 -- of a CSV file; longer traces are those of the runs' metrics.jsonl

-- The values of all panels as CSV, nine digits each; nil for more than MOST_ROWS.
local function csv_of(panels)
  local lines = { "panel,series,x,y,low,high" }
  for i, p in ipairs(panels) do
    for _, s in ipairs(p.series) do
      if #lines + #s.rows > MOST_ROWS then return nil end
      local heads = ("%s,%s"):format(escape.csv(p.title or i), escape.csv(s.label))
      for _, row in ipairs(s.rows) do
        local cells = { heads, "", "", "", "" }
        for k = 1, math.min(#row, 4) do
          cells[k + 1] = ("%.9g"):format(row[k]):gsub("^%-nan", "nan")
        end
        lines[#lines + 1] = table.concat(cells, ",")
      end
    end
  end
  return table.concat(lines, "\n") .. "\n"
end

-- Colour, dash and point of a series, for its plot and for the key.
local function look(s)
  return colour_text(s.colour) .. (s.dash and (" dt %d"):format(s.dash) or "")
    .. (s.point and s.kind ~= "line" and (" pt %d ps %g"):format(s.point, s.size or 0.7) or "")
end

-- An expression for a column of the data. Values outside [low, high] are drawn at the edge, where
-- they would otherwise disappear: points, and values <= 0 on a log axis. The data file keeps them
-- unchanged.
local function using(i, low, high)
  local text = ("$%d"):format(i)
  if high then text = ("($%d>%s?%s:%s)"):format(i, M.number(high), M.number(high), text) end
  if low then text = ("($%d<%s?%s:%s)"):format(i, M.number(low), M.number(low), text) end
  return "(" .. text .. ")"
end

-- The plot element of each kind of series. Rows are {x, y} or {x, mean, low, high}; `y` is the
-- axis.
local series_kinds = {
  line = function(y) return "1:" .. using(2, y.log and y.low) .. " with lines" end,
  points = function(y) return "1:" .. using(2, y.low, y.high) .. " with points" end,
  linespoints = function(y) return "1:" .. using(2, y.log and y.low) .. " with linespoints" end,
  interval = function(y)
    return ("1:%s:%s:4 with yerrorlines"):format(using(2, y.low), using(3, y.low))
  end,
}

local function series_text(name, index, s, y)
  local kind = series_kinds[errors.choice("kind of curve", s.kind, tree.keys(series_kinds))]
  return ("'%s.dat' index %d using %s lw %g %s notitle"):format(name, index, kind(y),
    s.width or 1.5, look(s))
end

-- The key: an empty plot below all panels, with one entry per distinct text. Returns its commands
-- as a function of the figure's height, and its own height in pixels.
local function key_of(panels, width)
  local entries, seen, longest = {}, {}, 0
  local most = math.max(8, (width - 80) // 7.4) -- characters; gnuplot omits a key that does not fit
  for _, p in ipairs(panels) do
    for _, s in ipairs(p.series) do
      if s.key and not seen[s.key] then
        seen[s.key] = true
        local kind = s.kind == "interval" and "linespoints" or s.kind
        entries[#entries + 1] = ("keyentry with %s lw %g %s title %s"):format(kind, s.width or 1.5,
          look(s), M.text(escape.short(s.key, most)))
        longest = math.max(longest, utf8.len(escape.short(s.key, most)))
      end
    end
  end
  if #entries == 0 then return function() return "" end, 0 end
  local columns = math.max(1, (width - 20) // (longest * 7.4 + 50))
  local rows = math.ceil(#entries / columns)
  local tall = 20 * rows + 12
  return function(height)
    return M.margins(width, height, 4, height - tall, width - 8, tall)
      .. "unset title\nunset xlabel\nunset ylabel\nunset tics\nunset border\nunset grid\n"
      .. "unset label\nunset logscale\nset xrange [0:1]\nset yrange [0:1]\n"
      .. ("set key inside center center Left reverse samplen 2.5 maxrows %d\n"):format(rows)
      .. "plot NaN notitle, \\\n  " .. table.concat(entries, ", \\\n  ") .. "\n"
  end, tall
end

-- The values in columns first to last of a panel's rows.
local function values_of(panel, first, last)
  local values = {}
  for _, s in ipairs(panel.series) do
    for _, row in ipairs(s.rows) do
      if #axes.finite_values(row) == #row then
        table.move(row, first, math.min(last, #row), #values + 1, values)
      end
    end
  end
  return axes.finite_values(values)
end

-- A vertical axis of names, the first at the top: name i stands at y = -i.
local function named_axis(names)
  local tics = {}
  for i, name in ipairs(names) do
    local text = escape.short(name, 40)
    tics[i] = { value = -i, text = text, length = 1.25 * utf8.len(text) } -- capitals are wide
  end
  return { low = -#names - 0.5, high = -0.5, log = false, above = 0, below = 0, tics = tics }
end

-- Set the range and labels of a panel's axes, as given by the caller or derived from the values.
local function complete_axes(p, pixels)
  if p.xrange then
    p.x = { low = p.xrange[1], high = p.xrange[2], log = p.xlog or false, above = 0, below = 0 }
  else
    p.x = axes.range(values_of(p, 1, 1), { log = p.xlog or false, zero = p.xzero })
  end
  if p.xtics then axes.label_values(p.x, p.xtics, pixels) else axes.label(p.x, pixels) end
  if p.ynames then
    p.y = named_axis(p.ynames)
    return
  end
  if p.yrange then
    p.y = { low = p.yrange[1], high = p.yrange[2], log = p.ylog or false, above = 0, below = 0 }
  else
    p.y = axes.range(values_of(p, 2, 4), { log = p.ylog, clip = p.clip })
  end
  axes.label(p.y)
end

local function plural(count, word)
  return ("%d %s%s"):format(count, word, count == 1 and "" or "s")
end

-- Numbers of values and ends of intervals that the range excludes, in words; nil: none.
local function clipped_words(p)
  local parts, clipped = {}, 0
  for _, side in ipairs { { p.y.above, "above" }, { p.y.below, "below" } } do
    if side[1] > 0 then parts[#parts + 1] = plural(side[1], "value") .. " " .. side[2] end
  end
  for _, s in ipairs(p.series) do
    for _, row in ipairs(s.kind == "interval" and s.rows or {}) do
      if row[3] < p.y.low or row[4] > p.y.high then clipped = clipped + 1 end
    end
  end
  if clipped > 0 then parts[#parts + 1] = plural(clipped, "interval") end
  return #parts > 0 and "clipped: " .. table.concat(parts, ", ") or nil
end

local NOTE = 16 -- pixels between title and panel for what is clipped; in the panel it covers curves

local function clipped_text(p)
  if not p.clipped then return "unset label\n" end
  return ("unset label\nset label %s at graph 1,1 right offset 0,0.6 font ',9' tc rgb '#606060'\n")
    :format(M.text(p.clipped))
end

local function tics_text(name, axis)
  local out = {}
  for i, tic in ipairs(axis.tics) do
    out[i] = ("%s %s"):format(escape.gnuplot(tic.text), M.number(tic.value))
  end
  return ("%s logscale %s\nset %stics (%s)\nset %srange [%s:%s]\n"):format(
    axis.log and "set" or "unset", name, name, table.concat(out, ", "), name, M.number(axis.low),
    M.number(axis.high))
end

local function axis_text(p, raised)
  return ("set title %s offset 0,%g\n"):format(M.text(p.title or ""), raised > 0 and 0.5 or -0.5)
    .. "set xlabel " .. M.text(p.xlabel or "") .. " offset 0,0.3\n"
    .. "set ylabel " .. M.text(p.ylabel or "") .. " offset 0.2,0\n"
    .. tics_text("x", p.x) .. tics_text("y", p.y) .. clipped_text(p)
    .. "set grid ytics lt 1 lw 0.5 lc rgb '#dddddd'\n"
end

-- The width in pixels of the longest y-axis label of the panels.
local function widest(panels)
  local length = 0
  for _, p in ipairs(panels) do
    for _, tic in ipairs(p.y.tics) do length = math.max(length, tic.length) end
  end
  return 7.4 * length // 1
end

-- The space in pixels between two panels of a row: for numbers, and for a label if there is one.
local function space_between(spec, numbers)
  local label = 0
  for i, p in ipairs(spec.panels) do
    if (i - 1) % spec.columns > 0 and (p.ylabel or "") ~= "" then label = 20 end
  end
  return math.max(60, numbers + 24) + label
end

--- Draw panels of curves in a grid, with a common key below.
-- @tparam string dir
-- @tparam string name
-- @tparam table spec {columns=, width=, height= (of one panel), panels={{title=, xlabel=, ylabel=,
--   xlog=, ylog=, xtics= (values to label), xrange=, yrange=, xzero= (see flowmap.report.axis; an
--   axis without a given range fits the values), ynames= (texts in place of a vertical scale: the
--   i-th, from the top, is at y = -i), clip= (ignore a few outliers in the range and
--   state so above the panel), series={{kind= "line", "points", "linespoints" or "interval", label=
--   (comment in the data file), rows=, colour= (index or "#rrggbb"), point=, size=, width=, dash=,
--   key= (text in the key)},...}},...}}
-- @treturn {string,...} the paths
function M.panels(dir, name, spec)
  spec = descriptions.complete(name, spec)
  local rows = math.ceil(#spec.panels / spec.columns)
  local raised = 0
  for _, p in ipairs(spec.panels) do
    complete_axes(p, spec.width)
    p.clipped = clipped_words(p)
    if p.clipped then raised = NOTE end
  end
  local numbers = widest(spec.panels)
  local across, down = space_between(spec, numbers), 92 + raised
  local left, top = math.max(74, numbers + 54), 32 + raised
  local width = left + spec.columns * (spec.width + across) - across + 24
  local key, tall = key_of(spec.panels, width)
  local height = top + rows * (spec.height + down) - down + 52 + tall
  local blocks, script = new_blocks(), {}
  for i, p in ipairs(spec.panels) do
    local column, row = (i - 1) % spec.columns, (i - 1) // spec.columns
    local items, format = { "NaN notitle" }, "%.6g"
    if p.y.high - p.y.low < 1e-4 * math.max(math.abs(p.y.low), math.abs(p.y.high)) then
      format = "%.17g" -- with six digits the curve would show steps
    end
    for j, s in ipairs(p.series) do
      items[j] = series_text(name, blocks:add(s.label, s.rows, format), s, p.y)
    end
    script[i] = M.margins(width, height, left + column * (spec.width + across),
      top + row * (spec.height + down), spec.width, spec.height) .. axis_text(p, raised)
      .. "unset key\nplot " .. table.concat(items, ", \\\n  ") .. "\n"
  end
  return M.render(dir, name, { width = width, height = height,
    script = table.concat(script) .. key(height), csv = csv_of(spec.panels),
    data = table.concat(blocks, "\n\n\n") .. "\n" })
end

return M
