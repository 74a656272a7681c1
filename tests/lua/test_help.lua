-- fm.help: any value gives a description or a sentence; what it says comes from the sources.

local t = require "harness"
local core = require "flowmap.core"
local core_functions = require "flowmap.app.core_functions"
local fm = require "flowmap"

local function says(words, ...)
  local text = fm.help(...)
  t.eq(text:find(words, 1, true) ~= nil, true, text)
end

t.test("functions are described by their comments: first sentence and parameters", function()
  says("jvp(f, x, dx)  Forward mode: f(x) and its derivative along dx.\n  f (function): of one",
    "jvp")
  says("grad(f)  The gradient of a function, which is itself a function.\n  f (function): r",
    "grad")
  says("sum(x, axis, keepdims)  Sum over axes (1-based, negative from the end; all when absent)."
    .. "\n  x (tensor)\n  axis (integer or table, optional)\n  keepdims (boolean, optional): "
    .. "leave the reduced axes as size 1\n", "sum")
  says("mean(x, axis, keepdims)  Mean over axes", "mean")
  says("zeros(shape, dtype)  A tensor of zeros", "zeros")
  says("losses.norm2(r)  |r|^2", "losses.norm2")
end)

t.test("a module that is called like a function is described as that function", function()
  local text = fm.help "points"
  t.eq(text:find("points(x, options)", 1, true), 1, text)
  t.eq(text:find('standardise = "columns", "all" or "none"', 1, true) ~= nil, true, text)
end)

t.test("modules are named", function()
  says("losses  module: ", "losses")
  says("losses/init.lua", "losses")
  says("stats  module: ", "stats")
end)

t.test("a function or module may be given itself", function()
  for _, name in ipairs { "sum", "exp", "tensor", "grad", "load_npy" } do
    t.eq(fm.help(fm[name]), fm.help(name))
  end
  t.eq(fm.help(fm.losses), fm.help "losses")
  t.eq(rawequal(fm.losses.norm2, fm.residuals.norm2), true) -- of two names, the first in order
  t.eq(fm.help(fm.losses.norm2), fm.help "losses.norm2")
  t.eq(fm.help(fm.help), fm.help "help")
end)

t.test("every other value gives a sentence", function()
  local odd = setmetatable({}, { __index = function() error "asked" end,
    __eq = function() error "compared" end })
  for _, value in ipairs { 3, true, {}, print, fm.ones { 2 }, odd, coroutine.create(print),
    io.stdout, "no such", "", "a.b", "losses.", "%", ("x"):rep(1000) } do
    local ok, err = pcall(fm.help, value)
    t.eq(ok, false, tostring(ok and err))
    t.eq(type(err), "table", tostring(err))
    t.eq(tostring(err):find "help: a %S+ without a name in fm found, expected" ~= nil
      or tostring(err):find "help: no operation, function or module '" ~= nil, true, tostring(err))
  end
  t.raises(function() fm.help(false) end, "help: a boolean without a name in fm found")
  t.raises(function() fm.help "meen" end, "did you mean mean")
end)

t.test("the list separates what is for users from what is internal", function()
  local list = fm.help()
  local public = list:match "\nFunctions: ([^\n]*)%."
  local internal = list:match "\nInternal, subject to change: ([^\n]*)%."
  for name in public:gmatch "[%w_]+" do
    t.eq(fm.help(name):find("internal", 1, true), nil, name)
  end
  for name in internal:gmatch "[%w_]+" do
    t.eq(fm.help(name):lower():find("internal", 1, true) ~= nil, true, name)
  end
  for _, name in ipairs { "pack_blank", "sha256", "exe" } do
    t.eq((" " .. internal .. ","):find(" " .. name .. ",", 1, true) ~= nil, true, name)
  end
  for name in pairs(core_functions.public) do t.eq(type(core[name]), "function", name) end
  for name in pairs(core_functions.internal) do t.eq(core[name] ~= nil, true, name) end
end)

t.test("an argument without a name is told with its operation", function()
  local nameless = { name = "softplus", args = "tn", integers = {}, numbers = {} }
  t.raises(function() require("flowmap.app.operations").arguments(nameless) end,
    "the operation softplus: its argument 'n' has no name in attrs, see core/op.h")
end)

t.done()
