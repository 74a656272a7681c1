-- Short trainings on the plane and on images, in float32 and with products in bfloat16: on 1, 2 and
-- 4 threads the weights have the same bits. For check-arm and check-musl, where the whole suite
-- would take hours. And the gate's short form: the stored bits of the instruction set, or the
-- stored traces up to rounding. Reports like a test (tests/run.sh).
package.path = "tests/regression/?.lua;" .. package.path

local fm = require "flowmap"

local function bits(experiment, method, set, threads)
  fm.set_threads(threads)
  local board = fm.experiment.load(experiment)
  local job = fm.trainer.new(board, fm.experiment.resolve(board, {
    profile = "smoke", method = method, set = set }))
  for _ = 1, set.steps do fm.trainer.step(job) end
  local parts = {}
  fm.tree.each(function(w, name) parts[#parts + 1] = name .. fm.bytes(w) end, job.params)
  return fm.sha256(table.concat(parts))
end

local passed, failed, seen = 0, 0, {}

local function report(good, ...)
  if good then passed = passed + 1 else failed = failed + 1 end
  print(string.format(...))
end

for _, it in ipairs {
  { "experiments/checkerboard.lua", "lsd", batch = 112, micro = 16, steps = 3 },
  { "experiments/checkerboard.lua", "psd-m", batch = 112, micro = 16, steps = 3,
    precision = "bfloat16" },
  { "experiments/cifar10.lua", "lsd", batch = 5, micro = 1, steps = 2 },
} do
  local experiment, method, found = table.remove(it, 1), table.remove(it, 1), {}
  for k, threads in ipairs { 1, 2, 4 } do found[k] = bits(experiment, method, it, threads) end
  local one, two, four = table.unpack(found)
  local good = one == two and one == four and not seen[one]
  seen[one] = true
  report(good, "%s %s %s: %s", experiment, method, it.precision or "float32",
    good and one:sub(1, 16) or table.concat(found, " "))
end
fm.set_threads(1)
for _, it in ipairs(require("gate").cases(require("store").read(), { short = true })) do
  report(it.verdict == "same" or it.verdict == "rounding", "%s on %s: %s", it.name, it.isa, it.text)
end
print(("%d passed, %d failed"):format(passed, failed))
os.exit(failed == 0)
