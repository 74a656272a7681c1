--- Samplers: N steps of a flow map, or an ODE solver on its velocity.
-- @module flowmap.sampler

local fm = require "flowmap"
local Map = require "flowmap.map"

local M = {}

local function times(x, value)
  return fm.full({ x.shape[1], 1 }, value, x.dtype)
end

local PIECE = 32768

-- Pieces one after the other; the core's concatenation takes 64 at a time.
local function joined(pieces)
  while #pieces > 1 do
    local longer = {}
    for first = 1, #pieces, 64 do
      longer[#longer + 1] = fm.concat(table.move(pieces, first, first + 63, 1, {}), 1)
    end
    pieces = longer
  end
  return pieces[1]
end

--- x <- X_{t_i, t_{i+1}}(x) with t_i = i / N, from x0 to t = 1.
-- @tparam Map X
-- @param x base samples, (n, ...)
-- @tparam integer N number of steps
-- @treturn tensor
function M.steps(X, x, N)
  for i = 0, N - 1 do
    x = X(times(x, i / N), times(x, (i + 1) / N), x)
  end
  return x
end

--- The flow-matching baseline: dx/dt = v_{t,t}(x) by Heun's method, two evaluations per step.
-- @tparam Map X
-- @param x base samples, (n, ...)
-- @tparam integer N number of steps
-- @treturn tensor
function M.ode(X, x, N)
  local h = 1 / N
  for i = 0, N - 1 do
    local b = X:b(times(x, i * h), x)
    local ahead = x + h * b
    x = x + h / 2 * (b + X:b(times(x, (i + 1) * h), ahead))
  end
  return x
end

--- A source of samples: base noise through the map, in pieces, so that a long draw can tell how far
-- it is and be interrupted. Sample k depends on the seed and k alone.
-- @tparam table job see flowmap.trainer: cfg, net
-- @tparam table params
-- @tparam integer N
-- @tparam[opt=M.steps] function method
-- @treturn function draw(count, seed, tick) -> (count, dim); tick(done) is called after each piece
function M.generator(job, params, N, method)
  local cfg, shared = job.cfg, { params = params }
  local program = fm.program(function(input, b)
    local X = Map.of(job.net, input.params)
    local x0 = cfg.sigma * fm.cast(b:normal({ cfg.dim }, "sample"), cfg.dtype)
    return { rows = { x = (method or M.steps)(X, x0, N) } }
  end, { shared = shared, micro = 512 })
  return function(count, seed, tick)
    local pieces, done = {}, 0
    while done < count do
      local batch = math.min(PIECE, count - done)
      pieces[#pieces + 1] = program:run {
        shared = shared, batch = batch, seed = seed, step = #pieces,
      }.rows.x
      done = done + batch
      if tick then tick(done) end
    end
    return joined(pieces)
  end
end

return M
