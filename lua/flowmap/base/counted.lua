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
-- @tparam[opt] integer silent first arguments that are not counted: 1 for a method
-- @treturn function
function M.counted(name, f, silent)
  silent = silent or 0
  local most = debug.getinfo(f, "u").nparams - silent
  local function counted(...)
    local found = select("#", ...) - silent
    if found > most then
      errors.usage("%s: %d arguments found, expected at most %d", name, found, most)
    end
    return f(...)
  end
  M.original[counted] = f
  return counted
end

--- Count the arguments of all methods of a class but those that take any number.
-- @tparam string name of the class, for the sentence
-- @tparam table class changed in place
function M.methods(name, class)
  for key, f in pairs(class) do
    if type(f) == "function" and not debug.getinfo(f, "u").isvararg then
      class[key] = M.counted(("%s: %s"):format(name, key), f, 1)
    end
  end
end

return M
