--- Errors that are none of ours, as their reader needs them: one sentence with the file and line of
-- the reader's own Lua, where that is what failed, and then the exit code of a wrong use.
-- @module flowmap.base.blame

local errors = require "flowmap.base.errors"

local M = {}

local OWN = debug.getinfo(1, "S").source:match "^@(.*/)base/" or "@" -- the folder of the suite

-- Whether a file is one of ours or of an installed library.
local function is_library(file)
  return file:sub(1, #OWN) == OWN or file:find "/share/lua/" ~= nil
end

-- The first line of a text, without a position in a library; whether it has the user's position.
local function sentence(text)
  local line = text:match "^[^\n]*":gsub(":$", "")
  local file, rest = line:match "^([^:]+):%d+: (.*)$"
  if not file then return line, false end
  if is_library(file) then return rest, false end
  return line, true
end

-- What an error value says.
local function in_words(err)
  if type(err) == "string" then return sentence(err) end
  if type(err) == "number" then return tostring(err), false end
  if err == nil then return "error() was called without a message", false end
  local mt = type(err) == "table" and getmetatable(err)
  local text = type(mt) == "table" and mt.__tostring and select(2, pcall(tostring, err))
  if type(text) == "string" then return sentence(text) end
  return ("error() was called with a %s, expected a sentence"):format(type(err)), false
end

--- An error value of ours for one of Lua's or of a user's own. To be called where it arose, by a
-- message handler: the line is found on the stack.
-- @param err anything
-- @treturn table see flowmap.base.errors
function M.explained(err)
  local text, placed = in_words(err)
  local out = errors.new("usage", text)
  if placed then
    out.where = nil
  elseif errors.of_memory(text) then
    out.code, out.message = "memory", errors.NO_MEMORY
  elseif not out.where then
    local module = text:match "^module '([^']*)' not found"
    if module then
      out.message = ("the Lua module '%s' is not installed; .ci/packages.txt lists what flowmap "
        .. "needs"):format(module)
    else
      out.code = "internal"
      out.message = ("internal error: %s (--traceback shows where)"):format(
        type(err) == "string" and err:match "^[^\n]*" or text)
    end
  end
  return out
end

return M
