--- Means over seeds for tables and figures, in which a value may be missing or not finite.
-- @module flowmap.report.measured

local axes = require "flowmap.report.axis"
local results = require "flowmap.report.results"
local tree = require "flowmap.tree"

local M = {}

-- A run's value at N steps, or nil if the record has none.
local function value_of(run, metric, N)
  local row = run:row(N)
  return row and row[metric]
end

--- The mean number of evaluations of the network per sample, where the sampler of all runs of a set
-- chose its steps; nil otherwise.
-- @tparam Set set
-- @treturn ?number
function M.evaluations(set)
  local sum = 0
  for _, run in ipairs(set.runs) do
    if not run:is_adaptive() then return nil end
    local row = run:row "adaptive"
    sum = sum + (row.nfe_used or row.N)
  end
  return #set.runs > 0 and sum / #set.runs or nil
end

--- Whether any run has the metric at any number of steps.
-- @tparam table set { runs = {...} }
-- @tparam string metric
-- @treturn boolean
function M.known(set, metric)
  for _, run in ipairs(set.runs) do
    for _, row in ipairs(run:field("eval", "rows")) do
      if row[metric] ~= nil then return true end
    end
  end
  return false
end

--- The summary over seeds, see Set:summary. If a training diverged, or a value is not finite or
-- missing in some of the runs, there is no mean: the mean of the remaining seeds would make the
-- method look better than it is.
-- @tparam Set set
-- @tparam string metric
-- @tparam integer N
-- @treturn table a summary, or { lost = "diverged", "diverged at 12,345" (the step) or "–",
--   count = runs affected, n = all runs }
function M.summary(set, metric, N)
  local ended = #set.diverged
  if ended > 0 then
    return { lost = results.diverged_at(set.diverged), count = ended, n = ended + #set.runs }
  end
  local diverged, absent = 0, 0
  for _, run in ipairs(set.runs) do
    local value = value_of(run, metric, N)
    if value == nil then
      absent = absent + 1
    elseif type(value) == "number" and not axes.finite(value) then
      diverged = diverged + 1
    end
  end
  if diverged + absent == 0 or not M.known(set, metric) then return set:summary(metric, N) end
  local lost = diverged > 0 and "diverged" or "–"
  return { lost = lost, count = diverged > 0 and diverged or absent, n = #set.runs }
end

--- The summaries at several numbers of steps.
-- @tparam Set set
-- @tparam string metric
-- @tparam {integer,...} steps
-- @treturn {table,...}
function M.summaries(set, metric, steps)
  local cells = {}
  for i, N in ipairs(steps) do cells[i] = M.summary(set, metric, N) end
  return cells
end

--- The values of a set's runs by seed. All runs must share one configuration, see Set:summary.
-- @tparam Set set
-- @tparam string metric
-- @tparam integer N
-- @treturn {[integer]=number} values, not all of them finite; false where a run has none
function M.by_seed(set, metric, N)
  local values = {}
  for _, run in ipairs(set.runs) do
    values[run:field("config", "seed")] = value_of(run, metric, N) or false
  end
  return values
end

--- One run's value as text.
-- @tparam Run run
-- @tparam string metric
-- @tparam integer N
-- @tparam string format for a finite value
-- @treturn string the number, "diverged" or "–"
function M.text(run, metric, N, format)
  local value = value_of(run, metric, N)
  if value == nil and not M.known({ runs = { run } }, metric) then value = run:value(metric, N) end
  if value == nil then return "–" end
  return axes.finite(value) and format:format(value) or "diverged"
end

-- The runs that ended without a result, except those whose end is the result.
local function interrupted(set)
  local left, names = {}, {}
  for _, run in ipairs(set.diverged) do left[run.dir:match "[^/]*$"] = true end
  for _, name in ipairs(set.unfinished) do
    if not left[name] then names[#names + 1] = name end
  end
  return names
end

--- The provenance of our rows, as notes below a table; no number is printed without it.
-- @tparam Set set
-- @treturn {string,...}
function M.provenance(set)
  local known = #set.runs > 0 and set:provenance() or "no run has results; " .. set:signature()
  local notes, names, diverged = { "Ours: " .. known .. "." }, interrupted(set), {}
  if #names > 0 then
    notes[2] = "Unfinished and not included: " .. table.concat(names, ", ") .. "."
  end
  for k, run in ipairs(set.diverged) do
    diverged[k] = ("%s, seed %s, at step %d of %d"):format(run:method(),
      run:field("config", "seed"), run.diverged.step, run:field("config", "steps"))
  end
  if #diverged > 0 then
    notes[#notes + 1] = "Diverged: " .. table.concat(diverged, "; ") .. "."
  end
  return notes
end

-- The values of a field over the runs of a set, including diverged ones.
local function values_of(set, field)
  if field == "method" then return set:traced_methods() end
  local seen = {}
  for _, value in ipairs(set:distinct(field)) do seen[value] = true end
  for _, run in ipairs(set.diverged) do seen[run:text_of(field)] = true end
  return tree.keys(seen)
end

-- The combinations from the field number `depth` on.
local function each_combination(set, fields, depth, heads, visit)
  local field = fields[depth]
  if not field then return visit(set, heads) end
  for _, value in ipairs(values_of(set, field)) do
    local deeper = table.move(heads, 1, #heads, 1, {})
    deeper[depth] = tostring(value)
    each_combination(set:select { [field] = value }, fields, depth + 1, deeper, visit)
  end
end

--- Visit every combination of values of some config fields that has runs, in order.
-- @tparam Set set
-- @tparam {string,...} fields
-- @tparam function visit called with the runs of a combination and its values as text
function M.each_combination(set, fields, visit) each_combination(set, fields, 1, {}, visit) end

return M
