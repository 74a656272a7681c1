--- Functions on files and folders that Lua's standard library lacks.
-- @module flowmap.base.files

local core = require "flowmap.core"
local lfs = require "lfs"
local errors = require "flowmap.base.errors"
local escape = require "flowmap.base.escape"
local regular = require "flowmap.base.regular"

local M = {}

local ABSENT = { [2] = true, [20] = true } -- ENOENT, ENOTDIR
local LOOP = 40 -- ELOOP: a link that leads nowhere, too

--- Read a whole file.
-- @tparam string path
-- @treturn ?string contents, or nil, a message and the system's error number
function M.read(path)
  local fault = regular.fault(path)
  if fault then return nil, fault end
  local file <close>, message, errno = io.open(path, "rb")
  if not file then return nil, message, errno end
  local text, wrong, code = file:read "a"
  if not text then return nil, path .. ": " .. wrong, code end
  return text
end

--- Read a whole file that may be absent. Any other failure raises an error, because a file that
-- cannot be opened now may still exist.
-- @tparam string path
-- @treturn ?string contents, or nil if there is no such file
function M.read_if_there(path)
  local text, message, errno = M.read(path)
  if not text and not ABSENT[errno] then errors.data("cannot read %s", message or path) end
  return text
end

--- Whether a path exists. If this cannot be determined, an error is raised: a path that is
-- temporarily inaccessible must not be taken for absent and overwritten.
-- @tparam string path
-- @treturn boolean
function M.exists(path)
  local mode, message, errno = lfs.attributes(path, "mode")
  if not mode and not ABSENT[errno] then errors.data("%s", message) end
  return mode ~= nil
end

--- Where PATH finds a program. As for a shell, folders that cannot be looked into hold nothing.
-- @tparam string name
-- @treturn {string,...} paths, in the order of PATH
function M.in_path(name)
  local found = {}
  for folder in (os.getenv "PATH" or ""):gmatch "[^:]+" do
    local path = folder .. "/" .. name
    if lfs.attributes(path, "mode") then found[#found + 1] = path end
  end
  return found
end

--- The kind of file at a path; links are followed. If this cannot be determined, an error is
-- raised, as by `exists`.
-- @tparam string path
-- @treturn ?string "file", "directory", ...; nil if there is nothing
function M.mode(path)
  local mode, message, errno = lfs.attributes(path, "mode")
  if not mode and not ABSENT[errno] and errno ~= LOOP then errors.data("%s", message) end
  return mode
end

--- Make a folder and its missing parents.
-- @tparam string path
function M.mkdir(path)
  local at = path:sub(1, 1) == "/" and "/" or ""
  for part in path:gmatch "[^/]+" do
    at = at .. part
    local ok, message = lfs.mkdir(at)
    if not ok and lfs.attributes(at, "mode") ~= "directory" then
      errors.data("cannot make the folder %s: %s", at, message)
    end
    at = at .. "/"
  end
end

--- The path of a file that is part of the suite, wherever the suite is installed.
-- @tparam string path relative to the project's folder, e.g. "experiments/checkerboard.lua"
-- @treturn string
function M.installed(path)
  local here = package.searchpath("flowmap.base.files", package.path)
  local root = here:match "^(.*)/lua/flowmap/base/[^/]*$"
  local share = here:match "^(.*)/lua/[%d.]+/flowmap/base/[^/]*$" -- modules of a stock Lua
  local rock = share and M.read(here:gsub("[^/]*$", "root.txt")) -- a rock names its folder
  return (root or rock and rock:match "[^\n]+" or share and share .. "/flowmap" or ".") .. "/"
    .. path
end

--- Names of the Lua modules in the folder of a module, without `init`, sorted.
-- @tparam string module e.g. "flowmap.losses"
-- @treturn {string,...}
function M.modules(module)
  local folder = package.searchpath(module .. ".init", package.path):match "^(.*)/"
  local names = {}
  for _, entry in ipairs(core.folder_names(folder)) do
    local name = entry:match "^([%w_-]+)%.lua$"
    if name and name ~= "init" then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

--- Names of the folders in a folder, sorted; an empty list if the folder does not exist.
-- @tparam string path
-- @treturn {string,...}
function M.folders(path)
  local names = {}
  if M.mode(path) ~= "directory" then return names end
  for _, name in ipairs(core.folder_names(path)) do
    if not name:find "^%." and M.mode(path .. "/" .. name) == "directory" then
      names[#names + 1] = name
    end
  end
  table.sort(names)
  return names
end

--- All files below a folder as sorted relative paths; links are not followed.
-- @tparam string path
-- @treturn {string,...}
function M.below(path)
  local names = {}
  local function walk(inside)
    for _, name in ipairs(core.folder_names(path .. "/" .. inside)) do
      local mode = lfs.symlinkattributes(path .. "/" .. inside .. name, "mode")
      if mode ~= "directory" then
        names[#names + 1] = inside .. name
      else
        walk(inside .. name .. "/")
      end
    end
  end
  walk ""
  table.sort(names)
  return names
end

--- Remove a folder that the caller has made, with its contents; of a link, the link alone.
-- @tparam string path
function M.remove_tree(path)
  if lfs.symlinkattributes(path, "mode") == "link" then
    os.remove(path)
    return
  end
  for _, name in ipairs(core.folder_names(path)) do
    local inner = path .. "/" .. name
    if lfs.symlinkattributes(inner, "mode") ~= "directory" then
      os.remove(inner)
    else
      M.remove_tree(inner)
    end
  end
  lfs.rmdir(path)
end

--- Start a shell command and read its output.
-- @tparam string program its name, for the error sentence
-- @tparam string command
-- @treturn file its standard output
function M.pipe(program, command)
  local pipe, why = io.popen(command)
  return pipe or errors.data("cannot start %s: %s", program, why:match "[^: ][^:]*$")
end

--- Quote a word for the shell.
-- @tparam string word
-- @treturn string
function M.quote(word)
  return escape.shell(word)
end

return M
