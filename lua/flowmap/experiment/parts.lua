--- The parts that an experiment defines and the settings that they declare: where
-- flowmap.base.registry and flowmap.experiment.settings meet.
-- @module flowmap.experiment.parts

local errors = require "flowmap.base.errors"
local registry = require "flowmap.base.registry"
local settings = require "flowmap.experiment.settings"
local source = require "flowmap.runs.source"
local tree = require "flowmap.tree"

local M = {}

-- The modules that hold a registry, by the field of an experiment.
local MODULES = {
  losses = "losses", nets = "nets", data = "data", times = "times", interpolants = "interpolants",
  metrics = "measure.measures", figures = "experiment.render_list",
}

--- The fields of an experiment that hold the parts it defines.
M.fields = tree.keys(MODULES)

-- The settings that name a part, and the field of an experiment with parts of that kind.
local NAMED = { net = "nets", data = "data", times = "times", interpolant = "interpolants" }

local function registry_of(field)
  return source.peek("flowmap." .. MODULES[field]).registry -- no input of the run
end

local function own_parts(it)
  local fields = {}
  for _, field in ipairs(M.fields) do
    if it[field] then fields[#fields + 1] = field end
  end
  return fields
end

-- Every setting that the experiment or one of its parts declares: key -> { default =,
-- by = { "nets wavy", ... } or nil for the experiment's }.
local function declared(it)
  local all = {}
  for key, default in pairs(it.options or {}) do all[key] = { default = default } end
  for _, field in ipairs(own_parts(it)) do
    for _, name in ipairs(field ~= "figures" and tree.keys(it[field]) or {}) do
      for key, default in pairs(registry.options(it[field][name])) do
        local known = all[key] or { default = default, by = {} }
        if settings.text(known.default) ~= settings.text(default) then
          errors.usage("%s: the option %s has the default %s in %s.%s, but %s elsewhere",
            it.path or it.name, key, settings.text(default), field, name,
            settings.text(known.default))
        end
        if known.by then known.by[#known.by + 1] = { field = field, name = name } end
        all[key] = known
      end
    end
  end
  return all
end

local SELECTING = { all = true, none = true } -- words of the setting `metrics`, see `metrics_of`

local function check_metrics(own, path)
  for name, part in pairs(own) do
    local format = type(part) == "table" and rawget(part, "format")
    if SELECTING[name:lower()] then
      errors.usage("%s: metrics['%s'] has a name by which the setting metrics selects; choose "
        .. "another", path, name)
    elseif format and not pcall(string.format, format, 0.5) then
      errors.usage("%s: metrics['%s']: format must be that of one number, such as %%.4f, found "
        .. "'%s'", path, name, format)
    end
  end
end

--- Check the parts of an experiment and what they declare.
-- @tparam table it an experiment
-- @tparam string path
function M.check(it, path)
  for _, field in ipairs(own_parts(it)) do registry_of(field):check(it[field], path) end
  check_metrics(it.metrics or {}, path)
  registry.check_options(it.options or {}, path .. ": options")
  for key in pairs(declared(it)) do
    if settings.by_key[key] then
      errors.usage("%s: the option %s has the name of a setting (%s); choose another", path, key,
        settings.by_key[key].meaning)
    end
  end
end

--- Check a method of the suite like those of an experiment: a field that nothing reads would be
-- dropped without a word.
-- @tparam string module e.g. "flowmap.methods.lsd"
function M.check_method(module)
  local path = ("lua/%s.lua"):format(module:gsub("%.", "/"))
  registry_of("losses"):check_part(source.peek(module), path, "must be")
end

--- The settings that an experiment and its parts declare.
-- @tparam table it an experiment
-- @treturn table key -> default
function M.options(it)
  local options = {}
  for key, option in pairs(declared(it)) do options[key] = option.default end
  return options
end

-- Whether the run uses a part.
local function used(cfg, loss, part)
  if part.field == "losses" then return loss.entry == part.name end
  if part.field == "metrics" then
    for _, name in ipairs(cfg.metrics) do
      if name == part.name then return true end
    end
    return false
  end
  for key, field in pairs(NAMED) do
    if field == part.field then return cfg[key] == part.name end
  end
end

-- "net wavy or data set disc"
local function users(option)
  local words = {}
  for i, part in ipairs(option.by) do
    words[i] = ("the %s '%s'"):format(registry.by_field[part.field].what, part.name)
  end
  return table.concat(words, " or ")
end

-- The metrics that are chosen, each of them once.
local function metrics_of(chosen, own)
  local names, seen = require("flowmap.measure.measures").names_of(chosen, own), {}
  for _, name in ipairs(names) do
    if seen[name] then errors.usage("metrics names '%s' twice, expected each metric once", name) end
    seen[name] = true
  end
  return names
end

--- Replace names of parts by their registered spelling, and drop declared settings of parts that
-- the run does not use.
-- @tparam table it an experiment
-- @tparam table cfg its settings, changed in place
-- @tparam table loss what losses.find returned
-- @tparam table set the user's settings, none of which may be without effect
function M.resolve(it, cfg, loss, set)
  for key, field in pairs(NAMED) do cfg[key] = registry_of(field):name(cfg[key], it[field]) end
  cfg.metrics = metrics_of(cfg.metrics, it.metrics)
  for key, option in pairs(declared(it)) do
    local read = not option.by
    for _, part in ipairs(option.by or {}) do read = read or used(cfg, loss, part) end
    if not read then
      if set[key] ~= nil then
        errors.usage("--set: %s has no effect here; it is a setting of %s", key, users(option))
      end
      cfg[key] = nil
    end
  end
end

return M
