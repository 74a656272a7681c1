-- Every function of the suite has a comment, and every operation an example. Both are read from the
-- sources, so a new part is found without being listed.

local t = require "harness"
local core = require "flowmap.core"
local core_functions = require "flowmap.app.core_functions"
local examples = require "flowmap.app.examples"
local operations = require "flowmap.app.operations"
local reference = require "flowmap.app.reference"

local modules = reference.modules()

t.test("every function and every module is described", function()
  local missing = {}
  for _, module in ipairs(modules) do
    if #module.comment == 0 then missing[#missing + 1] = module.name end
    for _, item in ipairs(module.items) do
      if #item.comment == 0 or not item.comment[1]:find "^%-%-%- *%S" then
        missing[#missing + 1] = ("%s (%s)"):format(item.call, item.place)
      end
    end
  end
  t.eq(missing, {})
  t.eq(#modules > 200, true)
end)

t.test("every operation and every function of the core for users has an example", function()
  for _, op in ipairs(operations.callable()) do
    t.eq(examples.text[op.name] ~= nil, true, op.name)
  end
  for name in pairs(core_functions.public) do t.eq(examples.text[name] ~= nil, true, name) end
  for name in pairs(examples.text) do t.eq(type(core[name]), "function", name) end
end)

t.done()
