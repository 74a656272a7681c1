--- The grid of an experiment: the settings in which its runs differ.
-- @module flowmap.experiment.grid

local errors = require "flowmap.base.errors"
local settings = require "flowmap.experiment.settings"
local tree = require "flowmap.tree"

local M = {}

local MOST_RUNS = 100000 -- of one profile, from a grid

local function a(value)
  return value == nil and "nothing" or "a " .. type(value)
end

function M.check(grid, path, own)
  local runs = 1
  for key, values in pairs(grid) do
    local where = ("%s: grid, %s"):format(path, tostring(key))
    if type(values) ~= "table" and not (key == "stop" and values == "*") then
      errors.usage("%s must be a list of values such as { %s }, found %s", where,
        settings.text(values), a(values))
    end
    local seen = {}
    for i, value in pairs(type(values) == "table" and values or {}) do
      if math.type(i) ~= "integer" then errors.usage("%s must be a list of values", where) end
      local text = settings.text(settings.check(key, value, where, own))
      if seen[text] then errors.usage("%s: the value %s is listed twice", where, text) end
      seen[text] = true
    end
    if values ~= "*" and #values == 0 then errors.usage("%s: the list is empty", where) end
    runs = runs * (values == "*" and 1 or #values)
  end
  if runs > MOST_RUNS then
    errors.usage("%s: the grid has %.0f points, expected at most %d", path, runs, MOST_RUNS)
  end
end

--- All points of a grid { key = {values} }; "*" as values of `stop` means all of the method's.
function M.points(grid, loss)
  local out = { {} }
  for _, key in ipairs(tree.keys(grid or {})) do
    local values, longer = grid[key], {}
    if key == "stop" and values == "*" then values = loss.stops end
    for _, point in ipairs(out) do
      for _, value in ipairs(values) do
        local more = {}
        for k, v in pairs(point) do more[k] = v end
        more[key] = value
        longer[#longer + 1] = more
      end
    end
    out = longer
  end
  return out
end

return M
