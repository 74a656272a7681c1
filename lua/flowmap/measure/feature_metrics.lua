--- Named metrics of sampled images, all from the same features, computed once. Each gives rows of
-- flowmap.measure.image_distances with further fields:
--
--     low =, high =,             -- an exact 95 % interval, where there is one
--     p =, df =,                 -- an exact p-value of the null "samples and images have one law"
--     floor =, gaussian =        -- the same number of two null models
--
-- The features of the data are put in a random order and divided into two halves. Samples are
-- compared with the first. `floor` is what as many images of the second half give in place of the
-- samples; `gaussian` what as many draws from one normal distribution with the mean and covariance
-- of the features give: a number that does not tell this from the data does not see their shape.
--
-- FD-cnn and KID-cnn are those of flowmap.measure.image_distances, which compares with all M images
-- of the data. Their null models are compared with a half, so the bias of a Frechet distance from n
-- samples, about c (1/n + 1/M), is c (1/n + 2/M) in them: the floor is too high by the share
-- n / (n + M), 2 % for 1,000 samples and 50,000 images.
--
-- | name     | rows                                                                           |
-- |----------|--------------------------------------------------------------------------------|
-- | `nulls`  | none of its own: the null models of the Frechet, kernel and patch distances    |
-- | `limit`  | the Frechet distance at infinitely many points, flowmap.measure.frechet_limit  |
-- | `prdc`   | precision, recall (3 neighbours), density, coverage (5), see `neighbours`      |
-- | `sw2`    | sliced Wasserstein-2 distance of the features                                  |
-- | `c2st`   | pairs that a classifier orders correctly, see flowmap.measure.two_sample       |
-- | `labels` | chi-squared of the labels that the features' classifier gives                  |
-- | `memory` | share of samples nearer to training than to test images                        |
-- @module flowmap.measure.feature_metrics

local fm = require "flowmap"
local errors = require "flowmap.base.errors"
local frechet = require "flowmap.measure.frechet"
local frechet_limit = require "flowmap.measure.frechet_limit"
local neighbours = require "flowmap.measure.neighbours"
local sliced = require "flowmap.measure.sliced"
local stats = require "flowmap.measure.stats"
local tails = require "flowmap.measure.tails"
local two_sample = require "flowmap.measure.two_sample"

local M = {}

local NEAR, DENSE = 3, 5 -- neighbours: those of the authors of precision and of density
local MOST = 5000        -- rows of each side, where the time grows with their product

--- Most features of the data that are used.
M.most = 50000

-- ------------------------------------------------------------------ the two halves

local function first(x, n) return fm.slice(x, 1, 1, math.min(n, x.shape[1])) end

-- The rows of x in a random order, always the same for the same number of rows.
local function shuffled(x)
  local n, order = x.shape[1], {}
  local key = fm.uniform({ n }, { seed = 0, stream = "halves", dtype = "float64" }):flat()
  for k = 1, n do order[k] = k end
  table.sort(order, function(a, b) return key[a] < key[b] or key[a] == key[b] and a < b end)
  for k = 1, n do order[k] = order[k] - 1 end
  return fm.gather(x, fm.tensor(order, x.dtype))
end

-- A matrix R with R'R = s, for a symmetric s without negative eigenvalues.
local function root(s)
  local values, vectors = fm.eigh(s)
  return fm.reshape(fm.sqrt(fm.maximum(values, 0)), { s.shape[1], 1 }) * vectors
end

local Sides = {}
Sides.__index = Sides

--- The features of a data set, divided for comparison.
-- @tparam table kind see flowmap.measure.features
-- @tparam tensor x features of the data, (n, d)
-- @tparam[opt] tensor test features of test images that are not among the data, (m, d)
-- @treturn Sides
function M.sides(kind, x, test)
  local all = shuffled(x)
  local half = x.shape[1] // 2
  local moments = frechet.moments_of(all)
  return setmetatable({ kind = kind, test = test, half = half,
    real = first(all, half), other = fm.slice(all, 1, half + 1, half), mean = moments.mean,
    root = root(moments.cov), known = {}, nulls = {} }, Sides)
end

