--- Random transformations of training images. `flip` mirrors half of them. `edm` is the pipeline
-- with which Karras et al. 2022 (arXiv 2206.00364, appendix F.2) trained on CIFAR-10: besides
-- mirroring, each of the following has the probability p, independently per image:
--
--     top to bottom   a half of the images that were chosen
--     scaling         by 2^(0.2 z)
--     rotation        by a uniform angle
--     stretching      by 2^(0.2 z) along one axis and 2^(-0.2 z) across it; the axis is horizontal
--                     or, for a half of the images, at a uniform angle
--     translation     by z / 8 of the side, in both directions
--
-- with independent normal variates z. All are one affine map of the plane, applied once, with the
-- image reflected at its borders. The network is given the parameters as nine labels, which are 0
-- in an image that was left alone; samples are drawn with labels 0.
--
-- Two things differ from the publication: images are interpolated linearly, without its wavelet
-- filter against aliasing; and the network adds the labels to its embedding of times by one linear
-- layer, as there, but normalised like its other layers. Changes of colour, which the published
-- code has as well, are switched off for CIFAR-10 there and absent here.
-- @module flowmap.augment

local fm = require "flowmap"
local errors = require "flowmap.base.errors"

local M = {}

--- Values of the setting `augment`.
M.names = { "none", "flip", "edm" }

--- Number of labels of `edm`.
M.labels = 9

local SCALE, SHIFT = 0.2, 0.125 -- standard deviations: of log2 of a scale, of sides
local MOST = 1 << 24            -- whole numbers that float32 holds exactly

-- ------------------------------------------------------------------ images at other places

-- Rows and columns of all pixels, (1, H * W) each.
local function grid(shape, dtype)
  local h, w = shape[2], shape[3]
  local row = fm.reshape(fm.arange(h, dtype), { 1, h, 1 })
  local column = fm.reshape(fm.arange(w, dtype), { 1, 1, w })
  return fm.reshape(fm.broadcast(row, { 1, h, w }), { 1, h * w }),
    fm.reshape(fm.broadcast(column, { 1, h, w }), { 1, h * w })
end

