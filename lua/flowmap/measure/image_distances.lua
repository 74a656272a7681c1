--- Distances of sampled images to a data set. Each number is a row that also states its meaning:
--
--     { metric = "FD-cnn", value =, interval =,  -- half width of the 95 % interval, if there is
--     one
--       n =, n_reference =,                      -- number of images on each side
--       reference =, split =, data =,            -- data set, its split, its SHA-256
--       protocol =, features = }                 -- SHA-256 of the features' weights, or nil
--
-- The reference is a table
--
--     { name = "cifar10", split = "train", hash = ..., n = 50000,
--       images = function(index) ... end }  -- (k) whole numbers from 0 -> (k, h, w, 3) in [-1, 1]
--
-- Samples are a tensor (n, h, w, 3), or a function(first, count) -> (count, h, w, 3), numbered
-- from 0. Statistics that depend only on the reference are computed once and cached in a folder,
-- under a name made from the hashes of all their inputs.
-- @module flowmap.measure.image_distances

local fm = require "flowmap"
local errors = require "flowmap.base.errors"
local features = require "flowmap.measure.features"
local files = require "flowmap.base.files"
local numerics = require "flowmap.runs.numerics"
local frechet = require "flowmap.measure.frechet"
local sliced = require "flowmap.measure.sliced"
local text = require "flowmap.base.text"

local M = {}

local CHUNK = 256   -- images at a time
local KEPT = 10000  -- features kept on each side, for the kernel distance

--- The default metrics.
M.default = { "cnn", "sliced" }

-- ------------------------------------------------------------------ images

local function gcd(a, b)
  while b > 0 do a, b = b, a % b end
  return a
end

-- The step of a walk through n images that visits each once. Any initial part of the walk is spread
-- over all images, because data sets may be sorted by class.
local function stride(n)
  local step = math.max(1, math.floor(n * 0.6180339887))
  while gcd(step, n) > 1 do step = step + 1 end
  return step
end

--- The reference's images in the order of that walk, as a function like that of samples.
-- @tparam table reference
-- @treturn function (first, count) -> (count, h, w, 3)
function M.walk(reference)
  local n, step = reference.n, stride(reference.n)
  return function(first, count)
    local index = {}
    for k = 1, count do index[k] = (first + k - 1) * step % n end
    return reference.images(fm.tensor(index))
  end
end

-- Samples as a function(first, count), and their number.
local function source(samples, n)
  if fm.is_tensor(samples) then
    local function rows(first, count) return fm.slice(samples, 1, first + 1, count) end
    return rows, math.min(n or samples.shape[1], samples.shape[1])
  end
  return samples, n or errors.usage("image metrics: a generator of samples needs their number, n")
end

