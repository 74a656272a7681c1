-- Image distances as a whole: complete rows, caching, and independence of batches.

local t = require "harness"
local fm = require "flowmap"
local lfs = require "lfs"

local classifier, image_distances = fm.classifier, fm.image_distances
local cnn = require "flowmap.measure.features.cnn"
local nets = require "flowmap.nets"
local sandbox = require "sandbox"

-- Features with weights that were never trained, as a file of their own.
local weights = sandbox.path "weights.safetensors"
classifier.save(weights, cnn.init(nets.rng(5, "float32")), { accuracy = "0.1" })
local features = fm.features.open("cnn", nil, { path = weights })

-- Smooth images of few colours: noise of 4 x 4 cells.
local function images(count, stream, side)
  side = side or 32
  local cell = side // 4
  local x = fm.uniform({ count, 4, 1, 4, 1, 3 }, { seed = 1, stream = stream }) * 2 - 1
  return fm.reshape(fm.broadcast(x, { count, 4, cell, 4, cell, 3 }), { count, side, side, 3 })
end

local REAL = images(300, "real")
local calls = 0
local function reference(hash)
  return { name = "cells", split = "train", hash = hash or "1", n = 300, images = function(index)
    calls = calls + 1
    return fm.gather(REAL, index)
  end }
end

local function measure(samples, n, options)
  options = options or { metrics = { features, "sliced" } }
  return image_distances.new(reference(), options):measure(samples, n)
end

t.test("every row states its meaning", function()
  local rows = measure(images(200, "fake"))
  local names = {}
  for k, row in ipairs(rows) do
    names[k] = row.metric
    t.eq({ row.reference, row.split, row.data }, { "cells", "train", "1" })
    t.eq(type(row.value) == "number" and row.value == row.value, true)
    t.eq(type(row.protocol), "string")
  end
  t.eq(names, { "FD-cnn", "KID-cnn", "SW" })
  t.eq({ rows[1].n, rows[1].n_reference }, { 200, 300 })
  t.eq({ rows[2].n, rows[2].subsets, rows[2].size }, { 200, 10, 20 })
  t.eq({ rows[3].n, rows[3].n_reference }, { 200, 200 })
  t.eq(rows[1].features, fm.sha256_file(weights))
  t.eq(rows[2].interval > 0, true)
  t.eq(image_distances.describe(rows[1]), "FD-cnn: 200 samples against 300 images of cells train, "
    .. "protocol cnn, features " .. rows[1].features:sub(1, 12))
end)

t.test("the reference against itself, a similar set, and another law", function()
  local own = measure(image_distances.walk(reference()), 300)
  t.near(own[1].value, 0, 1e-6, "FD of the same images")
  t.eq(own[3].value, 0.0, "SW of the same images, same patches")
  local like, other = measure(images(300, "fake")), measure(images(300, "fake") * 0.5)
  for k = 1, 3 do
    t.eq(like[k].value < other[k].value, true, like[k].metric)
  end
end)

t.test("results do not depend on how samples are supplied", function()
  local x = images(270, "batches")
  local function values(rows)
    return { rows[1].value, rows[2].value, rows[3].value }
  end
  local whole = values(measure(x))
  t.eq(values(measure(function(first, count) return fm.slice(x, 1, first + 1, count) end, 270)),
    whole)
  local f = features.extract(x)
  for _, part in ipairs { { 1, 1 }, { 270, 1 }, { 30, 5 }, { 20, 64 }, { 100, 99 } } do
    local at, count = part[1], part[2]
    t.eq(features.extract(fm.slice(x, 1, at, count)):bytes()
      == fm.slice(f, 1, at, count):bytes(), true)
  end
  fm.set_threads(1)
  t.eq(values(measure(x)), whole, "one thread")
  fm.set_threads(2)
end)

t.test("features are always computed from the same number of images at a time", function()
  local extract = fm.features.extractor(function(x) -- would tell another number
    return fm.reshape(fm.slice(x, 4, 1, 1), { x.shape[1], 1 }) + x.shape[1]
  end, 4)
  for _, n in ipairs { 1, 3, 4, 5, 8, 11 } do
    local x = fm.reshape(fm.arange(3 * n), { n, 1, 1, 3 })
    local expected = {}
    for k = 1, n do expected[k] = 3.0 * (k - 1) + 4 end
    t.eq(extract(x):flat(), expected)
  end
end)

