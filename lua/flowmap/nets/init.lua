--- Registry of the networks. A network is one file of this folder, `NAME.lua`, which returns a
-- function from the run's settings to
--
--     { init = function(rng) ... end,            -- the parameters: a nested table of tensors
--       v = function(params, s, t, x, extra) ... end,  -- the velocity v_{s,t}(x), (n, ...)
--       weight = function(params, s, t) ... end, -- optional: w(s,t), (n); absent means 0
--       renew = function(params, averages) ... end } -- optional, see flowmap.renew: what is done
--                                   -- to the weights, in place, at the start and after each step
--
-- s and t are (n) or (n, 1). `extra` is nil or a table of
--
--     labels   (n): classes 0, 1, ... of the samples, -1 for none; if the network has classes
--     dropout  function(x, layer) -> x with a part of its values dropped; absent: no dropout.
--              `layer` names the place
--
-- `rng(shape, kind)` of `init` draws a tensor: kind is "lecun", "normal" or "zeros".
-- @module flowmap.nets

local fm = require "flowmap"
local files = require "flowmap.files"
local registry = require "flowmap.registry"

local M = {}

-- The files of this folder, by name; a constructor is loaded when it is called.
local function built()
  local nets = {}
  for _, name in ipairs(files.modules "flowmap.nets") do
    nets[name] = function(cfg) return require("flowmap.nets." .. name)(cfg) end
  end
  return nets
end

--- The networks, and those of an experiment's own: constructors.
M.registry = registry.new { what = "net", field = "nets", plain = "function",
  needs = { "new" }, built = built }

--- Names of all networks.
-- @tparam[opt] table own networks defined by an experiment, name -> constructor
-- @treturn {string,...}
function M.names(own) return M.registry:names(own) end

--- Build a network.
-- @tparam table cfg the run's settings; `cfg.net` is the name; `cfg.shape` and
-- `cfg.dim` (of a sample: its shape, its number of values) and `cfg.sigma` are set
-- @tparam[opt] table own networks defined by an experiment
-- @treturn table the network
function M.build(cfg, own)
  local it = M.registry:find(cfg.net, own)
  return (type(it) == "table" and it.new or it)(cfg)
end

-- The standard deviation of a normal variate truncated to [-2, 2].
local TRUNCATED_SD = 0.87962566103423978

-- Normal variates truncated to [-2, 2], by rejection: what fell outside is drawn again.
local function truncated(shape, dtype, seed, index)
  local x
  for round = 0, 63 do
    local y = fm.normal(shape, {
      seed = seed, stream = "init", step = index, row0 = round * shape[1], dtype = dtype,
    })
    x = x and fm.where(fm.le(fm.abs(x), 2), x, y) or y
    if fm.max_reduce(fm.abs(x)):item() <= 2 then return x end
  end
  return fm.clip(x, -2, 2)
end

--- A source of initial parameters: the k-th tensor drawn depends on the seed and k alone.
-- "lecun": truncated normal of variance 1 / fan-in for a weight (fan-in, fan-out); "normal":
-- N(0, 1); "zeros".
-- @tparam integer seed
-- @tparam string dtype
-- @treturn function rng(shape, kind)
function M.rng(seed, dtype)
  local index = -1
  return function(shape, kind)
    index = index + 1
    if kind == "zeros" then return fm.zeros(shape, dtype) end
    if kind == "normal" then
      return fm.normal(shape, { seed = seed, stream = "init", step = index, dtype = dtype })
    end
    return truncated(shape, dtype, seed, index) * (shape[1] ^ -0.5 / TRUNCATED_SD)
  end
end

return M
