--- A full screen of a terminal that is redrawn without flicker: each frame is one write that
-- overwrites the one before, line by line. Lines do not wrap while it is open, so that a terminal
-- that is made narrower meanwhile cuts them. What was on the screen before returns at the end.
-- @module flowmap.app.live.screen

local signals = require "flowmap.app.signals"

local M = {}

local OPEN = "\27[?1049h\27[?25l\27[?7l\27[2J" -- other screen, no cursor, no wrapping, erased
local CLOSE = "\27[?7h\27[?25h\27[?1049l"
local HOME, END_OF_LINE, BELOW = "\27[H", "\27[K", "\27[J"

local Screen = {}
Screen.__index = Screen

--- Take the screen of standard output, a terminal.
-- @tparam table uv
-- @treturn Screen to be closed; its field `broken` is set when the terminal is gone
function M.open(uv)
  local self = setmetatable({ handles = signals.handles(uv), file = io.stdout }, Screen)
  self.tty = uv.new_tty(1, false)
  self.handles[1] = self.tty
  self:show()
  return self
end

local function write(self, text)
  local ok = self.file:write(text) and self.file:flush()
  if not ok then self.broken = true end
end

--- Take the screen, for the first time or again.
function Screen:show()
  if not self.open then write(self, OPEN) end
  self.open = true
end

--- Give the screen back.
function Screen:hide()
  if self.open then write(self, CLOSE) end
  self.open = false
end

--- Its size.
-- @treturn integer columns
-- @treturn integer rows
function Screen:size()
  local width, height = 0, 0
  if self.tty then width, height = self.tty:get_winsize() end
  width, height = tonumber(width) or 0, tonumber(height) or 0
  return width > 0 and width or 80, height > 0 and height or 24
end

--- Replace what is shown.
-- @tparam {string,...} lines at most as many as there are rows
function Screen:draw(lines)
  write(self, HOME .. table.concat(lines, END_OF_LINE .. "\n") .. END_OF_LINE .. BELOW)
end

function Screen:__close()
  self:hide()
  local handles <close> = self.handles -- luacheck: ignore
end

return M
