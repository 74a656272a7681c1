--- Samplers: N steps of a flow map, an ODE solver on its velocity, or N steps of a map to t = 1.
-- @module flowmap.sampler

local fm = require "flowmap"
local interpolants = require "flowmap.interpolants"
local Map = require "flowmap.map"

local M = {}

local function times(x, value)
  return fm.full({ x.shape[1], 1 }, value, x.dtype)
end

local PIECE = 32768 -- largest number of samples per piece
-- Images per micro-batch, at least. Without a backward pass nothing is kept, and reading weights
-- once for four images instead of one makes sampling from a large network a quarter faster.
local IMAGES = 4

-- Concatenate the pieces; the core takes at most 64 tensors at a time.
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

--- dx/dt = v_{t,t}(x) by Euler's method, one evaluation per step.
-- @tparam Map X
-- @param x base samples, (n, ...)
-- @tparam integer N number of steps
-- @treturn tensor
function M.euler(X, x, N)
  for i = 0, N - 1 do x = x + (1 / N) * X:b(times(x, i / N), x) end
  return x
end

--- dx/dt = v_{t,t}(x) by Heun's method, two evaluations per step.
-- @tparam Map X
-- @param x base samples, (n, ...)
-- @tparam integer N number of steps
-- @treturn tensor
function M.heun(X, x, N)
  local h = 1 / N
  for i = 0, N - 1 do
    local b = X:b(times(x, i * h), x)
    local ahead = x + h * b
    x = x + h / 2 * (b + X:b(times(x, (i + 1) * h), ahead))
  end
  return x
end

--- Multistep consistency sampling, which reads X_{s,1} alone: x <- X_{t_i, 1}(alpha z_i + beta x)
-- with t_i = i / N and fresh noise z_i in every step after the first (Song et al. 2023, arXiv
-- 2303.01469, algorithm 1).
-- @tparam Map X
-- @param x base samples, (n, ...)
-- @tparam integer N number of steps
-- @tparam table how { noise = function(i) -> base samples of the shape of x, interpolant = }
-- @treturn tensor
function M.consistency(X, x, N, how)
  local one = times(x, 1)
  x = X(times(x, 0), one, x)
  for i = 1, N - 1 do
    local t = times(x, i / N)
    x = X(t, one, (interpolants.at(how.interpolant, t, how.noise(i), x)))
  end
  return x
end

--- The samplers by the name of the setting `sampler`.
M.named = { map = M.steps, euler = M.euler, heun = M.heun, consistency = M.consistency }

-- Number of samples per piece: a piece has a few megabytes.
local function piece_size(cfg)
  return math.max(64, math.min(PIECE, (1 << 20) // cfg.dim))
end

-- Labels of `count` samples from number `first` on: the class of sample k is k mod classes.
local function labels_of(cfg, first, count)
  local k = fm.arange(count, "float64") + first
  return fm.cast(k - cfg.classes * fm.floor((k + 0.5) / cfg.classes), cfg.dtype)
end

-- The program that draws samples by N steps.
local function sample_program(job, params, N, method)
  local cfg, conditional = job.cfg, job.cfg.classes > 0
  return fm.program(function(input, b)
    local X = conditional and Map.guided(job.net, input.params, b.rows.labels, cfg.guidance)
      or Map.of(job.net, input.params)
    local function base(stream)
      return cfg.sigma * fm.cast(b:normal(cfg.shape, stream), cfg.dtype)
    end
    local x0, how = base "sample", { interpolant = job.interpolant }
    function how.noise(i) return base("sample, step " .. i) end
    return { rows = { x = (method or M.named[cfg.sampler or "map"])(X, x0, N, how) } }
  end, { shared = { params = params }, rows = conditional and { labels = { dtype = cfg.dtype } },
    micro = #cfg.shape > 1 and math.max(cfg.micro, IMAGES) or 512 })
end

--- Trace the sampler's program for one step without running it, so that a network that cannot be
-- sampled from is refused before it is trained.
-- @tparam table job see flowmap.job: cfg, net
-- @tparam table params
function M.rehearse(job, params)
  sample_program(job, params, 1):trace(2, 0, 2).trace:close()
end

--- A source of samples: base noise mapped in pieces, so that a long draw can report progress and be
-- interrupted. Sample k depends only on the seed and k; with a conditional network it is of class
-- k mod classes, guided by the setting `guidance`.
-- @tparam table job see flowmap.job: cfg, net
-- @tparam table params
-- @tparam integer N
-- @tparam[opt] function method (X, x0, N, how) -> samples; nil: by the setting `sampler`
-- @treturn function draw(count, seed, tick, use) -> (count, ...); tick(done) is called after each
-- piece. If `use` is given, use(x, first) is called with each piece (first: the number of its first
-- sample, from 0) and nothing is returned, so that a long draw needs little memory
function M.generator(job, params, N, method)
  local cfg, shared = job.cfg, { params = params }
  local conditional = cfg.classes > 0
  local program = sample_program(job, params, N, method)
  return function(count, seed, tick, use)
    local pieces, done, size, number = {}, 0, piece_size(cfg), 0
    while done < count do
      local batch = math.min(size, count - done)
      local x = program:run {
        shared = shared, batch = batch, seed = seed, step = number,
        rows = conditional and { labels = labels_of(cfg, done, batch) } or nil,
      }.rows.x
      if use then use(x, done) else pieces[#pieces + 1] = x end
      done, number = done + batch, number + 1
      if tick then tick(done) end
    end
    if not use then return joined(pieces) end
  end
end

return M
