--- The command `data`: archives and packed images of published data sets.
-- @module flowmap.app.image_data

local fm = require "flowmap"
local data = require "flowmap.data"
local errors = require "flowmap.base.errors"
local files = require "flowmap.base.files"
local images = require "flowmap.data.packed"
local import = require "flowmap.data.packed.import"
local places = require "flowmap.data.packed.places"

local M = {}

local function say(...) io.stdout:write(string.format(...), "\n") end

local function names()
  local list = {}
  for _, name in ipairs(data.names()) do
    if data.find(name).shape then list[#list + 1] = name end
  end
  return list
end

local function find(name) return data.find(errors.choice("data set", name, names())) end

local function describe(path)
  local it = images.look(path)
  local classes = it.classes > 0 and (", %d classes"):format(it.classes) or ""
  local test = it.train < it.count and (" and %d to test"):format(it.count - it.train) or ""
  return ("%s: %d images%s%s, %d x %d, SHA-256 %s"):format(it.meta.title, it.train, test, classes,
    it.shape[1], it.shape[2], it.hash:sub(1, 12))
end

--- List what there is: packed files, archives that would be imported, or stand-ins to be drawn.
function M.list()
  local folder, named = places.data()
  say("archives and packed images: %s%s, then %s", folder, named and " (FLOWMAP_DATA)" or "",
    places.cache())
  for _, name in ipairs(names()) do
    local set = data.find(name)
    images.sweep(set)
    local packed, archive = images.packed(set), import.find_archive(set)
    say("%s", name)
    for _, path in ipairs(packed) do
      local ok, text = pcall(describe, path)
      say("  packed   %s\n           %s", path, ok and text or tostring(text))
    end
    if archive then say("  archive  %s", archive) end
    if #packed == 0 and not archive then
      say("  nothing; an experiment would draw the procedural stand-in")
    end
  end
end

--- Pack an archive or a folder.
function M.import(args)
  local path = import.run(find(args.name), args.path)
  say("%s\n%s", path, describe(path))
end

--- Compare packed images with their checksum.
function M.verify(args)
  local packed = images.packed(find(args.name))
  if #packed == 0 then
    errors.data("there are no packed images of %s; flowmap data import packs them", args.name)
  end
  for _, path in ipairs(packed) do
    fm.pack_verify(path)
    say("%s\n%s: ok", path, describe(path))
  end
end

--- Download, check against the known hash, import.
function M.fetch(args)
  local fetch = require "flowmap.data.packed.fetch"
  local set = find(args.name)
  local folder = places.output()
  if not set.url then
    errors.data("%s cannot be downloaded by a program: %s in %s; then run flowmap data import %s "
      .. "%s", set.official, set.by_hand, folder, set.name, folder .. "/" .. set.file)
  end
  local path = folder .. "/" .. set.file
  if files.exists(path) then
    io.stderr:write(path, " is there already; without it a new one would be downloaded\n")
    fetch.check(path, set.sha256)
  else
    fetch.run(set.url, path, set.sha256)
  end
  M.import { name = args.name, path = path }
end

return M
