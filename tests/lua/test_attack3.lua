-- Faults found by a third review of the finished program: further members of known kinds.

local t = require "harness"
local sandbox = require "sandbox"

local OWN = [[
return { name = "own", %s, profiles = { smoke = { steps = 2, batch = 8, micro = 8, width = 8,
  depth = 1, eval_samples = 50, nfe = { 1 }, bins = 4, log_every = 1 } } }]]

t.test("a user's function that ends the program does not let a run succeed that has no result",
  function()
    for where, field in pairs { ["the file"] = "seeds = os.exit(0)",
      ["a metric"] = "metrics = { m = function() os.exit(true, true) end }" } do
      sandbox.write("own.lua", OWN:format(field))
      local code, said = sandbox.flowmap "run own.lua --profile smoke --out own"
      t.eq({ code, said:find "own.lua:1: os.exit was called; an experiment returns" ~= nil },
        { 2, true }, where .. ": " .. said)
    end
    t.eq(sandbox.flowmap("lua " .. sandbox.write("ends.lua", "os.exit(7)")), 7)
  end)

t.done()
