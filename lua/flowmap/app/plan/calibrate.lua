--- The command `calibrate`: measures this machine for `plan`. Rates of kinds of steps come from the
-- processor time of each step of three training steps, of the reference's network on the plane and
-- of two U-Nets. The link is that between processes of this machine: its bandwidth is that of a
-- copy in memory, its latency half a round trip of one byte through pipes.
-- @module flowmap.app.plan.calibrate

local errors = require "flowmap.base.errors"
local experiment = require "flowmap.experiment"
local files = require "flowmap.base.files"
local fm = require "flowmap"
local json = require "flowmap.base.json"
local machines = require "flowmap.app.plan.machine"
local trainer = require "flowmap.trainer"

local M = {}

local TIMES = 5 -- measurements of everything

-- Narrow and wide networks: rates depend on the numbers of channels.
local PROGRAMS = {
  { "experiments/checkerboard.lua", "paper", { dataset_size = 1024, batch = 512 } },
  { "experiments/cifar10.lua", "laptop", { batch = 16 } },
  { "experiments/cifar10.lua", "laptop", { model_channels = 64, batch = 4, micro = 4 } },
}

-- ------------------------------------------------------------------ kinds of steps

-- Add the costs and milliseconds of a program's steps to the lists of their kinds.
local function measure(kinds, path, profile, set)
  local exp = experiment.load(files.exists(path) and path or files.installed(path))
  local cfg = experiment.staged(exp, { profile = profile, set = set })
  local job = trainer.new(exp, cfg)
  local inputs = job.program:inputs { shared = job.shared }
  local exe = job.program:prepared(cfg.batch).exe
  local runs = {}
  for i = 1, TIMES do runs[i] = exe:costs(inputs, 1, 0).steps end
  for k, step in ipairs(runs[1]) do
    local ms = {}
    for i = 1, TIMES do ms[i] = runs[i][k].ms end
    table.sort(ms)
    step.ms = ms[(TIMES + 1) // 2] -- the fastest of each step would be faster than any training
    kinds[step.kind] = kinds[step.kind] or {}
    table.insert(kinds[step.kind], step)
  end
end

--- Fit seconds = a FLOPs + b bytes to steps, by least squares of relative errors, weighted with the
-- time; neither is negative, and the total is met.
-- @tparam {table,...} steps { flops =, bytes =, ms = }
-- @treturn number a
-- @treturn number b
function M.fit(steps)
  local ff, fb, bb, f, b, t = 0, 0, 0, 0, 0, 0
  for _, it in ipairs(steps) do
    local s = math.max(it.ms * 1e-3, 1e-9)
    ff, fb, bb = ff + it.flops ^ 2 / s, fb + it.flops * it.bytes / s, bb + it.bytes ^ 2 / s
    f, b, t = f + it.flops, b + it.bytes, t + s
  end
  if f == 0 then return 0, t / b end
  local det = ff * bb - fb * fb
  local x, y = 0, 0
  if det > 1e-9 * ff * bb then x, y = (f * bb - b * fb) / det, (b * ff - f * fb) / det end
  if x <= 0 or y <= 0 then return t / f, 0 end
  local scale = t / (x * f + y * b)
  return scale * x, scale * y
end

local function rounded(x)
  local digits = ("%.3g"):format(x):gsub(",", ".")
  return tonumber(digits)
end

--- Shares of peak and rates of bytes of all kinds. `other`, for kinds that are not listed, is the
-- share of all others together, except products and Winograd's convolutions: the FLOPs of these are
-- those of the direct method, of which they execute a fraction.
-- @tparam table kinds kind -> steps, see `fit`
-- @tparam number peak FLOP/s of a core
-- @treturn table kind -> share of peak
-- @treturn table kind -> GB/s
function M.rates(kinds, peak)
  local share, moved, rest = {}, {}, {}
  for kind, steps in pairs(kinds) do
    local a, b = M.fit(steps)
    if a > 0 then share[kind] = rounded(1 / (a * peak)) end
    if b > 0 then moved[kind] = rounded(1e-9 / b) end
    local typical = kind ~= "matmul" and not kind:find "^winograd"
    if a > 0 and typical then table.move(steps, 1, #steps, #rest + 1, rest) end
  end
  local flops, seconds = 0, 0
  for _, step in ipairs(rest) do flops, seconds = flops + step.flops, seconds + step.ms * 1e-3 end
  share.other = rounded(flops / seconds / peak)
  return share, moved
end

-- ------------------------------------------------------------------ memory and processes

-- The seconds of the fastest of several calls, and what it returned. Processor time counts, since
-- other processes may run: that of all threads together.
local function fastest(what)
  local best, value = math.huge, nil
  for _ = 1, TIMES do
    local start = os.clock()
    local returned = what()
    if os.clock() - start < best then best, value = os.clock() - start, returned end
  end
  return best, value
end

-- The FLOP/s of each of so many busy cores.
local function peak(threads)
  local seconds, flops = fastest(function()
    local start = fm.clock()
    return fm.peak(threads) * (fm.clock() - start)
  end)
  return flops / seconds
end

local VALUES = 1 << 23 -- of float32: more than caches hold

-- The GB/s at which the optimiser, on all threads, updates weights that no cache holds.
local function memory()
  local params = { fm.zeros({ VALUES }) }
  local grads = { fm.zeros({ VALUES }) }
  local optimiser = fm.optimiser { kind = "radam", params = params, ema = { 0.9 } }
  local seconds = fastest(function() optimiser:update(grads, 1e-3, 1) end)
  return VALUES * 4 * 10 / (seconds / fm.info().threads) * 1e-9
end

-- The GB/s of a copy.
local function copying()
  local x = fm.zeros { VALUES }
  local y = fm.zeros { VALUES }
  return VALUES * 4 / (fastest(function() y:copy_from(x) end)) * 1e-9
end

-- Microseconds of half a round trip of one byte to another process.
local function latency()
  local uv = require "luv"
  local to, from = uv.new_pipe(), uv.new_pipe()
  local process = uv.spawn("cat", { stdio = { to, from } }, function() end)
  if not process then errors.usage "calibrate: the program cat cannot be started" end
  local start, best, left = 0, math.huge, 200
  local function send() start = fm.clock(); to:write "x" end
  from:read_start(function()
    best, left = math.min(best, fm.clock() - start), left - 1
    if left > 0 then send() else to:close() from:close() process:kill() process:close() end
  end)
  send()
  uv.run()
  return best / 2 * 1e6
end

--- Measure.
-- @treturn table see flowmap.app.plan.machine
function M.measure()
  require("flowmap.data.packed").imagine()
  local kinds = {}
  for _, it in ipairs(PROGRAMS) do measure(kinds, table.unpack(it)) end
  local threads = fm.info().threads
  local share, moved = M.rates(kinds, peak(1))
  return machines.checked({ name = ("this machine, %s, %d cores"):format(fm.info().isa, threads),
    cores = threads, ranks = threads, gflops = rounded(peak(threads) * 1e-9),
    memory_gbs = rounded(memory()), bandwidth_gbits = rounded(8 * copying()),
    latency_us = rounded(latency()), share = share, moved_gbs = moved }, "calibrate")
end

--- The command.
-- @tparam table args
function M.run(args)
  if args.out then require("flowmap.runs.folder").check_output(args.out) end
  local it = M.measure()
  local text = json.encode(it, "") .. "\n"
  if not args.out then
    io.stdout:write(text)
  else
    fm.write_file(args.out, text)
  end
end

return M
