--- Progress on standard error, which leaves standard output to results. It prints a line at the
-- start, then a bar on a terminal, or a line every ten seconds elsewhere.
-- @module flowmap.base.notice

local core = require "flowmap.core"
local Progress = require "flowmap.base.progress"
local Status = require "flowmap.base.status"

local Notice = {}
Notice.__index = Notice

--- Start a notice.
-- @tparam string label the activity
-- @tparam[opt] number total
-- @tparam[opt] function show converts a number to text
-- @treturn Notice
function Notice.new(label, total, show)
  local status = Status.new(2)
  status:say(label .. " ...")
  return setmetatable({ total = total, last = core.clock(), start = core.clock(), status = status,
    show = show or function(n) return ("%d"):format(n) end }, Notice)
end

-- Texts from the longest to the shortest.
local function texts(self, done, now)
  local text = self.show(done)
  if not self.total or self.total <= 0 then return { text } end
  local part = math.min(1, done / self.total)
  local left = Progress.duration((now - self.start) * (1 - part) / math.max(part, 1e-6)) .. " left"
  local percent = ("%3.0f %%  "):format(100 * part)
  local full = percent .. ("%s of %s  "):format(text, self.show(self.total)) .. left
  return { Progress.bar(part, 24) .. " " .. full, full, percent .. left }
end

--- Report progress.
-- @tparam number done amount done so far
function Notice:update(done)
  local now, status = core.clock(), self.status
  if now - self.last < (status.live and 0.1 or 10) then return end
  self.last = now
  if status.live then
    status:show(Status.fit(texts(self, done, now), status:width()))
  else
    status:say(texts(self, done, now)[1])
  end
end

--- Remove the bar.
function Notice:close() self.status:clear() end

Notice.__close = Notice.close

return Notice
