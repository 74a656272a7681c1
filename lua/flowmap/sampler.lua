--- Samplers: N steps of a flow map, or an ODE solver on its velocity.
-- @module flowmap.sampler

local fm = require "flowmap"
local Map = require "flowmap.map"

local M = {}

local function times(x, value)
  return fm.full({ x.shape[1], 1 }, value, x.dtype)
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

--- A program that turns base noise into samples, row by row of a batch.
-- @tparam table job see flowmap.trainer: cfg, net
-- @tparam table params
-- @tparam integer N
-- @tparam[opt=M.steps] function method
-- @treturn function draw(count, seed) -> (count, dim)
function M.generator(job, params, N, method)
  local cfg, shared = job.cfg, { params = params }
  local program = fm.program(function(input, b)
    local X = Map.of(job.net, input.params)
    local x0 = cfg.sigma * fm.cast(b:normal({ cfg.dim }, "sample"), cfg.dtype)
    return { rows = { x = (method or M.steps)(X, x0, N) } }
  end, { shared = shared, rows = {}, micro = 512 })
  return function(count, seed)
    return program:run {
      shared = shared, rows = {}, batch = count, seed = seed, step = 0,
    }.rows.x
  end
end

return M
