--- A JSON Lines file that is read while another process appends to it. Each call reads only what is
-- new. A last line without its end waits for the rest; lines that are not JSON objects are passed
-- over; a file that was replaced or has become shorter is read again from its start.
-- @module flowmap.app.live.follow

local json = require "flowmap.base.json"
local lfs = require "lfs"
local regular = require "flowmap.base.regular"

local M = {}

local CHUNK = 1 << 21   -- bytes read at a time, so that no file can hold up its reader for long
local LONGEST = 1 << 16 -- bytes of a line; a longer one is passed over

local Follow = {}
Follow.__index = Follow

--- Follow a file, which need not exist yet.
-- @tparam string path
-- @tparam table handlers line(value) for each object, restarted() before a file is read again
-- @treturn Follow its field `changed`: seconds since the epoch when the file was last written
function M.new(path, handlers)
  return setmetatable({ path = path, handlers = handlers, offset = 0, rest = "" }, Follow)
end

local function restart(self)
  self.offset, self.rest, self.skipping = 0, "", false
  if self.inode then self.handlers.restarted() end
end

local function take(self, line)
  local value = json.decode(line)
  if type(value) == "table" then self.handlers.line(value) end
end

-- Split at line ends; what is left of a line that is too long is skipped.
local function split(self, text)
  local at, stop = 1, text:find("\n", 1, true) -- a pattern would take quadratic time without one
  while stop do
    if not self.skipping then take(self, text:sub(at, stop - 1)) end
    self.skipping, at = false, stop + 1
    stop = text:find("\n", at, true)
  end
  self.rest = self.skipping and "" or text:sub(at)
  if #self.rest > LONGEST then self.rest, self.skipping = "", true end
end

--- Read what is new.
-- @treturn boolean whether more can be read at once
function Follow:read()
  local is = not regular.fault(self.path) and lfs.attributes(self.path)
  if not is then return false end
  if is.ino ~= self.inode or is.size < self.offset then restart(self) end
  self.inode, self.changed = is.ino, is.modification
  if is.size == self.offset then return false end
  local file <close> = io.open(self.path, "rb")
  if not file or not file:seek("set", self.offset) then return false end
  local text = file:read(CHUNK) or ""
  self.offset = self.offset + #text
  split(self, self.rest .. text)
  return #text == CHUNK
end

return M
