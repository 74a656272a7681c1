--- Tables of one setting switched: its values below each other, and their paired differences.
-- @module flowmap.report.switch

local comparison = require "flowmap.report.comparison"
local errors = require "flowmap.base.errors"
local measured = require "flowmap.report.measured"
local tree = require "flowmap.tree"

local M = {}

-- The values of a setting over the runs of a set, including diverged ones: value -> true.
local function values_of(set, key)
  local seen = {}
  for _, list in ipairs { set.runs, set.diverged } do
    for _, run in ipairs(list) do seen[run:field("config", key)] = true end
  end
  return seen
end

-- The runs of a set with a value of a setting; nil if there are none.
local function with_value(set, key, value)
  return values_of(set, key)[value] and set:select { [key] = value } or nil
end

-- The value of the setting that the others are compared with: the one named, or the first.
local function reference_value(values, spec)
  if not spec.against then return values[1] end
  for _, value in ipairs(values) do
    if tostring(value) == spec.against then return value end
  end
  errors.usage("table '%s': no run has %s = %s", spec.title, spec.switch, spec.against)
end

local function joined(heads, last)
  local out = table.move(heads, 1, #heads, 1, {})
  out[#out + 1] = last
  return out
end

-- Add the rows of one combination, unless the setting has one value in it; `how` = { metric =,
-- switch =, steps =, values =, base = }.
local function add_switch(t, cases, part, heads, how)
  if #tree.keys(values_of(part, how.switch)) < 2 then return end
  local reference, later = with_value(part, how.switch, how.base), {}
  for _, value in ipairs(how.values) do
    local side = with_value(part, how.switch, value)
    if side then
      t.rows[#t.rows + 1] = { heads = joined(heads, tostring(value)),
        cells = measured.summaries(side, how.metric, how.steps) }
    end
    if side and reference and value ~= how.base then
      local name = table.concat(heads, ", ")
      if #how.values > 2 then
        name = ("%s, %s = %s"):format(name, how.switch, tostring(value))
      end
      local case = { name = name, a = side, b = reference }
      cases[#cases + 1] = case
      later[#later + 1] = { case = case, cells = "cells", heads = joined(heads,
        ("%s minus %s"):format(tostring(value), tostring(how.base))) }
      later[#later + 1] = { case = case, cells = "ps", heads = joined(heads, "p"),
        format = "%.2g" }
    end
  end
  table.move(later, 1, #later, #t.rows + 1, t.rows)
end

--- A table of one metric against the number of steps as one setting changes: for each combination
-- of the rows the values of the setting, and their paired differences from one of them. A
-- combination with one value has no rows.
-- @tparam Set set
-- @tparam table spec {metric=, title=, switch= the setting, against= (the value that differences
--   are taken from, as text; default the smallest), rows= config fields down the side, such as
--   {"method"}, steps= (default: all), format=, notes=}
-- @treturn table a description
function M.describe(set, spec)
  local steps, values = spec.steps or set:steps(), tree.keys(values_of(set, spec.switch))
  local how = { metric = spec.metric, switch = spec.switch, steps = steps, values = values,
    base = reference_value(values, spec) }
  local t = { title = spec.title, heads = joined(spec.rows, spec.switch), columns = {}, rows = {},
    format = spec.format or "%.4f", notes = measured.provenance(set) }
  for i, N in ipairs(steps) do t.columns[i] = "N = " .. N end
  local cases = {}
  measured.each_combination(set, spec.rows, function(part, heads)
    add_switch(t, cases, part, heads, how)
  end)
  local notes = comparison.differences(cases, { metric = spec.metric, steps = steps,
    reference = ("%s = %s"):format(spec.switch, tostring(how.base)) })
  for _, row in ipairs(t.rows) do
    if row.case then row.cells = row.case[row.cells] end
  end
  table.move(notes, 1, #notes, #t.notes + 1, t.notes)
  table.move(spec.notes or {}, 1, #(spec.notes or {}), #t.notes + 1, t.notes)
  return t
end

return M
