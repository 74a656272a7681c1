--- A status line that is updated in place on a terminal and fits its current width. Elsewhere, and
-- on a terminal without cursor movement (TERM=dumb), nothing is rewritten. Escape sequences are
-- sent only to a terminal, and not if NO_COLOR is set.
--
-- The cursor rests at the start of the line: when a terminal is made narrower and wraps the line,
-- the cursor stays there, and erasing from the cursor onwards removes both halves.
-- @module flowmap.base.status

local core = require "flowmap.core"
local plain = require "flowmap.base.text"

local Status = {}
Status.__index = Status

local function set(variable)
  local value = os.getenv(variable)
  return value ~= nil and value ~= ""
end

--- Create a status line.
-- @tparam[opt=1] integer fd 1 for standard output, 2 for standard error
-- @treturn Status its field `live` tells whether the line is rewritten in place
function Status.new(fd)
  fd = fd or 1
  local live = core.columns(fd) ~= nil and set "TERM" and os.getenv "TERM" ~= "dumb"
  return setmetatable({ fd = fd, file = fd == 1 and io.stdout or io.stderr, live = live,
    escapes = not set "NO_COLOR", drawn = 0, broken = false }, Status)
end

--- Columns available to the line: one fewer than the terminal has, so that it never wraps.
-- @treturn integer
function Status:width()
  local columns = core.columns(self.fd) or 0
  return (columns > 0 and columns or 80) - 1
end

-- An upper bound on the columns of a code point: any that is not ASCII may be wide.
local function columns_of(code) return code < 0x7f and 1 or 2 end

--- The longest start of a text that fits into a number of columns. Control characters, marks that
-- change the writing direction, and bytes that are not UTF-8 become question marks.
-- @tparam string text
-- @tparam integer width columns
-- @treturn string
-- @treturn integer upper bound on the columns taken
function Status.cut(text, width)
  text = plain.line(text, #text)
  local used = 0
  for at, code in utf8.codes(text) do
    local more = columns_of(code)
    if used + more > width then return text:sub(1, at - 1), used end
    used = used + more
  end
  return text, used
end

--- The first of several texts that fits, or the start of the last one.
-- @tparam {string,...} texts from the longest to the shortest
-- @tparam integer width columns
-- @treturn string
function Status.fit(texts, width)
  for _, text in ipairs(texts) do
    local cut = Status.cut(text, width)
    if #cut == #text then return cut end
  end
  return (Status.cut(texts[#texts], width))
end

--- Write and flush. The first failure is kept: its message in `broken`, its number in `errno`.
function Status:write(...)
  local ok, message, errno = self.file:write(...)
  if ok then ok, message, errno = self.file:flush() end
  if not ok and not self.broken then self.broken, self.errno = message, errno end
end

-- The text that erases the current line.
local function erasure(self)
  if self.drawn == 0 then return "" end
  return self.escapes and "\27[J" or (" "):rep(math.min(self.drawn, self:width())) .. "\r"
end

--- Replace the line by a text.
-- @tparam string text one line
function Status:show(text)
  if not self.live then return end
  local cut, used = Status.cut(text, self:width())
  self:write(erasure(self), cut, "\r")
  self.drawn = used
end

--- Print a line above the status line.
-- @tparam string text
function Status:say(text)
  self:write(erasure(self), text, "\n")
  self.drawn = 0
end

--- End the line and leave it on the screen.
function Status:close()
  if self.drawn > 0 then self:write "\n" end
  self.drawn = 0
end

--- Erase the line.
function Status:clear()
  if self.drawn > 0 then self:write(erasure(self)) end
  self.drawn = 0
end

Status.__close = Status.close

return Status
