--- Image classification: augmentation, loss, training step and accuracy. The suite uses it to train
-- the network whose features measure samples (experiments/classifier.lua).
-- @module flowmap.measure.classifier

local fm = require "flowmap"
local calibration = require "flowmap.measure.calibration"
local checkpoint = require "flowmap.checkpoint"
local cnn = require "flowmap.measure.features.cnn"
local data = require "flowmap.data"
local errors = require "flowmap.base.errors"
local files = require "flowmap.base.files"
local jobs = require "flowmap.job"
local json = require "flowmap.base.json"
local record = require "flowmap.runs.record"
local nets = require "flowmap.nets"
local trainer = require "flowmap.trainer"
local tree = require "flowmap.tree"

local M = {}

local SIDE, CLASSES = 32, 10

-- ------------------------------------------------------------------ augmentation

-- Selection matrices (n, size, SIDE): row i of the product is row from[i] of the image, or zero
-- beyond the border.
local function pick(from)
  local shape = { from.shape[1], from.shape[2], SIDE }
  local row = fm.reshape(fm.arange(SIDE), { 1, 1, SIDE })
  return fm.eq(fm.broadcast(from, shape), fm.broadcast(row, shape))
end

-- Apply matrices (n, size, SIDE) to the rows of images (n, SIDE, w, 3) and swap the image's axes.
local function along_rows(matrix, x)
  local n, size, w = matrix.shape[1], matrix.shape[2], x.shape[3]
  local y = fm.matmul(matrix, fm.reshape(x, { n, SIDE, w * 3 }))
  return fm.transpose(fm.reshape(y, { n, size, w, 3 }), { 1, 3, 2, 4 })
end

--- Take a window of every image at a random place, up to `shift` pixels beyond the border, where it
-- is filled with 0, and mirror half of the windows. Both are products with matrices of zeros and
-- ones.
-- @tparam tensor x (n, 32, 32, 3)
-- @tparam tensor u uniform numbers, (n, 3)
-- @tparam integer size of the window
-- @tparam integer shift
-- @treturn tensor (n, size, size, 3)
function M.augment(x, u, size, shift)
  local function column(k) return fm.reshape(fm.slice(u, 2, k, 1), { x.shape[1], 1, 1 }) end
  local places = SIDE - size + 2 * shift + 1
  local i = fm.reshape(fm.arange(size), { 1, size, 1 })
  local mirrored = fm.lt(column(3), 0.5)
  local down = i + fm.floor(column(1) * places) - shift
  local across = i + mirrored * (size - 1 - 2 * i) + fm.floor(column(2) * places) - shift
  return along_rows(pick(across), along_rows(pick(down), x))
end

-- ------------------------------------------------------------------ loss

local function one_hot(label)
  return fm.eq(fm.reshape(label, { label.shape[1], 1 }), fm.reshape(fm.arange(CLASSES),
    { 1, CLASSES }))
end

--- Cross-entropy -sum_k q_k log softmax(z)_k with smoothed labels: q is 1 - smoothing at the label,
-- and the remaining probability is shared by all classes.
-- @tparam tensor z logits, (n, 10)
-- @tparam tensor label class numbers from 0, (n)
-- @tparam number smoothing
-- @treturn tensor (n)
function M.cross_entropy(z, label, smoothing)
  z = z - fm.stop(fm.max_reduce(z, 2, true)) -- so that exp does not overflow
  local log_p = z - fm.log(fm.sum(fm.exp(z), 2, true))
  local q = one_hot(label) * (1 - smoothing) + smoothing / CLASSES
  return -fm.sum(q * log_p, 2)
end

-- ------------------------------------------------------------------ training

-- Images by number, from a table of bytes or of numbers in [-1, 1].
local function images(set, index)
  return (set.images.dtype == "uint8" and fm.pixels or fm.gather)(set.images, index)
end

--- The program of a training step, with the outputs that flowmap.trainer expects.
-- @tparam table cfg settings
-- @tparam table shared { params =, set = { images =, labels = (N) } }
-- @tparam integer size of the windows that the network sees
-- @treturn program
function M.step(cfg, shared, size)
  local count = shared.set.labels.shape[1]
  return fm.program(function(input, b)
    local index = fm.reshape(fm.floor(b:uniform({ 1 }, "index") * count), { b.n })
    local shift = size < SIDE and 0 or cfg.shift
    local x = M.augment(images(input.set, index), b:uniform({ 3 }, "augment"), size, shift)
    local label, loss = fm.gather(input.set.labels, index), nil
    local _, grads = fm.value_and_grad(function(params)
      loss = M.cross_entropy(cnn.logits(params, x), label, cfg.label_smoothing)
      return fm.sum(loss)
    end)(input.params)
    return { sum = { grads = grads, diagonal = fm.sum(loss) }, rows = { loss = loss } }
  end, { shared = shared, rows = {}, micro = cfg.micro })
