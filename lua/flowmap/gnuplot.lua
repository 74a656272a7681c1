--- gnuplot: scripts, data files and running it. DIR/NAME.gp and DIR/NAME.dat are written, then
-- `cd DIR && gnuplot NAME.gp` makes NAME.svg and NAME.png; anyone can edit the script and run that
-- line again. Both terminals give the same bytes for the same data. Colours: gnuplot's `podo`
-- (told apart with every common colour vision).
-- @module flowmap.gnuplot

local errors = require "flowmap.errors"
local files = require "flowmap.files"
local results = require "flowmap.results"

local M = {}

-- ------------------------------------------------------------------ scripts and data

--- Text for a double-quoted, enhanced gnuplot string.
-- @param s anything printable
-- @treturn string quoted
function M.text(s)
  return '"' .. tostring(s):gsub('[\\"]', "\\%0"):gsub("[_^{}@&~]", "\\\\%0") .. '"'
end

local script_head = [[
# Written by flowmap from result files; run `gnuplot %s.gp` in this folder to draw it again.
do for [format in "svg png"] {
if (format eq "svg") {
  set terminal svg size %d,%d enhanced font "DejaVu Sans,12" background "white"
} else {
  set terminal pngcairo size %d,%d enhanced font "DejaVu Sans,12" \
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

--- Write script and data, run gnuplot.
-- @tparam string dir made when missing
-- @tparam string name
-- @tparam table spec {width=, height= (pixels of the SVG; the PNG has twice as many), script=
--   (gnuplot commands; they read "NAME.dat"), data= (text, optional)}
-- @treturn {string,...} the paths: svg, png, gp, dat
function M.render(dir, name, spec)
  local stem = dir .. "/" .. name
  local head = script_head:format(name, spec.width, spec.height, 2 * spec.width, 2 * spec.height,
    name)
  local paths = { stem .. ".svg", stem .. ".png", stem .. ".gp" }
  results.write_file(stem .. ".gp", head .. spec.script .. script_tail)
  if spec.data then
    results.write_file(stem .. ".dat", spec.data)
    paths[4] = stem .. ".dat"
  end
  -- The scripts are UTF-8, whatever the caller's locale says.
  local command = ("cd %s && LC_ALL=C.UTF-8 gnuplot %s 2>&1"):format(files.quote(dir),
    files.quote(name .. ".gp"))
  local pipe <close> = io.popen(command)
  local said = pipe:read("a")
  -- gnuplot's warnings are our mistakes (an empty range, a missing column): none is let through.
  if not pipe:close() or said ~= "" then
    errors.data("gnuplot failed on %s.gp: %s", stem, said:gsub("%s+", " "))
  end
  return paths
end

--- Place the next plot: pixels from the top left become gnuplot's fractions from the bottom.
-- @tparam number width of the figure
-- @tparam number height of the figure
-- @tparam number x left edge of the plot
-- @tparam number y upper edge
-- @tparam number w its width
-- @tparam number h its height
-- @treturn string commands
function M.margins(width, height, x, y, w, h)
  return ("set lmargin at screen %.5f\nset rmargin at screen %.5f\n"
    .. "set tmargin at screen %.5f\nset bmargin at screen %.5f\n"):format(
    x / width, (x + w) / width, 1 - y / height, 1 - (y + h) / height)
end

-- ------------------------------------------------------------------ panels of curves

-- Data blocks of one file, addressed by index.
local function new_blocks()
  local blocks = { count = 0 }
  function blocks:add(comment, rows)
    local lines = { "# " .. comment }
    for _, row in ipairs(rows) do
      local cells = {}
      for i, v in ipairs(row) do cells[i] = ("%.6g"):format(v) end
      lines[#lines + 1] = table.concat(cells, " ")
    end
    self.count = self.count + 1
    self[self.count] = table.concat(lines, "\n")
    return self.count - 1
  end
  return blocks
end

-- One plot element per kind of series; rows are {x, y} or {x, mean, low, high}.
local series_kinds = {
  line = "using 1:2 with lines lw %g",
  points = "using 1:2 with points lw %g",
  linespoints = "using 1:2 with linespoints lw %g",
  interval = "using 1:2:3:4 with yerrorlines lw %g",
}

-- Colour, dash and point of a series, as in its plot and in the key.
local function look(s)
  local colour = type(s.colour) == "string" and 'lc rgb "' .. s.colour .. '"' or "lc " .. s.colour
  return colour .. (s.dash and " dt " .. s.dash or "")
    .. (s.point and (" pt %d ps %g"):format(s.point, s.size or 0.7) or "")
end

local function series_text(name, blocks, s)
  return ('"%s.dat" index %d %s %s notitle'):format(name, blocks:add(s.label, s.rows),
    series_kinds[s.kind]:format(s.width or 1.5), look(s))
end

-- The key: a plot of nothing below all panels, with one entry per distinct text. Returns the
-- commands as a function of the figure's size, and its height in pixels.
local function key_of(panels, width)
  local entries, seen, longest = {}, {}, 0
  for _, p in ipairs(panels) do
    for _, s in ipairs(p.series) do
      if s.key and not seen[s.key] then
        seen[s.key] = true
        local kind = s.kind == "interval" and "linespoints" or s.kind
        entries[#entries + 1] = ("keyentry with %s lw %g %s title %s"):format(kind, s.width or 1.5,
          look(s), M.text(s.key))
        longest = math.max(longest, utf8.len(s.key))
      end
    end
  end
  local columns = math.max(1, (width - 20) // (longest * 7.4 + 50))
  local rows = math.ceil(#entries / columns)
  local tall = 20 * rows + 12
  return function(height)
    return M.margins(width, height, 4, height - tall, width - 8, tall)
      .. "unset title\nunset xlabel\nunset ylabel\nunset tics\nunset border\nunset grid\n"
      .. "unset logscale\nset xrange [0:1]\nset yrange [0:1]\n"
      .. ("set key inside center center Left reverse samplen 2.5 maxrows %d\n"):format(rows)
      .. "plot NaN notitle, \\\n  " .. table.concat(entries, ", \\\n  ") .. "\n"
  end, tall
end

-- A value on an axis: powers of ten as such where their digits would be many.
local function tic(value, decade)
  if math.abs(decade) < 4 then return ("%g"):format(value) end
  return ("'10^{%d}' %g"):format(decade, value)
end

-- 1, 2, 5, 10, ... inside a range: gnuplot labels decades only, too few for a narrow range. A wide
-- one has its decades, a very wide one some of them.
local function log_tics(range)
  local tics = {}
  local low, high = math.log(range[1], 10), math.log(range[2], 10)
  local wide = high - low > 2.5
  local apart = math.max(1, math.ceil((high - low) / 7))
  for decade = math.floor(low), math.floor(high) do
    for _, digit in ipairs { 1, 2, 5 } do
      local v = digit * 10.0 ^ decade
      local shown = not wide or (digit == 1 and decade % apart == 0)
      if shown and v >= range[1] and v <= range[2] then
        tics[#tics + 1] = wide and tic(v, decade) or ("%g"):format(v)
      end
    end
  end
  return table.concat(tics, ", ")
end

local function axis_text(p)
  local lines = { "set title " .. M.text(p.title or "") .. " offset 0,-0.5",
    "set xlabel " .. M.text(p.xlabel or "") .. " offset 0,0.3",
    "set ylabel " .. M.text(p.ylabel or "") .. " offset 0.8,0",
    p.xlog and "set logscale x 2" or "unset logscale x",
    p.ylog and "set logscale y 10" or "unset logscale y",
    'set format y "%g"',
    p.xtics and "set xtics (" .. p.xtics .. ")" or "set xtics autofreq",
    p.xrange and ("set xrange [%g:%g]"):format(table.unpack(p.xrange)) or "set xrange [*:*]",
    p.yrange and ("set yrange [%g:%g]"):format(table.unpack(p.yrange)) or "set yrange [*:*]",
    "set grid ytics lt 1 lw 0.5 lc rgb \"#dddddd\"",
    p.ylog and p.yrange and "set ytics (" .. log_tics(p.yrange) .. ")" or "set ytics autofreq" }
  return table.concat(lines, "\n") .. "\n"
end

--- Panels of curves in a grid, with one key below them all.
-- @tparam string dir
-- @tparam string name
-- @tparam table spec {columns=, width=, height= (of one panel), panels={{title=, xlabel=, ylabel=,
--   xlog=, ylog=, xtics=, xrange=, yrange=, series={{kind= "line", "points", "linespoints" or
--   "interval", label= (comment in the data file), rows=, colour= (index or "#rrggbb"), point=,
--   size=, width=, dash=, key= (text in the key)},...}},...}}
-- @treturn {string,...} the paths
function M.panels(dir, name, spec)
  local rows = math.ceil(#spec.panels / spec.columns)
  local across, down, left, top = 60, 92, 74, 32
  local width = left + spec.columns * (spec.width + across) - across + 24
  local key, tall = key_of(spec.panels, width)
  local height = top + rows * (spec.height + down) - down + 52 + tall
  local blocks, script = new_blocks(), {}
  for i, p in ipairs(spec.panels) do
    local column, row = (i - 1) % spec.columns, (i - 1) // spec.columns
    local items = {}
    for j, s in ipairs(p.series) do items[j] = series_text(name, blocks, s) end
    script[i] = M.margins(width, height, left + column * (spec.width + across),
      top + row * (spec.height + down), spec.width, spec.height) .. axis_text(p)
      .. "unset key\nplot " .. table.concat(items, ", \\\n  ") .. "\n"
  end
  return M.render(dir, name, { width = width, height = height,
    script = table.concat(script) .. key(height),
    data = table.concat(blocks, "\n\n\n") .. "\n" })
end

return M
