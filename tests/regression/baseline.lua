--- Metric baselines: small trainings whose KL must not get worse.
--
--     ./flowmap lua tests/regression/baseline.lua NAME...
--
-- measures the methods NAME, or all that have a baseline, and writes them to checkerboard.json.
-- A baseline is the mean and the standard deviation of the KL over seeds 1 to 8, for each method
-- and N. tests/lua/test_regression.lua trains seed 9 and compares. A method without a baseline is
-- skipped there. Replace a baseline only when a change is meant to move the metric, and say so in
-- the commit.
-- @module baseline

local fm = require "flowmap"

local M = {
  path = "tests/regression/checkerboard.json",
  methods = fm.losses.names, -- all that there are
}

local SAMPLES = 50000
local STEPS = { 1, 4 }
local SET = {
  width = 64, depth = 4, time_input = "standard", batch = 256, micro = 128, steps = 1500, lr = 4e-3,
  schedule = "linear", ema = { 0.99 },
}

--- Train one method from one seed.
-- @treturn table N -> KL
function M.train(method, seed)
  local board = fm.experiment.load "experiments/checkerboard.lua"
  local cfg = fm.experiment.resolve(board, {
    profile = "smoke", method = method, seed = seed, set = SET,
  })
  local job = fm.trainer.new(board, cfg)
  for _ = 1, cfg.steps do fm.trainer.step(job) end
  local masses, kl = fm.metrics.masses(job.set, 64), {}
  for _, N in ipairs(STEPS) do
    local x = fm.sampler.generator(job, job.opt:ema(1), N)(SAMPLES, 1)
    kl["N" .. N] = fm.metrics.kl(masses, fm.metrics.histogram(x, 64))
  end
  return kl
end

local function spread(list)
  local mean, squares = 0, 0
  for _, x in ipairs(list) do mean = mean + x / #list end
  for _, x in ipairs(list) do squares = squares + (x - mean) ^ 2 end
  return { mean = mean, sd = math.sqrt(squares / (#list - 1)), seeds = #list }
end

--- Measure the baseline of one method.
-- @tparam string method
-- @treturn table N -> { mean =, sd =, seeds = }
function M.measure(method)
  local lists, out = {}, {}
  for seed = 1, 8 do
    for N, kl in pairs(M.train(method, seed)) do
      lists[N] = lists[N] or {}
      table.insert(lists[N], kl)
    end
  end
  for N, list in pairs(lists) do
    out[N] = spread(list)
    print(("%-6s %-3s KL %.4f, sd %.4f"):format(method, N, out[N].mean, out[N].sd))
  end
  return out
end

--- Measure some baselines and write them beside the others.
-- @tparam {string,...} names methods; empty: all that have a baseline
function M.replace(names)
  local known = fm.json.read(M.path)
  for i, name in ipairs(names) do names[i] = fm.losses.registry_name(name) end -- before any trains
  for _, name in ipairs(#names > 0 and names or fm.tree.keys(known)) do
    known[name] = M.measure(name)
    fm.write_file(M.path, fm.json.encode(known, "") .. "\n")
  end
end

if ... ~= "baseline" then M.replace { ... } end -- else it is loaded by `require`

return M
