--- The `render` list of an experiment, checked before anything is trained: the fields of each entry
-- when the experiment is loaded; before the first step of a run, whether its results will suffice.
-- @module flowmap.experiment.render_list

local errors = require "flowmap.base.errors"
local escape = require "flowmap.base.escape"
local grids = require "flowmap.experiment.grid"
local published = require "flowmap.experiment.published"
local registry = require "flowmap.base.registry"
local settings = require "flowmap.experiment.settings"
local tree = require "flowmap.tree"

local M = {}

-- The kinds that come with the suite: what each writes, and the fields of an entry with their
-- types, those it needs and those it may have.
local KINDS = {
  compare = { writes = "table", need = { metric = "string", title = "string" },
    may = { floor = "string", nulls = "boolean", format = "string", published = "boolean",
      best = "boolean", notes = "table", steps = "table", source = "string", paired = "boolean",
      against = "string" } },
  metrics = { writes = "table", need = { title = "string", N = "number" },
    may = { metrics = "table", notes = "table" } },
  grid = { writes = "table",
    need = { metric = "string", title = "string", N = "number", rows = "table", column = "string" },
    may = { format = "string", notes = "table" } },
  several = { writes = "table",
    need = { metrics = "table", columns = "table", title = "string", N = "number",
      rows = "table" },
    may = { format = "string", notes = "table", floors = "boolean", order = "boolean" } },
  switch = { writes = "table",
    need = { metric = "string", title = "string", switch = "string", rows = "table" },
    may = { against = "string", format = "string", notes = "table", steps = "table" } },
  effects = { writes = "table", pools = true,
    need = { metric = "string", title = "string", N = "number", factors = "table" },
    may = { order = "number", format = "string", notes = "table" } },
  effects_by_steps = { writes = "figure", pools = true,
    need = { metric = "string", label = "string", factors = "table", shown = "table" },
    may = { order = "number", steps = "table" } },
  ratios = { writes = "table", pools = true,
    need = { metric = "string", title = "string", against = "string", factors = "table",
      parts = "table" },
    may = { steps = "table", format = "string", notes = "table" } },
  spread = { writes = "table", pools = true, need = { metric = "string", title = "string" },
    may = { steps = "table", questions = "number", notes = "table" } },
  cost = { writes = "table", pools = true,
    need = { title = "string", rows = "table", reference = "table" }, may = { notes = "table" } },
  relative = { writes = "table",
    need = { metrics = "table", steps = "table", columns = "table", title = "string" },
    may = { against = "string", format = "string", notes = "table" } },
  aggregate = { writes = "table",
    need = { metric = "string", title = "string", over = "table" },
    may = { against = "string", steps = "table", notes = "table" } },
  density = { writes = "figure", need = { range = "table" },
    may = { bins = "number", seed = "number", metric = "string", label = "string",
      steps = "table" } },
  heat = { writes = "figure", need = { file = "string", label = "string" },
    may = { metric = "string", seed = "number", most = "number" } },
  against_steps = { writes = "figure", need = { metric = "string", label = "string" },
    may = { steps = "table", published = "boolean", source = "string", scale = "string" } },
  against_setting = { writes = "figure",
    need = { metric = "string", N = "number", x = "string", series = "string" },
    may = { label = "string", xlabel = "string", series_label = "string" } },
  traces = { writes = "figure", need = {}, may = { points = "number" } },
  triangle = { writes = "figure", need = {}, may = { eta = "number" } },
  grids = { writes = "images", need = {}, may = { steps = "table", seed = "number" } },
}

--- The kinds, and the figures that an experiment defines. One is
--
--     function(set, spec) ... end -- or { draw = that function, options = { field = default } }
--
-- It gets the runs (see flowmap.report.results) and the fields of its entry in `render`; it returns
-- the panels of flowmap.report.gnuplot: { columns =, width =, height =, panels = {...} }. With
-- `writes = "table"` beside `draw` it is a table, and the function returns a description for
-- flowmap.report.table, to whose notes the runs behind it are added.
-- `options` are the fields that its entries may have, with their defaults.
M.registry = registry.new { what = "render kind", field = "figures", plain = "function",
  table_fields = { draw = "function", writes = "string" }, needs = { "draw" },
  built = function() return KINDS end }

