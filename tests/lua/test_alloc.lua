-- A few of the 2,400 failing allocations that tests/fuzz/alloc.sh tries: no signal, one
-- sentence, no file lost.

local t = require "harness"
local sandbox = require "sandbox"

t.test("failing allocations", function()
  local code, text = sandbox.run(("cd %s && tests/fuzz/alloc.sh 1"):format(sandbox.here))
  t.eq(code, 0, text:sub(-2000))
  t.eq(text:find "16 passed, 0 failed" ~= nil, true, text)
end)

t.done()
