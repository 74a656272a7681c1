-- The estimate of a run's time against what the run takes, in processor time. On an idle machine
-- they differ by less than 30 %; where many processes share the caches, the same steps take up to
-- half as much time again, in either of the two.

local t = require "harness"
local json = require "flowmap.base.json"
local sandbox = require "sandbox"

sandbox.link "experiments"

-- Processor seconds of a command.
local function taken(arguments)
  local code, out = sandbox.run(("%s %s >/dev/null && times"):format(sandbox.program, arguments))
  t.eq(code, 0, out)
  local seconds = 0 -- the last line: minutes and seconds of the user's code and the system's
  for m, s in out:match("([^\n]*)\n$"):gmatch "(%d+)m([%d.]+)s" do
    seconds = seconds + 60 * tonumber(m) + tonumber(s)
  end
  return seconds
end

-- The quotient of the estimate and the time that a run takes.
local function ratio(arguments, k)
  local code, out = sandbox.flowmap(arguments .. " --dry-run --json")
  t.eq(code, 0, out)
  return json.decode(out).all_cpu_s / taken(("%s --out run%d"):format(arguments, k))
end

-- The first run draws the images and computes their statistics, which later runs find.
t.eq((sandbox.flowmap "run experiments/cifar10.lua --profile smoke --out first"), 0)

for k, arguments in ipairs {
  "run experiments/checkerboard.lua --profile smoke --set steps=1000",
  "run experiments/cifar10.lua --profile smoke",
} do
  t.test(arguments, function()
    local found, good = {}, false
    while not good and #found < 3 do
      found[#found + 1] = ratio(arguments, 10 * k + #found)
      good = math.abs(math.log(found[#found])) < math.log(1.4)
    end
    t.eq(good, true, "estimates over what the runs took: " .. table.concat(found, ", "))
  end)
end

t.done()
