--- The registry of the named parts of a run: methods, networks, data sets, laws of times,
-- interpolants, metrics and figures. The suite's parts and those of an experiment are looked up by
-- the same rules:
--
-- - an experiment's part hides a part of the suite with the same name;
-- - a name matches as written; without an exact match, upper and lower case are ignored, so that
--   `LSD` finds `lsd`;
-- - an unknown name raises an error that lists similar names.
--
-- An experiment's part is a value (usually a function), or a table
--
--     { new = function(cfg) ... end,    -- returns that value for the run's settings
--       options = { waves = 8 } }       -- settings of its own, with their defaults
--
-- @module flowmap.base.registry

local errors = require "flowmap.base.errors"
local tree = require "flowmap.tree"

local M = {}

local Registry = {}
Registry.__index = Registry

--- Registries, indexed by the field in which an experiment holds its own parts.
M.by_field = {}

--- Create a registry.
-- @tparam table spec {
--   what = "net",                       -- the kind of part, for sentences
--   field = "nets",                     -- the experiment's field that holds its own parts
--   built = function() ... end,         -- returns the suite's parts by name
--   plain = "function",                 -- the type of a part that is not a table; or nil
--   table_fields = { loss = "function" }, -- fields a table may have besides `new` and `options`
--   needs = { "loss" },                 -- those that a table without `new` must have
--   check_one = function(part, where) } -- optional: further checks of a part that is a table
-- @treturn Registry
function M.new(spec)
  M.by_field[spec.field] = spec
  return setmetatable(spec, Registry)
end

--- Create a registry of the parts that a module holds under its `names`. The module receives
-- `registry` and `find(name, own, cfg)`, which returns the part of that name for the settings.
-- @tparam table module
-- @tparam table spec as for `new`, without `built`
function M.of_module(module, spec)
  spec.built = function()
    local built = {}
    for _, name in ipairs(module.names) do built[name] = module[name] end
    return built
  end
  module.registry = M.new(spec)
  function module.find(name, own, cfg) return module.registry:get(name, own, cfg) end
end

--- Names of all parts, sorted.
-- @tparam[opt] table own parts of an experiment, name -> part
-- @treturn {string,...}
function Registry:names(own)
  local all = {}
  for name in pairs(self.built()) do all[name] = true end
  for name in pairs(own or {}) do all[name] = true end
  return tree.keys(all)
end

--- The registered form of a name; an unknown name raises an error.
-- @tparam string name as written by the user
-- @tparam[opt] table own parts of an experiment
-- @treturn string
function Registry:name(name, own)
  local built = self.built()
  if own and own[name] ~= nil or built[name] ~= nil then return name end
  local wanted = tostring(name):lower()
  for _, parts in ipairs { own or {}, built } do
    for _, known in ipairs(tree.keys(parts)) do
      if known:lower() == wanted then return known end
    end
  end
  return errors.choice(self.what, name, self:names(own))
end

--- Find a part.
-- @tparam string name
-- @tparam[opt] table own parts of an experiment
-- @return the part: what the experiment or `built` holds under that name
-- @treturn string its name as registered
-- @treturn boolean whether it is the experiment's own
function Registry:find(name, own)
  name = self:name(name, own)
  if own and own[name] ~= nil then return own[name], name, true end
  return self.built()[name], name, false
end

--- The settings that a part declares.
-- @param part
-- @treturn table key -> default
function M.options(part)
  return type(part) == "table" and rawget(part, "options") or {}
end

-- ------------------------------------------------------------------ an experiment's own parts

-- Records hold no number that is not finite, and no entry behind a gap.
local function check_numbers(list, where)
  errors.list(where, list)
  for _, value in ipairs(list) do
    if type(value) == "number" and value - value ~= 0 then
      errors.usage("%s is %s, expected a finite number", where, tostring(value))
    end
  end
end

