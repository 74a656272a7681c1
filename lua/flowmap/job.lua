--- A job: everything that one training consists of. `parts` finds what the settings name, `begin`
-- adds parameters, optimiser and counters, and the trainer, the sampler and the evaluation pass the
-- job on. It has the fields listed here and no others.
-- @module flowmap.job

local fm = require "flowmap"
local curriculum = require "flowmap.curriculum"
local data = require "flowmap.data"
local effect = require "flowmap.experiment.effect"
local errors = require "flowmap.base.errors"
local interpolants = require "flowmap.interpolants"
local losses = require "flowmap.losses"
local nets = require "flowmap.nets"
local settings = require "flowmap.experiment.settings"
local step = require "flowmap.step"
local times = require "flowmap.times"

local M = {}

--- The fields of a job. A job that only samples has `cfg` and `net`; `parts` fills the first group.
-- @table job
--
-- Named by the settings:
-- @field experiment the experiment: its path and the parts of its own
-- @field cfg the settings, with `shape` and `dim` of a sample, and `sigma`, the base's deviation
-- @field view `cfg` as parts see it; reading a setting through it is recorded in `read`
-- @field read key -> true: the settings that parts have read so far
-- @field set the data set, see flowmap.data
-- @field loss the off-diagonal term, see flowmap.losses.find
-- @field times the law of (s, t), see flowmap.times
-- @field interpolant see flowmap.interpolants
-- @field net the network, see flowmap.nets
-- @field data samples drawn once, or the bytes of all images; nil: every step draws its own
-- @field labels of `data`, (count); nil: none
-- @field count number of samples in `data`
--
-- The state of the training:
-- @field params tree of parameters; the optimiser updates them in place
-- @field opt the optimiser: moments and averages
-- @field shared the inputs of `program` that do not depend on the batch; `params` is one of them
-- @field program one step: returns `grads` and the sum of each term over its samples
-- @field gradients the program of flowmap.gradients, if they are measured
-- @field terms list of the scalar terms that a step returns: { name = in the program's sums and in
--   checkpoints, column = in metrics.jsonl, rows = its samples in a batch,
--   words = its name in sentences, beside = whether it is only logged and no part of the loss };
--   one without samples (rows is 0) counts as 0
-- @field teacher_net the network of the frozen map, if there is one; its weights are in `shared`
-- @field students where a student teaches one of half its steps: steps -> its checkpoint
-- @field done number of steps taken
-- @field sums the terms, gradient norms and their count since the last line of metrics.jsonl
-- @field metrics_hash checksum of the lines of metrics.jsonl up to `done`, if it was continued
-- @field chain_hash likewise of chain.jsonl
-- @field wall_s seconds that the steps so far took
-- @field cpu_s seconds of processors, summed over threads; nil if a part did not record it
--
-- For weights read from a checkpoint:
-- @field check function: raises an error unless all code loaded so far is what the checkpoint pins
--
-- Filled in by `trainer.train`:
-- @field history list of starts and resumptions, see flowmap.runs.journal
M.fields = {}
for name in ([[experiment cfg view read set loss times interpolant net data labels count params opt
  shared program gradients terms teacher_net students done sums metrics_hash chain_hash
  check wall_s cpu_s history]])
  :gmatch "%S+" do
  M.fields[name] = true
end

local Job = {}

function Job.__newindex(job, name, value)
  if not M.fields[name] then
    error(("a job has no field '%s'; flowmap.job lists its fields"):format(tostring(name)), 2)
  end
  rawset(job, name, value)
end

--- A job with some of its fields. The settings are their own view, unless a view is given.
-- @tparam table fields
-- @treturn table job
function M.new(fields)
  local job = setmetatable({}, Job)
  for name, value in pairs(fields) do job[name] = value end
  job.view = job.view or job.cfg
  return job
end

--- The same job with some settings changed; everything else is shared.
-- @tparam table job
-- @tparam table set key -> value
-- @treturn table
function M.with(job, set)
  local cfg = {}
  for key, value in pairs(job.cfg) do cfg[key] = value end
  for key, value in pairs(set) do cfg[key] = value end
  return setmetatable({ cfg = cfg }, { __index = job, __newindex = Job.__newindex })
