--- Stand-ins: images that the core draws in place of missing real ones. They are drawn once and are
-- the same on all machines.
-- @module flowmap.data.packed.standin

local fm = require "flowmap"
local errors = require "flowmap.base.errors"
local header = require "flowmap.data.packed.header"
local Notice = require "flowmap.base.notice"
local places = require "flowmap.data.packed.places"

local M = { TITLE = "procedural stand-in" }

local SEED, STEP = 20250518, 250

--- Draw the stand-in of a data set into the cache folder.
-- @tparam table set
-- @tparam[opt] string folder instead of the cache folder
-- @treturn string path of the packed file
function M.draw(set, folder)
  folder = folder or places.cache()
  require("flowmap.base.files").mkdir(folder)
  local side, classes = fm.standin(set.drawing)
  local path = ("%s/%s-standin.images"):format(folder, set.name)
  local pack <close> = fm.pack(path, { count = set.standin_count, train = set.standin_train,
    shape = { side, side, 3 }, classes = #classes, text = header.encode({
      title = ("%s for %s"):format(M.TITLE, set.official), standin = M.TITLE, classes = classes,
      source = ("drawn by flowmap %s from seed %d"):format(fm.info().version, SEED) },
      fm.pack_text) })
  local notice <close> = Notice.new(("drawing the %s for %s"):format(M.TITLE, set.official),
    set.standin_count)
  fm.watch_signals()
  for at = 0, set.standin_count - 1, STEP do
    if fm.interrupted() then errors.raise("interrupted", "interrupted; no images were written") end
    pack:draw(set.drawing, SEED, at, math.min(STEP, set.standin_count - at))
    notice:update(math.min(at + STEP, set.standin_count))
  end
  pack:finish()
  return path
end

return M
