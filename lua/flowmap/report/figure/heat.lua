--- Values on pairs of times as heat maps over the triangle s < t.
-- @module flowmap.report.figure.heat

local axes = require "flowmap.report.axis"
local errors = require "flowmap.base.errors"
local escape = require "flowmap.base.escape"
local gnuplot = require "flowmap.report.gnuplot"
local measured = require "flowmap.report.measured"
local results = require "flowmap.report.results"

local M = {}

local SIZE, GAP, LEFT, TOP, DECADES = 170, 44, 60, 40, 4

-- A stored square of values, row s and column t.
local function square(run, file)
  local path = ("%s/%s.npy"):format(run.dir, escape.filename(file))
  local values, shape = results.load_npy(path)
  if #shape ~= 2 or shape[1] ~= shape[2] or shape[1] < 2 then
    errors.data("%s has shape (%s), expected the values at all pairs of times, (n, n)", path,
      table.concat(shape, ", "))
  end
  return { values = values, n = shape[1] }
end

local function value(map, i, j) return map.values[(i - 1) * map.n + j] end

-- The range of a logarithmic colour scale: the largest value, or `most` if it is less, and at most
-- four decades below it.
local function colour_range(maps, most)
  local low, high = math.huge, 0
  for _, map in ipairs(maps) do
    for i = 1, map.n do
      for j = i + 1, map.n do
        local v = value(map, i, j)
        if axes.finite(v) and v > 0 then low, high = math.min(low, v), math.max(high, v) end
      end
    end
  end
  if high == 0 then return 0.1, 1 end
  high = math.min(high, most or high)
  return math.max(math.min(low, high / 10), high / 10 ^ DECADES), high
end

-- The cells of the triangle, one line "s t value" each; values below `low` have its colour.
local function cells_text(comment, map, low)
  local lines, steps = { "# " .. escape.line(comment) }, map.n - 1
  for i = 1, map.n do
    for j = i + 1, map.n do
      local v = value(map, i, j)
      if axes.finite(v) then
        lines[#lines + 1] = ("%.6g %.6g %.4g"):format((i - 1) / steps, (j - 1) / steps,
          math.max(v, low))
      end
    end
  end
  lines[2] = lines[2] or "0 1 NaN"
  return table.concat(lines, "\n")
end

-- The same values as CSV.
local function csv_of(methods, maps)
  local lines = { "method,s,t,value" }
  for k, map in ipairs(maps) do
    for i = 1, map.n do
      for j = i + 1, map.n do
        lines[#lines + 1] = ("%s,%.6g,%.6g,%.4g"):format(escape.csv(methods[k]),
          (i - 1) / (map.n - 1), (j - 1) / (map.n - 1), value(map, i, j))
      end
    end
  end
  return table.concat(lines, "\n") .. "\n"
end

local style = [[
unset key
unset colorbox
set xtics 1
set ytics 1
set border 15 lw 0.5 lc rgb "#808080"
set palette defined (0 "#e6eff8", 0.35 "#9ecae1", 0.65 "#0072b2", 1 "#001a33")
set logscale cb
set cbtics (%s)
set cbrange [%g:%g]
]]

-- The labels of the colour scale: those of any other logarithmic axis.
local function colour_tics(low, high)
  local tics = axes.label({ low = low, high = high, log = true }).tics
  for i, tic in ipairs(tics) do
    tics[i] = ("%s %s"):format(gnuplot.text(tic.text), gnuplot.number(tic.value))
  end
  return table.concat(tics, ", ")
end

local function panel(f, k, map, title, below)
  local x, half = LEFT + (k - 1) * (SIZE + GAP), 0.5 / (map.n - 1)
  local bar = k == f.panels and ("set colorbox user origin screen %.5f,%.5f size screen %.5f,"
    .. "%.5f\nset cblabel %s offset 1,0\n"):format((x + SIZE + 24) / f.width,
    1 - (TOP + SIZE) / f.height, 14 / f.width, SIZE / f.height, gnuplot.text(f.label)) or ""
  return gnuplot.margins(f.width, f.height, x, TOP, SIZE, SIZE) .. bar
    .. ("set title %s offset 0,-0.5\nset xlabel %s offset 0,0.6\nset ylabel %s offset 1.5,0 "
    .. "norotate\n"):format(gnuplot.text(title), gnuplot.text(below),
      gnuplot.text(k == 1 and "t" or ""))
    .. ("set xrange [%g:%g]\nset yrange [%g:%g]\n"):format(-half, 1 + half, -half, 1 + half)
    .. ("plot '%s.dat' index %d using 1:2:($1-%g):($1+%g):($2-%g):($2+%g):3 "
    .. "with boxxyerror fs solid noborder fc palette\n"):format(f.name, k - 1, half, half, half,
      half)
end

--- Draw one heat map per method, all with the same logarithmic colour scale, of the run with the
-- lowest seed or the given one.
-- @tparam string dir
-- @tparam string name
-- @tparam Set set runs of one configuration per method
-- @tparam table spec {file= FILE.npy in the folder of a run, (n, n), row s and column t, at n
--   equally spaced times from 0 to 1; label= of the colours; most= the upper end of the scale, at
--   most; metric= printed below each panel; seed=, steps=}
-- @treturn {string,...} the paths
function M.heat(dir, name, set, spec)
  local methods, maps, below, data = set:methods(), {}, {}, {}
  for k, method in ipairs(methods) do
    local own = set:select { method = method }
    local run = spec.seed and own:select({ seed = spec.seed }).runs[1] or own:first()
    maps[k] = square(run, spec.file)
    below[k] = spec.metric and "s;  mean "
      .. measured.text(run, spec.metric, spec.steps[1], "%.1e") or "s"
  end
  local low, high = colour_range(maps, spec.most)
  local f = { name = name, label = spec.label, panels = #methods, height = TOP + SIZE + 56,
    width = LEFT + #methods * (SIZE + GAP) + 96 }
  local script = { style:format(colour_tics(low, high), low, high) }
  for k, method in ipairs(methods) do
    data[k] = cells_text(method, maps[k], low)
    script[k + 1] = panel(f, k, maps[k], method, below[k])
  end
  return gnuplot.render(dir, name, { width = f.width, height = f.height,
    script = table.concat(script), data = table.concat(data, "\n\n\n") .. "\n",
    csv = csv_of(methods, maps) })
end

return M
