-- The benchmarks in C still run; what they measure is for `make bench`.

local t = require "harness"

local here = arg[0]:match "^(.*)/lua/[^/]*$" or "tests"
local build = os.getenv "FLOWMAP_BUILD" or here .. "/../build"

for name, arguments in pairs { conv = "16 4", deep = "", ops = "" } do
  t.test(name .. " measures", function()
    local pipe = io.popen(("PYTHON=false %s/tests/bench/%s %s 2>&1"):format(build, name, arguments))
    local text = pipe:read "a"
    local ok, how, code = pipe:close()
    t.eq(ok, true, ("%s %s: %s"):format(how, code, text))
    t.eq(text:find "%d%.?%d* *GB/s" ~= nil or text:find "GF/s" ~= nil, true, text)
  end)
end

t.done()
