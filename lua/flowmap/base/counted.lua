--- Functions that refuse surplus arguments, which Lua drops without a word. The functions of the
-- core do so themselves.
-- @module flowmap.base.counted

local errors = require "flowmap.base.errors"

local M = {}

--- What stands behind a counted function: counted -> function.
M.original = setmetatable({}, { __mode = "k" })

--- A function that raises a sentence if it is called with more arguments than it names.
-- @tparam string name of the function, for the sentence
-- @tparam function f without a variable number of arguments
-- @treturn function
function M.counted(name, f)
  local most = debug.getinfo(f, "u").nparams
  local function counted(...)
    local found = select("#", ...)
    if found > most then
      errors.usage("%s: %d arguments found, expected at most %d", name, found, most)
    end
    return f(...)
  end
  M.original[counted] = f
  return counted
end

return M
