--- Registry of the losses. A loss is one file of this folder, `NAME.lua`, which returns
--
--     { loss = function(a) ... end,   -- a pure function: one value per sample, shape (n)
--       stops = {"convex", "none"},   -- optional: its stop-gradient choices, the default first
--       teacher = true,               -- optional: it reads a.teacher, where there is one
--       variants = { m = { g = 0.5 }, u = { g = "uniform" } } }   -- optional: NAME-m, NAME-u
--
-- The argument table `a` of a loss:
--
--     map    the current flow map X        s, t   times, (n, 1), s <= t
--     x      I_s, (n, ...)                 dx     dI_s, its velocity
--     x0, x1 the base and data samples     stop   the stop-gradient choice
--     teacher  optional: a frozen flow map
--
--     cfg    the run's settings
--
-- and the fields of the variant, where "uniform" stands for one U[0,1] draw per sample, (n, 1).
-- A loss passes `a.stop` to `stop_if`, which stops the gradient where the choice says so. A loss
-- that declares no `stops` has a single choice, at which every `stop_if` stops the gradient.
-- Squared errors are summed over data dimensions; the trainer averages over the batch.
-- `fm.losses.lsd{ map = X, s = s, t = t, x = x }` calls a loss directly.
-- @module flowmap.losses

local fm = require "flowmap"
local errors = require "flowmap.base.errors"
local files = require "flowmap.base.files"
local registry = require "flowmap.base.registry"
local returned = require "flowmap.base.returned"
local source = require "flowmap.runs.source"

local M = {}

--- |r|^2, summed over all but the first axis: (n, ...) -> (n)
-- @param r residuals
-- @treturn tensor
function M.norm2(r)
  local axes = {}
  for i = 2, #r.shape do axes[i - 1] = i end
  return fm.sum(fm.square(r), axes)
end

-- The loss being evaluated: { name =, stops = its declared choices or nil }.
local current

-- A choice that the loss does not declare would never stop a gradient.
local function check_declared(name)
  for _, declared in ipairs(current.stops) do
    if declared == name then return end
  end
  errors.usage("the loss '%s' stops a gradient at '%s', which is none of its stops: %s",
    current.name, tostring(name), table.concat(current.stops, ", "))
end

--- Stop the gradient through x if the choice is among those listed. Without a choice (the loss
-- declares none, or is called directly) the gradient is always stopped.
-- @tparam ?string choice the loss's `stop`
-- @param x a tensor
-- @param ... the choices at which the gradient stops
-- @treturn tensor
function M.stop_if(choice, x, ...)
  local stop = choice == nil or choice == "default"
  for _, name in ipairs { ... } do
    if current and current.stops then check_declared(name) end
    stop = stop or name == choice
  end
  return stop and fm.stop(x) or x
end

-- The loss as the trainer calls it: `stop_if` checks its choices while it runs, and its result is
-- checked.
local function called(loss, name, stops)
  return function(a)
    local outer = current
    current = { name = name, stops = stops }
    local ok, L = errors.pcall(loss, a)
    current = outer
    if not ok then error(L, 0) end
    local who = ("the loss '%s'"):format(name)
    returned.tensor(L, who, { a.x.shape[1] }, a.x.dtype, "one value per sample")
    if a.x.traced and not L.traced then
      errors.usage("%s returned a constant: it depends neither on the network nor on the data", who)
    end
    return L
  end
end

--- A robust loss, which limits the influence of large residuals: c^2 log(1 + L / c^2), close to L
-- where L is small compared with c^2 (Cauchy's or Lorentz's; Black and Anandan 1996). The minimum,
-- L = 0, is the same.
-- @param L losses
-- @tparam number c the scale of the residuals; 0: L itself
-- @treturn tensor
function M.robust(L, c)
  return c == 0 and L or fm.log(L / (c * c) + 1) * (c * c)
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
  for _, file in ipairs(files.modules "flowmap.losses") do
    local module = "flowmap.losses." .. file
    if file ~= "diagonal" then add_methods(built, file, source.peek(module), module) end
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
  teacher_params = true }

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
  for _, name in ipairs(it.stops or {}) do
    if type(name) ~= "string" then
      errors.usage("%s: stops must be a list of texts, found a %s in it", where, type(name))
    end
  end
  if it.stops and #it.stops == 0 then
    errors.usage("%s: stops is an empty list; leave it out for a loss without a choice", where)
  end
  if it.args then check_args(it.args, where) end
  for _, args in pairs(it.variants or {}) do check_args(args, where) end
end

--- The methods. Those of an experiment are functions or tables as above.
M.registry = registry.new { what = "method", field = "losses", plain = "function",
  table_fields = { loss = "function", stops = "table", variants = "table", args = "table",
    teacher = "boolean" },
  needs = { "loss" }, built = built_methods, check_one = check_loss }

--- Names of all off-diagonal methods, e.g. "lsd", "psd-m".
-- @tparam[opt] table own losses defined by an experiment, name -> loss
-- @treturn {string,...}
function M.names(own) return M.registry:names(own_methods(own)) end

--- The name of a method as it is registered, or a sentence.
-- @tparam string name
-- @tparam[opt] table own losses defined by an experiment
-- @treturn string
function M.registry_name(name, own) return M.registry:name(name, own_methods(own)) end

--- Find a method by name.
-- @tparam string name e.g. "lsd" or "psd-m"
-- @tparam[opt] table own losses defined by an experiment
-- @tparam[opt] table cfg the run's settings, for a loss that has settings of its own
-- @treturn table { name =, loss =, stops =, args = fields of the variant, entry = name without the
--   variant, file = source module or nil }
function M.find(name, own, cfg)
  local found, as_registered = M.registry:find(name, own_methods(own))
  local it = found.it
  if found.file then require(found.file) end -- only this method's file is an input of the run
  local made = cfg and M.registry:make(it, as_registered, cfg) or it
  local loss = type(made) == "function" and made or made.loss
  local stops = it.stops or type(made) == "table" and made.stops
  return {
    name = as_registered, loss = loss and called(loss, as_registered, stops),
    stops = stops or { "default" }, args = found.args, teacher = it.teacher == true,
    entry = found.entry, file = found.file,
  }
end

return setmetatable(M, {
  __index = function(_, name)
    local path = "flowmap.losses." .. tostring(name)
    if not package.searchpath(path, package.path) then return nil end
    local it = require(path)
    local loss = called(it.loss, name, it.stops)
    return function(a)
      a.stop = a.stop or it.stops and it.stops[1]
      return loss(a)
    end
  end,
})
