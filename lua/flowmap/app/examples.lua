--- Examples of the functions in `fm`, for `fm.help` and the reference. A line
-- "EXPRESSION --> VALUE" states a value, written as `shown` writes it; any other line is a
-- statement. The lines of an example share global variables; a test runs all of them.
-- @module flowmap.app.examples

local core = require "flowmap.core"

local M = {}

--- The examples by name.
M.text = {}

-- examples.txt: the name of a function, then the lines of its example behind four spaces.
local function read()
  local folder, name = package.searchpath("flowmap.app.examples", package.path):match "^(.*)/", nil
  for line in io.lines(folder .. "/examples.txt") do
    local code = line:match "^    (.*)$"
    if code then
      M.text[name] = M.text[name] and M.text[name] .. "\n" .. code or code
    else
      name = line
    end
  end
end

read()

--- A value as the examples state it: tensors as their numbers, numbers to five digits.
-- @param value
-- @treturn string
function M.shown(value)
  if core.is_tensor(value) then value = #value.shape == 0 and value:item() or value:totable() end
  if type(value) == "number" then
    return (value == math.floor(value) and "%.0f" or "%.5g"):format(value + 0.0) -- no -0
  elseif type(value) == "table" then
    local list = {}
    for k, inner in ipairs(value) do list[k] = M.shown(inner) end
    return "{ " .. table.concat(list, ", ") .. " }"
  end
  return type(value) == "string" and ("%q"):format(value) or tostring(value)
end

--- Run an example.
-- @tparam string text
-- @tparam string name of the function, for messages
-- @treturn {table,...} for each stated value { line =, expected =, found = }, both as text
function M.run(text, name)
  local env = setmetatable({ fm = require "flowmap" }, { __index = _G })
  local list = {}
  for line in text:gmatch "[^\n]+" do
    local expression, expected = line:match "^(.-) %-%-> (.*)$"
    local code = expression and "return " .. expression or line
    local chunk = assert(load(code, "=" .. name, "t", env))
    local value = chunk()
    if expression then
      list[#list + 1] = { line = line, expected = expected, found = M.shown(value) }
    end
  end
  return list
end

return M
