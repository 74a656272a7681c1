-- Axes have numbers for any values, as read from the SVG files that gnuplot draws.

local t = require "harness"
local axes = require "flowmap.report.axis"
local figure = require "flowmap.report.figure"
local gnuplot = require "flowmap.report.gnuplot"
local made_run = require "made_run"
local results = require "flowmap.report.results"
local sandbox = require "sandbox"

local root = sandbox.root


local raised = { ["⁻"] = "-", ["⁰"] = "0", ["¹"] = "1", ["²"] = "2", ["³"] = "3", ["⁴"] = "4",
  ["⁵"] = "5", ["⁶"] = "6", ["⁷"] = "7", ["⁸"] = "8", ["⁹"] = "9" }

-- "2×10⁻³" -> 0.002; nil for text that is not a number.
local function number_of(text)
  local mantissa, digits = text:match "^([%d.-]-)10([\x80-\xff]+)$"
  if not digits then mantissa, digits = text:match "^([%d.-]+)×10([\x80-\xff]+)$" end
  if not digits then return tonumber(text) end
  local plain = digits:gsub(utf8.charpattern, raised)
  return tonumber((mantissa == "" and "1" or mantissa) .. "e" .. plain)
end

-- The numbers at a panel's axes: right-aligned at the y axis, centred at the x axis.
local function labels(path)
  local found = { x = {}, y = {}, other = {} }
  for group, text in results.read_file(path):gmatch "<g transform(.-)<text[^>]*>(.-)</text>" do
    local anchor = group:match 'text%-anchor="(%a+)"'
    local value = number_of(text)
    local list = not value and found.other or anchor == "end" and found.y or found.x
    list[#list + 1] = value and { value = value, text = text,
      at = tonumber(group:match "translate%(([%d.]+),") } or text ~= "" and text or nil
  end
  return found
end

local function draw(name, panel)
  panel.series = panel.series or { { kind = panel.kind or "line", label = "a", rows = panel.rows,
    colour = 1 } }
  return labels(gnuplot.panels(root, name, { columns = 1, width = 270, height = 240,
    panels = { panel } })[1])
end

local function distinct(list)
  local seen, count = {}, 0
  for _, it in ipairs(list) do
    if not seen[it.text] then seen[it.text], count = true, count + 1 end
  end
  return count == #list and count
end

-- Neighbouring labels along x, about 7.4 pixels a character, that do not touch.
local function apart(list)
  for i = 2, #list do
    local room = list[i].at - list[i - 1].at
    if room < 3.7 * (utf8.len(list[i].text) + utf8.len(list[i - 1].text)) then return false end
  end
  return true
end

local ranges = {
  { 1.2, 1.9 }, { 1, 1.0001 }, { 0, 0 }, { 5, 5 }, { -3, -3 }, { 1e-12, 1e-12 }, { 1e15, 1e15 },
  { 0, 1 }, { 1e-4, 1e-3 }, { 1e-9, 1e9 }, { 2.1, 4.9 }, { 2.1, 8 }, { 1, 1000 }, { -1, 1 },
  { -1e9, 1e9 }, { 1e6, 1e6 + 1 }, { 1e9, 1e9 + 0.5 }, { 1e-30, 2e-30 }, { 1e-300, 1e-299 },
  { 1e30, 1e31 }, { 1e299, 1e300 }, { -1.7e308, 1.7e308 }, { 5e-324, 1 }, { 0, 1e-7 }, { 99, 101 },
  { 0.0123, 0.0124 }, { -0.5, -0.4 }, { 1, 3 }, { 30, 95 }, { 0.999999, 1.000001 }, { 1, 1e300 },
  { 7, 70 }, { 0.3, 2.9 }, { -1e-5, 3e-5 }, { 123456, 234567 }, { 1e5, 9e5 },
}

t.test("every range of values has at least two different numbers on each axis", function()
  sandbox.needs "gnuplot"
  local panels = {}
  for i, r in ipairs(ranges) do
    panels[i] = { title = "", xlabel = "", series = { { kind = "line", label = "a", colour = 1,
      rows = { { r[1], r[1] }, { r[2], r[2] } } } } }
    local found = draw("range" .. (i % 2), panels[i])
    local what = ("[%g, %g]: "):format(r[1], r[2])
    t.eq((distinct(found.y) or 0) >= 2, true, what .. "y")
    t.eq((distinct(found.x) or 0) >= 2 and apart(found.x), true, what .. "x")
    for k = 2, #found.y do t.eq(found.y[k].value > found.y[k - 1].value, true, what .. "order") end
    local axis = axes.label(axes.range(axes.finite_values(r)))
    for _, tic in ipairs(axis.tics) do
      local near = math.abs(number_of(tic.text) - tic.value) <= 0.01 * math.abs(tic.value)
      t.eq(near or math.abs(tic.value) < 1e-9 * (axis.high - axis.low), true, what .. tic.text)
    end
  end
end)

