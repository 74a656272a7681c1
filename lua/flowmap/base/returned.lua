--- Checks of the values that a user's functions return. If a loss, network, data set, law of times,
-- interpolant or metric returns an unexpected value, the error names it with the shape found and
-- the shape expected. The checks run while the program is traced, before the first step, and cost
-- nothing in the steps themselves.
-- @module flowmap.base.returned

local errors = require "flowmap.base.errors"
local core = require "flowmap.core"

local M = {}

local function shape_text(shape) return ("(%s)"):format(table.concat(shape, ", ")) end

--- Describe a value: "a tensor (8, 2) of float32", "nothing", "a number".
-- @param value
-- @treturn string
function M.describe(value)
  if value == nil then return "nothing" end
  if core.is_tensor(value) then
    return ("a tensor %s of %s"):format(shape_text(value.shape), value.dtype)
  end
  return "a " .. type(value)
end

local function same(a, b)
  if #a ~= #b then return false end
  for i, n in ipairs(a) do
    if n ~= b[i] then return false end
  end
  return true
end

--- The value that a function returned, if it is the only one: Lua would drop others without a word.
-- @tparam string who the function that returned it, e.g. "the loss 'mine'"
-- @param value
-- @param ... what it returned beside it, expected to be nothing
-- @return the value
function M.one(who, value, ...)
  if select("#", ...) > 0 and select(select("#", ...), ...) ~= nil then
    errors.usage("%s returned %d values, expected one", who, 1 + select("#", ...))
  end
  return value
end

--- Check that a value is a tensor of a given shape and type.
-- @param value what a function returned
-- @tparam string who the function that returned it, e.g. "the loss 'mine'"
-- @tparam {integer,...} shape expected
-- @tparam ?string dtype expected; nil accepts any
-- @tparam[opt] string why this shape is expected, e.g. "one value per sample"
-- @return the value
function M.tensor(value, who, shape, dtype, why)
  if core.is_tensor(value) and same(value.shape, shape) and (value.dtype == dtype or not dtype) then
    return value
  end
  return errors.usage("%s returned %s, expected a tensor %s%s%s", who, M.describe(value),
    shape_text(shape), dtype and " of " .. dtype or "", why and ": " .. why or "")
end

--- Check that a value is a table with functions under the given names.
-- @param value
-- @tparam string who see `tensor`
-- @tparam {string,...} needed names of functions
-- @tparam[opt] {string,...} optional names that may be absent
-- @treturn table
function M.functions(value, who, needed, optional)
  if type(value) ~= "table" then
    errors.usage("%s returned %s, expected a table with the functions %s", who, M.describe(value),
      table.concat(needed, ", "))
  end
  for _, list in ipairs { needed, optional or {} } do
    for _, name in ipairs(list) do
      local found = value[name]
      if type(found) ~= "function" and (found ~= nil or list == needed) then
        errors.usage("%s: %s is %s, expected a function", who, name, M.describe(found))
      end
    end
  end
  return value
end

--- Check that a value is a finite number or a tensor with a single finite value.
-- @param value
-- @tparam string who see `tensor`
-- @treturn number
function M.number(value, who)
  if core.is_tensor(value) and #value.shape == 0 and not value.traced then value = value:item() end
  if type(value) ~= "number" then
    errors.usage("%s returned %s, expected a number", who, M.describe(value))
  elseif value - value ~= 0 then
    errors.numeric("%s returned %s, expected a finite number", who, tostring(value))
  end
  return (value > 2^53 or value < -2^53) and value + 0.0 or value -- records hold no such integers
end

--- Check the parameters of a network: a nested table with at least one tensor, each of them once.
-- @param tree
-- @tparam string who see `tensor`
-- @tparam string dtype of every tensor
-- @return the tree
function M.parameters(tree, who, dtype)
  local count, names = 0, {}
  local function visit(value, name)
    if type(value) == "table" then
      for key, inner in pairs(value) do
        visit(inner, name == "" and tostring(key) or name .. "." .. tostring(key))
      end
    elseif not core.is_tensor(value) or value.dtype ~= dtype then
      errors.usage("%s returned %s%s, expected tensors of %s, as rng(shape, kind) draws them", who,
        M.describe(value), name ~= "" and " as " .. name or "", dtype)
    elseif names[value] then
      local first, second = names[value], name
      if second < first then first, second = second, first end
      errors.usage("%s returned one tensor as %s and as %s, expected it once: weights that are "
        .. "shared are one entry, which v reads twice", who, first, second)
    else
      count, names[value] = count + 1, name
    end
  end
  visit(tree, "")
  if count == 0 then errors.usage("%s returned no tensor: a network needs parameters", who) end
  return tree
end

return M
