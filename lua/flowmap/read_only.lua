--- Tensors that are read-only for a while: those that a function of the user is given, so that a
-- metric that changes its samples in place cannot change what is measured and written after it.
-- Views of such a tensor are read-only as well.
-- @module flowmap.read_only

local core = require "flowmap.core"
local counted = require "flowmap.base.counted".counted
local errors = require "flowmap.base.errors"
local tree = require "flowmap.tree"

local M = {}

local held = setmetatable({}, { __mode = "k" }) -- tensor -> what it is, in words

--- Raise a sentence if a tensor is read-only.
-- @tparam string who wants to write
-- @param x
function M.check(who, x)
  local words = x ~= nil and held[x]
  if words then
    errors.usage("%s: the tensor is %s, which is read-only; expected a tensor of your own, such as "
      .. "fm.copy(x)", who, words)
  end
end

--- Make the tensors of a tree read-only until what it returns is closed.
-- @tparam string words what they are
-- @param tensors a tree
-- @treturn table to be closed
function M.hold(words, tensors)
  local before = {}
  tree.each(function(x)
    if not core.is_tensor(x) then return end
    before[x] = held[x] or false
    held[x] = words
  end, tensors)
  return setmetatable({}, { __close = function()
    for x, was in pairs(before) do held[x] = was or nil end
  end })
end

local copy_from, view = core.copy_from, core.view

core.copy_from = counted("copy_from", function(x, other)
  M.check("copy_from", x)
  local done = copy_from(x, other) -- no tail call: sentences name the function
  return done
end)

core.view = counted("view", function(x, first, count)
  local rows = view(x, first, count)
  held[rows] = held[x]
  return rows
end)

return M
