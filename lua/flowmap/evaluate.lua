--- Evaluation of trained weights: samples for every N, their metrics, and the files of both.
-- @module flowmap.evaluate

local fm = require "flowmap"
local Progress = require "flowmap.progress"
local data = require "flowmap.data"
local errors = require "flowmap.errors"
local json = require "flowmap.json"
local metrics = require "flowmap.metrics"
local sampler = require "flowmap.sampler"

local M = {}

local KEPT = 100000       -- samples kept in a file
local DATA_SEED = 7919    -- of the true samples, the same for all runs
local SAMPLE_SEED = 104729

--- The weights that are evaluated, by the setting `eval_ema`.
-- @tparam table job see flowmap.trainer
-- @treturn table params
-- @treturn number decay of the average, 0 for the weights themselves
function M.weights(job)
  local k = job.cfg.eval_ema
  if k == 0 then return job.params, 0 end
  return job.opt:ema(k), job.cfg.ema[k]
end

local function first_rows(x, count)
  return fm.slice(x, 1, 1, math.min(count, x.shape[1]))
end

local function save_density(path, count, bins, n)
  local density = {}
  for k = 1, bins * bins do density[k] = count[k] / n end
  fm.save_npy(path, fm.reshape(fm.tensor(density), { bins, bins }))
end

-- What samples are compared with: exact masses, and true samples. These are few, for the cost of
-- the energy distance is quadratic.
local function target_of(set, cfg)
  local few = math.max(1024, math.min(8192, cfg.eval_samples // 64))
  local reference = data.draw(set, few, DATA_SEED + 1)
  return { set = set, bins = cfg.bins, masses = metrics.masses(set, cfg.bins), few = few,
    reference = reference, within = metrics.mean_distance(reference) }
end

local function measure(x, target)
  local count = metrics.histogram(x, target.bins)
  return {
    kl = metrics.kl(target.masses, count), outside = metrics.outside(x, target.set),
    energy = metrics.energy(first_rows(x, target.few), target.reference, target.within),
    samples = x.shape[1],
  }, count
end

local function check_finite(x, N)
  if x:finite() then return end
  errors.numeric("the samples at N = %d are not finite: training diverged", N)
end

local function stop_if_interrupted()
  if fm.interrupted() then
    errors.raise("interrupted", "interrupted during the evaluation; --resume repeats it")
  end
end

--- Evaluations of the map for one sample of every N, times the number of samples.
-- @tparam table cfg
-- @treturn integer
local function evaluations(cfg)
  local sum = 0
  for _, N in ipairs(cfg.nfe) do sum = sum + N * cfg.eval_samples end
  return sum
end
M.evaluations = evaluations

--- Sample, measure and write eval.json, samples, densities and true samples.
-- @tparam table job a trained job
-- @tparam string dir
-- @treturn table what eval.json holds
function M.run(job, dir)
  local cfg, set = job.cfg, job.set
  local params, decay = M.weights(job)
  local target = target_of(set, cfg)
  local truth = data.draw(set, cfg.eval_samples, DATA_SEED)
  fm.save_npy(dir .. "/data.npy", first_rows(truth, KEPT))
  local floor = measure(truth, target)
  local bar <close>, before = Progress.new("evaluating", evaluations(cfg)), 0
  local rows = {}
  for i, N in ipairs(cfg.nfe) do
    local draw = sampler.generator(job, params, N)
    local x = fm.cast(draw(cfg.eval_samples, SAMPLE_SEED, function(done)
      bar:update(before + N * done, ("N = %d"):format(N))
      stop_if_interrupted()
    end), "float32")
    before = before + N * cfg.eval_samples
    check_finite(x, N)
    local row, count = measure(x, target)
    row.N, row.kl_floor, row.energy_floor = N, floor.kl, floor.energy
    rows[i] = row
    fm.save_npy(("%s/samples-N%d.npy"):format(dir, N), first_rows(x, KEPT))
    save_density(("%s/density-N%d.npy"):format(dir, N), count, cfg.bins, x.shape[1])
  end
  local result = { rule = "last", ema = decay, rows = rows, bins = cfg.bins, data_kl = floor.kl,
    data_energy = floor.energy, data_outside = floor.outside }
  fm.write_file(dir .. "/eval.json", json.encode(result, "") .. "\n")
  return result
end

return M
