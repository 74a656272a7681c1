--- Sheets of images: a grid of small pictures in one PNG file.
-- @module flowmap.report.sheet

local fm = require "flowmap"
local errors = require "flowmap.base.errors"

local M = {}

-- Pad an axis with ones (white) to `length` entries; x begins at entry `start`.
local function frame(x, axis, start, length)
  return fm.pad(x - 1, axis, start, length) + 1
end

-- Repeat every pixel `scale` times in both directions.
local function enlarge(x, scale)
  if scale == 1 then return x end
  local n, h, w = table.unpack(x.shape)
  x = fm.broadcast(fm.reshape(x, { n, h, 1, w, 1, 3 }), { n, h, scale, w, scale, 3 })
  return fm.reshape(x, { n, h * scale, w * scale, 3 })
end

--- Arrange images in one picture, row by row.
-- @tparam tensor x (n, H, W, 3): uint8, or numbers in [-1, 1]
-- @tparam integer columns
-- @tparam[opt] table how { gap = 2 (white pixels between and around the images), scale = 1 }
-- @treturn tensor (height, width, 3), float32 in [-1, 1]
function M.grid(x, columns, how)
  local shape, gap = x.shape, how and how.gap or 2
  if #shape ~= 4 or shape[4] ~= 3 or shape[1] < 1 then
    errors.usage("a sheet shows images (n, H, W, 3) with n of at least 1, found {%s}",
      table.concat(shape, ", "))
  end
  x = x.dtype == "uint8" and fm.pixels(x, fm.arange(shape[1])) or fm.cast(x, "float32")
  x = enlarge(fm.clip(x, -1, 1), how and how.scale or 1)
  local n, h, w = table.unpack(x.shape)
  local rows = math.ceil(n / columns)
  x = frame(x, 1, 1, rows * columns)
  x = frame(frame(x, 2, 1, h + gap), 3, 1, w + gap)
  x = fm.reshape(x, { rows, columns, h + gap, w + gap, 3 })
  x = fm.reshape(fm.transpose(x, { 1, 3, 2, 4, 5 }), { rows * (h + gap), columns * (w + gap), 3 })
  h, w = x.shape[1], x.shape[2]
  return frame(frame(x, 1, gap + 1, h + gap), 2, gap + 1, w + gap)
end

--- Write a sheet; the same images give the same bytes.
-- @tparam string path
-- @tparam tensor x see `grid`
-- @tparam integer columns
-- @tparam[opt] table how see `grid`
function M.write(path, x, columns, how)
  fm.save_png(path, M.grid(x, columns, how))
end

return M
