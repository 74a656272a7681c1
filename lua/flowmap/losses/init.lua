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
local errors = require "flowmap.errors"
local files = require "flowmap.files"

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

--- Names of all off-diagonal methods, e.g. "lsd", "psd-m".
-- @tparam[opt] table own losses defined by an experiment, name -> loss
-- @treturn {string,...}
function M.names(own)
  local names = {}
  for name in pairs(own or {}) do names[#names + 1] = name end
  for _, file in ipairs(files.modules "flowmap.losses") do
    local variants = require("flowmap.losses." .. file).variants
    for variant in pairs(variants or {}) do names[#names + 1] = file .. "-" .. variant end
    if not variants and file ~= "diagonal" then names[#names + 1] = file end
  end
  table.sort(names)
  return names
end

--- Find a method by name.
-- @tparam string name e.g. "lsd" or "psd-m"
-- @tparam[opt] table own losses defined by an experiment
-- @treturn table { loss =, stops =, args = fields of the variant, file = source module or nil }
function M.find(name, own)
  errors.choice("method", name, M.names(own))
  if own and own[name] then
    local it = own[name]
    if type(it) == "function" then it = { loss = it } end
    return { loss = it.loss, stops = it.stops or { "default" }, args = it.args or {} }
  end
  local file, variant = name:match "^([^-]+)-?(.*)$"
  local it = require("flowmap.losses." .. file)
  return {
    loss = it.loss, stops = it.stops, args = it.variants and it.variants[variant] or {},
    file = "flowmap.losses." .. file,
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
