--- Judging samples in the plane by the exact law of their data set: KL(data || model) on a grid,
-- the mass outside the support, the energy distance to true samples; see flowmap.metrics.
-- @module flowmap.judges.plane

local fm = require "flowmap"
local data = require "flowmap.data"
local metrics = require "flowmap.metrics"

local KEPT = 100000    -- samples kept in a file
local DATA_SEED = 7919 -- of the true samples, the same for all runs

local Judge = { best = { "kl" } }
Judge.__index = Judge

--- What a row of results shows, first the one that sums a run up: { field, head, format }.
Judge.columns = {
  { "kl", "KL", "%.4f" }, { "kl_floor", "floor", "%.4f" }, { "outside", "outside", "%.4f" },
  { "energy", "energy", "%.2e" },
}

local function first_rows(x, count)
  return fm.slice(x, 1, 1, math.min(count, x.shape[1]))
end

local function measure(self, x)
  local count = metrics.histogram(x, self.bins)
  return {
    kl = metrics.kl(self.masses, count), outside = metrics.outside(x, self.set),
    energy = metrics.energy(first_rows(x, self.few), self.reference, self.within),
    samples = x.shape[1],
  }, count
end

--- Measure samples.
-- @param x (n, 2)
-- @treturn table a row of results
function Judge:measure(x)
  local row
  row, self.count = measure(self, x)
  row.kl_floor, row.energy_floor = self.floor.kl, self.floor.energy
  return row
end

--- Write what figures need of the samples that were measured last.
-- @tparam string dir
-- @tparam integer N their number of steps
-- @param x
function Judge:keep(dir, N, x)
  local density, n = {}, x.shape[1]
  for k = 1, self.bins * self.bins do density[k] = self.count[k] / n end
  fm.save_npy(("%s/density-N%d.npy"):format(dir, N),
    fm.reshape(fm.tensor(density), { self.bins, self.bins }))
  fm.save_npy(("%s/samples-N%d.npy"):format(dir, N), first_rows(x, KEPT))
end

--- What the whole evaluation rests on, for eval.json.
function Judge:summary()
  return { bins = self.bins, data_kl = self.floor.kl, data_energy = self.floor.energy,
    data_outside = self.floor.outside }
end

--- A judge: exact masses, true samples, and what true samples reach by the same measures. Those for
-- the energy distance are few, for its cost is quadratic.
-- @tparam table job see flowmap.trainer
-- @tparam string dir where data.npy goes
-- @treturn Judge
return function(job, dir)
  local set, cfg = job.set, job.cfg
  local few = math.max(1024, math.min(8192, cfg.eval_samples // 64))
  local reference = data.draw(set, few, DATA_SEED + 1)
  local self = setmetatable({ set = set, bins = cfg.bins, few = few, reference = reference,
    masses = metrics.masses(set, cfg.bins), within = metrics.mean_distance(reference) }, Judge)
  local truth = data.draw(set, cfg.eval_samples, DATA_SEED)
  fm.save_npy(dir .. "/data.npy", first_rows(truth, KEPT))
  self.floor = measure(self, truth)
  return self
end