t.test("samples are clipped, larger ones averaged", function()
  local x = images(40, "large", 64)
  local small = fm.mean(fm.reshape(x, { 40, 32, 2, 32, 2, 3 }), { 3, 5 })
  t.eq(features.extract(x):bytes() == features.extract(small):bytes(), true)
  local loud = x * 1.5
  t.eq(features.extract(loud):bytes() == features.extract(fm.clip(loud, -1, 1)):bytes(), true)
  t.raises(function() features.extract(fm.zeros { 2, 48, 48, 3 }) end, "48 x 48 pixels")
  t.raises(function() features.extract(fm.zeros { 2, 32, 32 }) end, "expected %(n, h, w, 3%)")
end)

t.test("statistics of the reference are cached under everything that they depend on", function()
  local folder = sandbox.path "cache"
  local options = { metrics = { features }, cache = folder }
  local x = images(200, "fake")
  local first = measure(x, nil, options)
  calls = 0
  local second = measure(x, nil, options)
  t.eq(calls, 0, "no image of the reference is read again")
  t.eq(second[1].value, first[1].value)
  t.eq(second[2].value, first[2].value)
  local path
  for name in lfs.dir(folder) do
    if name:find "^reference" then path = folder .. "/" .. name end
  end
  local file = assert(io.open(path, "r+b"))
  file:seek("set", 5000)
  file:write "damaged"
  file:close()
  t.eq(measure(x, nil, options)[1].value, first[1].value)
  t.eq(calls > 0, true, "a damaged file is computed again")
  calls = 0
  image_distances.new(reference "2", options):measure(x)
  t.eq(calls > 0, true, "other data, other statistics")
  for name in lfs.dir(folder) do os.remove(folder .. "/" .. name) end
  os.remove(folder)
end)

t.test("refusals", function()
  t.raises(function() measure(images(127, "few")) end, "127 samples and 300 reference images found")
  t.raises(function() measure(function() end) end, "needs their number")
  local x = images(200, "nan")
  local bad = fm.where(fm.reshape(fm.eq(fm.arange(200), 7), { 200, 1, 1, 1 }), 0 / 0, x)
  t.raises(function() measure(bad) end, "sample 8 is not finite")
  local function with(name) image_distances.new(reference(), { metrics = { name } }) end
  t.raises(function() with "cnm" end, "did you mean cnn")
  t.raises(function() with "cnn:paper" end, "protocol of cnn")
end)

t.test("the walk through a data set meets every image once", function()
  for _, n in ipairs { 1, 2, 10, 97, 1000 } do
    local seen, count = {}, 0
    image_distances.walk { n = n, images = function(index)
      for _, i in ipairs(index:flat()) do
        if not seen[i] then seen[i], count = true, count + 1 end
      end
      return index
    end }(0, n)
    t.eq(count, n)
  end
end)

t.test("weights of another network are refused", function()
  local path = sandbox.path "other.safetensors"
  fm.save_safetensors(path, { ["stem.w"] = fm.zeros { 2, 3 } }, {}, false)
  t.raises(function() fm.features.open("cnn", nil, { path = path }) end,
    "tensor a.gain is %(absent%)")
  os.remove(path)
end)

t.test("the calibration lists recognisable changes, the worst last", function()
  local fake = images(200, "held out") -- a fifth of them would be too few for the features
  local rows = fm.calibration.rows(reference(), function(index) return fm.gather(fake, index) end,
    200, { metrics = { "sliced" } })
  local value = {}
  for _, row in ipairs(rows) do value[row.change] = row.value end
  t.eq(#rows, 6)
  t.eq(value["none"] < value["noise of 0.1"], true)
  t.eq(value["noise of 0.1"] < value["noise of 0.3"], true)
  local csv = fm.calibration.csv(rows)
  t.eq(select(2, csv:gsub("\n", "")), 7)
  t.eq(csv:match '\n("none",SW,[^,]+,,200,200,cells,train,laplacian)' ~= nil, true)
end)

t.test("the trained weights are small and carry the record of their training", function()
  local _, record = cnn.load(cnn.path())
  t.eq(lfs.attributes(cnn.path(), "size") < 2 * 2^20, true)
  t.eq(tonumber(record.accuracy) >= 0.8, true)
  t.eq(#record.data, 64)
  t.eq(tonumber(record.samples), 768000)
  local trained = fm.features.open "cnn"
  t.eq(trained.hash, fm.sha256_file(cnn.path()))
  -- They tell a change that raw weights hardly see: half the contrast against a like sample.
  local metrics = image_distances.new(reference(), { metrics = { trained } })
  local like = metrics:measure(images(200, "fake"))[1].value
  local other = metrics:measure(images(200, "fake") * 0.7)[1].value
  t.eq(like < other, true)
end)

t.done()
