-- Named metrics of features: null models, what each metric sees, and their rows among the others.

local t = require "harness"
local fm = require "flowmap"
local lfs = require "lfs"

local feature_metrics, image_distances = fm.feature_metrics, fm.image_distances
local cnn = require "flowmap.measure.features.cnn"
local nets = require "flowmap.nets"
local sandbox = require "sandbox"

-- Features of a kind that never sees an image: sixteen clouds at the corners of a box in four
-- dimensions. The label tells whether the first coordinate is close to 0.
local SCALE, SHIFT = fm.tensor { { 1, 2, 1, 0.5 } }, fm.tensor { { 0, 3, 0, 0 } }

local function cloud(n, stream)
  local z = fm.normal({ n, 4 }, { seed = 6, stream = stream })
  local u = fm.uniform({ n, 4 }, { seed = 6, stream = stream .. ", corners" })
  return (z * 0.3 + fm.where(fm.lt(u, 0.5), 1, -1)) * SCALE + SHIFT
end

local KIND = { label = "FD-x", kernel = "KID-x", dim = 4, offset = 0, logits = function(f)
  local x = fm.slice(f, 2, 1, 1)
  return fm.concat({ 0.5 - fm.abs(x), 0 * x }, 2)
end }

local DATA, TEST = cloud(3000, "data"), cloud(700, "test")

local function sides() return feature_metrics.sides(KIND, DATA, TEST) end

local COMMON = sides() -- null models are computed once

-- All rows of samples, by metric.
local function measure(x)
  local found = {}
  for _, name in ipairs(feature_metrics.names) do
    for _, row in ipairs(feature_metrics.measure(COMMON, name, x)) do
      found[row.metric] = row
    end
  end
  return found
end

local LIKE = measure(cloud(1500, "like"))

-- ------------------------------------------------------------------ halves and null models

t.test("the halves are disjoint, hold all rows, and are always the same", function()
  local of, again = sides(), sides()
  t.eq(of.real:bytes() == again.real:bytes(), true)
  local function keys(x)
    local list = {}
    for k, row in ipairs(x:totable()) do list[k] = table.concat(row, " ") end
    table.sort(list)
    return list
  end
  t.eq(keys(fm.concat({ of.real, of.other }, 1)), keys(DATA))
  -- In data sorted by class each half gets its share of each.
  local sorted = feature_metrics.sides(KIND, fm.reshape(fm.arange(8000), { 2000, 4 }))
  t.near(fm.mean(sorted.real):item() / 4000, 1, 0.05)
end)

t.test("samples of the data's law are like the null model, which others are not", function()
  local like, far = LIKE, measure(cloud(1500, "far") + 0.2)
  for _, metric in ipairs { "precision", "recall", "density", "coverage" } do
    t.near(like[metric].value, like[metric].floor, 0.06, metric)
    t.eq(far[metric].value < like[metric].value - 0.05, true, metric)
  end
  for _, metric in ipairs { "limit", "sw2", "c2st", "labels" } do
    t.eq(far[metric].value > like[metric].value, true, metric)
    t.eq(far[metric].floor, like[metric].floor, metric .. ": a null model has no samples")
  end
  t.eq(like.c2st.p > 0.01 and far.c2st.p < 1e-6, true)
  t.eq(like.labels.p > 0.01 and like.memory.p > 0.01, true)
end)

t.test("the Frechet distance does not tell one Gaussian from the data, others do", function()
  local it = LIKE
  local distance = it["FD-x"]
  t.eq(distance.gaussian < 2 * distance.floor, true)
  t.eq(distance.value, nil, "the null models alone")
  t.eq(math.abs(it.limit.gaussian) < 0.02, true)
  t.eq(it.labels.floor < 12 and it.labels.gaussian > 100, true)
  for _, metric in ipairs { "precision", "density", "coverage" } do
    t.eq(it[metric].gaussian < it[metric].floor - 0.02, true, metric)
  end
end)

t.test("the extrapolated distance is near 0 for the null model, the plain one is not", function()
  local it = LIKE
  t.eq(math.abs(it.limit.floor) < it["FD-x"].floor, true)
  t.near(it.limit.value, 0, 1.5 * it.limit.interval)
end)

t.test("copies of the training images are found", function()
  local copies = fm.slice(COMMON.real, 1, 1, 400)
  local copied = feature_metrics.measure(COMMON, "memory", copies)[1]
  t.eq({ copied.n, copied.n_reference }, { 400, 700 })
  t.eq(copied.value, 1.0)
  t.eq(copied.p < 1e-50, true)
  t.near(copied.floor, 0.5, 0.1)
end)

