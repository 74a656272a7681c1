--- The command `settings`: what `--set` takes, from the list that also checks it. With an
-- experiment, its own settings, the values that a profile gives, and what no run of it reads.
-- @module flowmap.app.setting_list

local conditions = require "flowmap.experiment.conditions"
local effect = require "flowmap.experiment.effect"
local errors = require "flowmap.base.errors"
local experiment = require "flowmap.experiment"
local losses = require "flowmap.losses"
local parts = require "flowmap.experiment.parts"
local ranges = require "flowmap.experiment.ranges"
local settings = require "flowmap.experiment.settings"
local tree = require "flowmap.tree"

local M = {}

local WIDTH, INDENT = 80, "    "

-- Lines of at most WIDTH columns, all indented.
local function wrapped(text)
  local lines, line = {}, INDENT
  for word in text:gmatch "%S+" do
    if #line + 1 + #word > WIDTH and line ~= INDENT then
      lines[#lines + 1], line = line, INDENT
    end
    line = line == INDENT and line .. word or line .. " " .. word
  end
  lines[#lines + 1] = line
  return table.concat(lines, "\n")
end

local function shown(value)
  local text = settings.text(value)
  return text == "" and "empty" or text
end

-- The description of a setting: { key, kind =, range =, default =, meaning =, when = }.
local function described(key, own)
  local it = settings.by_key[key]
  local default = own[key]
  if it then default = it.default end
  return { key, kind = settings.kind(default), default = shown(default),
    range = it and ranges.words(it.check), when = it and conditions.words(it.when),
    meaning = it and it.meaning or "a setting of the experiment's own" }
end

-- The text of one setting; `of` adds its value in an experiment.
local function block(it, of)
  local head = ("%s  %s%s; default %s"):format(it[1], it.kind,
    it.range and ": " .. it.range or "", it.default)
  local lines = { head, wrapped(it.meaning) }
  if it.when then lines[#lines + 1] = wrapped("Read if " .. it.when .. ".") end
  if of then lines[#lines + 1] = wrapped(of) end
  return table.concat(lines, "\n")
end

-- A function that states the value of a setting in an experiment; nil without an experiment.
local function values_of(it, args)
  if not it then
    for _, name in ipairs { "profile", "method" } do
      if args[name] then errors.usage("--%s requires --experiment", name) end
    end
    return nil
  end
  local cfg = experiment.resolve(it, { profile = args.profile, method = args.method })
  local loss = losses.find(cfg.method, it.losses)
  return function(key)
    if cfg[key] == nil then return "Unset here: no part of this run declares it." end
    local read, why = effect.reads(key, it, cfg, loss)
    return ("Here %s (%s, %s)%s."):format(shown(cfg[key]), cfg.profile, cfg.method,
      read and "" or "; not read, " .. why)
  end
end

--- Print the settings.
-- @tparam table args name, experiment, profile, method
function M.run(args)
  local it = args.experiment and experiment.load(args.experiment)
  if it and it.run then
    errors.usage("%s trains no flow map: of the settings it reads what its `run` reads", it.path)
  end
  local own, value = it and parts.options(it) or {}, values_of(it, args)
  local keys = {}
  for k, known in ipairs(settings.list) do keys[k] = known[1] end
  table.move(tree.keys(own), 1, #tree.keys(own), #keys + 1, keys)
  if args.name then keys = { errors.choice("setting", args.name, keys) } end
  local blocks = {}
  for k, key in ipairs(keys) do blocks[k] = block(described(key, own), value and value(key)) end
  io.stdout:write(table.concat(blocks, "\n"), "\n")
end

return M
