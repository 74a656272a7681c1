--- The operations as `fm` has them, from the core's table (core/ops.def).
-- @module flowmap.app.operations

local core = require "flowmap.core"
local errors = require "flowmap.base.errors"

local M = {}

local WORDS = { t = "tensor", T = "{tensor, ...}", s = "{size, ...}", p = "{axis, ...}",
  d = "dtype" }

--- The arguments of an operation: from "tt|b" to "(tensor, tensor [, ta])". Numbers, integers and
-- booleans have the names of the attributes that they fill.
-- @tparam table op an entry of fm.ops()
-- @treturn string
function M.arguments(op)
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
    if not word then
      errors.usage("the operation %s: its argument '%s' has no name in attrs, see core/op.h",
        op.name, letter)
    end
    words[#words + 1] = word
  end
  if not optional then return "(" .. table.concat(words, ", ") .. ")" end
  local needed = optional - 1
  return ("(%s [, %s])"):format(table.concat(words, ", ", 1, needed),
    table.concat(words, ", ", needed + 1))
end

--- The operations that can be called: those with arguments.
-- @treturn {table,...} entries of fm.ops(), in its order
function M.callable()
  local list = {}
  for _, op in ipairs(core.ops()) do
    if core[op.name] and op.args ~= "" then list[#list + 1] = op end
  end
  return list
end

return M