local function checked(x, first, count)
  if #x.shape ~= 4 or x.shape[1] ~= count or x.shape[4] ~= 3 then
    errors.usage("image metrics: samples of the shape (%s) found, expected (%d, h, w, 3)",
      table.concat(x.shape, ", "), count)
  end
  local ok, where = x:finite()
  if not ok then
    local size = x.shape[2] * x.shape[3] * 3
    errors.numeric("sample %d is not finite", first + 1 + (where - 1) // size)
  end
  return x
end

-- ------------------------------------------------------------------ features

-- Moments of the features of all n images, and the first KEPT features.
local function summary(kind, images, n, progress)
  local moments, kept = frechet.moments(kind.dim), {}
  for first = 0, n - 1, CHUNK do
    local count = math.min(CHUNK, n - first)
    local f = kind.extract(checked(images(first, count), first, count))
    moments:add(f)
    if first < KEPT then kept[#kept + 1] = f end
    if progress then progress(first + count) end
  end
  local result = moments:finish()
  result.kept = sliced.stack(kept)
  return result
end

-- The path of the cached summary of a reference.
local function cache_path(folder, kind, reference)
  local key = table.concat({ "1", reference.hash, reference.split, reference.n, kind.hash,
    kind.protocol, kind.label, KEPT, numerics.with_sources "measure.image_distances" }, " ")
  return ("%s/reference-%s-%s-%s.safetensors"):format(folder, text.file_name(reference.name),
    text.file_name(kind.label), fm.sha256(key):sub(1, 16))
end

local function reference_summary(kind, reference, folder, progress)
  local path = folder and cache_path(folder, kind, reference)
  if path and files.exists(path) then
    local ok, cached = pcall(fm.load_safetensors, path)
    if ok and cached.mean and cached.cov and cached.kept then
      cached.n = reference.n
      return cached
    end -- a damaged file is replaced
  end
  local made = summary(kind, M.walk(reference), reference.n, progress)
  if path then
    files.mkdir(folder)
    fm.save_safetensors(path, { mean = made.mean, cov = made.cov, kept = made.kept },
      { reference = reference.name, split = reference.split, data = reference.hash,
        features = kind.hash, protocol = kind.protocol }, false)
  end
  return made
end

-- ------------------------------------------------------------------ rows

local Metrics = {}
Metrics.__index = Metrics

local function open(name)
  if type(name) == "table" then return setmetatable({}, { __index = name }) end
  if name == "sliced" then return { sliced = true } end
  local kind, protocol = name:match "^([^:]+):?(.*)$"
  return features.open(kind, protocol ~= "" and protocol or nil)
end

--- Metrics against one reference. Its statistics are computed on first use and serve all calls of
-- `measure`.
-- @tparam table reference see the top of this module
-- @tparam[opt] table options { metrics = a list of "cnn", "sliced", "inception", "inception:legacy"
--   or opened features, see flowmap.measure.features; cache = folder for statistics of the
--   reference; progress = function(done, what) }
-- @treturn Metrics
function M.new(reference, options)
  options = options or {}
  local self = setmetatable({ reference = reference, cache = options.cache, kinds = {},
    progress = options.progress or function() end }, Metrics)
  for k, name in ipairs(options.metrics or M.default) do self.kinds[k] = open(name) end
  return self
end

function Metrics:row(metric, value, n, row)
  local r = self.reference
  row.metric, row.value, row.n = metric, value, n
  row.reference, row.split, row.data = r.name, r.split, r.hash
  return row
end

function Metrics:compare_features(kind, images, n, rows)
  if n < kind.dim or self.reference.n < kind.dim then
    errors.usage("%s: %d samples and %d reference images found, expected at least as many as the "
      .. "features have dimensions, %d", kind.label, n, self.reference.n, kind.dim)
  end
  kind.of_reference = kind.of_reference or reference_summary(kind, self.reference, self.cache,
    function(done) self.progress(done, kind.label .. ", reference") end)
  local there = kind.of_reference
  local here = summary(kind, images, n, function(done) self.progress(done, kind.label) end)
  local function row(name, value, fields)
    fields.protocol, fields.features = kind.protocol, kind.hash
    fields.n_reference = self.reference.n
    rows[#rows + 1] = self:row(name, value, n, fields)
  end
  row(kind.label, frechet.distance(here, there, kind.offset), {})
  local kid = frechet.kid(here.kept, there.kept)
  row(kind.kernel, kid.mean, { interval = kid.half, subsets = kid.subsets, size = kid.size })
  rows[#rows].n_reference = kid.subsets * kid.size
  rows[#rows].n = kid.subsets * kid.size
end

function Metrics:compare_patches(kind, images, n, rows)
  n = math.min(n, self.reference.n)
  if kind.n ~= n then
    kind.n, kind.of_reference = n, sliced.patches(M.walk(self.reference), n)
  end
  local function seen(first, count)
    self.progress(first, "sliced")
    return fm.clip(checked(images(first, count), first, count), -1, 1)
  end
  local value, levels = sliced.between(sliced.patches(seen, n), kind.of_reference)
  rows[#rows + 1] = self:row("SW", value, n,
    { protocol = sliced.protocol, n_reference = n, levels = levels })
end

--- Measure samples.
-- @param samples tensor (n, h, w, 3), or function(first, count)
-- @tparam[opt] integer n number of samples; required for a function
-- @treturn {table,...} rows, see the top of this module
function Metrics:measure(samples, n)
  local rows, images, count = {}, source(samples, n)
  for _, kind in ipairs(self.kinds) do
    local compare = kind.sliced and self.compare_patches or self.compare_features
    compare(self, kind, images, count, rows)
  end
  return rows
end

--- Describe a row's number for a table's caption.
-- @tparam table row
-- @treturn string
function M.describe(row)
  return ("%s: %d samples against %d images of %s %s, protocol %s%s"):format(row.metric, row.n,
    row.n_reference, row.reference, row.split, row.protocol,
    row.features and ", features " .. row.features:sub(1, 12) or "")
end

return M
