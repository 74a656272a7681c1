-- A few seconds of tests/fuzz/calls.lua: random calls through the whole binding neither crash nor
-- raise anything but sentences. tests/fuzz/calls.sh does it for long, under sanitizers.

local t = require "harness"
local sandbox = require "sandbox"

t.test("random calls", function()
  local code, text = sandbox.run(("ulimit -c 0; ulimit -v 3000000; lua5.4 %s/tests/fuzz/calls.lua")
    :format(sandbox.here), "ROUNDS=8000 SEED=1 FM_THREADS=2")
  t.eq(code, 0, text:sub(-2000))
  t.eq(tonumber(text:match "(%d+) calls of seed") > 2000, true, text)
end)

t.done()
