--- The judge of images. It compares samples with the images of their data set (see
-- flowmap.measure.image_distances): Frechet and kernel distances in the features of our own
-- classifier, the sliced Wasserstein distance of patches and, if the user has Inception's weights,
-- FID. The setting `image_metrics` adds those of flowmap.measure.feature_metrics.
-- @module flowmap.measure.judges.images

local fm = require "flowmap"
local cnn = require "flowmap.measure.features.cnn"
local data = require "flowmap.data"
local errors = require "flowmap.base.errors"
local distances = require "flowmap.measure.image_distances"
local feature_metrics = require "flowmap.measure.feature_metrics"

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

-- The fields of a row of results beside FIELD itself: of which field of the metric's row.
local BESIDE = { _half = "interval", _low = "low", _high = "high", _p = "p", _df = "df",
  _floor = "floor", _gaussian = "gaussian" }

--- Measure samples.
-- @param x (n, H, W, 3)
-- @treturn table a row of results: the value of each metric, and its description in `about`. Beside
--   FIELD stand FIELD_half, the half width of its 95 % interval, or FIELD_low and FIELD_high, its
--   ends; FIELD_p; and FIELD_floor and FIELD_gaussian, the values of the null models
function Judge:measure(x)
  local row = { samples = x.shape[1], about = {} }
  for _, result in ipairs(self.metrics:measure(x)) do
    local name = field(result.metric)
    row[name] = result.value
    row.about[name] = distances.describe(result)
    for ending, key in pairs(BESIDE) do row[name .. ending] = result[key] end
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

-- The names of the further metrics that a run's settings select.
local function further(job)
  local wanted = job.cfg and job.cfg.image_metrics or { "none" }
  return feature_metrics.names_of(wanted, job.set.test ~= nil)
end

--- The columns of a run's results.
-- @tparam table job see flowmap.job
-- @treturn {table,...}
function M.columns_of(job)
  local columns = table.move(Judge.columns, 1, #Judge.columns, 1, {})
  for _, name in ipairs(further(job)) do
    for _, column in ipairs(feature_metrics.columns[name]) do
      local metric, head, format = table.unpack(column)
      columns[#columns + 1] = { field(metric .. "-cnn"), head, format }
    end
  end
  return columns
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
  feature_metrics.check(further(job), cnn.dim, job.cfg.eval_samples, job.set.count)
end

-- The images of a part of a data set, as a reference.
local function reference_of(set, part, split)
  return { name = set.title, split = split, n = part.count, hash = set.hash,
    images = function(index) return data.images(set, part.table, index) end }
end

--- Create a judge of a data set. The statistics of its images are computed once for all runs.
-- @tparam table job see flowmap.job
-- @tparam string dir where data.npy goes
-- @treturn Judge
function M.new(job, dir)
  local set = job.set
  local reference = reference_of(set, set, "train")
  if set.test then reference.test = reference_of(set, set.test, "test") end
  local metrics = { "cnn", "sliced" }
  if os.getenv "FLOWMAP_INCEPTION" then metrics[3] = "inception" end
  keep(dir, "data", distances.walk(reference)(0, math.min(KEPT, set.count)))
  return setmetatable({ count = set.count, columns = M.columns_of(job),
    metrics = distances.new(reference, { metrics = metrics, further = further(job),
      cache = data.cache_folder() }) }, Judge)
end

--- The columns of every run, and the fields for which the best checkpoint is reported.
M.columns, M.best = Judge.columns, Judge.best

return M
