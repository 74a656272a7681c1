--- The folder of a run. Only a folder with our mark is ours, only one process at a time writes to
-- it, and its contents are never deleted, only put aside.
--
-- The mark is the file `.flowmap` with fixed contents, written when a folder is made. It is also
-- the file that is locked; the lock ends with the process that holds it.
-- @module flowmap.runs.folder

local core = require "flowmap.core"
local errors = require "flowmap.base.errors"
local files = require "flowmap.base.files"
local lfs = require "lfs"
local record = require "flowmap.runs.record"
local regular = require "flowmap.base.regular"

local M = {}

local MARK = ".flowmap"
local MAGIC = "flowmap run folder 1\n"
  .. "Files here are written, replaced and put aside by flowmap; keep your own elsewhere.\n"

-- ------------------------------------------------------------------ whose folder is it?

--- The folder of a run that is only looked at, perhaps "." itself, without slashes at its end.
-- @tparam string dir
-- @treturn string
function M.given(dir) return (dir:gsub("(.)/+$", "%1")) end

--- A usable name for a run's own folder: not empty, no slashes at its end.
-- @tparam string dir
-- @treturn string
function M.name(dir)
  if not dir:find "%S" then
    errors.usage("--out: found '%s', expected the name of a folder", dir)
  elseif dir:find "\0" then
    errors.usage "--out: a folder's name cannot hold a zero byte"
  end
  local name = M.given(dir)
  local last = name:match "[^/]*$"
  if last == "" or last == "." or last == ".." then
    errors.usage("--out: found '%s', expected the name of a folder that a run has for itself", dir)
  end
  return name
end

-- The name of a temporary file (core/io/sweep.c), around that of the file that is written.
local TEMPORARY = "^(.+)%.tmp%.%d+%.%d+"

local function is_temporary(name) return name:find(TEMPORARY) ~= nil end

--- Classify a folder.
-- @tparam string dir
-- @treturn string "absent", "empty", "ours", or "foreign": it holds files and no mark of ours
function M.state(dir)
  local mode, why, errno = lfs.attributes(dir, "mode")
  if not mode then
    if errno == 2 then return "absent" end
    errors.data("cannot look at %s: %s", dir, why)
  elseif mode ~= "directory" then
    errors.usage("%s is a %s, expected a folder or a new name", dir, mode)
  end
  local mark = files.read_if_there(dir .. "/" .. MARK)
  if mark == MAGIC then return "ours" end
  local names = core.folder_names(dir)
  if mark and mark ~= "" then return "foreign" end
  -- An empty mark: a process was killed between making the file and writing it.
  return #names == (mark and 1 or 0) and "empty" or "foreign"
end

local function refuse(dir)
  errors.usage("%s holds files but no mark of a flowmap run (%s): choose another folder, or move "
    .. "its contents away; runs of versions before the mark are not taken over", dir, MARK)
end

--- Whether a folder is a run's. One with files but without our mark is an error.
-- @tparam string dir
-- @treturn boolean false if there is none, or an empty one
function M.is_run(dir)
  local state = M.state(dir)
  if state == "foreign" then refuse(dir) end
  return state == "ours"
end

--- Whether a process was killed while it marked a folder, as the first thing that a run does.
-- @tparam string dir
-- @treturn boolean
function M.was_begun(dir)
  return M.state(dir) == "empty" and files.read_if_there(dir .. "/" .. MARK) ~= nil
end

-- The folder and the name of a path.
local function split(path)
  local dir, name = path:match "^(.*)/([^/]*)$"
  return dir and (dir == "" and "/" or dir) or ".", name or path
end

-- The file that a path names in the end: writing to a link writes to its target.
local function target_of(path)
  for _ = 1, 40 do -- as the system follows them
    local to = lfs.symlinkattributes(path, "target")
    if not to then break end
    path = to:sub(1, 1) == "/" and to or split(path) .. "/" .. to
  end
  return path
end

--- Refuse an output file that cannot be written, before the work whose result it is to hold. In a
-- run's folder, a file is refused that the manifest or the suite's records name, and any file if
-- there is no manifest yet, which would name it.
-- @tparam string path
function M.check_output(path)
  local dir, name = split(target_of(path))
  local there, why = lfs.attributes(dir .. "/.", "mode")
  local mode = there and files.exists(path) and lfs.attributes(path, "mode")
  if not there then
    errors.data("cannot write '%s': %s", path, why:match ": ([^:]*)$" or why)
  elseif mode and mode ~= "file" then
    errors.data("cannot write %s", regular.fault(path))
  elseif not core.folder_writable(dir) then
    errors.data("cannot write '%s': its folder admits no new files", path)
  end
  if files.read_if_there(dir .. "/" .. MARK) ~= MAGIC then return end
  local manifest = record.read(dir, "manifest")
  if not manifest then
    errors.usage("--out %s: the run in %s is not finished; choose another folder", path, dir)
  elseif name == MARK or manifest.files[name] or name:find "%.jsonl?$" then
    errors.usage("--out %s: this is a file of the run in %s; choose another name", path, dir)
  end
