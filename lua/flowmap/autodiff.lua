--- Derivatives of Lua functions of tensors: `fm.jvp`, `fm.grad`, `fm.value_and_grad`.
-- Each traces the function, lets the core transform the trace, and emits into the trace that is
-- already open (so they nest to any depth) or, at top level, runs the result once.
-- Arguments and results may be tensors or nested tables of tensors.
-- @module flowmap.autodiff

local core = require "flowmap.core"
require "flowmap.tensor"
local counted = require "flowmap.base.counted".counted
local errors = require "flowmap.base.errors"
local returned = require "flowmap.base.returned"
local tree = require "flowmap.tree"

local M = {}

local current -- the open trace, if any

local restore = { __close = function(it) current = it.outer end }

--- Run f with `trace` as the open one; restores the former whatever happens. An error is not
-- caught on its way, so that its traceback shows the user's functions.
function M.within(trace, f, ...)
  local _ <close> = setmetatable({ outer = current }, restore)
  current = trace
  return f(...)
end

--- The open trace, or nil.
function M.trace() return current end

local is_tensor = core.is_tensor

--- The same structure with f applied to every leaf, in the fixed order of the keys.
local function map(f, x, depth)
  if type(x) ~= "table" then return f(x) end
  depth = depth or 1
  tree.check_depth(depth)
  local out = {}
  for _, k in ipairs(tree.keys(x)) do out[k] = map(f, x[k], depth + 1) end
  return out
end

-- "" or " at 'layers.1.w'": where in a tree.
local function at(name) return name == "" and "" or (" at '%s'"):format(name) end

