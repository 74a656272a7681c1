--- Training speed of the paper's network against the machine's peak, measured in the same run.
-- @module flowmap.bench

local fm = require "flowmap"
local experiment = require "flowmap.experiment"
local trainer = require "flowmap.trainer"

local M = {}

local function say(...)
  io.stdout:write(string.format(...), "\n")
  io.stdout:flush()
end

--- Multiply-adds of the network's layers in one step, counted by hand as two operations each: what
-- the method needs, whatever the program does. Per sample and pass through the network: a forward
-- pass F, a tangent F, a backward pass 2F for each of the two.
-- @tparam string method
-- @tparam number F operations of a forward pass of one sample
-- @treturn number operations of an off-diagonal sample
function M.off_diagonal_cost(method, F)
  if method == "lsd" then return 2 * F + 4 * F + F end -- (X, dX) and their gradient; the target
  -- (X, d_s X) and their gradient; v_{s,s}; its tangent (the primal is shared)
  if method == "esd" then return 2 * F + 4 * F + 2 * F end
  return 3 * F + 2 * F -- psd: v_{s,t}, v_{s,u}, v_{u,t}; the gradient of the first
end

-- Operations of one forward pass of a sample through the multilayer perceptron.
local function forward_cost(cfg, dim)
  local inputs = 2 + dim * (1 + 2 * cfg.features)
  return 2 * (inputs * cfg.width + (cfg.depth - 1) * cfg.width ^ 2 + cfg.width * dim)
end

-- Best of several timings of a function, in seconds.
local function best(repeats, fn)
  local least = math.huge
  for _ = 1, repeats do
    local start = fm.clock()
    fn()
    least = math.min(least, fm.clock() - start)
  end
  return least
end

local function measure(board, method, batch, repeats)
  local cfg = experiment.resolve(board, {
    profile = "paper", method = method, set = { dataset_size = 0, batch = batch },
  })
  local start = fm.clock()
  local job = trainer.new(board, cfg)
  trainer.step(job)
  local first = fm.clock() - start
  local seconds = best(repeats, function() trainer.step(job) end)
  local F, nd = forward_cost(cfg, 2), trainer.diagonal_count(cfg)
  local work = nd * 3 * F + (batch - nd) * M.off_diagonal_cost(method, F)
  return { rate = batch / seconds, gflops = work / seconds / 1e9, start = first - seconds,
    stats = job.program:stats(batch) }
end

--- The command `bench`.
-- @tparam table args quick
-- @treturn integer exit code
function M.run(args)
  local info, board = fm.info(), experiment.load "experiments/checkerboard.lua"
  local repeats = args.quick and 2 or 5
  say("%s, %d threads, BLAS %s", info.isa, info.threads, info.blas)
  local function measured() return fm.peak(info.threads) / 1e9 end
  local peak = measured()
  say("float32 FMA peak of %d threads: %.0f GF/s", info.threads, peak)
  say("%-6s %7s %12s %8s %8s %10s", "method", "batch", "samples/s", "GF/s", "% peak", "start ms")
  for _, method in ipairs(board.methods) do
    for _, batch in ipairs(args.quick and { 4096 } or { 4096, 16384 }) do
      local it = measure(board, method, batch, repeats)
      peak = math.max(peak, measured()) -- a shared machine: the best of all
      say("%-6s %7d %12.0f %8.1f %8.0f %10.0f", method, batch, it.rate, it.gflops,
        100 * it.gflops / peak, 1e3 * it.start)
    end
  end
  say("peak memory of the core: %.0f MiB", fm.info().peak / 2 ^ 20)
  return 0
end

return M
