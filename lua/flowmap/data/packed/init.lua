--- Data sets of images. One is a file of lua/flowmap/data that describes it:
--
--     return images.set { name = "cifar10", size = 32, standin = "objects", ... }
--
-- and becomes a data set whose images are loaded on first access:
--
--     { shape = { H, W, 3 }, sd = 0.5,
--       table = uint8 (count, H, W, 3), mapped,    labels = float32 (count) or nil,
--       count = , classes = number or nil, class_names = ,
--       test = { table =, labels =, count = } or nil,
--       title = how tables and figures name it,
--       standin = false, "stand-in" or "procedural stand-in",
--       hash = SHA-256 of pixels and labels, path = of the packed file }
--
-- A packed file is used if there is one, once it is verified; otherwise an archive is imported;
-- otherwise the stand-in is drawn.
-- @module flowmap.data.packed

local core = require "flowmap.core"
local fm = require "flowmap"
local errors = require "flowmap.base.errors"
local files = require "flowmap.base.files"
local header = require "flowmap.data.packed.header"
local places = require "flowmap.data.packed.places"

local M = {}

-- The fields that are read on demand.
local LAZY = { table = true, labels = true, count = true, classes = true, class_names = true,
  test = true, title = true, standin = true, hash = true, path = true, source = true }

--- Inspect a packed file: cheap, but the header's checksum and the size are verified, and its texts
-- can be shown safely.
-- @tparam string path
-- @treturn table the header, with `meta` decoded
function M.look(path)
  local it = fm.pack_look(path)
  it.meta = header.decode(path, it.text, it.classes)
  return it
end

--- The packed files of a data set, best first: real images before the stand-in.
-- @tparam table set
-- @treturn {string,...}
function M.packed(set)
  local found = {}
  for _, name in ipairs { set.name .. ".images", set.name .. "-standin.images" } do
    for _, folder in ipairs(places.search()) do
      if files.exists(folder .. "/" .. name) then found[#found + 1] = folder .. "/" .. name end
    end
  end
  return found
end

local function is_standin(path) return path:find "%-standin%.images$" ~= nil end

--- Remove files left behind by killed imports and drawings of a data set.
-- @tparam table set
function M.sweep(set)
  for _, folder in ipairs(places.search()) do
    for _, name in ipairs { set.name .. ".images", set.name .. "-standin.images" } do
      fm.sweep(folder .. "/" .. name)
    end
  end
end

-- Whether nothing may be written, see M.imagine.
local imagined = false

--- From now on nothing is imported, drawn or written: blank images replace those that are not
-- packed. For estimates, which need only their number and size.
function M.imagine() imagined = true end

-- The folder of files that can be made again.
local function cache()
  local path = places.cache()
  files.mkdir(path)
  return path
end

-- The stand-in of a data set, drawn unless another process has just done so: several that start at
-- once, as the ranks of a machine do, wait for the first of them.
local function draw_once(set)
  local name = ("%s/%s-standin.lock"):format(cache(), set.name)
  local lock = core.lock(name)
  fm.watch_signals()
  while not lock do
    if fm.interrupted() then errors.raise("interrupted", "interrupted; no images were written") end
    lock = core.lock(name) -- gives up after a while
  end
  local _ <close> = setmetatable({}, { __close = function()
    os.remove(name) -- before another process gets the lock
    lock:release()
  end })
  return M.packed(set)[1] or require("flowmap.data.packed.standin").draw(set)
end

-- The packed file to use, made if there is none; nil if nothing may be written.
local function obtain(set)
  local path = M.packed(set)[1]
  if path and not is_standin(path) then return path end
  local import = require "flowmap.data.packed.import"
  if set.folder then return not imagined and import.run(set, set.folder, cache()), set.folder end
  local archive = import.find_archive(set)
  if imagined then return not archive and path or nil, archive end
  if archive then return import.run(set, archive) end
  return path or draw_once(set)
end

-- Blank images, as many as an import or a drawing would produce.
local function blank(set, archive)
  local it
  if archive then
    it = require("flowmap.data.packed.import").look(set, archive)
  else
    local _, classes = fm.standin(set.drawing)
    it = { count = set.standin_count, train = set.standin_train, classes = classes }
  end
  local described = { count = it.count, train = it.train, classes = #it.classes, hash = "none",
    meta = { title = "blank images for " .. set.official, classes = it.classes } }
  return described, function(_, n)
    return fm.pack_blank { n, set.size, set.size, 3 }, #it.classes > 0 and fm.zeros { n } or nil
  end
end

-- The header and a function(first, n) -> images, labels.
local function open(set)
  if not imagined then M.sweep(set) end
  local path, archive = obtain(set)
  if not path then return blank(set, archive) end
  local it = M.look(path)
  local stamp = require("flowmap.data.packed.verified").stamp(path, imagined)
  rawset(set, "path", path)
  return it, function(first, n) return fm.pack_map(path, first, n, stamp) end
end

-- Fill a set from its packed file.
local function load(set)
  local it, images = open(set)
  local meta, count, train = it.meta, it.count, it.train
  rawset(set, "count", train)
  rawset(set, "classes", it.classes > 0 and it.classes or nil)
  rawset(set, "class_names", meta.classes)
  rawset(set, "title", meta.title)
  rawset(set, "standin", meta.standin)
  rawset(set, "source", meta.source)
  rawset(set, "hash", it.hash)
  local pixels, labels = images(0, train)
  rawset(set, "table", pixels)
  rawset(set, "labels", labels)
  if train < count then
    local test, test_labels = images(train, count - train)
    rawset(set, "test", { table = test, labels = test_labels, count = count - train })
  end
  setmetatable(set, nil)
end

local lazy = {
  __index = function(set, key)
    if not LAZY[key] then return nil end
    load(set)
    return rawget(set, key)
  end,
}

--- Whether the images of a set can be used as they are: nothing would be imported, drawn or
-- written.
-- @tparam table set
-- @treturn boolean
function M.ready(set)
  if getmetatable(set) ~= lazy then return rawget(set, "path") ~= nil end
  local path = M.packed(set)[1]
  if not path or not is_standin(path) then return path ~= nil end
  return not (set.folder or require("flowmap.data.packed.import").find_archive(set))
end

--- A data set from its description.
-- @tparam table it { name =, size =, standin = which drawing, standin_count =, standin_train =,
--   archive = patterns of file names, recognise = function(plan, path) -> title, standin, train,
--   url =, sha256 =, by_hand = instructions where there is no URL, take = how pictures are cropped,
--   folder = of images that are packed into the cache,
--   records = of a CIFAR-10 batch, all_train = whether test folders are trained on as well }
-- @treturn table
function M.set(it)
  it.shape = { it.size, it.size, 3 }
  it.sd = 0.5
  it.drawing, it.standin = it.standin, nil
  return setmetatable(it, lazy)
end

return M
