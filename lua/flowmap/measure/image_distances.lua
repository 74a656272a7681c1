--- Distances of sampled images to a data set. Each number is a row that also states its meaning:
--
--     { metric = "FD-cnn", value =, interval =,  -- half width of the 95 % interval, if there is
--     one
--       n =, n_reference =,                      -- number of images on each side
--       reference =, split =, data =,            -- data set, its split, its SHA-256
--       protocol =, features = }                 -- SHA-256 of the features' weights, or nil
--
-- and further fields if metrics of flowmap.measure.feature_metrics are selected.
--
-- The reference is a table
--
--     { name = "cifar10", split = "train", hash = ..., n = 50000,
--       images = function(index) ... end,  -- (k) whole numbers from 0 -> (k, h, w, 3) in [-1, 1]
--       test = { n =, images = } }         -- optional: images that are not among these
--
-- Samples are a tensor (n, h, w, 3), or a function(first, count) -> (count, h, w, 3), numbered
-- from 0. Statistics that depend only on the reference are computed once and cached in a folder,
-- under a name made from the hashes of all their inputs.
-- @module flowmap.measure.image_distances

local fm = require "flowmap"
local errors = require "flowmap.base.errors"
local feature_metrics = require "flowmap.measure.feature_metrics"
local features = require "flowmap.measure.features"
local files = require "flowmap.base.files"
local numerics = require "flowmap.runs.numerics"
local ranks = require "flowmap.base.ranks"
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

-- Call visit(features, first) with the features of n images, CHUNK at a time.
local function each_chunk(kind, images, n, visit, progress)
  for first = 0, n - 1, CHUNK do
    local count = math.min(CHUNK, n - first)
    visit(kind.extract(checked(images(first, count), first, count)), first)
    if progress then progress(first + count) end
  end
end

-- Moments of the features of all n images, the first KEPT features, and the first `most`.
local function summary(kind, images, n, progress, most)
  local moments, kept, more = frechet.moments(kind.dim), {}, {}
  each_chunk(kind, images, n, function(f, first)
    moments:add(f)
    if first < KEPT then kept[#kept + 1] = f end
    if first < (most or 0) then more[#more + 1] = f end
  end, progress)
  local result = moments:finish()
  result.kept, result.features = sliced.stack(kept), sliced.stack(more)
  return result
end

-- Features of the first n images of a reference's walk.
local function features_of(kind, reference, n, progress)
  local list = {}
  each_chunk(kind, M.walk(reference), n, function(f) list[#list + 1] = f end, progress)
  return sliced.stack(list)
end

-- The path of cached statistics of a reference.
local function cache_path(folder, kind, reference, what)
  local key = table.concat({ "1", reference.hash, reference.split, reference.n, kind.hash,
    kind.protocol, kind.label, KEPT, numerics.with_sources "measure.image_distances" }, " ")
  return ("%s/%s-%s-%s-%s.safetensors"):format(folder, what, text.file_name(reference.name),
    text.file_name(kind.label), fm.sha256(key):sub(1, 16))
end

-- Tensors of a reference, from the cache or made and kept there. `needs` are their names.
local function cached(kind, reference, folder, what, needs, make)
  local path = folder and cache_path(folder, kind, reference, what)
  local ok, found = false, nil
  if path and files.exists(path) then
    ok, found = pcall(fm.load_safetensors, path)
    for _, name in ipairs(needs) do ok = ok and found[name] ~= nil end
  end
  if not ranks.any(not ok) then return found end -- a damaged file is replaced
  local made = make()
  if path then
    local kept = {}
    for _, name in ipairs(needs) do kept[name] = made[name] end
    files.mkdir(folder)
    fm.save_safetensors(path, kept, { reference = reference.name, split = reference.split,
      data = reference.hash, features = kind.hash, protocol = kind.protocol }, false)
  end
  return made
end

local function reference_summary(kind, reference, folder, progress)
  local found = cached(kind, reference, folder, "reference", { "mean", "cov", "kept" }, function()
    return summary(kind, M.walk(reference), reference.n, progress)
  end)
  found.n = reference.n
  return found
end

-- The features of a reference and of its test images, divided for comparison.
local function reference_sides(kind, reference, folder, progress)
  local test = reference.test
  local needs = { "data", test and "test" }
  local found = cached(kind, reference, folder, "features", needs, function()
    return { data = features_of(kind, reference, math.min(reference.n, feature_metrics.most),
      progress), test = test and features_of(kind, test, test.n, progress) }
  end)
  return feature_metrics.sides(kind, found.data, found.test)
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
--   or opened features, see flowmap.measure.features; further = names of
--   flowmap.measure.feature_metrics, measured in features that have a suffix; cache = folder for
--   statistics of the reference; progress = function(done, what) }
-- @treturn Metrics
function M.new(reference, options)
  options = options or {}
  local self = setmetatable({ reference = reference, cache = options.cache, kinds = {},
    further = options.further or {}, progress = options.progress or function() end }, Metrics)
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
  local further = kind.suffix and self.further or {}
  local here = summary(kind, images, n, function(done) self.progress(done, kind.label) end,
    #further > 0 and feature_metrics.most)
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
  if #further > 0 then self:measure_features(kind, here.features, further, rows) end
end

-- The null models of rows that are there already.
local function add_nulls(rows, found)
  for _, row in ipairs(rows) do
    for _, it in ipairs(found) do
      if it.metric == row.metric then row.floor, row.gaussian = it.floor, it.gaussian end
    end
  end
end

function Metrics:measure_features(kind, x, names, rows)
  kind.sides = kind.sides or reference_sides(kind, self.reference, self.cache,
    function(done) self.progress(done, kind.label .. ", features of the data") end)
  for _, name in ipairs(names) do
    local found = feature_metrics.measure(kind.sides, name, x)
    if name == "nulls" then
      add_nulls(rows, found)
    else
      for _, row in ipairs(found) do
        row.protocol, row.features = kind.protocol .. ", " .. row.protocol, kind.hash
        rows[#rows + 1] = self:row(row.metric .. "-" .. kind.suffix, row.value, row.n, row)
      end
    end
  end
end

-- The distance of as many other images of the reference in place of n samples, or nil.
function Metrics:floor_of_patches(kind, n)
  local wanted = false
  for _, name in ipairs(self.further) do wanted = wanted or name == "nulls" end
  n = math.min(n, self.reference.n // 2)
  if wanted and kind.floor_n ~= n then
    local walk = M.walk(self.reference)
    local function others(first, count) return walk(first + n, count) end
    kind.floor_n = n
    kind.floor = sliced.between(sliced.patches(others, n), sliced.patches(walk, n))
  end
  return wanted and kind.floor or nil
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
    { protocol = sliced.protocol, n_reference = n, levels = levels,
      floor = self:floor_of_patches(kind, n) })
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
