--- Means over seeds for tables and figures, in which a value may be missing or not finite.
-- @module flowmap.report.measured

local axes = require "flowmap.report.axis"

local M = {}

-- A run's value at N steps, or nil if the record has none.
local function value_of(run, metric, N)
  for _, row in ipairs(run:field("eval", "rows")) do
    if row.N == N then return row[metric] end
  end
  return nil
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

--- The summary over seeds, see Set:summary. If a value is not finite, or missing in some of the
-- runs, there is no mean: the mean of the remaining seeds would make the method look better than it
-- is.
-- @tparam Set set
-- @tparam string metric
-- @tparam integer N
-- @treturn table a summary, or { lost = "diverged" or "–", count = runs affected, n = all runs }
function M.summary(set, metric, N)
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

return M
