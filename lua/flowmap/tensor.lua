--- Composite tensor functions: what reads better as Lua than as one more operation of the core.
-- They work on eager and traced tensors alike, and are added to the core's table, so that each is
-- also a method: `x:sum(-1)`, `x:mean()`.
-- @module flowmap.tensor

local core = require "flowmap.core"
local counted = require "flowmap.base.counted".counted
local errors = require "flowmap.base.errors"

local M = {}

local unpack = table.unpack

-- The number of an axis, counted from the start.
local function axis_of(name, rank, axis)
  local k = type(axis) == "number" and math.tointeger(axis)
  k = k and k < 0 and rank + 1 + k or k
  if not k or k < 1 or k > rank then
    errors.usage("%s: axis %s found, expected 1 to %d or -1 to -%d", name, tostring(axis), rank,
      rank)
  end
  return k
end

local function expect(ok, name, x, wanted)
  if not ok then errors.usage("%s: a %s found, expected %s", name, type(x), wanted) end
end

--- The axes to reduce, as a set of 1-based numbers; all when `axis` is absent.
local function axes_of(name, x, axis)
  local rank, set = #x.shape, {}
  if axis == nil then
    for k = 1, rank do set[k] = true end
    return set
  end
  local list = type(axis) == "table" and axis or { axis }
  for key in pairs(list) do
    if math.type(key) ~= "integer" or key < 1 or key > #list then
      errors.usage("%s: the axes have the key '%s', expected a list of axes", name, tostring(key))
    end
  end
  for i = 1, #list do
    local k = axis_of(name, rank, list[i])
    if set[k] then errors.usage("%s: axis %d is listed twice", name, k) end
    set[k] = true
  end
  return set
end

local function reducer(name, op)
  return function(x, axis, keepdims)
    expect(core.is_tensor(x), name, x, "a tensor")
    if keepdims ~= nil and type(keepdims) ~= "boolean" then
      errors.usage("%s: keepdims is a %s, expected true or false", name, type(keepdims))
    end
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

--- Largest value over axes (1-based, negative from the end; all when absent).
-- @tparam tensor x
-- @tparam[opt] integer|table axis
-- @tparam[opt=false] boolean keepdims leave the reduced axes as size 1
-- @treturn tensor
local largest = reducer("max_reduce", core.max_to)
function M.max_reduce(x, axis, keepdims) return (largest(x, axis, keepdims)) end

--- Mean over axes (1-based, negative from the end; all when absent). No values have no mean.
-- @tparam tensor x
-- @tparam[opt] integer|table axis
-- @tparam[opt=false] boolean keepdims leave the reduced axes as size 1
-- @treturn tensor
local whole = reducer("mean", core.sum_to)
function M.mean(x, axis, keepdims)
  local y, count = whole(x, axis, keepdims)
  if count == 0 then
    errors.usage("mean: the shape (%s) has no values along the axes, expected one or more",
      table.concat(x.shape, ", "))
  end
  return y / count
end

local broadcast = core.broadcast

--- x repeated to a shape of the same or a larger rank (sizes of 1 grow).
function M.broadcast(x, shape)
  expect(core.is_tensor(x), "broadcast", x, "a tensor")
  expect(type(shape) == "table", "broadcast", shape, "a shape such as {2, 3}")
  local lead = #shape - #x.shape
  if lead > 0 then
    local s = {}
    for k = 1, #shape do s[k] = k <= lead and 1 or x.shape[k - lead] end
    x = core.reshape(x, s)
  end
  return broadcast(x, shape)
end

--- A tensor of zeros: `fm.zeros({2, 3})`.
function M.zeros(shape, dtype) return core.full(shape, 0, dtype) end

--- A tensor of ones: `fm.ones({2}, "float64")`.
function M.ones(shape, dtype) return core.full(shape, 1, dtype) end

local conv, conv_x, conv_w = core.conv, core.conv_x, core.conv_w

-- Padding that leaves the size as it is, where none is given.
local function same(name, k, pad)
  if pad == nil and k % 2 == 0 then
    errors.usage("%s: an even kernel size %d and no padding found, expected a padding", name, k)
  end
  return pad or (k - 1) // 2
end

-- The sizes of a tensor that must be of rank 4; anything else is left to the operation's own words.
local function four(name, x)
  expect(core.is_tensor(x), name, x, "a tensor")
  local s = x.shape
  return #s == 4 and s or { 1, 1, 1, 1 }
end

--- Convolution of x: (N, H, W, I) with kernels w: (O, kh, kw, I), zeros around: (N, H', W', O).
-- @tparam tensor x
-- @tparam tensor w
-- @tparam[opt=1] integer stride
-- @tparam[opt] integer ph padding above and below; (kh - 1) / 2 if not given: the same size
-- @tparam[opt] integer pw padding left and right; (kw - 1) / 2
-- @treturn tensor
function M.conv(x, w, stride, ph, pw)
  local k = four("conv", w)
  return conv(x, w, stride or 1, same("conv", k[2], ph), same("conv", k[3], pw))
end

--- Adjoint of conv in x, the transposed convolution: dy (N, H', W', O), w -> (N, H, W, I).
-- H and W, the size of x, are H' stride and W' stride if not given.
function M.conv_x(dy, w, stride, ph, pw, H, W)
  local s, k = four("conv_x", dy), four("conv_x", w)
  stride = stride or 1
  return conv_x(dy, w, stride, same("conv_x", k[2], ph), same("conv_x", k[3], pw),
    H or s[2] * stride, W or s[3] * stride)
end

--- Adjoint of conv in w: x (N, H, W, I), dy (N, H', W', O) -> (O, kh, kw, I); 3 x 3 if not given.
function M.conv_w(x, dy, stride, ph, pw, kh, kw)
  kh, kw = kh or 3, kw or kh or 3
  return conv_w(x, dy, stride or 1, same("conv_w", kh, ph), same("conv_w", kw, pw), kh, kw)
end

local concat = core.concat

--- Tensors one after the other along an axis (1-based, negative from the end).
function M.concat(list, axis)
  local only = type(list) == "table" and #list == 1 and list[1]
  if not (core.is_tensor(only) and only.traced) then return concat(list, axis) end
  axis_of("concat", #only.shape, axis)
  return only -- values of a trace never change: no operation is needed
end

--- Rows [first, first + count) of the first axis.
function M.rows(x, first, count) return core.slice(x, 1, first, count) end

--- Split along an axis (1-based, negative from the end; the first when absent) into parts of the
-- given sizes, whose sum is the size of the axis.
function M.split(x, sizes, axis)
  expect(core.is_tensor(x), "split", x, "a tensor")
  expect(type(sizes) == "table", "split", sizes, "a list of sizes")
  local parts, at = {}, 1
  axis = axis_of("split", #x.shape, axis or 1)
  for k = 1, #sizes do
    parts[k] = core.slice(x, axis, at, sizes[k])
    at = at + sizes[k]
  end
  if at - 1 ~= x.shape[axis] then
    errors.usage("split: the sizes have the sum %d, but axis %d has %d entries", at - 1, axis,
      x.shape[axis])
  end
  return unpack(parts)
end

for name, f in pairs(M) do
  M[name] = counted(name, f)
  core[name] = M[name]
end

return M
