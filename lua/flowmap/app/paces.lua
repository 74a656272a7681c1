--- Measured paces of kinds of runs (see flowmap.app.outlook), kept in the user's cache folder for a
-- day, so that a second plan of many runs does not measure again. A changed program, experiment or
-- source of the suite, or another number of threads, is measured again.
-- @module flowmap.app.paces

local files = require "flowmap.base.files"
local fm = require "flowmap"
local lfs = require "lfs"
local places = require "flowmap.data.packed.places"
local record = require "flowmap.runs.record"
local source = require "flowmap.runs.source"

local M = {}

local DAY = 24 * 60 * 60

local code -- of this process: the program and the suite's sources

local function hash_of_code()
  if code then return code end
  local program = lfs.attributes(require("luv").exepath()) or {}
  local parts = { fm.info().isa, fm.info().blas, program.size, program.modification, program.ino }
  for _, name in ipairs(files.below(source.folder:gsub("/$", ""))) do
    if name:find "%.lua$" then parts[#parts + 1] = fm.sha256(files.read(source.folder .. name)) end
  end
  for i, part in ipairs(parts) do parts[i] = tostring(part) end
  code = fm.sha256(table.concat(parts, "\n"))
  return code
end

-- The file of a kind's pace; nil if there is no cache folder. None is made, for a dry run should
-- leave nothing else behind.
local function path_of(kind, threads)
  local ok, folder = pcall(places.cache)
  if not ok or not files.exists(folder) then return nil end
  local key = table.concat({ kind.name, tostring(threads), hash_of_code(),
    fm.sha256(files.read(kind.run.experiment.path) or "") }, "\n")
  return ("%s/pace-%s"):format(folder, fm.sha256(key):sub(1, 32))
end

--- The pace that was measured for a kind within the last day.
-- @tparam table kind
-- @tparam integer threads
-- @treturn ?table see flowmap.runs.estimate
function M.kept(kind, threads)
  local path = path_of(kind, threads)
  local age = path and os.time() - (lfs.attributes(path, "modification") or 0)
  if not (age and age >= 0 and age < DAY) then return nil end
  local ok, it = pcall(record.unseal, files.read(path) or "", path)
  return ok and it or nil -- one that is damaged is measured again
end

--- Keep the pace of a kind. It is a cache: the folder may be read-only.
-- @tparam table kind with `pace`
-- @tparam integer threads
function M.keep(kind, threads)
  local path = path_of(kind, threads)
  if not path then return end
  pcall(fm.write_file, path, record.seal(kind.pace))
end

return M
