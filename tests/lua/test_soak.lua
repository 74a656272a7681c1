-- A few points of every part of `make soak`: no signal, one sentence, no file lost, the same bits.
-- The seed chooses which; FM_SEED=2 tries others.

local t = require "harness"
local sandbox = require "sandbox"

-- Points of each of some cases.
local function soak(parts, each, some, also)
  local where = " PARTS='%s' EACH=%d SOME=%d SEED=%s SOAK=%s RESULTS=%s"
  where = (also or "") .. where:format(parts, each, some,
    os.getenv "FM_SEED" or "1", sandbox.path "soak", sandbox.path "soak.json")
  local code, text = sandbox.run(("cd '%s' && env %s '%s' lua tests/soak/soak.lua"):format(
    sandbox.here, where, sandbox.program))
  t.eq(code, 0, text:sub(-3000))
  for part in parts:gmatch "%S+" do
    local tried = tonumber(text:match(part .. ": (%d+) [%l ]+, 0 lost"))
    t.eq(tried ~= nil and tried > 0 or text:find(part .. ": left out") ~= nil, true, text)
  end
end

t.test("allocations fail", function() soak("alloc", 1, 5) end)
t.test("system calls fail, or the process is killed there", function() soak("calls", 1, 6) end)
t.test("bits of files are flipped", function() soak("flips", 3, 99) end)
t.test("a process is killed at random moments", function() soak("kills", 1, 1) end)

t.test("readers are given damaged files", function() soak("fuzz", 1, 8, "FUZZ_RUNS=800") end)

t.done()
