-- Results, statistics, tables, figures and weaving, on small synthetic run folders.

local t = require "harness"
local figure = require "flowmap.report.figure"
local files = require "flowmap.base.files"
local gnuplot = require "flowmap.report.gnuplot"
local made_run = require "made_run"
local render = require "flowmap.report.render"
local results = require "flowmap.report.results"
local stats = require "flowmap.measure.stats"
local tables = require "flowmap.report.table"
local weave = require "flowmap.report.weave"
local sandbox = require "sandbox"

local root = sandbox.root

local function put(path, text) results.write_file(root .. "/" .. path, text) end

-- ------------------------------------------------------------------ synthetic results

local function npy(values, shape)
  local header = ("{'descr': '<f4', 'fortran_order': False, 'shape': (%s,), }"):format(
    table.concat(shape, ", "))
  header = header .. (" "):rep(-(#header + 11) % 64) .. "\n"
  local parts = { "\x93NUMPY\1\0", string.pack("<s2", header) }
  for i, v in ipairs(values) do parts[i + 2] = string.pack("<f", v) end
  return table.concat(parts)
end

-- 200 points on a lattice: the same number in every other cell of a 20 x 20 grid.
local function lattice()
  local values = {}
  for i = 0, 19 do
    for j = i % 2, 19, 2 do
      values[#values + 1] = -0.95 + 0.1 * i
      values[#values + 1] = -0.95 + 0.1 * j
    end
  end
  return values, { #values // 2, 2 }
end

local function fake_run(experiment, name, config, kl, metrics)
  local dir = ("results/%s/smoke/%s"):format(experiment, name)
  local lines = {}
  for i = 1, 40 do
    lines[i] = { step = i, samples = 100 * i, loss = 1 + 1 / i, off = 1 / i, grad_norm = 2 / i }
  end
  made_run.finished(root .. "/" .. dir, { config = config, metrics = metrics or lines,
    rows = { { N = 1, kl = kl, kl_floor = 0.002 }, { N = 4, kl = kl / 2, kl_floor = 0.002 } },
    files = { ["data.npy"] = npy(lattice()), ["samples-N1.npy"] = npy(lattice()),
      ["samples-N4.npy"] = npy(lattice()),
      ["errors.npy"] = npy({ 0, 1e-9, 2, 0 / 0, 0, 0.5, 0 / 0, 0 / 0, 0 }, { 3, 3 }) } })
end

for seed, kl in ipairs { 0.10, 0.14 } do
  for _, method in ipairs { "lsd", "psd-m" } do
    fake_run("board", method .. "-seed" .. seed,
      { method = method, seed = seed, batch = 64, eta = 0.75 }, kl)
    for _, eta in ipairs { 0.25, 0.75 } do
      for _, stop in ipairs { "convex", "none" } do
        fake_run("grid", ("%s-eta=%g-stop=%s-seed%d"):format(method, eta, stop, seed),
          { method = method, seed = seed, eta = eta, stop = stop }, kl * (1 + eta))
      end
    end
  end
end
made_run.diverged(root .. "/results/board/smoke/esd-seed1", {
  config = { method = "esd", seed = 1, steps = 99, batch = 64, nfe = { 1, 4 } }, step = 51,
  metrics = { { step = 50, samples = 50, loss = 2, off = 3, grad_norm = 1e9 } } })

local board = results.open(root .. "/results/board/smoke")
local grid = results.open(root .. "/results/grid/smoke")

-- ------------------------------------------------------------------ statistics

t.test("Student's t quantiles agree with published tables", function()
  for df, expected in pairs { [1] = 12.7062, [2] = 4.3027, [3] = 3.1824, [4] = 2.7764,
    [5] = 2.5706, [10] = 2.2281, [30] = 2.0423, [100] = 1.9840 } do
    t.near(stats.t_quantile(df), expected, 5e-5, "df = " .. df)
  end
  t.near(stats.t_quantile(4, 0.99), 4.6041, 5e-5)
end)

t.test("a summary has mean and interval; one value has no interval", function()
  local s = stats.summary { 1, 2, 3 }
  t.near(s.mean, 2, 1e-15)
  t.near(s.half, 4.30265273 * 1 / math.sqrt(3), 1e-7)
  t.eq(stats.summary({ 5 }).half, nil)
  t.near(stats.quantile({ 4, 1, 3, 2 }, 0.5), 2.5, 1e-15)
end)

-- ------------------------------------------------------------------ results

t.test("runs are read, and unfinished ones are kept apart", function()
  t.eq(board:methods(), { "LSD", "PSD-M" })
  t.eq(board:steps(), { 1, 4 })
  t.eq(board.unfinished, { "esd-seed1" })
  t.near(board:select({ method = "lsd" }):summary("kl", 1).mean, 0.12, 1e-12)
  t.eq(#board.runs[1]:metrics(), 40)
end)

t.test("a diverged run contributes to no number, but its trace and step are shown", function()
  t.eq(board:traced_methods(), { "LSD", "ESD", "PSD-M" })
  t.eq(#board:select({ method = "lsd" }).diverged, 0)
  local notes = table.concat(tables.compare(board, { metric = "kl", title = "KL" }).notes, " ")
  t.eq(notes:match "Diverged: [^.]*", "Diverged: ESD, seed 1, at step 51 of 99")
  t.eq(notes:find("Unfinished", 1, true), nil, notes)
  sandbox.needs "gnuplot"
  local paths = figure.traces(root .. "/diverged", "traces", board)
  local data = results.read_file(paths[4])
  t.eq(data:match "grad_norm: the last mean before[^\n]*\n([^\n]*)", "0.05 1e+09")
  local edge = results.read_file(paths[3]):match "%$2>([%d.]+)%?[^\n]*with points"
  t.eq(edge and tonumber(edge) < 1e6, true, "it is drawn at the edge, and flattens no other curve")
end)

t.test("where trainings diverged, tables and prose say at which step", function()
  local cells = tables.markdown(tables.compare(board, { metric = "kl", title = "KL" }))
  t.eq(cells:find("| ESD | ours | diverged at 51 | diverged at 51 |", 1, true) ~= nil, true, cells)
  t.eq({ board:lookup "kl.ESD.N1" }, { "diverged at 51", nil, true })
  local part = board:select { method = "esd" }
  t.eq({ #part.runs, #part.diverged }, { 0, 1 })
  t.raises(function() part:summary("kl", 1) end, "all runs that were selected diverged")
  local by_method = tables.several(board, { metrics = { "kl" }, columns = { "KL" }, N = 1,
    rows = { "method" }, title = "KL" })
  t.eq(tables.csv(by_method):match "\nESD,[^\n]*", "\nESD,KL,nan,,1")
  t.eq(results.grouped(1234567) .. " " .. results.grouped(12), "1,234,567 12")
end)

t.test("results whose runs all diverged open, and tables and figures say so", function()
  local all = board:select { method = "ESD" }
  t.eq({ #all.runs, #all.diverged, all:steps(), all:first():method() }, { 0, 1, { 1, 4 }, "ESD" })
  local exp = { name = "board", figures = { failing = function(set) return set.runs[1].dir end } }
  for _, kind in ipairs { "compare", "metrics", "aggregate" } do
    local entry = { kind = kind, name = kind, metric = "kl", N = 1, title = "KL",
      over = { "data" } }
    local text = results.read_file(render.entry(exp, entry, all)[2])
    t.eq(text:find "ESD.*diverged" ~= nil, true, kind)
  end
  sandbox.needs "gnuplot"
  for _, kind in ipairs { "against_steps", "density", "grids", "failing", "heat" } do
    local paths = render.entry(exp, { kind = kind, name = "lost-" .. kind, metric = "kl",
      label = "KL", range = { -1, 1 }, file = "map" }, all)
    local svg = results.read_file(paths[1]:gsub("%.%a+$", ".svg"))
    t.eq(svg:find("no results: all runs diverged at 51", 1, true) ~= nil, true, kind)
  end
end)

t.test("a table of the experiment's own names the runs behind it", function()
  local own = { writes = "table", options = { unit = "nats" }, draw = function(set, spec)
    return { title = "Counted", heads = { "what" }, columns = { "value", "words" },
      rows = { { heads = { spec.unit }, cells = { #set.runs, { text = "a | b", mean = 7 } } } },
      notes = { "A note." } }
  end }
  local exp = { name = "board", figures = { counted = own } }
  local entry = { kind = "counted", name = "counted" }
  local paths = render.entry(exp, entry, board)
  t.eq(paths[2]:match "[^/]*/[^/]*$", "tables/counted.md")
  local text = results.read_file(paths[2])
  t.eq(text:find("| nats | 4 | a \\| b |", 1, true) ~= nil, true, text)
  t.eq(text:find(board:signature(), 1, true) ~= nil and text:find "A note" ~= nil, true, text)
  t.eq(results.read_file(paths[1]):match "words,[^\n]*", "words,7,,")
  t.eq(render.description(exp, entry, board).title, "Counted")
  own.draw = function() return { panels = {} } end
  t.raises(function() render.entry(exp, entry, board) end, "the table 'counted' returned a table")
  for wrong, words in pairs { [{ columns = { 1 } }] = "returned a table of other contents",
    [{ rows = { { heads = { "a" } } } }] = "row 1 must be { heads", [{ notes = { {} } }] = "notes",
    [{ title = false }] = "returned a table" } do
    own.draw = function()
      return setmetatable(wrong, { __index = { title = "T", heads = { "what" }, columns = { "v" },
        rows = { { heads = { "a" }, cells = { 1 } } } } })
    end
    local err = t.raises(function() render.entry(exp, entry, board) end, words)
    t.eq(err.code, "usage", words)
  end
end)

t.test("missing values are named", function()
  t.raises(function() results.open(root .. "/nowhere") end, "no results at .*nowhere")
  t.raises(function() board:select { batch = 7 } end, "no finished run with batch = 7")
  t.raises(function() board.runs[1]:value("fid", 1) end, "eval.json has no number 'fid' at N = 1")
  t.raises(function() board.runs[1]:value("kl", 3) end, "no row for N = 3")
  t.raises(function() board.runs[1]:field("manifest", "isaa") end, "did you mean isa")
  t.raises(function() grid:lookup("kl.LSD.N1") end, "same seed 1: select one")
  t.raises(function() board:lookup("config.LSD.seed") end, "no single value")
end)

t.test("npy files are read and damaged ones refused", function()
  local values, shape = results.load_npy(board.runs[1].dir .. "/data.npy")
  t.eq(shape, { 200, 2 })
  t.near(values[1], -0.95, 1e-7)
  t.near(values[400], 0.95, 1e-6)
  local whole = npy({ 1, 2, 3, 4 }, { 2, 2 })
  for _, bytes in ipairs { whole:sub(1, -2), whole:sub(1, 40), "", whole .. "x" } do
    put("bad.npy", bytes)
    t.raises(function() results.load_npy(root .. "/bad.npy") end, "bad.npy")
  end
end)

-- ------------------------------------------------------------------ tables

local kl_spec = { metric = "kl", title = "KL, 100 % & more", floor = "kl_floor",
  published = { LSD = { [1] = 0.0864, [4] = 0.0708 } }, source = "published (them)" }

t.test("our values and published ones are in different rows, with provenance", function()
  local text = tables.markdown(tables.compare(board, kl_spec)):gsub("\u{a0}", " ")
  t.eq(text:find("| LSD | ours | 0.1200 ± 0.2541 | 0.0600", 1, true) ~= nil, true)
  t.eq(text:find("|  | *published (them)* | *0.0864* | *0.0708* |", 1, true) ~= nil, true)
  t.eq(text:find("| PSD-M | ours |", 1, true) ~= nil, true)
  t.eq(text:find("| true samples | estimator\\'s floor | 0.0020 | 0.0020 |", 1, true) ~= nil, true)
  for _, part in ipairs { "profile smoke", "seeds 1, 2", "1,234,567 samples seen", "rule: last",
    "EMA 0.999", "board (0123456789ab)", "set scalar", "revision abc",
    "ESD, seed 1, at step 51 of 99" } do
    t.eq(text:find(part, 1, true) ~= nil, true, part)
  end
  local run = setmetatable({ field = function(_, _, path)
    local values = { seed = 1234, samples_seen = 1234, eta = 0.75, ema = 0.99999 }
    return values[path] or path == "history" and {} or "x"
  end, id = function() return "x" end, manifest = { dataset = { title = "x" } } },
    { __index = board.runs[1] })
  local words = require("flowmap.report.provenance").words {
    runs = { run }, diverged = {}, signature = function() return "x" end }
  t.eq(words:find("seeds 1234; 1,234 samples seen; diagonal fraction 0.75; ", 1, true) ~= nil, true,
    words)
  t.eq(words:find("EMA 0.99999;", 1, true) ~= nil, true, words)
end)

t.test("LaTeX escapes, CSV is tidy", function()
  local spec = tables.compare(board, kl_spec)
  local tex = tables.latex(spec)
  t.eq(tex:find("KL, 100 \\% \\& more", 1, true) ~= nil, true)
  t.eq(tex:find("LSD & ours & 0.1200 $\\pm$ 0.2541 &", 1, true) ~= nil, true)
  t.eq(tables.csv(spec):find("\nLSD,published (them),N = 1,0.0864,,\n", 1, true) ~= nil, true)
  t.eq(tables.csv(spec):find("\nLSD,ours,N = 1,0.12,0.254124%d*,2\n") ~= nil, true)
end)

t.test("a grid has a row per combination and refuses to pool settings", function()
  local spec = tables.grid(grid, { metric = "kl", N = 1, rows = { "method", "stop" },
    column = "eta", title = "ablation" })
  t.eq(#spec.rows, 4)
  t.eq(spec.columns, { "eta = 0.25", "eta = 0.75" })
  t.near(spec.rows[4].cells[2].mean, 0.12 * 1.75, 1e-12)
  t.raises(function()
    tables.grid(grid, { metric = "kl", N = 1, rows = { "method" }, column = "eta", title = "x" })
  end, "same seed")
end)

t.test("one seed everywhere is said in the caption, else in the cells", function()
  local function texts(seeds)
    local rows = {}
    for i, values in ipairs(seeds) do
      rows[i] = { heads = { tostring(i) }, cells = { stats.summary(values), 0.5 } }
    end
    local it = { title = "KL", heads = { "method" }, columns = { "a", "b" }, format = "%.1f",
      rows = rows, notes = {} }
    return tables.markdown(it), tables.latex(it)
  end
  local text, tex = texts { { 1 }, { 2 } }
  t.eq(text:match "| 1 | [^\n]*", "| 1 | 1.0 | 0.5 |")
  t.eq(text:find("\n: KL (n = 1 seed)\n", 1, true) ~= nil, true, text)
  t.eq(tex:find("\\caption{KL (n = 1 seed)}", 1, true) ~= nil, true, tex)
  text = texts { { 1 }, { 2, 3 } }
  t.eq(text:match "| 1 | [^\n]*", "| 1 | 1.0 (n = 1) | 0.5 |")
  t.eq(text:find("interval over n = 2 seeds)", 1, true) ~= nil, true, text)
end)

t.test("several metrics stand side by side", function()
  local spec = tables.several(grid, { metrics = { "kl", "kl_floor" }, columns = { "KL", "floor" },
    N = 4, rows = { "method", "eta", "stop" }, title = "both" })
  t.eq(#spec.rows, 8)
  t.eq(spec.columns, { "KL", "floor" })
  t.near(spec.rows[1].cells[2].mean, 0.002, 1e-12)
  t.raises(function()
    tables.several(grid, { metrics = { "kll" }, columns = { "KL" }, N = 4, title = "x",
      rows = { "method", "eta", "stop" } })
  end, "no number 'kll'")
end)

t.test("several: the values of true samples, and the order of the rows in each column", function()
  local spec = tables.several(grid:select { eta = 0.25, stop = "convex" }, { metrics = { "kl" },
    columns = { "KL" }, N = 4, rows = { "method" }, title = "x", floors = true, order = true })
  local last = spec.rows[#spec.rows]
  t.eq(last.heads, { "true samples" })
  t.near(last.cells[1], 0.002, 1e-12)
  local means = {}
  for i = 1, #spec.rows - 1 do
    means[i] = { spec.rows[i].heads[1], spec.rows[i].cells[1].mean }
  end
  table.sort(means, function(a, b) return a[2] < b[2] end)
  t.eq(#means, 2)
  t.eq(spec.notes[1], ("Order of the means. KL: %s < %s."):format(means[1][1], means[2][1]))
  t.eq(means[1][1] ~= means[2][1] and means[1][2] <= means[2][2], true)
end)

-- ------------------------------------------------------------------ figures

t.test("every figure is drawn, twice with the same bytes", function()
  sandbox.needs "gnuplot"
  local it = { name = "board", render = {
    { kind = "compare", name = "kl", metric = "kl", title = "KL" },
    { kind = "against_steps", name = "kl", metric = "kl", label = "KL" },
    { kind = "traces", name = "traces" },
    { kind = "triangle", name = "triangle", eta = 0.75 },
    { kind = "heat", name = "heat", file = "errors", label = "error", metric = "kl" },
    { kind = "density", name = "density", range = { -1, 1 }, bins = 20, metric = "kl",
      label = "KL" } } }
  local first = {}
  for _, path in ipairs(render.experiment(it, "smoke", root .. "/results")) do
    first[path] = results.read_file(path)
  end
  for _, path in ipairs(render.experiment(it, "smoke", root .. "/results")) do
    t.eq(first[path] == results.read_file(path), true, path)
  end
  local paths = figure.against_setting(root .. "/results/grid/smoke/figures", "eta", grid,
    { metric = "kl", N = 1, label = "KL", x = "eta", series = "stop" })
  t.eq(files.exists(paths[2]), true)
end)

t.test("a heat map shows the pairs s < t, over four decades", function()
  sandbox.needs "gnuplot"
  local spec = { file = "errors", label = "error", steps = { 1 } }
  local paths = figure.heat(root .. "/heat", "heat", board, spec)
  local text = results.read_file(paths[4])
  t.eq(text:match "LSD\n([^#]*)\n\n\n", "0 0.5 0.0002\n0 1 2\n0.5 1 0.5")
  t.eq(results.read_file(paths[3]):find("cbrange [0.0002:2]", 1, true) ~= nil, true)
  spec.most = 1
  text = results.read_file(figure.heat(root .. "/heat", "heat", board, spec)[3])
  t.eq(text:find("cbrange [0.0001:1]", 1, true) ~= nil, true, "a value above `most`")
  t.eq(text:find("set cbtics ('10⁻⁴' 0.0001, '0.001' 0.001, ", 1, true) ~= nil, true, text)
  t.raises(function()
    figure.heat(root .. "/heat", "heat", board, { file = "data", label = "x", steps = { 1 } })
  end, "data.npy has shape %(200, 2%), expected the values at all pairs of times")
end)

t.test("on a logarithmic axis an interval that reaches below 0 ends at the axis", function()
  sandbox.needs "gnuplot"
  for seed, kl in ipairs { 0.1, 0.3 } do
    for eta, factor in pairs { [0.25] = 1, [0.75] = 20 } do
      fake_run("wide", ("lsd-eta=%g-seed%d"):format(eta, seed),
        { method = "lsd", seed = seed, eta = eta, stop = "none" }, kl * factor)
    end
  end
  local paths = figure.against_setting(root, "wide", results.open(root .. "/results/wide/smoke"),
    { metric = "kl", N = 1, label = "KL", x = "eta", series = "stop" })
  local low = results.read_file(paths[3]):match "%(%$3<([%d.]+)%?"
  t.near(tonumber(low), 0.1 / 1.5, 1e-5) -- the least value, with the margin
end)

t.test("a trace that falls to 0 is still drawn on a logarithmic axis", function()
  sandbox.needs "gnuplot"
  fake_run("zero", "esd-seed1", { method = "esd", seed = 1 }, 0.1, {
    { step = 1, samples = 50, loss = 2, off = 1e10, grad_norm = 1 },
    { step = 2, samples = 100, loss = 2, off = 1e-3, grad_norm = 0 },
    { step = 3, samples = 150, loss = -1, off = 0, grad_norm = 0 } })
  local paths = figure.traces(root, "zero", results.open(root .. "/results/zero/smoke"))
  for _, path in ipairs(paths) do
    local text = path:find "%.gp$" and results.read_file(path)
    if text then
      t.eq(select(2, text:gsub("\nset logscale y", "")), 1, "loss and one gradient are linear")
      t.eq(text:find("($2<0.000833333", 1, true) ~= nil, true, text)
    end
  end
end)

t.test("a density counts points in the right cells", function()
  sandbox.needs "gnuplot"
  local data = assert(files.read(root .. "/results/board/smoke/figures/density.dat"))
  local row = ("1 0 "):rep(10):sub(1, -2)
  t.eq(data:sub(1, 7 + #row), "# data\n" .. row)
end)

t.test("a wide logarithmic axis has few labels, a narrow one 1, 2, 5", function()
  sandbox.needs "gnuplot"
  local function tics(low, high)
    local rows = { { 0, low }, { 1, high } }
    local paths = gnuplot.panels(root, "axis", { columns = 1, width = 200, height = 200,
      panels = { { ylog = true, yrange = { low, high }, series = { { kind = "line", rows = rows,
        label = "all", key = "all", colour = 1 } } } } })
    for _, path in ipairs(paths) do
      local text = path:find "%.gp$" and results.read_file(path)
      if text then return text:match "set ytics %(([^\n]*)%)\n" end
    end
  end
  t.eq(tics(0.9, 21), "'1' 1, '2' 2, '5' 5, '10' 10, '20' 20")
  t.eq(tics(0.00005, 30), "'10⁻⁴' 0.0001, '0.001' 0.001, '0.01' 0.01, '0.1' 0.1, '1' 1, '10' 10")
  t.eq(tics(1e-9, 1e9), "'10⁻⁹' 1e-09, '10⁻⁶' 1e-06, '0.001' 0.001, '1' 1, '1000' 1000, "
    .. "'10⁶' 1000000, '10⁹' 1e+09")
end)

t.test("unknown render kinds are named", function()
  t.raises(function() render.entry({ name = "board" }, { kind = "densty" }, board) end,
    "unknown render kind 'densty'; did you mean density")
end)

-- ------------------------------------------------------------------ weaving

t.test("comments between blank lines are prose, all else is code", function()
  local blocks = weave.split(table.concat({ "-- # Title", "--", "-- Text $x$.", "", "-- with code",
    "local x = 1", "", "", "local y = 2", "  -- inside", "", "-- luacheck: ignore", "-- End." },
    "\n"))
  t.eq(blocks, {
    { kind = "prose", first = 1, "# Title", "", "Text $x$." },
    { kind = "code", first = 5, "-- with code", "local x = 1", "", "", "local y = 2",
      "  -- inside" },
    { kind = "prose", first = 12, "", "End." },
  })
end)

local how = { profile = "smoke", results = root .. "/results" }

local function woven(text)
  put("board.lua", text)
  return weave.chapter(root .. "/board.lua", how)
end

t.test("numbers in prose come from results", function()
  t.eq(woven "-- KL {{kl.LSD.N1 %.3f}} of {{kl.LSD.N1 pm %.2f}}, n = {{kl.LSD.N1.n %d}}.",
    "KL 0.120 of 0.12 ± 0.25, n = 2.\n\n")
  t.eq(woven "-- {{grid/kl.PSD-M.N4 eta=0.75 stop=none %.4f}} {{config.LSD.batch}}",
    "0.1050 64\n\n")
  t.eq(woven "-- {{checkerboard/published.kl.LSD.N1 %.4f}}", "0.0864\n\n")
  t.eq(woven("-- {{cifar10/published.reference.params %,d}} "
    .. "{{cifar10/published.reference.eta.LSD}} {{cifar10/published.reference.eta.PSD-M}} "
    .. "{{cifar10/published.reference.samples %,d}} "
    .. "{{cifar10/published.reference.settings.batch}}"), "54,673,314 0.9 0.75 204,800,000 512\n\n")
  t.raises(function() woven "-- {{cifar10/published.reference.none}}" end, "no published value")
  t.raises(function() woven "-- {{kl.LSD.N1 %,d}}" end, "0.12 is not a whole number")
end)

t.test("a missing number names file, line and field", function()
  t.raises(function() woven "local x = 1\n\n-- a\n-- {{klx.LSD.N1 %.3f}}" end,
    "board.lua:4: {{klx.LSD.N1 %%.3f}}: .*eval.json has no number 'klx'")
  t.raises(function() woven "-- {{kl.LSD.N1 %q}}" end, "a format such as")
  t.raises(function() woven "-- {{kl.FMM.N1}}" end, "no finished run with method = FMM")
  t.eq(woven "-- {{kl.ESD.N1 %.3f}}", "diverged at 51\n\n")
  t.raises(function() woven "-- ![x](figure:none)" end, "board.lua:1: figure:none")
  t.raises(function() woven "-- {{table none}}" end, "board.lua:1: {{table none}}")
  t.raises(function() woven "-- {{code flod}}" end, "board.lua:1: code mode 'flod'; did you mean "
    .. "fold%?")
end)

t.test("a book becomes one page that needs no network", function()
  sandbox.needs("pandoc", "gnuplot")
  put("board.lua", "-- # Board\n--\n-- $$\\int x\\,dx = {{kl.LSD.N1 %.2f}}$$\n--\n-- {{table kl}}\n"
    .. "--\n-- ![Curves.](figure:kl)\n--\n-- {{code fold}}\n\nlocal x = 1\n")
  put("style.css", "body { color: #123456; }")
  put("references.json", "[]")
  local page = weave.book({ title = "T", subtitle = "%s", chapters = { root .. "/board.lua" },
    bibliography = root .. "/references.json", style = root .. "/style.css",
    output = root .. "/build" }, how)
  local html = results.read_file(page)
  for _, part in ipairs { "<math", "<mn>0.12</mn>", "data:image/svg+xml", "#123456", "<details",
    "</table>" } do
    t.eq(html:find(part, 1, true) ~= nil, true, part)
  end
  t.eq(html:find('src="http') or html:find('href="http'), nil)
end)

t.done()
