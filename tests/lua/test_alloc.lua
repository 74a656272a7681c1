-- A few allocations of tests/fuzz/alloc.sh, which by itself tries 2,400 that fail: no signal, one
-- sentence, no file lost.

local t = require "harness"
local sandbox = require "sandbox"

t.test("memory that runs out", function()
  local code, text = sandbox.run(("cd %s && tests/fuzz/alloc.sh 1"):format(sandbox.here))
  t.eq(code, 0, text:sub(-2000))
  t.eq(text:find "16 passed, 0 failed" ~= nil, true, text)
end)

t.done()
