--- The revision of the running sources. It is looked up before a training and never makes it fail.
-- @module flowmap.runs.revision

local files = require "flowmap.base.files"

-- Only a working copy of this suite counts, not a repository that surrounds an installed copy or
-- one named by the environment.
local COMMAND = "unset CDPATH GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_OBJECT_DIRECTORY; "
  .. "cd %s && git ls-files --error-unmatch revision.lua >/dev/null && "
  .. "git rev-parse --short=12 HEAD && "
  .. "git status --porcelain --untracked-files=no -- ':(top)' %s"

local function folder()
  return package.searchpath("flowmap.runs.revision", package.path):match "^(.*)/" or "."
end

local function ask(except)
  local others = except and files.quote(":(top,exclude)" .. except) or ""
  local pipe <close> = assert(io.popen(("{ %s; } 2>/dev/null"):format(
    COMMAND:format(files.quote(folder()), others))))
  local name, changed = pipe:read("l", "l")
  return name and changed and name .. "-dirty" or name
end

local LENGTH = 12 -- digits, as above

-- The revision of an archive made by `make dist`: git writes it into the file (see .gitattributes).
local function archived()
  local hash = (files.read(folder() .. "/revision.txt") or ""):match "^%x+"
  return hash and hash:sub(1, LENGTH)
end

local M = {}

--- The project's revision: that of the working copy, with "-dirty" if files differ, or that of the
-- archive from which the sources come; else "unknown".
-- @tparam[opt] string except a file whose changes do not count, below the project's folder
-- @treturn string
function M.now(except)
  local ok, found = pcall(ask, except)
  return ok and found and found:match "^[%w._-]+$" or archived() or "unknown"
end

return M
