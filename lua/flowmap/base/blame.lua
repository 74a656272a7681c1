--- Turns errors raised by Lua or by a user's code into errors of the suite: one sentence, with file
-- and line and the exit code for usage errors if the user's own Lua failed.
-- @module flowmap.base.blame

local errors = require "flowmap.base.errors"

local M = {}

local OWN = debug.getinfo(1, "S").source:match "^@(.*/)base/" or "@" -- the folder of the suite

-- Whether a file belongs to the suite or to an installed library.
local function is_library(file)
  return file:sub(1, #OWN) == OWN or file:find "/share/lua/" ~= nil
end

local OF_SUITE = "%s cannot use what it was given: %s"

-- The first line of a text, without positions inside a library; and whether it states a position in
-- the user's code. An error that leaves a coroutine has one position in front of another.
local function sentence(text)
  local rest, place, first, inside = text:match "^[^\n]*":gsub(":$", ""), "", nil, false
  while true do
    local file, line, after = rest:match "^([^:]+):(%d+): (.*)$"
    local library = file and is_library(file)
    local is_source = library or file and (not first or file == first or file:find "^%S+%.lua$")
    if not is_source then break end
    if not library then place = ("%s:%s: "):format(file, line) end
    inside, first, rest = library, first or file, after
  end
  if place == "" then return rest, false end
  return place .. (inside and OF_SUITE:format("a function of the suite", rest) or rest), true
end

--- The text of an error value.
-- @param err any value
-- @treturn string
-- @treturn boolean whether it states a position in the user's code
function M.in_words(err)
  if type(err) == "number" then return tostring(err), false end
  if err == nil then return "error() was called without a message", false end
  local mt, text = getmetatable(err), type(err) == "string" and err or nil
  if not text and type(mt) == "table" and mt.__tostring then
    text = select(2, pcall(tostring, err)) -- may be a user's
  end
  if type(text) ~= "string" then
    return ("error() was called with a %s, expected a sentence"):format(type(err)), false
  end
  local line, placed = sentence(text)
  if line == "" or line:find "^[^:]+:%d+: ?$" then
    return "error() was called with an empty text", false
  end
  return line, placed
end

local NEAR = 5 -- calls from the handler to a function that a user's tail call may have called

-- The name under which a module of the suite holds a function, or false.
local function name_of(f)
  for module, it in pairs(package.loaded) do
    for name, value in pairs(module:find "^flowmap%." and type(it) == "table" and it or {}) do
      if rawequal(value, f) then return not tostring(name):find "^__" and name end
    end
  end
  return false
end

-- The name of the suite's function that the user's code called, false if it is not known: a tail
-- call leaves no more than its mark. nil if no user's code has called one.
local function called()
  local name, count, of_tail = false, 0, nil
  for level = 3, math.huge do
    local at = debug.getinfo(level, "Slntf")
    if not at then return of_tail end
    if at.currentline > 0 and not rawequal(at.func, errors.note) then -- the handler is not a call
      if not is_library(at.source:sub(2)) then return name end
      count = count + 1
      if count > NEAR and of_tail ~= nil then return of_tail end
      name = not at.istailcall and at.name or name_of(at.func)
      if at.istailcall and of_tail == nil and count <= NEAR then of_tail = name end
    end
  end
end

-- The sentence about an error of Lua's in the suite's own code. Its words are about names there,
-- which tell the user less than the name of the function that was called.
local function of_suite(name, text, err)
  if name == nil then
    return ("internal error: %s (--traceback shows where)"):format(err:match "^[^\n]*")
  end
  return ("%s cannot use what it was given: %s (--traceback shows where)"):format(
    name and "the function '" .. name .. "'" or "a function of the suite", text)
end

--- Convert an error of Lua's or of a user's into one of the suite's. Call it in a message handler,
-- where the error was raised, because the user's line is found on the stack.
-- @param err any value
-- @treturn table see flowmap.base.errors
function M.explained(err)
  local text, placed = M.in_words(err)
  local out = errors.new("usage", text)
  local module = out.where == "" and text:match "^module '([^']*)' not found"
  if placed then
    out.where = nil
  elseif errors.of_memory(text) then
    out.code, out.message = "memory", errors.NO_MEMORY
  elseif module then
    out.message = ("the Lua module '%s' is not installed; .ci/packages.txt lists what flowmap "
      .. "needs"):format(module)
  elseif type(err) == "string" and is_library(err:match "^([^:\n]+):%d+: " or "") then
    local name = called()
    if name == nil then out.code = "internal" end
    out.message = of_suite(name, text, err)
  end
  return out
end

return M
