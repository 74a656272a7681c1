-- Experiments on images: smaller resolutions, the judge, the files of a run, grids of samples.

local t = require "harness"
local fm = require "flowmap"
local images = require "flowmap.experiment.image_template"
local sandbox = require "sandbox"

local cache, data, experiment, json = fm.cache, fm.data, fm.experiment, fm.json

local folders = 0

local function folder()
  folders = folders + 1
  return sandbox.mkdir(tostring(folders))
end

-- Bytes of `count` images of side `side`, all values from 0 to 255.
local function set_of(count, side, hash)
  local bytes = {}
  for k = 1, count * side * side * 3 do bytes[k] = string.char(k * 2654435761 >> 13 & 255) end
  return { shape = { side, side, 3 }, sd = 0.5, count = count, hash = hash, title = "noise",
    table = fm.from_bytes(table.concat(bytes), { count, side, side, 3 }) }
end

local noise = set_of(300, 32, "first")

local function make(set)
  return images.experiment { name = "noise", title = "Noise", path = arg[0], methods = { "lsd" },
    data = { noise = set or noise }, settings = { data = "noise" },
    profiles = { smoke = {
      model_channels = 4, mult = { 1, 1 }, num_blocks = 1, attention = {}, dropout = 0.1,
      batch = 4, micro = 2, steps = 2, lr = 1e-2, schedule = "linear", log_every = 1,
      ema = { 0.5 }, nfe = { 1, 2 }, eval_samples = 256, checkpoints = 2,
    } } }
end

local function resolve(it, set)
  return experiment.resolve(it, { profile = "smoke", set = set })
end

t.test("a smaller resolution is the mean of blocks of pixels", function()
  local small = data.reduced(noise, 8)
  t.eq(small.shape, { 8, 8, 3 })
  t.eq({ small.count, small.title, small.hash }, { 300, "noise", "first at 8" })
  local index = fm.tensor { 5, 299 }
  local x, y = fm.pixels(noise.table, index), data.images(small, noise.table, index)
  local sum = 0
  for i = 1, 4 do
    for j = 1, 4 do sum = sum + x:get(2, 4 + i, 8 + j, 3) end
  end
  t.near(y:get(2, 2, 3, 3), sum / 16, 1e-6)
  t.eq(data.reduced(noise, 0), noise)
  t.raises(function() data.reduced(noise, 12) end, "resolution is 12, expected .*%(32%), or that")
  t.raises(function() data.reduced(data.find "checkerboard", 8) end, "these are not images")
end)

t.test("other images are other inputs, and so is another resolution", function()
  local it, other = make(), make(set_of(300, 32, "second"))
  local function inputs(of, set) return cache.inputs(of, resolve(of, set)) end
  t.eq(cache.differences(inputs(it), inputs(it)), {})
  t.eq(cache.differences(inputs(it), inputs(other)), { "images changed" })
  local words = table.concat(cache.differences(inputs(it), inputs(it, { resolution = 16 })), "; ")
  t.eq(words:match "resolution changed from 0 to 16" ~= nil, true, words)
end)

t.test("a run writes distances with their descriptions, samples, data and checkpoints", function()
  local it, dir = make(), folder()
  fm.run.run(it, resolve(it), dir)
  local eval, manifest = json.read(dir .. "/eval.json"), json.read(dir .. "/manifest.json")
  t.eq(manifest.dataset.title, "noise")
  t.eq(eval.columns[1][1], "fd_cnn")
  for i, row in ipairs(eval.rows) do
    t.eq(row.about.fd_cnn:match "256 samples against 300 images of noise train" ~= nil, true)
    for _, metric in ipairs { "fd_cnn", "kid_cnn", "sw" } do
      local early = eval.checkpoints[1].rows[i][metric]
      t.eq(row[metric .. "_best"], math.min(row[metric], early), metric)
    end
    t.eq(fm.load_npy(("%s/samples-N%d.npy"):format(dir, row.N)).shape, { 64, 32, 32, 3 })
  end
  local real = fm.load_npy(dir .. "/data.npy")
  t.eq(real.shape, { 64, 32, 32, 3 })
  -- The first of the walk through the data is image 0.
  t.eq(fm.bytes(fm.rows(real, 1, 1)), fm.bytes(fm.pixels(noise.table, fm.tensor { 0 })))
end)

