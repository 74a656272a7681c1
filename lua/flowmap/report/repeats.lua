--- Tables of what repeating a run tells: the spread from seed to seed, and the processor time.
-- @module flowmap.report.repeats

local axes = require "flowmap.report.axis"
local effects = require "flowmap.measure.effects"
local measured = require "flowmap.report.measured"
local power = require "flowmap.measure.power"
local settings = require "flowmap.experiment.settings"
local stats = require "flowmap.measure.stats"
local tree = require "flowmap.tree"

local M = {}

-- The settings of a run without its seed, as text.
local function cell_of(run)
  local words = {}
  for i, key in ipairs(tree.keys(run.config)) do
    words[i] = key == "seed" and "" or settings.text(run.config[key])
  end
  return table.concat(words, " ")
end

-- The logs of a method's finite positive values, one list per cell.
local function logs_of(set, metric, N)
  local groups = {}
  for _, run in ipairs(set.runs) do
    local value = measured.by_seed({ runs = { run } }, metric, N)[run:field("config", "seed")]
    if value and axes.finite(value) and value > 0 then
      local cell = cell_of(run)
      groups[cell] = groups[cell] or {}
      table.insert(groups[cell], math.log(value))
    end
  end
  local list = {}
  for i, cell in ipairs(tree.keys(groups)) do list[i] = groups[cell] end
  return list
end

--- The relative standard deviation from seed to seed within cells, and the seeds per method with
-- which an unpaired comparison finds a difference of 10 %.
-- @tparam Set set
-- @tparam table spec {metric=, steps=, questions= (in one family, default 1)}
-- @treturn table { heads =, columns =, rows =, notes = }, see flowmap.report.table
function M.spread(set, spec)
  local out = { heads = { "method", "" }, columns = {}, rows = {}, notes = {} }
  local questions, freedom = spec.questions or 1, 0
  for i, N in ipairs(spec.steps) do out.columns[i] = "N = " .. N end
  for _, method in ipairs(set:methods()) do
    local part, sds, one, all = set:select { method = method }, {}, {}, {}
    for i, N in ipairs(spec.steps) do
      local sd, df = effects.spread(logs_of(part, spec.metric, N))
      freedom = math.max(freedom, df)
      if sd then
        sds[i] = 100 * sd
        one[i] = power.seeds { difference = 0.1, spread = sd }
        all[i] = power.seeds { difference = 0.1, spread = sd, questions = questions }
      end
    end
    out.rows[#out.rows + 1] = { heads = { method, "spread in %" }, cells = sds, format = "%.1f" }
    out.rows[#out.rows + 1] = { heads = { method, "seeds for 10 %" }, cells = one,
      format = "%.0f" }
    if questions > 1 then
      out.rows[#out.rows + 1] = { heads = { method, ("of %d questions"):format(questions) },
        cells = all, format = "%.0f" }
    end
  end
  out.notes[1] = ("Spread: the standard deviation of the log of the value over seeds, pooled over "
    .. "cells of equal settings (up to %d degrees of freedom). Seeds: per method, for a two-sided "
    .. "t test at level 0.05 that finds a difference of 10 %% with probability 80 %%."):format(
    freedom)
  if freedom == 0 then out.notes[2] = "–: no spread without two runs of equal settings." end
  return out
end

-- The processor milliseconds per step of the runs with some settings; nil where none is recorded.
local function milliseconds(runs)
  local list = {}
  for _, run in ipairs(runs) do
    local seconds = run.manifest.cpu_s
    if seconds then list[#list + 1] = 1000 * seconds / run:field("manifest", "steps") end
  end
  return #list > 0 and stats.quantile(list, 0.5) or nil
end

local function value_of(run, key)
  if key == "method" then return run:method() end
  return settings.text(run:field("config", key))
end

-- The finished runs with some settings, none perhaps.
local function runs_with(set, where)
  local out = {}
  for _, run in ipairs(set.runs) do
    local all = true
    for key, value in pairs(where) do
      local wanted = key == "method" and value:upper() or settings.text(value)
      all = all and value_of(run, key) == wanted
    end
    if all then out[#out + 1] = run end
  end
  return out
end

-- Groups of runs by the values of some settings, in the order of their texts.
local function grouped(set, keys)
  local groups, order = {}, {}
  for _, method in ipairs(set:methods()) do
    local found = {}
    for _, run in ipairs(set:select({ method = method }).runs) do
      local heads = {}
      for i, key in ipairs(keys) do heads[i] = value_of(run, key) end
      local name = table.concat(heads, " ")
      found[name] = found[name] or { heads = heads, runs = {} }
      table.insert(found[name].runs, run)
    end
    for _, name in ipairs(tree.keys(found)) do
      order[#order + 1], groups[name] = name, found[name]
    end
  end
  return groups, order
end

--- Processor time per step of training, and its ratio to that of some runs.
-- @tparam Set set
-- @tparam table spec {rows= settings by which the runs are grouped, reference= the settings of the
--   runs that count as 1}
-- @treturn table see `spread`
function M.cost(set, spec)
  local groups, order = grouped(set, spec.rows)
  local out = { heads = spec.rows, columns = { "ms per step", "ratio" }, rows = {},
    format = "%.2f", notes = {} }
  -- A rehearsal states no times, so that it gives the same bytes wherever and whenever it is made.
  local first = set.runs[1]
  local rehearsal = first and first:field("config", "profile") == "smoke"
  local unit = milliseconds(rehearsal and {} or runs_with(set, spec.reference))
  for _, name in ipairs(order) do
    local it = groups[name]
    local cost = milliseconds(rehearsal and {} or it.runs)
    out.rows[#out.rows + 1] = { heads = it.heads,
      cells = { cost, unit and cost and cost / unit } }
  end
  out.notes[1] = "Processor seconds of the training over its steps, all threads together, median "
    .. "over the runs; the evaluation does not count."
    .. (rehearsal and " Not stated for a rehearsal." or "")
  return out
end

return M
