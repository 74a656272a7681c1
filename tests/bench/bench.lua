--- Speed, memory and start-up of the paper's checkerboard network, and PyTorch's, in one run.
--
--     lua5.4 tests/bench/bench.lua [steps] [products] [footprint] [bits] [peers]
--
-- All sections by default. On a shared machine times vary: compare within the run; "best" goes with
-- the best peak seen, "median" with the median one.
-- @script bench

package.path = (arg[0]:match "^(.*/)" or "./") .. "support/?.lua;" .. package.path

local fm = require "flowmap"
local measure = require "measure"
local speed = require "speed"

-- The benchmark starts itself again to see the memory of a fresh process.
if arg[1] == "memory-child" then
  speed.memory_child(arg[2])
  os.exit(0, true)
end

local sections = {
  steps = speed.steps, products = speed.products, footprint = speed.footprint, bits = speed.bits,
  peers = require("peers").run,
}
local chosen = #arg > 0 and arg or { "steps", "products", "footprint", "bits", "peers" }
for _, name in ipairs(chosen) do
  if not sections[name] then
    io.stderr:write(("bench: section '%s' found, expected steps, products, footprint, bits or "
      .. "peers\n"):format(name))
    os.exit(2)
  end
end

local info, ok = fm.info(), true
measure.say("flowmap %s, %s, %d threads, BLAS %s", info.version, info.isa, info.threads, info.blas)
measure.say([[
best, median: by the clock. cpu: median of what a second of processor time does, on one thread;
other programs on the machine hardly change it. %% of peak compares best with best, and so on.
]])
for _, name in ipairs(chosen) do ok = sections[name]() ~= false and ok end
os.exit(ok and 0 or 1, true)
