--- One training step as a traced program: draw a micro-batch, sum its losses, differentiate.
-- @module flowmap.step

local fm = require "flowmap"
local augment = require "flowmap.augment"
local autodiff = require "flowmap.autodiff"
local coupling = require "flowmap.coupling"
local data = require "flowmap.data"
local errors = require "flowmap.base.errors"
local groups = require "flowmap.groups"
local interpolants = require "flowmap.interpolants"
local layout = require "flowmap.layout"
local losses = require "flowmap.losses"
local nn = require "flowmap.nn"
local residuals = require "flowmap.residuals"
local returned = require "flowmap.base.returned"
local times = require "flowmap.times"
local Map = require "flowmap.map"

local M = {}

local DIAGONAL = losses.diagonal

--- Number of diagonal samples in a batch, see flowmap.layout.
-- @tparam table cfg settings eta, batch, devices, velocity, target
-- @treturn integer
function M.diagonal_count(cfg)
  return layout.counts(cfg.eta, cfg.batch, cfg.devices, layout.least(cfg)).diagonal
end

-- Whether a term enters the objective with a weight of its own for each sample.
local function has_weights(job, diagonal)
  if not job.loss then return false end -- a classifier is trained
  local cfg, row = job.cfg, job.loss.row
  if job.net.weight and not job.net.constant_weight then return true end
  if diagonal then return cfg.p_diagonal and cfg.p > 0 end
  return (cfg.p or 0) > 0 or row ~= nil and row.factor ~= nil
end

--- Divide a micro-batch into rows of the diagonal term and others.
-- @tparam table cfg settings
-- @param b the batch, see flowmap.program
-- @treturn integer
-- @treturn table rows that enter another term than they were drawn for
function M.split(cfg, b) return b:split(cfg.eta, cfg.devices, layout.least(cfg)) end

--- The terms of a step, see flowmap.job. Terms that are weighted per sample are logged a second
-- time, as they enter the objective.
-- @tparam table cfg settings eta, both_terms, batch, devices, method
-- @tparam ?table job see flowmap.job
-- @treturn {table,...}
function M.terms(cfg, job)
  local nd = M.diagonal_count(cfg)
  local no = cfg.both_terms and cfg.batch or cfg.batch - nd
  if cfg.both_terms then nd = cfg.batch end
  local list = { { name = "diagonal", column = "diag", rows = nd, words = "diagonal" },
    { name = "off", column = "off", rows = no, words = cfg.method } }
  if job and has_weights(job, true) then
    list[#list + 1] = { name = "diagonal_weighted", column = "diag_weighted", rows = nd,
      words = "weighted diagonal", beside = true }
  end
  if job and no > 0 and has_weights(job, false) then
    list[#list + 1] = { name = "off_weighted", column = "off_weighted", rows = no,
      words = "weighted " .. cfg.method, beside = true }
  end
  return list
end

-- The data samples of a micro-batch, (n, ...), and their labels (n) if the data set has labels.
local function draw_data(job, shared, b)
  if not shared.data then return data.sample(job.set, b) end
  local index = fm.reshape(fm.floor(job.count * b:uniform({ 1 }, "index")), { b.n })
  local labels = shared.labels and fm.gather(shared.labels, index)
  if job.set.shape then return data.images(job.set, shared.data, index), labels end
  return fm.gather(shared.data, fm.cast(index, shared.data.dtype)), labels
end

-- Labels with a random fraction `part` replaced by -1, the null class.
local function with_null(labels, part, b)
  if part == 0 then return labels end
  local u = fm.reshape(b:uniform({ 1 }, "null class"), { b.n })
  return fm.where(fm.lt(u, part), -1, labels)
end

-- The dropout function that networks are given in the diagonal term; each layer has its own random
-- numbers.
local function dropout(rate, b)
  if rate == 0 then return nil end
  local mask = nn.masks(b)
  return function(x) return nn.dropout(x, rate, mask) end
end

