--- Optimisers on nested tables of parameters.
-- @module flowmap.optimiser

local core = require "flowmap.core"
local autodiff = require "flowmap.autodiff"
local counted = require "flowmap.base.counted"
local errors = require "flowmap.base.errors"
local read_only = require "flowmap.read_only"
local tree = require "flowmap.tree"

local Optimiser = {}
Optimiser.__index = Optimiser

--- A list in the structure of the parameters.
function Optimiser:nested(list)
  local k = 0
  return autodiff.map(function()
    k = k + 1
    return list[k]
  end, self.params)
end

--- One step in place: g = scale * grads, clipped by its global norm.
-- @treturn number the norm before clipping
function Optimiser:update(grads, lr, scale)
  local list = autodiff.paired(self.params, grads, "optimiser: the gradients")
  return self.core:update(list, lr, scale)
end

--- The k-th average of the parameters, in their structure: the live tensors, which each step
-- overwrites.
function Optimiser:ema(k)
  if math.type(k) ~= "integer" or k < 1 or k > self.averages then
    errors.usage("optimiser: there is no average %s; it keeps %d", tostring(k), self.averages)
  end
  return self:nested(self.core:state(1 + k))
end

--- Set the decay of the k-th average from the next step on.
function Optimiser:decay(k, value) self.core:decay(k, value) end

--- All state by name: `m.NAME`, `v.NAME`, `ema1.NAME`, ...; the tensors are the live ones.
function Optimiser:state()
  local state = {}
  for what = 0, 1 + self.averages do
    local list, k = self.core:state(what), 0
    tree.each(function(_, name)
      k = k + 1
      local prefix = what == 0 and "m" or what == 1 and "v" or "ema" .. what - 1
      state[prefix .. "." .. name] = list[k]
    end, self.params)
  end
  return state
end

--- Divide the moments among the ranks, see flowmap.base.ranks: each keeps those of its part of the
-- parameters, which it updates for all. No bit changes.
function Optimiser:shard() self.core:shard() end

--- Give the first rank all moments, until `shard` is called again; all ranks call it.
function Optimiser:gather() self.core:gather() end

--- The number of steps taken; settable, for resumption.
function Optimiser:steps(n) return self.core:steps(n) end

-- State is kept by name: { ["a.b"] = x, a = { b = y } } would keep that of one of the two.
local function check_names(params)
  local seen = {}
  tree.each(function(_, name)
    if seen[name] then errors.usage("optimiser: two parameters have the name '%s'", name) end
    seen[name] = true
  end, params)
end

local FIELDS = { "kind", "params", "b1", "b2", "eps", "weight_decay", "clip", "ema" }

--- An optimiser.
-- @tparam table conf { kind = "radam" or "adamw", params =, b1 =, b2 =, eps =, weight_decay = (of
-- adamw; radam has none), clip = bound on the global norm (0: none), ema = list of decays }
-- @treturn Optimiser
local function optimiser(conf)
  local params = type(conf) == "table" and conf.params
  if type(params) ~= "table" then
    errors.usage("optimiser: params is a %s, expected a table of tensors", type(params))
  end
  errors.fields("optimiser", conf, FIELDS)
  check_names(params)
  local leaves = autodiff.leaves(params)
  for _, x in ipairs(leaves) do read_only.check("optimiser", x) end
  local optim = core.optim(conf, leaves) -- checks the other fields
  return setmetatable({ params = params, averages = #(conf.ema or {}), core = optim }, Optimiser)
end

counted.methods("optimiser", Optimiser)
core.optimiser = counted.counted("optimiser", optimiser)

return { optimiser = optimiser }
