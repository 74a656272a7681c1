--- The load of the machine: processors, memory.
-- @module flowmap.app.live.machine

local files = require "flowmap.base.files"

local M = {}

local Machine = {}
Machine.__index = Machine

--- A meter; shares of time are measured between two readings.
-- @tparam table uv
-- @treturn Machine
function M.new(uv) return setmetatable({ uv = uv }, Machine) end

-- Time of all processors so far, and the part in which they worked.
local function times(uv)
  local all, idle = 0, 0
  local list = uv.cpu_info() or {}
  for _, cpu in ipairs(list) do
    for kind, time in pairs(cpu.times) do
      all = all + time
      if kind == "idle" then idle = idle + time end
    end
  end
  return all, all - idle, #list
end

-- Bytes that programs can still get: free ones, and those of caches.
local function available(uv)
  local kib = (files.read "/proc/meminfo" or ""):match "MemAvailable:%s*(%d+)"
  return kib and tonumber(kib) * 1024 or uv.get_free_memory()
end

--- Read the meter.
-- @treturn table { processors =, busy = share from 0 to 1 since the last reading, or nil, load =
--   mean number of running processes in the last minute, memory =, free = bytes }
function Machine:read()
  local all, busy, count = times(self.uv)
  local share
  if self.all and all > self.all then share = (busy - self.busy) / (all - self.all) end
  self.all, self.busy = all, busy
  return { processors = count, busy = share and math.max(0, math.min(1, share)),
    load = (self.uv.loadavg()), memory = self.uv.get_total_memory(), free = available(self.uv) }
end

return M
