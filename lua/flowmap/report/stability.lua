--- Stability of trainings as some settings of two values are switched: explosions, the law of the
-- gradient's norm, the angle between the gradients of both terms, and a result; by cell, and as
-- effects of the switches.
--
-- A training explodes at the first line of metrics.jsonl whose mean off-diagonal loss exceeds a
-- hundred times the median of the lines before, of which there must be 20, or where its values
-- cease to be finite.
-- @module flowmap.report.stability

local axes = require "flowmap.report.axis"
local effects = require "flowmap.measure.effects"
local errors = require "flowmap.base.errors"
local paired = require "flowmap.measure.paired"
local results = require "flowmap.report.results"
local stats = require "flowmap.measure.stats"

local M = {}

local FACTOR, LEAST = 100, 20 -- times the median of at least so many lines
local ALPHA = 0.05

-- ------------------------------------------------------------------ one run

-- Insert into a sorted list.
local function insert(sorted, value)
  local low, high = 1, #sorted + 1
  while low < high do
    local middle = (low + high) // 2
    if sorted[middle] < value then low = middle + 1 else high = middle end
  end
  table.insert(sorted, low, value)
end

--- The step at which a training explodes.
-- @tparam {table,...} lines of metrics.jsonl
-- @treturn ?integer
function M.explosion(lines)
  local sorted = {}
  for _, line in ipairs(lines) do
    if #sorted >= LEAST and line.off > FACTOR * sorted[(#sorted + 1) // 2] then
      return line.step
    end
    insert(sorted, line.off)
  end
end

