--- Densities in the plane as heat maps.
-- @module flowmap.report.figure.density

local axes = require "flowmap.report.axis"
local errors = require "flowmap.base.errors"
local escape = require "flowmap.base.escape"
local files = require "flowmap.base.files"
local gnuplot = require "flowmap.report.gnuplot"
local measured = require "flowmap.report.measured"
local results = require "flowmap.report.results"
local stats = require "flowmap.measure.stats"

local M = {}

-- Counts of points in a grid of bins x bins cells over [low, high]^2, row by row from the lowest y.
-- `factor` converts a count to a density per unit area; it includes the points outside the grid.
local function histogram(path, bins, low, high)
  local values, shape = results.load_npy(path)
  if #shape ~= 2 or shape[2] ~= 2 then
    errors.data("%s has shape (%s), expected points in the plane, (K, 2)", path,
      table.concat(shape, ", "))
  end
  local counts, scale = {}, bins / (high - low)
  for i = 1, bins * bins do counts[i] = 0 end
  for i = 1, #values, 2 do
    local column, row = (values[i] - low) * scale // 1, (values[i + 1] - low) * scale // 1
    if column >= 0 and column < bins and row >= 0 and row < bins then
      local cell = row * bins + column + 1
      counts[cell] = counts[cell] + 1
    end
  end
  return { values = counts, bins = bins, factor = scale ^ 2 / shape[1] }
end

-- One heat map of a run: a stored grid of probabilities (row = y), or a histogram of samples.
local function heat(run, what, spec)
  local low, high = table.unpack(spec.range)
  local stored = ("%s/density-%s.npy"):format(run.dir, what)
  if not spec.bins and files.exists(stored) then
    local values, shape = results.load_npy(stored)
    if #shape ~= 2 or shape[1] ~= shape[2] then
      errors.data("%s has shape (%s), expected a square grid, (bins, bins)", stored,
        table.concat(shape, ", "))
    end
    return { values = values, bins = shape[1], factor = (shape[1] / (high - low)) ^ 2 }
  end
  local samples = what == "data" and "data" or "samples-" .. what
  return histogram(("%s/%s.npy"):format(run.dir, samples), spec.bins or 64, low, high)
end

-- A heat map as a gnuplot matrix; four digits keep the file small.
local function matrix_text(comment, map)
  local lines, row = { "# " .. escape.line(comment) }, {}
  for i = 1, map.bins do
    for j = 1, map.bins do
      local v = map.values[(i - 1) * map.bins + j]
      row[j] = axes.finite(v) and ("%.4g"):format(v) or "NaN"
    end
    lines[i + 1] = table.concat(row, " ", 1, map.bins)
  end
  return table.concat(lines, "\n")
end

-- The upper end of the shared colour scale: slightly above the density of the true samples.
local function colour_end(map)
  local filled = {}
  for _, v in ipairs(map.values) do
    if v > 0 and axes.finite(v) then filled[#filled + 1] = v * map.factor end
  end
  if #filled == 0 then return 1 end
  return tonumber(("%.1g"):format(1.3 * stats.quantile(filled, 0.95)))
end

local density_style = [[
unset tics
unset key
unset colorbox
set border 15 lw 0.5 lc rgb "#808080"
set palette defined (0 "#ffffff", 0.35 "#9ecae1", 0.65 "#0072b2", 1 "#001a33")
set cbrange [0:%g]
]]

-- The colour bar to the right of all rows, drawn with the last panel.
local function colour_bar(width, height, top, tall)
  return ("set colorbox user origin screen %.5f,%.5f size screen %.5f,%.5f\n"):format(
    (width - 84) / width, 1 - (top + tall) / height, 14 / width, tall / height)
    .. 'set cbtics scale 0.5\nset cblabel "density" offset 0.5,0\n'
end

-- Append the commands of a heat map at (x, y) to the script and its matrix to the data.
local function density_panel(f, x, y, map, words)
  f.data[#f.data + 1] = matrix_text(words.comment, map)
  f.script[#f.script + 1] = gnuplot.margins(f.width, f.height, x, y, f.size, f.size)
    .. ("set title %s offset 0,-0.5\nset xlabel %s offset 0,0.6\n"):format(
      gnuplot.text(words.above or ""), gnuplot.text(words.below or ""))
    .. ("set xrange [-0.5:%g]\nset yrange [-0.5:%g]\n"):format(map.bins - 0.5, map.bins - 0.5)
    .. ("plot '%s.dat' index %d matrix using 1:2:($3 * %.9g) with image\nunset label\n"):format(
      f.name, #f.data - 1, map.factor)
end

-- The values below the panels as CSV.
local function csv_of(values, metric)
  local lines = { "method,seed,N,metric,value" }
  for _, it in ipairs(values) do
    local method, run, N = table.unpack(it)
    lines[#lines + 1] = table.concat({ escape.csv(method), run:field("config", "seed"), N,
      escape.csv(metric), measured.text(run, metric, N, "%.9g") }, ",")
  end
  return table.concat(lines, "\n") .. "\n"
end

--- Draw densities of generated samples: one row per method, one column per number of steps, the
-- data at the left; one run per method (by default the lowest seed), one colour scale for all.
-- @tparam string dir
-- @tparam string name
-- @tparam Set set
-- @tparam table spec {steps=, range={low, high}, bins= (for a histogram of the samples; nil uses
--   the stored grids density-N*.npy), seed=, metric= and label= (printed below each panel)}
-- @treturn {string,...} the paths
function M.density(dir, name, set, spec)
  set = set:stepped()
  local methods, size = set:methods(), 150
  local left, top, down = size + 66, 40, size + (spec.metric and 28 or 10)
  local tall, values = #methods * down - down + size, {}
  local f = { name = name, size = size, data = {}, script = {}, height = top + tall + 30,
    width = left + #spec.steps * (size + 10) + 88 }
  for i, method in ipairs(methods) do
    local own, y = set:select { method = method }, top + (i - 1) * down
    local run = spec.seed and own:select({ seed = spec.seed }).runs[1] or own:first()
    if i == 1 then
      local truth = heat(run, "data", spec)
      f.script[1] = density_style:format(colour_end(truth))
      density_panel(f, 10, top + (tall - size) / 2, truth, { comment = "data", above = "data" })
    end
    f.script[#f.script + 1] = ("set label 1 %s at screen %.5f,%.5f center rotate by 90\n"):format(
      gnuplot.text(method), (left - 16) / f.width, 1 - (y + size / 2) / f.height)
    for j, N in ipairs(spec.steps) do
      if i == #methods and j == #spec.steps then
        f.script[#f.script + 1] = colour_bar(f.width, f.height, top, tall)
      end
      values[#values + 1] = spec.metric and { method, run, N }
      density_panel(f, left + (j - 1) * (size + 10), y, heat(run, "N" .. N, spec), {
        comment = ("%s seed %s, N = %d"):format(method, run:field("config", "seed"), N),
        above = i == 1 and "N = " .. N,
        below = spec.metric and (spec.label or spec.metric) .. " "
          .. measured.text(run, spec.metric, N, "%.3f") })
    end
  end
  return gnuplot.render(dir, name, { width = f.width, height = f.height,
    csv = spec.metric and csv_of(values, spec.metric) or nil,
    script = table.concat(f.script), data = table.concat(f.data, "\n\n\n") .. "\n" })
end

return M
