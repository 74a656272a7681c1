--- The k-th allocation of a command fails, or it and all that follow: exit code 2 and one sentence
-- about memory, or success with the same results; existing files stay whole.
-- @module alloc

local files = require "flowmap.base.files"
local place = require "place"

local M = { what = "an allocation fails", unit = "allocations" }

local ONE_OF = math.tointeger(tonumber(os.getenv "ONE_OF" or 97)) -- fails in a pass of children

local COMMANDS = { "start", "trace", "explain", "run", "resume", "sample", "import", "render" }

local function preload(k, all)
  return ("FAIL_AT=%d FAIL_ALL=%d FAIL_COUNT=count LD_PRELOAD=./fail.so"):format(k, all)
end

local function case(name, all)
  local command = place.commands[name]
  local function go(k) return place.flowmap(command.args, preload(k, all), command.first) end
  return { name = name .. (all == 1 and "/all" or "/one"), about = 23000,
    count = function()
      os.remove "count"
      local code = go(0)
      local count = tonumber(files.read "count")
      return code == 0 and count or error(("%s fails undisturbed: %s"):format(name, place.said()))
    end,
    try = function(k, again)
      return place.lost(command, go(k), { codes = { [2] = true }, about = "memory", again = again })
    end }
end

-- A pass: at every ONE_OFth allocation the command forks, and that allocation fails in the child
-- (see fail_alloc.c). A point is a pass, its allocations count.
local function pass(name, all, k)
  local command, tried, first = place.commands[name], 0, nil
  place.forking(command, ("FAIL_ALL=%d FORK_EVERY=%d FORK_AT=%d"):format(all, ONE_OF, k),
    function(at, code)
      tried = tried + 1
      local what = place.lost(command, code, { codes = { [2] = true }, about = "memory" })
      first = first or what and ("alloc/%s/%s/%d: %s"):format(name, all == 1 and "all" or "one", at,
        what)
      if code == 0 then place.shell(command.first or "true") end
    end)
  return first, tried
end

local function forking(name, all)
  return { name = name .. (all == 1 and "/forked-all" or "/forked"),
    count = function() return ONE_OF end, try = function(k) return pass(name, all, k) end }
end

function M.cases()
  place.enter()
  local list = {}
  for _, name in ipairs(COMMANDS) do
    for all = 0, 1 do
      list[#list + 1] = forking(name, all)
      list[#list + 1] = case(name, all)
    end
  end
  return list
end

return M
