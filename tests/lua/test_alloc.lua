-- A few allocations of tests/fuzz/alloc.sh, which by itself tries 2,500 that fail: no signal, one
-- sentence, no file lost.

local t = require "harness"

t.test("memory that runs out", function()
  local pipe = io.popen "tests/fuzz/alloc.sh 1 2>&1"
  local text = pipe:read "a"
  local _, how, code = pipe:close()
  t.eq({ how, code }, { "exit", 0 }, text:sub(-2000))
  t.eq(text:find "10 passed, 0 failed" ~= nil, true, text)
end)

t.done()
