--- The revision of the running sources. It is looked up before a training and never makes it fail.
-- @module flowmap.runs.revision

local files = require "flowmap.base.files"

-- Only a working copy of this suite counts, not a repository that surrounds an installed copy or
-- one named by the environment.
local COMMAND = "unset GIT_DIR GIT_WORK_TREE; cd %s && git ls-files --error-unmatch revision.lua "
  .. ">/dev/null && git describe --always --dirty --abbrev=12"

local function folder()
  return package.searchpath("flowmap.runs.revision", package.path):match "^(.*)/" or "."
end

local function ask()
  local pipe <close> = assert(io.popen(("{ %s; } 2>/dev/null"):format(
    COMMAND:format(files.quote(folder())))))
  return pipe:read "l"
end

local LENGTH = 12 -- digits, as `git describe` gives above

-- The revision of an archive made by `make dist`: git writes it into the file (see .gitattributes).
local function archived()
  local hash = (files.read(folder() .. "/revision.txt") or ""):match "^%x+"
  return hash and hash:sub(1, LENGTH)
end

local M = {}

--- The project's revision: that of the working copy, with "-dirty" if files differ, or that of the
-- archive from which the sources come; else "unknown".
-- @treturn string
function M.now()
  local ok, found = pcall(ask)
  return ok and found and found:match "^[%w._-]+$" or archived() or "unknown"
end

return M
