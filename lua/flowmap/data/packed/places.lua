--- Folders of archives and packed images: FLOWMAP_DATA, or the XDG data folder; the XDG cache
-- folder if that one is read-only.
-- @module flowmap.data.packed.places

local lfs = require "lfs"
local fm = require "flowmap"
local errors = require "flowmap.base.errors"
local files = require "flowmap.base.files"

local M = {}

-- By the XDG rules, relative and empty paths are ignored.
local function xdg(variable, below)
  local path = os.getenv(variable)
  if path and path:sub(1, 1) == "/" then return path .. "/flowmap" end
  local home = fm.home()
  if not home then
    errors.data("neither %s nor HOME is set, and the account has no folder, so there is none for "
      .. "data", variable)
  end
  return home .. "/" .. below .. "/flowmap"
end

--- The folder of archives and packed files.
-- @treturn string
-- @treturn boolean whether the user named it
function M.data()
  local path = os.getenv "FLOWMAP_DATA"
  if path and path ~= "" then return (path:gsub("(.)/+$", "%1")), true end
  return xdg("XDG_DATA_HOME", ".local/share"), false
end

--- The folder of files that can be made again.
-- @treturn string
function M.cache() return xdg("XDG_CACHE_HOME", ".cache") end

-- Nothing is written to find out: a trial file's name could be planted as a link.
local function writable(folder)
  local mode = lfs.attributes(folder, "permissions")
  -- Write protection is respected even for root, whom only a read-only file system would stop.
  return mode ~= nil and mode:sub(2, 2) == "w" and fm.folder_writable(folder)
end

--- The folder for packed files and downloads, created if necessary.
-- @treturn string
function M.output()
  local folder, named = M.data()
  if named and not files.exists(folder) then
    errors.data("FLOWMAP_DATA names %s, which does not exist", folder)
  end
  if files.exists(folder) and writable(folder) then return folder end
  local made = not named and pcall(files.mkdir, folder)
  if made and writable(folder) then return folder end
  folder = M.cache()
  files.mkdir(folder)
  return folder
end

--- The folders to search, in this order.
-- @treturn {string,...}
function M.search() return { (M.data()), M.cache() } end

return M
