--- Make all runs of the paper's experiments in child processes, then render tables, figures and
-- the page.
-- @module flowmap.app.reproduce

local fm = require "flowmap"
local Progress = require "flowmap.base.progress"
local Status = require "flowmap.base.status"
local cache = require "flowmap.runs.cache"
local chapters = require "flowmap.experiment.chapters"
local children = require "flowmap.app.children"
local errors = require "flowmap.base.errors"
local experiment = require "flowmap.experiment"
local files = require "flowmap.base.files"
local folder = require "flowmap.runs.folder"
local grid = require "flowmap.experiment.grid"
local outlook = require "flowmap.app.outlook"
local record = require "flowmap.runs.record"
local rendered = require "flowmap.app.rendered"
local settings = require "flowmap.experiment.settings"
local sums = require "flowmap.runs.sums"
local tree = require "flowmap.tree"

local M = {}

local DIVERGED, INTERRUPTED = errors.status.numeric, errors.status.interrupted
local ENDED_BY = { [15] = INTERRUPTED } -- SIGTERM before the run has installed its handler
local PLAIN = 30 -- seconds between progress lines when standard output is not a terminal

local duration = Progress.duration

-- ------------------------------------------------------------------ the plan

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

local function is_due(run) return run.action == "run" or run.action == "resume" end

-- Decide about a run. One whose teacher is yet to be made is decided about again when it starts.
-- `known` is what decisions about other runs found out about files.
local function settle(run, args, known)
  run.action, run.why = decide(run.experiment, run, args, known)
  for _, stage in ipairs(run.after) do
    if stage.action == "diverged" then
      run.action, run.why = "diverged", stage.name .. ", its teacher, did"
      break
    elseif is_due(stage) and not stage.code then
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
  settle(run, args, known)
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

-- Why the run in a folder does not belong to the experiment as it is now; false if it does.
local function outdated(exp, dir)
  local config = record.read(dir, "config")
  local point = grid.point_of(exp, config)
  if not point then return "the experiment has no such run now" end
  local ok, cfg = pcall(experiment.resolve, exp, { profile = config.profile,
    method = config.method, seed = config.seed, point = point })
  if not ok then return tostring(cfg) end
  local action, why = cache.decide(dir, cache.inputs(exp, cfg))
  return action == "run" and why
end

-- Put aside results that a table must not mix with the planned ones: runs of other seeds or
-- methods, made with other settings. A run that starts from step 0 clears its own folder.
local function put_aside(say, exp, runs, args)
  local root, planned = experiment.root(exp.name, args.profile), {}
  for _, run in ipairs(runs) do planned[run.dir] = true end
  for _, name in ipairs(files.folders(root)) do
    local dir = root .. "/" .. name
    if not planned[dir] and files.exists(dir .. "/config.json") and folder.is_run(dir) then
      local held <close> = not args.dry_run and folder.take(dir) -- luacheck: ignore
      local why = outdated(exp, dir)
      local to = why and (args.dry_run and dir .. "-outdated" or folder.put_aside(dir))
      if why then
        say("%s/%s %s in %s: %s", exp.name, name, args.dry_run and "would be put aside"
          or "put aside", to, why)
      end
    end
  end
end

-- ------------------------------------------------------------------ the estimate

local function program() return assert(require("luv").exepath()) end

