--- Data sets of images. One is a file of lua/flowmap/data that describes it:
--
--     return images.set { name = "cifar10", size = 32, standin = "objects", ... }
--
-- and becomes a data set whose images come when first asked for:
--
--     { shape = { H, W, 3 }, sd = 0.5,
--       table = uint8 (count, H, W, 3), mapped,    labels = float32 (count) or nil,
--       count = , classes = number or nil, class_names = ,
--       test = { table =, labels =, count = } or nil,
--       title = how tables and figures name it,
--       standin = false, "stand-in" or "procedural stand-in",
--       hash = SHA-256 of pixels and labels, path = of the packed file }
--
-- The packed file is looked for; else an archive is imported; else the stand-in is drawn.
-- @module flowmap.data.images

local fm = require "flowmap"
local json = require "flowmap.json"
local files = require "flowmap.files"
local places = require "flowmap.data.images.places"

local M = {}

-- What the table, the labels and the rest are read from, on demand.
local LAZY = { table = true, labels = true, count = true, classes = true, class_names = true,
  test = true, title = true, standin = true, hash = true, path = true, source = true }

--- Look at a packed file: cheap, but the header's checksum and the size are compared.
-- @tparam string path
-- @treturn table the header, with `meta` decoded
function M.look(path)
  local header = fm.pack_look(path)
  header.meta = json.decode(header.text)
  return header
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

-- The packed file to use, made if there is none.
local function obtain(set)
  local path = M.packed(set)[1]
  if path and not is_standin(path) then return path end
  local import = require "flowmap.data.images.import"
  local archive = import.find_archive(set)
  if archive then return import.run(set, archive) end
  return path or require("flowmap.data.images.standin").draw(set)
end

-- Fill a set with what its packed file holds.
local function load(set)
  local path = obtain(set)
  local header = M.look(path)
  local meta, count, train = header.meta, header.count, header.train
  rawset(set, "path", path)
  rawset(set, "count", train)
  rawset(set, "classes", header.classes > 0 and header.classes or nil)
  rawset(set, "class_names", meta.classes)
  rawset(set, "title", meta.title)
  rawset(set, "standin", meta.standin)
  rawset(set, "source", meta.source)
  rawset(set, "hash", header.hash)
  local pixels, labels = fm.pack_map(path, 0, train)
  rawset(set, "table", pixels)
  rawset(set, "labels", labels)
  if train < count then
    local test, test_labels = fm.pack_map(path, train, count - train)
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

--- A data set from its description.
-- @tparam table it { name =, size =, standin = which drawing, standin_count =, standin_train =,
--   archive = patterns of file names, recognise = function(plan, path) -> title, standin, train,
--   url =, sha256 =, by_hand = what to do where no URL serves, take = how pictures are cropped,
--   records = of a CIFAR-10 batch, all_train = whether test folders are trained on, too }
-- @treturn table
function M.set(it)
  it.shape = { it.size, it.size, 3 }
  it.sd = 0.5
  it.drawing, it.standin = it.standin, nil
  return setmetatable(it, lazy)
end

return M
