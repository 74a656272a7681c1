--- Kinds of values of the command line. A kind converts an argument's text to its value; on failure
-- it returns nil and the expectation.
-- @module flowmap.app.kinds

local M = {}

local MANY = 0x7fffffff -- the upper limit of every number except seeds

--- The most threads, as in core/ctx.c.
M.MAX_THREADS = 256

--- The kind of whole numbers in decimal digits: "1e3", "0x10" and "3.0" are rejected, since the
-- recorded number would differ from the typed text.
-- @tparam integer low the smallest
-- @tparam ?integer high the largest
-- @treturn function a kind
function M.whole(low, high)
  high = high or MANY
  return function(text)
    local value = text:find "^%-?%d+$" and math.tointeger(tonumber(text))
    if value and value >= low and value <= high then return value end
    return nil, ("a whole number from %d to %d"):format(low, high)
  end
end

--- A seed.
-- @function M.seed
-- @tparam string text
-- @treturn ?integer
M.seed = M.whole(0, 1 << 53) -- the integers that JSON holds exactly

--- A number as `--set` reads it; its range is that of the setting.
-- @tparam string value
-- @treturn ?number
function M.real(value)
  local x = require("flowmap.experiment.settings").number(value)
  if x then return x end
  return nil, "a number"
end

-- A shell expands ~ at the start of a word alone, so that --out=~/x would make a folder named ~.
local function text(what)
  return function(value)
    if value:find "^~/" or value == "~" then
      return nil, what .. " ($HOME or ./~ in place of ~, which the shell left as it is)"
    end
    if value ~= "" then return value end
    return nil, what
  end
end

--- Names of files or folders.
M.folder, M.file = text "a folder", text "a file"

--- The name of a profile, which names a folder of results: no path leads out of it.
-- @tparam string name
-- @treturn ?string
function M.profile(name)
  if name:find "^[%w_][%w_.-]*$" then return name end
  return nil, "the name of a profile such as smoke"
end

--- A setting, "key=value".
-- @tparam string value
-- @treturn ?table { key =, value = }
function M.assignment(value)
  local key, right = value:match "^([%w_.]+)=(.+)$"
  if key then return { key = key, value = require("flowmap.experiment.settings").parse(right) } end
  return nil, "key=value"
end

--- The kind of one of some words.
-- @tparam string ...
-- @treturn function a kind
function M.one_of(...)
  local names = { ... }
  return function(value)
    for _, name in ipairs(names) do
      if value == name then return value end
    end
    return nil, table.concat(names, " or ")
  end
end

--- An option of sbatch, "NAME" or "NAME=VALUE".
-- @tparam string value
-- @treturn ?table
function M.sbatch_option(value)
  local option = require("flowmap.app.slurm.array").option(value)
  if option then return option end
  return nil, "NAME or NAME=VALUE, an option of sbatch that flowmap does not set itself"
end

local SEEDS = "how many (3 means 1, 2, 3), or a list without repetition such as 4,5"
local MANY_SEEDS = 10000

--- Seeds: "3" -> 1, 2, 3; "4,5" -> 4, 5.
-- @tparam string value
-- @treturn ?{integer,...}
function M.seeds(value)
  local list, seen = {}, {}
  for part in (value .. ","):gmatch "([^,]*)," do
    local number = M.seed(part)
    if not number or seen[number] then return nil, SEEDS end
    list[#list + 1], seen[number] = number, true
  end
  if #list > 1 then return list end
  local count = list[1]
  if count < 1 or count > MANY_SEEDS then return nil, SEEDS end
  for k = 1, count do list[k] = k end
  return list
end

--- Numbers from 1: "3,48" -> 3, 48.
-- @tparam string value
-- @treturn ?{integer,...}
function M.counts(value)
  local list, one = {}, M.whole(1, 65536)
  for part in (value .. ","):gmatch "([^,]*)," do
    local number = one(part)
    if not number then return nil, "whole numbers from 1 to 65536, such as 3,48" end
    list[#list + 1] = number
  end
  return list
end

--- Names of methods, separated by commas, without repetition.
-- @tparam string names
-- @treturn ?{string,...}
function M.methods(names)
  local list, seen = {}, {}
  for name in names:gmatch "[^,%s]+" do
    if not seen[name:lower()] then list[#list + 1] = name end
    seen[name:lower()] = true
  end
  if #list == 0 then return nil, "names of methods such as lsd,psd-m" end
  return list
end

return M