-- The command that makes a run: program, { argument, ... }.
local function command(run, more, threads)
  local words = { "run", run.experiment.path, "--profile", run.cfg.profile, "--method",
    run.cfg.method, "--seed", tostring(run.cfg.seed), "--out", run.dir, "--threads",
    tostring(threads), "--parent", tostring(fm.pid()), "--base", experiment.base }
  for _, key in ipairs(tree.keys(run.set)) do
    words[#words + 1] = "--set"
    words[#words + 1] = key .. "=" .. settings.text(run.set[key])
  end
  return program(), table.move(more, 1, #more, #words + 1, words)
end

local function interrupted(what)
  errors.raise("interrupted", "interrupted; %s", what)
end

local EPIPE = 32

-- Raise an error if the output cannot be written: its reader is gone, or the disk is full.
local function check_output(status)
  if status.errno == EPIPE then interrupted "the reader of its output is gone" end
  if status.broken then errors.data("standard output cannot be written: %s", status.broken) end
end

-- Measure the pace of each kind of run; returns the kinds.
local function measure(due, jobs)
  local kinds = outlook.kinds(due)
  if #kinds == 0 then return kinds end
  local status <close> = Status.new()
  local threads = math.max(1, fm.info().threads // jobs)
  local stopped = outlook.measure(kinds, function(run, more) return command(run, more, threads) end,
    threads, jobs, function(done)
      status:show(Status.fit({ ("measuring the pace of %d kinds of runs: %d done"):format(#kinds,
        done), ("measuring %d/%d"):format(done, #kinds) }, status:width()))
    end)
  status:clear()
  if stopped then interrupted "nothing had begun" end
  return kinds
end

-- The remaining seconds of a run according to its kind, corrected, and those of its evaluation;
-- nil if unknown.
local function expected(run, kinds)
  local all, evaluation = outlook.seconds(run)
  if not all then return nil end
  local left = all - (all - evaluation) * math.min(1, run.done / run.cfg.steps)
  return left * outlook.correction(kinds, run.kind), evaluation
end

local WORDS = { reuse = "reused", resume = "resumes", run = "runs", diverged = "diverged" }

local function size(bytes)
  return bytes < 2 ^ 30 and ("%.0f MiB"):format(math.ceil(bytes / 2 ^ 20))
    or ("%.1f GiB"):format(bytes / 2 ^ 30)
end

-- Print the actions and reasons of all runs and the estimate of time, memory and disk space.
local function announce(say, runs, due, jobs, kinds)
  for _, run in ipairs(runs) do
    local seconds = run.kind and expected(run, kinds)
    say("%s %s: %s%s", run.name, WORDS[run.action], run.why,
      seconds and (" (about %s)"):format(duration(seconds + 0.5)) or "")
  end
  say("%d runs, %d of them to make, %d at a time", #runs, #due, jobs)
  if #due == 0 then return end
  local waiting, unknown = {}, 0
  for _, run in ipairs(due) do
    local seconds = expected(run, kinds)
    if seconds then waiting[#waiting + 1] = seconds else unknown = unknown + 1 end
  end
  local uv = require "luv"
  local memory, disk = outlook.space(due, jobs)
  local disks = uv.fs_statfs "."
  say("estimate: %s, memory %s of %s free, disk %s of %s free%s",
    duration(outlook.makespan({}, waiting, jobs) + 0.5), size(memory),
    size(uv.get_free_memory()), size(disk), disks and size(disks.bavail * disks.bsize) or "?",
    unknown > 0 and ("; %d runs of unknown length"):format(unknown) or "")
  say("(measured within a day on a few steps of each of %d kinds of runs, for a machine that does "
    .. "nothing else; excludes tables and figures)", #kinds)
end

-- ------------------------------------------------------------------ making the runs

-- The remaining seconds of a running run: from its own report, otherwise from its kind.
local function remaining(state, run)
  local report, evaluation = run.report, select(2, outlook.seconds(run)) or 0
  if report and report.label == "training" then return report.left + evaluation end
  if report then return report.left end
  return math.max(0, (expected(run, state.kinds) or 0) - (fm.clock() - run.started))
end

local function left(state)
  local busy, waiting = {}, {}
  for run in pairs(state.running) do busy[#busy + 1] = remaining(state, run) end
  for k, run in ipairs(state.waiting) do waiting[k] = expected(run, state.kinds) or 0 end
  return outlook.makespan(busy, waiting, state.jobs)
end

-- Texts for the status line, from the longest to the shortest.
local function texts(state)
  local wait = left(state)
  local past = fm.clock() - state.start
  local part, parts = past / math.max(1e-9, past + wait), {}
  for _, run in ipairs(state.due) do
    local report = run.report
    if state.running[run] and report then
      parts[#parts + 1] = ("%s %s %.0f %%"):format(run.name, report.label,
        math.floor(100 * report.done / math.max(1, report.total)))
    end
  end
  local word = state.stopping and "saving" or duration(wait) .. " left"
  local count = ("%d/%d runs  %s"):format(state.count, #state.due, word)
  local list = { ("%s  %s"):format(count, table.concat(parts, ", ")), count, word }
  for k = #parts - 1, 1, -1 do
    local some = table.concat(parts, ", ", 1, k) .. ", ..."
    table.insert(list, #list - 1, ("%s  %s"):format(count, some))
  end
  table.insert(list, 1, Progress.bar(part, 16) .. " " .. list[1])
  return list
end

-- End a run whose teacher failed, without starting it.
local function skip(state, run, stage)
  state.count, run.code = state.count + 1, stage.code
  state.say("[%d/%d] %s does not run: %s, its teacher, %s", state.count, #state.due, run.name,
    stage.name, stage.code == DIVERGED and "diverged" or "failed")
end

-- Print the end of a run and its results.
local function tell_end(state, run, code, signal)
  local say, head = state.say, ("[%d/%d] %s "):format(state.count, #state.due, run.name)
  if code == INTERRUPTED then return say("%sstopped: it is saved, or had nothing to save", head) end
  if code == DIVERGED then return say("%sdiverged: %s", head, run.last or "") end
  if code ~= 0 then
    return say("%sfailed, %s: %s", head, signal ~= 0 and "ended by signal " .. signal
      or "exit code " .. code, run.last or "it said nothing")
  end
  local result, parts = record.read(run.dir, "eval"), {}
  if not result then return say("%sdone", head) end -- an experiment with its own `run`
  local field, name, format = table.unpack(result.columns[1])
  for i, row in ipairs(result.rows) do
    parts[i] = ("N=%d %s"):format(row.N, format:format(row[field]))
  end
  say("%sdone in %s, %s: %s", head, duration(fm.clock() - run.started), name,
    table.concat(parts, ", "))
end

-- The handlers of flowmap.app.children for a state.
local function handlers(state)
  local on = {}
  function on.heard(run, line)
    local report = Progress.parse(line)
    if report then
      run.report = report
    elseif line:find "^flowmap: " then -- printed with the end of the run
      run.last = Status.cut(line:gsub("^flowmap: ", ""), 1000)
    else
      state.say("%s: %s", run.name, (Status.cut(line, 1000)))
    end
  end
  function on.ended(run, code, signal)
    if signal ~= 0 then code = ENDED_BY[signal] or 128 + signal end
    state.running[run], state.count, run.code = nil, state.count + 1, code
    if code == 0 and run.action == "run" then outlook.finished(run, fm.clock() - run.started) end
    tell_end(state, run, code, signal)
  end
  function on.tick()
    local now = fm.clock()
    state.stopping = state.pool.requests > 0
    if state.status.live then
      state.status:show(Status.fit(texts(state), state.status:width()))
    elseif now - state.told >= PLAIN then
      state.told = now
      state.say("%s", Status.cut(texts(state)[2], 1000))
    end
    -- The reader of the output is gone: stop the runs.
    if state.status.broken and state.pool.requests == 0 then state.pool:stop() end
  end
  return on
end

-- The extra option of a run's command, by its action or, if that is "run", by its reason.
local HOW = { resume = "--resume", ["--force"] = "--force" }

-- Whether the stages of a run have ended, and one of them that failed.
local function is_ready(run)
  for _, stage in ipairs(run.after) do
    if is_due(stage) and not stage.code then return false end
    if stage.code and stage.code ~= 0 then return true, stage end
  end
  return true
end

-- Take the first waiting run whose stages have ended; nil if there is none.
local function take_ready(state)
  local k = 1
  while state.waiting[k] do
    local ready, failed = is_ready(state.waiting[k])
    local run = ready and table.remove(state.waiting, k)
    if run and not failed then return run end
    if failed then skip(state, run, failed) else k = k + 1 end
  end
end

-- Start runs while jobs are free. When fewer runs than jobs are left, these share the threads.
local function start_more(state)
  while state.pool.count < state.jobs do
    local run = take_ready(state)
    if not run then break end
    local share = math.min(state.jobs, #state.due - state.count)
    if run.again then settle(run, state.args) end
    run.started, state.running[run] = fm.clock(), true
    state.pool:start(run, command(run, { HOW[run.action == "resume" and "resume" or run.why] },
      math.max(1, fm.info().threads // share)))
  end
end

-- Make the due runs; returns the number of failures and the first run that failed.
local function execute(status, say, due, jobs, kinds, args)
  local state = { status = status, say = say, due = due, jobs = jobs, kinds = kinds, args = args,
    waiting = table.move(due, 1, #due, 1, {}), count = 0, running = {}, start = fm.clock(),
    told = fm.clock() }
  state.pool = children.pool(handlers(state))
  local stopped = state.pool:run(function() start_more(state) end, status.live and 200 or 500)
  status:clear()
  check_output(status)
  if stopped then interrupted "the same command continues where the runs stopped" end
  local failed, first = 0, nil
  for _, run in ipairs(due) do
    -- A divergence is a result: its place in the tables stays empty.
    if run.code ~= 0 and run.code ~= DIVERGED then failed, first = failed + 1, first or run end
  end
  return failed, first
end

-- ------------------------------------------------------------------ the command

-- Render tables and figures from the files of the runs; with all experiments, weave the page too.
-- Where nothing has changed since, what is there is only named.
local function render(say, list, args)
  local shown = { png = true, md = true, html = true }
  local function tell(path)
    if shown[path:match "%.(%w+)$"] then say("  %s", path) end
  end
  local key = rendered.key(list, args.profile)
  local current = not args.force and rendered.current(list, args.profile, key)
  say(current and "to look at, unchanged:" or "to look at:")
  for _, path in ipairs(current or {}) do tell(path) end
  if current then return end
  local weave, made = require "flowmap.report.weave", {}
  for _, exp in ipairs(list) do
    for _, path in ipairs(weave.render(exp, args.profile)) do
      made[#made + 1] = path
      tell(path)
    end
  end
  if #args.experiments == 0 then
    made[#made + 1] = weave.book(chapters.book(), { profile = args.profile,
      made = true })
    tell(made[#made])
  end
  rendered.keep(list, args.profile, key, made)
end

local CODES = { [errors.status.usage] = "usage", [errors.status.data] = "data" }

-- Failed runs have printed their reasons; the exit code is that of the first.
local function check_failures(failed, count, first)
  if failed == 0 then return end
  errors.raise(CODES[first.code] or "check", "%d of %d runs failed, first %s; the same command "
    .. "tries them again", failed, count, first.name)
end

-- Load the experiments, plan the runs and put aside outdated results; returns experiments and runs.
local function prepare(say, args)
  local list = {}
  local paths = #args.experiments > 0 and args.experiments or chapters.experiments()
  for i, path in ipairs(paths) do list[i] = experiment.load(path) end
  local runs = plan(list, args)
  for _, exp in ipairs(list) do put_aside(say, exp, runs, args) end
  return list, runs
end

--- Plan and make the runs, or list them.
-- @tparam Status status
-- @tparam function say prints a line
-- @tparam table args as of `run`; wanted = an optional function of a run: whether it is planned
-- @treturn {table,...} the experiments
function M.make(status, say, args)
  local list, runs = prepare(say, args)
  local due = {}
  for _, run in ipairs(runs) do
    if is_due(run) then due[#due + 1] = run end
  end
  local jobs = math.max(1, math.min(args.jobs or fm.info().threads, #due))
  local kinds = measure(due, jobs)
  announce(say, runs, due, jobs, kinds)
  check_output(status)
  if args.dry_run or #due == 0 then return list end
  local failed, first = execute(status, say, due, jobs, kinds, args)
  check_failures(failed, #due, first)
  return list
end

-- Make the runs of more and more seeds, see flowmap.app.more_seeds.
local function make_until(status, say, args)
  if #args.experiments ~= 1 then
    errors.usage("--until needs one experiment, found %d", #args.experiments)
  end
  local list = { experiment.load(args.experiments[1]) }
  require("flowmap.app.more_seeds").run(args, list[1], say, function(seeds)
    M.make(status, say, setmetatable({ seeds = seeds }, { __index = args }))
  end)
  return list
end

--- The command `reproduce`.
-- @tparam table args profile, seeds, methods, until, cap, jobs, force, dry_run, experiments
-- @treturn integer exit code
function M.run(args)
  local start = fm.clock()
  if args.cap and not args["until"] then errors.usage "--cap has no effect without --until" end
  fm.ignore_broken_pipes() -- when the reader of the output goes, the runs are asked to save
  local status <close> = Status.new()
  local function say(...)
    status:say(string.format(...))
  end
  if args.dry_run then
    require("flowmap.data.packed").imagine()
    require("flowmap.runs.numerics").keep = false
  end
  sums.load()
  local list = (args["until"] and make_until or M.make)(status, say, args)
  if args.dry_run then return 0 end
  render(say, list, args)
  sums.save()
  say("done in %s", duration(fm.clock() - start))
  return 0
end

return M
