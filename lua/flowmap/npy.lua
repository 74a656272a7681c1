--- Reading .npy files in Lua alone, for tables and figures.
-- @module flowmap.npy

local errors = require "flowmap.base.errors"
local files = require "flowmap.base.files"

local fail = errors.data

local M = {}

local MOST = 1 << 31 -- values: beyond any file, and products of two such numbers are exact

--- Read a .npy file of little-endian float32, C order (what our runs write).
-- Pure Lua, so that rendering needs no numerical core; 200,000 numbers take about 20 ms.
-- @tparam string path
-- @treturn {number,...} flat values
-- @treturn {integer,...} shape
function M.load(path)
  local bytes, why = files.read(path)
  if not bytes then fail("cannot read %s", why or path) end
  local header, at
  if #bytes >= 10 and bytes:sub(1, 8) == "\x93NUMPY\1\0" then
    local length = string.unpack("<I2", bytes, 9)
    at = 11 + length
    header = bytes:sub(11, at - 1)
  end
  if not header or not header:find("'descr': *'<f4'") or not header:find("'fortran_order': *False")
  then
    fail("%s is not a .npy file (version 1.0, '<f4', C order)", path)
  end
  local shape, count = {}, 1
  for n in (header:match("'shape': *%(([^)]*)%)") or ""):gmatch("%d+") do
    shape[#shape + 1] = math.tointeger(tonumber(n)) or fail("%s has a size of %s", path, n)
    count = math.min(count * math.min(shape[#shape], MOST), MOST)
  end
  if #bytes - at + 1 ~= 4 * count then
    fail("%s holds %d bytes of values, but its shape (%s) needs %d", path, #bytes - at + 1,
      table.concat(shape, ", "), 4 * count)
  end
  local values, chunk = {}, 128
  local format = "<" .. ("f"):rep(chunk)
  for i = 1, count - chunk + 1, chunk do
    table.move({ string.unpack(format, bytes, at) }, 1, chunk, i, values)
    at = at + 4 * chunk
  end
  for i = #values + 1, count do values[i], at = string.unpack("<f", bytes, at) end
  return values, shape
end

return M
