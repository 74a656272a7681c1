--- The judge of points in any number of dimensions. Its metrics depend on what the data set
-- declares of its law: KL(data || model) on a grid if it has `mass` (in one or two dimensions), the
-- mass outside the support if it has `inside`, and always the energy distance to true samples.
-- The setting `kl_estimates` adds further estimates of KL, see flowmap.measure.kl_estimates.
-- Unless the data set is in the plane and has both, the sliced Wasserstein distance and the errors
-- of mean and covariance are added. See flowmap.measure.metrics.
-- @module flowmap.measure.judges.points

local fm = require "flowmap"
local data = require "flowmap.data"
local errors = require "flowmap.base.errors"
local kl_estimates = require "flowmap.measure.kl_estimates"
local law = require "flowmap.measure.law"
local metrics = require "flowmap.measure.metrics"
local sliced = require "flowmap.measure.sliced"

local KEPT = 100000    -- samples kept in a file
local DATA_SEED = 7919 -- of the true samples, the same in all runs
local LEAST = 2        -- samples; the energy distance averages over pairs

local Judge = {}
Judge.__index = Judge

-- The columns of a row of results, first the one that summarises a run: { field, head, format }.
local COLUMNS = {
  mass = { { "kl", "KL", "%.4f" }, { "kl_floor", "floor", "%.4f" } },
  inside = { { "outside", "outside", "%.4f" } },
  all = { { "energy", "energy", "%.2e" } },
  more = { { "sw", "SW", "%.4f" }, { "mean_error", "mean", "%.4f" },
    { "cov_error", "covariance", "%.4f" } },
}

local function first_rows(x, count)
  return fm.slice(x, 1, 1, math.min(count, x.shape[1]))
end

-- Mean (1, d) and covariance (d, d).
local function moments(x)
  x = fm.cast(x, "float64")
  local mean = fm.mean(x, 1, true)
  local off = x - mean
  return { mean = mean, cov = fm.matmul(off, off, true, false) / x.shape[1] }
end

local function norm(x) return math.sqrt(fm.sum(fm.square(x)):item()) end

-- The metrics available for every data set.
local function measure_more(self, x, row)
  local here = moments(x)
  local count = math.min(x.shape[1], self.few)
  row.sw = sliced.distance(first_rows(x, count), first_rows(self.reference, count))
  row.mean_error = norm(here.mean - self.moments.mean)
  row.cov_error = norm(here.cov - self.moments.cov)
end

local function measure(self, x)
  local set, row = self.set, { samples = x.shape[1] }
  local count = set.dim <= 2 and metrics.histogram(x, self.bins, set)
  if set.mass then row.kl = metrics.kl(self.masses, count) end
  if set.inside then row.outside = metrics.outside(x, set) end
  row.energy = metrics.energy(first_rows(x, self.few), self.reference, self.within)
  if self.more then measure_more(self, x, row) end
  return row, count
end

--- Measure samples.
-- @param x (n, d)
-- @treturn table a row of results
function Judge:measure(x)
  local row
  row, self.count = measure(self, x)
  row.kl_floor, row.energy_floor = self.floor.kl, self.floor.energy
  row.sw_floor = self.floor.sw
  if self.estimator then self.estimator:add(x, row) end
  return row
end

--- Write the data that figures show of the samples measured last.
-- @tparam string dir
-- @tparam integer N number of steps
-- @param x these samples
function Judge:keep(dir, N, x)
  fm.save_npy(("%s/samples-N%d.npy"):format(dir, N), first_rows(x, KEPT))
  if self.set.dim ~= 2 then return end
  local density, n = {}, x.shape[1]
  for k = 1, self.bins * self.bins do density[k] = self.count[k] / n end
  fm.save_npy(("%s/density-N%d.npy"):format(dir, N),
    fm.reshape(fm.tensor(density), { self.bins, self.bins }))
end

--- Facts on the whole evaluation, for eval.json.
-- @treturn table
function Judge:summary()
  return { bins = self.set.dim <= 2 and self.bins or nil, data_kl = self.floor.kl,
    data_energy = self.floor.energy, data_outside = self.floor.outside }
end

-- The columns of a data set's results.
local function columns_of(set, more)
  local columns = {}
  for _, it in ipairs { { "mass", set.mass }, { "inside", set.inside }, { "all", true },
    { "more", more } } do
    local list = it[2] and COLUMNS[it[1]] or {}
    table.move(list, 1, #list, #columns + 1, columns)
  end
  return columns
end

local M = {}

--- Check that a run's settings allow all measurements.
-- @tparam table job see flowmap.job
function M.check(job)
  if job.cfg.eval_samples < LEAST then
    errors.usage("eval_samples is %d; the energy distance needs at least %d", job.cfg.eval_samples,
      LEAST)
  end
end

--- The number of samples that the energy distance compares: its cost grows with the square.
-- @tparam table cfg
-- @treturn integer
function M.few(cfg) return math.max(1024, math.min(8192, cfg.eval_samples // 64)) end

--- Create a judge: exact masses, true samples, and the values that true samples reach in the same
-- metrics. The energy distance uses few samples, because its cost is quadratic.
-- @tparam table job see flowmap.job
-- @tparam ?string dir folder for data.npy; nil writes no file
-- @treturn Judge
-- @treturn tensor the true samples
function M.new(job, dir)
  local set, cfg = job.set, job.cfg
  local few = M.few(cfg)
  local reference = data.draw(set, few, DATA_SEED + 1)
  local more = not (set.mass and set.inside and set.dim == 2)
  local columns = columns_of(set, more)
  local masses = set.mass and metrics.masses(set, cfg.bins)
  if masses then law.check_grid(set, cfg.data, masses, cfg.bins) end
  local self = setmetatable({ set = set, bins = cfg.bins, few = few, reference = reference,
    more = more, columns = columns, best = { columns[1][1] }, masses = masses,
    within = metrics.mean_distance(reference) }, Judge)
  local truth = data.draw(set, cfg.eval_samples, DATA_SEED)
  if dir then fm.save_npy(dir .. "/data.npy", first_rows(truth, KEPT)) end
  if more then self.moments = moments(reference) end
  self.floor = measure(self, truth)
  if cfg.kl_estimates and masses then
    self.estimator = kl_estimates.new(set, cfg.bins, truth)
  end
  if more then self.moments = moments(truth) end
  return self, truth
end

return M
