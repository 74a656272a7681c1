--- Packed images are verified by their hash before they are used: once per file, not once per run.
-- The cache folder remembers verified files by their stamp: device, inode, size, times of the last
-- changes.
-- @module flowmap.data.packed.verified

local fm = require "flowmap"
local files = require "flowmap.base.files"
local regular = require "flowmap.base.regular"
local places = require "flowmap.data.packed.places"

local M = {}

local function absolute(path)
  return path:sub(1, 1) == "/" and path or regular.here() .. "/" .. path
end

local function record_of(path)
  local folder = places.cache() .. "/verified"
  return ("%s/%s"):format(folder, fm.sha256(absolute(path)):sub(1, 24)), folder
end

-- A read-only cache is no reason to fail: the file is verified again the next time.
local function remember(path, stamp)
  pcall(function()
    local record, folder = record_of(path)
    files.mkdir(folder)
    fm.write_file(record, stamp .. "\n")
  end)
end

--- Verify a file, unless it was verified before and has not changed since.
-- @tparam string path of a packed file
-- @tparam[opt] boolean quiet write nothing
-- @treturn string the stamp of the verified file, for fm.pack_map
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
