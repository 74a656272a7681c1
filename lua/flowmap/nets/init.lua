--- Registry of the networks. A network is one file of this folder, `NAME.lua`, which returns a
-- function from the run's settings to
--
--     { init = function(rng) ... end,            -- the parameters: a nested table of tensors
--       v = function(params, s, t, x, extra) ... end,  -- the velocity v_{s,t}(x), (n, ...)
--       weight = function(params, s, t) ... end, -- optional: w(s,t), (n); absent means 0
--       renew = function(params, averages) ... end } -- optional, see flowmap.renew: changes the
--                                   -- weights in place, at the start and after each step
--
-- s and t are (n, 1), whatever the shape of x: inputs of `fm.concat` beside points, or of
-- `nn.time_code`. `interpolants.column(t, x)` is the form that broadcasts against images.
-- `extra` is nil or a table of
--
--     labels   (n): classes 0, 1, ... of the samples, -1 for none; if the network has classes
--     dropout  function(x, layer) -> x with some values dropped; absent: no dropout. `layer` is the
--              layer's name
--     augment  (n, 9): how the images were transformed, see flowmap.augment; absent: not at all
--
-- `rng(shape, kind)` of `init` draws a tensor: kind is "lecun", "normal" or "zeros".
-- @module flowmap.nets

local fm = require "flowmap"
local errors = require "flowmap.base.errors"
local files = require "flowmap.base.files"
local registry = require "flowmap.base.registry"
local returned = require "flowmap.base.returned"

local M = {}

-- The files of this folder, by name; a constructor is loaded when it is called.
local function built()
  local nets = {}
  for _, name in ipairs(files.modules "flowmap.nets") do
    nets[name] = function(cfg) return require("flowmap.nets." .. name)(cfg) end
  end
  return nets
end

--- The networks, and those of an experiment: constructors.
M.registry = registry.new { what = "net", field = "nets", plain = "function",
  needs = { "new" }, built = built }

--- Names of all networks.
-- @tparam[opt] table own networks defined by an experiment, name -> constructor
-- @treturn {string,...}
function M.names(own) return M.registry:names(own) end

-- The network, with checks of what its functions return.
local function checked(made, name)
  local who = ("the net '%s'"):format(name)
  returned.functions(made, who, { "init", "v" }, { "weight", "renew" })
  local net = setmetatable({}, getmetatable(made))
  for key, value in pairs(made) do net[key] = value end
  function net.v(params, s, t, x, extra)
    local v = returned.one(who .. ": v", made.v(params, s, t, x, extra))
    return returned.tensor(v, who .. ": v", x.shape, x.dtype, "the shape of x")
  end
  if made.weight then
    function net.weight(params, s, t)
      local w = returned.one(who .. ": weight", made.weight(params, s, t))
      return returned.tensor(w, who .. ": weight", { s.shape[1] }, s.dtype, "one value per sample")
    end
  end
  return net
end

-- The network as a function of s and the gap t - s, in place of s and t.
local function of_gap(net)
  local v, weight = net.v, net.weight
  function net.v(params, s, t, x, extra) return v(params, s, t - s, x, extra) end
  net.weight = weight and function(params, s, t) return weight(params, s, t - s) end
  return net
end

--- Build a network.
-- @tparam table cfg the run's settings; `cfg.net` is the name; `cfg.shape` and
-- `cfg.dim` (of a sample: its shape, its number of values) and `cfg.sigma` are set
-- @tparam[opt] table own networks defined by an experiment
-- @treturn table the network
function M.build(cfg, own)
  local it, name = M.registry:find(cfg.net, own)
  local net = checked((type(it) == "table" and it.new or it)(cfg), name)
  return cfg.conditioning == "gap" and of_gap(net) or net
end

--- The initial parameters of a network, checked.
-- @tparam table net
-- @tparam function rng see below
-- @tparam table cfg the run's settings
-- @treturn table
function M.init(net, rng, cfg)
  local who = ("the net '%s': init"):format(cfg.net)
  return returned.parameters(returned.one(who, net.init(rng)), who, cfg.dtype)
end

-- The standard deviation of a normal variate truncated to [-2, 2].
local TRUNCATED_SD = 0.87962566103423978

-- Normal variates truncated to [-2, 2], by rejection: values outside are redrawn.
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

local KINDS = { "lecun", "normal", "zeros" }

local function check_draw(shape, kind)
  if type(shape) ~= "table" then
    errors.usage("rng(shape, kind): the shape is a %s, expected a table of whole numbers",
      type(shape))
  end
  errors.choice("kind of initial values", kind, KINDS)
  if kind == "lecun" and #shape == 0 then
    errors.usage("rng(shape, kind): \"lecun\" has the variance 1 / fan-in, the first number of the "
      .. "shape; found an empty shape")
  end
end

--- A source of initial parameters: the k-th tensor drawn depends only on the seed and k.
-- "lecun": truncated normal of variance 1 / fan-in for a weight (fan-in, fan-out); "normal":
-- N(0, 1); "zeros".
-- @tparam integer seed
-- @tparam string dtype
-- @treturn function rng(shape, kind)
function M.rng(seed, dtype)
  local index = -1
  return function(shape, kind)
    index = index + 1
    check_draw(shape, kind)
    if kind == "zeros" then return fm.zeros(shape, dtype) end
    if kind == "normal" then
      return fm.normal(shape, { seed = seed, stream = "init", step = index, dtype = dtype })
    end
    return truncated(shape, dtype, seed, index) * (shape[1] ^ -0.5 / TRUNCATED_SD)
  end
end

return M