--- Whether a kind writes a "table", a "figure" or "images".
-- @tparam string kind
-- @tparam[opt] table own figures of an experiment
-- @treturn ?string nil: there is no such kind
function M.writes(kind, own)
  local it = own and own[kind]
  if it then return type(it) == "table" and rawget(it, "writes") or "figure" end
  return KINDS[kind] and KINDS[kind].writes
end

local COMMON = { kind = "string", name = "string", where = "table" }

-- ------------------------------------------------------------------ when it is loaded

-- The fields of a kind; for a figure of the experiment those that its options declare, or any.
local function form_of(kind, own)
  if not own then return KINDS[kind] end
  local form = { need = {}, may = { metric = "string", N = "number", steps = "table",
    published = "boolean", title = "string", label = "string" } }
  local options = registry.options(own)
  for key, default in pairs(options) do form.may[key] = type(default) end
  form.open = next(options) == nil
  return form
end

local function check_types(entry, form, where)
  local known = {}
  for _, fields in ipairs { COMMON, form.need, form.may } do
    for key, kind in pairs(fields) do known[key] = kind end
  end
  for _, key in ipairs(tree.keys(form.need)) do
    if entry[key] == nil then errors.usage("%s: the field %s is missing", where, key) end
  end
  for key, value in pairs(entry) do
    local expected = known[key]
    if not expected and not form.open then
      errors.usage("%s: unknown field '%s'%s", where, tostring(key),
        errors.near(tostring(key), tree.keys(known)))
    elseif expected and type(value) ~= expected then
      errors.usage("%s: the field %s must be a %s, found a %s", where, key, expected, type(value))
    end
  end
end

-- A setting by which runs differ, or `method`.
local function check_setting(key, where, options)
  if key == "method" or key == "seed" then return end
  errors.choice(where .. ": setting", tostring(key), settings.keys(options))
end

local function check_format(format, where)
  if format and not (format:find "^%%%.?%d*[efg]$" and pcall(string.format, format, 0.5)) then
    errors.usage("%s: format must be that of one number, such as %%.4f, found '%s'", where, format)
  end
end

local function check_list(list, kind, where)
  for key, value in pairs(list or {}) do
    if math.type(key) ~= "integer" or type(value) ~= kind then
      errors.usage("%s must be a list of %ss, found a %s", where, kind, type(value))
    end
  end
  errors.list(where, list or {})
end

local function check_range(range, where)
  local low, high = table.unpack(range or { 0, 1 })
  local numbers = type(low) == "number" and type(high) == "number"
  if not (numbers and low < high and high - low < 1e30) then
    errors.usage("%s: range must be a list of two numbers such as { -1, 1 }, the first the smaller",
      where)
  end
end

-- The ranges of numbers in entries of the suite's kinds: whole numbers, and fractions.
local WHOLE = { bins = { 2, 2048 }, points = { 2, 100000 }, order = { 1, 16 },
  questions = { 1, 1000000 }, N = { 1, 1 << 31 }, seed = { 0, 1 << 53 } }

local function check_numbers(suite, entry, where)
  for key, value in pairs(entry) do
    local kind, range = suite.need[key] or suite.may[key], WHOLE[key]
    if kind == "number" and range then
      local whole = math.tointeger(value)
      if not (whole and whole >= range[1] and whole <= range[2]) then
        errors.usage("%s: %s must be a whole number from %d to %d, found %s", where, key, range[1],
          range[2], tostring(value))
      end
    elseif kind == "number" and not (value >= 0 and value < math.huge) then
      errors.usage("%s: %s must be a finite number from 0 on, found %s", where, key,
        tostring(value))
    end
  end
end

local function check_selection(values, where, options)
  if type(values) ~= "table" then
    errors.usage("%s must be settings { key = value }, found a %s", where, type(values))
  end
  for key, value in pairs(values) do settings.check(tostring(key), value, where, options) end
end

