--- The grid of an experiment, or of one of its profiles: the settings in which its runs differ.
-- It is either a table of lists, every combination of whose values is a run,
--
--     grid = { eta = { 0.5, 0.75 }, stop = "*" }   -- "*": every stop-gradient of the method
--
-- or a list of points, for fractions of such a grid:
--
--     grid = { { p = 0.0 }, { p = 1.0, c = 0.1, method = "lsd" }, { eta = 0.5, seed = 12 } }
--
-- A point with `method` belongs to that method alone, one with `seed` to the runs of that seed.
-- @module flowmap.experiment.grid

local errors = require "flowmap.base.errors"
local losses = require "flowmap.losses"
local settings = require "flowmap.experiment.settings"
local tree = require "flowmap.tree"

local M = {}

local MOST_RUNS = 100000 -- of one profile, from a grid

-- Fields of a point that select runs and are not settings.
local SELECTS = { method = true, seed = true }

local function a(value)
  return value == nil and "nothing" or "a " .. type(value)
end

local function is_list(grid) return grid[1] ~= nil end

-- ------------------------------------------------------------------ checks

local function check_product(grid, path, own)
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
    if values ~= "*" then errors.list(where, values) end
    if values ~= "*" and #values == 0 then errors.usage("%s: the list is empty", where) end
    runs = runs * (values == "*" and 1 or #values)
  end
  if runs > MOST_RUNS then
    errors.usage("%s: the grid has %.0f points, expected at most %d", path, runs, MOST_RUNS)
  end
end

-- A point as text: two points of one grid never have the same.
local function text_of(point)
  local parts = {}
  for i, key in ipairs(tree.keys(point)) do
    parts[i] = ("%s=%s"):format(key, settings.text(point[key]))
  end
  return table.concat(parts, " ")
end

local function check_point(point, it, where, own)
  if type(point) ~= "table" then
    errors.usage("%s must be a table { key = value }, found %s", where, a(point))
  end
  for key, value in pairs(point) do
    if key == "method" then
      losses.registry_name(tostring(value), it.losses)
    elseif key == "seed" then
      if math.type(value) ~= "integer" or value < 1 or value > 1 << 53 then
        errors.usage("%s: seed must be a whole number from 1 to 2^53, found %s", where,
          settings.text(value))
      end
    else
      settings.check(key, value, where, own)
    end
  end
end

local function check_list(grid, it, path, own)
  local seen = {}
  for k, point in pairs(grid) do
    local where = ("%s: grid, point %s"):format(path, tostring(k))
    if math.type(k) ~= "integer" then
      errors.usage("%s: the grid is a list of points, but has the field '%s' as well", path,
        tostring(k))
    end
    check_point(point, it, where, own)
    local text = text_of(point)
    if seen[text] then errors.usage("%s is point %d again: %s", where, seen[text], text) end
    seen[text] = k
  end
  errors.list(path .. ": grid", grid)
  if #grid > MOST_RUNS then
    errors.usage("%s: the grid has %d points, expected at most %d", path, #grid, MOST_RUNS)
  end
end

--- Check a grid.
-- @tparam table grid
-- @tparam table it its experiment
-- @tparam string path of the experiment's file, and the profile if the grid is a profile's
-- @tparam table own settings of the experiment's own, key -> default
function M.check(grid, it, path, own)
  if is_list(grid) then return check_list(grid, it, path, own) end
  return check_product(grid, path, own)
end

-- ------------------------------------------------------------------ what it means

--- The grid of a profile: its own, or the experiment's.
-- @tparam table it an experiment
-- @tparam string profile
-- @treturn table
function M.of(it, profile) return (it.profiles[profile] or {}).grid or it.grid or {} end

--- The seeds to which the points of a grid belong.
-- @tparam table grid
-- @treturn ?table seed -> true; nil if a point belongs to every seed
function M.seeds(grid)
  local seeds = {}
  for _, point in ipairs(grid) do
    if not point.seed then return nil end
    seeds[point.seed] = true
  end
  return is_list(grid) and seeds or nil
end

-- All points of a table of lists.
local function product(grid, loss)
  local out = { {} }
  for _, key in ipairs(tree.keys(grid)) do
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

-- The settings of a listed point, if it belongs to the method and the seed (nil: any); else nil.
local function belonging(point, it, loss, seed)
  local method = point.method and losses.registry_name(point.method, it.losses)
  if (method or loss.name) ~= loss.name then return nil end
  if seed and (point.seed or seed) ~= seed then return nil end
  local out = {}
  for key, value in pairs(point) do
    if not SELECTS[key] then out[key] = value end
  end
  return out
end

--- The points of a grid that belong to a method.
-- @tparam table it an experiment
-- @tparam string profile
-- @tparam table loss of the method: what losses.find returned
-- @tparam[opt] integer seed without it, those of all seeds
-- @treturn {table,...} settings by key
function M.points(it, profile, loss, seed)
  local grid = M.of(it, profile)
  if not is_list(grid) then return product(grid, loss) end
  local out = {}
  for _, point in ipairs(grid) do out[#out + 1] = belonging(point, it, loss, seed) end
  return out
end

--- The settings in which the runs of a grid may differ, with the number of their values (2 for
-- "*"). A point that does not set one counts as one more value.
-- @tparam table grid
-- @treturn table key -> number
function M.varied(grid)
  local seen, counts, set = {}, {}, {}
  if not is_list(grid) then
    for key, values in pairs(grid) do counts[key] = values == "*" and 2 or #values end
    return counts
  end
  for _, point in ipairs(grid) do
    for key, value in pairs(point) do
      seen[key], set[key] = seen[key] or {}, (set[key] or 0) + 1
      seen[key][settings.text(value)] = true
    end
  end
  for key, values in pairs(seen) do
    if not SELECTS[key] then counts[key] = #tree.keys(values) + (set[key] < #grid and 1 or 0) end
  end
  return counts
end

--- The settings in which the runs of some profile differ.
-- @tparam table it an experiment
-- @treturn {string,...} sorted
function M.all_varied(it)
  local keys = {}
  local function add(grid)
    for key, count in pairs(M.varied(grid)) do
      if count > 1 then keys[key] = true end
    end
  end
  add(it.grid or {})
  for _, profile in pairs(it.profiles or {}) do add(profile.grid or {}) end
  return tree.keys(keys)
end

return M
