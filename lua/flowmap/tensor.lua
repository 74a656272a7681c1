--- Composite tensor functions: what reads better as Lua than as one more operation of the core.
-- They work on eager and traced tensors alike, and are added to the core's table, so that each is
-- also a method: `x:sum(-1)`, `x:mean()`.
-- @module flowmap.tensor

local core = require "flowmap.core"
local errors = require "flowmap.errors"

local M = {}

local unpack = table.unpack

--- The axes to reduce, as a set of 1-based numbers; all when `axis` is absent.
local function axes_of(name, x, axis)
  local rank, set = #x.shape, {}
  if axis == nil then
    for k = 1, rank do set[k] = true end
    return set
  end
  for _, a in ipairs(type(axis) == "table" and axis or { axis }) do
    local k = math.tointeger(a)
    k = k and k < 0 and rank + 1 + k or k
    if not k or k < 1 or k > rank then
      errors.usage("%s: axis %s found, expected 1 to %d or -1 to -%d", name, a, rank, rank)
    end
    set[k] = true
  end
  return set
end

local function reducer(name, op)
  return function(x, axis, keepdims)
    local set, ones, kept, count = axes_of(name, x, axis), {}, {}, 1
    for k, n in ipairs(x.shape) do
      ones[k] = set[k] and 1 or n
      if set[k] then count = count * n else kept[#kept + 1] = n end
    end
    local y = op(x, ones)
    if not keepdims then y = core.reshape(y, kept) end
    return y, count
  end
end

--- Sum over axes (1-based, negative from the end; all when absent).
-- @tparam tensor x
-- @tparam[opt] integer|table axis
-- @tparam[opt=false] boolean keepdims leave the reduced axes as size 1
-- @treturn tensor
local total = reducer("sum", core.sum_to)
function M.sum(x, axis, keepdims) return (total(x, axis, keepdims)) end

--- Largest value over axes.
local largest = reducer("max_reduce", core.max_to)
function M.max_reduce(x, axis, keepdims) return (largest(x, axis, keepdims)) end

--- Mean over axes.
function M.mean(x, axis, keepdims)
  local y, count = total(x, axis, keepdims)
  return y / count
end

local broadcast = core.broadcast

--- x repeated to a shape of the same or a larger rank (sizes of 1 grow).
function M.broadcast(x, shape)
  local lead = #shape - #x.shape
  if lead > 0 then
    local s = {}
    for k = 1, #shape do s[k] = k <= lead and 1 or x.shape[k - lead] end
    x = core.reshape(x, s)
  end
  return broadcast(x, shape)
end

--- Zeros, ones: `fm.zeros({2, 3})`, `fm.ones({2}, "float64")`.
function M.zeros(shape, dtype) return core.full(shape, 0, dtype) end
function M.ones(shape, dtype) return core.full(shape, 1, dtype) end

local matmul = core.matmul

--- Matrix product; with a transposed where `ta`, b where `tb`.
function M.matmul(a, b, ta, tb) return matmul(a, b, ta or false, tb or false) end

local concat = core.concat

--- Tensors one after the other along an axis (1-based, negative from the end).
function M.concat(list, axis)
  if #list == 1 then return list[1] end
  return concat(list, axis)
end

--- Rows [first, first + count) of the first axis.
function M.rows(x, first, count) return core.slice(x, 1, first, count) end

--- Split along an axis into parts of the given sizes.
function M.split(x, sizes, axis)
  local parts, at = {}, 1
  for k, n in ipairs(sizes) do
    parts[k] = core.slice(x, axis or 1, at, n)
    at = at + n
  end
  return unpack(parts)
end

for name, f in pairs(M) do core[name] = f end

return M
