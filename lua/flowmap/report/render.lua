--- Rendering: turns an experiment's `render` list into files in the folders tables and figures of
-- results/EXPERIMENT/PROFILE. Each entry names one table or figure and its options:
--
--     render = {
--       { kind = "compare", name = "kl", metric = "kl", title = "...", published = true },
--       { kind = "density", name = "density", range = { -1, 1 } },
--       { kind = "against_setting", name = "ablation-N1", where = { data = "checkerboard" }, ... },
--     }
--
-- `kind` is a table (`compare`, `metrics`, `grid`, `several`, `switch`, `effects`, `ratios`,
-- `spread`, `cost`: see flowmap.report.table; `relative`, `aggregate`: see
-- flowmap.report.aggregate) or a figure (`density`, `heat`, `against_steps`, `against_setting`,
-- `effects_by_steps`, `traces`, `triangle`: see flowmap.report.figure; `grids`: see
-- flowmap.report.figure.grid). `where` selects
-- runs by their settings. `published = true` adds the paper's values of this experiment and metric
-- beside ours; `paired = true` adds the differences of a `compare` table over shared seeds. All
-- other fields are options of the table or figure. Without a list, default tables and figures of
-- the first result are drawn.
-- @module flowmap.report.render

local contrasts = require "flowmap.report.contrasts"
local errors = require "flowmap.base.errors"
local escape = require "flowmap.base.escape"
local figure = require "flowmap.report.figure"
local files = require "flowmap.base.files"
local gnuplot = require "flowmap.report.gnuplot"
local measured = require "flowmap.report.measured"
local grids = require "flowmap.experiment.grid"
local published = require "flowmap.experiment.published"
local registry = require "flowmap.base.registry"
local render_list = require "flowmap.experiment.render_list"
local results = require "flowmap.report.results"
local tables = require "flowmap.report.table"
local tree = require "flowmap.tree"

local M = {}

local writes = render_list.writes

