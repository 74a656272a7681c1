-- The benchmarks in C still run; their measurements are for `make bench`.

local t = require "harness"
local sandbox = require "sandbox"

-- The name, the arguments, and the pattern of a measured line.
for name, it in pairs {
  conv = { "16 4", "4 %->  64, 32x32 +%d+ / +%d+ / +%d+" },
  deep = { "", "run %d+%.%d ms, %d+%.%d GFLOP/s" },
  ops = { "", "copy +%(8, 32, 32, 128%) +%d+%.%d us" },
} do
  t.test(name .. " measures", function()
    local code, text = sandbox.run(("PYTHON=false %s/tests/bench/%s %s"):format(sandbox.build, name,
      it[1]))
    t.eq(code, 0, text)
    t.eq(text:find(it[2]) ~= nil, true, text)
  end)
end

t.done()
