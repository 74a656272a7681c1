--- flowmap: flow maps by self-distillation.
-- `require "flowmap"` gives one table: the functions of the numerical core (tensors, autodiff,
-- programs, optimisers, files) and the modules of this folder and those in it, each loaded when
-- first named: `fm.tensor`, `fm.grad`, `fm.losses.lsd`, `fm.interpolants.linear`, `fm.metrics`, ...
-- `fm.help()` lists the operations.
-- @module flowmap

require "flowmap.runs.source" -- first: it records what is loaded
local core = require "flowmap.core"
local errors = require "flowmap.base.errors"
local modules = require "flowmap.base.modules"
require "flowmap.tensor" -- each of these adds its functions to the core's table
require "flowmap.autodiff"
require "flowmap.program"
require "flowmap.show"
require "flowmap.optimiser"
require "flowmap.read_only"

local function unknown(key)
  local known = {}
  for name in pairs(core) do known[#known + 1] = name end
  local near = errors.near(tostring(key), known)
  error(("fm.%s: no such function or module%s"):format(key,
    near:find "did you mean" and near or "; fm.help() lists what there is"), 3)
end

local function module(key)
  local name = modules.find(key)
  return name and require(name)
end

local function lookup(self, key)
  local value = core[key]
  if value == nil and type(key) == "string" then value = module(key) end
  if value == nil then unknown(key) end
  rawset(self, key, value)
  return value
end

return setmetatable({}, { __index = lookup })
