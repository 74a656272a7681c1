--- Descriptions of functions and modules, from the library's sources and this file: for `fm.help`.
-- @module flowmap.app.described

local core = require "flowmap.core"
local core_functions = require "flowmap.app.core_functions"
local counted = require "flowmap.base.counted"
local examples = require "flowmap.app.examples"
local source = require "flowmap.runs.source"

local M = {}

--- The function whose source describes another, which may guard or record it.
-- @tparam function f
-- @treturn function
function M.original(f) return counted.original[f] or source.original[f] or f end

-- ------------------------------------------------------------------ comments

--- The lines of a file; none if it cannot be read.
-- @tparam string path
-- @treturn {string,...}
function M.lines(path)
  local lines, file = {}, io.open(path)
  if not file then return lines end
  for line in file:lines() do lines[#lines + 1] = line end
  file:close()
  return lines
end

-- The lines of the LDoc comment that ends above line `at`, without their dashes. A one-line local
-- may stand between the two.
local function comment_above(lines, at)
  local last = at - 1
  while lines[last] and lines[last]:find "^[%w].*=" do last = last - 1 end
  local first = last
  while lines[first] and lines[first]:find "^ *%-%-" and not lines[first]:find "^ *%-%-%-" do
    first = first - 1
  end
  if not (lines[first] and lines[first]:find "^ *%-%-%-") then return {} end
  local comment = {}
  for k = first, last do comment[#comment + 1] = lines[k]:match "%-%-.*$" end
  return comment
end

-- The first sentence of a comment.
local function sentence(comment)
  local text = {}
  for _, line in ipairs(comment) do
    local words = line:gsub("^%-+ ?", "")
    if words:find "^@" or words == "" then break end
    text[#text + 1] = words
  end
  text = table.concat(text, " ")
  return (text .. " "):match "^(.-%.) %u" or text
end


-- "f: function of one argument" for each parameter that the comment explains.
local function parameters(comment)
  local list, open = {}, false
  for _, line in ipairs(comment) do
    local tagged = line:match "^%-+ @(t?param.*)$"
    local more = line:match "^%-+ +([^@ ].*)$"
    if tagged then
      local typed, rest = tagged:match "^(t?)param%S* +(.*)$"
      local kind, name, what = "", rest:match "^(%S+) ?(.*)$"
      if typed == "t" then kind, name, what = rest:match "^(%S+) (%S+) ?(.*)$" end
      kind = (kind or ""):gsub("^%?(.*)", "%1, optional")
      if tagged:find "^t?param%[opt" then kind = kind .. ", optional" end
      kind = kind ~= "" and (" (%s)"):format(kind:gsub("|", " or "), nil) or ""
      list[#list + 1] = ("  %s%s: %s"):format(name, kind, what):gsub(": ?$", "")
    elseif line:find "^%-+ @" then
      open = false
    elseif open and more then
      list[#list] = list[#list] .. " " .. more
    end
    open = tagged ~= nil or open and more ~= nil
  end
  return list
end

-- ------------------------------------------------------------------ descriptions

--- The names of a function's arguments.
-- @tparam function f
-- @treturn string "a, b, ..."
function M.arguments(f)
  local names, u = {}, debug.getinfo(f, "u")
  for k = 1, u.nparams do names[k] = debug.getlocal(f, k) end
  if u.isvararg then names[#names + 1] = "..." end
  return table.concat(names, ", ")
end

-- The comment above `M.NAME = ...`, for a function that another function made.
local function comment_of_name(lines, name)
  for k, line in ipairs(lines) do
    local left = line:match "^(M%..-)%f[=]="
    if left and (left .. ","):find("M." .. name .. "%s*,") then return comment_above(lines, k) end
  end
  return {}
end

--- The comment that documents a function.
-- @tparam function f
-- @tparam[opt] string name its name in the module
-- @treturn {string,...} its lines; none if there is no comment, or for a function of C
-- @treturn table what debug.getinfo tells about the place
function M.comment(f, name)
  local at = debug.getinfo(M.original(f), "S")
  if at.what == "C" then return {}, at end
  local lines = M.lines(at.source:sub(2))
  local comment = comment_above(lines, at.linedefined)
  if #comment == 0 and name then comment = comment_of_name(lines, name) end
  return comment, at
end

-- The lines of the example of a function in `fm`, if there is one.
local function example(name, f)
  local text = core[name] == f and examples.text[name]
  return text and "\n  " .. text:gsub("\n", "\n  ") or ""
end

--- Describe an operation or another function of the core.
-- @tparam string name
-- @tparam string arguments in parentheses
-- @tparam string meaning
-- @treturn string with an example
function M.of_core(name, arguments, meaning)
  return ("%s%s  %s%s"):format(name, arguments, meaning, example(name, core[name]))
end

--- Describe a function of the library: its arguments, the first sentence about it, its parameters.
-- @tparam string name
-- @tparam function f
-- @treturn ?string nil for one without a description
function M.of_function(name, f)
  local it = core_functions.public[name]
  if it and rawequal(core[name], f) then return M.of_core(name, it[1], it[2]) end
  local comment, at = M.comment(f, name:match "[^.]+$")
  if #comment == 0 then return nil end
  local head = ("%s(%s)  %s"):format(name, M.arguments(M.original(f)), sentence(comment))
  local place = ("  See %s, line %d."):format(at.short_src, at.linedefined)
  return table.concat({ head, table.unpack(parameters(comment)) }, "\n") .. example(name, f)
    .. "\n" .. place
end

--- Describe a module.
-- @tparam string name as in fm.NAME
-- @tparam string path of its file
-- @treturn string
function M.of_module(name, path)
  local comment = {}
  for _, line in ipairs(M.lines(path)) do
    if not line:find "^%-%-" then break end
    comment[#comment + 1] = line
  end
  return ("%s  module: %s\n  See %s."):format(name, sentence(comment), path)
end

return M
