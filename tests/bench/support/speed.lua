--- Our side of the benchmark: training steps, matrix products, memory, start-up, planning, bits.
-- @module speed

local fm = require "flowmap"
local measure = require "measure"
local trainer = require "flowmap.trainer"

local M = {}
local say = measure.say
local ROUNDS = 6

-- { method, batch, precision }, each in bfloat16 right after float32
local rows = {}
for _, row in ipairs {
  { "lsd", 4096 }, { "lsd", 16384 }, { "psd-m", 4096 }, { "psd-u", 4096 }, { "esd", 4096 },
} do
  for _, precision in ipairs { "float32", "bfloat16" } do
    rows[#rows + 1] = { row[1], row[2], precision }
  end
end

--- Training steps of every method in both precisions, taken in turns with the machine's peak.
function M.steps()
  local jobs, times, threads = {}, {}, fm.info().threads
  for k, row in ipairs(rows) do
    jobs[k], times[k] = measure.job(row[1], row[2], 0, row[3]), measure.times()
    trainer.step(jobs[k]) -- traces and plans
  end
  local sample, peak = measure.peak(threads)
  for _ = 1, ROUNDS do
    for k, job in ipairs(jobs) do
      sample()
      times[k]:add(measure.seconds(trainer.step, job))
    end
  end
  peak = peak()
  say("## Training steps, %d parameters, 75 %% diagonal, clip, RAdam, two averages",
    measure.parameters(jobs[1]))
  say("float32 multiply-add peak of %d threads, in turns with the steps: %.0f GF/s best, "
    .. "%.0f median; %.0f GF per processor second", threads, peak.best / 1e9, peak.median / 1e9,
    peak.cpu / 1e9)
  local head = "%-7s%6s %-8s %18s %7s %19s %9s %17s"
  say(head, "", "", "", "samples/s", "GF/s", "% of peak", "executed", "times float32")
  say(head, "method", "batch", "", "best median", "best", "best median   cpu", "/ needed",
    "best median   cpu")
  local float32
  for k, job in ipairs(jobs) do
    local batch, work, precision = job.cfg.batch, measure.work(job), job.cfg.precision
    local rates = times[k]:rates(work)
    float32 = precision == "float32" and rates or float32
    say("%-7s%6d %-8s %11.0f %6.0f %7.1f %s %9.3f %s", job.cfg.method, batch, precision,
      rates.best / work * batch, rates.median / work * batch, rates.best / 1e9,
      measure.percent(rates, peak), job.program:stats(batch).flops / work,
      rates == float32 and "" or ("%6.2f %5.2f %5.2f"):format(rates.best / float32.best,
        rates.median / float32.median, rates.cpu / float32.cpu))
  end
  say("bfloat16: wide products round their operands to it, sums are float32; %s",
    fm.info().bfloat16)
  say("%s\n", measure.counting)
end

-- { rows, inner, columns, first transposed, second transposed, what it is }
local products = {
  { 512, 512, 512, false, false, "layer, forward" },
  { 640, 512, 512, false, false, "layer, primal + tangent" },
  { 640, 512, 512, false, true, "layer, gradient of input" },
  { 512, 640, 512, true, false, "layer, gradient of weights" },
  { 640, 4, 512, false, false, "input layer" },
  { 640, 512, 2, false, false, "output layer" },
}

--- Eager matrix products on one thread: what the BLAS alone gives.
function M.products()
  local sample, peak = measure.peak(1)
  local rates = {}
  for k, it in ipairs(products) do
    local a = fm.ones(it[4] and { it[2], it[1] } or { it[1], it[2] })
    local b = fm.ones(it[5] and { it[3], it[2] } or { it[2], it[3] })
    local work, times = 2 * it[1] * it[2] * it[3], measure.times()
    local repeats = math.max(1, math.floor(1e9 / work))
    for _ = 1, 9 do
      sample()
      times:add(measure.seconds(function()
        for _ = 1, repeats do fm.matmul(a, b, it[4], it[5]) end
      end))
    end
    rates[k] = times:rates(work * repeats)
  end
  peak = peak()
  say("## Matrix products on one thread (eager: each call allocates its result)")
  say("%-44s %7s %19s", "", "GF/s", "% of peak")
  say("%-44s %7s %19s", "", "best", "best median   cpu")
  for k, it in ipairs(products) do
    say("%-27s %4d x %3d x %3d %7.1f %s", it[6], it[1], it[2], it[3], rates[k].best / 1e9,
      measure.percent(rates[k], peak))
  end
  say("")
end

local function shell(command)
  local pipe <close> = io.popen(command)
  return pipe:read "a"
end

--- Run in a process of its own: a few steps, then this process's peak memory in bytes.
-- @tparam string dataset_size
function M.memory_child(dataset_size)
  local job = measure.job("lsd", 16384, math.tointeger(tonumber(dataset_size)))
  for _ = 1, 3 do trainer.step(job) end
  io.stdout:write(string.format("%d\n", measure.peak_memory() or 0))
end

--- Peak memory, start-up time, time to trace and plan.
function M.footprint()
  say("## Footprint")
  for _, size in ipairs { 0, 10000000 } do
    local bytes = tonumber(shell(("%s %s memory-child %d"):format(arg[-1], arg[0], size))) or 0
    say("peak memory of a process, lsd, batch 16384   %6.0f MiB, %s", bytes / 2 ^ 20,
      size == 0 and "fresh data" or "the paper's 10^7 drawn points")
  end
  local program = os.getenv "FLOWMAP" or "./flowmap"
  for _, what in ipairs { "--version", "repl < /dev/null" } do
    local times = {}
    for k = 1, 15 do
      times[k] = 1e3 * measure.seconds(shell, ("exec '%s' %s 2>&1"):format(program, what))
    end
    say("start-up, %-34s %6.1f ms, median %.1f", "flowmap " .. what, measure.least(times))
  end
  for _, batch in ipairs { 4096, 16384 } do
    local job, times = measure.job("lsd", batch), {}
    for k = 1, 9 do times[k] = 1e3 * measure.seconds(job.program.compile, job.program, batch) end
    say("trace and plan the lsd step, batch %-5d      %6.1f ms, median %.1f", batch,
      measure.least(times))
  end
  say("")
end

-- All weights after a few steps, in one list.
local function weights_after(steps, method, batch, precision)
  local job, out = measure.job(method, batch, 0, precision), {}
  for _ = 1, steps do trainer.step(job) end
  for _, layer in ipairs(job.params) do
    for _, name in ipairs { "w", "b" } do
      local flat = layer[name]:flat()
      table.move(flat, 1, #flat, #out + 1, out)
    end
  end
  return out
end

--- Weights must not depend on the number of threads, to the last bit.
-- @treturn boolean
function M.bits()
  local threads, all = fm.info().threads, true
  for _, precision in ipairs { "float32", "bfloat16" } do
    local first, same
    for _, n in ipairs { 1, 2, 4 } do
      fm.set_threads(n)
      local w = weights_after(2, "lsd", 4096, precision)
      first, same = first or w, same ~= false
      for k = 1, #first do same = same and w[k] == first[k] end
    end
    say("weights after 2 lsd steps with 1, 2 and 4 threads, %s: %s", precision,
      same and "equal bits" or "DIFFERENT")
    all = all and same
  end
  fm.set_threads(threads)
  say("")
  return all
end

return M
