--- Whether an experiment's own functions treat samples one by one and keep no state.
--
-- A velocity that depends on the samples beside it is that of no flow map: samples would depend on
-- how many are drawn at once. A loss may do so on purpose, but often an axis was broadcast by
-- mistake: times (n, 1) by weights (n) are (n, n). Functions are called when a program is traced,
-- not in every step, so that a counter in them counts nothing.
-- @module flowmap.measure.apart

local fm = require "flowmap"
local Status = require "flowmap.base.status"
local autodiff = require "flowmap.autodiff"
local errors = require "flowmap.base.errors"
local jobs = require "flowmap.job"
local nets = require "flowmap.nets"
local step = require "flowmap.step"
local tree = require "flowmap.tree"

local M = {}

local ROUNDING = 1e-3 -- relative: sums of other lengths round otherwise

-- Whether two tensors of one shape differ by more than a part `bound` of the largest value; values
-- that are not finite are left to other checks.
local function differ(a, b, bound)
  local size, most = 0, 0
  b = b:flat()
  for k, x in ipairs(a:flat()) do
    if x - x == 0 then
      size, most = math.max(size, math.abs(x)), math.max(most, math.abs(x - b[k]))
    end
  end
  return most > bound * size
end

-- Weights near those given: networks often begin with zeros, of which nothing depends on anything.
local function moved(params)
  local k = 0
  return autodiff.map(function(w)
    k = k + 1
    return w + 0.1 * fm.normal(w.shape, { seed = 1, stream = "apart", step = k, dtype = w.dtype })
  end, params)
end

local MANY, FEW = 4, 2 -- samples beside each other

-- Check the network: the velocity of samples among others and of the same ones alone.
local function check_net(job, params)
  local cfg, weights = job.cfg, moved(params)
  local function draw(kind, shape, stream)
    return fm[kind]({ MANY, table.unpack(shape) }, { seed = 1, stream = stream, dtype = cfg.dtype })
  end
  local s, gap = draw("uniform", { 1 }, "s"), draw("uniform", { 1 }, "gap")
  local t, x = s + (1 - s) * gap, draw("normal", cfg.shape, "x")
  local labels = cfg.classes > 0 and fm.zeros(MANY, cfg.dtype) or nil
  local function v(count)
    local function rows(y) return y and fm.rows(y, 1, count) end
    return fm.rows(job.net.v(weights, rows(s), rows(t), rows(x), { labels = rows(labels) }), 1, FEW)
  end
  if differ(v(MANY), v(FEW), ROUNDING) then
    errors.usage("the net '%s': v of a sample changes with the samples beside it, expected a "
      .. "function of this sample alone: drawn samples would depend on their number", cfg.net)
  end
end

-- The losses of a batch, one per sample, traced at each call. All samples enter both terms: which
-- of them are diagonal depends on the micro-batches.
local function losses_of(job, batch, micro)
  local one = jobs.with(job, { batch = batch, micro = micro, devices = 1, both_terms = true })
  local program = step.values(one, one.shared)
  local how = { shared = one.shared, batch = batch, seed = one.cfg.seed, step = 0 }
  return program:run(how).rows.loss
end

-- Check the losses: those of the same samples, traced twice and each on its own. Returns whether
-- they depend on each other, of which the user is told.
local function check_losses(job)
  local batch, cfg = job.set.shape and 8 or 32, job.cfg
  local first = losses_of(job, batch, batch)
  if differ(first, losses_of(job, batch, batch), 0) then
    errors.usage("the loss '%s' has other values when it is traced again: it or a part that it "
      .. "calls keeps a state, such as a counter, but is called once and not in every step; "
      .. "a function of the batch alone is expected", cfg.method)
  end
  local coupled = cfg.coupling ~= "independent" or (job.loss.row or {}).compare == "groups"
  if coupled then return false end -- on purpose
  if not differ(first, losses_of(job, batch, 1), ROUNDING) then return false end
  Status.new(2):say(("note: method %s: the loss of a sample depends on the samples beside it in a "
    .. "micro-batch (micro is %d); is an axis broadcast by mistake, as in (n, 1) * (n)?"):format(
    cfg.method, cfg.micro))
  return true
end

--- Check a job whose experiment has parts of its own.
-- @tparam table job see flowmap.job
-- @param params the network's parameters
-- @treturn boolean whether the loss of a sample depends on the samples beside it
function M.check(job, params)
  local it, own = job.experiment, false
  for _, field in ipairs { "nets", "losses", "times", "interpolants", "data" } do
    own = own or it[field] and #tree.keys(it[field]) > 0
  end
  if not own then return false end
  local _, _, own_net = nets.registry:find(job.cfg.net, it.nets)
  if own_net then check_net(job, params) end
  return check_losses(job)
end

return M
