--- Parts of magnitude-preserving networks (EDM2: Karras et al. 2024, "Analyzing and improving the
-- training dynamics of diffusion models"): layers that keep the expected magnitude of activations.
-- Images are channels-last, (N, H, W, C). All parts work on eager and traced tensors.
-- @module flowmap.nn

local fm = require "flowmap"
local errors = require "flowmap.base.errors"

local M = {}

local function product(list, first, last)
  local n = 1
  for k = first, last do n = n * list[k] end
  return n
end

--- x / (1e-4 + rms(x)), with the root mean square over the last axis, or over the given ones.
-- @param x any shape
-- @tparam[opt] {integer,...} axes the last axes, e.g. { 2, 3, 4 } of a weight (O, kh, kw, I)
-- @return the shape of x
function M.normalize(x, axes)
  if not axes then return fm.normalize(x) end
  local shape, rank = x.shape, #x.shape
  local keep = rank - #axes
  for k, axis in ipairs(axes) do
    if axis ~= keep + k then
      errors.usage("normalize: axes {%s} of %d found, expected the last ones in order",
        table.concat(axes, ", "), rank)
    end
  end
  local rows = fm.reshape(x, { product(shape, 1, keep), product(shape, keep + 1, rank) })
  return fm.reshape(fm.normalize(rows), shape)
end

--- mp_sum(a, b, r) = ((1 - r) a + r b) / sqrt((1 - r)^2 + r^2)
function M.mp_sum(a, b, r)
  local norm = math.sqrt((1 - r) ^ 2 + r ^ 2)
  return fm.mix(a, b, (1 - r) / norm, r / norm)
end

--- mp_cat(a, b) along the channels: a C/sqrt(Na) / 2 beside b C/sqrt(Nb) / 2 with
-- C = sqrt((Na + Nb) / (1/4 + 1/4)), so that both parts contribute equally to the next layer.
-- @param a (..., Na)
-- @param b (..., Nb)
-- @return (..., Na + Nb)
function M.mp_cat(a, b)
  local na, nb = a.shape[#a.shape], b.shape[#b.shape]
  local C = math.sqrt((na + nb) / 0.5)
  return fm.mix_cat(a, b, 0.5 * C / math.sqrt(na), 0.5 * C / math.sqrt(nb))
end

--- mp_silu(x) = silu(x) / 0.596
function M.mp_silu(x)
  return fm.silu(x) / 0.596
end

--- The weight as it is used: normalize(w over all but the first axis) * gain / sqrt(fan-in).
-- @param w (O, ...), fan-in the number of values per output
-- @tparam[opt=1] number|tensor gain a number or a scalar tensor
-- @return the shape of w
function M.mp_weight(w, gain)
  local shape = w.shape
  local fan_in = product(shape, 2, #shape)
  local used = fm.normalize(fm.reshape(w, { shape[1], fan_in }))
  gain = gain or 1
  local scale = type(gain) == "number" and gain / math.sqrt(fan_in)
    or fm.reshape(gain, { 1, 1 }) / math.sqrt(fan_in)
  return fm.reshape(used * scale, shape)
end

--- Apply a weight. A matrix or a 1 x 1 kernel acts only on the last axis.
-- @param x (N, H, W, I); for a matrix any shape (..., I)
-- @param w (O, kh, kw, I) or (O, I)
-- @return (N, H, W, O); zero padding, stride 1
function M.conv(x, w)
  local shape, last = w.shape, #w.shape
  if last == 4 and shape[2] * shape[3] > 1 then return fm.conv(x, w) end
  local out, I = x.shape, shape[last]
  local rows = fm.reshape(x, { product(out, 1, #out - 1), I })
  local y = fm.matmul(rows, fm.reshape(w, { shape[1], I }), false, true)
  out[#out] = shape[1]
  return fm.reshape(y, out)
end

--- The magnitude-preserving linear layer: convolution with `mp_weight(w, gain)`.
-- @param x (N, H, W, I) or (..., I)
-- @param w (O, kh, kw, I) or (O, I)
-- @tparam[opt=1] number|tensor gain
function M.mp_conv(x, w, gain)
  return M.conv(x, M.mp_weight(w, gain))
end

--- Positional code of times: sqrt(2) [cos(a f), sin(a f)], f_k = exp(-ln(10000) k / (D/2)),
-- k = 0 .. D/2 - 1.
-- @param a (n) or (n, 1)
-- @tparam integer D even
-- @return (n, D)
function M.time_code(a, D)
  if type(D) ~= "number" or not math.tointeger(D) or D < 2 or D % 2 ~= 0 then
    errors.usage("time_code: dimension %s found, expected an even number from 2 on", tostring(D))
  end
  local half, f = D // 2, {}
  for k = 0, half - 1 do f[k + 1] = math.exp(-math.log(10000) * k / half) end
  local phase = fm.reshape(a, { a.shape[1], 1 }) * fm.tensor({ f }, a.dtype)
  return fm.concat({ fm.cos(phase), fm.sin(phase) }, -1) * math.sqrt(2)
end

--- Self-attention over the pixels of an image: per head softmax(q k' / sqrt(c)) v, where q, k, v
-- are normalised over the head's c channels. The channels of `qkv` are, as in the reference,
-- (heads, c, 3): query, key and value alternate fastest.
-- @param qkv (N, H, W, 3 heads c)
-- @tparam integer heads
-- @return (N, H, W, heads c)
function M.attention(qkv, heads)
  if math.type(heads) ~= "integer" or heads < 1 then
    errors.usage("attention: %s heads found, expected a whole number from 1 on", tostring(heads))
  end
  local N, H, W, channels = table.unpack(qkv.shape)
  if #qkv.shape ~= 4 or channels % (3 * heads) ~= 0 then
    errors.usage("attention: the shape (%s) found, expected images whose channels are a multiple "
      .. "of 3 x %d", table.concat(qkv.shape, ", "), heads)
  end
  local c, pixels = channels // (3 * heads), H * W
  local apart = fm.transpose(fm.reshape(qkv, { N, pixels, heads, c, 3 }), { 5, 1, 3, 2, 4 })
  local q, k, v = fm.split(fm.reshape(fm.normalize(apart), { 3 * N * heads, pixels, c }),
    { N * heads, N * heads, N * heads })
  local seen = fm.softmax(fm.matmul(q, k / math.sqrt(c), false, true))
  local y = fm.reshape(fm.matmul(seen, v), { N, heads, pixels, c })
  return fm.reshape(fm.transpose(y, { 1, 3, 2, 4 }), { N, H, W, heads * c })
end

--- Half the resolution: means of 2 x 2 squares, (N, H, W, C) -> (N, H/2, W/2, C).
function M.down(x) return fm.downsample(x) end

--- Twice the resolution: each pixel fills a 2 x 2 square, (N, H, W, C) -> (N, 2H, 2W, C).
function M.up(x) return fm.upsample(x) end

--- Dropout masks for the layers of a network, in the order in which they are applied: each call has
-- its own random stream, keyed by seed, step and sample like all random numbers.
-- @tparam Batch b what a traced program knows of its micro-batch (flowmap.program)
-- @tparam[opt="dropout"] string name of the streams: "NAME 1", "NAME 2", ...
-- @treturn function (x, rate) -> a mask of x's shape with values 0 and 1/(1 - rate)
function M.masks(b, name)
  local count = 0
  return function(x, rate)
    count = count + 1
    return b:dropout(x, rate, (name or "dropout") .. " " .. count)
  end
end

--- Dropout: x with values set to 0 with probability `rate`, the others divided by 1 - rate.
-- @param x (n, ...), the first n samples of the micro-batch
-- @tparam number rate 0 <= rate < 1
-- @tparam[opt] function mask of `masks`; absent: no dropout, x itself
function M.dropout(x, rate, mask)
  if not mask or rate == 0 then return x end
  return x * mask(x, rate)
end

return M
