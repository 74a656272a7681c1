--- The judge of images. It compares samples with the images of their data set (see
-- flowmap.measure.image_distances): Frechet and kernel distances in the features of our own
-- classifier, the sliced Wasserstein distance of patches and, if the user has Inception's weights,
-- FID.
-- @module flowmap.measure.judges.images

local fm = require "flowmap"
local cnn = require "flowmap.measure.features.cnn"
local data = require "flowmap.data"
local errors = require "flowmap.base.errors"
local distances = require "flowmap.measure.image_distances"

local KEPT = 64 -- images kept in a file

local M = {}

local Judge = { best = { "fd_cnn", "kid_cnn", "sw" } }
Judge.__index = Judge

--- The columns of a row of results, first the one that summarises a run: { field, head, format }.
Judge.columns = {
  { "fd_cnn", "FD-cnn", "%.3f" }, { "kid_cnn", "KID-cnn", "%.5f" }, { "sw", "SW", "%.4f" },
}

-- "FD-cnn" -> "fd_cnn"
local function field(metric) return (metric:lower():gsub("%W", "_")) end

--- Measure samples.
-- @param x (n, H, W, 3)
-- @treturn table a row of results: the value of each metric, and its description in `about`
function Judge:measure(x)
  local row = { samples = x.shape[1], about = {} }
  for _, result in ipairs(self.metrics:measure(x)) do
    local name = field(result.metric)
    row[name] = result.value
    row.about[name] = distances.describe(result)
    if result.interval then row[name .. "_half"] = result.interval end
  end
  return row
end

local function keep(dir, name, x)
  fm.save_npy(("%s/%s.npy"):format(dir, name), fm.rows(x, 1, math.min(KEPT, x.shape[1])))
end

--- Write the samples that figures show.
-- @tparam string dir
-- @tparam integer N number of steps
-- @param x samples
function Judge:keep(dir, N, x) keep(dir, "samples-N" .. N, x) end

--- Facts on the whole evaluation, for eval.json.
-- @treturn table
function Judge:summary() return { data_images = self.count } end

-- The kinds of features that are compared.
local function kinds()
  return os.getenv "FLOWMAP_INCEPTION" and { "cnn", "inception" } or { "cnn" }
end

--- Check that a run's settings allow all measurements.
-- @tparam table job see flowmap.job
function M.check(job)
  local side = job.set.shape[1]
  if side % cnn.side ~= 0 or side ~= job.set.shape[2] then
    errors.usage("images of %d x %d (data, resolution); the features of FD-cnn need squares of "
      .. "%d, %d, %d, ... pixels", side, job.set.shape[2], cnn.side, 2 * cnn.side, 3 * cnn.side)
  end
  for _, name in ipairs(kinds()) do
    local dim = require("flowmap.measure.features." .. name).dim
    if job.cfg.eval_samples < dim then
      errors.usage("eval_samples is %d; the Frechet distance in the features '%s' needs at least "
        .. "as many as these have dimensions, %d", job.cfg.eval_samples, name, dim)
    elseif job.set.count < dim then
      errors.data("the data set '%s' has %d images; the Frechet distance in the features '%s' "
        .. "needs at least as many as these have dimensions, %d", job.cfg.data, job.set.count, name,
        dim)
    end
  end
end

--- Create a judge of a data set. The statistics of its images are computed once for all runs.
-- @tparam table job see flowmap.job
-- @tparam string dir where data.npy goes
-- @treturn Judge
function M.new(job, dir)
  local set = job.set
  local function images(index) return data.images(set, set.table, index) end
  local reference = { name = set.title, split = "train", n = set.count, images = images,
    hash = set.hash }
  local metrics = { "cnn", "sliced" }
  if os.getenv "FLOWMAP_INCEPTION" then metrics[3] = "inception" end
  keep(dir, "data", distances.walk(reference)(0, math.min(KEPT, set.count)))
  return setmetatable({ count = set.count, metrics = distances.new(reference,
    { metrics = metrics, cache = data.cache_folder() }) }, Judge)
end

--- The columns of every run, and the fields for which the best checkpoint is reported.
M.columns, M.best = Judge.columns, Judge.best

return M
