--- The outline of an experiment: the table that its file returns must have the fields that
-- flowmap.experiment describes. Everything that can be checked without a run is checked here, when
-- the file is loaded.
-- @module flowmap.experiment.outline

local errors = require "flowmap.base.errors"
local grids = require "flowmap.experiment.grid"
local losses = require "flowmap.losses"
local parts = require "flowmap.experiment.parts"
local render_list = require "flowmap.experiment.render_list"
local settings = require "flowmap.experiment.settings"
local tree = require "flowmap.tree"

local M = {}

local FIELDS = {
  name = "string", methods = "table", settings = "table", profiles = "table", grid = "table",
  options = "table", title = "string", render = "table", run = "function",
}
for _, field in ipairs(parts.fields) do FIELDS[field] = "table" end

local function a(value)
  return value == nil and "nothing" or "a " .. type(value)
end

-- A value as Lua would be given it: 2.0 and "2" are not 2.
local function shown(value)
  if type(value) == "string" then return ("the text '%s'"):format(value) end
  return type(value) == "number" and tostring(value) or a(value)
end

local MOST_SEEDS = 1000

-- Check the seeds of an experiment or profile: their number, or a list of them.
local function check_seeds(seeds, where)
  if type(seeds) == "table" then errors.list(where .. ": seeds", seeds) end
  local count, seen = type(seeds) == "table" and #seeds or seeds, {}
  if not (math.type(count) == "integer" and count >= 1 and count <= MOST_SEEDS) then
    errors.usage("%s: seeds must be a whole number from 1 to %d, or a list of as many, found %s",
      where, MOST_SEEDS, type(seeds) == "table" and #seeds .. " of them" or shown(seeds))
  end
  for _, seed in ipairs(type(seeds) == "table" and seeds or {}) do
    if math.type(seed) ~= "integer" or seed < 1 or seed > 1 << 53 or seen[seed] then
      errors.usage("%s: seeds must be different whole numbers from 1 to 2^53, found %s", where,
        settings.text(seeds))
    end
    seen[seed] = true
  end
end

local function check_fields(it, path)
  for key, value in pairs(it) do
    if key == "seeds" then
      check_seeds(value, path)
    elseif not FIELDS[key] then
      errors.usage("%s: unknown field '%s'%s", path, tostring(key),
        errors.near(tostring(key), tree.keys(FIELDS)))
    elseif type(value) ~= FIELDS[key] then
      errors.usage("%s: the field %s must be a %s, found %s", path, key, FIELDS[key], a(value))
    end
  end
  for _, key in ipairs { "name", "profiles" } do
    if not it[key] then errors.usage("%s: the field %s is missing", path, key) end
  end
end

-- Names of experiments and profiles become folders.
local function check_name(name, what, path)
  if type(name) ~= "string" or not name:find "^[%w_][%w_.-]*$" then
    errors.usage("%s: %s is named by letters, digits, -, _ and ., found '%s'", path, what,
      tostring(name))
  end
end

-- Folders beside those of profiles have these endings: PROFILE-own holds runs with settings of the
-- user's, PROFILE-stages teachers, and RUN-outdated what was put aside.
local function check_reserved(name, path)
  for _, ending in ipairs { "-own", "-stages", "-outdated" } do
    if name:sub(-#ending) == ending then
      errors.usage("%s: the profile '%s' has the ending '%s', which folders of other results have",
        path, name, ending)
    end
  end
end

-- Check a list of methods: each is known and named once.
local function check_methods(list, it, where)
  if type(list) ~= "table" then
    errors.usage("%s must be a list of methods, found %s", where, a(list))
  end
  local seen = {}
  for key, name in pairs(list) do
    if math.type(key) ~= "integer" or type(name) ~= "string" then
      errors.usage("%s must be a list of methods, found %s under '%s'", where, a(name),
        tostring(key))
    end
  end
  errors.list(where, list)
  if #list == 0 then errors.usage("%s is an empty list; expected at least one method", where) end
  for _, name in ipairs(list) do
    local known = losses.registry_name(name, it.losses)
    if seen[known] then errors.usage("%s names the method %s twice", where, known) end
    seen[known] = true
  end
end

-- Check settings by name, of an experiment, a profile or a method.
local function check_settings(values, where, own, others)
  if type(values) ~= "table" then
    errors.usage("%s must be a table of settings, found %s", where, a(values))
  end
  for key, value in pairs(values) do
    if not (others and others[key]) then settings.check(key, value, where, own) end
  end
end

local OF_PROFILE = { methods = true, by_method = true, seeds = true, grid = true }

local function check_profile(profile, it, where, own)
  check_settings(profile, where, own, OF_PROFILE)
  if profile.methods then check_methods(profile.methods, it, where .. ", methods") end
  if profile.seeds ~= nil then check_seeds(profile.seeds, where) end
  if profile.grid ~= nil then
    if type(profile.grid) ~= "table" then
      errors.usage("%s: grid must be a table, found %s", where, a(profile.grid))
    end
    grids.check(profile.grid, it, where, own)
  end
  local by_method = profile.by_method
  if by_method and type(by_method) ~= "table" then
    errors.usage("%s: by_method must be a table method -> settings, found %s", where, a(by_method))
  end
  local seen = {}
  for name, values in pairs(by_method or {}) do
    local known = losses.registry_name(name, it.losses)
    if seen[known] then
      errors.usage("%s: by_method names the method %s twice", where, known)
    end
    seen[known] = true
    check_settings(values, ("%s, by_method '%s'"):format(where, tostring(name)), own)
  end
end

--- Check an experiment.
-- @param it what its file returned
-- @tparam string path of the file
function M.check(it, path)
  if type(it) ~= "table" then
    errors.usage("%s returns %s; an experiment returns a table", path, a(it))
  end
  check_fields(it, path)
  check_name(it.name, "an experiment", path)
  parts.check(it, path)
  local own = parts.options(it)
  if it.methods then check_methods(it.methods, it, path .. ": methods") end
  check_settings(it.settings or {}, path .. ": settings", own)
  if not next(it.profiles) then
    errors.usage("%s: profiles is empty; expected at least one profile", path)
  end
  for name, profile in pairs(it.profiles) do
    check_name(name, "a profile", path)
    check_reserved(name, path)
    check_profile(profile, it, ("%s, profile %s"):format(path, name), own)
  end
  grids.check(it.grid or {}, it, path, own)
  if it.render then render_list.list(it, path, own) end
end

return M
