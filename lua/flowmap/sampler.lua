--- Samplers: N steps of a flow map, N steps of a map to t = 1, or an ODE solver on the velocity,
-- with equal steps or with steps of its own choice.
-- @module flowmap.sampler

local fm = require "flowmap"
local interpolants = require "flowmap.interpolants"
local Map = require "flowmap.map"
local errors = require "flowmap.base.errors"
local ode = require "flowmap.ode"

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
    x = X(times(x, i / N), times(x, (i + 1) / N), x) -- [eq:sampling]
  end
  return x
end

-- N equal steps of an ODE solver on dx/dt = v_{t,t}(x).
local function solver(step)
  return function(X, x, N)
    local function b(t, y) return X:b(t, y) end -- [eq:flow]
    for i = 0, N - 1 do x = step(b, times(x, i / N), x, 1 / N) end
    return x
  end
end

--- dx/dt = v_{t,t}(x) by Euler's method, one evaluation per step, and by Heun's, two.
-- @tparam Map X
-- @param x base samples, (n, ...)
-- @tparam integer N number of steps
-- @treturn tensor
M.euler, M.heun = solver(ode.euler), solver(ode.heun)

--- Multistep consistency sampling, which reads X_{s,1} alone: x <- X_{t_i, 1}(alpha z_i + beta x)
-- with t_i = i / N and fresh noise z_i in every step after the first (Song et al. 2023, arXiv
-- 2303.01469, algorithm 1).
-- @tparam Map X
-- @param x base samples, (n, ...)
-- @tparam integer N number of steps
-- @tparam table how { noise = function(i) -> base samples of the shape of x, interpolant = }
-- @treturn tensor
function M.consistency(X, x, N, how)
  if N > 1 and not how.interpolant then
    errors.usage "consistency sampling needs the interpolant, which is an experiment's own"
  end
  local one = times(x, 1)
  x = X(times(x, 0), one, x)
  for i = 1, N - 1 do
    local t = times(x, i / N)
    x = X(t, one, (interpolants.at(how.interpolant, t, how.noise(i), x)))
  end
  return x
end

--- The samplers with a given number of steps, by the name of the setting `sampler`, and how often
-- each evaluates the network in a step.
M.named = { map = M.steps, euler = M.euler, heun = M.heun, consistency = M.consistency }
M.evaluations = { map = 1, euler = 1, heun = 2, consistency = 1 }

--- Whether a run's sampler chooses its steps itself.
-- @tparam table cfg
-- @treturn boolean
function M.is_adaptive(cfg) return cfg.sampler == "dopri5" end

