--- Registry of the losses. Published methods are rows of coordinates, see flowmap.methods. Any
-- other loss is one file of this folder, `NAME.lua`, which returns
--
--     { loss = function(a) ... end,   -- a pure function: one value per sample, shape (n)
--       stops = {"convex", "none"},   -- optional: its stop-gradient choices, the default first
--       teacher = true,               -- optional: it reads a.teacher, where there is one
--       variants = { m = { g = 0.5 }, u = { g = "uniform" } } }   -- optional: NAME-m, NAME-u
--
-- The argument table `a` of a loss:
--
--     map    the current flow map X        s, t   times s <= t, (n, 1, ..., 1), see below
--     x      I_s, (n, ...)                 dx     dI_s, its velocity, (n, ...)
--     x0, x1 the base and data samples     stop   the stop-gradient choice
--     teacher  optional: a frozen flow map
--
--     cfg    the run's settings
--
-- and the fields of the variant, where "uniform" stands for one U[0,1] draw per sample.
--
-- Times and draws have the rank of x, with one value per sample: (n, 1) for points (n, d), and
-- (n, 1, 1, 1) for images (n, H, W, C). So `(a.t - a.s) * r` weights the samples of r whatever the
-- shape of the data. A loss that is called directly may be given (n, 1) instead (s and t also (n)).
-- A loss passes `a.stop` to `stop_if`, which stops the gradient where the choice says so. A loss
-- that declares no `stops` has a single choice, at which every `stop_if` stops the gradient.
-- Squared errors are summed over data dimensions; the trainer averages over the batch.
-- `fm.losses.lsd{ map = X, s = s, t = t, x = x }` calls a loss directly.
-- @module flowmap.losses

local fm = require "flowmap"
local column = require("flowmap.interpolants").column
local errors = require "flowmap.base.errors"
local files = require "flowmap.base.files"
local published = require "flowmap.methods"
local registry = require "flowmap.base.registry"
local residuals = require "flowmap.residuals"
local returned = require "flowmap.base.returned"
local source = require "flowmap.runs.source"

local M = {}

--- See flowmap.residuals.
M.norm2, M.stop_if, M.bounded = residuals.norm2, residuals.stop_if, residuals.bounded

-- Fields that every loss has; reading one that is missing is an error that names it.
local GIVEN = { map = true, s = true, t = true, x = true, dx = true, x0 = true, x1 = true }

local function missing(who, key)
  errors.usage("%s reads a.%s, which is missing from its argument", who, key)
end