--- Check the options of an experiment's own part: settings with their defaults.
-- @tparam table options
-- @tparam string where start of the error sentence
local function check_options(options, where)
  if type(options) ~= "table" then
    errors.usage("%s: options must be a table of settings with their defaults, found a %s", where,
      type(options))
  end
  for key, default in pairs(options) do
    if type(key) ~= "string" or not key:find "^[%a_][%w_]*$" then
      errors.usage("%s: '%s' cannot name a setting; expected letters, digits and _", where,
        tostring(key))
    end
    local kind = type(default)
    local first = kind == "table" and default[1]
    if kind == "function" or kind == "userdata" or kind == "table" and type(first) ~= "number"
      and type(first) ~= "string" then
      errors.usage("%s: the default of %s is a %s, expected a number, a string, true, false or a "
        .. "list of numbers or strings", where, key, kind)
    end
    local words = ("%s: the default of %s"):format(where, key)
    check_numbers(kind == "table" and default or { default }, words)
  end
end

--- Check the declared settings of an experiment or of one of its parts.
-- @param options
-- @tparam string where start of the error sentence
M.check_options = check_options

-- Check the fields of a part that is a table.
function Registry:check_table(part, where)
  local known = { new = "function", options = "table" }
  for key, kind in pairs(self.table_fields or {}) do known[key] = kind end
  for key, value in pairs(part) do
    local expected = known[key]
    if not expected then
      errors.usage("%s: unknown field '%s'%s", where, tostring(key),
        errors.near(tostring(key), tree.keys(known)))
    elseif expected ~= "any" and type(value) ~= expected then
      errors.usage("%s: the field %s must be a %s, found a %s", where, key, expected, type(value))
    end
  end
  for _, key in ipairs(not part.new and self.needs or {}) do
    if part[key] == nil then errors.usage("%s: the field %s is missing", where, key) end
  end
end

-- Check a part, or the value that its `new` returned.
function Registry:check_part(part, where, verb)
  if type(part) == "table" then
    if getmetatable(part) or part.shape and self.open then return end -- one of the suite's; images
    self:check_table(part, where)
    if self.check_one then self.check_one(part, where) end
  elseif type(part) ~= self.plain then
    local found = part == nil and "nothing" or "a " .. type(part)
    local expected = self.plain and ("a %s or a table"):format(self.plain) or "a table"
    if verb == "returned" then
      errors.usage("%s returned %s, expected %s", where, found, expected)
    end
    errors.usage("%s must be %s, found %s", where, expected, found)
  end
end

-- Lookup ignores case, so names that differ only in case would collide.
local function check_twins(name, where, ...)
  for _, parts in ipairs { ... } do
    for other in pairs(parts) do
      if other ~= name and tostring(other):lower() == name:lower() then
        errors.usage("%s: there is already a '%s', and names that differ only in capitals are the "
          .. "same", where, other)
      end
    end
  end
end

--- Check the parts that an experiment holds: their names, types and declared settings.
-- @tparam table own the experiment's field
-- @tparam string path of the experiment
function Registry:check(own, path)
  for name, part in pairs(own) do
    local where = ("%s: %s['%s']"):format(path, self.field, (tostring(name):gsub("%c", "?")))
    if type(name) ~= "string" or not name:find "^[%w_][%w_-]*$" then
      errors.usage("%s: a %s is named by letters, digits, - and _, found the %s '%s'", where,
        self.what, type(name), tostring(name))
    end
    check_twins(name, where, own, self.built())
    self:check_part(part, where, "must be")
    if type(part) == "table" and rawget(part, "options") then check_options(part.options, where) end
  end
end

--- The value of a part: the part itself, or the result of its `new` for the settings.
-- @param part the first result of `find`
-- @tparam string name
-- @tparam table cfg the run's settings
-- @return
function Registry:make(part, name, cfg)
  if type(part) ~= "table" or not rawget(part, "new") then return part end
  local value, where = part.new(cfg), ("new of the %s '%s'"):format(self.what, name)
  self:check_part(value, where, "returned")
  return value
end

--- Find a part and return its value.
-- @tparam string name
-- @tparam ?table own parts of an experiment
-- @tparam ?table cfg the run's settings
-- @return
function Registry:get(name, own, cfg)
  local part, as_registered = self:find(name, own)
  return self:make(part, as_registered, cfg or {})
end

return M
