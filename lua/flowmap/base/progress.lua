--- Progress of a long loop: a line with the remaining time, updated in place on a terminal,
-- otherwise printed at intervals. A process started by `reproduce` reports to it instead.
-- @module flowmap.base.progress

local core = require "flowmap.core"
local Status = require "flowmap.base.status"

local Progress = {}
Progress.__index = Progress

--- Seconds between two reports to the process that waits for this one; false: there is none.
Progress.reports = false

-- First character of a line that is a report to the parent rather than text.
local MARK = "\30"

-- Seconds between two lines: updated in place, as plain text.
local IN_PLACE, PLAIN = 0.1, 15

--- A duration as text: "3:05", "1:02:03", "59 days".
-- @tparam number seconds
-- @treturn string
function Progress.duration(seconds)
  if seconds ~= seconds or seconds == math.huge then return "?" end
  local s = math.floor(math.max(0, seconds) + 0.5)
  local h, m = s // 3600, s // 60 % 60
  if h > 72 then return ("%.0f days"):format(h / 24) end
  if h > 0 then return ("%d:%02d:%02d"):format(h, m, s % 60) end
  return ("%d:%02d"):format(m, s % 60)
end

--- Start a progress line.
-- @tparam string label
-- @tparam integer total
-- @tparam[opt=0] integer done where a resumed loop starts
-- @treturn Progress
function Progress.new(label, total, done)
  local status = Status.new()
  return setmetatable({
    label = label, total = total, first = done or 0, start = core.clock(), status = status,
    pause = Progress.reports or status.live and IN_PLACE or PLAIN, last = nil,
  }, Progress)
end

-- The end of the loop is always reported, unless it would be the only plain line.
local function due(self, now, done)
  if done == self.total and (self.pause ~= PLAIN or self.last) then return true end
  return now - (self.last or self.start) >= self.pause
end

--- A bar of `width` characters.
-- @tparam number part from 0 to 1
-- @tparam integer width
-- @treturn string
function Progress.bar(part, width)
  local full = math.floor(width * math.max(0, math.min(1, part)))
  return "[" .. ("#"):rep(full) .. ("."):rep(width - full) .. "]"
end

-- Texts from the longest to the shortest.
local function texts(self, done, note, left)
  local part = done / math.max(1, self.total)
  local count, wait = ("%s %d/%d"):format(self.label, done, self.total),
    self.duration(left) .. " left"
  local full = count .. (note and "  " .. note or "") .. "  " .. wait
  return { Progress.bar(part, 24) .. " " .. full, full, count .. "  " .. wait,
    ("%3.0f %%  %s"):format(math.floor(100 * part), wait), wait }
end

--- Report how far the loop is.
-- @tparam integer done
-- @tparam[opt] string note e.g. the loss
function Progress:update(done, note)
  local now = core.clock()
  if not due(self, now, done) then return end
  self.last = now
  local left = (now - self.start) / math.max(1, done - self.first) * (self.total - done)
  if Progress.reports then
    self.status:write(("%s%s\t%d\t%d\t%.3f\t%s\n"):format(MARK, self.label, done, self.total, left,
      note or ""))
  elseif self.status.live then
    self.status:show(Status.fit(texts(self, done, note, left), self.status:width()))
  else
    self.status:say(texts(self, done, note, left)[2])
  end
end

--- Parse a line that `update` wrote for the parent.
-- @tparam string line
-- @treturn ?table { label =, done =, total =, left = seconds, note = }; nil for any other line
function Progress.parse(line)
  local label, done, total, left, note = line:match(
    "^" .. MARK .. "([^\t]*)\t(%d+)\t(%d+)\t([%d.]+)\t(.*)$")
  if not label then return nil end
  return { label = label, done = tonumber(done), total = tonumber(total), left = tonumber(left),
    note = note }
end

--- End the line.
function Progress:close()
  self.status:close()
  self.last = nil
end

Progress.__close = Progress.close

return Progress
