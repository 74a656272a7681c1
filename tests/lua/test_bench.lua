-- The benchmarks in C still run; what they measure is for `make bench`.

local t = require "harness"

local here = arg[0]:match "^(.*)/lua/[^/]*$" or "tests"
local build = os.getenv "FLOWMAP_BUILD" or here .. "/../build"

-- The name, its arguments, and what a measured line looks like.
for name, it in pairs {
  conv = { "16 4", "4 %->  64, 32x32 +%d+ / +%d+ / +%d+" },
  deep = { "", "run %d+%.%d ms, %d+%.%d GFLOP/s" },
  ops = { "", "copy +%(8, 32, 32, 128%) +%d+%.%d us" },
} do
  t.test(name .. " measures", function()
    local pipe = io.popen(("PYTHON=false %s/tests/bench/%s %s 2>&1"):format(build, name, it[1]))
    local text = pipe:read "a"
    local ok, how, code = pipe:close()
    t.eq(ok, true, ("%s %s: %s"):format(how, code, text))
    t.eq(text:find(it[2]) ~= nil, true, text)
  end)
end

t.done()
