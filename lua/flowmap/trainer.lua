--- Training: a job (network, data, loss, optimiser) and the loop over its steps.
-- @module flowmap.trainer

local fm = require "flowmap"
local Progress = require "flowmap.base.progress"
local checkpoint = require "flowmap.checkpoint"
local data = require "flowmap.data"
local effect = require "flowmap.experiment.effect"
local errors = require "flowmap.base.errors"
local evaluate = require "flowmap.measure.evaluate"
local files = require "flowmap.base.files"
local journal = require "flowmap.runs.journal"
local law = require "flowmap.experiment.law"
local losses = require "flowmap.losses"
local nets = require "flowmap.nets"
local interpolants = require "flowmap.interpolants"
local schedule = require "flowmap.schedule"
local settings = require "flowmap.experiment.settings"
local program = require "flowmap.program"
local step_program = require "flowmap.step"
local times = require "flowmap.times"

local M = {}

-- A network with classes needs data with as many.
local function check_classes(cfg, set)
  if cfg.classes > 0 and cfg.classes ~= (set.classes or 0) then
    errors.usage("classes is %d, but the data set '%s' has %s", cfg.classes, cfg.data,
      set.classes and set.classes .. " classes" or "no labels")
  end
end

--- Give a job its images, as bytes, all or the first of them: data, labels, count. They are looked
-- for, imported or drawn now: only training needs them.
-- @tparam table job what `parts` returned, of a data set of images
function M.open_images(job)
  local cfg, set = job.cfg, job.set
  check_classes(cfg, set)
  job.data, job.labels = set.table, cfg.classes > 0 and set.labels or nil
  job.count = cfg.dataset_size > 0 and math.min(cfg.dataset_size, set.count) or set.count
end

--- The parts that a run's settings name, without parameters or optimiser, and without images.
-- @tparam table experiment
-- @tparam table cfg resolved settings
-- @treturn table job { experiment =, cfg = with shape, dim and sigma, set =, loss =, net =,
--   data = a table of samples or nil, count = its length }
function M.parts(experiment, cfg)
  local job = { experiment = experiment, cfg = {}, read = {} }
  math.randomseed(cfg.seed or 0) -- for parts of the experiment's own that draw by Lua's generator
  for _, it in ipairs(settings.list) do job.cfg[it[1]] = it[2] end -- older checkpoints have fewer
  for key, value in pairs(cfg) do job.cfg[key] = value end
  cfg = job.cfg
  job.view = effect.view(cfg, job.read)
  local set = data.reduced(data.find(cfg.data, experiment.data, job.view), cfg.resolution)
  job.set, job.loss = set, losses.find(cfg.method, experiment.losses, job.view)
  job.times = times.find(cfg.times, experiment.times, job.view)
  job.interpolant = interpolants.find(cfg.interpolant, experiment.interpolants, job.view)
  if not set.shape then check_classes(cfg, set) end
  if not set.shape and cfg.dataset_size > 0 then -- the same draw for every seed of the training
    job.data, job.count = data.draw(set, cfg.dataset_size, 0, cfg.dtype), cfg.dataset_size
  end
  if cfg.sigma == 0 then
    job.cfg.sigma = job.data and data.sd(job.data) or law.sd(set, cfg.data)
    if job.cfg.sigma == 0 then
      errors.usage("the data set '%s' has the standard deviation 0 (dataset_size is %d), and so "
        .. "would its base; set sigma", cfg.data, cfg.dataset_size)
    end
  end
  job.cfg.shape = set.shape or { set.dim } -- of a sample
  job.cfg.dim = 1                          -- the number of its values
  for _, n in ipairs(job.cfg.shape) do job.cfg.dim = job.cfg.dim * n end
  job.net = nets.build(job.view, experiment.nets)
  return job
end

-- The parameters' shapes, as values that take no memory.
local function shapes(job)
  local trace = fm.trace()
  return job.net.init(function(shape) return trace:full(shape, 0, job.cfg.dtype) end)
end