-- That of the off-diagonal term. All evaluations within a sample's loss share the masks, because
-- the loss is a property of one map; consistency training does the same (Song et al. 2023).
local function shared_dropout(cfg, b)
  if cfg.dropout == 0 or not cfg.dropout_off then return nil end
  return function(x, layer)
    if type(layer) ~= "string" then
      errors.usage("the net %s does not name the layers of its dropout, which dropout_off needs",
        cfg.net)
    end
    return x * b:dropout(x, cfg.dropout, "off-diagonal dropout " .. layer)
  end
end

--- All random inputs of a micro-batch; `a` and `c` are two columns of U[0,1], from which the times
-- are made.
-- @tparam table job see flowmap.job
-- @tparam table shared the inputs of the program that do not depend on the batch
-- @param b the batch, see flowmap.program
-- @treturn table
function M.draw(job, shared, b)
  local cfg = job.cfg
  local function typed(x) return fm.cast(x, cfg.dtype) end
  local uniform = typed(b:uniform({ 2 }, "times"))
  local own = cfg.both_terms and typed(b:uniform({ 2 }, "diagonal times"))
  local drawn, labels = draw_data(job, shared, b)
  local augmented, changes = augment.apply(drawn, b, cfg)
  local x1, x0 = typed(augmented), cfg.sigma * typed(b:normal(cfg.shape, "base")) -- [eq:base]
  local it = {
    x1 = x1, x0 = coupling.pair(cfg.coupling, x0, x1),
    a = fm.slice(uniform, 2, 1, 1),
    c = fm.slice(uniform, 2, 2, 1),
    diagonal_a = own and fm.slice(own, 2, 1, 1), diagonal_c = own and fm.slice(own, 2, 2, 1),
    labels = cfg.classes > 0 and typed(with_null(labels, cfg.label_dropout, b)) or nil,
    augment = changes and typed(changes), dropout = dropout(cfg.dropout, b),
    dropout_off = shared_dropout(cfg, b), teacher_params = shared.teacher,
    target_params = shared.target,
  }
  for name, value in pairs(job.loss.args) do
    it[name] = value == "uniform" and typed(b:uniform({ 1 }, "loss " .. name)) or value
  end
  local fed = shared.fed or {}
  if fed.g then it.g = fm.ones(it.a.shape, cfg.dtype) * fed.g end
  it.fed = fed
  return it
end

-- Rows first .. first + count - 1 of every tensor in a table; other values are kept.
local function rows(it, first, count)
  local out = {}
  for name, value in pairs(it) do
    out[name] = type(value) == "userdata" and fm.slice(value, 1, first, count) or value
  end
  return out
end

-- The maps beside the trained one, each made when a loss first reads it: the teacher; the map that
-- targets read, if its weights are others; the trained map with its weights held fixed.
local function other_maps(job, params, it, extra)
  local target = job.cfg.target
  local make = {
    teacher = function()
      if job.read then job.read.teacher = true end -- the loss reads it
      return it.teacher_params and Map.of(job.teacher_net, it.teacher_params,
        { labels = extra.labels, augment = extra.augment }) -- a frozen map has no dropout
    end,
    target = function()
      if target == "frozen" then return it.teacher end
      return target == "ema" and Map.of(job.net, it.target_params, extra) or nil
    end,
    held = function() return Map.of(job.net, autodiff.map(fm.stop, params), extra) end,
  }
  return { __index = function(_, key) return make[key] and make[key]() end }
end

-- The exponent and the scale of the bounded losses: see flowmap.residuals.
local function exponent(cfg, diagonal)
  if diagonal then return cfg.p_diagonal and cfg.p or 0, cfg.c end
  return cfg.p or 0, cfg.c
end

