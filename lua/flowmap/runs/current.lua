--- Changes since a run was made, for any folder of a run: its sources, data and numerics
-- and, if it is one of its experiment's runs, the settings that the experiment gives it now.
-- Nothing is made or downloaded for the answer.
-- @module flowmap.runs.current

local accept = require "flowmap.runs.accept"
local cache = require "flowmap.runs.cache"
local data = require "flowmap.data"
local errors = require "flowmap.base.errors"
local experiment = require "flowmap.experiment"
local files = require "flowmap.base.files"
local packed = require "flowmap.data.packed"
local settings = require "flowmap.experiment.settings"

local M = {}

local Current = {}
Current.__index = Current

--- Answers for many runs; what was found out about a file is kept.
-- @tparam[opt] {string,...} paths of experiments that are not the suite's
-- @treturn Current
function M.new(paths)
  local self = setmetatable({ experiments = {}, found = {}, faults = {}, planned = {} }, Current)
  for _, path in ipairs(paths or {}) do
    local it = experiment.load(path)
    self.experiments[it.name] = it
  end
  return self
end

-- The experiment of a run, or nil and why it is not known.
function Current:experiment(config)
  local name = config.experiment
  if not self.experiments[name] and not self.faults[name] then
    local ok, it = errors.pcall(accept.experiment_of, config, nil, "runs")
    if ok then self.experiments[name] = it end
    if not ok then self.faults[name] = select(2, errors.explain(it)) end
  end
  return self.experiments[name], self.faults[name]
end

-- Whether the data of a run exist; images that do not are not made for the answer.
local function has_data(it, config)
  local ok, set = pcall(data.find, config.data, it.data, config)
  return ok and (not set.shape or packed.ready(set))
end

local function keep_settings(now, was)
  for key in pairs(now) do
    if key:find "^setting " then now[key] = was[key] end
  end
  for key, text in pairs(was) do
    if key:find "^setting " then now[key] = text end
  end
end

-- A published run has no weights beside it, nor have its teachers: theirs count as they were. That
-- they are the teachers' is checked where a set is (flowmap.app.publish).
local function keep_teachers(inputs, it, config)
  if files.exists(it.dir .. "/.flowmap") then return end
  for _, key in ipairs { "teacher", "start" } do
    if inputs[key] and not files.exists(config[key]) then inputs[key] = it.inputs[key] end
  end
end

-- The inputs that a run counts as made from.
local function counted(it)
  local ended = it.manifest or it.diverged
  if not ended then return cache.unfinished(it.dir, it.inputs) end
  return it.accepted and it.accepted.inputs or it.inputs
end

function Current:compare(it)
  local known, fault = self:experiment(it.config)
  if not known then return nil, fault end
  if known.run then return nil, "the experiment keeps no record of what its runs are made from" end
  if not has_data(known, it.config) then return nil, "its images are not here" end
  local config = settings.complete(it.config)
  self.planned[known] = self.planned[known] or {}
  -- The settings that the experiment gives the run now; none for a run of the user's own.
  local run = experiment.run_named(known, config, it.dir:match "[^/]+$", self.planned[known])
  local cfg = run and run.cfg
  local was = counted(it)
  if was.version then return { "it was recorded by an earlier version" } end
  local inputs = cache.inputs(known, cfg or config, self.found)
  keep_teachers(inputs, it, cfg or config)
  local function changes_of(recorded)
    local now = cache.today(recorded, inputs, self.found)
    if not cfg then keep_settings(now, recorded) end
    return cache.differences(recorded, now)
  end
  local changes = changes_of(was)
  local same_again = was ~= it.inputs and #changes > 0 and #changes_of(it.inputs) == 0
  return same_again and {} or changes
end

--- The changes since a run was made.
-- @tparam table it what flowmap.runs.look.run returned
-- @treturn ?{string,...} changes as parts of a sentence; empty: the run is current; nil: unknown
-- @treturn ?string why it is unknown
function Current:changes(it)
  if not (it.config and it.inputs) then return nil, "the run has no record of its inputs" end
  local ok, changes, why = errors.pcall(self.compare, self, it)
  if ok then return changes, why end
  if type(changes) == "table" and changes.code == "interrupted" then error(changes, 0) end
  return nil, (select(2, errors.explain(changes)))
end

return M
