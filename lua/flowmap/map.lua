--- The flow map X_{s,t}(x) = x + (t - s) v_{s,t}(x), which is the identity at s = t.
--
-- A map is made from any function v(s, t, x): a network with its parameters, or a formula.
-- Its derivatives in t, in s and along a direction of x are forward-mode derivatives of the same
-- definition, so a loss reads like its equation.
--
-- Times are one per sample: (n), (n, 1), or (n, 1, ..., 1) of the rank of x. The last form is the
-- one that broadcasts against x, and the one that a formula is given.
-- @module flowmap.map

local fm = require "flowmap"
local column = require("flowmap.interpolants").column

local Map = {}
Map.__index = Map

local function of_velocity(v) return setmetatable({ v = v }, Map) end

--- A flow map from its velocity.
-- @tparam function v v(s, t, x) -> (n, ...); s and t are (n, 1, ..., 1), of the rank of x
-- @treturn Map
function Map.new(v)
  return of_velocity(function(s, t, x) return v(column(s, x), column(t, x), x) end)
end

-- Times as networks take them, (n, 1).
local function for_net(t) return fm.reshape(t, { t.shape[1], 1 }) end

--- The flow map of a network.
-- @tparam table net see flowmap.nets; it is given times of the shape (n, 1)
-- @tparam table params
-- @tparam[opt] table extra what else the network reads: labels, dropout, augment
-- @treturn Map
function Map.of(net, params, extra)
  return of_velocity(function(s, t, x)
    return net.v(params, for_net(s), for_net(t), x, extra)
  end)
end

--- The flow map of a network that has learnt classes and the null class, guided towards the former:
--     v = v_null + scale (v_label - v_null)
-- (classifier-free guidance; Ho, Salimans 2022). Scale 1 is the class alone, 0 the null class.
-- @tparam table net
-- @tparam table params
-- @param labels (n)
-- @tparam number scale
-- @treturn Map
function Map.guided(net, params, labels, scale)
  local of_class = Map.of(net, params, { labels = labels })
  local null = Map.of(net, params, { labels = fm.full(labels.shape, -1, labels.dtype) })
  if scale == 1 or scale == 0 then return scale == 1 and of_class or null end
  return of_velocity(function(s, t, x)
    local base = null.v(s, t, x)
    return base + scale * (of_class.v(s, t, x) - base)
  end)
end

--- X_{s,t}(x) = x + (t - s) v_{s,t}(x)
function Map:__call(s, t, x)
  s, t = column(s, x), column(t, x)
  return x + (t - s) * self.v(s, t, x) -- [eq:map]
end

--- b_t(x) = v_{t,t}(x), the velocity of the probability flow (tangent condition).
function Map:b(t, x)
  return self.v(t, t, x) -- [eq:tangent]
end

--- X_{s,t}(x) and d/dt X_{s,t}(x)
function Map:dt(s, t, x)
  return fm.jvp(function(time) return self(s, time, x) end, t, fm.ones(t.shape, t.dtype))
end

--- X_{s,t}(x) and d/ds X_{s,t}(x)
function Map:ds(s, t, x)
  return fm.jvp(function(time) return self(time, t, x) end, s, fm.ones(s.shape, s.dtype))
end

--- X_{s,t}(x) and grad X_{s,t}(x) . direction
function Map:dx(s, t, x, direction)
  return fm.jvp(function(point) return self(s, t, point) end, x, direction)
end

return Map