t.test("rows state how many points they compare, and intervals contain their value", function()
  local it = measure(cloud(2000, "like"))
  t.eq({ it.precision.n, it.precision.n_reference }, { 1500, 1500 }, "no more than a half")
  t.eq({ it.c2st.n, it.labels.n, it.labels.n_reference }, { 750, 2000, 1500 })
  t.eq({ it.limit.n, it.limit.n_reference }, { 2000, 1488 })
  for _, metric in ipairs { "precision", "recall", "c2st" } do
    local row = it[metric]
    t.eq(row.low < row.value and row.value < row.high, true, metric)
  end
  t.eq({ it.precision.protocol, it.coverage.protocol }, { "3 neighbours", "5 neighbours" })
end)

-- ------------------------------------------------------------------ selection

t.test("names are none, all that the data allow, or a list", function()
  local names_of = feature_metrics.names_of
  t.eq(names_of({ "none" }, true), {})
  t.eq(#names_of({ "all" }, true), 7)
  t.eq(#names_of({ "all" }, false), 6)
  t.eq(names_of({ "sw2", "prdc" }, false), { "sw2", "prdc" })
  t.raises(function() names_of({ "prcd" }, true) end, "did you mean prdc")
  t.raises(function() names_of({ "memory" }, false) end, "the data have none")
end)

t.test("too few samples or images are refused before a run", function()
  feature_metrics.check({}, 128, 1, 1)
  feature_metrics.check({ "prdc" }, 128, 20, 40)
  t.raises(function() feature_metrics.check({ "prdc", "limit" }, 128, 703, 9999) end,
    "eval_samples is 703 .* image_metrics = prdc,limit needs at least 704 samples and 1408")
  t.raises(function() feature_metrics.check({ "nulls" }, 128, 500, 255) end, "and 256 images")
end)

-- ------------------------------------------------------------------ among the distances of images

local weights = sandbox.path "weights.safetensors"
fm.classifier.save(weights, cnn.init(nets.rng(5, "float32")), { accuracy = "0.1" })
local features = fm.features.open("cnn", nil, { path = weights })

local function images(count, stream)
  local x = fm.uniform({ count, 4, 1, 4, 1, 3 }, { seed = 1, stream = stream }) * 2 - 1
  return fm.reshape(fm.broadcast(x, { count, 4, 8, 4, 8, 3 }), { count, 32, 32, 3 })
end

t.test("images: rows beside the distances, features of the data computed once", function()
  local real, calls, folder = images(300, "real"), 0, sandbox.path "cache"
  local reference = { name = "cells", split = "train", hash = "1", n = 300,
    images = function(index)
      calls = calls + 1
      return fm.gather(real, index)
    end }
  local function rows(names)
    local it = image_distances.new(reference, { metrics = { features, "sliced" }, further = names,
      cache = folder })
    local by = {}
    for _, row in ipairs(it:measure(images(200, "fake"))) do by[row.metric] = row end
    return by
  end
  local plain = rows {}
  local more = rows { "nulls", "prdc", "labels" }
  for _, metric in ipairs { "FD-cnn", "KID-cnn", "SW" } do
    t.eq(more[metric].value, plain[metric].value, metric)
    t.eq({ type(more[metric].floor), plain[metric].floor }, { "number", nil }, metric)
  end
  t.eq(more.SW.floor > 0 and more.SW.floor < 0.3, true)
  t.eq({ type(more["FD-cnn"].gaussian), more.SW.gaussian }, { "number", nil })
  local row = more["recall-cnn"]
  t.eq({ row.reference, row.split, row.data, row.n }, { "cells", "train", "1", 150 })
  t.eq(image_distances.describe(row), "recall-cnn: 150 samples against 150 images of cells train, "
    .. "protocol cnn, 3 neighbours, features " .. features.hash:sub(1, 12))
  t.eq(more["labels-cnn"].df >= 1, true)
  features.sides, features.of_reference, calls = nil, nil, 0
  t.eq(rows({ "prdc" })["recall-cnn"].value, row.value)
  local walk = calls
  features.sides, features.of_reference = nil, nil
  rows {}
  t.eq(calls - walk, walk, "the cached features are read, only patches need images")
  for name in lfs.dir(folder) do os.remove(folder .. "/" .. name) end
  os.remove(folder)
end)

t.done()