-- One value per sample in the form that broadcasts against x.
local function broadcasting(value, x, who, key)
  local shape = fm.is_tensor(value) and value.shape
  local time = key == "s" or key == "t"
  if time and (not shape or #value ~= x.shape[1]) then
    errors.usage("%s: a.%s is %s, expected a tensor (%d, 1), one time per sample", who, key,
      returned.describe(value), x.shape[1])
  end
  return (time or shape and #shape == 2 and shape[2] == 1) and column(value, x) or value
end

-- The argument of a loss, checked, with times and draws that broadcast against x.
local function argument(a, who)
  if not fm.is_tensor(a.x) then missing(who, "x") end
  local b = {}
  for key, value in pairs(a) do b[key] = broadcasting(value, a.x, who, key) end
  return setmetatable(b, { __index = function(_, key)
    local value = a[key] -- also a field that is computed when it is read
    if value == nil and GIVEN[key] then missing(who, key) end
    return value
  end })
end

-- The loss as the trainer calls it: `stop_if` checks its choices while it runs, and its result is
-- checked.
local function called(loss, name, stops)
  return function(a)
    local who = ("the loss '%s'"):format(name)
    a = argument(a, who)
    local L = returned.one(who, residuals.declared(name, stops, loss, a))
    returned.tensor(L, who, { a.x.shape[1] }, a.x.dtype, "one value per sample")
    if a.x.traced and not L.traced then
      errors.usage("%s returned a constant: it depends neither on the network nor on the data", who)
    end
    return L
  end
end

-- Add the methods of one loss: NAME, or NAME-VARIANT for each of its variants.
local function add_methods(methods, name, it, file)
  for variant, args in pairs(it.variants or {}) do
    methods[name .. "-" .. variant] = { it = it, args = args, entry = name, file = file }
  end
  if not it.variants then
    methods[name] = { it = it, args = it.args or {}, entry = name, file = file }
  end
end

local built -- the methods of the files, found once

local function built_methods()
  if built then return built end
  built = {}
  for _, folder in ipairs { "flowmap.losses", "flowmap.methods" } do
    for _, file in ipairs(files.modules(folder)) do
      local module = folder .. "." .. file
      if file ~= "diagonal" then add_methods(built, file, source.peek(module), module) end
    end
  end
  return built
end

-- The methods of an experiment's own losses.
local function own_methods(own)
  local methods = {}
  for name, it in pairs(own or {}) do
    add_methods(methods, name, type(it) == "function" and { loss = it } or it)
  end
  return methods
end

-- The fields of a loss's argument that the trainer sets.
local TAKEN = { map = true, s = true, t = true, x = true, dx = true, x0 = true, x1 = true,
  stop = true, teacher = true, cfg = true, a = true, c = true, labels = true, dropout = true,
  dropout_off = true, augment = true,
  teacher_params = true, target_params = true, target = true, held = true, u = true, fed = true }

local function check_args(args, where)
  if type(args) ~= "table" then
    errors.usage("%s: a variant is a table of its fields, found a %s", where, type(args))
  end
  for key, value in pairs(args) do
    if TAKEN[key] then
      errors.usage("%s: the field '%s' of a variant is set by the trainer; choose another name",
        where, key)
    elseif type(value) ~= "number" and value ~= "uniform" then
      errors.usage("%s: the field '%s' of a variant is %s, expected a number or \"uniform\"", where,
        tostring(key), type(value) == "string" and "'" .. value .. "'" or "a " .. type(value))
    end
  end
end

-- Check the stops and variants that a loss declares.
local function check_loss(it, where)
  if not (it.loss or it.family or it.new) then
    errors.usage("%s: the field loss is missing", where)
  end
  errors.list(where .. ": stops", it.stops or {})
  for _, name in ipairs(it.stops or {}) do
    if type(name) ~= "string" then
      errors.usage("%s: stops must be a list of texts, found a %s in it", where, type(name))
    end
  end
  if it.stops and #it.stops == 0 then
    errors.usage("%s: stops is an empty list; leave it out for a loss without a choice", where)
  end
  if it.family then published.check(it, where) end
  if it.args then check_args(it.args, where) end
  for _, args in pairs(it.variants or {}) do check_args(args, where) end
end

-- The fields of a loss, and those of a row of coordinates.
local FIELDS = { loss = "function", stops = "table", variants = "table", args = "table",
  teacher = "boolean" }
for key, kind in pairs(published.fields) do FIELDS[key] = kind end

--- The methods. Those of an experiment are functions, tables as above, or rows of coordinates.
M.registry = registry.new { what = "method", field = "losses", plain = "function",
  table_fields = FIELDS, built = built_methods, check_one = check_loss }

--- Names of all off-diagonal methods, e.g. "lsd", "psd-m".
-- @tparam[opt] table own losses defined by an experiment, name -> loss
-- @treturn {string,...}
function M.names(own) return M.registry:names(own_methods(own)) end

--- The name of a method as it is registered, or a sentence.
-- @tparam string name
-- @tparam[opt] table own losses defined by an experiment
-- @treturn string
function M.registry_name(name, own) return M.registry:name(name, own_methods(own)) end

-- The loss of a part, its stop-gradient choices, and all choices that it understands.
local function parts_of(it)
  if type(it) == "function" then return it end
  if it.family then
    local all = residuals.stops[it.family]
    return residuals.loss(it), it.stops or all, all
  end
  return it.loss, it.stops
end

--- Find a method by name.
-- @tparam string name e.g. "lsd" or "psd-m"
-- @tparam[opt] table own losses defined by an experiment
-- @tparam[opt] table cfg the run's settings, for a loss that has settings of its own
-- @treturn table { name =, loss =, stops = the choices of its publication, choices = all that it
--   understands, args = fields of the variant, row = its coordinates if it is given as data,
--   entry = name without the variant, file = source module or nil }
function M.find(name, own, cfg)
  local found, as_registered = M.registry:find(name, own_methods(own))
  local it = found.it
  if found.file then require(found.file) end -- only this method's file is an input of the run
  local made = cfg and M.registry:make(it, as_registered, cfg) or it
  local loss, stops, choices = parts_of(made)
  stops = it.stops or stops
  return {
    name = as_registered, loss = loss and called(loss, as_registered, choices or stops),
    stops = stops or { "default" }, choices = choices or stops or { "default" },
    args = found.args, teacher = it.family and published.reads_teacher(it) or it.teacher == true,
    row = it.family and it or nil, entry = found.entry, file = found.file,
  }
end

-- The module of a file of the suite, or nil.
local function module_of(name)
  for _, folder in ipairs { "flowmap.losses.", "flowmap.methods." } do
    if package.searchpath(folder .. name, package.path) then return folder .. name end
  end
end

return setmetatable(M, {
  __index = function(_, name)
    local module = module_of(tostring(name))
    if not module then return nil end
    local loss, stops, choices = parts_of(require(module))
    loss = called(loss, name, choices or stops)
    return function(a)
      a.stop = a.stop or stops and stops[1]
      return loss(a)
    end
  end,
})