-- Number of samples per piece: a piece has a few megabytes.
local function piece_size(cfg)
  return math.max(64, math.min(PIECE, (1 << 20) // cfg.dim))
end

-- Labels of `count` samples from number `first` on: the class of sample k is k mod classes, unless
-- one class is wanted.
local function labels_of(cfg, first, count, class)
  if class then return fm.full({ count }, class, cfg.dtype) end
  local k = fm.arange(count, "float64") + first
  return fm.cast(k - cfg.classes * fm.floor((k + 0.5) / cfg.classes), cfg.dtype)
end

-- A program of a function f(X, noise, rows), where X is the flow map that is sampled from, and
-- noise(stream) are base samples.
local function program_of(job, params, rows, f)
  local cfg, conditional = job.cfg, job.cfg.classes > 0
  if conditional then rows.labels = { dtype = cfg.dtype } end
  return fm.program(function(input, b)
    local X = conditional and Map.guided(job.net, input.params, b.rows.labels, cfg.guidance)
      or Map.of(job.net, input.params)
    local function noise(stream)
      return cfg.sigma * fm.cast(b:normal(cfg.shape, stream), cfg.dtype)
    end
    return f(X, noise, b.rows)
  end, { shared = { params = params }, rows = rows,
    micro = #cfg.shape > 1 and math.max(cfg.micro, IMAGES) or 512 })
end

-- The program that draws samples by N steps.
local function sample_program(job, params, N, method)
  method = method or M.named[job.cfg.sampler or "map"]
  return program_of(job, params, {}, function(X, noise)
    local how = { interpolant = job.interpolant }
    function how.noise(i) return noise("sample, step " .. i) end
    return { rows = { x = method(X, noise "sample", N, how) } }
  end)
end

-- ------------------------------------------------------------------ adaptive steps

-- The programs of the method of Dormand and Prince: the state at the start, and one attempt of a
-- step of each sample. Both count the samples that have not arrived.
local function adaptive_programs(job, params)
  local cfg = job.cfg
  local one, rows = { dtype = cfg.dtype }, {}
  local whole = { dtype = cfg.dtype, table.unpack(cfg.shape) }
  for i = 1, #cfg.shape do one[i] = 1 end
  for _, name in ipairs { "t", "h", "error", "grow", "nfe" } do rows[name] = one end
  rows.x, rows.k = whole, whole
  local function velocity(X) return function(t, x) return X:b(t, x) end end
  local start = program_of(job, params, {}, function(X, noise)
    return { rows = ode.begin(velocity(X), noise "sample", cfg) }
  end)
  local attempt = program_of(job, params, rows, function(X, _, state)
    state = ode.attempt(velocity(X), state, cfg)
    return { rows = state, sum = { left = fm.sum(fm.lt(state.t, 1)), nfe = fm.sum(state.nfe) } }
  end)
  return start, attempt
end

local ATTEMPTS = 1000 -- of steps

-- Integrate a piece until its last sample arrives; a sample that has arrived stays as it is.
-- Returns the samples, the sum of their evaluations, and the largest number of any.
local function integrate(start, attempt, how, cfg)
  local state = start:run(how).rows
  for _ = 1, ATTEMPTS do
    local labels = how.rows and how.rows.labels
    state.labels = labels
    local out = attempt:run { shared = how.shared, batch = how.batch, rows = state }
    state = out.rows
    if out.sum.left:item() == 0 then
      return state.x, out.sum.nfe:item(), fm.max_reduce(state.nfe):item()
    end
  end
  errors.numeric("dopri5: samples have not arrived after %d attempts of a step: the velocity is "
    .. "not finite, or the tolerances (rtol %g, atol %g) are too small for %s", ATTEMPTS, cfg.rtol,
    cfg.atol, cfg.dtype)
end

--- Trace the sampler's program for one step without running it, so that a network that cannot be
-- sampled from is refused before it is trained.
-- @tparam table job see flowmap.job: cfg, net
-- @tparam table params
function M.rehearse(job, params)
  if M.is_adaptive(job.cfg) then
    for _, program in ipairs { adaptive_programs(job, params) } do
      program:trace(2, 0, 2).trace:close()
    end
    return
  end
  sample_program(job, params, 1):trace(2, 0, 2).trace:close()
end

-- How a piece is made: a function of what a program runs with, which returns the samples, the sum
-- of their evaluations of the network, and the largest number of any.
local function maker(job, params, N, method)
  local cfg = job.cfg
  if M.is_adaptive(cfg) and not method then
    local start, attempt = adaptive_programs(job, params)
    return function(how) return integrate(start, attempt, how, cfg) end
  end
  local program = sample_program(job, params, N, method)
  local each = N * (M.evaluations[cfg.sampler] or 1)
  return function(how) return program:run(how).rows.x, each * how.batch, each end
end

--- A source of samples: base noise mapped in pieces, so that a long draw can report progress and be
-- interrupted. Sample k depends only on the seed and k; with a conditional network it is of class
-- k mod classes, guided by the setting `guidance`.
-- @tparam table job see flowmap.job: cfg, net
-- @tparam table params
-- @tparam integer N
-- @tparam[opt] function method (X, x0, N, how) -> samples; nil: by the setting `sampler`
-- @tparam[opt] integer class of all samples, from 0; the base noise stays that of the seed
-- @treturn function draw(count, seed, tick, use) -> (count, ...); tick(done) is called after each
-- piece. If `use` is given, use(x, first) is called with each piece (first: the number of its first
-- sample, from 0) and nothing is returned, so that a long draw needs little memory
-- @treturn table of the last draw: nfe = mean number of evaluations of the network per sample,
--   most = the largest number
function M.generator(job, params, N, method, class)
  local cfg, shared = job.cfg, { params = params }
  local conditional, make, cost = cfg.classes > 0, maker(job, params, N, method), {}
  return function(count, seed, tick, use)
    local pieces, done, size, number, sum = {}, 0, piece_size(cfg), 0, 0
    cost.most = 0
    while done < count do
      local batch = math.min(size, count - done)
      local x, evaluations, most = make {
        shared = shared, batch = batch, seed = seed, step = number,
        rows = conditional and { labels = labels_of(cfg, done, batch, class) } or nil,
      }
      sum = sum + evaluations
      cost.nfe, cost.most = sum / (done + batch), math.max(cost.most, most)
      if use then use(x, done) else pieces[#pieces + 1] = x end
      done, number = done + batch, number + 1
      if tick then tick(done) end
    end
    if not use then return joined(pieces) end
  end, cost
end

return M
