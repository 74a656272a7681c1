--- The chapters of the paper, as paper/chapters.lua lists them: the one list of its experiments.
-- @module flowmap.experiment.chapters

local errors = require "flowmap.base.errors"
local files = require "flowmap.base.files"

local M = {}

local function listed()
  local chunk, why = loadfile(files.installed "paper/chapters.lua", "t")
  if not chunk then
    errors.data("cannot read the list of chapters that belongs to this installation: %s", why)
  end
  return chunk()
end

--- The paper's experiments, in its order.
-- @treturn {string,...} paths such as experiments/checkerboard.lua
function M.experiments()
  local paths = {}
  for _, path in ipairs(listed().chapters) do
    if path:find "%.lua$" then paths[#paths + 1] = path end
  end
  return paths
end

--- The suite's own book: its sources are where the suite is installed, its results in the current
-- folder.
-- @treturn table what paper/chapters.lua returns, with paths that can be read from here
function M.book()
  local book = listed()
  for i, path in ipairs(book.chapters) do book.chapters[i] = files.installed(path) end
  book.bibliography, book.style = files.installed(book.bibliography), files.installed(book.style)
  return book
end

return M
