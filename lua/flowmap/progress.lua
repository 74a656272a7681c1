--- Progress of a long loop: a bar with the time left on a terminal, else plain lines now and then.
-- @module flowmap.progress

local fm = require "flowmap"

local Progress = {}
Progress.__index = Progress

--- A duration for people: "3:05", "1:02:03", "59 days".
-- @tparam number seconds
-- @treturn string
function Progress.duration(seconds)
  local s = math.floor(math.max(0, seconds) + 0.5)
  local h, m = s // 3600, s // 60 % 60
  if h > 72 then return ("%.0f days"):format(h / 24) end
  if h > 0 then return ("%d:%02d:%02d"):format(h, m, s % 60) end
  return ("%d:%02d"):format(m, s % 60)
end

--- Start.
-- @tparam string label
-- @tparam integer total
-- @tparam[opt=0] integer done where a resumed loop starts
-- @treturn Progress
function Progress.new(label, total, done)
  local bar = setmetatable({
    label = label, total = total, first = done or 0, start = fm.clock(),
    terminal = fm.isatty(1), last = nil,
  }, Progress)
  return bar
end

-- On a terminal every 0.1 s, else every 15 s; then the end, too, is told.
local function due(self, now, done)
  if done == self.total and (self.terminal or self.last) then return true end
  return now - (self.last or self.start) >= (self.terminal and 0.1 or 15)
end

--- Tell how far the loop is.
-- @tparam integer done
-- @tparam[opt] string note e.g. the loss
function Progress:update(done, note)
  local now = fm.clock()
  if not due(self, now, done) then return end
  self.last = now
  local left = (now - self.start) / math.max(1, done - self.first) * (self.total - done)
  local text = ("%s %d/%d  %s  %s left"):format(self.label, done, self.total, note or "",
    self.duration(left))
  if self.terminal then
    local width = 24
    local full = math.floor(width * done / self.total)
    io.stdout:write("\r\27[K[", ("#"):rep(full), ("."):rep(width - full), "] ", text)
  else
    io.stdout:write(text, "\n")
  end
  io.stdout:flush()
end

--- End the line of the bar.
function Progress:close()
  if self.terminal and self.last then io.stdout:write "\n" end
  self.last = nil
end

Progress.__close = Progress.close

return Progress