-- Factors { name =, low = or high = { key = value } }, see flowmap.report.contrasts.
local function check_factors(factors, where, options)
  for k, factor in pairs(factors) do
    local of = ("%s, factor %s"):format(where, tostring(k))
    local level = type(factor) == "table" and type(factor.name) == "string"
      and (factor.low or factor.high)
    if not level or factor.low and factor.high then
      errors.usage("%s must be { name =, low = { key = value } }, or with `high` in place of `low`",
        of)
    end
    check_selection(level, of, options)
  end
end

-- Selections of runs { label, { key = value } }.
local function check_parts(parts, where, options)
  for k, part in pairs(parts) do
    local of = ("%s, part %s"):format(where, tostring(k))
    if type(part) ~= "table" or type(part[1]) ~= "string" then
      errors.usage("%s must be { label, { key = value } }", of)
    end
    check_selection(part[2], of, options)
  end
end

-- The settings that tell the runs of a grid apart in an entry.
local function told_apart(entry)
  local told = {}
  for key in pairs(entry.where or {}) do told[key] = true end
  for _, list in ipairs { entry.rows or {}, entry.over or {} } do
    for _, key in ipairs(list) do told[key] = true end
  end
  for _, key in ipairs { "column", "x", "series", "switch" } do told[entry[key] or ""] = true end
  return told
end

-- Check that no entry averages over runs with different settings.
local function check_pooled(entry, it, where, kind)
  if kind == KINDS.traces or kind == KINDS.triangle or kind.pools then return end
  local told = told_apart(entry)
  for _, key in ipairs(grids.all_varied(it)) do
    if not told[key] then
      errors.usage("%s: the runs differ in %s (grid), which this entry does not distinguish; "
        .. "choose one by where = { %s = ... }", where, key, key)
    end
  end
end