t.test("selected metrics stand beside the distances, null models in every table", function()
  local it, results = make(), folder()
  it.profiles.smoke.image_metrics = { "nulls", "prdc", "c2st", "labels" }
  it.profiles.smoke.checkpoints = 1
  it.render = { it.render[1], it.render[5],
    { kind = "metrics", name = "all", title = "All metrics", N = 2 } }
  local dir = results .. "/noise/smoke/lsd-seed1"
  fm.run.run(it, resolve(it), dir)
  local eval = json.read(dir .. "/eval.json")
  local row, fields = eval.rows[2], {}
  for k, column in ipairs(eval.columns) do fields[k] = column[1] end
  t.eq(fields, { "fd_cnn", "kid_cnn", "sw", "precision_cnn", "recall_cnn", "density_cnn",
    "coverage_cnn", "c2st_cnn", "labels_cnn" })
  for _, name in ipairs(fields) do
    t.eq({ type(row[name]), type(row[name .. "_floor"]) }, { "number", "number" }, name)
    t.eq(type(row[name .. "_gaussian"]), name == "sw" and "nil" or "number", name)
    t.eq(row.about[name]:match "noise train" ~= nil, true)
  end
  local low, high = row.precision_cnn_low, row.precision_cnn_high
  t.eq(low <= row.precision_cnn and row.precision_cnn <= high, true)
  t.eq({ type(row.c2st_cnn_p), type(row.labels_cnn_df), type(row.density_cnn_half) },
    { "number", "number", "number" })

  local all = fm.results.open(results .. "/noise/smoke")
  local function described(k) return fm.render.description(it, it.render[k], all) end
  local fd, sw, metrics = described(1).rows, described(2).rows, described(3)
  t.eq({ fd[2].heads, fd[3].heads, #fd }, { { "null model", "true images" },
    { "null model", "one Gaussian" }, 3 })
  t.eq({ fd[2].cells[1], fd[3].cells[1] }, { row.fd_cnn_floor, row.fd_cnn_gaussian })
  t.eq({ #sw, sw[2].cells[2] }, { 2, row.sw_floor })
  t.eq(metrics.columns, { "LSD", "true images", "one Gaussian" })
  t.eq({ #metrics.rows, metrics.rows[4].heads, metrics.rows[4].format }, { 9, { "precision" },
    "%.3f" })
  t.eq(metrics.rows[4].cells[2], row.precision_cnn_floor)
  t.eq(metrics.rows[3].cells[3], nil, "a Gaussian of features has no patches")
  t.eq(fm.table.markdown(metrics):match "precision | [%d.]+[^|]*| [%d.]+ | [%d.]+ |" ~= nil, true)
end)

t.test("selected metrics that a run cannot measure are refused before it", function()
  local it = make()
  local function refused(value, pattern)
    t.raises(function() fm.run.run(it, resolve(it, { image_metrics = value }), folder()) end,
      pattern)
  end
  refused("limit", "eval_samples is 256 .* needs at least 704 samples")
  refused("memory", "compares with test images, but the data have none")
  refused("precision", "image metric 'precision'")
  it.render = { { kind = "metrics", name = "all", title = "T", N = 2, metrics = { "sw2_cnn" } } }
  t.raises(function() fm.run.run(it, resolve(it), folder()) end, "have no number 'sw2_cnn'")
end)

t.test("samples of the data themselves are closer than noise of another kind", function()
  local job = { set = noise }
  local judge = require("flowmap.measure.judges.images").new(job, folder())
  local same = judge:measure(fm.pixels(noise.table, fm.arange(256)))
  local far = judge:measure(fm.zeros { 256, 32, 32, 3 } + 0.5)
  for _, metric in ipairs { "fd_cnn", "kid_cnn", "sw" } do
    t.eq(same[metric] < 0.2 * far[metric], true, metric)
  end
end)

t.test("a grid has one row per N, eight columns, and the data beside it", function()
  sandbox.needs "gnuplot"
  local it, results = make(), folder()
  fm.run.run(it, resolve(it), results .. "/noise/smoke/lsd-seed1")
  local made = {}
  for _, path in ipairs(fm.render.experiment(it, "smoke", results)) do made[path] = true end
  local at = results .. "/noise/smoke/figures/samples"
  for _, name in ipairs { ".png", ".LSD.png", ".data.png" } do
    t.eq(made[at .. name], true, name)
  end
  local sheet = fm.load_image(at .. ".LSD.png")
  t.eq({ sheet.shape[1], sheet.shape[2] }, { 2 + 2 * 34, 2 + 8 * 34 })
end)

t.done()
