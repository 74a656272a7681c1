--- The multilayer perceptron of the checkerboard:
--
--     v_{s,t}(x) = sigma * Dense(h_depth),  h_k = gelu(Dense(h_{k-1})),  h_0 = (s, t, x / sigma)
--
-- GELU is the tanh approximation, weights start LeCun-normal (truncated), biases 0; width 512 and
-- depth 5 in two dimensions make 1,054,210 parameters. There is no learned weight: w(s,t) = 1 only
-- scales the gradient by 1/e.
--
-- `features` = F > 0 appends sin and cos of (pi/2) k x, k = 1..F, to h_0: a network of limited
-- width then learns edges sooner. The period of k = 1 is 4, twice the side of [-1,1]^2.
-- @module flowmap.nets.mlp

local fm = require "flowmap"

-- The times as they are, or standardised as draws of U[0,1]: (t - 1/2) sqrt(12).
local function time(t, n, cfg)
  t = fm.reshape(t, { n, 1 })
  return cfg.time_input == "standard" and (t - 0.5) * math.sqrt(12) or t
end

local function input(s, t, x, cfg)
  local n = x.shape[1]
  local parts = { time(s, n, cfg), time(t, n, cfg), x / cfg.sigma }
  for k = 1, cfg.features do
    local phase = x * (math.pi / 2 * k)
    parts[#parts + 1] = fm.sin(phase)
    parts[#parts + 1] = fm.cos(phase)
  end
  return fm.concat(parts, -1)
end

local function dense(layer, h)
  return fm.matmul(h, layer.w) + layer.b
end

--- The network of a run.
-- @tparam table cfg the settings
-- @treturn table its functions: see flowmap.nets
return function(cfg)
  local net = {}

  function net.init(rng)
    local layers = {}
    local fan_in = 2 + cfg.dim * (1 + 2 * cfg.features)
    for k = 1, cfg.depth + 1 do
      local fan_out = k <= cfg.depth and cfg.width or cfg.dim
      layers[k] = { w = rng({ fan_in, fan_out }, "lecun"), b = rng({ fan_out }, "zeros") }
      fan_in = fan_out
    end
    return layers
  end

  function net.v(params, s, t, x)
    local h = input(s, t, x, cfg)
    for k = 1, cfg.depth do h = fm.gelu(dense(params[k], h)) end
    return dense(params[cfg.depth + 1], h) * cfg.sigma
  end

  net.constant_weight = true

  function net.weight(_, s, _)
    return fm.ones({ s.shape[1] }, s.dtype)
  end

  return net
end
