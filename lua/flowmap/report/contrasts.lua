--- Tables of effects over designed sets of runs, and sentences about them for prose. Effects are
-- differences of log values within seeds, so exp(effect) is a ratio.
--
-- A factor is { name =, low = { setting = value } } or { name =, high = { ... } }: runs that have
-- these settings are at that level, all others at the other.
-- @module flowmap.report.contrasts

local axes = require "flowmap.report.axis"
local design = require "flowmap.design"
local effects = require "flowmap.measure.effects"
local errors = require "flowmap.base.errors"
local measured = require "flowmap.report.measured"
local paired = require "flowmap.measure.paired"
local power = require "flowmap.measure.power"
local settings = require "flowmap.experiment.settings"
local stats = require "flowmap.measure.stats"
local tree = require "flowmap.tree"

local M = {}

local ALPHA = 0.05
local POOLED = "all methods"

-- ------------------------------------------------------------------ runs as cells

local function has(config, values)
  for key, value in pairs(values) do
    if settings.text(config[key]) ~= settings.text(value) then return false end
  end
  return true
end

local function row_of(config, factors)
  local row = {}
  for j, factor in ipairs(factors) do
    local high = factor.high and has(config, factor.high) or factor.low
      and not has(config, factor.low)
    row[j] = high and 1 or -1
  end
  return row
end

-- The log of a run's value; nil if the run diverged.
local function log_value(run, metric, N)
  if run.diverged then return nil end
  local value = measured.by_seed({ runs = { run } }, metric, N)[run:field("config", "seed")]
  if not value or not axes.finite(value) then return nil end
  if value <= 0 then
    errors.data("%s: %s is %g at N = %d: there is no ratio of values that are not positive",
      run.dir, metric, value, N)
  end
  return math.log(value)
end

-- The cells of every method: method -> { { seed =, row =, value = }, ... }, one run each.
local function cells_of(set, spec, factors)
  local of, known = {}, {}
  for _, runs in ipairs { set.runs, set.diverged } do
    for _, run in ipairs(runs) do
      local method, seed = run:method(), run:field("config", "seed")
      local row = row_of(run.config, factors)
      local key = ("%s %s %s"):format(method, seed, table.concat(row, " "))
      if known[key] then
        errors.data("%s and %s are in one cell: method %s, seed %s and the levels of all factors "
          .. "are the same", known[key], run.dir, method, seed)
      end
      known[key], of[method] = run.dir, of[method] or {}
      table.insert(of[method], { seed = seed, row = row,
        value = log_value(run, spec.metric, spec.N) })
    end
  end
  return of
end

