-- The classifier whose features measure images: augmentation, loss, step, file.

local t = require "harness"
local fm = require "flowmap"

local classifier = fm.classifier
local cnn = require "flowmap.measure.features.cnn"
local nets = require "flowmap.nets"
local tree = require "flowmap.tree"
local sandbox = require "sandbox"

local function uniform(shape, stream)
  return fm.uniform(shape, { seed = 3, stream = stream }) * 2 - 1
end

t.test("augmentation moves and mirrors pixels, and fills with 0", function()
  local x = uniform({ 5, 32, 32, 3 }, "augment")
  local from = x:totable()
  local function check(u, size, shift, moved)
    local y = classifier.augment(x, fm.tensor(u), size, shift):totable()
    for k, m in ipairs(moved) do
      t.eq({ #y[k], #y[k][1] }, { size, size })
      for i = 1, size do
        for j = 1, size do
          local row, column = i + m[1], (m[3] and size + 1 - j or j) + m[2]
          local expected = from[k][row] and from[k][row][column] or { 0, 0, 0 }
          t.eq(y[k][i][j], expected, ("image %d, pixel %d %d"):format(k, i, j))
        end
      end
    end
  end
  -- shift 2: u in fifths means -2 .. 2; the third number below 1/2 mirrors
  check({ { 0.5, 0.5, 0.9 }, { 0.99, 0.5, 0.9 }, { 0.5, 0, 0.9 }, { 0.5, 0.5, 0.1 },
    { 0.3, 0.7, 0.4 } }, 32, 2, { { 0, 0 }, { 2, 0 }, { 0, -2 }, { 0, 0, true }, { -1, 1, true } })
  -- a window of 24 has nine places
  check({ { 0, 0, 0.9 }, { 0.99, 0.99, 0.9 }, { 0.5, 0.12, 0.1 }, { 0.2, 0, 0.1 },
    { 0.99, 0.5, 0.6 } }, 24, 0, { { 0, 0 }, { 8, 8 }, { 4, 1, true }, { 1, 0, true }, { 8, 4 } })
end)

t.test("cross-entropy against its definition", function()
  local z = uniform({ 3, 10 }, "logits") * 4 + fm.tensor { { 0 }, { 300 }, { -300 } }
  local label = fm.tensor { 2, 0, 9 }
  local loss = classifier.cross_entropy(z, label, 0.2):flat()
  for k, row in ipairs(z:totable()) do
    local sum, expected = 0, 0
    for _, v in ipairs(row) do sum = sum + math.exp(v - row[1]) end
    for c, v in ipairs(row) do
      local q = 0.02 + (c - 1 == label:get(k) and 0.8 or 0)
      expected = expected - q * (v - row[1] - math.log(sum))
    end
    t.near(loss[k], expected, 2e-4, "sample " .. k)
  end
end)

t.test("the network: sizes, and features that do not depend on the batch", function()
  local params = cnn.init(nets.rng(1, "float32"))
  t.eq(tree.count(params), 418634)
  local x = uniform({ 6, 32, 32, 3 }, "images")
  local all = cnn.features(params, x)
  t.eq(all.shape, { 6, 128 })
  for k = 1, 6 do
    local one = cnn.features(params, fm.slice(x, 1, k, 1))
    t.eq(one:bytes() == fm.slice(all, 1, k, 1):bytes(), true)
  end
end)

-- Two classes that differ in colour; bytes or numbers as the table.
local function toy(count)
  local label = fm.floor(fm.arange(count) * 2 / count)
  local images = uniform({ count, 32, 32, 3 }, "toy") * 0.3
    + fm.reshape(label - 0.5, { count, 1, 1, 1 }) * fm.reshape(fm.tensor { 1, -1, 0 },
      { 1, 1, 1, 3 }) * 0.6
  return { images = images, labels = label }
end

local function settings()
  local cfg = {}
  for _, s in ipairs(fm.settings.list) do cfg[s[1]] = s[2] end
  for key, value in pairs { optimiser = "adamw", batch = 16, micro = 8, lr = 2e-3, clip = 1.0,
    schedule = "constant", steps = 12, window = 24, whole_from = 8, eta = 1.0, shift = 2,
    label_smoothing = 0.1, seed = 1, method = "cross-entropy", ema = { 0.5 } } do
    cfg[key] = value
  end
  return cfg
end

t.test("steps learn a toy problem, with the same bits when resumed", function()
  local trainer, checkpoint = fm.trainer, fm.checkpoint
  local set, path = toy(40), sandbox.path "checkpoint.safetensors"
  t.near(classifier.accuracy(cnn.init(nets.rng(1, "float32")), set), 0.25, 0.26, "untrained")
  local job = classifier.job({ path = "none" }, settings(), set)
  for k = 1, 12 do
    trainer.step(job)
    if k == 5 then checkpoint.save(path, job, { step = job.done }) end
  end
  t.eq(classifier.accuracy(job.params, set), 1)
  local again = classifier.job({ path = "none" }, settings(), set, checkpoint.load(path))
  t.eq(again.done, 5)
  while again.done < 12 do trainer.step(again) end
  t.eq(again.params.head.w:bytes() == job.params.head.w:bytes(), true)
end)

t.done()
