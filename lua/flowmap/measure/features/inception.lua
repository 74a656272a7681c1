--- Inception-v3 with the FID weights: the image features of the Frechet distance called FID.
--
-- The graph is that of Szegedy et al. 2016 as ported from TensorFlow for FID (Heusel et al. 2017).
-- It differs from later versions in its pooling: averages exclude the padding, and the last block
-- uses the maximum instead. The 2048 features are the means of its channels.
--
-- The user supplies the weights (90 MB): FLOWMAP_INCEPTION names a safetensors file with the
-- tensors of the public checkpoint pt_inception-2015-12-05-6726825d.pth under their original names,
-- such as `Mixed_5b.branch1x1.conv.weight`. `tests/golden/convert_inception.py` converts the
-- checkpoint.
--
-- There are two protocols, named in every result:
--
-- - `paper`: samples as floating-point numbers, clipped to [-1, 1]; bilinear resize to 299 x 299
--   with half-pixel centres; 1e-6 added to both diagonals under the Frechet root.
-- - `legacy`: samples rounded to 8 bits; the resize of TensorFlow 1, where pixel k lies at k
--   instead of k + 1/2; then (x - 128) / 128, as in the original graph; no offset.
-- @module flowmap.measure.features.inception

local fm = require "flowmap"
local errors = require "flowmap.base.errors"
local features = require "flowmap.measure.features"
local files = require "flowmap.base.files"

local M = {}

M.dim = 2048
M.protocols = { "paper", "legacy" }

local OFFSET = { paper = 1e-6, legacy = 0 } -- under the Frechet root
local SIDE, MICRO = 299, 4
local EPS = 1e-3 -- of the batch norm

-- ------------------------------------------------------------------ graph

-- In all blocks `c(name, x, stride)` is relu(conv(x)) with the named kernel. Without a stride it
-- keeps the size; with a stride there is no padding.

local function average(x) return fm.avg_pool(x, 3, 1, 1) end
local function maximum(x) return fm.max_pool(x, 3, 1, 1) end
local function halved(x) return fm.max_pool(x, 3, 2, 0) end

-- c("a", c("b", x)) for the names { "b", "a" }
local function chain(c, names, x)
  for _, name in ipairs(names) do x = c(name, x) end
  return x
end

local function join(...) return fm.concat({ ... }, -1) end

local function block_a(c, x)
  return join(c("branch1x1", x),
    chain(c, { "branch5x5_1", "branch5x5_2" }, x),
    chain(c, { "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3" }, x),
    c("branch_pool", average(x)))
end

local function block_b(c, x)
  return join(c("branch3x3", x, 2),
    c("branch3x3dbl_3", chain(c, { "branch3x3dbl_1", "branch3x3dbl_2" }, x), 2),
    halved(x))
end

local function block_c(c, x)
  return join(c("branch1x1", x),
    chain(c, { "branch7x7_1", "branch7x7_2", "branch7x7_3" }, x),
    chain(c, { "branch7x7dbl_1", "branch7x7dbl_2", "branch7x7dbl_3", "branch7x7dbl_4",
      "branch7x7dbl_5" }, x),
    c("branch_pool", average(x)))
end

local function block_d(c, x)
  return join(c("branch3x3_2", c("branch3x3_1", x), 2),
    c("branch7x7x3_4", chain(c, { "branch7x7x3_1", "branch7x7x3_2", "branch7x7x3_3" }, x), 2),
    halved(x))
end

local function block_e(pool)
  return function(c, x)
    local y = c("branch3x3_1", x)
    local z = chain(c, { "branch3x3dbl_1", "branch3x3dbl_2" }, x)
    return join(c("branch1x1", x), c("branch3x3_2a", y), c("branch3x3_2b", y),
      c("branch3x3dbl_3a", z), c("branch3x3dbl_3b", z), c("branch_pool", pool(x)))
  end
end

