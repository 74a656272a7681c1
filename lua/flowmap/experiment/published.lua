--- The paper's own numbers, which tables and figures show beside ours.
-- @module flowmap.experiment.published

local errors = require "flowmap.base.errors"
local files = require "flowmap.base.files"

local M = {}

--- Their file.
M.file = files.installed "paper/published.lua"

--- The published numbers.
-- @treturn table what paper/published.lua returns
function M.read()
  local chunk, why = loadfile(M.file, "t")
  if not chunk then
    errors.data("cannot read the published values that belong to this installation: %s", why)
  end
  return chunk()
end

return M
