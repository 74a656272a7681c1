--- A million steps of a tiny network in one process, with flat memory: the memory of the core, that
-- of Lua, and the memory that the system counts do not grow after the first tenth.
-- @module steps

local files = require "flowmap.base.files"
local place = require "place"

local M = { what = "a million steps with flat memory", unit = "steps" }

local STEPS = math.tointeger(tonumber(os.getenv "STEPS" or 1000000))

function M.cases()
  place.enter()
  return { { name = "training", count = function() return 1 end,
    try = function()
      local script = files.quote(place.here .. "/tests/soak/train.lua")
      local args = ("lua %s -- %d"):format(script, STEPS)
      local code = place.flowmap(args, nil, "rm -rf steps", 7200)
      if code ~= 0 then return ("exit code %d: %s"):format(code, place.said()), STEPS end
      return nil, STEPS
    end } }
end

return M