end

-- ------------------------------------------------------------------ what the settings name

-- A network with classes needs data with as many.
local function check_classes(cfg, set)
  if cfg.classes > 0 and cfg.classes ~= (set.classes or 0) then
    errors.usage("classes is %d, but the data set '%s' has %s", cfg.classes, cfg.data,
      set.classes and set.classes .. " classes" or "no labels")
  end
end

--- Set data, labels and count of a job on images: the bytes of all images or of the first
-- `dataset_size`. Only training needs them, so they are found, imported or drawn here.
-- @tparam table job from `parts`, of a data set of images
function M.open_images(job)
  local cfg, set = job.cfg, job.set
  check_classes(cfg, set)
  job.data, job.labels = set.table, cfg.classes > 0 and set.labels or nil
  job.count = cfg.dataset_size > 0 and math.min(cfg.dataset_size, set.count) or set.count
end

-- Points of a file, or drawn once for all steps (`dataset_size`); the same for every seed of the
-- training.
local function draw_points(job)
  local cfg, set = job.cfg, job.set
  if set.shape then return end
  check_classes(cfg, set)
  if set.points then
    job.count = cfg.dataset_size > 0 and math.min(cfg.dataset_size, set.count) or set.count
    job.data = fm.cast(fm.slice(set.points, 1, 1, job.count), cfg.dtype)
    cfg.unit_centre, cfg.unit_scale = (set.units or {}).centre, (set.units or {}).scale
  elseif cfg.dataset_size > 0 then
    job.data, job.count = data.draw(set, cfg.dataset_size, 0, cfg.dtype), cfg.dataset_size
  end
end

-- The standard deviation of the base: that of the data where `sigma` is 0.
local function find_sigma(job)
  local cfg = job.cfg
  if cfg.sigma ~= 0 then return end
  cfg.sigma = job.data and data.sd(job.data) or data.stated_sd(job.set, cfg.data)
  if cfg.sigma == 0 then
    errors.usage("the data set '%s' has the standard deviation 0 (dataset_size is %d), which "
      .. "its base would share; set sigma", cfg.data, cfg.dataset_size)
  end
end

--- The parts that a run's settings name, without parameters or optimiser, and without images.
-- @tparam table experiment
-- @tparam table cfg resolved settings
-- @treturn table job
function M.parts(experiment, cfg)
  math.randomseed(cfg.seed or 0) -- for parts of the experiment's own that draw by Lua's generator
  local job = M.new { experiment = experiment, cfg = settings.complete(cfg), read = {} }
  cfg = job.cfg
  job.view = effect.view(cfg, job.read)
  local set = data.reduced(data.find(cfg.data, experiment.data, job.view), cfg.resolution)
  job.set, job.loss = set, losses.find(cfg.method, experiment.losses, job.view)
  job.times = times.find(cfg.times, experiment.times, job.view)
  job.interpolant = interpolants.find(cfg.interpolant, experiment.interpolants, job.view)
  draw_points(job)
  find_sigma(job)
  cfg.shape = set.shape or { set.dim } -- of a sample
  cfg.dim = 1                          -- the number of its values
  for _, n in ipairs(cfg.shape) do cfg.dim = cfg.dim * n end
  job.net = nets.build(job.view, experiment.nets)
  return job
end

-- ------------------------------------------------------------------ the state of the training

--- Zeros for what is summed between two lines of metrics.jsonl. A checkpoint keeps the sums, so
-- that a resumed run writes the same lines.
-- @tparam table job
-- @treturn table the terms by name, norm = of the gradients, count = of steps
function M.new_sums(job)
  local sums = { norm = 0, count = 0 }
  for _, term in ipairs(job.terms) do sums[term.name] = 0 end
  return sums
end

--- Seconds as they are recorded, to a thousandth.
-- @tparam ?number seconds
-- @treturn ?number
function M.seconds(seconds) return seconds and math.floor(seconds * 1000 + 0.5) / 1000 end

