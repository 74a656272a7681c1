--- Progress on standard error: results go to standard output alone. A line at the start; then a bar
-- on a terminal, or a line every ten seconds.
-- @module flowmap.data.images.notice

local fm = require "flowmap"

local Notice = {}
Notice.__index = Notice

--- Start.
-- @tparam string label what is going on
-- @tparam[opt] number total
-- @tparam[opt] function show number -> text
-- @treturn Notice
function Notice.new(label, total, show)
  io.stderr:write(label, " ...\n")
  return setmetatable({ label = label, total = total, last = fm.clock(), start = fm.clock(),
    show = show or function(n) return ("%d"):format(n) end, terminal = fm.isatty(2) }, Notice)
end

--- Tell how far it is.
-- @tparam number done
function Notice:update(done)
  local now = fm.clock()
  if now - self.last < (self.terminal and 0.1 or 10) then return end
  self.last = now
  local text = self.show(done)
  if self.total and self.total > 0 then
    local part = math.min(1, done / self.total)
    local full = math.floor(24 * part)
    text = ("[%s%s] %3.0f %%  %s of %s  %s left"):format(("#"):rep(full), ("."):rep(24 - full),
      100 * part, text, self.show(self.total), require("flowmap.progress").duration(
        (now - self.start) * (1 - part) / math.max(part, 1e-6)))
  end
  io.stderr:write(self.terminal and "\r\27[K" or "", text, self.terminal and "" or "\n")
  self.drawn = self.terminal
end

--- End the line of the bar.
function Notice:close()
  if self.drawn then io.stderr:write "\r\27[K" end
  self.drawn = false
end

Notice.__close = Notice.close

return Notice
