--- The planned runs of experiments: which of them are to be made, and why; older results that must
-- not enter their tables.
-- @module flowmap.app.due

local fm = require "flowmap"
local cache = require "flowmap.runs.cache"
local chapters = require "flowmap.experiment.chapters"
local errors = require "flowmap.base.errors"
local experiment = require "flowmap.experiment"
local files = require "flowmap.base.files"
local folder = require "flowmap.runs.folder"
local record = require "flowmap.runs.record"

local M = {}

-- Steps that an interrupted run has made according to its metrics; used only for the estimate.
local function steps_made(dir)
  local last = (files.read(dir .. "/metrics.jsonl") or ""):match '.*"step": (%d+)'
  return tonumber(last) or 0
end

-- Whether a run's images exist; a dry run does not make them.
local function has_images(exp, cfg)
  local set = fm.data.find(cfg.data, exp.data)
  return not set.shape or set.count and rawget(set, "path") ~= nil
end

-- The action for a run, and the reason.
local function decide(exp, run, args, known)
  if args.dry_run and not has_images(exp, run.cfg) then
    return "run", "its images do not exist yet and are made first"
  end
  if args.force then return "run", "--force" end -- without reading the folder, which may be damaged
  return cache.decide(run.dir, cache.inputs(exp, run.cfg, known), known)
end

--- Whether a run is to be made.
-- @tparam table run
-- @treturn boolean
function M.is_due(run) return run.action == "run" or run.action == "resume" end

--- Decide about a run. One whose teacher is yet to be made is decided about again when it starts.
-- @tparam table run gets `action`, `why`, `done` and, where it is decided about again, `again`
-- @tparam table args of `reproduce`
-- @tparam[opt] table known what decisions about other runs found out about files
function M.settle(run, args, known)
  run.action, run.why = decide(run.experiment, run, args, known)
  for _, stage in ipairs(run.after) do
    if stage.action == "diverged" then
      run.action, run.why = "diverged", stage.name .. ", its teacher, did"
      break
    elseif M.is_due(stage) and not stage.code then
      run.action, run.why, run.again = "run", stage.name .. " runs first", true
    end
  end
  run.done = run.action == "resume" and steps_made(run.dir) or 0
end

-- Add a run behind its stages, which it may share with other runs.
local function add(runs, taken, run, args, known)
  if taken[run.dir] then return taken[run.dir] end
  taken[run.dir] = run
  run.name = ("%s/%s"):format(run.experiment.name, run.dir:match "([^/]+)$")
  run.after = {}
  for i, stage in ipairs(run.stages) do
    run.after[i] = add(runs, taken, taken[stage.dir] or { experiment = run.experiment,
      cfg = stage.cfg, set = stage.set, dir = stage.dir,
      stages = table.move(run.stages, 1, i - 1, 1, {}) }, args, known)
  end
  M.settle(run, args, known)
  runs[#runs + 1] = run
  return run
end

-- Every run with its action and the reason.
local function plan(list, args)
  local runs, taken, planned, known = {}, {}, {}, {}
  for _, exp in ipairs(list) do
    local seeds = experiment.seeds(exp, args.profile, args.seeds)
    for _, run in ipairs(experiment.runs(exp, args.profile, seeds, args.methods)) do
      local other = planned[run.dir]
      if other and other.path == exp.path then errors.usage("%s is named twice", exp.path) end
      if other then
        errors.usage("%s and %s both have a run in %s; give the experiments different names",
          other.path, exp.path, run.dir)
      end
      planned[run.dir] = exp
      if not args.wanted or args.wanted(run) then add(runs, taken, run, args, known) end
    end
  end
  return runs
end

-- ------------------------------------------------------------------ results put aside

-- Why the run in a folder does not belong to the experiment as it is now; false if it does. `known`
-- is kept from run to run, see experiment.run_named.
local function outdated(exp, profile, dir, known)
  local config = record.need(dir, "config")
  local run, fault = experiment.run_named(exp, config, dir:match "[^/]+$", known)
  if not run or config.profile ~= profile then
    return fault or "the experiment has no such run now"
  end
  local action, why = cache.decide(dir, cache.inputs(exp, run.cfg))
  return action == "run" and why
end

-- Put aside results that a table must not mix with the planned ones: runs of other seeds or
-- methods, made with other settings. A run that starts from step 0 clears its own folder.
local function put_aside(say, exp, runs, args)
  local root, planned, known = experiment.root(exp.name, args.profile), {}, {}
  for _, run in ipairs(runs) do planned[run.dir] = true end
  for _, name in ipairs(files.folders(root)) do
    local dir = root .. "/" .. name
    if not planned[dir] and files.exists(dir .. "/config.json") and folder.is_run(dir) then
      local held <close> = not args.dry_run and folder.take(dir) -- luacheck: ignore
      local why = outdated(exp, args.profile, dir, known)
      local to = why and (args.dry_run and dir .. "-outdated" or folder.put_aside(dir))
      if why then
        say("%s/%s %s in %s: %s", exp.name, name, args.dry_run and "would be put aside"
          or "put aside", to, why)
      end
    end
  end
end

--- Load the experiments, plan their runs and put aside outdated results.
-- @tparam function say prints a line
-- @tparam table args of `reproduce`
-- @treturn {table,...} experiments
-- @treturn {table,...} runs with `name`, `action`, `why`, `done`, and in `after` the runs that are
--   made before it
-- @treturn {table,...} those of them that are to be made
function M.prepare(say, args)
  local list = {}
  local paths = #args.experiments > 0 and args.experiments or chapters.experiments()
  for i, path in ipairs(paths) do list[i] = experiment.load(path) end
  local runs, due = plan(list, args), {}
  for _, exp in ipairs(list) do put_aside(say, exp, runs, args) end
  for _, run in ipairs(runs) do
    if M.is_due(run) then due[#due + 1] = run end
  end
  return list, runs, due
end

return M
