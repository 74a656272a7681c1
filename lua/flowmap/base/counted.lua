--- Functions that refuse surplus arguments, which Lua drops without a word. The functions of the
-- core do so themselves.
-- @module flowmap.base.counted

local errors = require "flowmap.base.errors"

local M = {}

--- The function that a counted one calls: counted -> function.
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

-- A method that raises a sentence if a dot in place of the colon left out its object.
local function with_object(name, key, class, f)
  local function method(self, ...)
    if not rawequal(getmetatable(self), class) then
      errors.usage("%s: %s is called with a colon, as x:%s(...), found %s in place of the object",
        name, key, key, self == nil and "nothing" or "a " .. type(self))
    end
    return f(self, ...)
  end
  M.original[method] = M.original[f]
  return method
end

--- Check the object and count the arguments of all methods of a class but those that take any
-- number.
-- @tparam string name of the class, for the sentence
-- @tparam table class changed in place
function M.methods(name, class)
  for key, f in pairs(class) do
    if type(f) == "function" and not debug.getinfo(f, "u").isvararg then
      class[key] = with_object(name, key, class, M.counted(("%s: %s"):format(name, key), f, 1))
    end
  end
end

return M