-- Counters and sums: zero, or as a checkpoint left them.
local function place(job, saved)
  job.done, job.wall_s, job.cpu_s, job.sums = 0, 0, 0, M.new_sums(job)
  if not saved then return end
  if not saved.sums then
    errors.data("%s cannot be continued: it does not hold the state of a training", saved.path)
  end
  local beside = {} -- terms that did not exist when the checkpoint was written
  for _, term in ipairs(job.terms) do beside[term.name] = term.beside end
  for name in pairs(job.sums) do
    if not saved.sums[name] and not beside[name] then
      errors.data("%s cannot be continued: it does not hold the sum of '%s'", saved.path, name)
    end
    job.sums[name] = saved.sums[name] or 0
  end
  job.done, job.sums.lr = saved.step, saved.sums.lr
  job.metrics_hash, job.chain_hash = saved.metrics, saved.chain
end

--- While what it returns is open, the first rank has all moments of a sharded optimiser; all ranks
-- call it.
-- @tparam table job
-- @treturn table to be closed
function M.whole(job)
  local sharded = job.cfg.shard == 1
  if sharded then job.opt:gather() end
  return setmetatable({}, { __close = function() if sharded then job.opt:shard() end end })
end

--- The decays of all averages of the weights: those of the setting `ema` and, behind them, that of
-- the target, which a curriculum may change.
-- @tparam table cfg settings
-- @tparam integer done number of steps taken
-- @treturn {number,...}
function M.decays(cfg, done)
  local list = table.move(cfg.ema, 1, #cfg.ema, 1, {})
  if cfg.target == "ema" then list[#list + 1] = curriculum.target_decay(cfg, done) end
  return list
end

--- Add the state of a training: all fields of the second group except `program`.
-- @tparam table job
-- @tparam table params
-- @tparam table shared the inputs of the step's program besides `params`
-- @tparam[opt] table saved a loaded checkpoint to continue; the optimiser is not restored
function M.begin(job, params, shared, saved)
  local cfg = job.cfg
  job.params, job.shared, job.terms = params, shared, step.terms(cfg, job)
  job.shared.params, job.shared.fed = params, curriculum.inputs(cfg)
  job.opt = fm.optimiser {
    kind = cfg.optimiser, params = params, b1 = cfg.b1, b2 = cfg.b2, eps = cfg.eps,
    weight_decay = cfg.weight_decay, clip = cfg.clip, ema = M.decays(cfg, 0),
  }
  if cfg.target == "ema" then job.shared.target = job.opt:ema(#cfg.ema + 1) end
  place(job, saved)
end

-- ------------------------------------------------------------------ what is evaluated

--- The weights that are evaluated, by the setting `eval_ema`.
-- @tparam table job
-- @treturn table params
-- @treturn number decay of the average, 0 for the weights themselves
function M.evaluated(job)
  local k = job.cfg.eval_ema
  if k == 0 then return job.params, 0 end
  return job.opt:ema(k), job.cfg.ema[k]
end

--- The step that a run reaches in the time that the method which it is compared with needs for all
-- steps.
-- @tparam table cfg settings steps, relative_cost
-- @treturn ?integer nil: the run is not compared at equal times
function M.equal_time(cfg)
  if (cfg.relative_cost or 0) == 0 then return nil end
  return math.max(1, math.min(cfg.steps, math.floor(cfg.steps / cfg.relative_cost + 0.5)))
end

--- The steps, besides the last one, after which weights are kept to be evaluated, and where.
-- @tparam table cfg settings
-- @tparam string dir folder of the run
-- @treturn table step -> path
function M.kept_weights(cfg, dir)
  local path, steps = {}, { M.equal_time(cfg) }
  for k = 1, cfg.checkpoints - 1 do steps[#steps + 1] = k * cfg.steps // cfg.checkpoints end
  for _, at in ipairs(steps) do
    if at < cfg.steps then path[at] = ("%s/weights-%d.safetensors"):format(dir, at) end
  end
  return path
end

return M
