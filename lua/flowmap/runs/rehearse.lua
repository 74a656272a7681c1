--- Rehearsal before the first step of a run: everything that the training, the evaluation and the
-- rendering will need is tried on few samples, so that nothing fails hours later. Functions of the
-- user are called and their results checked; what data sets state is compared with their samples.
-- @module flowmap.runs.rehearse

local core = require "flowmap.core"
local Status = require "flowmap.base.status"
local apart = require "flowmap.measure.apart"
local effect = require "flowmap.experiment.effect"
local errors = require "flowmap.base.errors"
local evaluate = require "flowmap.measure.evaluate"
local experiment = require "flowmap.experiment"
local law = require "flowmap.measure.law"
local path = require "flowmap.measure.path"
local render_list = require "flowmap.experiment.render_list"
local sampler = require "flowmap.sampler"
local step = require "flowmap.step"
local tree = require "flowmap.tree"

local M = {}

-- Whether the experiment's tables and figures can be drawn from what a run will measure.
local function check_render(job, row)
  local it, cfg = job.experiment, job.cfg
  if not it.render then return end
  local ok, base = pcall(experiment.resolve, it, { profile = cfg.profile, method = cfg.method })
  if ok then render_list.results(it, base, cfg, row, job.set) end
end

-- Check that the metrics of flowmap.measure.map_error can be measured: they compare in float32, and
-- `law` repeats the sampler on points of its own, in N steps. The module is not loaded where no
-- experiment uses it.
local function check_exact(job)
  local cfg, map_error = job.cfg, package.loaded["flowmap.measure.map_error"]
  for _, name in ipairs(map_error and cfg.metrics or {}) do
    local it = (job.experiment.metrics or {})[name]
    local law_of_samples = it == map_error.metrics.law
    if it and (law_of_samples or it == map_error.metrics.map) and cfg.dtype ~= "float32" then
      errors.usage("the metric '%s' compares in float32, but dtype is %s; set metrics to others or "
        .. "none", name, cfg.dtype)
    elseif it and law_of_samples and sampler.is_adaptive(cfg) then
      errors.usage("the metric '%s' samples in N steps, but %s chooses its steps; set metrics to "
        .. "others or none, or another sampler", name, cfg.sampler)
    end
  end
end

-- Check that no metric is named like another result except for capitals: both would be shown by one
-- name.
local function check_names(row)
  local seen = {}
  for _, name in ipairs(tree.keys(row)) do
    local other = seen[name:lower()]
    if other and other ~= "N" then
      errors.usage("the results would have '%s' and '%s', names that differ only in capitals; "
        .. "rename the metric", other, name)
    end
    seen[name:lower()] = name
  end
end

-- Call a function that traces steps, and tell of a number that a user's code draws meanwhile.
local function noting_draws(f, ...)
  local random, where = math.random, nil
  rawset(math, "random", function(...)
    local place = core.user_place()
    where = where or place ~= "" and place or nil
    return random(...)
  end)
  local results = table.pack(errors.pcall(f, ...))
  rawset(math, "random", random)
  if not results[1] then error(results[2], 0) end
  if where then
    Status.new(2):say(("note: %smath.random is called while a step is traced: its number is a "
      .. "constant, the same in every step; a loss has a draw per sample by \"uniform\" in its "
      .. "variants, a data set by b:uniform"):format(where))
  end
end

-- The fields of a network's argument `extra` that stand for a setting.
local STANDS_FOR = { dropout = "dropout", labels = "classes" }

-- Check the experiment's own parts. A setting that reaches the network by `extra` alone is recorded
-- as read if the network reads its field.
local function check_apart(job)
  local net, v = job.net, job.net.v
  function net.v(params, s, t, x, extra)
    return v(params, s, t, x, extra and setmetatable({}, { __index = function(_, key)
      if STANDS_FOR[key] then job.read[STANDS_FOR[key]] = true end
      return extra[key]
    end, __pairs = function() return pairs(extra) end }))
  end
  noting_draws(apart.check, job, job.params)
  net.v = v
end

local NEIGHBOURS = 5 -- as in flowmap.measure.kl_estimates

local function check_estimates(cfg)
  if cfg.kl_estimates and cfg.eval_samples < NEIGHBOURS then
    errors.usage("eval_samples is %d, but the estimate of KL from the %d nearest neighbours needs "
      .. "as many; kl_estimates = false leaves it out", cfg.eval_samples, NEIGHBOURS)
  end
end

--- Rehearse a run.
-- @tparam table job see flowmap.job
-- @tparam table resolved the settings that it was made from
function M.check(job, resolved)
  local cfg = job.cfg
  path.check_times(job.times, cfg.times, job.view)
  path.check_interpolant(job.interpolant, cfg.interpolant)
  if not job.set.shape then law.check(job.set, cfg.data) end
  job.program:prepared(cfg.batch)
  if not step.trains(job, job.shared) then
    errors.usage("the loss '%s' has no gradient: every way from it to the network's parameters is "
      .. "stopped (stop is %s)", cfg.method, cfg.stop)
  end
  check_apart(job)
  sampler.rehearse(job, job.params)
  check_exact(job)
  check_estimates(cfg)
  local row = evaluate.rehearse(job)
  check_names(row)
  check_render(job, row)
  effect.settle(resolved, job.read)
end

return M
