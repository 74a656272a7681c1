--- Settings without effect. If the user sets a setting that nothing reads, or an experiment sets
-- one that none of its runs reads, it is refused with the reason. flowmap.experiment.settings
-- states when each setting is read; settings read by parts of an experiment are recorded during the
-- rehearsal before the first step.
-- @module flowmap.experiment.effect

local data = require "flowmap.data"
local errors = require "flowmap.base.errors"
local settings = require "flowmap.experiment.settings"
local tree = require "flowmap.tree"

local M = {}

-- A misspelt setting would be nil, and `cfg.wavse or 8` always the default.
local function no_setting(key, cfg)
  errors.usage("this run has no setting '%s'%s; a setting of a part's own is declared among its "
    .. "options", tostring(key), errors.near(tostring(key), tree.keys(cfg)))
end

-- Settings are numbers, texts, truth values and lists of these.
local function copied(value)
  return type(value) == "table" and table.move(value, 1, #value, 1, {}) or value
end

--- A view of the settings for the parts of a run, which records the settings that they read. They
-- cannot change any: a list is a copy.
-- @tparam table cfg
-- @tparam table read key -> true, filled in
-- @treturn table a view of cfg
function M.view(cfg, read)
  return setmetatable({}, {
    __index = function(_, key)
      read[key] = true
      local value = cfg[key]
      if value == nil then no_setting(key, cfg) end
      return copied(value)
    end,
    __newindex = function(_, key) -- the run's records would hold another value than it used
      errors.usage("the settings of a run are read-only: a part sets '%s'; keep what it changes in "
        .. "a table of its own", tostring(key))
    end,
    __pairs = function()
      local copy = {}
      for key, value in pairs(cfg) do read[key], copy[key] = true, copied(value) end
      return pairs(copy)
    end,
  })
end

-- The argument of the conditions in flowmap.experiment.settings.
local function conditions(it, cfg, loss)
  local own = {}
  local named = { nets = cfg.net, losses = loss.entry, data = cfg.data, times = cfg.times,
    interpolants = cfg.interpolant }
  for field, name in pairs(named) do own[field] = it[field] and it[field][name] ~= nil end
  local set
  return { cfg = cfg, loss = loss, own = own, set = function()
    set = set or data.find(cfg.data, it.data, cfg)
    return set
  end }
end

--- Refuse images where the network takes points. (edm2 itself refuses points.)
-- @tparam table it an experiment
-- @tparam table cfg resolved settings
function M.check_net(it, cfg)
  local c = conditions(it, cfg, {})
  local shape = cfg.net == "mlp" and not c.own.nets and c.set().shape
  if shape then
    errors.usage("the net mlp is for points, but these data are images of the shape (%s); the net "
      .. "for images is edm2", table.concat(shape, ", "))
  end
end

-- Whether a part defined by the experiment might read any setting.
local function open(c)
  for _, own in pairs(c.own) do
    if own then return true end
  end
  return #c.cfg.metrics > 0
end

-- true: the setting is read; false, with the reason: it is not; nil: only a trial can tell.
local function state(key, c)
  local it = settings.by_key[key]
  if not (it and it.when) then return true end
  local read, why = it.when(c)
  if read == false and open(c) then read = nil end
  return read, why
end

--- Refuse settings that nothing reads, and return those of which only a trial can tell.
-- @tparam table it an experiment
-- @tparam table cfg resolved settings
-- @tparam table loss what losses.find returned
-- @tparam table values key -> value, what was set
-- @tparam string where for the sentence: who set it
-- @treturn table key -> the reason why the suite itself does not read it
function M.check(it, cfg, loss, values, where)
  local c, pending = conditions(it, cfg, loss), {}
  for _, key in ipairs(tree.keys(values)) do
    local read, why = state(key, c)
    if read == false then errors.usage("%s: %s has no effect: %s", where, key, why) end
    if read == nil then pending[key] = why or "nothing reads it" end
  end
  return pending
end

--- Whether a setting is read, as far as can be told.
-- @tparam string key
-- @tparam table it an experiment
-- @tparam table cfg resolved settings
-- @tparam table loss what losses.find returned
-- @treturn boolean
-- @treturn ?string the reason why not
function M.reads(key, it, cfg, loss)
  local read, why = state(key, conditions(it, cfg, loss))
  return read ~= false, why
end

local awaited = setmetatable({}, { __mode = "k" }) -- settings of a run -> what `check` returned

--- Keep the settings of which only a trial can tell.
-- @tparam table cfg the settings of a run
-- @tparam table pending what `check` returned
function M.await(cfg, pending) awaited[cfg] = pending end

--- After a trial, check that a part defined by the experiment has read the awaited settings.
-- @tparam table cfg the settings of a run, as they were resolved
-- @tparam table read what `view` recorded
function M.settle(cfg, read)
  local pending = awaited[cfg] or {}
  for _, key in ipairs(tree.keys(pending)) do
    if not read[key] then
      errors.usage("--set: %s has no effect: no part of the experiment's own reads it, and %s", key,
        pending[key])
    end
  end
end

return M
