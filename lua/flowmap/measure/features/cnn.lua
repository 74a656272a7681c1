--- A small convolutional network for images, (n, 32, 32, 3) in [-1, 1]: a CIFAR-10 classifier whose
-- penultimate layer, 128 values, provides the features of a Frechet distance, FD-cnn.
-- experiments/classifier.lua trains it; its weights are stored beside this file. Distances in its
-- features compare models with one another; they are not FID and are never called FID.
--
--     layer_k(x) = silu(g x' + b),  x' = conv(x) / rms of its channels, pixel by pixel
--
--     4 x 4 stride 2: 3 -> 32 | 3 x 3: 32 -> 64, mean 2 x 2 | 64 -> 96, + 96 -> 96, mean 2 x 2 |
--     96 -> 128, + 128 -> 128, mean of all pixels | 128 -> 10
--
-- where + stands for x + layer(x). Without batch norm, an image's features do not depend on other
-- images.
-- @module flowmap.measure.features.cnn

local fm = require "flowmap"
local errors = require "flowmap.base.errors"
local features = require "flowmap.measure.features"
local tree = require "flowmap.tree"

local M = {}

M.dim = 128
M.protocols = { "cnn" } -- samples clipped to [-1, 1], larger images averaged down to 32 x 32

local SIDE, MICRO = 32, 32
M.side = SIDE -- of the input images; larger images must be multiples of it

-- { name, kernel, inputs, outputs }
local LAYERS = {
  { "stem", 4, 3, 32 }, { "a", 3, 32, 64 }, { "b1", 3, 64, 96 }, { "b2", 3, 96, 96 },
  { "c1", 3, 96, 128 }, { "c2", 3, 128, 128 },
}

--- Draw the parameters: kernels with variance 2 / fan-in, gains 1, everything else 0.
-- @tparam function rng see flowmap.nets
-- @treturn table
function M.init(rng)
  local params = {}
  for _, it in ipairs(LAYERS) do
    local name, k, from, to = table.unpack(it)
    params[name] = {
      w = rng({ to, k, k, from }, "normal") * math.sqrt(2 / (k * k * from)),
      gain = rng({ to }, "zeros") + 1, shift = rng({ to }, "zeros"),
    }
  end
  params.head = { w = rng({ M.dim, 10 }, "lecun"), b = rng({ 10 }, "zeros") }
  return params
end

local function layer(p, x, stride, padding)
  local y = fm.normalize(fm.conv(x, p.w, stride, padding, padding))
  return fm.silu(y * p.gain + p.shift)
end

--- Features of images.
-- @tparam table p parameters
-- @tparam tensor x (n, 32, 32, 3), or of another size divisible by 8
-- @treturn tensor (n, 128)
function M.features(p, x)
  x = layer(p.stem, x, 2, 1)
  x = fm.downsample(layer(p.a, x))
  x = layer(p.b1, x)
  x = fm.downsample(x + layer(p.b2, x))
  x = layer(p.c1, x)
  x = x + layer(p.c2, x)
  return fm.mean(x, { 2, 3 })
end

-- Logits from features, (n, 128) -> (n, 10).
local function head(p, f) return fm.matmul(f, p.head.w) + p.head.b end

--- Logits of the ten classes.
-- @tparam table p parameters
-- @tparam tensor x (n, 32, 32, 3)
-- @treturn tensor (n, 10)
function M.logits(p, x)
  return head(p, M.features(p, x))
end

-- ------------------------------------------------------------------ trained weights

--- The path of the trained weights.
-- @treturn string
function M.path()
  return package.searchpath("flowmap.measure.features.cnn", package.path):gsub("cnn%.lua$", "")
    .. "cifar10-cnn.safetensors"
end

--- Read trained weights.
-- @tparam string path
-- @treturn table parameters
-- @treturn table metadata of their training, name -> string
function M.load(path)
  local tensors, record = fm.load_safetensors(path)
  local like = M.init(function(shape) return fm.zeros(shape) end)
  return tree.map(function(expected, name)
    local found = tensors[name]
    local shape = found and table.concat(found.shape, ", ") or "absent"
    if shape ~= table.concat(expected.shape, ", ") then
      errors.data("%s: the tensor %s is (%s), expected (%s)", path, name, shape,
        table.concat(expected.shape, ", "))
    end
    return found
  end, like), record
end

-- Images averaged down to 32 x 32.
local function small(x)
  local h, w = x.shape[2], x.shape[3]
  if h % SIDE ~= 0 or h ~= w then
    errors.usage("features: images of %d x %d pixels found, expected squares of 32, 64, 96, ...",
      h, w)
  end
  if h == SIDE then return x end
  local k = h // SIDE
  return fm.mean(fm.reshape(x, { x.shape[1], SIDE, k, SIDE, k, 3 }), { 3, 5 })
end

--- See flowmap.measure.features.
function M.open(protocol, options)
  local path = options.path or M.path()
  local params = M.load(path)
  return {
    label = "FD-cnn", kernel = "KID-cnn", dim = M.dim, protocol = protocol, offset = 0,
    hash = fm.sha256_file(path), suffix = "cnn", logits = function(f) return head(params, f) end,
    extract = features.extractor(function(x)
      return M.features(params, small(fm.clip(x, -1, 1)))
    end, MICRO),
  }
end

return M
