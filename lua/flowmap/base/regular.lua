--- Files that can be read to their end. Opening a pipe waits for somebody who writes to it, and a
-- device such as /dev/zero has no end: whoever names one gets a sentence.
-- @module flowmap.base.regular

local lfs = require "lfs"

local M = {}

local WORDS = { directory = "a folder", ["named pipe"] = "a pipe", socket = "a socket",
  ["char device"] = "a device", ["block device"] = "a device" }

--- What keeps a path from being read as a file, links followed.
-- @tparam string path
-- @treturn string a sentence that begins with the path; nil for a file, or if there is nothing
function M.fault(path)
  local mode = lfs.attributes(path, "mode")
  if not mode or mode == "file" then return nil end
  return ("%s: it is %s, expected a file"):format(path, WORDS[mode] or "a " .. mode)
end

return M
