--- Help on the library: `fm.help()` lists the operations, `fm.help "conv"` describes one. The text
-- comes from the core's table of operations (core/ops.def), so a new operation is listed
-- automatically.
-- @module flowmap.app.help

local core = require "flowmap.core"
local errors = require "flowmap.base.errors"
local source = require "flowmap.runs.source"

local WORDS = { t = "tensor", T = "{tensor, ...}", s = "{size, ...}", p = "{axis, ...}",
  d = "dtype" }

-- From "tt|b" to "(tensor, tensor [, ta])"; numbers, integers and booleans have the names of the
-- attributes that they fill.
local function arguments(op)
  local letters, ni, nn, words = op.args, 0, 0, {}
  local optional = letters:find("|", 1, true)
  for letter in letters:gmatch "%a" do
    local word = WORDS[letter]
    if letter == "n" then
      nn = nn + 1
      word = op.numbers[nn]
    elseif not word then
      ni = ni + 1
      word = op.integers[ni]
    end
    words[#words + 1] = assert(word, letter)
  end
  if not optional then return "(" .. table.concat(words, ", ") .. ")" end
  local needed = optional - 1
  return ("(%s [, %s])"):format(table.concat(words, ", ", 1, needed),
    table.concat(words, ", ", needed + 1))
end

local function callable()
  local list = {}
  for _, op in ipairs(core.ops()) do
    if core[op.name] and op.args ~= "" then list[#list + 1] = op end
  end
  return list
end

local function line(op) return ("%s%s  %s"):format(op.name, arguments(op), op.doc) end

-- Where a function that is not an operation is described.
local function place(name)
  local f = source.original[core[name]] or core[name]
  local at = type(f) == "function" and debug.getinfo(f, "S")
  if not at then return name .. ": part of the library, see lua/flowmap/" end
  if at.what == "C" then return name .. ": a function of the core, see core/bind/" end
  return ("%s: see %s, line %d"):format(name, at.short_src, at.linedefined)
end

--- All names in `fm`, without the modules of this folder.
-- @treturn {string,...} sorted
local function names()
  local list = {}
  for name in pairs(core) do list[#list + 1] = name end
  table.sort(list)
  return list
end

--- Describe one operation, or list all.
-- @tparam ?string name of an operation; nil lists all
-- @treturn string
return function(name)
  local ops, known, lines, others = callable(), {}, {}, {}
  for _, op in ipairs(ops) do known[op.name] = op end
  if name then
    if known[name] then return line(known[name]) end
    if core[name] then return place(name) end
    errors.usage("help: no operation '%s' found%s", name, errors.near(name, names()))
  end
  for _, op in ipairs(ops) do lines[#lines + 1] = line(op) end
  for _, other in ipairs(names()) do
    if not known[other] then others[#others + 1] = other end
  end
  lines[#lines + 1] = "Other functions: " .. table.concat(others, ", ") .. "."
  lines[#lines + 1] = "The files in lua/flowmap/ are modules of fm, e.g. fm.losses or fm.nn."
  return table.concat(lines, "\n")
end
