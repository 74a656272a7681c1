--- Sliced Wasserstein distance of image patches (Rabin et al. 2011; on patches of a Laplacian
-- pyramid: Karras et al. 2018). It needs no network.
--
-- Level k of an image's pyramid is the detail that averaging over 2 x 2 pixels loses,
-- x_k - up(x_{k+1}) with x_{k+1} = down(x_k); the last level, 16 pixels wide, is x_k itself. Eight
-- 7 x 7 patches are taken at random places from each level of each image. Their values are
-- standardised per channel by the mean and deviation of the reference (not of each set, so that a
-- colour shift counts). Both sets of patches are projected on 128 random directions. On each
-- direction the Wasserstein-1 distance is the mean |a_(i) - b_(i)| of the sorted values; the result
-- is the mean over directions and levels. Places and directions are counter-based random numbers
-- and always the same.
-- @module flowmap.measure.sliced

local fm = require "flowmap"
local errors = require "flowmap.base.errors"
local ranks = require "flowmap.base.ranks"

local M = {}

local PATCH, PER_IMAGE, DIRECTIONS, LAST = 7, 8, 128, 16
local CHUNK = 256  -- images at a time
local AT_ONCE = 32 -- directions at a time

--- The parameters of this file that determine a result, as text.
M.protocol = ("laplacian-%dx%d-%d-%d"):format(PATCH, PATCH, PER_IMAGE, DIRECTIONS)

-- ------------------------------------------------------------------ one-dimensional distances

-- Unit vectors, (count, d).
local function directions(count, d)
  local v = fm.normal({ count, d }, { seed = 0, stream = "sliced directions" })
  return v / fm.sqrt(fm.sum(fm.square(v), 2, true))
end

