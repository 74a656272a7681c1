--- libuv and the signals that ask a command to end.
-- @module flowmap.app.signals

local errors = require "flowmap.base.errors"
local files = require "flowmap.base.files"

local M = {}

local NUMBERS = { sighup = 1, sigint = 2, sigterm = 15 }

--- libuv's Lua module.
-- @treturn table
function M.uv()
  local ok, uv = pcall(require, "luv")
  if not ok then
    errors.usage("the Lua module luv is not installed; .ci/deps.sh installs it")
  end
  return uv
end

-- Whether a signal was already ignored when this process started (`nohup`, a shell's `&`); it then
-- stays ignored.
local function ignored(number)
  local mask = (files.read "/proc/self/status" or ""):match "SigIgn:%s*(%x+)"
  return mask ~= nil and tonumber(mask, 16) >> (number - 1) & 1 == 1
end

-- A handle that is still open when Lua ends would be released after libuv is gone.
local function close(self)
  for _, handle in ipairs(self) do
    if not handle:is_closing() then handle:close() end
  end
  self.uv.run "nowait"
end

--- A list of handles that are closed, and released by the loop, when it is closed.
-- @tparam table uv
-- @treturn {handle,...} to be appended to
function M.handles(uv)
  return setmetatable({ uv = uv }, { __close = close })
end

--- Handle SIGHUP, SIGINT and SIGTERM.
-- @tparam table uv
-- @tparam {handle,...} handles the signals' handles are appended
-- @tparam function heard called from libuv's loop with the signal's name
function M.watch(uv, handles, heard)
  for name, number in pairs(NUMBERS) do
    if not ignored(number) then
      local handle = uv.new_signal()
      handle:start(name, function() heard(name) end)
      handles[#handles + 1] = handle
    end
  end
end

return M
