--- Nested tables of tensors: parameters, gradients, optimiser state. A tree is a leaf (anything
-- that is no table) or a table of trees; leaves are visited in a fixed order.
-- @module flowmap.tree

local errors = require "flowmap.base.errors"

local M = {}

local DEEPEST = 100 -- levels of tables; one that contains itself has infinitely many

--- Refuse a tree that is too deep.
-- @tparam integer depth of a table in it: 1, 2, ...
function M.check_depth(depth)
  if depth > DEEPEST then
    errors.usage("a table nested more than %d levels deep found, expected tensors and tables of "
      .. "them; does it contain itself?", DEEPEST)
  end
end

local function before(a, b)
  if type(a) == type(b) and type(a) ~= "boolean" then return a < b end
  if type(a) == "number" or type(b) == "number" then return type(a) == "number" end
  return tostring(a) < tostring(b)
end

--- Keys of a table in a fixed order: numbers first, then strings and truth values.
-- @tparam table t
-- @treturn {string|integer|boolean,...}
function M.keys(t)
  local keys = {}
  for k in pairs(t) do keys[#keys + 1] = k end
  table.sort(keys, before)
  return keys
end

--- The same tree with every leaf replaced.
-- @tparam function fn called with the leaf and its dotted name ("layers.1.w"; "" for a lone leaf)
-- @param tree
-- @tparam[opt] string name of the tree itself
-- @return the new tree
function M.map(fn, tree, name)
  local function walk(x, at, depth)
    if type(x) ~= "table" then return fn(x, at or "") end
    M.check_depth(depth)
    local out = {}
    for _, k in ipairs(M.keys(x)) do
      out[k] = walk(x[k], (at and at .. "." or "") .. tostring(k), depth + 1)
    end
    return out
  end
  return walk(tree, name, 1)
end

--- Visit every leaf.
-- @tparam function fn called with the leaf and its dotted name
-- @param tree
function M.each(fn, tree)
  M.map(function(leaf, name) fn(leaf, name) end, tree)
end

--- Number of values in all tensors of a tree.
-- @param tree
-- @treturn integer
function M.count(tree)
  local n = 0
  M.each(function(tensor)
    local size = 1
    for _, d in ipairs(tensor.shape) do size = size * d end
    n = n + size
  end, tree)
  return n
end

return M
