--- Importing: from an archive or a folder to a packed file.
-- @module flowmap.data.packed.import

local lfs = require "lfs"
local fm = require "flowmap"
local errors = require "flowmap.base.errors"
local files = require "flowmap.base.files"
local header = require "flowmap.data.packed.header"
local Notice = require "flowmap.base.notice"
local places = require "flowmap.data.packed.places"
local plan_of = require("flowmap.data.packed.plan").make

local M = {}

local ENDINGS = { ".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".tar.zst", "" }

--- Find an archive or a folder of a data set in the data folders, by its usual names.
-- @tparam table set
-- @treturn string path or nil
function M.find_archive(set)
  local folder = places.data()
  for _, name in ipairs(set.archives) do
    for _, ending in ipairs(ENDINGS) do
      local path = ("%s/%s%s"):format(folder, name, ending)
      if files.exists(path) then return path end
    end
  end
end

-- The hash of a source: of the images taken from a folder, or of the bytes of an archive.
local function source_hash(path)
  return lfs.attributes(path, "mode") == "file" and fm.sha256_file(path) or nil
end

-- A name that does not depend on the folders above.
local function shown(path) return path:gsub("/+$", ""):match "[^/]+$" or path end

-- An interrupted import leaves nothing behind.
local function stop_if_interrupted()
  if fm.interrupted() then
    errors.raise("interrupted", "interrupted; nothing was written, the same command starts over")
  end
end

--- Describe what an import would produce.
-- @tparam table set
-- @tparam string path archive or folder
-- @treturn table see flowmap.data.packed.plan
function M.look(set, path)
  local source <close> = fm.source(path)
  return plan_of(source:names(), set, path)
end

--- Import.
-- @tparam table set
-- @tparam string path archive or folder
-- @tparam[opt] string folder where the packed file goes
-- @treturn string path of the packed file
function M.run(set, path, folder)
  if not files.exists(path) then errors.data("there is no %s", path) end
  folder = folder or places.output()
  fm.watch_signals()
  local notice <close> = Notice.new(("importing %s from %s"):format(set.official, path))
  local source <close> = fm.source(path)
  local plan = plan_of(source:names(), set, path)
  source:assign(plan.places, plan.labels)
  local out = ("%s/%s.images"):format(folder, set.name)
  local pack <close> = fm.pack(out, { count = plan.count, train = plan.train,
    shape = { set.size, set.size, 3 }, classes = #plan.classes, text = header.encode({
      title = plan.title, standin = plan.standin, classes = plan.classes, source = shown(path),
      source_sha256 = source_hash(path) }, fm.pack_text) })
  local done, files_taken = 0
  local per_file = plan.take and plan.take.records or 1
  notice.total = plan.count
  repeat
    stop_if_interrupted()
    files_taken = pack:take(source, plan.take or {})
    done = done + files_taken * per_file
    notice:update(done)
  until files_taken == 0
  pack:finish()
  return out
end

return M
