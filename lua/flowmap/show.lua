--- Reading programs: `fm.show(f, x)` is the program that f becomes, as text. One line per value, in
-- the order of execution:
--
--     %2: f32[64,512] = matmul %0, %1 {ta=0, tb=1}
--
-- its number, element type and shape; the operation, its operands and its attributes. Attributes
-- that are all 0, or follow from the type, are left out.
-- @module flowmap.show

local core = require "flowmap.core"
local autodiff = require "flowmap.autodiff"
local errors = require "flowmap.base.errors"

local M = {}

--- A name of a pass, checked.
-- @tparam ?string name
-- @tparam string otherwise the one that nil stands for
-- @treturn string
function M.pass(name, otherwise)
  local known = {}
  for k, pass in ipairs(core.passes()) do known[k] = pass.name end
  return errors.choice("pass", name or otherwise, known)
end

-- A sentence behind a name, in lines of at most 80 columns.
local function entry(name, sentence)
  local lines, line = {}, ("%-10s"):format(name)
  for word in sentence:gmatch "%S+" do
    if #line + 1 + #word > 80 then
      lines[#lines + 1] = line
      line = (" "):rep(10)
    end
    line = line .. " " .. word
  end
  lines[#lines + 1] = line
  return table.concat(lines, "\n")
end

--- The passes of the compiler in their order, with a sentence each.
-- @treturn string
function M.passes()
  local list = {}
  for k, pass in ipairs(core.passes()) do
    local maps = pass.maps == "program -> program" and "" or (" (%s)"):format(pass.maps)
    list[k] = entry(pass.name, pass.doc .. maps)
  end
  return table.concat(list, "\n")
end

-- The switches of all passes but hoisting: what does not depend on the batch is all there is here.
local function whole()
  local switches = 0
  for _, pass in ipairs(core.passes()) do
    switches = pass.name == "hoist" and switches or switches | pass.switches
  end
  return switches
end

-- The arguments of f, and the options behind them: a table without any tensor, which is no argument
-- of f.
local function split(...)
  local args = table.pack(...)
  local last = args[args.n]
  if type(last) ~= "table" or not next(last) then return args, {} end
  for _, value in pairs(last) do
    if core.is_tensor(value) or type(value) == "table" then return args, {} end
  end
  args[args.n], args.n = nil, args.n - 1
  return args, errors.fields("show: the options (a last table without tensors)", last, { "after" })
end

-- Tensors as inputs of the trace; anything else as it is.
local function inputs(trace, x)
  if not core.is_tensor(x) and type(x) ~= "table" then return x end
  autodiff.leaves(x, "show: the argument")
  return autodiff.map(function(t) return trace:input("shared", t.shape, t.dtype) end, x)
end

--- The program of f(...), as text. Tensors among the arguments are inputs, those that f finds
-- elsewhere constants; derivatives inside f (`fm.grad(f)` is a function, too) are part of it.
-- @tparam function f returns tensors or nested tables of tensors
-- @param ... its arguments; last, perhaps, { after = name of a pass }: `./flowmap explain --passes`
-- lists them (default: "lower", the last before fusion and planning; nothing is hoisted)
-- @treturn string
function M.show(f, ...)
  autodiff.callable("show", f)
  local args, options = split(...)
  local pass = M.pass(options.after, "lower")
  local owner <close> = setmetatable({ trace = core.trace() },
    { __close = function(self) self.trace:close() end })
  local trace = owner.trace
  for k = 1, args.n do args[k] = inputs(trace, args[k]) end
  local results = table.pack(autodiff.within(trace, f, table.unpack(args, 1, args.n)))
  if results.n == 0 then errors.usage "show: the function returned nothing, expected a tensor" end
  for k = 1, results.n do
    for _, y in ipairs(autodiff.leaves(results[k], "show: the result")) do
      trace:output(y, "sum")
    end
  end
  return core.program_text({ trace }, { 1 }, { 0, 1 }, whole(), nil, pass)
end

core.show = M.show

return M
