--- The command `accept`: a user declares that a change does not matter for a run's results. The
-- run then counts as made from today's sources and numerics; its records keep what it was really
-- made from, and the declaration is printed with its reason below every table. An interrupted run
-- can then continue, so that its training is not lost where only a metric was corrected.
-- @module flowmap.runs.accept

local cache = require "flowmap.runs.cache"
local errors = require "flowmap.base.errors"
local evaluate = require "flowmap.measure.evaluate"
local experiment = require "flowmap.experiment"
local files = require "flowmap.base.files"
local numerics = require "flowmap.runs.numerics"
local folder = require "flowmap.runs.folder"
local record = require "flowmap.runs.record"
local settings = require "flowmap.experiment.settings"
local source = require "flowmap.runs.source"
local jobs = require "flowmap.job"
local texts = require "flowmap.base.text"

local M = {}

local LONGEST = 500 -- bytes of a reason

local function check_why(why)
  if not why or not why:find "%S" then
    errors.usage "accept: give the reason with --why TEXT; it is printed below every table"
  end
  local fault = texts.fault(why, LONGEST)
  if fault then
    errors.usage("accept: --why is one line of at most %d bytes; this text %s", LONGEST, fault)
  end
  return why:match "^%s*(.-)%s*$"
end

--- The experiment of a run. The contents of a run's folder are data: they may name an experiment of
-- the suite; for any other, the user names the file.
-- @tparam table config the run's settings
-- @tparam ?string path the file that the user named
-- @tparam string command for sentences
-- @treturn table
function M.experiment_of(config, path, command)
  local name = config.experiment
  if not path and name:find "^[%w_-]+$" then
    local own = files.installed(("experiments/%s.lua"):format(name))
    path = files.exists(own) and own or nil
  end
  if not path then
    errors.usage("%s: the run is of the experiment '%s', which is not one of the suite's; name "
      .. "its file by --experiment FILE", command, (name:gsub("%c", "?")))
  end
  local it = experiment.load(path)
  if it.name ~= name then
    errors.usage("%s: %s is the experiment '%s', but the run is of '%s'", command, path, it.name,
      (name:gsub("%c", "?")))
  end
  return it
end

-- Keep the settings that the run was made with; those that did not exist then have their default.
local function keep_settings(now, was)
  for key in pairs(now) do
    if key:find "^setting " then now[key] = nil end
  end
  for key, text in pairs(was) do
    if key:find "^setting " then now[key] = text end
  end
  for key, it in pairs(settings.by_key) do
    local name = "setting " .. key
    if not now[name] and cache.counts(key) then now[name] = settings.text(it.default) end
  end
end

-- The inputs of the run as of today: those recorded, as they are now. If these have changed, the
-- run may load other files than before: the files of its present parts are added, and missing ones
-- are left out.
local function today(dir, was, it, config)
  local inputs = cache.inputs(it, config)
  local same = cache.today(was, inputs)
  keep_settings(same, was)
  if #cache.differences(was, same) == 0 then return same end
  local job = jobs.parts(it, config)
  local judge = "flowmap.measure.judges." .. evaluate.judge(job.set)
  source.aside(require, judge)
  local now = cache.today(was, inputs)
  for key, value in pairs(now) do
    if value:find "absent$" and was[key] ~= value then now[key] = nil end
  end
  cache.add_loaded(inputs, dir, { source.path_of(judge) })
  for key, value in pairs(inputs) do now[key] = value end
  keep_settings(now, was)
  return now
end

local function side(inputs)
  return { inputs = cache.hash(inputs), fingerprint = inputs.fingerprint }
end

-- The inputs that a run counts as made from, and the hash of its own inputs. The run has a result,
-- or was interrupted or could not be evaluated and can continue.
local function recorded(dir)
  local manifest = record.read(dir, "manifest")
  if manifest then return (cache.recorded(dir, manifest)), manifest.inputs_hash end
  if record.read(dir, "diverged") then
    errors.usage("accept: the run at %s diverged; only a result or an interrupted run can be "
      .. "accepted", dir)
  elseif not files.exists(dir .. "/checkpoint.safetensors") then
    errors.usage("accept: the run at %s is not finished and has no checkpoint to go on from", dir)
  end
  local was = record.need(dir, "inputs")
  return cache.unfinished(dir, was), cache.hash(was)
end

--- The command.
-- @tparam table args run = a folder, why, experiment = a file or nil
function M.run(args)
  local why, dir = check_why(args.why), folder.given(args.run)
  local held <close> = folder.take(dir)
  if not held then errors.usage("accept: there is no run at %s", dir) end
  local was, run = recorded(dir)
  local config = settings.complete(record.need(dir, "config"))
  local now = today(dir, was, M.experiment_of(config, args.experiment, "accept"), config)
  local changes = cache.differences(was, now)
  if #changes == 0 then
    io.stdout:write(("%s is current: there is nothing to accept\n"):format(dir))
    return
  end
  local accepted = record.read(dir, "accepted") or { entries = {} }
  accepted.run, accepted.inputs = run, now
  table.insert(accepted.entries, { time = os.date "!%Y-%m-%dT%H:%M:%SZ", why = why,
    changes = changes, was = side(was), now = side(now) })
  record.write(dir, "accepted", accepted)
  for _, change in ipairs(changes) do io.stdout:write("accepted: ", change, "\n") end
end

--- Declarations as sentences, for the provenance of tables.
-- @tparam table accepted the record
-- @treturn {string,...}
function M.words(accepted)
  local words = {}
  for i, it in ipairs(accepted.entries) do
    local a, b = it.was, it.now
    words[i] = ("accepted on %s: %s (%s; inputs %s -> %s, numerics %s -> %s)"):format(
      it.time:sub(1, 10), it.why, table.concat(it.changes, ", ", 1, math.min(3, #it.changes)),
      a.inputs:sub(1, 12), b.inputs:sub(1, 12), numerics.parts(a.fingerprint).hash:sub(1, 12),
      numerics.parts(b.fingerprint).hash:sub(1, 12))
  end
  return words
end

return M
