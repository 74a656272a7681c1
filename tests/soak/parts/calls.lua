--- The k-th system call of a command fails (no space, an error of the device, an interruption, too
-- many files, tasks or mappings), is done by parts, or is the last one of a process that is killed:
-- one sentence and exit code 2 or 3, or success with the same results; existing files stay whole,
-- and the command, repeated, gives the same results.
-- @module calls

local files = require "flowmap.base.files"
local place = require "place"

local M = { what = "a system call fails, or the process is killed there", unit = "calls" }

local COMMANDS = { "run", "resume", "sample", "import", "render" }
local KINDS = { "ENOSPC", "EIO", "EINTR", "SHORT", "EMFILE", "EAGAIN", "ENOMEM", "KILL", "DIED" }
local CODES = { [2] = true, [3] = true }

local function case(name, kind)
  local command, killed = place.commands[name], kind == "KILL" or kind == "DIED"
  local function go(k)
    os.remove "report"
    local code = place.flowmap(command.args, ("./fail_call %s %d report"):format(kind, k),
      command.first)
    if not files.exists "report" then error("soak: " .. place.said(), 0) end
    return code, files.read "report"
  end
  return { name = name .. "/" .. kind, about = 170,
    count = function()
      local code, report = go(0)
      return code == 0 and tonumber(report:match "%d+") or error(name .. ": " .. place.said())
    end,
    try = function(k, again)
      local code, report = go(k)
      local lost = place.lost(command, code, { codes = kind == "SHORT" and {} or CODES,
        killed = killed, again = again or killed })
      return lost and report:match "^%d+ ([^\n]*)" .. ": " .. lost
    end }
end

--- Why this machine cannot do it, or nil.
function M.unable()
  place.enter()
  local code = place.shell "./fail_call EIO 0 report true 2>err"
  return code ~= 0 and place.said() or nil
end

function M.cases()
  place.enter()
  local list = {}
  for _, name in ipairs(COMMANDS) do
    for _, kind in ipairs(KINDS) do list[#list + 1] = case(name, kind) end
  end
  return list
end

return M
