-- Experiments written for a test, each into a file of its own below one private folder.

local experiment = require "flowmap.experiment"
local files = require "flowmap.files"
local fm = require "flowmap"

local M = { count = 0 }

--- The folder of all of them.
M.root = os.tmpname()
os.remove(M.root)
files.mkdir(M.root)

--- Load an experiment from its text.
function M.load(text)
  M.count = M.count + 1
  local path = ("%s/own%d.lua"):format(M.root, M.count)
  fm.write_file(path, text)
  return experiment.load(path)
end

--- Remove everything.
function M.remove() os.execute("rm -rf " .. files.quote(M.root)) end

return M