-- The default tables of a grid: one per number of steps, with the setting of most values across.
local function default_grid(count, column, steps)
  local keys, across = tree.keys(count), nil
  for _, key in ipairs(keys) do
    if not across or count[key] >= count[across] then across = key end
  end
  local rows, entries = { "method" }, {}
  for _, key in ipairs(keys) do
    if key ~= across then rows[#rows + 1] = key end
  end
  for _, N in ipairs(steps) do
    entries[#entries + 1] = { kind = "grid", name = ("%s-N%d"):format(column[1], N),
      metric = column[1], N = N, rows = rows, column = across,
      title = ("%s at N = %d"):format(column[2], N) }
  end
  return entries
end

-- The range that the stored densities of a run cover.
local function range_of(exp, run)
  local set = exp.data and exp.data[run:field("config", "data")]
  return type(set) == "table" and set.range or { -1, 1 }
end

-- The default render list: the first column of the results, densities in the plane, traces.
local function default(exp, all)
  local run = all:first()
  local column, entries = run:field("eval", "columns")[1], {}
  local metric, head = column[1], column[1] == "kl" and "KL(data || model)" or column[2]
  local varied = grids.varied(grids.of(exp, run:field("config", "profile")))
  if next(varied) then
    entries = default_grid(varied, column, all:steps())
  else
    local floor = metric .. "_floor"
    local has_floor = run:field("eval", "rows")[1][floor] ~= nil
    entries[1] = { kind = "compare", name = metric, metric = metric, title = head,
      floor = has_floor and floor or nil }
    entries[2] = { kind = "against_steps", name = metric, metric = metric, label = head }
    if files.exists(("%s/density-N%d.npy"):format(run.dir, all:steps()[1])) then
      entries[3] = { kind = "density", name = "density", range = range_of(exp, run),
        metric = metric, label = column[2] }
    end
  end
  entries[#entries + 1] = { kind = "traces", name = "traces" }
  return entries
end

--- The render entries of an experiment.
-- @tparam table exp an experiment
-- @tparam Set all its runs
-- @treturn {table,...} entries
function M.entries(exp, all) return exp.render or default(exp, all) end

--- The runs that an entry shows.
-- @tparam table entry
-- @tparam Set all
-- @treturn Set
function M.selected(entry, all) return entry.where and all:select(entry.where) or all end

-- Add the options of a figure or table of the experiment's own to its entry.
local function with_options(kind, spec)
  for key, default_value in pairs(registry.options(kind)) do
    if spec[key] == nil then spec[key] = default_value end
  end
  return spec
end

local function are_texts(list)
  for _, text in ipairs(type(list) == "table" and list or { false }) do
    if type(text) ~= "string" then return false end
  end
  return true
end

-- Check what the function of a table of the experiment's own returned; cells are checked where they
-- are printed.
local function check_table(t, kind)
  local is_one = type(t) == "table" and type(t.rows) == "table" and are_texts(t.heads)
    and are_texts(t.columns) and type(t.title) == "string"
  if not is_one then
    errors.usage("the table '%s' returned a %s%s, expected { title =, heads =, columns =, rows = }",
      kind, type(t), type(t) == "table" and " of other contents" or "")
  end
  if not are_texts(t.notes or {}) then
    errors.usage("the table '%s': notes must be a list of texts", kind)
  end
  for i, row in ipairs(t.rows) do
    if type(row) ~= "table" or not are_texts(row.heads) or type(row.cells) ~= "table" then
      errors.usage("the table '%s': row %d must be { heads = a list of texts, cells = {...} }",
        kind, i)
    end
  end
end

-- The description of a table of the experiment's own, with the runs behind it.
local function own_table(kind, set, spec)
  local t = kind.draw(set, with_options(kind, spec))
  check_table(t, spec.kind)
  local notes = measured.provenance(set)
  t.notes, t.format = table.move(t.notes or {}, 1, #(t.notes or {}), #notes + 1, notes),
    t.format or "%.4g"
  return t
end

-- Call f; nil if it fails and all runs of the set diverged, so that the results are missing of
-- which it would tell.
local function despite_divergence(set, f, ...)
  if #set.runs > 0 then return f(...) end
  local ok, made = pcall(f, ...)
  return ok and made or nil
end

-- In place of a table of results that no run has: when the runs of each method diverged.
local function nothing(set, spec)
  local t = { title = spec.title or spec.name, heads = { "method" }, columns = { "results" },
    rows = {}, notes = measured.provenance(set), format = "%.4g" }
  for i, method in ipairs(set:traced_methods()) do
    local runs = set:select({ method = method }).diverged
    t.rows[i] = { heads = { method },
      cells = { { lost = results.diverged_at(runs), count = #runs, n = #runs } } }
  end
  return t
end

-- The description of a table; `own`: its function, if it is the experiment's.
local function describe(own, kind, set, spec)
  local function made() return own and own_table(own, set, spec) or tables[kind](set, spec) end
  return despite_divergence(set, made) or nothing(set, spec)
end

--- The description of an entry's table; nil if the entry is a figure.
-- @tparam table exp an experiment
-- @tparam table entry
-- @tparam Set all
-- @treturn ?table see flowmap.report.table
function M.description(exp, entry, all)
  if writes(entry.kind, exp.figures) ~= "table" then return nil end
  local spec, set = M.complete(entry, exp, all)
  return describe(exp.figures and exp.figures[entry.kind], entry.kind, set, spec)
end

--- The effects behind a table of the kinds `effects` and `ratios`.
-- @tparam table exp an experiment
-- @tparam string name of the entry
-- @tparam Set all
-- @treturn table see flowmap.report.contrasts
function M.effects(exp, name, all)
  local names = {}
  for _, entry in ipairs(exp.render or {}) do
    local estimate = contrasts.of_kind[entry.kind]
    if estimate and entry.name == name then
      local spec, set = M.complete(entry, exp, all)
      return estimate(set, spec)
    end
    names[#names + 1] = estimate and entry.name or nil
  end
  errors.data("%s has no table of effects '%s'%s", exp.path or exp.name, name,
    errors.near(name, names))
end

-- Check the numbers of steps from the results, because they become labels and parts of file names.
local function checked_steps(steps, set)
  for _, N in ipairs(steps) do
    if math.type(N) ~= "integer" or N < 1 then
      errors.data("%s: '%s' is not a number of steps", set.root, escape.line(N))
    end
  end
  return steps
end

--- Select the runs of an entry and fill in its steps and published values.
-- @tparam table entry
-- @tparam table exp an experiment
-- @tparam Set all
-- @treturn table the completed entry
-- @treturn Set the selected runs
function M.complete(entry, exp, all)
  local spec, set = {}, M.selected(entry, all)
  for key, value in pairs(entry) do spec[key] = value end
  spec.steps = checked_steps(spec.steps or set:steps(), set)
  if entry.published then
    local known = published.read()
    spec.source, spec.published = known.source, (known[exp.name] or {})[entry.metric]
    if not spec.published then
      errors.data("there are no published values of '%s' for %s in %s", tostring(entry.metric),
        exp.name, published.file)
    end
  end
  return spec, set
end

-- Draw a figure of the experiment's own: its function describes the panels.
local function draw_own(kind, name, set, spec, dir)
  local panels = (type(kind) == "table" and kind.draw or kind)(set, with_options(kind, spec))
  if type(panels) ~= "table" or type(panels.panels) ~= "table" then
    errors.usage("the figure '%s' returned a %s, expected a table { columns =, width =, height =, "
      .. "panels = }", spec.kind, type(panels))
  end
  panels.columns, panels.width = panels.columns or 1, panels.width or 360
  panels.height = panels.height or 220
  return gnuplot.panels(dir, name, panels)
end

-- In place of a figure of results that no run has: a panel that says why.
local function draw_nothing(name, set, dir)
  return gnuplot.panels(dir, name, { width = 360, height = 60, panels = { { series = {},
    title = "no results: all runs " .. results.diverged_at(set.diverged) } } })
end

-- The kinds of figures that show runs which diverged, or no run at all.
local WITHOUT_RESULTS = { traces = true, triangle = true }

-- Draw a figure, see `entry`; nil if it shows results and there are none.
local function draw(kind, entry, set, spec, dir)
  if type(kind) ~= "string" then
    return draw_own(kind, entry.name, set, spec, dir)
  elseif #set.runs == 0 and not WITHOUT_RESULTS[kind] then
    return nil
  elseif kind == "grids" then
    local grid = require "flowmap.report.figure.grid"
    return grid.grids(dir, entry.name, set, spec)
  elseif kind == "triangle" then
    return figure.triangle(dir, entry.name, spec)
  end
  return figure[kind](dir, entry.name, set, spec)
end

--- Render one entry.
-- @tparam table exp an experiment (its name and path are used)
-- @tparam table entry see the top of this module
-- @tparam Set all the experiment's runs
-- @treturn {string,...} paths of the files
function M.entry(exp, entry, all)
  local kind, _, own = render_list.registry:find(tostring(entry.kind), exp.figures)
  if type(entry.name) ~= "string" or entry.name ~= escape.filename(entry.name) then
    errors.usage("%s: a render entry (%s) needs a name for its files (letters, digits, '_', '-', "
      .. "'.'), found '%s'", exp.path or exp.name, entry.kind, escape.line(entry.name))
  end
  local spec, set = M.complete(entry, exp, all)
  if writes(entry.kind, exp.figures) == "table" then
    return tables.write(all.root .. "/tables", entry.name,
      describe(own and kind, entry.kind, set, spec))
  end
  local dir = all.root .. "/figures"
  return despite_divergence(set, draw, own and kind or entry.kind, entry, set, spec, dir)
    or draw_nothing(entry.name, set, dir)
end

--- Render all tables and figures of an experiment from its results.
-- @tparam table exp an experiment, see flowmap.experiment
-- @tparam string profile
-- @tparam[opt="results"] string base
-- @treturn {string,...} paths of the files
function M.experiment(exp, profile, base)
  local all = results.open(("%s/%s/%s"):format(base or "results", exp.name, profile))
  local paths = {}
  for _, entry in ipairs(M.entries(exp, all)) do
    local made = M.entry(exp, entry, all)
    table.move(made, 1, #made, #paths + 1, paths)
  end
  return paths
end

return M
