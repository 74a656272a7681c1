--- Help on the library: `fm.help()` lists the operations, `fm.help "conv"` describes one. The text
-- comes from the core's table of operations (core/ops.def), so a new operation is listed
-- automatically.
-- @module flowmap.app.help

local core = require "flowmap.core"
local core_functions = require "flowmap.app.core_functions"
local described = require "flowmap.app.described"
local errors = require "flowmap.base.errors"
local modules = require "flowmap.base.modules"
local operations = require "flowmap.app.operations"

local callable = operations.callable

local function line(op)
  return ("%s%s  %s"):format(op.name, operations.arguments(op), op.doc)
end

--- All names in `fm`, without the modules of this folder.
-- @treturn {string,...} sorted
local function names()
  local list = {}
  for name in pairs(core) do list[#list + 1] = name end
  table.sort(list)
  return list
end

-- The name of a function or module in `fm`, e.g. "sum", "losses" or "losses.norm2"; nil if none.
local function name_of(value)
  for _, name in ipairs(names()) do
    if rawequal(core[name], value) then return name end
  end
  local found = {} -- one value may have several names
  for module, it in pairs(package.loaded) do
    local short = module:find "^flowmap%." and modules.short(module)
    if short and rawequal(it, value) then found[#found + 1] = short end
    for key, field in pairs(short and type(it) == "table" and it or {}) do
      if rawequal(field, value) and type(key) == "string" then
        found[#found + 1] = short .. "." .. key
      end
    end
  end
  table.sort(found)
  return found[1]
end

-- The function that a module is or, called like one, stands for: fm.points(x) is points.new(x).
local function function_of(module)
  local it = require(module)
  if type(it) == "function" then return it end
  local meta = type(it) == "table" and getmetatable(it)
  return meta and meta.__call and it.new
end

-- The description of a name that is not an operation; nil for an unknown one.
local function other(name)
  local value = core[name]
  if value then
    local inside = core_functions.internal[name]
    return type(value) == "function" and described.of_function(name, value)
      or inside and ("%s%s  %s Internal, for the modules in lua/flowmap/."):format(name, inside[1],
        inside[2])
      or name .. ": internal, for the modules in lua/flowmap/"
  end
  local module, path = modules.find(name)
  if module then
    local f = function_of(module)
    return f and described.of_function(name, f) or described.of_module(name, path)
  end
  local inside, key = name:match "^(.+)%.([^.]+)$"
  module = inside and modules.find(inside)
  local it = module and require(module)
  local f = type(it) == "table" and it[key]
  if type(f) ~= "function" then return nil end
  return described.of_function(name, f) or name .. ": a function of the module " .. inside
end

-- The names of operations and of functions for users, those of these functions, and all others.
local function public_names()
  local public, functions, internal, is_op = {}, {}, {}, {}
  for _, op in ipairs(callable()) do is_op[op.name] = true end
  for _, name in ipairs(names()) do
    local f = core[name]
    local described_one = type(f) == "function" and described.of_function(name, f)
    local list = is_op[name] and public or described_one and functions or internal
    list[#list + 1] = name
  end
  return table.move(functions, 1, #functions, #public + 1, public), functions, internal
end

local function describe(asked)
  local name = asked
  if type(asked) ~= "string" then
    name = name_of(asked)
    if not name then
      errors.usage("help: a %s without a name in fm found, expected the name of an operation, "
        .. "function or module, such as \"conv\" or \"losses\"",
        core.is_tensor(asked) and "tensor" or type(asked))
    end
  end
  for _, op in ipairs(callable()) do
    if op.name == name then return described.of_core(name, operations.arguments(op), op.doc) end
  end
  return other(name)
    or errors.usage("help: no operation, function or module '%s' found%s", name,
      errors.near(name, (public_names())))
end

local function list_all()
  local _, functions, internal = public_names()
  local lines = {}
  for k, op in ipairs(callable()) do lines[k] = line(op) end
  return table.concat({ table.concat(lines, "\n"),
    "Axes and offsets count from 1, and axes from the end if negative; program text (fm.show) "
      .. "counts both from 0.",
    "Functions: " .. table.concat(functions, ", ") .. ".",
    "The files in lua/flowmap/ are modules of fm, e.g. fm.losses or fm.nn.",
    'fm.help "NAME" describes an operation, a function, or a module.',
    "Internal, subject to change: " .. table.concat(internal, ", ") .. "." }, "\n")
end

--- Describe one operation, function or module, or list all.
-- @param asked its name or itself; nil lists all
-- @treturn string
return function(asked)
  if asked == nil then return list_all() end
  return describe(asked)
end