-- The mean of f(a_(i) - b_(i)) over all pairs of sorted projections and all directions.
local function mean_gap(x, y, count, f)
  count = count or DIRECTIONS
  if #x.shape ~= 2 or #y.shape ~= 2 or x.shape[1] ~= y.shape[1] or x.shape[2] ~= y.shape[2] then
    errors.usage("sliced: points (%s) and (%s) found, expected two clouds of equal shape (n, d)",
      table.concat(x.shape, ", "), table.concat(y.shape, ", "))
  end
  local all, total = fm.cast(directions(count, x.shape[2]), x.dtype), 0
  local function gap(k) -- the sum over the k-th directions that are taken at once
    local first = (k - 1) * AT_ONCE + 1
    local some = fm.slice(all, 1, first, math.min(AT_ONCE, count - first + 1))
    local a = fm.sort(fm.matmul(some, x, false, true))
    local b = fm.sort(fm.matmul(some, y, false, true))
    return fm.sum(f(a - b)):item()
  end
  local parts = ranks.parts((count + AT_ONCE - 1) // AT_ONCE, function(first, last)
    local sums = {}
    for k = first, last do sums[#sums + 1] = gap(k) end
    return sums
  end)
  for _, sums in ipairs(parts) do
    for _, sum in ipairs(sums) do total = total + sum end
  end
  return total / (count * x.shape[1])
end

--- The Wasserstein-1 distance of the projections, averaged over directions.
-- @tparam tensor x points, (n, d)
-- @tparam tensor y points, (n, d), as many as x
-- @tparam[opt=128] integer count number of directions
-- @treturn number
function M.distance(x, y, count) return mean_gap(x, y, count, fm.abs) end

--- The sliced Wasserstein-2 distance (Bonneel et al. 2015): the root of the squared Wasserstein-2
-- distance of the projections, averaged over directions.
-- @tparam tensor x points, (n, d)
-- @tparam tensor y points, (n, d), as many as x
-- @tparam[opt=128] integer count number of directions
-- @treturn number
function M.distance2(x, y, count) return math.sqrt(mean_gap(x, y, count, fm.square)) end

-- ------------------------------------------------------------------ patches

local function down(x)
  local n, h, w, c = table.unpack(x.shape)
  return fm.mean(fm.reshape(x, { n, h // 2, 2, w // 2, 2, c }), { 3, 5 })
end

local function up(x)
  local n, h, w, c = table.unpack(x.shape)
  local y = fm.broadcast(fm.reshape(x, { n, h, 1, w, 1, c }), { n, h, 2, w, 2, c })
  return fm.reshape(y, { n, 2 * h, 2 * w, c })
end

--- The Laplacian pyramid, finest level first; the image is the sum of the upsampled levels.
-- @tparam tensor x (n, h, w, c), with h and w divisible by 2 until the smaller is 16
-- @treturn {tensor,...}
function M.pyramid(x)
  local levels = {}
  while math.min(x.shape[2], x.shape[3]) >= 2 * LAST do
    local half = down(x)
    levels[#levels + 1] = x - up(half)
    x = half
  end
  levels[#levels + 1] = x
  return levels
end

-- Eight patches of each image, (8 n, 49 c); `first` is the number of the first image, from 0.
local function patches(x, level, first)
  local n, h, w, c = table.unpack(x.shape)
  local count = n * PER_IMAGE
  local u = fm.uniform({ n, 2 * PER_IMAGE }, { seed = level, stream = "patches", row0 = first })
  u = fm.reshape(u, { count, 2 })
  local top = fm.floor(fm.slice(u, 2, 1, 1) * (h - PATCH + 1))
  local left = fm.floor(fm.slice(u, 2, 2, 1) * (w - PATCH + 1))
  local image = fm.floor((fm.arange(count) + 0.5) / PER_IMAGE)
  local corner = fm.reshape(image, { count, 1 }) * (h * w) + top * w + left
  local k = fm.arange(PATCH)
  local inside = fm.reshape(k, { PATCH, 1 }) * w + fm.reshape(k, { 1, PATCH })
  local index = corner + fm.reshape(inside, { 1, PATCH * PATCH })
  local pixels = fm.gather(fm.reshape(x, { n * h * w, c }),
    fm.reshape(index, { count * PATCH * PATCH }))
  return fm.reshape(pixels, { count, PATCH * PATCH * c })
end

--- The patches of images, level by level.
-- @tparam function images images(first, count) -> (count, h, w, c), numbered from 0
-- @tparam integer n number of images
-- @treturn {tensor,...} one cloud (8 n, 49 c) per level
function M.patches(images, n)
  local parts = {}
  for first = 0, n - 1, CHUNK do
    local x = images(first, math.min(CHUNK, n - first))
    for level, detail in ipairs(M.pyramid(x)) do
      parts[level] = parts[level] or {}
      table.insert(parts[level], patches(detail, level, first))
    end
  end
  for level, list in ipairs(parts) do parts[level] = M.stack(list) end
  return parts
end

--- Concatenate any number of tensors along the first axis.
-- @tparam {tensor,...} list
-- @treturn tensor
function M.stack(list)
  while #list > 1 do -- an operation takes at most 64 operands
    local fewer = {}
    for k = 1, #list, 64 do
      fewer[#fewer + 1] = fm.concat(table.move(list, k, math.min(k + 63, #list), 1, {}), 1)
    end
    list = fewer
  end
  return list[1]
end

-- Mean and standard deviation of each channel of a cloud (n, 49 c), both (1, 49 c).
local function moments(cloud, c)
  local n, d = cloud.shape[1], cloud.shape[2]
  local x = fm.reshape(cloud, { n * d // c, c })
  local mean = fm.mean(x, 1, true)
  local sd = fm.sqrt(fm.mean(fm.square(x - mean), 1, true) + 1e-12)
  local function row(y)
    return fm.reshape(fm.broadcast(y, { d // c, c }), { 1, d })
  end
  return row(mean), row(sd)
end

--- The distance between two sets of patches.
-- @tparam {tensor,...} x one cloud per level, as returned by `patches`
-- @tparam {tensor,...} reference likewise, with equal numbers of patches
-- @tparam[opt=3] integer channels
-- @treturn number mean over the levels
-- @treturn {number,...} of each level, finest first
function M.between(x, reference, channels)
  local each, total = {}, 0
  for level, cloud in ipairs(reference) do
    local mean, sd = moments(cloud, channels or 3)
    each[level] = M.distance((x[level] - mean) / sd, (cloud - mean) / sd)
    total = total + each[level]
  end
  return total / #each, each
end

return M
