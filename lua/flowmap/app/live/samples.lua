--- The first samples of a run for a picture: points of the plane, or small images. Only as much of
-- the file is read as is shown.
-- @module flowmap.app.live.samples

local regular = require "flowmap.base.regular"

local M = {}

local POINTS = 2000
local VALUES = 60000 -- of images
local IMAGES = 16

-- The shape of an open .npy file of little-endian float32, whose values follow; nil for any other.
local function shape_of(file)
  local start = file:read(10)
  if not start or #start < 10 or start:sub(1, 8) ~= "\x93NUMPY\1\0" then return nil end
  local header = file:read((string.unpack("<I2", start, 9))) or ""
  if not header:find "'descr': *'<f4'" or not header:find "'fortran_order': *False" then
    return nil
  end
  local shape = {}
  for n in (header:match "'shape': *%(([^)]*)%)" or ""):gmatch "%d+" do
    shape[#shape + 1] = math.tointeger(tonumber(n)) or 0
  end
  return shape
end

-- How many samples are shown, and values of each; nil if they cannot be. Sizes are bounded one by
-- one, because a product of large ones wraps around.
local function extent_of(shape)
  for k = 2, #shape do
    if shape[k] > VALUES then return nil end
  end
  if #shape == 2 and shape[2] == 2 then return math.min(shape[1], POINTS), 2 end
  local each = #shape == 4 and shape[2] * shape[3] * shape[4] or 0
  local channels = shape[4] == 1 or shape[4] == 3
  if each < 1 or each > VALUES or not channels then return nil end
  return math.min(shape[1], IMAGES, VALUES // each), each
end

local function finite(x) return x - x == 0 and x or 0 end

local CONVERT = {
  [2] = function(x) return (("%.4g"):format(finite(x)):gsub("[^%d+e-]", ".")) end,
  [4] = function(x) -- -1 to 1
    return ("%d"):format(math.floor(math.max(0, math.min(255, 127.5 * (finite(x) + 1) + 0.5))))
  end,
}

--- The first samples of a file as JSON: { "shape": [n, 2] or [n, H, W, C], "values": [...] }.
-- Values of images are bytes.
-- @tparam string path
-- @treturn ?string nil if the file holds nothing that can be shown
function M.json(path)
  local file <close> = not regular.fault(path) and io.open(path, "rb") or nil
  local shape = file and shape_of(file)
  local count, each = nil, nil
  if shape then count, each = extent_of(shape) end
  local bytes = count and count > 0 and file:read(4 * count * each)
  if not bytes or #bytes < 4 * count * each then return nil end
  local values, convert = {}, CONVERT[#shape]
  for k = 1, count * each do values[k] = convert((string.unpack("<f", bytes, 4 * k - 3))) end
  shape[1] = count
  return ('{"shape": [%s], "values": [%s]}'):format(table.concat(shape, ", "),
    table.concat(values, ","))
end

return M