t.test("a logarithmic axis without a decade or a 1, 2, 5 still has numbers", function()
  sandbox.needs "gnuplot"
  for _, r in ipairs { { 1.2, 1.9 }, { 2.1, 4.9 }, { 3, 3 }, { 5.5e-7, 9e-7 } } do
    local found = draw("narrow", { ylog = true, yrange = { r[1], r[2] * 1.01 },
      rows = { { 0, r[1] }, { 1, r[2] } } })
    t.eq((distinct(found.y) or 0) >= 2, true, ("[%g, %g]"):format(r[1], r[2]))
  end
end)

t.test("a panel beside another has space for its label", function()
  sandbox.needs "gnuplot"
  local function between(ylabel)
    local panel = { ylabel = ylabel, series = { { kind = "line", label = "a", colour = 1,
      rows = { { 0, 1 }, { 1, 2 } } } } }
    gnuplot.panels(root, "beside", { columns = 2, width = 100, height = 80,
      panels = { panel, panel } })
    local script = results.read_file(root .. "/beside.gp")
    local width, right, left = tonumber(script:match "size (%d+),"), script:match
      "set rmargin at screen ([%d.]+).-set lmargin at screen ([%d.]+)"
    return width * (left - right)
  end
  t.eq(math.abs(between "mean" - between(nil) - 20) < 0.1, true)
end)

