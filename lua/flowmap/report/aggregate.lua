--- Tables of methods relative to a reference method, paired by seed: ratios of single results, and
-- aggregates over all laws and numbers of steps.
-- @module flowmap.report.aggregate

local axes = require "flowmap.report.axis"
local bootstrap = require "flowmap.measure.bootstrap"
local comparison = require "flowmap.report.comparison"
local errors = require "flowmap.base.errors"
local measured = require "flowmap.report.measured"
local paired = require "flowmap.measure.paired"
local stats = require "flowmap.measure.stats"
local tree = require "flowmap.tree"

local M = {}

-- The methods of a set, diverged ones included, and which of them is the reference.
local function sides(set, against)
  local methods = set:traced_methods()
  local reference = against and against:upper() or methods[1]:upper()
  for _, method in ipairs(methods) do
    if method:upper() == reference then return methods, method end
  end
  errors.usage("%s: there is no method '%s' to compare with%s", set.root, against,
    errors.near(against, methods))
end

local function add_notes(t, ...)
  for _, notes in ipairs { ... } do table.move(notes, 1, #notes, #t.notes + 1, t.notes) end
  return t
end

-- The note that explains the dashes of a table, if it has any.
local function dash_note(t)
  for _, row in ipairs(t.rows) do
    for _, cell in ipairs(row.cells) do
      if cell.lost == "–" then
        return { "–: no ratio, because a value is not positive or no seed is on both sides." }
      end
    end
  end
  return {}
end

-- ------------------------------------------------------------------ ratios

-- A method's values by seed, and how many of its runs have none.
local function complete(set, method, metric, N)
  local values, lost, n = {}, 0, 0
  for _, run in ipairs(set.diverged) do
    if run:method() == method then lost, n = lost + 1, n + 1 end
  end
  for _, run in ipairs(set.runs) do
    if run:method() == method then
      local value, seed = run:value(metric, N), run:field("config", "seed")
      if values[seed] then
        errors.data("%s has two runs of %s with the seed %s: select one of them by its settings",
          set.root, method, tostring(seed))
      end
      values[seed], n = value, n + 1
      if not axes.finite(value) then lost = lost + 1 end
    end
  end
  return values, lost > 0 and { lost = "diverged", count = lost, n = n } or nil
end

local function summarised(values)
  local list = {}
  for _, seed in ipairs(tree.keys(values)) do list[#list + 1] = values[seed] end
  return stats.summary(list)
end

-- The cell of a ratio, and the comparison behind it if there is one.
local function ratio(a, b)
  local it = paired.ratio(a, b)
  if not it then return { lost = "–", count = 1, n = 1 } end
  return { mean = it.ratio, low = it.low, high = it.high, n = it.n, format = "%.2f" }, it
end

--- A table of several results, each beside its ratio to that of the reference at the same seeds
-- (geometric mean and 95 % t interval of the logarithms). The ratios are one family of questions.
-- @tparam Set set runs of one configuration per method
-- @tparam table spec {metrics=, steps= (a number of steps for each metric), columns= (a name for
--   each), against= (the reference; default the first), title=, format=, notes=}
-- @treturn table a description
function M.relative(set, spec)
  local methods, reference = sides(set, spec.against)
  local t = { title = spec.title, heads = { "method" }, columns = {}, rows = {},
    format = spec.format or "%.4f", notes = measured.provenance(set) }
  local list = {}
  for _, method in ipairs(methods) do
    local row, case = { heads = { method }, cells = {} }, { name = method }
    for k, metric in ipairs(spec.metrics) do
      local a, a_lost = complete(set, method, metric, spec.steps[k])
      local b, b_lost = complete(set, reference, metric, spec.steps[k])
      t.columns[2 * k - 1], t.columns[2 * k] = spec.columns[k],
        ("%s / %s"):format(spec.columns[k], reference)
      row.cells[2 * k - 1] = a_lost or summarised(a)
      if method ~= reference then
        local cell, it = a_lost or b_lost
        if not cell then cell, it = ratio(a, b) end
        row.cells[2 * k] = cell
        list[#list + 1] = it and { case = case, at = spec.columns[k], it = it } or nil
      end
    end
    t.rows[#t.rows + 1] = row
  end
  return add_notes(t, { ("/ %s: the geometric mean of the ratio at equal seeds; in brackets its "
    .. "95 %% interval."):format(reference) }, dash_note(t), comparison.ratios(list, reference),
    spec.notes or {})
end

-- ------------------------------------------------------------------ aggregates

-- One run's values at the given steps; infinite where it diverged or a value is not finite.
local function values_of(run, metric, steps)
  local values = {}
  for i, N in ipairs(steps) do
    local value = run.diverged and math.huge or run:value(metric, N)
    values[i] = axes.finite(value) and value or math.huge
  end
  return values
end

-- Every run by stratum, method and seed.
local function by_stratum(set, spec)
  local strata = {}
  for _, runs in ipairs { set.runs, set.diverged } do
    for _, run in ipairs(runs) do
      local words = {}
      for i, key in ipairs(spec.over) do words[i] = tostring(run:field("config", key)) end
      local name, seed = table.concat(words, ", "), run:field("config", "seed")
      local of = strata[name] or {}
      strata[name], of[run:method()] = of, of[run:method()] or {}
      if of[run:method()][seed] then
        errors.data("%s has two runs of %s, %s with the seed %s: add a setting to over", set.root,
          name, run:method(), tostring(seed))
      end
      of[run:method()][seed] = values_of(run, spec.metric, spec.steps)
    end
  end
  return strata
end

-- The pairs { first, second } of a stratum, in the order of their seeds.
local function pairs_of(stratum, method, reference)
  local list, a, b = {}, stratum[method] or {}, stratum[reference] or {}
  for _, seed in ipairs(tree.keys(a)) do
    if b[seed] then list[#list + 1] = { a[seed], b[seed] } end
  end
  return list
end

-- log(a / b) of the values of a pair; two that diverged are equal.
local function log_ratios(pair)
  local out = {}
  for i, a in ipairs(pair[1]) do
    local b = pair[2][i]
    if a <= 0 or b <= 0 then return nil end
    out[i] = a == b and 0 or math.log(a) - math.log(b)
  end
  return out
end

local function logarithms(strata)
  local out = {}
  for k, runs in ipairs(strata) do
    out[k] = {}
    for i, pair in ipairs(runs) do
      out[k][i] = log_ratios(pair)
      if not out[k][i] then return nil end
    end
  end
  return out
end

-- The result of bootstrap.iqm or bootstrap.improvement as a cell; without an interval where a
-- stratum has a single seed.
local function cell_of(aggregate, strata, map, format)
  if not strata then return { lost = "–", count = 1, n = 1 } end
  local few, runs = math.huge, 0
  for _, stratum in ipairs(strata) do few, runs = math.min(few, #stratum), runs + #stratum end
  local it = aggregate(strata, few < 2 and 0 or nil)
  return { mean = map(it.value), low = it.low and map(it.low), high = it.high and map(it.high),
    n = few > 1 and runs or 1, format = format }
end

local function same(x) return x end

-- The aggregates of a method over all strata; none where a stratum has no seed of both.
local function aggregates(strata, names, method, reference)
  local list, missing = {}, 0
  for k, name in ipairs(names) do
    list[k] = pairs_of(strata[name], method, reference)
    if #list[k] == 0 then missing = missing + 1 end
  end
  if missing > 0 then
    local lost = { lost = "–", count = missing, n = #names }
    return { lost, lost }
  end
  return { cell_of(bootstrap.iqm, logarithms(list), math.exp, "%.2f"),
    cell_of(bootstrap.improvement, list, same, "%.2f") }
end

local function aggregate_notes(names, spec, reference)
  return { ("Over %d law%s (%s) and N = %s. IQM: the mean of the middle half of the logarithms of "
    .. "the ratios to %s at equal seeds, as a ratio; below 1 is better. P(better): the probability "
    .. "that a run has a smaller value than a run of %s, ties counting half. In brackets: 95 %% "
    .. "intervals of a bootstrap over seeds within each law. Diverged runs count as infinite.")
    :format(#names, #names == 1 and "" or "s", table.concat(names, "; "),
      table.concat(spec.steps, ", "), reference, reference) }
end

--- A table of aggregates over laws and numbers of steps: the interquartile mean of the ratio to the
-- reference, and the probability of improvement over it (see flowmap.measure.bootstrap).
-- @tparam Set set one run for each method, seed and combination of the settings `over`
-- @tparam table spec {metric=, steps= (default: all), over= (settings whose combinations are the
--   strata, such as {"data"}), against= (the reference; default the first), title=, notes=}
-- @treturn table a description
function M.aggregate(set, spec)
  local methods, reference = sides(set, spec.against)
  local how = { metric = spec.metric, over = spec.over, steps = spec.steps or set:steps() }
  local strata = by_stratum(set, how)
  local names = tree.keys(strata)
  local t = { title = spec.title, heads = { "method" }, columns = { "IQM of the ratio to "
    .. reference, "P(better)" }, rows = {}, format = "%.2f", notes = measured.provenance(set) }
  for _, method in ipairs(methods) do
    if method ~= reference then
      t.rows[#t.rows + 1] = { heads = { method },
        cells = aggregates(strata, names, method, reference) }
    end
  end
  return add_notes(t, aggregate_notes(names, how, reference), dash_note(t), spec.notes or {})
end

return M
