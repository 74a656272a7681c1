--- A data set of the JPEG and PNG files in a folder of one's own and in its subfolders.
--
--     experiment.data = fm.image_folder("photos", { size = 32 })
--
-- Of each image the central square is taken, as wide as the shorter side or as `crop` says, and
-- averaged over areas down to size x size pixels; nothing is enlarged. A JPEG file whose Exif block
-- notes another orientation is turned upright first. Images that are too small, damaged or in
-- another format stop the import, by name. If there are two or more subfolders, the innermost ones
-- are classes, in alphabetical order; those called train, test, val, valid or validation are parts
-- instead, and only images in train, or in no part, are trained on.
--
-- The images are packed once, into the cache folder. A file that is added, removed or written again
-- has them packed again, and results of other pixels or classes are outdated.
-- @module flowmap.image_folder

local fm = require "flowmap"
local errors = require "flowmap.base.errors"
local files = require "flowmap.base.files"
local header = require "flowmap.data.packed.header"
local images = require "flowmap.data.packed"
local lfs = require "lfs"
local texts = require "flowmap.base.text"

local MOST_SIDE = 1024

local function side(name, value)
  if math.type(value) ~= "integer" or value < 1 or value > MOST_SIDE then
    errors.usage("image_folder: %s must be a whole number from 1 to %d, found %s", name, MOST_SIDE,
      tostring(value))
  end
  return value
end

local function title_of(title, otherwise)
  if title == nil then return otherwise end
  local fault = texts.fault(title, header.most.title) or title == "" and "is empty"
  if fault then errors.usage("image_folder: the title %s", fault) end
  return title
end

-- What tells one state of a folder from another, without reading its files. A file's time of
-- modification can be set, and has often been kept by what copied the file; the time of its last
-- change, by the nanosecond, cannot.
local function state_of(path)
  local stat, lines = require("luv").fs_stat, {}
  for k, name in ipairs(files.below(path)) do
    local at = stat(path .. "/" .. name)
    lines[k] = at and ("%s %d %d %d.%09d"):format(name, at.size, at.mtime.sec, at.ctime.sec,
      at.ctime.nsec) or name
  end
  return table.concat(lines, "\n")
end

--- A data set of images.
-- @tparam string path a folder
-- @tparam table options { size = side of the squares, in pixels; crop = side of the central square
--   that is taken of each image (default: the shorter side); title = how tables name the data }
-- @treturn table a data set, see flowmap.data.packed
local function image_folder(path, options)
  if type(path) ~= "string" or type(options) ~= "table" then
    errors.usage "image_folder: expected a folder and a table such as { size = 64 }"
  end
  errors.fields("image_folder", options, { "size", "crop", "title" })
  local size = side("size", options.size)
  local crop = options.crop and side("crop", options.crop)
  if crop and crop < size then
    errors.usage("image_folder: crop is %d, expected at least the size, %d", crop, size)
  elseif lfs.attributes(path, "mode") ~= "directory" then
    errors.data("image_folder: there is no folder '%s'", texts.line(path, 200))
  end
  local name = texts.line(path:gsub("/+$", ""):match "[^/]+$" or path, 60)
  local title = title_of(options.title, name) -- a part of the packed file
  local key = fm.sha256(("%d %d %s\n%s"):format(size, crop or 0, title, state_of(path)))
  return images.set { name = "folder-" .. key:sub(1, 16), official = name,
    size = size, folder = path, archives = {}, take = crop and { crop = crop },
    recognise = function(plan) return title, false, plan.train end }
end

return image_folder
