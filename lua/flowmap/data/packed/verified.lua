--- Packed images are compared with their hash before they are used: once for a file as it is, not
-- once for a run. What was compared is remembered in the cache folder by the file's stamp: device,
-- inode, size, times of its last changes.
-- @module flowmap.data.packed.verified

local lfs = require "lfs"
local fm = require "flowmap"
local files = require "flowmap.base.files"
local places = require "flowmap.data.packed.places"

local M = {}

local function absolute(path)
  return path:sub(1, 1) == "/" and path or lfs.currentdir() .. "/" .. path
end

local function record_of(path)
  local folder = places.cache() .. "/verified"
  return ("%s/%s"):format(folder, fm.sha256(absolute(path)):sub(1, 24)), folder
end

-- A cache that cannot be written to is no reason to fail: then it is done again the next time.
local function remember(path, stamp)
  pcall(function()
    local record, folder = record_of(path)
    files.mkdir(folder)
    fm.write_file(record, stamp .. "\n")
  end)
end

--- Compare, unless this very file was compared before.
-- @tparam string path of a packed file
-- @tparam[opt] boolean quiet write nothing
-- @treturn string the stamp of the file that was compared, for fm.pack_map
function M.stamp(path, quiet)
  local stamp = fm.pack_stamp(path)
  local known, record = pcall(record_of, path)
  if known and files.read(record) == stamp .. "\n" then return stamp end
  local fresh
  stamp, fresh = fm.pack_verify(path)
  if not fresh and not quiet then remember(path, stamp) end
  return stamp
end

return M
