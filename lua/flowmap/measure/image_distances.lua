--- Measures of sampled images against a data set. Every number comes as a row that says what it is:
--
--     { metric = "FD-cnn", value =, interval =,  -- half width of the 95 % interval, if it has one
--       n =, n_reference =,                      -- images on either side
--       reference =, split =, data =,            -- data set, its split, its SHA-256
--       protocol =, features = }                 -- SHA-256 of the features' weights, or nil
--
-- The reference is a table
--
--     { name = "cifar10", split = "train", hash = ..., n = 50000,
--       images = function(index) ... end }  -- (k) whole numbers from 0 -> (k, h, w, 3) in [-1, 1]
--
-- Samples are a tensor (n, h, w, 3), or a function(first, count) -> (count, h, w, 3), numbered
-- from 0. What the reference alone decides is computed once and kept in a folder, under a name made
-- from the hashes of all that went into it.
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
local KEPT = 10000  -- features kept of each side, for the kernel distance

--- What is measured when nothing else is asked for.
M.default = { "cnn", "sliced" }

-- ------------------------------------------------------------------ images

local function gcd(a, b)
  while b > 0 do a, b = b, a % b end
  return a
end

-- The step of a walk through n images that meets each once and spreads any first part of it over
-- all of them: data sets may be sorted by class.
local function stride(n)
  local step = math.max(1, math.floor(n * 0.6180339887))
  while gcd(step, n) > 1 do step = step + 1 end
  return step
end

--- Images of the reference in the order of that walk, as a source like that of the samples.
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

-- Moments of the features of all n images, and the first features themselves.
local function summary(kind, images, n, progress)
  local moments, kept = frechet.moments(kind.dim), {}
  for first = 0, n - 1, CHUNK do
    local count = math.min(CHUNK, n - first)
    local f = kind.extract(checked(images(first, count), first, count))
    moments:add(f)
    if first < KEPT then kept[#kept + 1] = f end
    if progress then progress(first + count) end
  end
  local it = moments:finish()
  it.kept = sliced.stack(kept)
  return it
end

-- The name under which a summary of the reference is kept.
local function cache_path(folder, kind, reference)
  local key = table.concat({ "1", reference.hash, reference.split, reference.n, kind.hash,
    kind.protocol, kind.label, KEPT, numerics.with_sources "measure.image_distances" }, " ")
  return ("%s/reference-%s-%s-%s.safetensors"):format(folder, text.file_name(reference.name),
    text.file_name(kind.label), fm.sha256(key):sub(1, 16))
end

local function reference_summary(kind, reference, folder, progress)
  local path = folder and cache_path(folder, kind, reference)
  if path and files.exists(path) then
    local ok, it = pcall(fm.load_safetensors, path)
    if ok and it.mean and it.cov and it.kept then
      it.n = reference.n
      return it
    end -- a damaged one is made anew
  end
  local it = summary(kind, M.walk(reference), reference.n, progress)
  if path then
    files.mkdir(folder)
    fm.save_safetensors(path, { mean = it.mean, cov = it.cov, kept = it.kept },
      { reference = reference.name, split = reference.split, data = reference.hash,
        features = kind.hash, protocol = kind.protocol }, false)
  end
  return it
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

--- Metrics against one reference; what belongs to it alone is computed when first needed and then
-- serves all calls of `measure`.
-- @tparam table reference see above
-- @tparam[opt] table options { metrics = some of {"cnn", "sliced", "inception",
--   "inception:legacy"} or features opened before, see flowmap.measure.features;
--   cache = folder for statistics of the reference, progress = function(done, what) }
-- @treturn Metrics
function M.new(reference, options)
  options = options or {}
  local self = setmetatable({ reference = reference, cache = options.cache, kinds = {},
    progress = options.progress or function() end }, Metrics)
  for k, name in ipairs(options.metrics or M.default) do self.kinds[k] = open(name) end
  return self
end

function Metrics:row(metric, value, n, it)
  local r = self.reference
  it.metric, it.value, it.n = metric, value, n
  it.reference, it.split, it.data = r.name, r.split, r.hash
  return it
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
  local function row(name, value, it)
    it.protocol, it.features, it.n_reference = kind.protocol, kind.hash, self.reference.n
    rows[#rows + 1] = self:row(name, value, n, it)
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
-- @tparam[opt] integer n how many; needed for a function
-- @treturn {table,...} rows, see above
function Metrics:measure(samples, n)
  local rows, images, count = {}, source(samples, n)
  for _, kind in ipairs(self.kinds) do
    local compare = kind.sliced and self.compare_patches or self.compare_features
    compare(self, kind, images, count, rows)
  end
  return rows
end

--- What a row's number means, in words for a table's caption.
-- @tparam table row
-- @treturn string
function M.describe(row)
  return ("%s: %d samples against %d images of %s %s, protocol %s%s"):format(row.metric, row.n,
    row.n_reference, row.reference, row.split, row.protocol,
    row.features and ", features " .. row.features:sub(1, 12) or "")
end

return M
