--- The results that a chapter may refer to, of its own experiment and of others: runs, rendered
-- tables and figures, either where `reproduce` writes them or in a folder of published sets (see
-- flowmap.app.publish). Each set of runs is opened once.
-- @module flowmap.report.context

local chapters = require "flowmap.experiment.chapters"
local errors = require "flowmap.base.errors"
local load_experiment = require("flowmap.experiment").load
local meaning = require "flowmap.runs.meaning"
local render = require "flowmap.report.render"
local results = require "flowmap.report.results"

local M = {}

local Context = {}
Context.__index = Context

--- A context.
-- @tparam ?string experiment the chapter's own
-- @tparam table how {profile=, results= (folder, default "results"), published= (a folder of
--   published sets, in place of both), output= (the page's folder, default "paper/build"), sets=
--   (those that other chapters have opened, by name), made= (true: all runs are up to date)}
-- @tparam string path of the chapter
-- @treturn Context { experiment =, path = }
function M.new(experiment, how, path)
  return setmetatable({ experiment = experiment, path = path, sets = how.sets or {}, effects = {},
    loaded = {}, output = how.output or "paper/build", base = how.results or "results",
    profile = how.profile, published = how.published, made = how.made }, Context)
end

-- The folder of an experiment's results, in one of its parts.
function Context:folder(name, part)
  if not name then
    errors.data "this chapter has no experiment of its own; name one: EXPERIMENT/..."
  elseif self.published then
    return ("%s/%s%s"):format(self.published, name, part == "runs" and "/runs" or "")
  end
  return ("%s/%s/%s%s"):format(self.base, name, self.profile, part == "runs" and "" or "/" .. part)
end

--- The runs of an experiment.
-- @tparam string name
-- @treturn Set
function Context:set(name)
  local folder = self:folder(name, "runs")
  local open = self.published and results.copies or results.open
  self.sets[name] = self.sets[name] or open(folder)
  return self.sets[name]
end

--- The path of a rendered table.
-- @tparam string experiment
-- @tparam string name
-- @treturn string
function Context:table(experiment, name)
  return ("%s/%s.md"):format(self:folder(experiment, "tables"), name)
end

--- The path of a rendered figure, without its extension.
-- @tparam string experiment
-- @tparam string name
-- @treturn string
function Context:figure(experiment, name)
  return ("%s/%s"):format(self:folder(experiment, "figures"), name)
end

--- An experiment of the page: this chapter's, or another chapter's of the suite.
-- @tparam string name
-- @treturn ?table nil if no chapter has the name, or this one defines no experiment
function Context:experiment_of(name)
  if self.loaded[name] == nil then
    local file = name == self.experiment and self.path
    for _, other in ipairs(file and {} or chapters.experiments()) do
      if other:match "([^/]+)%.lua$" == name then file = other end
    end
    local is = file and (file ~= self.path or meaning.returns(results.read_file(file)))
    self.loaded[name] = is and load_experiment(file) or false
  end
  return self.loaded[name] or nil
end

--- The effects of a render entry, of this chapter's experiment or of another chapter's.
-- @tparam string name of the experiment
-- @tparam string entry
-- @treturn table see flowmap.report.render
function Context:effects_of(name, entry)
  local key = tostring(name) .. " " .. entry
  if not self.effects[key] then
    local exp = self:experiment_of(name) or errors.data("there is no chapter '%s'", tostring(name))
    self.effects[key] = render.effects(exp, entry, self:set(name))
  end
  return self.effects[key]
end

return M