end

-- ------------------------------------------------------------------ the lock

local Held = {}
Held.__index = Held

local taken = {} -- name -> the folder of that name that this process holds

--- Let other processes write to the folder again.
function Held:release()
  self.lock:release()
  if taken[self.dir] == self then taken[self.dir] = nil end
end

Held.__close = Held.release

--- Whether a folder that this process took is still the one of its name: its user may have removed
-- or renamed it and begun another run there, whose files must not be replaced.
-- @tparam string dir
-- @treturn boolean true also of a folder that was not taken
function M.holds(dir)
  local held = taken[dir]
  return not held or held.lock:holds(dir .. "/" .. MARK)
end

--- Raise an error where `holds` is false.
-- @tparam string dir
function M.check(dir)
  if not M.holds(dir) then
    errors.data("%s was removed or renamed while this run was writing to it: nothing more is "
      .. "written", dir)
  end
end

local function lock(dir)
  local it = core.lock(dir .. "/" .. MARK)
  if not it then
    errors.usage("%s is in use: another process of flowmap is writing to it", dir)
  end
  taken[dir] = setmetatable({ dir = dir, lock = it }, Held)
  return taken[dir]
end

-- Clean up after killed processes: temporary files that no living process writes (`sample` takes no
-- lock and may be writing one), and, on a file system without links, a checkpoint that has only its
-- old name.
local function sweep(dir)
  local path = dir .. "/checkpoint.safetensors"
  if not files.exists(path) and files.exists(path .. ".prev") then
    os.rename(path .. ".prev", path)
  end
  local swept = {}
  for _, name in ipairs(core.folder_names(dir)) do
    local of = name:match(TEMPORARY)
    if of and not swept[of] then core.sweep(dir .. "/" .. of) end
    swept[of or name] = true
  end
end

--- Take a run's folder to write to it.
-- @tparam string dir
-- @treturn Held or nil if there is no such folder, or an empty one
function M.take(dir)
  if not M.is_run(dir) then return nil end
  local held = lock(dir)
  sweep(dir)
  return held
end

--- Make a run's folder, mark it and take it.
-- @tparam string dir
-- @treturn Held
function M.make(dir)
  files.mkdir(dir)
  local marked = M.is_run(dir)
  local held = lock(dir)
  if not marked then
    -- In place, not by a rename: the lock is on this very file.
    local file <close>, why = io.open(dir .. "/" .. MARK, "w")
    local ok = file
    if ok then ok, why = file:write(MAGIC) end
    if ok then ok, why = file:flush() end
    if not ok then errors.data("cannot write %s/%s: %s", dir, MARK, why) end
    core.sync_file(dir .. "/" .. MARK)
  end
  return held
end

-- ------------------------------------------------------------------ putting aside

local RECORDS = { [MARK] = true, ["config.json"] = true, ["inputs.json"] = true }

--- Whether a run's folder holds work, not only what a run writes before its first step.
-- @tparam string dir
-- @treturn boolean
function M.has_work(dir)
  for _, name in ipairs(core.folder_names(dir)) do
    if not RECORDS[name] and not is_temporary(name) then return true end
  end
  return false
end

--- Rename a run's folder to FOLDER-outdated/DATE, where nothing reads it.
-- @tparam string dir
-- @treturn string where it is now
function M.put_aside(dir)
  if lfs.symlinkattributes(dir, "mode") == "link" then
    errors.usage("%s is a link: the run in it cannot be put aside; name the folder itself", dir)
  end
  local above, stamp = dir .. "-outdated", os.date "!%Y%m%dT%H%M%SZ"
  files.mkdir(above)
  local to, k = above .. "/" .. stamp, 1
  while lfs.symlinkattributes(to, "mode") do
    k = k + 1
    to = ("%s/%s-%d"):format(above, stamp, k)
  end
  local ok, why = os.rename(dir, to)
  if not ok then errors.data("cannot put the run aside: %s", why) end
  return to
end

return M
