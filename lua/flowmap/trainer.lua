--- Training: the loop over the steps of a job (see flowmap.job). A step returns named scalar terms;
-- each is checked, summed and logged under its name.
-- @module flowmap.trainer

local fm = require "flowmap"
local Progress = require "flowmap.base.progress"
local chain = require "flowmap.runs.chain"
local checkpoint = require "flowmap.checkpoint"
local curriculum = require "flowmap.curriculum"
local errors = require "flowmap.base.errors"
local files = require "flowmap.base.files"
local gradients = require "flowmap.gradients"
local jobs = require "flowmap.job"
local journal = require "flowmap.runs.journal"
local nets = require "flowmap.nets"
local ranks = require "flowmap.base.ranks"
local schedule = require "flowmap.schedule"
local step_program = require "flowmap.step"
local tree = require "flowmap.tree"

local M = {}

-- The shapes of the parameters, as traced values, which take no memory.
local function shapes(job)
  local trace = fm.trace()
  return job.net.init(function(shape) return trace:full(shape, 0, job.cfg.dtype) end)
end

--- Load the weights of a checkpoint. A network that is not part of the suite comes from an
-- experiment that the caller names, never from one that the checkpoint names: see
-- flowmap.runs.pin.
-- @tparam string path
-- @tparam[opt] integer average number of the average, from 1; 0: the weights; nil: as evaluated
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

-- A network that was trained on the diagonal alone: its map is a step of Euler's method.
local function on_diagonal(net)
  local held = setmetatable({}, { __index = net })
  function held.v(params, s, _, x, extra) return net.v(params, s, s, x, extra) end
  return held
end

-- The network and the weights of a run's teacher: of a checkpoint or, where that does not exist
-- yet, initial weights of the run that will write it.
local function teacher(experiment, cfg, before)
  local of, weights
  if before and not files.exists(cfg.teacher) then
    of = jobs.parts(experiment, before.cfg)
    weights = nets.init(of.net, nets.rng(cfg.seed, cfg.dtype), of.cfg)
  else
    local file = cfg.teacher_experiment
    of, weights = M.load(cfg.teacher, nil, {
      option = "--set teacher_experiment=FILE", path = file ~= "" and file or nil,
      experiment = experiment,
    })
  end
  local diagonal = step_program.diagonal_count(of.cfg) == of.cfg.batch
  return diagonal and on_diagonal(of.net) or of.net, weights
end

-- Copies of a teacher's weights, in the form of the run's own.
local function inherited(job, weights)
  local held = { tensors = {}, path = job.cfg.teacher }
  tree.each(function(tensor, name) held.tensors["params." .. name] = fm.copy(tensor) end, weights)
  return checkpoint.tree(held, "params", shapes(job))
end

-- The weights with which a new run begins: drawn, the teacher's, or those of the checkpoint
-- `start`, of which nothing else is used. Optimiser and averages begin with them.
local function first_weights(job, taught)
  local cfg = job.cfg
  if cfg.start == "teacher" then return inherited(job, taught) end
  if cfg.start ~= "" then
    if not files.exists(cfg.start) then
      errors.data("start: there is no checkpoint %s", cfg.start)
    end
    return checkpoint.tree(checkpoint.load(cfg.start), "params", shapes(job))
  end
  local params = nets.init(job.net, nets.rng(cfg.seed, cfg.dtype), cfg)
  if job.net.renew then job.net.renew(params) end
  return params
end

--- A job ready to train.
-- @tparam table experiment
-- @tparam table cfg resolved settings
-- @tparam[opt] table saved a loaded checkpoint to continue
-- @tparam[opt] table before the stage that will make the teacher, if it may not exist yet and the
--   job is only to be described
-- @treturn table job see flowmap.job
function M.new(experiment, cfg, saved, before)
  local job = jobs.parts(experiment, cfg)
  if job.set.shape then jobs.open_images(job) end
  local weights
  if cfg.teacher ~= "" then job.teacher_net, weights = teacher(experiment, job.cfg, before) end
  local params = saved and checkpoint.tree(saved, "params", shapes(job))
    or first_weights(job, weights)
  jobs.begin(job, params, { data = job.data, labels = job.labels, teacher = weights }, saved)
  if saved then checkpoint.restore(saved, job.opt) end
  if cfg.shard == 1 then job.opt:shard() end
  job.program = step_program.program(job, job.shared)
  if cfg.gradients_every > 0 then job.gradients = gradients.program(job, job.shared) end
  return job
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

