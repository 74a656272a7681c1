--- The one registry of the named parts of a run: methods, networks, data sets, laws of times,
-- interpolants, metrics and figures. The suite's own parts and those of an experiment are found by
-- the same rules:
--
-- - an experiment's own part hides one of the suite with the same name;
-- - a name is taken as written; if there is none like it, upper and lower case do not count, so
--   that `LSD` finds `lsd`;
-- - an unknown name is an error that lists the near ones.
--
-- An experiment's own part is a value (mostly a function), or a table
--
--     { new = function(cfg) ... end,    -- from the run's settings to that value
--       options = { waves = 8 } }       -- settings of its own, with their defaults
--
-- @module flowmap.base.registry

local errors = require "flowmap.base.errors"
local tree = require "flowmap.tree"

local M = {}

local Registry = {}
Registry.__index = Registry

--- The registries by the field of an experiment that holds its own parts.
M.by_field = {}

--- A registry.
-- @tparam table it {
--   what = "net",                       -- in sentences
--   field = "nets",                     -- of an experiment
--   built = function() ... end,         -- the suite's parts: name -> anything
--   plain = "function",                 -- the type of a part that is no table with `new`; or nil
--   table_fields = { loss = "function" }, -- what a table may have besides `new` and `options`
--   needs = { "loss" },                 -- which of these it must have where it has no `new`
--   check_one = function(it, where) }   -- optional: further checks of a part that is a table
-- @treturn Registry
function M.new(it)
  M.by_field[it.field] = it
  return setmetatable(it, Registry)
end

--- A registry of the parts that a module holds under its `names`. It gives the module `registry`
-- and `find(name, own, cfg)`, which returns the part of that name, made from the settings.
-- @tparam table module
-- @tparam table it as for `new`, without `built`
function M.of_module(module, it)
  it.built = function()
    local built = {}
    for _, name in ipairs(module.names) do built[name] = module[name] end
    return built
  end
  module.registry = M.new(it)
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

--- A name as it is registered, or a sentence.
-- @tparam string name as somebody wrote it
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

-- ------------------------------------------------------------------ what an experiment holds

local function check_options(options, where)
  if type(options) ~= "table" then
    errors.usage("%s: options must be a table of settings with their defaults, found a %s", where,
      type(options))
  end
  for key, default in pairs(options) do
    if type(key) ~= "string" or not key:find "^[%a_][%w_]*$" then
      errors.usage("%s: '%s' is no name of a setting; expected letters, digits and _", where,
        tostring(key))
    end
    local kind = type(default)
    local first = kind == "table" and default[1]
    if kind == "function" or kind == "userdata" or kind == "table" and type(first) ~= "number"
      and type(first) ~= "string" then
      errors.usage("%s: the default of %s is a %s, expected a number, a text, true or false, or a "
        .. "list of numbers or texts", where, key, kind)
    end
  end
end

--- Check the declared settings of an experiment or of one of its parts.
-- @param options
-- @tparam string where for the sentence
M.check_options = check_options

-- A part that is a table: its fields.
function Registry:check_table(it, where)
  local known = { new = "function", options = "table" }
  for key, kind in pairs(self.table_fields or {}) do known[key] = kind end
  for key, value in pairs(it) do
    local expected = known[key]
    if not expected then
      errors.usage("%s: unknown field '%s'%s", where, tostring(key),
        errors.near(tostring(key), tree.keys(known)))
    elseif expected ~= "any" and type(value) ~= expected then
      errors.usage("%s: the field %s must be a %s, found a %s", where, key, expected, type(value))
    end
  end
  for _, key in ipairs(not it.new and self.needs or {}) do
    if it[key] == nil then errors.usage("%s: the field %s is missing", where, key) end
  end
end

-- A part, or what `new` made of it.
function Registry:check_part(it, where, verb)
  if type(it) == "table" then
    if getmetatable(it) or it.shape and self.open then return end -- the suite's own; images
    self:check_table(it, where)
    if self.check_one then self.check_one(it, where) end
  elseif type(it) ~= self.plain then
    local found = it == nil and "nothing" or "a " .. type(it)
    local expected = self.plain and ("a %s or a table"):format(self.plain) or "a table"
    if verb == "returned" then
      errors.usage("%s returned %s, expected %s", where, found, expected)
    end
    errors.usage("%s must be %s, found %s", where, expected, found)
  end
end

-- Names are found in any capitals, so two that differ in these alone would be one.
local function check_twins(name, where, ...)
  for _, parts in ipairs { ... } do
    for other in pairs(parts) do
      if other ~= name and tostring(other):lower() == name:lower() then
        errors.usage("%s: there is a '%s' already, and names that differ in capitals alone are the "
          .. "same", where, other)
      end
    end
  end
end

--- Check the parts that an experiment holds: their names, types and declared settings.
-- @tparam table own the experiment's field
-- @tparam string path of the experiment
function Registry:check(own, path)
  for name, it in pairs(own) do
    local where = ("%s: %s['%s']"):format(path, self.field, tostring(name))
    if type(name) ~= "string" or not name:find "^[%w_][%w_-]*$" then
      errors.usage("%s: a %s is named by letters, digits, - and _, found the %s '%s'", where,
        self.what, type(name), tostring(name))
    end
    check_twins(name, where, own, self.built())
    self:check_part(it, where, "must be")
    if type(it) == "table" and rawget(it, "options") then check_options(it.options, where) end
  end
end

--- The value that a part stands for: itself, or what its `new` makes of the settings.
-- @param part what `find` returned
-- @tparam string name
-- @tparam table cfg the run's settings
-- @return
function Registry:make(part, name, cfg)
  if type(part) ~= "table" or not rawget(part, "new") then return part end
  local value, where = part.new(cfg), ("new of the %s '%s'"):format(self.what, name)
  self:check_part(value, where, "returned")
  return value
end

--- Find a part and make its value.
-- @tparam string name
-- @tparam ?table own parts of an experiment
-- @tparam ?table cfg the run's settings
-- @return
function Registry:get(name, own, cfg)
  local part, as_registered = self:find(name, own)
  return self:make(part, as_registered, cfg or {})
end

return M
