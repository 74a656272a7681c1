--- Shared by the benchmarks: the job that is timed, what its step must compute, timings.
-- @module measure

local fm = require "flowmap"
local experiment = require "flowmap.experiment"
local trainer = require "flowmap.trainer"

local M = {}

--- Print a line at once: the benchmark takes minutes.
function M.say(...)
  io.stdout:write(string.format(...), "\n")
  io.stdout:flush()
end

--- A job with the paper's settings, except for the batch and the drawn data set.
-- @tparam string method
-- @tparam integer batch
-- @tparam[opt=0] integer dataset_size 0: fresh data for each step
-- @tparam[opt="float32"] string precision
-- @treturn table job see flowmap.trainer
function M.job(method, batch, dataset_size, precision)
  local board = experiment.load "experiments/checkerboard.lua"
  local cfg = experiment.resolve(board, {
    profile = "paper", method = method, set = {
      dataset_size = dataset_size or 0, batch = batch, precision = precision or "float32",
    },
  })
  return trainer.new(board, cfg)
end

--- How `work` counts, for the reader of the table.
M.counting = [[
GF/s counts what the method needs, a multiply-add of a matrix product as two, whatever is executed.
F: one pass of a sample through the layers. G = 2F less the input layer's share: its gradient.
  diagonal sample  F + G                    off-diagonal lsd  (F + G) X, (F + G) dX/dt, F target
  off-diagonal psd (F + G) v, 2F target     off-diagonal esd  (F + G) X, (F + G) dX/ds, 2F target]]

-- Passes without and with a gradient that an off-diagonal sample takes.
local passes = {
  lsd = { 1, 2 }, -- v_{t,t}(X) ; X and d_t X
  esd = { 2, 2 }, -- v_{s,s} and grad X . v_{s,s} (its primal pass is that of X) ; X and d_s X
  ["psd-m"] = { 2, 1 }, -- v_{s,u}, v_{u,t} ; v_{s,t}
  ["psd-u"] = { 2, 1 },
}

--- Operations that one step of a job needs (see `counting`).
-- @tparam table job
-- @treturn number
function M.work(job)
  local cfg = job.cfg
  local input = 2 * (2 + cfg.dim * (1 + 2 * cfg.features)) * cfg.width
  local F = input + 2 * ((cfg.depth - 1) * cfg.width ^ 2 + cfg.width * cfg.dim)
  local learn, nd = 3 * F - input, fm.step.diagonal_count(cfg)
  local plain, learnt = table.unpack(passes[cfg.method])
  return nd * learn + (cfg.batch - nd) * (plain * F + learnt * learn)
end

--- Number of parameters.
-- @tparam table job
-- @treturn integer
function M.parameters(job)
  local n = 0
  for _, layer in ipairs(job.params) do
    for _, t in pairs(layer) do
      local size = 1
      for _, d in ipairs(t.shape) do size = size * d end
      n = n + size
    end
  end
  return n
end

--- Timings in the order taken -> the least, the median.
-- @tparam {number,...} list
function M.least(list)
  local sorted = table.move(list, 1, #list, 1, {})
  table.sort(sorted)
  local middle = (#sorted + 1) // 2
  return sorted[1], (sorted[middle] + sorted[#sorted + 1 - middle]) / 2
end

--- Seconds that a call takes: by the clock, and of all processors together.
function M.seconds(fn, ...)
  local start, cpu = fm.clock(), os.clock()
  fn(...)
  return fm.clock() - start, os.clock() - cpu
end

local Times = {}
Times.__index = Times

--- A list of timings.
function M.times()
  return setmetatable({ wall = {}, cpu = {} }, Times)
end

function Times:add(wall, cpu)
  self.wall[#self.wall + 1], self.cpu[#self.cpu + 1] = wall, cpu
end

--- `amount` per second: { best =, median = by the clock, cpu = median per processor second }.
-- On a shared machine the first two fall with what others do; the third hardly does, but it does
-- not see a thread that waits either. With the machine to ourselves, best / threads = cpu.
function Times:rates(amount)
  local least, median = M.least(self.wall)
  return { best = amount / least, median = amount / median,
    cpu = amount / select(2, M.least(self.cpu)) }
end

--- Percent of peak: best of best, median of median, per processor second.
function M.percent(rates, peak)
  return ("%6.0f %6.0f %5.0f"):format(100 * rates.best / peak.best,
    100 * rates.median / peak.median, 100 * rates.cpu / peak.cpu)
end

--- The multiply-add rate of n threads, sampled between the timings it is compared with.
-- @treturn function sample()
-- @treturn function read() -> rates in FLOP/s
function M.peak(n)
  local times = M.times()
  return function()
    local rate
    local wall, cpu = M.seconds(function() rate = fm.peak(n) end)
    times:add(1 / rate, cpu / (rate * wall)) -- seconds per operation
  end, function() return times:rates(1) end
end

--- Peak resident memory of this process, bytes; nil where the system does not tell.
function M.peak_memory()
  local file = io.open "/proc/self/status"
  if not file then return nil end
  local text = file:read "a"
  file:close()
  return 1024 * tonumber(text:match "VmHWM:%s*(%d+)")
end

return M