-- The mean over methods, cell by cell; lost where one of them is.
local function pooled(of)
  local sums, out, methods = {}, {}, tree.keys(of)
  for _, method in ipairs(methods) do
    for _, cell in ipairs(of[method]) do
      local key = cell.seed .. " " .. table.concat(cell.row, " ")
      local sum = sums[key] or { seed = cell.seed, row = cell.row, value = 0, n = 0 }
      sum.value, sum.n = cell.value and sum.value and sum.value + cell.value, sum.n + 1
      sums[key] = sum
    end
  end
  for _, key in ipairs(tree.keys(sums)) do
    local sum = sums[key]
    out[#out + 1] = { seed = sum.seed, row = sum.row,
      value = sum.value and sum.n == #methods and sum.value / sum.n or nil }
  end
  return out
end

-- ------------------------------------------------------------------ estimates

local function names_of(factors)
  local names = {}
  for j, factor in ipairs(factors) do names[j] = factor.name end
  return names
end

-- Holm over the estimates of one column; `of` is row -> estimate.
local function adjust(list)
  local ps, at = {}, {}
  for _, it in pairs(list) do
    if it.p then ps[#ps + 1], at[#at + 1] = it.p, it end
  end
  for i, p in ipairs(paired.holm(ps)) do at[i].holm, at[i].family = p, #ps end
end

local function column_of(cells, list, complete)
  local out = {}
  if complete then
    for i, effect in ipairs(list) do
      local values, lost, diverged = effects.contrasts(cells, effect)
      out[i] = effects.of_seeds(values)
        or { lost = diverged and "diverged" or "–", count = lost, n = lost }
      out[i].missing = lost
    end
  else
    local blocks, lost = effects.mirrored(cells)
    local found = effects.fit(blocks)
    for i in ipairs(list) do
      out[i] = found and found[i] or { lost = "–", count = lost, n = lost }
      out[i].missing = lost
    end
  end
  adjust(out)
  return out
end

-- Whether every seed has all 2^k cells, or two of a fraction.
local function is_complete(of, k)
  local count = {}
  for _, cells in pairs(of) do
    for _, cell in ipairs(cells) do
      local key = table.concat(cell.row, " ")
      count[cell.seed] = count[cell.seed] or {}
      count[cell.seed][key] = true
    end
  end
  local most = 0
  for _, keys in pairs(count) do most = math.max(most, #tree.keys(keys)) end
  return most == 2 ^ k
end

-- A method takes part if its seeds have two cells or more.
local function varied(cells)
  local seen = {}
  for _, cell in ipairs(cells) do
    if seen[cell.seed] then return true end
    seen[cell.seed] = true
  end
  return false
end

--- The effects of factors, by method and averaged over methods.
-- @tparam Set set
-- @tparam table spec {metric=, N=, factors=, order= (of interactions, default 1)}
-- @treturn table { rows = names of the effects, columns = methods, cells[column][row] =, kind =
--   "effect", complete =, design = rows, names = of the factors }
function M.factors(set, spec)
  local of, names = cells_of(set, spec, spec.factors), names_of(spec.factors)
  local out = { rows = {}, columns = {}, cells = {}, kind = "effect", names = names }
  out.complete = is_complete(of, #names)
  local list = out.complete and effects.alone(names) or {}
  for _, effect in ipairs(effects.factorial(names, out.complete and spec.order or 1)) do
    list[#list + 1] = effect
  end
  for i, effect in ipairs(list) do out.rows[i] = effect.name end
  local kept = {}
  for _, method in ipairs(set:traced_methods()) do
    if varied(of[method]) then
      kept[method] = of[method]
      out.columns[#out.columns + 1] = method
      out.cells[#out.columns] = column_of(of[method], list, out.complete)
    end
  end
  local all = pooled(kept)
  out.columns[#out.columns + 1] = POOLED
  out.cells[#out.columns] = column_of(all, list, out.complete)
  out.design = {}
  for i, cell in ipairs(all) do out.design[i] = cell.row end
  return out
end

-- ------------------------------------------------------------------ methods over cells

-- Method -> seed -> row as text -> log value, or false where the run diverged.
local function by_row(of)
  local out = {}
  for method, cells in pairs(of) do
    out[method] = {}
    for _, cell in ipairs(cells) do
      local rows = out[method][cell.seed] or {}
      out[method][cell.seed], rows[table.concat(cell.row, " ")] = rows, cell.value or false
    end
  end
  return out
end

-- The log ratio of two methods, averaged over the cells that they share, by seed.
local function ratios(mine, other)
  local out, lost = {}, 0
  for seed, rows in pairs(mine or {}) do
    local sum, n, whole = 0, 0, true
    for row, value in pairs(rows) do
      local against = (other[seed] or {})[row]
      if against ~= nil then
        if value and against then sum, n = sum + value - against, n + 1 else whole = false end
      end
    end
    if not whole then lost = lost + 1 elseif n > 0 then out[seed] = sum / n end
  end
  return out, lost
end

local function add_ratios(out, part, spec, column)
  local found = {}
  for _, N in ipairs(spec.steps) do
    local of = by_row(cells_of(part, { metric = spec.metric, N = N }, spec.factors))
    for _, method in ipairs(spec.compared) do
      local values, lost = ratios(of[method], of[spec.against] or {})
      local it = effects.of_seeds(values) or { lost = lost > 0 and "diverged" or "–", count = lost,
        n = lost }
      it.missing = lost
      found[#found + 1] = it
    end
  end
  adjust(found)
  out.cells[column] = found
end

-- The runs of a set with some settings, none perhaps.
local function part_of(set, where)
  local part = { runs = {}, diverged = {} }
  for _, field in ipairs { "runs", "diverged" } do
    for _, run in ipairs(set[field]) do
      if has(run.config, where) then table.insert(part[field], run) end
    end
  end
  return part
end

--- The ratio of each method to a reference, averaged over the cells of a design that both have.
-- @tparam Set set
-- @tparam table spec {metric=, steps=, against= (the reference method), factors= (their levels tell
--   the cells of a seed apart), parts= { { label, where }, ... } (selections of runs, by settings)}
-- @treturn table as `factors` returns, with kind = "ratio"
function M.methods(set, spec)
  local out = { rows = {}, columns = {}, cells = {}, kind = "ratio", complete = true }
  local compared = {}
  for _, method in ipairs(set:traced_methods()) do
    if method ~= spec.against then compared[#compared + 1] = method end
  end
  for _, N in ipairs(spec.steps) do
    for _, method in ipairs(compared) do
      out.rows[#out.rows + 1] = ("%s / %s, N = %d"):format(method, spec.against, N)
    end
  end
  local full = setmetatable({ compared = compared }, { __index = spec })
  for i, part in ipairs(spec.parts) do
    out.columns[i] = part[1]
    add_ratios(out, part_of(set, part[2]), full, i)
  end
  return out
end

--- The estimates by kind of render entry.
M.of_kind = { effects = M.factors, ratios = M.methods }

-- ------------------------------------------------------------------ words

local function each_cell(out, visit)
  for j, column in ipairs(out.columns) do
    for i, row in ipairs(out.rows) do
      local it = out.cells[j][i]
      if it and it.p then visit(it, row, column) end
    end
  end
end

local function extremes(out, value)
  local low, high
  each_cell(out, function(it)
    local v = value(it)
    low, high = math.min(low or v, v), math.max(high or v, v)
  end)
  return low, high
end

local function seeds_text(low, high)
  if low == high then return ("%d seed%s"):format(low, low == 1 and "" or "s") end
  return ("%d to %d seeds"):format(low, high)
end

-- How p was computed, and how small it can be.
local function test_note(out)
  local few, many = extremes(out, function(it) return it.n end)
  if not few then return "Nothing could be estimated: runs diverged or are too few." end
  local family = select(2, extremes(out, function(it) return it.family end))
  if not out.complete then
    local df = select(2, extremes(out, function(it) return it.df end))
    return ("Least squares over the differences of mirror-image cells within %s (%d degrees of "
      .. "freedom); p of the t test after Holm over the %d effects of a column."):format(
      seeds_text(few, many), df, family)
  end
  local smallest = extremes(out, function(it) return it.smallest end)
  local text = ("Means over %s; p is the two-sided sign-flip p of one value per seed after "
    .. "Holm over the %d rows of a column. The smallest p that %s allow%s is %s, after Holm "
    .. "%s"):format(seeds_text(few, many), family, seeds_text(many, many), many == 1 and "s" or "",
    paired.p_text(smallest),
    paired.p_text(math.min(1, smallest * family)))
  if smallest * family <= ALPHA then return text .. "." end
  local n = many
  while paired.smallest_p(n) * family > ALPHA do n = n + 1 end
  return ("%s: nothing can be shown at level %g with fewer than %d seeds."):format(text, ALPHA, n)
end

-- The differences that the data support, column by column.
local function verdict_note(out)
  local parts, last, count = {}, nil, 0
  each_cell(out, function(it, row, column)
    count = count + 1
    if it.holm > ALPHA then return end
    local text = ("%s (%s)"):format(row, it.mean < 0 and "lower" or "higher")
    if last == column then
      parts[#parts] = parts[#parts] .. "; " .. text
    else
      parts[#parts + 1] = ("%s: %s"):format(column, text)
    end
    last = column
  end)
  if count == 0 then return nil end
  if #parts == 0 then return ("At level %g no difference is shown."):format(ALPHA) end
  return ("Shown at level %g. %s. No other difference is shown."):format(ALPHA,
    table.concat(parts, ". "))
end

local MOST_NAMED = 9 -- pairs of confounded interactions

-- The interactions that a fraction confounds.
local function design_note(out)
  if not out.design or out.complete then return nil end
  local pairs_of, distinct = design.aliases(out.design), {}
  for _, row in ipairs(out.design) do distinct[table.concat(row, " ")] = true end
  local parts, full = {}, 0
  for _, it in ipairs(pairs_of) do
    if math.abs(it[3]) > 0.999 then
      local words = {}
      for side = 1, 2 do
        words[side] = ("%s x %s"):format(out.names[it[side][1]], out.names[it[side][2]])
      end
      full = full + 1
      parts[full] = ("%s with %s"):format(words[1], words[2])
    end
  end
  local text = ("The design has %d of the 2^%d cells and the resolution %d"):format(
    #tree.keys(distinct), #out.names, design.resolution(out.design) or #out.names + 1)
  if full > 0 and full <= MOST_NAMED then
    text = text .. "; interactions confounded with one another: " .. table.concat(parts, ", ")
  elseif #pairs_of > 0 then
    text = ("%s; %d pairs of interactions are %s confounded"):format(text, #pairs_of,
      full > 0 and "partly or fully" or "partly")
  end
  return text .. "."
end

-- How many seeds an effect of 10 % needs at the spread found here.
local function seeds_note(out)
  local sds = {}
  each_cell(out, function(it) sds[#sds + 1] = it.sd end)
  if #sds == 0 then return nil end
  local sd, family = stats.quantile(sds, 0.5), select(2, extremes(out, function(it)
    return it.family
  end))
  local function seeds(questions)
    return power.seeds { difference = math.log(1.1), spread = sd / math.sqrt(2), correlation = 0,
      questions = questions } or "over 10,000"
  end
  return ("The standard deviation of one seed's log ratio is %.2g (median); to show a ratio of 1.1 "
    .. "with probability 80 %% takes %s seeds, or %s in a family of %d."):format(sd, seeds(1),
    seeds(family), family)
end

local function lost_note(out)
  local parts = {}
  for j, column in ipairs(out.columns) do
    local most = 0
    for i in ipairs(out.rows) do most = math.max(most, (out.cells[j][i] or {}).missing or 0) end
    if most > 0 then parts[#parts + 1] = ("%s: up to %d"):format(column, most) end
  end
  if #parts == 0 then return nil end
  return ("Seeds left out because a run that is needed diverged or is missing: %s."):format(
    table.concat(parts, "; "))
end

--- Notes below a table of effects.
-- @tparam table out what `factors` or `methods` returns
-- @treturn {string,...}
function M.notes(out)
  local notes = {}
  for _, note in ipairs { test_note, verdict_note, seeds_note, design_note, lost_note } do
    notes[#notes + 1] = note(out)
  end
  return notes
end

--- The rows of a table of effects, for flowmap.report.table: the log ratio and its p.
-- @tparam table out what `factors` or `methods` returns
-- @treturn {table,...}
function M.rows(out)
  local rows = {}
  for i, name in ipairs(out.rows) do
    local values, ps = {}, {}
    for j in ipairs(out.columns) do
      values[j] = out.cells[j][i]
      ps[j] = values[j] and values[j].holm
    end
    rows[#rows + 1] = { heads = { name, "log ratio" }, cells = values }
    rows[#rows + 1] = { heads = { name, "p" }, cells = ps, format = "%.2g" }
  end
  return rows
end

local function index_of(list, name, what)
  for i, text in ipairs(list) do
    if text:lower() == name:lower() then return i end
  end
  errors.data("there is no %s '%s'%s", what, name, errors.near(name, list))
end

--- One cell as a sentence for prose.
-- @tparam table out what `factors` or `methods` returns
-- @tparam string row
-- @tparam string column
-- @tparam[opt="%.2f"] string format of the ratio
-- @treturn string without a full stop
function M.sentence(out, row, column, format)
  local i, j = index_of(out.rows, row, "row"), index_of(out.columns, column, "column")
  local it, what = out.cells[j][i], ("%s (%s)"):format(out.rows[i], out.columns[j])
  if not (it and it.p) then
    return ("%s: not estimated, because runs diverged or are too few"):format(what)
  end
  format = format or "%.2f"
  local interval = it.half and (", 95 %% interval %s to %s"):format(
    format:format(math.exp(it.mean - it.half)), format:format(math.exp(it.mean + it.half))) or ""
  local facts = ("ratio %s%s, p = %s after Holm over %d, %d paired seed%s"):format(
    format:format(math.exp(it.mean)), interval, paired.p_text(it.holm), it.family, it.n,
    it.n == 1 and "" or "s")
  if it.holm > ALPHA then
    local best = it.smallest and it.smallest * it.family or 0
    local why = best > ALPHA and (", which cannot give p below %s"):format(
      paired.p_text(math.min(1, best))) or ""
    return ("%s: no difference shown, %s%s"):format(what, facts, why)
  end
  return ("%s: %s, %s"):format(what, it.mean < 0 and "lower" or "higher", facts)
end

return M