--- Load the weights of a checkpoint. A network that is not the suite's comes from an experiment
-- that the caller names, never from one that the checkpoint names: see flowmap.runs.pin.
-- @tparam string path
-- @tparam[opt] integer average which average, from 1; 0: the weights; nil: as evaluated
-- @tparam[opt] table code { path = an experiment's file, option = what names it, experiment = }
-- @treturn table job { cfg =, net = }
-- @treturn table params
function M.load(path, average, code)
  if not files.exists(path) then errors.data("there is no checkpoint %s", path) end
  local saved = checkpoint.load(path)
  local k = average or saved.cfg.eval_ema
  if k > #saved.cfg.ema then
    errors.raise(average and "usage" or "data",
      "there is no average %d in %s; it keeps %d", k, path, #saved.cfg.ema)
  end
  local job = checkpoint.job(saved, code or { option = "--experiment FILE" })
  return job, checkpoint.weights(saved, job, k)
end

-- The network and the weights of a run's teacher.
local function teacher(experiment, cfg)
  local file = cfg.teacher_experiment
  return M.load(cfg.teacher, nil, {
    option = "--set teacher_experiment=FILE", path = file ~= "" and file or nil,
    experiment = experiment,
  })
end

--- Where a job is: at its start, or where a checkpoint left it.
-- @tparam table job
-- @tparam[opt] table saved a loaded checkpoint
function M.continue(job, saved)
  job.done, job.wall_s, job.sums = 0, 0, M.new_sums()
  if not saved then return end
  if not saved.sums then
    errors.data("%s cannot be continued: it does not hold the state of a training", saved.path)
  end
  job.done, job.sums, job.metrics_hash = saved.step, saved.sums, saved.metrics
end

--- A job ready to train.
-- @tparam table experiment
-- @tparam table cfg resolved settings
-- @tparam[opt] table saved a loaded checkpoint to continue
-- @treturn table job with params, opt, program, shared, done = steps taken, sums,
--   wall_s, and where there are images data, count and labels
function M.new(experiment, cfg, saved)
  local job = M.parts(experiment, cfg)
  if job.set.shape then M.open_images(job) end
  M.continue(job, saved)
  job.params = saved and checkpoint.tree(saved, "params", shapes(job))
    or nets.init(job.net, nets.rng(cfg.seed, cfg.dtype), cfg)
  if not saved and job.net.renew then job.net.renew(job.params) end
  job.opt = fm.optimiser {
    kind = cfg.optimiser, params = job.params, b1 = cfg.b1, b2 = cfg.b2, eps = cfg.eps,
    weight_decay = cfg.weight_decay, clip = cfg.clip, ema = cfg.ema,
  }
  if saved then checkpoint.restore(saved, job.opt) end
  job.shared = { params = job.params, data = job.data, labels = job.labels }
  if cfg.teacher ~= "" then
    local of, params = teacher(experiment, job.cfg)
    job.teacher_net, job.shared.teacher = of.net, params
  end
  job.program = step_program.program(job, job.shared)
  return job
end

--- Number of diagonal samples in a batch: at least one.
-- @tparam table cfg
-- @treturn integer
function M.diagonal_count(cfg)
  return program.diagonal_rows(cfg.eta, cfg.batch, 0, cfg.batch)
end

local function finite(x) return x - x == 0 end

-- The first and last sample whose loss is not finite.
local function bad_rows(loss)
  local first, last
  for i, value in ipairs(loss:flat()) do
    if not finite(value) then first, last = first or i, i end
  end
  return first, last
end

-- Raise the sentence for numbers that are no longer finite; `cause` is the optimiser's error.
local function diverged(job, out, cause)
  local where = {}
  if not finite(out.sum.diagonal:item()) then where[1] = "the diagonal term" end
  if not finite(out.sum.off:item()) then where[#where + 1] = "the " .. job.cfg.method .. " term" end
  -- Both terms are shown without their weights, which may be what is not finite.
  if #where == 0 then where[1] = "the weighted terms (by robust, or the net's weight)" end
  local first, last = bad_rows(out.rows.loss)
  if first then
    errors.numeric("step %d: the loss is not finite in %s, samples %d to %d of %d; nothing was "
      .. "updated", job.done + 1, table.concat(where, " and "), first, last, job.cfg.batch)
  end
  errors.numeric("step %d: the losses are finite but the gradient is not: %s", job.done + 1,
    tostring(cause))
end

-- Weights back on their sphere, if the network asks for it, and the averages with them.
local function renew(job)
  if not (job.net and job.net.renew) then return end -- the classifier has no net of flowmap.nets
  local averages = {}
  for k, decay in ipairs(job.cfg.ema) do
    averages[k] = { decay = decay, params = job.opt:ema(k) }
  end
  job.net.renew(job.params, averages)
end

--- One step: losses, gradient, update, renewal.
-- @tparam table job
-- @treturn table { diagonal =, off = sums over samples, norm = gradient norm, lr = }
function M.step(job)
  local cfg = job.cfg
  local out = job.program:run { -- `reuse`: the outputs of a step serve no longer than it
    shared = job.shared, batch = cfg.batch, seed = cfg.seed, step = job.done, reuse = true,
  }
  local lr = schedule.rate(job.done, cfg)
  local diagonal, off = out.sum.diagonal:item(), out.sum.off:item()
  if not finite(diagonal + off) then diverged(job, out) end
  local ok, norm = pcall(job.opt.update, job.opt, out.sum.grads, lr, 1 / cfg.batch)
  if not ok then
    if type(norm) == "table" and norm.code == "numeric" then diverged(job, out, norm) end
    error(norm, 0)
  end
  renew(job)
  job.done = job.done + 1
  return { diagonal = diagonal, off = off, norm = norm, lr = lr }
end

-- Means of the steps since the last line.
local function means(job)
  local cfg, sums = job.cfg, job.sums
  local n, nd = sums.count, M.diagonal_count(cfg)
  return {
    step = job.done, samples = job.done * cfg.batch, lr = sums.lr,
    loss = (sums.diagonal + sums.off) / (n * cfg.batch), diag = sums.diagonal / (n * nd),
    off = cfg.batch > nd and sums.off / (n * (cfg.batch - nd)) or nil, grad_norm = sums.norm / n,
  }
end

--- Sums over the steps since the last line of metrics.jsonl; a checkpoint keeps them, so that a
-- resumed run writes the same line.
-- @treturn table
function M.new_sums() return { diagonal = 0, off = 0, norm = 0, count = 0 } end

local function add(sums, it)
  sums.diagonal, sums.off = sums.diagonal + it.diagonal, sums.off + it.off
  sums.norm, sums.count, sums.lr = sums.norm + it.norm, sums.count + 1, it.lr
end

-- What a run's history says of a start or a resumption.
local function segment(job)
  local info, about = fm.info(), job.about or {}
  return { step = job.done, time = os.date "!%Y-%m-%dT%H:%M:%SZ",
    revision = about.revision or "unknown", fingerprint = about.fingerprint,
    version = info.version, isa = info.isa, blas = info.blas, threads = info.threads,
    bfloat16 = job.cfg.precision == "bfloat16" and info.bfloat16 or nil }
end

-- The files that a training adds lines to, with the lines of the part that it continues.
local function open_logs(job, dir)
  local metrics = journal.metrics(dir, job.done, job.metrics_hash)
  local history, wall_s, starts = journal.history(dir, job.done)
  starts[#starts + 1] = segment(job)
  history:add(starts[#starts])
  job.wall_s, job.history = wall_s, starts
  if job.on_start then job.on_start(starts) end
  return setmetatable({ metrics = metrics, history = history }, { __close = function()
    metrics:close()
    history:close()
  end })
end

local function mark(job, logs)
  logs.history:add { step = job.done, wall_s = math.floor(job.wall_s * 1000 + 0.5) / 1000 }
end

-- What a checkpoint relies on is on disk before it.
local function save(job, path, logs)
  logs.metrics:sync()
  mark(job, logs)
  logs.history:sync()
  checkpoint.save(path, job, { step = job.done, sums = job.sums, metrics = logs.metrics:hash() })
end

--- Train until the last step, or until an interrupt: then save and raise "interrupted".
-- @tparam table job
-- @tparam string dir where metrics.jsonl, history.jsonl and checkpoint.safetensors go
function M.train(job, dir)
  local cfg, path = job.cfg, dir .. "/checkpoint.safetensors"
  fm.watch_signals()
  local logs <close> = open_logs(job, dir)
  local bar <close> = Progress.new("training", cfg.steps, job.done)
  local start, before, saved_at = fm.clock(), job.wall_s, fm.clock()
  local keep = evaluate.kept_weights(cfg, dir)
  while job.done < cfg.steps do
    add(job.sums, M.step(job))
    local now = fm.clock()
    job.wall_s = before + now - start
    local mean = (job.sums.diagonal + job.sums.off) / (job.sums.count * cfg.batch)
    bar:update(job.done, ("loss %.4f"):format(mean))
    if job.done % cfg.log_every == 0 or job.done == cfg.steps then
      logs.metrics:add(means(job))
      mark(job, logs)
      job.sums = M.new_sums()
    end
    if keep[job.done] then
      checkpoint.save_weights(keep[job.done], job, evaluate.weights(job), job.done)
    end
    local stop = fm.interrupted()
    if stop or job.done == cfg.steps or now - saved_at >= cfg.save_every then
      save(job, path, logs)
      saved_at = fm.clock()
    end
    if stop and job.done < cfg.steps then
      errors.raise("interrupted", "interrupted after step %d of %d; saved to %s, and --resume "
        .. "continues", job.done, cfg.steps, path)
    end
  end
end

return M
