--- What a function of the user's returned: the one place where it is checked. A loss, a network, a
-- data set, a law of times, an interpolant or a metric that returns something else than it should
-- is named in a sentence with the shape found and the shape expected, where the program is traced:
-- before the first step, and at no cost in any step.
-- @module flowmap.base.returned

local errors = require "flowmap.base.errors"
local core = require "flowmap.core"

local M = {}

local function shape_text(shape) return ("(%s)"):format(table.concat(shape, ", ")) end

--- A value in words: "a tensor (8, 2) of float32", "nothing", "a number".
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

--- A tensor of one shape and type.
-- @param value what a function returned
-- @tparam string who returned it, e.g. "the loss 'mine'"
-- @tparam {integer,...} shape expected
-- @tparam ?string dtype expected; nil: any
-- @tparam[opt] string why the shape is expected, e.g. "one value per sample"
-- @return the value
function M.tensor(value, who, shape, dtype, why)
  if core.is_tensor(value) and same(value.shape, shape) and (value.dtype == dtype or not dtype) then
    return value
  end
  return errors.usage("%s returned %s, expected a tensor %s%s%s", who, M.describe(value),
    shape_text(shape), dtype and " of " .. dtype or "", why and ": " .. why or "")
end

--- A table with functions under these names.
-- @param value
-- @tparam string who
-- @tparam {string,...} needed names of functions
-- @tparam[opt] {string,...} optional names that hold a function or nothing
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

--- A finite number, also as a tensor of one value.
-- @param value
-- @tparam string who
-- @treturn number
function M.number(value, who)
  if core.is_tensor(value) and #value.shape == 0 and not value.traced then value = value:item() end
  if type(value) ~= "number" then
    errors.usage("%s returned %s, expected a number", who, M.describe(value))
  elseif value - value ~= 0 then
    errors.numeric("%s returned %s, expected a finite number", who, tostring(value))
  end
  return (value > 2^53 or value < -2^53) and value + 0.0 or value -- as records can hold it
end

--- The parameters of a network: a nested table of tensors, at least one.
-- @param tree
-- @tparam string who
-- @tparam string dtype of every tensor
-- @return the tree
function M.parameters(tree, who, dtype)
  local count = 0
  local function visit(value, name)
    if type(value) == "table" then
      for key, inner in pairs(value) do
        visit(inner, name == "" and tostring(key) or name .. "." .. tostring(key))
      end
    elseif not core.is_tensor(value) or value.dtype ~= dtype then
      errors.usage("%s returned %s%s, expected tensors of %s, as rng(shape, kind) draws them", who,
        M.describe(value), name ~= "" and " as " .. name or "", dtype)
    else
      count = count + 1
    end
  end
  visit(tree, "")
  if count == 0 then errors.usage("%s returned no tensor: a network needs parameters", who) end
  return tree
end

return M
