--- Make all runs of the paper's experiments in child processes, then render tables, figures and
-- the page.
-- @module flowmap.app.reproduce

local fm = require "flowmap"
local Progress = require "flowmap.base.progress"
local Status = require "flowmap.base.status"
local chapters = require "flowmap.experiment.chapters"
local errors = require "flowmap.base.errors"
local experiment = require "flowmap.experiment"
local forecast = require "flowmap.app.forecast"
local here = require "flowmap.app.here"
local outlook = require "flowmap.app.outlook"
local plan = require "flowmap.app.due"
local record = require "flowmap.runs.record"
local rendered = require "flowmap.app.rendered"
local sums = require "flowmap.runs.sums"

local M = {}

local DIVERGED, INTERRUPTED = errors.status.numeric, errors.status.interrupted
-- Signals that ask a run to save, where it has not installed its handler yet.
local ENDED_BY = { [1] = INTERRUPTED, [2] = INTERRUPTED, [15] = INTERRUPTED }
local PLAIN = 30 -- seconds between progress lines when standard output is not a terminal

local duration = Progress.duration

-- The executor that makes the runs, see flowmap.app.here.
local function executor_of(args)
  if args.executor ~= "slurm" then return here end
  local elsewhere = require "flowmap.app.slurm.executor"
  return elsewhere
end

local EPIPE = 32

-- Raise an error if the output cannot be written: its reader is gone, or the disk is full.
local function check_output(status)
  if status.errno == EPIPE then forecast.interrupted "the reader of its output is gone" end
  if status.broken then errors.data("standard output cannot be written: %s", status.broken) end
end

-- ------------------------------------------------------------------ making the runs

-- The remaining seconds of a running run: from its own report, otherwise from its kind.
local function remaining(state, run)
  local report, evaluation = run.report, select(2, outlook.seconds(run)) or 0
  if report and report.label == "training" then return report.left + evaluation end
  if report then return report.left end
  return math.max(0, (forecast.expected(run, state.kinds) or 0) - (fm.clock() - run.started))
end

