--- Time of steps, in units of a calibration kernel that shares nothing with the code under test:
-- multiply-adds on registers (core/kernels/peak.c). Both run in turns in one process and count the
-- processor time, so that the clock rate and other programs matter little. A repeat is the ratio of
-- the shortest of ROUNDS turns: what disturbs a turn only lengthens it. The dead zone is 2 %: a
-- regression is a ratio beyond it in at least two of three repeats. Where the repeats, now or when
-- they were stored, differ by more, the limit is the sum of both spreads; and where more programs
-- run than there are processors, nothing is judged. Stored ratios hold for one model of processor.
-- @module speed

local fm = require "flowmap"
local core = require "flowmap.core"
local files = require "flowmap.base.files"
local probe = require "probe"

local M = { DEAD_ZONE = 0.02, REPEATS = 3 }

local ROUNDS, SLICE = 24, 0.02 -- turns of a repeat; seconds of a turn

--- The processor and the instructions in use, for which a stored ratio holds.
-- @treturn string
function M.machine()
  local info, model = core.info(), "unknown processor"
  local file <close> = io.open "/proc/cpuinfo"
  for line in file and file:lines() or function() end do
    local name = line:match "^model name%s*: (.*)$"
    if name then
      model = name
      break
    end
  end
  return ("%s, %s %s"):format(model, info.isa, info.blas)
end

-- Processor seconds of one call, averaged over `count` calls.
local function seconds(call, count)
  local start = os.clock()
  for _ = 1, count do call() end
  return (os.clock() - start) / count
end

-- One repeat: the time of a call in units of the kernel's.
local function ratio(call)
  local kernel, own = math.huge, math.huge
  local count = math.max(1, math.floor(SLICE / math.max(1e-6, seconds(call, 1))))
  for _ = 1, ROUNDS do
    kernel = math.min(kernel, seconds(function() core.peak(1) end, 1))
    own = math.min(own, seconds(call, count))
  end
  return own / kernel
end

-- The jobs that are timed: steps of the plane and of images, and sampling.
local function calls(studies)
  local list = {}
  for _, study in ipairs(studies) do
    if study.timed then
      local job = probe.job(study, study.timed, { seed = 1 })
      local draw = fm.sampler.generator(job, job.params, 2)
      local name = probe.name(study) .. "/" .. study.timed
      list[#list + 1] = { name = name .. " step", call = function() fm.trainer.step(job) end }
      list[#list + 1] = { name = name .. " samples", call = function() draw(64, 1) end }
    end
  end
  return list
end

--- Measure all.
-- @tparam {table,...} studies those with the field `timed`, a method
-- @treturn table name -> list of three ratios
function M.measure(studies)
  local out, all = {}, calls(studies)
  for _, it in ipairs(all) do
    it.call()
    out[it.name] = {}
  end
  for repeat_ = 1, M.REPEATS do
    for _, it in ipairs(all) do out[it.name][repeat_] = ratio(it.call) end
  end
  return out
end

local function sorted(list)
  local out = table.move(list, 1, #list, 1, {})
  table.sort(out)
  return out
end

--- Whether more programs run than there are processors.
-- @treturn boolean false also where that is not known
-- @treturn string a sentence without a full stop
function M.is_busy()
  local load = tonumber((files.read "/proc/loadavg" or ""):match "^%S+")
  local processors = 0
  for _ in ("\n" .. (files.read "/proc/cpuinfo" or "")):gmatch "\nprocessor%s" do
    processors = processors + 1
  end
  return load ~= nil and processors > 0 and load > processors + 0.5,
    ("the machine is busy: load %s on %d processors"):format(load, processors)
end

--- Compare three ratios with three stored ones, by the middle ones.
-- @tparam {number,...} ratios
-- @tparam {number,...} stored
-- @treturn boolean whether it is slower
-- @treturn string a sentence without a full stop
-- @treturn number the relative change
function M.compare(ratios, stored)
  local of, with = sorted(ratios), sorted(stored)
  local spread = of[#of] / of[1] + with[#with] / with[1] - 2
  local limit = math.max(M.DEAD_ZONE, spread)
  local change = of[2] / with[2] - 1
  return change > limit, ("%+.1f %% (repeats differ by %.1f %%, limit %.1f %%)"):format(
    100 * change, 100 * spread, 100 * limit), change
end

return M