local BLOCKS = {
  { "Mixed_5b", block_a }, { "Mixed_5c", block_a }, { "Mixed_5d", block_a },
  { "Mixed_6a", block_b },
  { "Mixed_6b", block_c }, { "Mixed_6c", block_c }, { "Mixed_6d", block_c },
  { "Mixed_6e", block_c },
  { "Mixed_7a", block_d },
  { "Mixed_7b", block_e(average) }, { "Mixed_7c", block_e(maximum) },
}

--- The network: features of images of 299 x 299 pixels in [-1, 1].
-- @tparam function c (name, x, stride) -> relu of the convolution of that name
-- @tparam tensor x (n, 299, 299, 3)
-- @treturn tensor (n, 2048)
function M.graph(c, x)
  x = c("Conv2d_1a_3x3", x, 2)
  x = c("Conv2d_2a_3x3", x, 1)
  x = halved(c("Conv2d_2b_3x3", x))
  x = c("Conv2d_3b_1x1", x)
  x = halved(c("Conv2d_4a_3x3", x, 1))
  for _, entry in ipairs(BLOCKS) do
    local name, block = entry[1], entry[2]
    x = block(function(part, ...) return c(name .. "." .. part, ...) end, x)
  end
  return fm.mean(x, { 2, 3 })
end

-- ------------------------------------------------------------------ weights

-- Fold a convolution and the following batch norm, g (w x - m) / sqrt(v + eps) + b, into one
-- convolution with a bias.
local function fold(tensors, name, path)
  local function get(part)
    local key = name .. "." .. part
    return tensors[key] or errors.data("%s has no tensor %s; expected the FID weights of "
      .. "Inception-v3 (see lua/flowmap/measure/features/inception.lua)", path, key)
  end
  local w = get "conv.weight" -- (outputs, inputs, rows, columns)
  if #w.shape ~= 4 then
    errors.data("%s: %s.conv.weight has rank %d, expected 4", path, name, #w.shape)
  end
  local scale = get "bn.weight" / fm.sqrt(get "bn.running_var" + EPS)
  local outputs = w.shape[1]
  return {
    w = fm.transpose(w, { 1, 3, 4, 2 }) * fm.reshape(scale, { outputs, 1, 1, 1 }),
    b = get "bn.bias" - get "bn.running_mean" * scale,
  }
end

--- The network of a checkpoint's tensors.
-- @tparam table tensors by name
-- @tparam string path of the checkpoint, for error sentences
-- @treturn function (n, 299, 299, 3) in [-1, 1] -> (n, 2048)
function M.network(tensors, path)
  local layers = {} -- folded on first use
  local function c(name, x, stride)
    layers[name] = layers[name] or fold(tensors, name, path)
    local layer, pad = layers[name], stride and 0 or nil
    return fm.maximum(fm.conv(x, layer.w, stride or 1, pad, pad) + layer.b, 0)
  end
  return function(x) return M.graph(c, x) end
end

-- ------------------------------------------------------------------ protocols

local function resized(x, half) return fm.resize_bilinear(x, SIDE, SIDE, half) end

-- The network's input for samples in [-1, 1], by protocol.
M.prepare = {
  paper = function(x) return resized(fm.clip(x, -1, 1), true) end,
  legacy = function(x)
    local bytes = fm.floor(fm.clip(x, -1, 1) * 127.5 + 128) -- round(127.5 (x + 1))
    return (resized(bytes, false) - 128) / 128
  end,
}

--- See flowmap.measure.features; `options.path` replaces FLOWMAP_INCEPTION.
function M.open(protocol, options)
  local path = options.path or os.getenv "FLOWMAP_INCEPTION"
  if not path or not files.exists(path) then
    errors.data("%s; the features `inception` need the FID weights of Inception-v3 as a "
      .. "safetensors file named by FLOWMAP_INCEPTION (see "
      .. "lua/flowmap/measure/features/inception.lua)",
      path and "there is no file " .. path or "FLOWMAP_INCEPTION is not set")
  end
  local network = M.network(fm.load_safetensors(path), path)
  return {
    label = "FID", kernel = "KID", dim = M.dim, protocol = protocol, offset = OFFSET[protocol],
    hash = fm.sha256_file(path),
    extract = features.extractor(function(x) return network(M.prepare[protocol](x)) end, MICRO),
  }
end

return M
