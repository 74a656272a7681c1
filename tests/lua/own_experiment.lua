-- Experiments written for a test, each in a file of its own in the sandbox.

local experiment = require "flowmap.experiment"
local sandbox = require "sandbox"
local t = require "harness"

local M = { count = 0 }

--- Load an experiment from its text.
function M.load(text)
  M.count = M.count + 1
  return experiment.load(sandbox.write(("own%d.lua"):format(M.count), text))
end

--- Check that loading an experiment with these fields is refused as a usage error.
-- @tparam string fields Lua text; a profile is added if it names none
-- @tparam string pattern
function M.refused(fields, pattern)
  local profiles = fields:find "profiles" and "" or "profiles = { smoke = {} }, "
  local err = t.raises(function() M.load("return { name = 'x', " .. profiles .. fields .. " }") end,
    pattern)
  t.eq(err.code, "usage", fields)
end

return M