-- The per-sample losses of one term, (n): exp(-w) R + w with the network's weight w(s,t), if it has
-- one, where R = R_p(L), times the method's factor, is the bounded loss of L; and L alone, which is
-- logged.
local function term(job, params, loss, it, stop)
  local extra = { labels = it.labels, dropout = it.dropout, augment = it.augment }
  it.x, it.dx = interpolants.at(job.interpolant, it.s, it.x0, it.x1)
  it.map, it.stop, it.cfg = Map.of(job.net, params, extra), stop, job.view
  setmetatable(it, other_maps(job, params, it, extra))
  local L = loss(it)
  local R = losses.bounded(L, exponent(job.cfg, loss == DIAGONAL))
  local row = loss ~= DIAGONAL and job.loss.row
  if row then R = residuals.weighted(row.factor, it, R) end
  if not job.net.weight then return R, L end
  local w = job.net.weight(params, it.s, it.t)
  return fm.exp(-w) * R + w, L -- [eq:weight]
end

-- The settings as a law of times sees them: those that a curriculum drives are scalar tensors.
local function view_of(job, fed)
  if not (fed and (fed.levels or fed.share)) then return job.view end
  return setmetatable({}, { __index = function(_, key)
    if not fed[key] then return job.view[key] end
    return job.view.curriculum and fed[key] -- recorded as read
  end })
end

-- The times of rows that are drawn off the diagonal.
local function draw_times(job, part)
  local a, c, row = part.a, part.c, job.loss.row
  if row and row.compare == "groups" then
    a, c = groups.shared(a, job.cfg.particles), groups.shared(c, job.cfg.particles)
  end
  local s, t, u = job.times(a, c, view_of(job, part.fed))
  local who = ("the law of times '%s'"):format(job.cfg.times)
  for _, value in ipairs { s or false, t or false } do
    returned.tensor(value or nil, who, part.a.shape, part.a.dtype, "s and t, each one per sample")
  end
  return s, t, u
end

-- The first `count` rows of a, then the rows of b behind them.
local function spliced(a, b, count)
  local rest = b.shape[1] - count
  if count == 0 or rest == 0 then return count == 0 and b or a end
  return fm.concat({ fm.slice(a, 1, 1, count), fm.slice(b, 1, count + 1, rest) }, 1)
end

-- The times of rows that are drawn on the diagonal.
local function draw_diagonal(job, part)
  local law = times.diagonal[job.cfg.times_diagonal or "uniform"]
  return law(part.diagonal_a or part.a, part.diagonal_c or part.c, view_of(job, part.fed),
    job.times)
end

-- Set the times of the diagonal term; in the last `crossed` rows t of rows drawn off the diagonal.
local function diagonal_times(job, part, crossed)
  local t = draw_diagonal(job, part)
  if crossed > 0 then
    local _, other = draw_times(job, part)
    t = spliced(t, other, t.shape[1] - crossed)
  end
  part.s, part.t = t, t
end

-- Set the times of the off-diagonal term; the first `crossed` rows are drawn on the diagonal, where
-- all of them are equal.
local function off_diagonal_times(job, part, crossed)
  local s, t, u = draw_times(job, part)
  local on = crossed > 0 and draw_diagonal(job, part) or t
  part.s, part.t, part.u = spliced(on, s, crossed), spliced(on, t, crossed),
    u and spliced(on, u, crossed)
end

local NONE = { from_off = 0, from_diagonal = 0 }

--- The per-sample losses of a micro-batch whose first `nd` rows are diagonal and whose other rows
-- are not; with `both_terms` all of them are in both terms.
-- @tparam table job see flowmap.job
-- @param params the network's parameters
-- @tparam table it what `draw` drew
-- @tparam integer nd
-- @tparam integer n
-- @tparam ?table crossed rows that enter another term than they were drawn for, see
--   flowmap.layout: { from_off =, from_diagonal = }; default: none
-- @return diagonal losses (nd) or nil, off-diagonal losses (n - nd) or nil
-- @treturn table the same two without weights, as they are logged: diagonal =, off =
function M.losses(job, params, it, nd, n, crossed)
  local diagonal, off
  crossed = crossed or NONE
  local bare, before = {}, nd -- rows before the off-diagonal ones
  if job.cfg.both_terms then nd, before = n, 0 end
  if nd > 0 then
    local part = rows(it, 1, nd)
    diagonal_times(job, part, crossed.from_off)
    diagonal, bare.diagonal = term(job, params, DIAGONAL, part, "default")
  end
  if before < n then
    local part = rows(it, before + 1, n - before)
    off_diagonal_times(job, part, crossed.from_diagonal)
    part.dropout = part.dropout_off
    off, bare.off = term(job, params, job.loss.loss, part, job.cfg.stop)
  end
  return diagonal, off, bare
