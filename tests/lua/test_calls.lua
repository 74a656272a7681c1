-- A few seconds of tests/fuzz/calls.lua: random calls through the whole binding neither crash nor
-- raise anything but sentences. tests/fuzz/calls.sh does it for long, under sanitizers.

local t = require "harness"

t.test("random calls", function()
  local pipe = io.popen("ulimit -c 0; ulimit -v 3000000; "
    .. "SECONDS=3 SEED=1 FM_THREADS=2 lua5.4 tests/fuzz/calls.lua 2>&1")
  local text = pipe:read "a"
  local _, how, code = pipe:close()
  t.eq({ how, code }, { "exit", 0 }, text:sub(-2000))
  t.eq(tonumber(text:match "(%d+) calls of seed") > 2000, true, text)
end)

t.done()