end

-- The cheaper windows first; whole images from step `whole_from` on.
local function two_phases(cfg, shared)
  local windows, whole = M.step(cfg, shared, cfg.window), M.step(cfg, shared, SIDE)
  return { run = function(_, job)
    return (job.step < cfg.whole_from and windows or whole):run(job)
  end }
end

--- A job for flowmap.trainer. Its one term has the name of the diagonal one: all samples of a batch
-- are diagonal (eta is 1).
-- @tparam table experiment
-- @tparam table cfg resolved settings
-- @tparam table set training set { images = (N, 32, 32, 3), labels = (N) }
-- @tparam[opt] table saved a loaded checkpoint to continue
-- @treturn table job
function M.job(experiment, cfg, set, saved)
  local params = cnn.init(nets.rng(cfg.seed, cfg.dtype))
  if saved then params = checkpoint.tree(saved, "params", params) end
  local job = jobs.new { experiment = experiment, cfg = cfg }
  jobs.begin(job, params, { set = set }, saved)
  job.program = two_phases(cfg, job.shared)
  if saved then checkpoint.restore(saved, job.opt) end
  return job
end

--- The fraction of a set that is classified correctly.
-- @tparam table params
-- @tparam table set { images =, labels = }
-- @treturn number between 0 and 1
function M.accuracy(params, set)
  local count = set.labels.shape[1]
  local program = fm.program(function(input, b)
    local z = cnn.logits(input.params, images(input.set, b.rows.index))
    local best = fm.eq(z, fm.max_reduce(z, 2, true))
    return { sum = fm.sum(best * one_hot(fm.gather(input.set.labels, b.rows.index))) }
  end, { shared = { params = params, set = set }, rows = { index = {} }, micro = 50 })
  return program:run { batch = count, rows = { index = fm.arange(count) } }.sum:item() / count
end

--- Write weights to a file that flowmap.measure.features.cnn reads.
-- @tparam string path
-- @tparam table params
-- @tparam table about metadata, name -> string: accuracy, steps, data, ...
function M.save(path, params, about)
  local tensors = {}
  tree.each(function(tensor, name) tensors[name] = tensor end, params)
  fm.save_safetensors(path, tensors, about, false)
end

-- ------------------------------------------------------------------ a run

-- Training and test images with their labels.
local function sets(cfg)
  local it = data.find(cfg.data)
  if not (it.labels and it.test) then
    errors.usage("the data set %s has no labels or no test images", cfg.data)
  elseif it.standin then
    errors.data("the classifier is trained on %s itself, but only a %s is there", cfg.data,
      it.standin)
  end
  return { images = it.table, labels = it.labels },
    { images = it.test.table, labels = it.test.labels }, it
end

-- Measure changed and unchanged test images against the training images with the new features.
local function calibrate(dir, weights, train, test, it, count)
  local reference = { name = it.name, split = "train", hash = it.hash, n = it.count,
    images = function(index) return images(train, index) end }
  local kinds = { fm.features.open("cnn", nil, { path = weights }), "sliced" }
  local rows = calibration.rows(reference, function(index) return images(test, index) end,
    math.min(count, it.test.count), { metrics = kinds })
  fm.write_file(dir .. "/calibration.csv", calibration.csv(rows))
end

--- Train, test on the test images, and write the weights and the calibration of their features.
-- @tparam table experiment
-- @tparam table cfg resolved settings
-- @tparam string dir
-- @tparam table how { resume = boolean }
function M.run(experiment, cfg, dir, how)
  local train, test, it = sets(cfg)
  local path = dir .. "/checkpoint.safetensors"
  local saved = how.resume and files.exists(path) and checkpoint.load(path) or nil
  files.mkdir(dir)
  record.write(dir, "config", cfg)
  local job = M.job(experiment, cfg, train, saved)
  trainer.train(job, dir)
  local params, info = job.opt:ema(math.max(1, cfg.eval_ema)), fm.info()
  local accuracy = M.accuracy(params, test)
  local target = dir .. "/cifar10-cnn.safetensors"
  M.save(target, params, {
    accuracy = ("%.4f"):format(accuracy), data = it.hash, steps = tostring(cfg.steps),
    samples = tostring(cfg.steps * cfg.batch), wall_s = ("%.0f"):format(job.wall_s),
    config = json.encode(cfg), version = info.version, isa = info.isa,
  })
  if cfg.calibration > 0 then calibrate(dir, target, train, test, it, cfg.calibration) end
  io.stdout:write(("accuracy on the test images %.4f; weights in %s\n"):format(accuracy, target))
end

return M
