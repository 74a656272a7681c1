--- The time, memory and disk space that the due runs of a plan will need, measured and told.
-- @module flowmap.app.forecast

local fm = require "flowmap"
local Progress = require "flowmap.base.progress"
local Status = require "flowmap.base.status"
local errors = require "flowmap.base.errors"
local outlook = require "flowmap.app.outlook"
local run_command = require "flowmap.app.run_command"

local M = {}

local duration = Progress.duration

--- Raise the error of an interruption.
-- @tparam string what becomes of the runs
function M.interrupted(what)
  errors.raise("interrupted", "interrupted; %s", what)
end

-- Seconds between lines about measurements when standard output is not a terminal.
local PLAIN = 30

-- A function that tells how many of `count` kinds are measured. On a terminal a line is rewritten;
-- elsewhere, one line comes beforehand and others at intervals.
local function teller(status, count, jobs)
  local what = ("measuring the pace of %d kind%s of runs"):format(count, count == 1 and "" or "s")
  local told = fm.clock()
  if not status.live then
    status:say(("%s, %d at a time; each takes a few seconds"):format(what, math.min(jobs, count)))
  end
  return function(done)
    if status.live then
      status:show(Status.fit({ ("%s: %d done"):format(what, done),
        ("measuring %d/%d"):format(done, count) }, status:width()))
    elseif fm.clock() - told >= PLAIN then
      told = fm.clock()
      status:say(("%s: %d done"):format(what, done))
    end
    return status.fd == 1 and status.broken -- the reader of the output is gone
  end
end

--- Measure the pace of each kind of run that was not measured within a day.
-- @tparam Status status
-- @tparam {table,...} due
-- @tparam integer jobs number of concurrent measurements
-- @tparam integer threads of each run
-- @treturn {table,...} kinds, see flowmap.app.outlook
function M.measure(status, due, jobs, threads)
  local kinds = outlook.kinds(due)
  local new = outlook.unmeasured(kinds, threads)
  if #new == 0 then return kinds end
  local function child(run, more) return run_command.child(run, more, threads) end
  local stopped = outlook.measure(new, child, threads, jobs, teller(status, #new, jobs))
  status:clear()
  if stopped and not status.broken then M.interrupted "nothing had begun" end
  return kinds
end

--- The remaining seconds of a run according to its kind, corrected.
-- @tparam table run
-- @tparam {table,...} kinds
-- @treturn ?number nil if unknown
-- @treturn ?number those of its evaluation
function M.expected(run, kinds)
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

--- Print the actions and reasons of all runs and the estimate of time, memory and disk space.
-- @tparam function say prints a line
-- @tparam {table,...} runs
-- @tparam {table,...} due those of them that are to be made
-- @tparam integer jobs at a time
-- @tparam {table,...} kinds
-- @tparam boolean elsewhere whether the runs take the memory of other machines
function M.announce(say, runs, due, jobs, kinds, elsewhere)
  for _, run in ipairs(runs) do
    local seconds = run.kind and M.expected(run, kinds)
    say("%s %s: %s%s", run.name, WORDS[run.action], run.why,
      seconds and (" (about %s)"):format(duration(seconds + 0.5)) or "")
  end
  say("%d run%s, %d of them to make, %d at a time", #runs, #runs == 1 and "" or "s", #due, jobs)
  if #due == 0 then return end
  local waiting, unknown = {}, 0
  for _, run in ipairs(due) do
    local seconds = M.expected(run, kinds)
    if seconds then waiting[#waiting + 1] = seconds else unknown = unknown + 1 end
  end
  local uv = require "luv"
  local memory, disk = outlook.space(due, elsewhere and 1 or jobs)
  local disks = uv.fs_statfs "."
  say("estimate: %s, memory %s %s, disk %s of %s free%s",
    duration(outlook.makespan({}, waiting, jobs) + 0.5), size(memory),
    elsewhere and "for the largest run" or ("of %s free"):format(size(uv.get_free_memory())),
    size(disk), disks and size(disks.bavail * disks.bsize) or "?",
    unknown > 0 and ("; of unknown length: %d"):format(unknown) or "")
  say("(measured within a day on a few steps of each of %d kinds of runs, for a machine that does "
    .. "nothing else; excludes tables and figures)", #kinds)
end

return M