local function left(state)
  local busy, waiting = {}, {}
  for run in pairs(state.running) do busy[#busy + 1] = remaining(state, run) end
  for k, run in ipairs(state.waiting) do waiting[k] = forecast.expected(run, state.kinds) or 0 end
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
  local queued = state.pool.waiting or 0 -- in a cluster's queue
  local count = ("%d/%d runs  %s%s"):format(state.count, #state.due, word,
    queued > 0 and (", %d in the queue"):format(queued) or "")
  local list = { count, word }
  if #parts > 0 then table.insert(list, 1, count .. "  " .. table.concat(parts, ", ")) end
  for k = #parts - 1, 1, -1 do
    local some = table.concat(parts, ", ", 1, k) .. ", ..."
    table.insert(list, #list - 1, ("%s  %s"):format(count, some))
  end
  table.insert(list, 1, Progress.bar(part, 16) .. " " .. list[1])
  return list
end

local ENDS = { [DIVERGED] = "diverged", [INTERRUPTED] = "was stopped" }

-- End a run whose teacher failed, without starting it.
local function skip(state, run, stage)
  state.count, run.code = state.count + 1, stage.code
  state.say("[%d/%d] %s does not run: %s, its teacher, %s", state.count, #state.due, run.name,
    stage.name, ENDS[stage.code] or "failed")
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
    if plan.is_due(stage) and not stage.code then return false end
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
    local at_once = math.min(state.jobs, #state.due - state.count)
    if run.again then plan.settle(run, state.args) end
    run.started, state.running[run] = fm.clock(), true
    state.pool:start(run, HOW[run.action == "resume" and "resume" or run.why], at_once)
  end
end

-- Make the due runs; returns the number of failures and the first run that failed.
local function execute(status, say, due, jobs, kinds, args)
  local state = { status = status, say = say, due = due, jobs = jobs, kinds = kinds, args = args,
    waiting = table.move(due, 1, #due, 1, {}), count = 0, running = {}, start = fm.clock(),
    told = fm.clock() }
  state.pool = executor_of(args).pool(handlers(state), state)
  local stopped = state.pool:run(function() start_more(state) end, status.live and 200 or 500)
  status:clear()
  check_output(status)
  if stopped then forecast.interrupted "the same command continues where the runs stopped" end
  local failed, first = 0, nil
  for _, run in ipairs(due) do
    -- A divergence is a result: its place in the tables stays empty.
    if run.code ~= 0 and run.code ~= DIVERGED then failed, first = failed + 1, first or run end
  end
  return failed, first
end

-- ------------------------------------------------------------------ the command

-- Render each experiment; one that cannot be rendered keeps no other from it. Returns the first
-- error.
local function render_each(list, args, say, tell)
  local weave, first = require "flowmap.report.weave", nil
  for _, exp in ipairs(list) do
    local ok, paths = errors.pcall(weave.render, exp, args.profile)
    if not ok and type(paths) == "table" and paths.code == "interrupted" then error(paths, 0) end
    if not ok then
      say("%s is not rendered: %s", exp.name, (select(2, errors.explain(paths))))
      first = first or paths
    end
    for _, path in ipairs(ok and paths or {}) do tell(path) end
  end
  return first
end

-- Render tables and figures from the files of the runs; with the whole `book`, weave the page too.
-- Where nothing has changed since, what is there is only named.
local function render(say, list, args, book)
  local shown = { png = true, md = true, html = true }
  local function tell(path)
    if shown[path:match "%.(%w+)$"] then say("  %s", path) end
  end
  local key = rendered.key(list, args.profile, book)
  local current = not args.force and rendered.current(list, args.profile, key)
  say(current and "to look at, unchanged:" or "to look at:")
  for _, path in ipairs(current or {}) do tell(path) end
  if current then return end
  local weave, made = require "flowmap.report.weave", {}
  local first = render_each(list, args, say, function(path)
    made[#made + 1] = path
    tell(path)
  end)
  if first then error(first, 0) end
  if book then
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

--- Plan and make the runs, or list them.
-- @tparam Status status
-- @tparam function say prints a line
-- @tparam table args as of `run`; wanted = an optional function of a run: whether it is planned
-- @treturn {table,...} the experiments
function M.make(status, say, args)
  local list, runs, due = plan.prepare(say, args)
  local executor = executor_of(args)
  local jobs = executor.jobs(args, due)
  local kinds = forecast.measure(status, due, executor.measured_at_once(jobs, args),
    executor.threads(args, jobs))
  check_output(status)
  forecast.announce(say, runs, due, jobs, kinds, executor ~= here)
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

-- Make no run: the experiments all of whose runs have ended, and the other runs. What is forced is
-- the rendering.
local function find_whole(say, args)
  local list, runs, due = plan.prepare(say, setmetatable({ force = false }, { __index = args }))
  local lacks, whole = {}, {}
  for _, run in ipairs(due) do
    say("%s is missing: %s", run.name, run.why)
    lacks[run.experiment] = true
  end
  for _, exp in ipairs(list) do
    if not lacks[exp] then whole[#whole + 1] = exp end
  end
  return whole, due, #runs
end

-- Refuse options that would have no effect, and give those of jobs their defaults.
local function check_options(args)
  if args.cap and not args["until"] then errors.usage "--cap has no effect without --until" end
  for _, name in ipairs { "until", "jobs", "dry_run", "executor" } do
    if args.render and args[name] then
      errors.usage("--render makes no run: --%s has no effect", (name:gsub("_", "-")))
    end
  end
  local array = require "flowmap.app.slurm.array"
  if args.executor == "slurm" then array.complete(args) else array.refuse(args) end
  if not args.dry_run then executor_of(args).check() end
end

-- Render the experiments whose runs have all ended.
local function render_whole(say, args)
  local list, due, count = find_whole(say, args)
  local ok, err = true, nil
  if #list > 0 then
    ok, err = errors.pcall(render, say, list, args, #args.experiments == 0 and #due == 0)
  end
  if not ok and (#due == 0 or err.code == "interrupted") then error(err, 0) end
  if #due > 0 then
    errors.raise("check", "%d of %d runs are missing, first %s; only experiments that have all of "
      .. "theirs were rendered", #due, count, due[1].name)
  end
end

--- The command `reproduce`.
-- @tparam table args profile, seeds, methods, until, cap, jobs, force, dry_run, render, executor,
--   hours, ranks, nodes, mpi, option, experiments
-- @treturn integer exit code
function M.run(args)
  local start = fm.clock()
  check_options(args)
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
  if args.render then
    render_whole(say, args)
  else
    local list = (args["until"] and make_until or M.make)(status, say, args)
    if args.dry_run then return 0 end
    render(say, list, args, #args.experiments == 0)
  end
  sums.save()
  say("done in %s", duration(fm.clock() - start))
  return 0
end

return M