local function column(lines, field)
  local values = {}
  for _, line in ipairs(lines) do
    if axes.finite(line[field]) then values[#values + 1] = line[field] end
  end
  return values
end

--- Summarise the trace of a run.
-- @tparam Run run finished or diverged
-- @treturn table { exploded = step or nil, median, high, most = of the gradient's norm (99 %, all),
--   cosine = mean over the training or nil }; the norms are nil without a line
function M.of(run)
  local lines = run:metrics()
  local norms, cosines = column(lines, "grad_norm"), column(lines, "grad_cos")
  local out = { exploded = M.explosion(lines) or run.diverged and run.diverged.step or nil }
  if #norms > 0 then
    out.median, out.high = stats.quantile(norms, 0.5), stats.quantile(norms, 0.99)
    out.most = stats.quantile(norms, 1)
  end
  if #cosines > 0 then out.cosine = stats.summary(cosines).mean end
  return out
end

-- ------------------------------------------------------------------ cells

-- All settings of the switches: { { key = value }, ... }, the first with all of them off. The last
-- switch changes fastest.
local function points_of(switches)
  local points = {}
  for k = 0, (1 << #switches) - 1 do
    points[k + 1] = {}
    for j, it in ipairs(switches) do
      points[k + 1][it.key] = (k >> (#switches - j)) & 1 == 1 and it.on or it.off
    end
  end
  return points
end

-- The setting with the given switch on and the others off; without one, all off.
local function switched(switches, j)
  local point = {}
  for i, it in ipairs(switches) do point[it.key] = i == j and it.on or it.off end
  return point
end

local function matches(run, point)
  for key, value in pairs(point) do
    if run:field("config", key) ~= value then return false end
  end
  return true
end

-- Several tables and figures are about the same trainings, and traces are long to read.
local known = setmetatable({}, { __mode = "k" }) -- run -> what M.of returns

-- A copy of what M.of returns.
local function law_of(run)
  known[run] = known[run] or M.of(run)
  local copy = {}
  for key, value in pairs(known[run]) do copy[key] = value end
  return copy
end

-- The runs at a point by seed: seed -> what M.of returns, with the result where there is one.
local function cell_of(set, point, spec)
  local seeds, count = {}, 0
  for _, runs in ipairs { set.runs, set.diverged } do
    for _, run in ipairs(runs) do
      if matches(run, point) then
        local it = law_of(run)
        it.result = not run.diverged and run:value(spec.metric, spec.N) or nil
        seeds[run:field("config", "seed")], count = it, count + 1
      end
    end
  end
  return count > 0 and { seeds = seeds, count = count, point = point } or nil
end

-- All cells that have runs.
local function cells_of(set, spec)
  local cells = {}
  for _, point in ipairs(points_of(spec.switches)) do
    cells[#cells + 1] = cell_of(set, point, spec)
  end
  return cells
end

-- The cell at a point; nil without runs.
local function find(cells, point)
  for _, cell in ipairs(cells) do
    local same = true
    for key, value in pairs(point) do same = same and cell.point[key] == value end
    if same then return cell end
  end
end

local function values(cell, f)
  local list = {}
  for _, it in pairs(cell.seeds) do list[#list + 1] = f(it) end
  return list
end

local function explosions_text(cell)
  local steps = values(cell, function(it) return it.exploded end)
  if #steps == 0 then return { text = ("none of %d"):format(cell.count), mean = 0 } end
  return { mean = #steps / cell.count, text = ("%d of %d, from step %s"):format(#steps, cell.count,
    results.grouped(math.min(table.unpack(steps)))) }
end

-- The geometric mean over seeds.
local function typical(cell, field)
  local logs = values(cell, function(it) return it[field] and math.log(it[field]) end)
  if #logs == 0 then return nil end
  local mean = math.exp(stats.summary(logs).mean)
  return { mean = mean, text = ("%.2g"):format(mean) }
end

-- Mean and half width over the seeds that have the value; how many, if not all.
local function mean_text(cell, field, format)
  local list = values(cell, function(it) return it[field] end)
  if #list == 0 then return nil end
  local it = stats.summary(list)
  local text = format:format(it.mean) .. (it.half and " ± " .. format:format(it.half) or "")
  if #list < cell.count then text = ("%s (%d of %d)"):format(text, #list, cell.count) end
  return { mean = it.mean, half = it.half, n = it.n, text = text }
end

local function keys_of(switches)
  local keys = {}
  for j, it in ipairs(switches) do keys[j] = it.key end
  return keys
end

--- The table of all cells.
-- @tparam Set set
-- @tparam table spec { switches = { { key =, off =, on = }, ... }, metric =, N = of the result,
--   label = of the result, title = }
-- @treturn table a description for flowmap.report.table
function M.cells(set, spec)
  local t = { title = spec.title, heads = keys_of(spec.switches), rows = {}, columns = {
    "exploded", "gradient: median", "99 %", "largest", "cosine", spec.label }, notes = {
    ("Exploded: the mean off-diagonal loss of a line of metrics.jsonl exceeded %d times the median "
    .. "of the lines before, of which there were at least %d, or was not finite. Gradient: "
    .. "quantiles over a training of its norm, each a mean over log_every steps, before clipping; "
    .. "geometric means over seeds. Cosine: between the gradients of the diagonal and the "
    .. "off-diagonal term, mean over the training."):format(FACTOR, LEAST) } }
  for _, cell in ipairs(cells_of(set, spec)) do
    local heads = {}
    for j, it in ipairs(spec.switches) do heads[j] = tostring(cell.point[it.key]) end
    t.rows[#t.rows + 1] = { heads = heads, cells = { explosions_text(cell),
      typical(cell, "median"), typical(cell, "high"), typical(cell, "most"),
      mean_text(cell, "cosine", "%.2f"), mean_text(cell, "result", "%.3g") } }
  end
  return t
end

-- ------------------------------------------------------------------ effects

-- The outcomes: name, and the number that a run has; nil: it ended before its first line, or no run
-- has a result. The result of a run that has none is the worst of all.
local function outcomes_of(cells)
  local worst
  for _, cell in ipairs(cells) do
    for _, it in pairs(cell.seeds) do
      worst = it.result and math.max(worst or it.result, it.result) or worst
    end
  end
  return {
    { "explosions", function(it) return it.exploded and 1 or 0 end },
    { "log10 largest / median gradient", function(it)
      return it.most and math.log(it.most / it.median, 10) or nil
    end },
    { "log10 result", function(it) return worst and math.log(it.result or worst, 10) or nil end },
  }
end

-- The value of every run with the levels of its switches, for flowmap.measure.effects.
local function designed(cells, switches, f)
  local out = {}
  for _, cell in ipairs(cells) do
    local row = {}
    for j, it in ipairs(switches) do row[j] = cell.point[it.key] == it.on and 1 or -1 end
    for seed, it in pairs(cell.seeds) do
      out[#out + 1] = { seed = seed, row = row, value = f(it) }
    end
  end
  return out
end

local function effect_text(it)
  local text = ("%.2f"):format(it.mean)
  if it.half then
    text = ("%s ± %.2f"):format(text, it.half)
  end
  return { mean = it.mean, half = it.half, n = it.n, text = text }
end

-- The rows of one kind of effects, named `kind`; p is after Holm over them, for each outcome.
local function effect_rows(cells, switches, outcomes, list, kind)
  local rows = {}
  for i, effect in ipairs(list) do rows[i] = { cells = {}, heads = { kind, effect.name } } end
  for k, outcome in ipairs(outcomes) do
    local ps, found, all = {}, {}, designed(cells, switches, outcome[2])
    for i, effect in ipairs(list) do
      local it = effects.of_seeds(effects.contrasts(all, effect))
      if it then
        rows[i].cells[2 * k - 1] = effect_text(it)
        ps[#ps + 1], found[#found + 1] = it.p, rows[i]
      end
    end
    for i, p in ipairs(paired.holm(ps)) do
      found[i].cells[2 * k] = { mean = p, text = paired.p_text(p) }
    end
  end
  return rows
end

-- "a, b" or "none"
local function listed(list) return #list > 0 and table.concat(list, ", ") or "none" end

-- Which switches alone end the explosions, in words.
local function verdict(cells, rows, switches)
  local base = cells[1]
  local exploded = #values(base, function(it) return it.exploded end)
  local name = "The cell with all switches off"
  if exploded == 0 then
    return ("%s exploded in none of its seeds (%d): there was nothing to cure.")
      :format(name, base.count)
  end
  local clean, shown = {}, {}
  for j, it in ipairs(switches) do
    local words = ("%s = %s"):format(it.key, tostring(it.on))
    local alone = find(cells, switched(switches, j))
    if alone and #values(alone, function(x) return x.exploded end) == 0 then
      clean[#clean + 1] = words
    end
    local effect, p = rows[j].cells[1], rows[j].cells[2]
    if p and p.mean <= ALPHA and effect.mean < 0 then shown[#shown + 1] = words end
  end
  return ("%s exploded in %d of %d seeds. No seed exploded with one switch alone: %s. Fewer "
    .. "explosions are shown at level %g for: %s."):format(name, exploded, base.count,
    listed(clean), ALPHA, listed(shown))
end

local function effects_note(base, count)
  return ("Differences on minus off, paired over seeds, with 95 %% intervals; a training without a "
    .. "result counts as the worst of all. p is the two-sided sign-flip p after Holm over the %d "
    .. "effects from the cell with all switches off, or the %d on average, for each outcome. With "
    .. "%d seed%s it is %s at the least before Holm."):format(count + 1, count, base.count,
    base.count == 1 and "" or "s", paired.p_text(paired.smallest_p(base.count)))
end

--- The effects of the switches: each alone, and all together, from the cell where all are off; and
-- on average over the others, if all cells have runs.
-- @tparam Set set
-- @tparam table spec as for `cells`
-- @treturn table a description for flowmap.report.table
function M.effects(set, spec)
  local cells, switches = cells_of(set, spec), spec.switches
  local base = find(cells, switched(switches))
  if not base then errors.data("%s has no run with all switches off", set.root) end
  local outcomes, names = outcomes_of(cells), {}
  for j, it in ipairs(switches) do
    names[j] = ("%s = %s"):format(it.key, tostring(it.on))
  end
  local t = { title = spec.title, heads = { "effect", "switch" }, columns = {} }
  for k, outcome in ipairs(outcomes) do
    t.columns[2 * k - 1], t.columns[2 * k] = outcome[1], "p"
  end
  t.rows = effect_rows(cells, switches, outcomes, effects.alone(names), "from all off")
  t.notes = { verdict(cells, t.rows, switches), effects_note(base, #switches) }
  if #cells == 1 << #switches then
    local more = effect_rows(cells, switches, outcomes, effects.factorial(names), "on average")
    table.move(more, 1, #more, #t.rows + 1, t.rows)
  end
  return t
end

-- ------------------------------------------------------------------ traces

local BINS = 150

-- The largest off-diagonal loss of each of at most BINS equal parts of a training.
local function peaks(run)
  local lines, rows = run:metrics(), {}
  local per = math.max(1, math.ceil(#lines / BINS))
  for i, line in ipairs(lines) do
    local k = (i - 1) // per + 1
    rows[k] = { line.step / 1000, math.max(rows[k] and rows[k][2] or 0, line.off) }
  end
  return rows
end

-- "a = b, c = d" of some switches at a point.
local function words(point, switches, first, last)
  local parts = {}
  for j = first, last do
    local key = switches[j].key
    parts[#parts + 1] = ("%s = %s"):format(key, tostring(point[key]))
  end
  return table.concat(parts, ", ")
end

-- The run with the lowest seed at a point.
local function first_run(set, point)
  local first
  for _, runs in ipairs { set.runs, set.diverged } do
    for _, run in ipairs(runs) do
      if matches(run, point) and (not first
        or run:field("config", "seed") < first:field("config", "seed")) then
        first = run
      end
    end
  end
  return first
end

--- The off-diagonal loss of every cell in training, lowest seed: a panel per setting of the first
-- half of the switches, a line per setting of the others.
-- @tparam Set set
-- @tparam table spec { switches = }
-- @treturn table panels, see flowmap.report.gnuplot
function M.traces(set, spec)
  local panels, half = {}, math.ceil(#spec.switches / 2)
  local lines = 1 << (#spec.switches - half)
  for k, point in ipairs(points_of(spec.switches)) do
    local run, colour = first_run(set, point), (k - 1) % lines + 1
    if colour == 1 then
      panels[#panels + 1] = { title = words(point, spec.switches, 1, half), ylog = true,
        xlabel = "steps (thousands)", ylabel = "mean |r|^2", xzero = "always", series = {} }
    end
    local name = words(point, spec.switches, half + 1, #spec.switches)
    table.insert(panels[#panels].series, run and { kind = "line", key = name, label = name,
      rows = peaks(run), colour = ({ 7, 6, 4, 2 })[colour], width = 1 } or nil)
  end
  return { columns = 2, width = 320, height = 190, panels = panels }
end

return M