local function check_same_length(entry, where, suite)
  if entry.metrics and entry.columns and #entry.metrics ~= #entry.columns then
    errors.usage("%s: %d metrics have %d columns, expected one name for each", where,
      #entry.metrics, #entry.columns)
  elseif suite == KINDS.relative and #entry.metrics ~= #entry.steps then
    errors.usage("%s: %d metrics have %d numbers of steps, expected one for each", where,
      #entry.metrics, #entry.steps)
  end
end

-- Check the values of the fields of a kind that comes with the suite.
local function check_values(suite, entry, where, options)
  for _, key in ipairs { "column", "x", "series", "switch" } do
    if entry[key] then check_setting(entry[key], where .. ", " .. key, options) end
  end
  for _, field in ipairs { "rows", "over" } do
    check_list(entry[field], "string", ("%s, %s"):format(where, field))
    for _, key in ipairs(entry[field] or {}) do
      check_setting(key, ("%s, %s"):format(where, field), options)
    end
  end
  check_numbers(suite, entry, where)
  check_list(entry.shown, "string", where .. ", shown")
  check_list(entry.notes, "string", where .. ", notes")
  check_list(entry.metrics, "string", where .. ", metrics")
  check_list(entry.columns, "string", where .. ", columns")
  check_same_length(entry, where, suite)
  if suite.need.factors then check_factors(entry.factors, where, options) end
  if suite == KINDS.ratios then check_parts(entry.parts, where, options) end
  check_format(entry.format, where)
  check_range(entry.range, where)
  if suite == KINDS.density and entry.metric and not entry.label then
    errors.usage("%s: the field label is missing: what the metric is called", where)
  end
end

-- A kind of the experiment's own gives its fields a meaning of its own, whatever their names.
local function check_entry(entry, it, where, options)
  if type(entry) ~= "table" then
    errors.usage("%s must be a table { kind =, name =, ... }, found a %s", where, type(entry))
  end
  local kind, _, own = M.registry:find(tostring(entry.kind), it.figures)
  if type(entry.name) ~= "string" or entry.name ~= escape.filename(entry.name) then
    errors.usage("%s needs a name for its files (letters, digits, '_', '-', '.'), found '%s'",
      where, escape.line(tostring(entry.name)))
  end
  check_types(entry, form_of(entry.kind, own and kind), where)
  for key in pairs(entry.where or {}) do check_setting(key, where .. ", where", options) end
  check_list(entry.steps, "number", where .. ", steps")
  if own then return end
  check_values(KINDS[entry.kind], entry, where, options)
  check_pooled(entry, it, where, KINDS[entry.kind])
end

--- Check the fields of a render list.
-- @tparam table it an experiment
-- @tparam string path of its file
-- @tparam table options its own settings
function M.list(it, path, options)
  local files = {}
  for k, entry in pairs(it.render) do
    if math.type(k) ~= "integer" then
      errors.usage("%s: render must be a list of entries, found the field '%s'", path, tostring(k))
    end
    local of = type(entry) == "table" and ("'%s' (%s)"):format(tostring(entry.name),
      tostring(entry.kind)) or ""
    check_entry(entry, it, ("%s: render entry %d %s"):format(path, k, of), options)
    local sort = M.writes(entry.kind, it.figures)
    local file = (sort == "table" and "table " or "figure ") .. entry.name
    if files[file] then
      errors.usage("%s: two render entries write the %s", path, file)
    end
    files[file] = true
  end
  errors.list(path .. ": render", it.render)
end

-- ------------------------------------------------------------------ before the first step

-- Check that the results will have what an entry needs.
local function check_needs(entry, it, cfg, row, set, where)
  local own = it.figures and it.figures[entry.kind]
  local metrics = not own and entry.metrics or {}
  local needed = table.move(metrics, 1, #metrics, 1, {})
  needed[#needed + 1] = entry.metric
  needed[#needed + 1] = not own and entry.floor or nil
  for _, name in ipairs(needed) do
    if type(row[name]) ~= "number" then
      errors.usage("%s: the results will have no number '%s'%s", where, name,
        errors.near(name, tree.keys(row)))
    end
  end
  local measured = {}
  for _, N in ipairs(cfg.nfe) do measured[N] = true end
  for _, N in ipairs(entry.steps or { entry.N }) do
    if not measured[N] then
      errors.usage("%s: N = %s will not be evaluated; nfe is %s", where, settings.text(N),
        settings.text(cfg.nfe))
    end
  end
  if entry.kind == "density" and (set.shape or set.dim ~= 2) then
    errors.usage("%s: a density shows points in the plane, and the data set '%s' has none", where,
      cfg.data)
  elseif entry.kind == "grids" and not set.shape then
    errors.usage("%s: a grid shows images, and the data set '%s' has points", where, cfg.data)
  end
  local low, high = table.unpack(set.range or { -1, 1 })
  if entry.kind == "density" and not entry.bins
    and (entry.range[1] ~= low or entry.range[2] ~= high) then
    errors.usage("%s: range is { %g, %g }, but the stored densities cover { %g, %g }; set bins to "
      .. "count the samples again", where, entry.range[1], entry.range[2], low, high)
  end
  local known = entry.published and published.read()
  if known and not (known[it.name] or {})[entry.metric] then
    errors.usage("%s: there are no published values of '%s' for the experiment '%s'", where,
      tostring(entry.metric), it.name)
  end
end

-- Whether an entry shows this run.
local function shows(entry, cfg)
  for key, value in pairs(entry.where or {}) do
    local has = cfg[key]
    if key == "method" then has, value = tostring(has):lower(), tostring(value):lower() end
    if has ~= value then return false end
  end
  return true
end

--- Check that a render list can be drawn from a run's results. Settings of the user's own lead to
-- another folder, from which nothing is drawn, so what they change is not checked.
-- @tparam table it an experiment
-- @tparam table base settings of the experiment's own run of the same profile and method
-- @tparam table cfg the run's settings
-- @tparam table row fields of a row of its results
-- @tparam table set the data set
function M.results(it, base, cfg, row, set)
  local varied = grids.varied(grids.of(it, cfg.profile))
  for _, key in ipairs { "data", "metrics", "image_metrics", "nfe", "resolution", "checkpoints" } do
    if settings.text(base[key]) ~= settings.text(cfg[key]) and not varied[key] then
      return
    end
  end
  for k, entry in ipairs(it.render) do
    if shows(entry, cfg) then
      local where = ("%s: render entry %d '%s' (%s)"):format(it.path or it.name, k, entry.name,
        entry.kind)
      check_needs(entry, it, cfg, row, set, where)
    end
  end
end

return M
