--- Which values a shell offers for an argument of the command line: words, files or folders.
-- @module flowmap.app.values

local core = require "flowmap.core"

local M = {}

--- The shells for which there is a completion.
M.shells = { "bash", "zsh" }

-- The choices of a setting, from the expectation that its range states: "one of map, euler, ...".
local function choices_of(key)
  local _, expected = require("flowmap.experiment.settings").by_key[key].check ""
  local list = {}
  for word in expected:match "^one of (.*)$":gmatch "[^,%s]+" do list[#list + 1] = word end
  return list
end

local function names_in(list)
  local names = {}
  for k, it in ipairs(list) do names[k] = it.name end
  table.sort(names)
  return names
end

local function methods() return require("flowmap.losses").names() end

-- Data sets of images are those with a shape; the others need no file.
local function image_sets()
  local data, list = require "flowmap.data", {}
  for _, name in ipairs(data.names()) do
    if data.find(name).shape then list[#list + 1] = name end
  end
  return list
end

local function settings()
  local keys = require("flowmap.experiment.settings").keys()
  table.sort(keys)
  return keys
end

-- By the name of an argument: the kind of its values, and the words.
local BY_KEY = {
  profile = { "words", function() return require("flowmap.experiment").profiles end },
  method = { "words", methods },
  methods = { "list", methods },
  sampler = { "words", function() return choices_of "sampler" end },
  set = { "settings", settings },
  program = { "words", function() return names_in(core.passes()) end },
  op = { "words", function() return names_in(core.ops()) end },
  shell = { "words", function() return M.shells end },
  experiment = { "lua" }, experiments = { "lua" }, chapters = { "files" },
}

local BY_COMMAND = { -- where the name alone does not tell
  ["methods name"] = { "words", methods },
  ["settings name"] = { "words", settings },
  ["data fetch name"] = { "words", image_sets },
  ["data import name"] = { "words", image_sets },
  ["data verify name"] = { "words", image_sets },
}

--- The values of an argument.
-- @tparam string command e.g. "data fetch"
-- @tparam table argument as of flowmap.app.usage
-- @treturn string "words"; "list", words joined by commas; "settings", words each followed by
-- "="; "files", "folders", "lua", files of Lua; or "none", anything else
-- @treturn {string,...} the words
function M.of(command, argument)
  local it = BY_COMMAND[command .. " " .. argument.key] or BY_KEY[argument.key]
  if it then return it[1], it[2] and it[2]() or {} end
  if argument.kind == "folder" then return "folders", {} end
  if argument.kind == "file" then return "files", {} end
  return "none", {}
end

return M
