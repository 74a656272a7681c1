--- Registry of the losses. A loss is one file of this folder, `NAME.lua`, which returns
--
--     { loss = function(a) ... end,   -- a pure function: one value per sample, shape (n)
--       stops = {"convex", "none"},   -- its stop-gradient choices, the default first
--       variants = { m = { g = 0.5 }, u = { g = "uniform" } } }   -- optional: NAME-m, NAME-u
--
-- The argument table `a` of a loss:
--
--     map    the current flow map X        s, t   times, (n, 1), s <= t
--     x      I_s, (n, ...)                 dx     dI_s, its velocity
--     x0, x1 the base and data samples     stop   the stop-gradient choice
--     teacher  optional: a frozen flow map
--
-- and the fields of the variant, where "uniform" stands for one U[0,1] draw per sample, (n, 1).
-- Squared errors are summed over data dimensions; the trainer averages over the batch.
-- `fm.losses.lsd{ map = X, s = s, t = t, x = x }` calls a loss directly.
-- @module flowmap.losses

local fm = require "flowmap"
local files = require "flowmap.files"
local registry = require "flowmap.registry"
local source = require "flowmap.source"

local M = {}

--- |r|^2, summed over all but the first axis: (n, ...) -> (n)
-- @param r residuals
-- @treturn tensor
function M.norm2(r)
  local axes = {}
  for i = 2, #r.shape do axes[i - 1] = i end
  return fm.sum(fm.square(r), axes)
end

--- Stop the gradient through x when the choice is one of the listed ones.
-- @tparam string choice the loss's `stop`
-- @param x a tensor
-- @param ... the choices at which the gradient stops
-- @treturn tensor
function M.stop_if(choice, x, ...)
  for _, name in ipairs { ... } do
    if name == choice then return fm.stop(x) end
  end
  return x
end

--- A loss that large residuals pull at less: c^2 log(1 + L / c^2), which is L where L is small
-- beside c^2 (Cauchy's or Lorentz's; Black and Anandan 1996). Its minimum, L = 0, is the same.
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

local built -- of the files, once

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

--- The methods, and those of an experiment's own: functions or tables as above.
M.registry = registry.new { what = "method", field = "losses", plain = "function",
  table_fields = { loss = "function", stops = "table", variants = "table", args = "table" },
  needs = { "loss" }, built = built_methods }

--- Names of all off-diagonal methods, e.g. "lsd", "psd-m".
-- @tparam[opt] table own losses defined by an experiment, name -> loss
-- @treturn {string,...}
function M.names(own) return M.registry:names(own_methods(own)) end

--- Find a method by name.
-- @tparam string name e.g. "lsd" or "psd-m"
-- @tparam[opt] table own losses defined by an experiment
-- @tparam[opt] table cfg the run's settings, from which a loss with settings of its own is made
-- @treturn table { name =, loss =, stops =, args = fields of the variant, entry = name without the
--   variant, file = source module or nil }
function M.find(name, own, cfg)
  local found, as_registered = M.registry:find(name, own_methods(own))
  local it = found.it
  if found.file then require(found.file) end -- of all methods' files an input of this run
  local made = cfg and registry.value(it, cfg) or it
  local loss = type(made) == "function" and made or made.loss
  return {
    name = as_registered, loss = loss, stops = it.stops or { "default" }, args = found.args,
    entry = found.entry, file = found.file,
  }
end

return setmetatable(M, {
  __index = function(_, name)
    local path = "flowmap.losses." .. tostring(name)
    if not package.searchpath(path, package.path) then return nil end
    local it = require(path)
    return function(a)
      a.stop = a.stop or it.stops[1]
      return it.loss(a)
    end
  end,
})