--- The tensors of a tree in the fixed order of its keys.
-- @param x a tensor or nested table of tensors
-- @tparam ?string who begins the sentence about anything else
-- @treturn {tensor,...}
local function leaves(x, who)
  local list = {}
  tree.each(function(t, name)
    if not is_tensor(t) then
      errors.usage("%s: a %s found%s, expected tensors and tables of them", who or "derivatives",
        type(t), at(name))
    end
    list[#list + 1] = t
  end, x)
  return list
end

local function names(x)
  local list = {}
  for k, key in ipairs(tree.keys(x)) do list[k] = tostring(key) end
  return #list > 0 and table.concat(list, ", ") or "none"
end

--- The leaves of `found` in the order of those of `like`: the two are paired by their keys.
-- @param like a tree
-- @param found a tree with the same keys
-- @tparam string who for the sentence: the function and the argument
-- @treturn {tensor,...}
local function paired(like, found, who)
  if rawequal(like, found) then return leaves(like) end
  local list = {}
  local function walk(x, y, name)
    if type(x) ~= "table" then
      if not is_tensor(y) then
        errors.usage("%s: a %s found%s, expected a tensor", who, type(y), at(name))
      end
      list[#list + 1] = y
      return
    end
    if type(y) ~= "table" then
      errors.usage("%s: a %s found%s, expected a table with the keys %s", who,
        is_tensor(y) and "tensor" or type(y), at(name), names(x))
    end
    for k in pairs(y) do
      if x[k] == nil then
        errors.usage("%s: the key '%s' found%s, expected the keys %s", who, tostring(k), at(name),
          names(x))
      end
    end
    for _, k in ipairs(tree.keys(x)) do
      local inner = (name == "" and "" or name .. ".") .. tostring(k)
      if y[k] == nil then
        errors.usage("%s: nothing found%s, expected the keys %s", who, at(inner), names(x))
      end
      walk(x[k], y[k], inner)
    end
  end
  walk(like, found, "")
  return list
end
M.map, M.leaves, M.paired = map, leaves, paired

--- Fresh names for the leaves of x inside the trace: only what f does with its argument is
-- differentiated, not how the argument was made.
local function rename(trace, x)
  leaves(x)
  return map(function(t) return core.copy(t.traced and t or trace:const(t)) end, x)
end

local function lifted(trace, list)
  for k, t in ipairs(list) do list[k] = t.traced and t or trace:const(t) end
  return list
end

--- Rebuild the structure of `like` from a list of leaves; absent (false) ones become zeros.
local function rebuild(trace, like, list)
  local k = 0
  return map(function(t)
    k = k + 1
    return list[k] or trace:full(t.shape, 0, t.dtype)
  end, like)
end

--- Do `body(trace)` in the open trace; or in a new one, and run it.
local function traced(body)
  if current then return body(current) end
  local close = { __close = function(self) self.t:close() end }
  local trace <close> = setmetatable({ t = core.trace() }, close)
  local results = table.pack(M.within(trace.t, body, trace.t))
  local n = 0
  for k = 1, results.n do
    results[k] = map(function(v)
      trace.t:output(v, "sum")
      n = n + 1
      return n
    end, results[k])
  end
  local exe = core.exe({ trace.t }, { 1 }, { 0, 1 })
  local out = exe:run({}, 0, 0)
  exe:close()
  for k = 1, results.n do
    results[k] = map(function(i) return out[i] end, results[k])
  end
  return table.unpack(results, 1, results.n)
end

--- Check that a value can be called as a function of tensors.
-- @tparam string who start of the error sentence
-- @param f
local function callable(who, f)
  if type(f) == "function" or type(f) == "table" and getmetatable(f) then return end
  errors.usage("%s: argument 1 is a %s, expected a function of tensors", who, type(f))
end
M.callable = callable

--- Forward mode: f(x) and its derivative along dx.
-- @tparam function f of one argument, a tensor or nested table of tensors
-- @param x where
-- @param dx along what; the same structure as x
-- @return f(x), and J_f(x) dx in the same structure
function M.jvp(f, x, dx)
  callable("jvp", f)
  return traced(function(trace)
    local xs = rename(trace, x)
    local y = returned.one("jvp: the function", f(xs))
    local ys = lifted(trace, leaves(y))
    local dy = trace:jvp(leaves(xs), lifted(trace, paired(x, dx, "jvp: the direction")), ys)
    return y, rebuild(trace, y, dy)
  end)
end

--- Reverse mode: f(x) and the gradient of it.
-- @tparam function f returns a scalar; further arguments of the result are passed on to it and are
-- not differentiated
-- @treturn function (x, ...) -> f(x, ...), gradient in the structure of x
function M.value_and_grad(f)
  callable("grad", f)
  return function(x, ...)
    local rest = table.pack(...)
    return traced(function(trace)
      local xs = rename(trace, x)
      local y = returned.one("grad: the function", f(xs, table.unpack(rest, 1, rest.n)))
      if not is_tensor(y) or #y.shape > 0 then
        errors.usage("grad: the function returned a %s, expected a scalar tensor",
          is_tensor(y) and "tensor of rank " .. #y.shape or type(y))
      end
      y = y.traced and y or trace:const(y)
      local one = trace:full({}, 1, y.dtype)
      local g = trace:vjp({ y }, { one }, leaves(xs))
      return y, rebuild(trace, xs, g)
    end)
  end
end

--- The gradient of a function, which is itself a function.
-- @tparam function f returns a scalar; further arguments of the result are passed on to it and are
-- not differentiated
-- @treturn function (x, ...) -> gradient in the structure of x
function M.grad(f)
  local both = M.value_and_grad(f)
  return function(...)
    local _, g = both(...)
    return g
  end
end

--- Reverse mode for any result: f(x) and J_f(x)' u.
-- @tparam function f of one argument, a tensor or nested table of tensors
-- @param x where
-- @param u the cotangent; the structure of f(x)
-- @return f(x), and J_f(x)' u in the structure of x
function M.vjp(f, x, u)
  callable("vjp", f)
  return traced(function(trace)
    local xs = rename(trace, x)
    local y = returned.one("vjp: the function", f(xs))
    local us = lifted(trace, paired(y, u, "vjp: the cotangent"))
    return y, rebuild(trace, xs, trace:vjp(lifted(trace, leaves(y)), us, leaves(xs)))
  end)
end

for _, name in ipairs { "jvp", "vjp", "grad", "value_and_grad" } do
  M[name] = counted(name, M[name])
  core[name] = M[name]
end

return M
