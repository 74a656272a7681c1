--- The figures, drawn from result files alone: a changed colour never retrains. Each function
-- writes NAME.svg, NAME.png, NAME.gp and NAME.dat into a folder and returns their paths.
-- Methods differ in colour and in point shape; ours is filled and solid, theirs open and dashed.
-- @module flowmap.figure

local errors = require "flowmap.errors"
local files = require "flowmap.files"
local gnuplot = require "flowmap.gnuplot"
local results = require "flowmap.results"
local stats = require "flowmap.stats"

local M = {}

--- Line type (index into podo), point shapes of ours (filled) and of theirs (open) per method.
M.styles = {
  ["LSD"] = { colour = 6, filled = 7, open = 6 },
  ["ESD"] = { colour = 7, filled = 5, open = 4 },
  ["PSD-M"] = { colour = 4, filled = 9, open = 8 },
  ["PSD-U"] = { colour = 8, filled = 11, open = 10 },
}
-- Other methods, and curves that are not methods (values of a setting): the unused colours.
local other = {
  { colour = 1, filled = 7, open = 6 }, { colour = 2, filled = 5, open = 4 },
  { colour = 3, filled = 9, open = 8 }, { colour = 5, filled = 11, open = 10 },
}

-- The style of the i-th entry of a list: that of the method, else one of the others.
local function style_of(name, i)
  return M.styles[name] or other[(i - 1) % #other + 1]
end

-- A summary as a row {x, mean, low, high}.
local function interval_row(x, summary)
  local half = summary.half or 0
  return { x, summary.mean, summary.mean - half, summary.mean + half }
end

-- Room for all values, and for the intervals as far as they do not squeeze the values flat.
local function value_range(values)
  local low, high = math.min(table.unpack(values)), math.max(table.unpack(values))
  if low > 0 and high / low > 8 then return { low / 1.5, high * 1.5 }, true end
  return { math.min(0, low), high * 1.25 }, false
end

-- One axis for all panels, with room for `values`. Intervals that reach below end at the edge: on a
-- logarithmic axis there is no place for what is not positive.
local function share_axis(panels, values)
  local range, log = value_range(values)
  for _, panel in ipairs(panels) do
    panel.yrange, panel.ylog = range, log
    for _, curve in ipairs(panel.series) do
      for _, row in ipairs(curve.kind == "interval" and curve.rows or {}) do
        row[3] = math.max(row[3], range[1])
      end
    end
  end
end

-- Which curves a panel of M.against_steps shows: the other methods' means in grey, the published
-- values dashed and open, each seed as a dot, our mean with its interval.
local function steps_series(panel, method, means, spec)
  for _, name in ipairs(means.order) do
    if name ~= method then
      panel[#panel + 1] = { kind = "line", label = name .. " ours, for comparison", width = 1,
        colour = "#c8c8c8", rows = means[name].curve, key = "ours, the other methods" }
    end
  end
  local style, theirs = style_of(method, 1), spec.published and spec.published[method]
  if theirs then
    local rows = {}
    for _, N in ipairs(spec.steps) do
      if theirs[N] then rows[#rows + 1] = { N, theirs[N] } end
    end
    panel[#panel + 1] = { kind = "linespoints", label = method .. " " .. spec.source, dash = 2,
      width = 1.2, colour = 1, point = style.open, size = 0.8, rows = rows, key = spec.source }
  end
  local dots, bars = {}, {}
  for i, N in ipairs(spec.steps) do
    local summary = means[method].summaries[i]
    bars[i] = interval_row(N, summary)
    for _, v in ipairs(summary.values) do dots[#dots + 1] = { N * 1.07, v } end
  end
  if means[method].summaries[1].n == 1 then -- one seed has no interval, and is its own mean
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

--- A metric against the number of steps, one panel per method, all with the same axes.
-- @tparam string dir
-- @tparam string name
-- @tparam Set set runs of one configuration per method
-- @tparam table spec {metric=, label= (of the y axis), steps=, published= and source= (as in
--   flowmap.table)}
-- @treturn {string,...} the paths
function M.against_steps(dir, name, set, spec)
  local means, all = { order = set:methods() }, {}
  for _, method in ipairs(means.order) do
    local own, curve, summaries = set:select { method = method }, {}, {}
    for i, N in ipairs(spec.steps) do
      summaries[i] = own:summary(spec.metric, N)
      curve[i] = { N, summaries[i].mean }
      table.move(summaries[i].values, 1, summaries[i].n, #all + 1, all)
      local theirs = spec.published and spec.published[method]
      all[#all + 1] = theirs and theirs[N]
    end
    means[method] = { curve = curve, summaries = summaries }
  end
  local panels = {}
  for i, method in ipairs(means.order) do
    local series = {}
    steps_series(series, method, means, spec)
    panels[i] = { title = method, xlabel = "steps N", ylabel = i % 2 == 1 and spec.label,
      xlog = true, xtics = table.concat(spec.steps, ","), series = series,
      xrange = { spec.steps[1] / 1.25, spec.steps[#spec.steps] * 1.25 } }
  end
  share_axis(panels, all)
  return gnuplot.panels(dir, name, { columns = math.min(2, #panels), width = 360, height = 220,
    panels = panels })
end

-- The curve of one value of the series field in one panel; `shift` sets the curves side by side.
local function setting_rows(part, spec, shift, all)
  local rows = {}
  for _, x in ipairs(part:distinct(spec.x)) do
    local summary = part:select({ [spec.x] = x }):summary(spec.metric, spec.N)
    rows[#rows + 1] = interval_row(x + shift, summary)
    table.move(summary.values, 1, summary.n, #all + 1, all)
  end
  return rows
end

--- A metric against a setting (an ablation): one panel per method, one curve per value of
-- `series`, means with intervals over seeds.
-- @tparam string dir
-- @tparam string name
-- @tparam Set set
-- @tparam table spec {metric=, N=, label=, x= config field such as "eta", xlabel=, series= config
--   field such as "stop", series_label=}
-- @treturn {string,...} the paths
function M.against_setting(dir, name, set, spec)
  local xs, values, panels, all = set:distinct(spec.x), set:distinct(spec.series), {}, {}
  local step = math.max((xs[#xs] - xs[1]) / 60, 1e-3)
  for p, method in ipairs(set:methods()) do
    local own, series, present = set:select { method = method }, {}, {}
    for _, value in ipairs(own:distinct(spec.series)) do present[value] = true end
    for i, value in ipairs(values) do
      local style, shift = other[(i - 1) % #other + 1], (i - (#values + 1) / 2) * step
      series[#series + 1] = present[value] and { kind = "interval", colour = style.colour,
        rows = setting_rows(own:select { [spec.series] = value }, spec, shift, all),
        point = style.filled, key = (spec.series_label or spec.series) .. ": " .. tostring(value),
        label = ("%s, %s = %s: x, mean, low, high"):format(method, spec.series, value) } or nil
    end
    panels[p] = { title = method, xlabel = spec.xlabel or spec.x,
      ylabel = p % 2 == 1 and spec.label, xtics = table.concat(xs, ","), series = series,
      xrange = { xs[1] - 4 * step, xs[#xs] + 4 * step } }
  end
  share_axis(panels, all)
  return gnuplot.panels(dir, name, { columns = math.min(2, #panels), width = 360, height = 220,
    panels = panels })
end

-- A trace thinned to at most `count` points: means over equal bins, so that noise shrinks and
-- spikes still show.
local function binned(lines, field, count)
  local rows, per = {}, math.max(1, math.ceil(#lines / count))
  for first = 1, #lines, per do
    local sum, n, x = 0, 0, nil
    for i = first, math.min(first + per - 1, #lines) do
      local y = lines[i][field]
      if type(y) == "number" then sum, n, x = sum + y, n + 1, lines[i].samples end
    end
    if n > 0 then rows[#rows + 1] = { x, sum / n } end
  end
  return rows
end

local trace_panels = {
  { field = "loss", label = "loss" },
  { field = "off", label = "off-diagonal term" },
  { field = "grad_norm", label = "gradient norm" },
}

-- A logarithmic axis around the positive points of a panel, at whose edge a 0 is drawn; none when a
-- value is negative, or all are 0.
local function log_axis(panel)
  local low, least, high = math.huge, math.huge, -math.huge
  for _, one in ipairs(panel.series) do
    for _, row in ipairs(one.rows) do
      least, high = math.min(least, row[2]), math.max(high, row[2])
      if row[2] > 0 then low = math.min(low, row[2]) end
    end
  end
  if least < 0 or high <= 0 then return end
  panel.ylog, panel.yrange = true, { low / 1.2, high * 1.2 }
  for _, one in ipairs(panel.series) do
    for _, row in ipairs(one.rows) do row[2] = math.max(row[2], panel.yrange[1]) end
  end
end

-- One run's curves, one per panel; a cross ends those of a run that diverged.
local function add_traces(panels, run, style, points)
  local lines, method = run:metrics(), run:method()
  for i, of in ipairs(trace_panels) do
    local rows, series = binned(lines, of.field, points), panels[i].series
    local label = ("%s seed %s %s"):format(method, run:field("config", "seed"), of.field)
    if #rows == 0 and not run.diverged then
      errors.data("%s/metrics.jsonl has no number '%s' in any line", run.dir, of.field)
    end
    if #rows > 0 then
      series[#series + 1] = { kind = "line", width = 1.2, rows = rows, key = method, label = label,
        colour = style.colour }
    end
    if #rows > 0 and run.diverged then
      series[#series + 1] = { kind = "points", rows = { rows[#rows] }, key = method .. " diverged",
        label = label .. ": the last mean before the numbers stopped being finite", point = 2,
        size = 1.4, width = 2, colour = style.colour }
    end
  end
end

-- The samples of a panel, in millions or in thousands.
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

--- Training traces: loss, off-diagonal term and gradient norm (before clipping) against samples
-- seen, one colour per method, one line per seed.
-- @tparam string dir
-- @tparam string name
-- @tparam Set set
-- @tparam ?table spec {points=300 (per line)}
-- @treturn {string,...} the paths
function M.traces(dir, name, set, spec)
  local panels = {}
  for i, of in ipairs(trace_panels) do
    panels[i] = { title = of.label, series = {} }
  end
  local runs = table.move(set.diverged, 1, #set.diverged, #set.runs + 1, { table.unpack(set.runs) })
  for k, method in ipairs(set:traced_methods()) do
    for _, run in ipairs(runs) do
      if run:method() == method then
        add_traces(panels, run, style_of(method, k), spec and spec.points or 300)
      end
    end
  end
  for _, p in ipairs(panels) do
    count_in_units(p)
    log_axis(p)
  end
  return gnuplot.panels(dir, name, { columns = #panels, width = 270, height = 240,
    panels = panels })
end

-- ------------------------------------------------------------------ densities

-- Counts of the points in a grid of bins x bins cells over [low, high]^2, row by row from the
-- lowest y; the factor turns a count into a density per unit area (points outside count in it).
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
    return { values = values, bins = shape[1], factor = (shape[1] / (high - low)) ^ 2 }
  end
  local samples = what == "data" and "data" or "samples-" .. what
  return histogram(("%s/%s.npy"):format(run.dir, samples), spec.bins or 64, low, high)
end

-- A heat map as a matrix for gnuplot; short numbers keep the file small.
local function matrix_text(comment, map)
  local lines, row = { "# " .. comment }, {}
  for i = 1, map.bins do
    for j = 1, map.bins do
      row[j] = ("%.4g"):format(map.values[(i - 1) * map.bins + j])
    end
    lines[i + 1] = table.concat(row, " ", 1, map.bins)
  end
  return table.concat(lines, "\n")
end

-- The end of the shared colour scale: just above what the true samples reach.
local function colour_end(map)
  local filled = {}
  for _, v in ipairs(map.values) do
    if v > 0 then filled[#filled + 1] = v * map.factor end
  end
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

-- The colour scale at the right of all rows, drawn with the last panel.
local function colour_bar(width, height, top, tall)
  return ("set colorbox user origin screen %.5f,%.5f size screen %.5f,%.5f\n"):format(
    (width - 84) / width, 1 - (top + tall) / height, 14 / width, tall / height)
    .. 'set cbtics scale 0.5\nset cblabel "density" offset 0.5,0\n'
end

-- One heat map at (x, y): its commands; its matrix is appended to `data`.
local function density_panel(f, x, y, map, words)
  f.data[#f.data + 1] = matrix_text(words.comment, map)
  f.script[#f.script + 1] = gnuplot.margins(f.width, f.height, x, y, f.size, f.size)
    .. ("set title %s offset 0,-0.5\nset xlabel %s offset 0,0.6\n"):format(
      gnuplot.text(words.above or ""), gnuplot.text(words.below or ""))
    .. ("set xrange [-0.5:%g]\nset yrange [-0.5:%g]\n"):format(map.bins - 0.5, map.bins - 0.5)
    .. ('plot "%s.dat" index %d matrix using 1:2:($3 * %.9g) with image\nunset label\n'):format(
      f.name, #f.data - 1, map.factor)
end

--- Densities of generated samples: a row per method, a column per number of steps, the data at
-- the left; one run per method (the lowest seed, unless given), one colour scale for all.
-- @tparam string dir
-- @tparam string name
-- @tparam Set set
-- @tparam table spec {steps=, range={low, high}, bins= (of a histogram of the samples; nil for the
--   stored grids density-N*.npy), seed=, metric= and label= (printed below each panel)}
-- @treturn {string,...} the paths
function M.density(dir, name, set, spec)
  local methods, size = set:methods(), 150
  local left, top, down = size + 66, 40, size + (spec.metric and 28 or 10)
  local tall = #methods * down - down + size
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
      density_panel(f, left + (j - 1) * (size + 10), y, heat(run, "N" .. N, spec), {
        comment = ("%s seed %s, N = %d"):format(method, run:field("config", "seed"), N),
        above = i == 1 and "N = " .. N,
        below = spec.metric and ("%s %.3f"):format(spec.label, run:value(spec.metric, N)) })
    end
  end
  return gnuplot.render(dir, name, { width = f.width, height = f.height,
    script = table.concat(f.script), data = table.concat(f.data, "\n\n\n") .. "\n" })
end

-- ------------------------------------------------------------------ the method's schematic

-- Points, arrows and words are gnuplot labels and arrows in the coordinates (s, t).
local function point(s, t, colour, shape, word, offset)
  return ("set label %s at %g,%g %s tc lt %d point pt %d ps 0.9 lc %d\n"):format(
    word or '""', s, t, offset or "", colour, shape, colour)
end

local function arrow(s, t, to_s, to_t, colour, style)
  return ("set arrow from %g,%g to %g,%g %s lc %d\n"):format(s, t, to_s, to_t, style, colour)
end

local DOTTED, MOTION = "nohead dt 3 lw 1.5", "head filled size screen 0.012,20 lw 2"

local schematic = {
  { title = "what a batch is drawn from", draw = function(eta)
    return ("set label \"off-diagonal, s < t:\\nself-distillation,\\na fraction 1 − η\" "
      .. "at 0.05,0.78 left\nset label \"diagonal, s = t:\\nflow matching,\\n"
      .. "a fraction %s\" at 0.97,0.42 right tc lt 7\n"):format(
      eta and ("η = %g"):format(eta) or "η")
  end },
  { title = "what an objective compares at (s, t)", draw = function()
    local s, u, t = 0.22, 0.42, 0.7
    return arrow(s, t, t, t, 6, DOTTED) .. arrow(s, t, s, t + 0.17, 6, MOTION)
      .. point(t, t, 6, 7, '"LSD: v_{t,t}"', "left offset 0.8,-0.4")
      .. 'set label "∂_t" at 0.14,0.83 center tc lt 6\n'
      .. arrow(s, t, s, s, 7, DOTTED) .. arrow(s, t, s - 0.17, t, 7, MOTION)
      .. point(s, s, 7, 5, '"ESD: v_{s,s}"', "left offset 0.8,-0.4")
      .. 'set label "∂_s" at 0.08,0.64 center tc lt 7\n'
      .. point(s, u, 4, 9, '"(s,u)"', "right offset -1.2,0") .. point(u, t, 4, 9)
      .. 'set label "(u,t)" at 0.42,0.77 center tc lt 4\nset label "PSD" at 0.31,0.56 center '
      .. "tc lt 4\n" .. point(s, t, 1, 7)
  end },
  { title = "what N sampling steps use", draw = function()
    local out = {}
    for i, N in ipairs { 1, 2, 4, 8 } do
      local colour, shape = ({ 6, 7, 4, 8 })[i], ({ 7, 5, 9, 11 })[i]
      for k = 0, N - 1 do out[#out + 1] = point(k / N, (k + 1) / N, colour, shape) end
      out[#out + 1] = point(0.68, 0.46 - 0.1 * i, colour, shape, ('"N = %d"'):format(N),
        "left offset 1,0")
    end
    return table.concat(out)
  end },
}

--- The triangle of time pairs s <= t: the split of a batch into diagonal and off-diagonal parts,
-- what each objective compares, and the pairs that sampling uses. Needs no results.
-- @tparam string dir
-- @tparam string name
-- @tparam ?table spec {eta= the diagonal fraction to print}
-- @treturn {string,...} the paths
function M.triangle(dir, name, spec)
  local size, gap, left, top = 270, 62, 50, 44
  local width, height = left + #schematic * (size + gap) - gap + 30, top + size + 52
  local script = { "set xlabel \"s\" offset 0,0.4\nset ylabel \"t\" offset 2.2,0 norotate\n"
    .. "set xrange [0:1]\nset yrange [0:1]\nset xtics 1\nset ytics 1\nunset key\n"
    .. "set object 1 polygon from 0,0 to 0,1 to 1,1 to 0,0 fc rgb \"#e8f1f8\" fs solid "
    .. "noborder behind\n" }
  for i, panel in ipairs(schematic) do
    script[#script + 1] = gnuplot.margins(width, height, left + (i - 1) * (size + gap), top, size,
      size) .. "unset label\nunset arrow\nset title " .. gnuplot.text(panel.title) .. "\n"
      .. panel.draw(spec and spec.eta) .. "plot x with lines lw 3 lc 7\n"
  end
  return gnuplot.render(dir, name, { width = width, height = height,
    script = table.concat(script) })
end

return M