end

local function total(x) return x and fm.sum(x) end

-- The sums over the samples of what is logged.
local function logged(job, values)
  local sum = {}
  for _, it in ipairs(M.terms(job.cfg, job)) do
    sum[it.name] = total(values[it.name]) or fm.zeros({}, job.cfg.dtype)
  end
  return sum
end

-- The losses of all samples, (n).
local function per_sample(job, diagonal, off)
  if not (diagonal and off) then return diagonal or off end
  return job.cfg.both_terms and diagonal + off or fm.concat({ diagonal, off }, 1)
end

--- Whether any gradient of the off-diagonal term reaches the network. A loss that stops them all
-- would leave the diagonal term to train alone. The program is traced, not run.
-- @tparam table job see flowmap.job
-- @tparam table shared as for `program`
-- @treturn boolean true also if the batch has no off-diagonal samples
function M.trains(job, shared)
  local reached = true
  fm.program(function(input, b)
    local nd, crossed = M.split(job.cfg, b)
    local params = autodiff.map(fm.copy, input.params)
    local _, off, bare = M.losses(job, params, M.draw(job, input, b), nd, b.n, crossed)
    if not off then return {} end
    local sum = fm.sum(bare.off) -- without the weight w, which always has a gradient
    reached = false
    for _, g in ipairs(b.trace:vjp({ sum }, { b.trace:full({}, 1, sum.dtype) },
      autodiff.leaves(params))) do
      reached = reached or g
    end
    return {}
  end, { shared = shared, rows = {}, micro = job.cfg.micro })
    :trace(job.cfg.batch, 0, math.min(job.cfg.micro, job.cfg.batch)).trace:close()
  return reached ~= false
end

--- The program of the losses alone, one per sample, as `program` has them.
-- @tparam table job see flowmap.job
-- @tparam table shared as for `program`
-- @treturn program
function M.values(job, shared)
  return fm.program(function(input, b)
    math.randomseed(job.cfg.seed or 0) -- as in `program`
    local nd, crossed = M.split(job.cfg, b)
    local diagonal, off = M.losses(job, input.params, M.draw(job, input, b), nd, b.n, crossed)
    return { rows = { loss = per_sample(job, diagonal, off) } }
  end, { shared = shared, rows = {}, micro = job.cfg.micro })
end

--- The program of a step. Its outputs are summed over the batch: `grads`, and the terms `diagonal`
-- and `off` without weights; or one per sample: `loss`, which shows where a loss is not finite.
-- @tparam table job see flowmap.job
-- @tparam table shared { params =; optional: data =, labels =, teacher =, target =, fed = what
--   flowmap.curriculum feeds }
-- @treturn program
function M.program(job, shared)
  return fm.program(function(input, b)
    math.randomseed(job.cfg.seed or 0) -- every trace draws alike, whatever was tried before it
    local nd, crossed = M.split(job.cfg, b)
    local it = M.draw(job, input, b)
    local diagonal, off, bare
    local function objective(params)
      diagonal, off, bare = M.losses(job, params, it, nd, b.n, crossed)
      if not off then return fm.sum(diagonal) end
      local weighted = job.cfg.off_weight * fm.sum(off)
      return diagonal and fm.sum(diagonal) + weighted or weighted
    end
    local _, grads = fm.value_and_grad(objective)(input.params)
    local sum = logged(job, { diagonal = bare.diagonal, off = bare.off,
      diagonal_weighted = diagonal, off_weighted = off })
    sum.grads = grads
    return { sum = sum, rows = { loss = per_sample(job, diagonal, off) } }
  end, { shared = shared, rows = {}, micro = job.cfg.micro, precision = job.cfg.precision })
end

return M