-- A function (row, column) -> the pixels there, (n * H * W, C); both are whole, (n, H * W).
local function pixels_of(x)
  local n, h, w, colours = table.unpack(x.shape)
  if n * h * w > MOST then
    errors.usage("augment: %d images of %d x %d in a micro-batch, expected at most %d; set micro",
      n, h, w, MOST // (h * w))
  end
  local all = fm.reshape(x, { n * h * w, colours })
  local first = fm.reshape(fm.arange(n, x.dtype) * (h * w), { n, 1 })
  return function(row, column)
    return fm.gather(all, fm.reshape(first + row * w + column, { n * h * w }))
  end
end

-- A coordinate reflected at the centres of the first and the last pixel, 0 and last.
local function reflected(u, last)
  if last == 0 then return fm.zeros(u.shape, u.dtype) end
  local along = u - fm.floor(u / (2 * last)) * (2 * last)
  -- Just below a multiple of 2 last, the quotient may be rounded up to a whole number.
  return fm.maximum(last - fm.abs(along - last), 0)
end

-- The whole part, its successor within the image, and the fraction as a weight of pixels.
local function neighbours(u, last)
  local low = fm.minimum(fm.floor(u), last)
  local count = low.shape[1] * low.shape[2]
  return low, fm.minimum(low + 1, last), fm.reshape(u - low, { count, 1 })
end

--- Images interpolated linearly at other places.
-- @param x (n, H, W, C)
-- @param row (n, H * W): for each pixel of the result where it is taken from, in pixels
-- @param column (n, H * W)
-- @treturn tensor the shape of x
function M.warp(x, row, column)
  local shape, at = x.shape, pixels_of(x)
  local top, bottom, down = neighbours(reflected(row, shape[2] - 1), shape[2] - 1)
  local left, right, across = neighbours(reflected(column, shape[3] - 1), shape[3] - 1)
  local upper = at(top, left) * (1 - across) + at(top, right) * across
  local lower = at(bottom, left) * (1 - across) + at(bottom, right) * across
  return fm.reshape(upper * (1 - down) + lower * down, shape)
end

-- ------------------------------------------------------------------ flip

-- The images mirrored left to right where `coin` is 1, (n, 1).
local function mirrored(x, coin)
  local row, column = grid(x.shape, x.dtype)
  local last = x.shape[3] - 1
  local all = { x.shape[1], x.shape[2] * x.shape[3] }
  local from = column + coin * (last - 2 * column)
  return fm.reshape(pixels_of(x)(fm.broadcast(row, all), from), x.shape)
end

local function coins(u) return fm.cast(fm.lt(u, 0.5), u.dtype) end

local function flip(x, b)
  return mirrored(x, coins(fm.cast(b:uniform({ 1 }, "augment"), x.dtype)))
end

-- ------------------------------------------------------------------ edm

-- The columns of a tensor (n, k).
local function columns(x)
  local ones = {}
  for k = 1, x.shape[2] do ones[k] = 1 end
  return { fm.split(x, ones, 2) }
end

--- The parameters of the transformations of n images, each (n, 1) and 0 where there is none.
-- @param u uniform variates, (n, 9)
-- @param z normal variates, (n, 4)
-- @tparam number p probability of each transformation besides mirroring
-- @treturn table { mirror =, upside =, scale =, angle =, stretch =, axis =, right =, down = }
function M.parameters(u, z, p)
  u, z = columns(u), columns(z)
  local function chosen(k, value) return fm.lt(u[k], p) * value end
  local function turn(k) return (2 * u[k] - 1) * math.pi end
  return {
    mirror = coins(u[1]), upside = chosen(2, coins(u[3])), scale = chosen(4, z[1]),
    angle = chosen(5, turn(6)), stretch = chosen(7, z[2]),
    axis = chosen(7, fm.lt(u[8], 0.5) * (4 * u[8] - 1) * math.pi),
    right = chosen(9, z[3]), down = chosen(9, z[4]),
  }
end

--- The labels of parameters: (n, 9).
-- @tparam table it what `parameters` returned
-- @treturn tensor
function M.labels_of(it)
  return fm.concat({ it.mirror, it.upside, it.scale, fm.cos(it.angle) - 1, fm.sin(it.angle),
    it.stretch * fm.cos(it.axis), it.stretch * fm.sin(it.axis), it.right, it.down }, 2)
end

local function power_of_2(x) return fm.exp(math.log(2) * x) end

-- Where each pixel is taken from. The parts are undone from the last to the first.
local function places(it, shape, dtype)
  local row, column = grid(shape, dtype)
  local middle, centre = (shape[2] - 1) / 2, (shape[3] - 1) / 2
  local x = column - centre - it.right * (SHIFT * shape[3])
  local y = row - middle - it.down * (SHIFT * shape[2])
  local function turned(angle, back)
    local c, s = fm.cos(angle), back and -fm.sin(angle) or fm.sin(angle)
    x, y = c * x - s * y, s * x + c * y
  end
  turned(it.axis)
  x, y = x * power_of_2(-SCALE * it.stretch), y * power_of_2(SCALE * it.stretch)
  turned(it.axis, true)
  turned(it.angle)
  local scale = power_of_2(-SCALE * it.scale)
  return y * scale * (1 - 2 * it.upside) + middle, x * scale * (1 - 2 * it.mirror) + centre
end

--- Transform images.
-- @param x (n, H, W, C)
-- @tparam table it what `parameters` returned
-- @treturn tensor the shape of x
function M.transformed(x, it)
  return M.warp(x, places(it, x.shape, x.dtype))
end

local function edm(x, b, p)
  local u = fm.cast(b:uniform({ 9 }, "augment"), x.dtype)
  local z = fm.cast(b:normal({ 4 }, "augment, normal"), x.dtype)
  local it = M.parameters(u, z, p)
  return M.transformed(x, it), M.labels_of(it)
end

--- Training images as a network is shown them. The random numbers have streams of their own.
-- @param x (n, H, W, C)
-- @tparam Batch b what a traced program knows of its micro-batch (flowmap.program)
-- @tparam table cfg the settings augment, augment_p
-- @treturn tensor the shape of x
-- @treturn ?tensor labels, (n, 9)
function M.apply(x, b, cfg)
  if cfg.augment == "flip" then return flip(x, b) end
  if cfg.augment == "edm" then return edm(x, b, cfg.augment_p) end
  return x
end

return M