-- n draws from the normal distribution with the moments of the features.
function Sides:gaussian(n)
  local z = fm.normal({ n, #self.mean:flat() },
    { seed = 0, stream = "one Gaussian", dtype = "float64" })
  return fm.cast(fm.matmul(z, self.root) + self.mean, "float32")
end

-- make(), computed once for each name.
function Sides:once(name, make)
  if self.known[name] == nil then self.known[name] = make() end
  return self.known[name]
end

function Sides:moments()
  return self:once("moments", function() return frechet.moments_of(self.real) end)
end

-- The first rows of the samples x and of the data, equally many.
function Sides:equal(x)
  local n = math.min(x.shape[1], self.half, MOST)
  return first(x, n), first(self.real, n)
end

-- ------------------------------------------------------------------ the metrics

-- A share of k in n with its exact interval, given the other set.
local function share(metric, value, n, n_reference)
  local low, high = tails.proportion(math.floor(value * n + 0.5), n)
  return { metric = metric, value = value, low = low, high = high, n = n,
    n_reference = n_reference }
end

-- The values of a null model for the distances that image_distances computes itself.
local function distances(sides, x)
  local kind = sides.kind
  local kid = frechet.kid(x, sides.real)
  return { { metric = kind.label, n = x.shape[1], n_reference = sides.half,
    value = frechet.distance(frechet.moments_of(x), sides:moments(), kind.offset) },
    { metric = kind.kernel, value = kid.mean, n = x.shape[1], n_reference = sides.half } }
end

local function limit(sides, x)
  local it = frechet_limit.limit(x, sides.real, sides.kind.offset)
  return { { metric = "limit", value = it.value, interval = it.half, n = it.n,
    n_reference = it.m, protocol = frechet_limit.protocol } }
end

local function prdc(sides, x)
  local here, there = sides:equal(x)
  local n = here.shape[1]
  local real = sides:once("balls" .. n, function()
    return neighbours.balls(there, { NEAR, DENSE })
  end)
  local it = neighbours.prdc(real, neighbours.balls(here, { NEAR, DENSE }), NEAR, DENSE)
  local rows = { share("precision", it.precision, n, n), share("recall", it.recall, n, n),
    { metric = "density", value = it.density, n = n, n_reference = n,
      interval = stats.summary(it.inside:flat()).half / DENSE },
    { metric = "coverage", value = it.coverage, n = n, n_reference = n } }
  for k, row in ipairs(rows) do
    row.protocol = ("%d neighbours"):format(k <= 2 and NEAR or DENSE)
  end
  return rows
end

local function sw2(sides, x)
  local here, there = sides:equal(x)
  local n = here.shape[1]
  return { { metric = "sw2", value = sliced.distance2(here, there), n = n, n_reference = n,
    protocol = "128 directions" } }
end

local function c2st(sides, x)
  local it = two_sample.classify(sides:equal(x))
  return { { metric = "c2st", value = it.value, low = it.low, high = it.high, p = it.p, n = it.n,
    n_reference = it.n, protocol = "held-out pairs" } }
end

local function labels(sides, x)
  local logits = sides.kind.logits
  local real = sides:once("logits", function() return logits(sides.real) end)
  local it = two_sample.labels(logits(x), real)
  return { { metric = "labels", value = it.value, df = it.df, p = it.p, n = it.n,
    n_reference = it.m, protocol = "chi-squared" } }
end

local function memory(sides, x)
  local m = math.min(sides.half, sides.test.shape[1], MOST)
  local it = two_sample.memory(first(x, MOST), first(sides.real, m), first(sides.test, m))
  return { { metric = "memory", value = it.value, p = it.p, n = it.n, n_reference = it.m,
    protocol = "nearest of training and test images" } }
end

local METRICS = { nulls = distances, limit = limit, prdc = prdc, sw2 = sw2, c2st = c2st,
  labels = labels, memory = memory }

--- All names, in the order of tables.
M.names = { "nulls", "limit", "prdc", "sw2", "c2st", "labels", "memory" }

--- The columns of the rows of each name: { metric, head in tables, format }.
M.columns = {
  nulls = {}, limit = { { "limit", "FD-inf", "%.3f" } },
  prdc = { { "precision", "precision", "%.3f" }, { "recall", "recall", "%.3f" },
    { "density", "density", "%.3f" }, { "coverage", "coverage", "%.3f" } },
  sw2 = { { "sw2", "SW2-cnn", "%.4f" } },
  c2st = { { "c2st", "C2ST", "%.3f" } },
  labels = { { "labels", "chi2 labels", "%.1f" } },
  memory = { { "memory", "memory", "%.3f" } },
}

-- ------------------------------------------------------------------ rows

-- The rows of a metric for a null model, by metric; computed once for each number of samples.
local function null_values(sides, name, n, model, draw)
  local key = ("%s %s %d"):format(name, model, n)
  if not sides.nulls[key] then
    local values = {}
    for _, row in ipairs(METRICS[name](sides, draw(n))) do values[row.metric] = row.value end
    sides.nulls[key] = values
  end
  return sides.nulls[key]
end

--- Measure samples.
-- @tparam Sides sides
-- @tparam string name one of `names`
-- @tparam tensor x features of the samples, (n, d)
-- @treturn {table,...} rows; those of `nulls` have no value, only `floor` and `gaussian`
function M.measure(sides, name, x)
  local n = math.min(x.shape[1], sides.half)
  local floor = null_values(sides, name, n, "floor", function(k) return first(sides.other, k) end)
  local gaussian = null_values(sides, name, n, "gaussian", function(k) return sides:gaussian(k) end)
  local rows = {}
  if name == "nulls" then
    for metric in pairs(floor) do rows[#rows + 1] = { metric = metric } end
  else
    rows = METRICS[name](sides, x)
  end
  for _, row in ipairs(rows) do
    row.floor, row.gaussian = floor[row.metric], gaussian[row.metric]
  end
  return rows
end

-- ------------------------------------------------------------------ selection

--- The names that the setting `image_metrics` selects.
-- @tparam {string,...} wanted "none", "all" (those that the data allow) or names
-- @tparam boolean has_test whether there are test images
-- @treturn {string,...}
function M.names_of(wanted, has_test)
  if #wanted == 1 and wanted[1] == "none" then return {} end
  local names, all = {}, #wanted == 1 and wanted[1] == "all"
  for _, name in ipairs(all and M.names or wanted) do
    errors.choice("image metric", name, M.names)
    if name ~= "memory" or has_test then
      names[#names + 1] = name
    elseif not all then
      errors.usage("the image metric memory compares with test images, but the data have none")
    end
  end
  return names
end

--- Check that there are enough samples and images.
-- @tparam {string,...} names
-- @tparam integer dim dimension of the features
-- @tparam integer samples
-- @tparam integer images of the data
function M.check(names, dim, samples, images)
  local least = 20
  for _, name in ipairs(names) do
    if name == "nulls" then least = math.max(least, dim) end
    if name == "limit" then least = math.max(least, frechet_limit.least(dim)) end
  end
  if #names == 0 or samples >= least and images >= 2 * least then return end
  errors.usage("eval_samples is %d and the data have %d images; image_metrics = %s needs at least "
    .. "%d samples and %d images", samples, images, table.concat(names, ","), least, 2 * least)
end

return M
