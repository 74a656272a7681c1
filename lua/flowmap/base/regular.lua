--- Paths: the current folder, and whether a path names a regular file. Opening a pipe blocks until
-- another process writes to it, and a device such as /dev/zero has no end; naming one of these is
-- an error.
-- @module flowmap.base.regular

local lfs = require "lfs"

local M = {}

local WORDS = { directory = "a folder", ["named pipe"] = "a pipe", socket = "a socket",
  ["char device"] = "a device", ["block device"] = "a device" }

--- Why a path cannot be read as a file, after following links.
-- @tparam string path
-- @treturn ?string a sentence that begins with the path; nil for a file or an absent path
function M.fault(path)
  local mode = lfs.attributes(path, "mode")
  if not mode or mode == "file" then return nil end
  return ("%s: it is %s, expected a file"):format(path, WORDS[mode] or "a " .. mode)
end

--- The current folder; an error if it cannot be found out, for instance because it was removed.
-- @treturn string
function M.here()
  local here, why = lfs.currentdir()
  return here or require("flowmap.base.errors").data("the current folder cannot be determined: %s",
    tostring(why))
end

return M
