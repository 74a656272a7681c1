-- Short trainings on the plane and on images, in float32 and with products in bfloat16: on 1, 2 and
-- 4 threads the weights have the same bits. For check-arm and check-musl, where the whole suite
-- would take hours. Reports like a test (tests/run.sh).
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
  if good then passed = passed + 1 else failed = failed + 1 end
  print(("%s %s %s: %s"):format(experiment, method, it.precision or "float32",
    good and one:sub(1, 16) or table.concat(found, " ")))
end
print(("%d passed, %d failed"):format(passed, failed))
os.exit(failed == 0)
