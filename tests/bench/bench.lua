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

local sections = {
  steps = speed.steps, products = speed.products, footprint = speed.footprint, bits = speed.bits,
  peers = require("peers").run, ["memory-child"] = speed.memory_child,
}

local chosen = #arg > 0 and arg or { "steps", "products", "footprint", "bits", "peers" }
for _, name in ipairs(chosen) do
  if not sections[name] then
    io.stderr:write(("bench: section '%s' found, expected steps, products, footprint, bits or "
      .. "peers\n"):format(name))
    os.exit(2)
  end
end
if chosen[1] ~= "memory-child" then
  local info = fm.info()
  measure.say("flowmap %s, %s, %d threads, BLAS %s\n", info.version, info.isa, info.threads,
    info.blas)
end
local ok = true
for _, name in ipairs(chosen) do ok = sections[name]() ~= false and ok end
os.exit(ok and 0 or 1, true)