-- Raise an error that says which terms and samples are not finite. `cause`: the optimiser's error.
local function diverged(job, out, terms, cause)
  local where = {}
  for _, term in ipairs(job.terms) do
    if not finite(terms[term.name]) then where[#where + 1] = ("the %s term"):format(term.words) end
  end
  -- The terms are logged without their weights, which may be what is not finite.
  if #where == 0 then where[1] = "the weighted terms (by p and c, or the net's weight)" end
  local first, last = bad_rows(out.rows.loss)
  if first then
    errors.numeric("step %d: the loss is not finite in %s, samples %d to %d of %d; nothing was "
      .. "updated", job.done + 1, table.concat(where, " and "), first, last, job.cfg.batch)
  end
  errors.numeric("step %d: the losses are finite but the gradient is not: %s", job.done + 1,
    tostring(cause))
end

-- Renormalise the weights and their averages, if the network requires it.
local function renew(job)
  if not (job.net and job.net.renew) then return end -- the classifier has no net of flowmap.nets
  local averages = {}
  for k, decay in ipairs(jobs.decays(job.cfg, job.done)) do
    averages[k] = { decay = decay, params = job.opt:ema(k) }
  end
  job.net.renew(job.params, averages)
end

-- The terms of a step by name, each summed over the batch; and the sum of all terms.
local function terms_of(job, out)
  local terms, total = {}, 0
  for _, term in ipairs(job.terms) do
    terms[term.name] = term.rows > 0 and out.sum[term.name]:item() or 0.0
    if not term.beside then total = total + terms[term.name] end
  end
  return terms, total
end

-- Values of the next step that change during the training.
local function feed(job)
  curriculum.feed(job.cfg, job.done, job.shared.fed)
  if job.shared.target then
    job.opt:decay(#job.cfg.ema + 1, curriculum.target_decay(job.cfg, job.done))
  end
end

--- One step: losses, gradient, update, renewal.
-- @tparam table job
-- @treturn table { terms = name -> sum over the samples, norm = gradient norm, lr = }
function M.step(job)
  local cfg = job.cfg
  feed(job)
  local out = job.program:run { -- `reuse`: its outputs are not used after the step
    shared = job.shared, batch = cfg.batch, seed = cfg.seed, step = job.done, reuse = true,
  }
  local lr = schedule.rate(job.done, cfg)
  local terms, total = terms_of(job, out)
  if not finite(total) then diverged(job, out, terms) end
  local ok, norm = pcall(job.opt.update, job.opt, out.sum.grads, lr, 1 / cfg.batch)
  if not ok then
    if type(norm) == "table" and norm.code == "numeric" then diverged(job, out, terms, norm) end
    error(norm, 0)
  end
  renew(job)
  job.done = job.done + 1
  return { terms = terms, norm = norm, lr = lr }
end

-- The mean loss since the last line of metrics.jsonl.
local function mean_loss(job)
  local total = 0
  for _, term in ipairs(job.terms) do
    if not term.beside then total = total + job.sums[term.name] end
  end
  return total / (job.sums.count * job.cfg.batch)
end

-- The next line of metrics.jsonl: means since the last one, of each term over its own samples.
local function means(job)
  local sums = job.sums
  local line = { step = job.done, samples = job.done * job.cfg.batch, lr = sums.lr,
    loss = mean_loss(job), grad_norm = sums.norm / sums.count }
  for _, term in ipairs(job.terms) do
    if term.rows > 0 then line[term.column] = sums[term.name] / (sums.count * term.rows) end
  end
  return line
end

local function add(sums, it)
  for name, value in pairs(it.terms) do sums[name] = sums[name] + value end
  sums.norm, sums.count, sums.lr = sums.norm + it.norm, sums.count + 1, it.lr
end

-- The entry of history.jsonl for a start or a resumption.
local function segment(job, about)
  local info = fm.info()
  return { step = job.done, time = os.date "!%Y-%m-%dT%H:%M:%SZ",
    revision = about.revision or "unknown", fingerprint = about.fingerprint,
    version = info.version, isa = info.isa, blas = info.blas, threads = info.threads,
    bfloat16 = job.cfg.precision == "bfloat16" and info.bfloat16 or nil }
end

-- Open the files to which a training appends; they keep the lines of the steps that it continues.
local function open_logs(job, dir, how)
  local metrics = journal.metrics(dir, job.done, job.metrics_hash)
  local links = chain.open(job, dir)
  local history, spent, starts = journal.history(dir, job.done)
  starts[#starts + 1] = segment(job, how.about or {})
  history:add(starts[#starts])
  job.wall_s, job.cpu_s, job.history = spent.wall_s, spent.cpu_s, starts
  if how.on_start then how.on_start(starts) end
  local logs = { metrics = metrics, chain = links, history = history }
  return setmetatable(logs, { __close = function()
    for _, log in pairs(logs) do log:close() end
  end })
end

local function mark(job, logs)
  logs.history:add { step = job.done, wall_s = jobs.seconds(job.wall_s),
    cpu_s = jobs.seconds(job.cpu_s) }
end

-- A function that updates the seconds, and seconds of processors, that a job has taken; it returns
-- the time.
local function watch(job)
  local start, wall_s = fm.clock(), job.wall_s
  local cpu_s = job.cpu_s and job.cpu_s - os.clock()
  return function()
    local now = fm.clock()
    job.wall_s, job.cpu_s = wall_s + now - start, cpu_s and cpu_s + os.clock()
    return now
  end
end

-- Everything that a checkpoint refers to reaches the disk before the checkpoint.
local function save(job, path, logs)
  local _ <close> = jobs.whole(job)
  logs.metrics:sync()
  logs.chain:sync()
  mark(job, logs)
  logs.history:sync()
  checkpoint.save(path, job, { step = job.done, sums = job.sums, metrics = logs.metrics:hash(),
    chain = logs.chain:hash() })
end

--- Train until the last step, or until an interrupt: then save and raise "interrupted".
-- @tparam table job
-- @tparam string dir for metrics.jsonl, history.jsonl and checkpoint.safetensors
-- @tparam[opt] table how { about = { revision =, fingerprint = } for the history,
--   on_start = function called with the list of starts and resumptions, this one included,
--   last = the step to stop after, instead of the last: a part is repeated, nothing is saved }
function M.train(job, dir, how)
  local cfg, path = job.cfg, dir .. "/checkpoint.safetensors"
  local last = how and how.last or cfg.steps
  fm.watch_signals()
  local logs <close> = open_logs(job, dir, how or {})
  local bar <close> = Progress.new("training", last, job.done)
  local time, saved_at = watch(job), fm.clock()
  local keep = jobs.kept_weights(cfg, dir)
  while job.done < last do
    add(job.sums, M.step(job))
    local now = time()
    bar:update(job.done, ("loss %.4f"):format(mean_loss(job)))
    if job.done % cfg.log_every == 0 or job.done == cfg.steps then
      logs.metrics:add(gradients.add(means(job), job))
      mark(job, logs)
      job.sums = jobs.new_sums(job)
    end
    logs.chain:step(job, logs.metrics)
    if keep[job.done] then
      checkpoint.save_weights(keep[job.done], job, jobs.evaluated(job), job.done)
    end
    local due = ranks.first and now - saved_at >= cfg.save_every
    local most = ranks.most(fm.interrupted() and 2 or due and 1 or 0) -- of all ranks' wishes
    local stop = most == 2
    if most > 0 or job.done == cfg.steps then
      save(job, path, logs)
      saved_at = fm.clock()
    end
    if stop then ranks.any(false) end -- the first has saved
    if stop and job.done < cfg.steps then
      errors.raise("interrupted", "interrupted after step %d of %d; saved to %s, and --resume "
        .. "continues", job.done, cfg.steps, path)
    end
  end
end

return M
