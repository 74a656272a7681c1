--- Nested tables of tensors: parameters, gradients, optimiser state. A tree is a leaf (anything
-- that is no table) or a table of trees; leaves are visited in a fixed order.
-- @module flowmap.tree

local M = {}

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
  if type(tree) ~= "table" then return fn(tree, name or "") end
  local out = {}
  for _, k in ipairs(M.keys(tree)) do
    out[k] = M.map(fn, tree[k], name and name .. "." .. k or tostring(k))
  end
  return out
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
