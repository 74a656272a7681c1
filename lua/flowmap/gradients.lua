--- The gradients of the two terms of the objective, apart: their norms and the cosine between them,
-- as columns of metrics.jsonl at every `gradients_every`-th step. They are those of the next step's
-- batch at the present weights; training does not read them, so it keeps its bits.
-- @module flowmap.gradients

local fm = require "flowmap"
local autodiff = require "flowmap.autodiff"
local step = require "flowmap.step"

local M = {}

local function zeros(params)
  return autodiff.map(function(p) return fm.zeros(p.shape, p.dtype) end, params)
end

--- The program: the gradients `diagonal` and `off` of the two terms as they enter the objective,
-- each summed over the batch.
-- @tparam table job see flowmap.job
-- @tparam table shared as for flowmap.step.program
-- @treturn program
function M.program(job, shared)
  local cfg = job.cfg
  return fm.program(function(input, b)
    math.randomseed(cfg.seed or 0) -- as in flowmap.step.program
    local nd, crossed = step.split(cfg, b)
    local it = step.draw(job, input, b)
    local function losses(params) return step.losses(job, params, it, nd, b.n, crossed) end
    local function diagonal(params) return fm.sum((losses(params))) end
    local function off(params) return cfg.off_weight * fm.sum((select(2, losses(params)))) end
    return { sum = {
      diagonal = nd > 0 and fm.grad(diagonal)(input.params) or zeros(input.params),
      off = nd < b.n and fm.grad(off)(input.params) or zeros(input.params),
    } }
  end, { shared = shared, rows = {}, micro = cfg.micro, precision = cfg.precision })
end

-- The inner product of two trees of tensors, in float64.
local function dot(a, b)
  local x, y, sum = autodiff.leaves(a), autodiff.leaves(b), 0
  for i in ipairs(x) do
    sum = sum + fm.sum(fm.cast(x[i], "float64") * fm.cast(y[i], "float64")):item()
  end
  return sum
end

--- Norms of both gradients, of the mean over the batch, and their cosine.
-- @tparam table job with `gradients`, the program
-- @treturn number norm of the diagonal term's gradient
-- @treturn number norm of the off-diagonal term's
-- @treturn number cosine; not a number if a norm is 0 or not finite
function M.measure(job)
  local cfg = job.cfg
  local sum = job.gradients:run { shared = job.shared, batch = cfg.batch, seed = cfg.seed,
    step = job.done, reuse = true }.sum
  local a, b = math.sqrt(dot(sum.diagonal, sum.diagonal)), math.sqrt(dot(sum.off, sum.off))
  return a / cfg.batch, b / cfg.batch, dot(sum.diagonal, sum.off) / (a * b)
end

--- Add the columns grad_diag, grad_off and grad_cos to a line of metrics.jsonl, if they are due and
-- finite.
-- @tparam table line
-- @tparam table job see flowmap.job
-- @treturn table line
function M.add(line, job)
  if not job.gradients or job.done % job.cfg.gradients_every ~= 0 then return line end
  local diagonal, off, cosine = M.measure(job)
  if diagonal - diagonal == 0 and off - off == 0 and cosine == cosine then
    line.grad_diag, line.grad_off, line.grad_cos = diagonal, off, cosine
  end
  return line
end

return M