t.test("an invalid description gives a sentence", function()
  local function refused(pattern, panel, spec)
    spec = spec or {}
    spec.panels = spec.panels or { panel }
    t.raises(function() gnuplot.panels(root, "own", spec) end, pattern)
  end
  local function curve(it) return { series = { it } } end
  local rows = { { 0, 1 }, { 1, 2 } }
  refused("figure 'own' has no panel", nil, { panels = {} })
  refused("panels is 'x', expected a list", nil, { panels = "x" })
  refused("columns is '0', expected a number from 1", { series = {} }, { columns = 0 })
  refused("width is .*nan', expected a number", { series = {} }, { width = math.huge - math.huge })
  refused("panel 1: series is nil, expected a list of curves", {})
  refused("panel 1, curve 1: rows is nil, expected a list of rows", curve {})
  refused("row 2 is a table of other contents, expected a list of 2 numbers",
    curve { rows = { { 0, 1 }, { 1 } } })
  refused("row 1 is .* 4 numbers", curve { kind = "interval", rows = rows })
  refused("kind is 'pie', expected line", curve { kind = "pie", rows = rows })
  refused("colour is an index or '#rrggbb', found red", curve { colour = "red", rows = rows })
  refused("yrange is .*0 < low < high", { ylog = true, yrange = { 0, 1 }, series = {} })
  refused("xtics is 'a', expected a list of numbers", { xtics = { "a" }, series = {} })
  refused("ynames, 2, is '1', expected a text", { ynames = { "a", 1 }, series = {} })
  sandbox.needs "gnuplot"
  t.eq(#draw("plain", { series = { { rows = rows }, { rows = rows } } }).y >= 2, true)
end)

t.test("values that are not finite are omitted; without any values the panel is empty", function()
  sandbox.needs "gnuplot"
  local found = draw("nan", { rows = { { 0, 1 }, { 1, 0 / 0 }, { 2, 1 / 0 }, { 3, -1 / 0 },
    { 4, 2 }, { 0 / 0, 1e9 } } })
  t.eq((distinct(found.y) or 0) >= 2, true)
  t.eq(found.y[#found.y].value <= 2.2, true)
  t.eq((distinct(draw("none", { rows = { { 1, 0 / 0 } } }).y) or 0) >= 2, true)
  t.eq((distinct(draw("nothing", { series = {} }).y) or 0) >= 2, true)
end)

t.test("a few spikes do not flatten a panel, and the panel states what it excludes", function()
  sandbox.needs "gnuplot"
  for _, count in ipairs { 20, 40, 300 } do
    local rows = {}
    for i = 1, count do rows[i] = { i, 1.5 + math.sin(i) / 2 } end
    rows[count // 2][2] = 1e9
    local found = draw("spike", { rows = rows, clip = true })
    t.eq(found.y[#found.y].value <= 10, true, "the largest label with " .. count)
    t.eq(table.concat(found.other, ";"):find("clipped: 1 value above", 1, true) ~= nil, true)
    for i = 1, count do rows[i][2] = 10.0 ^ (-3 * i / count) end
    rows[2][2], rows[count][2] = 1e12, 1e-30
    found = draw("spike", { rows = rows, clip = true })
    t.eq(found.y[#found.y].value <= 1e3 and found.y[1].value >= 1e-8, true, "decades")
  end
  local rows = {}
  for i = 1, 40 do rows[i] = { i, 100 / i } end
  t.eq(#draw("decay", { rows = rows, clip = true }).other, 0, "a decay is no spike")
  local bars = { { kind = "interval", label = "a", colour = 1, rows = { { 1, 1, -5, 7 },
    { 2, 2, 1.9, 2.1 } } } }
  local cut = draw("cut", { series = bars, yrange = { 0, 3 } })
  t.eq(cut.other[1], "clipped: 1 interval")
end)

t.test("settings spaced by factors have a logarithmic axis, others a linear one", function()
  t.eq(axes.spaced_by_factors { 1e-4, 3e-4, 1e-3, 3e-3 }, true)
  t.eq(axes.spaced_by_factors { 1e-4, 1e-2 }, true)
  t.eq(axes.spaced_by_factors { 0.1, 0.3, 0.5, 0.7, 0.9 }, false)
  t.eq(axes.spaced_by_factors { 0, 1e-3, 1 }, false)
  t.eq(axes.spaced_by_factors { 5 }, false)
end)

local function runs(name, xs, weighted)
  for _, x in ipairs(xs) do
    for seed = 1, 2 do
      made_run.finished(("%s/%s/lsd-%g-%d"):format(root, name, x, seed), { config = {
        method = "lsd", seed = seed, lr = x, stop = "none" }, metrics = { { step = 1,
        samples = 128, loss = 1.5, off = 1.5, off_weighted = weighted } },
        rows = { { N = 1, kl = 0.1 + x + seed } } })
    end
  end
  return results.open(root .. "/" .. name)
end

t.test("a figure against learning rates labels them, and not below 0", function()
  sandbox.needs "gnuplot"
  local lists = { { 1e-4, 3e-4, 1e-3, 3e-3, 1e-2 }, { 0, 1e-4, 1e-3, 1 }, { 0.25 }, { 1, 2, 3, 4 },
    { 1e-4, 1.1e-4, 1.2e-4, 1.3e-4, 1e-3 }, { -1, 0, 1 } }
  for i, xs in ipairs(lists) do
    local paths = figure.against_setting(root, "lr" .. i, runs("lr" .. i, xs), { metric = "kl",
      N = 1, x = "lr", series = "stop", label = "KL" })
    local found = labels(paths[1])
    t.eq((distinct(found.x) or 0) >= 2 and apart(found.x), true, "list " .. i)
    local low = tonumber(results.read_file(paths[3]):match "set xrange %[([^:]+):")
    if xs[1] > 0 then t.eq(low > 0, true, "begins above 0") end
    if i == 1 then t.eq(#found.x, 5, "all five are labelled") end
  end
end)

t.test("traces of one line, and a metric at one N, are drawn with numbers", function()
  sandbox.needs "gnuplot"
  local set = runs("one", { 1e-3 })
  for i, paths in ipairs { figure.traces(root, "traces", set), figure.against_steps(root, "steps",
    set, { metric = "kl", label = "KL", steps = { 1 } }) } do
    local found = labels(paths[1])
    t.eq(#found.x >= 2 and #found.y >= 2, true, "figure " .. i)
    local script = results.read_file(paths[3])
    t.eq(script:find "with linespoints" ~= nil or i == 2, true, "a visible point")
  end
end)

t.test("traces show the weighted term where runs logged it, and only there", function()
  sandbox.needs "gnuplot"
  local function shown(set)
    local script = results.read_file(figure.traces(root, "traces", set)[3])
    return script:find("off-diagonal term, weighted", 1, true) ~= nil
  end
  t.eq({ shown(runs("weighted", { 1e-3 }, 0.7)), shown(runs("one", { 1e-3 })) }, { true, false })
end)

t.test("a metric against steps: its axis is linear or logarithmic as the entry says", function()
  sandbox.needs "gnuplot"
  local set = runs("one", { 1e-3 })
  local function logarithmic(scale)
    local paths = figure.against_steps(root, "steps", set, { metric = "kl", label = "KL",
      steps = { 1, 2, 4, 8 }, scale = scale })
    return results.read_file(paths[3]):find "\nset logscale y" ~= nil
  end
  t.eq({ logarithmic "linear", logarithmic "log" }, { false, true })
  t.raises(function() logarithmic "lin" end, "unknown scale 'lin'; did you mean linear%?")
end)

t.done()
