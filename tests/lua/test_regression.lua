-- Metrics against their baselines: a small training of each method is no worse than before.

package.path = "tests/regression/?.lua;" .. package.path

local t = require "harness"
local fm = require "flowmap"
local baseline = require "baseline"

local known = fm.json.read(baseline.path)

-- A new seed lies within 5 standard deviations of the mean unless something has changed; better by
-- as much is a change, too, and then the baseline is out of date.
local function compare(method)
  t.test(method .. ": KL as good as the baseline", function()
    for N, kl in pairs(baseline.train(method, 9)) do
      local it = known[method][N]
      local off = (kl - it.mean) / it.sd
      t.eq(math.abs(off) < 5, true, ("%s at %s: KL %.4f, baseline %.4f with sd %.4f, %s"):format(
        method, N, kl, it.mean, it.sd, off > 0 and "worse" or "better: measure the baseline anew"))
    end
  end)
end

local registered, without = {}, {}
for _, method in ipairs(baseline.methods()) do
  registered[method] = true
  if known[method] then compare(method) else without[#without + 1] = method end
end
if #without > 0 then
  t.skip(("no baseline of %s"):format(table.concat(without, ", ")),
    "./flowmap lua tests/regression/baseline.lua NAME measures one")
end

t.test("every baseline is that of a method", function()
  for method in pairs(known) do t.eq(registered[method], true, method) end
end)

t.done()
