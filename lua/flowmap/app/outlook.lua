--- The forecast of time, memory and disk space for many runs.
--
-- Runs of one kind have equal settings, except those that do not affect the pace. They share a
-- pace, which a child process measures with as many threads as the runs will have; it is that of an
-- idle machine, see flowmap.runs.estimate. The times of finished runs correct the estimates of
-- their kind or, until a run of a kind has finished, those of all.
-- @module flowmap.app.outlook

local children = require "flowmap.app.children"
local errors = require "flowmap.base.errors"
local estimate = require "flowmap.runs.estimate"
local json = require "flowmap.base.json"
local paces = require "flowmap.app.paces"
local settings = require "flowmap.experiment.settings"
local tree = require "flowmap.tree"

local M = {}

-- Settings that do not, or hardly (`eta`, `stop`, the law of times), affect the time per sample and
-- the memory.
local SAME_PACE = {}
for key in ([[seed stop eta interpolant times times_mean times_sd devices learned_weight off_weight
  robust p c p_diagonal lr schedule decay_start warmup b1 b2 eps weight_decay clip steps checkpoints
  nfe bins label_dropout guidance log_every gradients_every start save_every audit_bytes shard
  relative_cost student_steps teacher_steps]]):gmatch "%S+" do
  SAME_PACE[key] = true
end

-- The name shared by all runs of a kind.
local function kind_of(run)
  local parts = {}
  for _, key in ipairs(tree.keys(run.cfg)) do
    local value = settings.text(run.cfg[key])
    if key == "teacher" and value ~= "" then value = "some" end
    if not SAME_PACE[key] then parts[#parts + 1] = key .. "=" .. value end
  end
  return table.concat(parts, "\n")
end

--- The first run of each kind, in order; every run gets its `kind`.
-- @tparam {table,...} runs see experiment.runs
-- @treturn {table,...} kinds { run = , actual = , planned = sums over finished runs }
function M.kinds(runs)
  local kinds, by_name = {}, {}
  for _, run in ipairs(runs) do
    local name = kind_of(run)
    if not by_name[name] then
      by_name[name] = { name = name, run = run, actual = 0, planned = 0 }
      kinds[#kinds + 1] = by_name[name]
    end
    run.kind = by_name[name]
  end
  return kinds
end

-- Set the pace of a kind from the output of its child; without one, the last line gives the reason.
local function settle(kind, code)
  local pace = code == 0 and json.decode(kind.said or "")
  if type(pace) == "table" then
    kind.pace = pace
  elseif code == errors.status.usage or code == errors.status.data then
    error(errors.new(code == errors.status.data and "data" or "usage",
      ("%s: %s"):format(kind.run.name, (kind.said or "no message"):gsub("^flowmap: ", ""))), 0)
  end
end

--- Give kinds the paces that were measured for them within a day.
-- @tparam {table,...} kinds
-- @tparam integer threads of each run
-- @treturn {table,...} the kinds whose pace is yet to be measured
function M.unmeasured(kinds, threads)
  local list = {}
  for _, kind in ipairs(kinds) do
    if not kind.run.experiment.run then -- such a run trains no flow map
      kind.pace = paces.kept(kind, threads)
      if not kind.pace then list[#list + 1] = kind end
    end
  end
  return list
end

--- Measure the pace of each kind. A kind that cannot run at all raises an error before anything
-- runs; a kind whose values are not finite has no pace.
-- @tparam {table,...} kinds see `unmeasured`
-- @tparam function command (run, further arguments) -> program, { argument, ... }
-- @tparam integer threads of each run
-- @tparam integer jobs number of concurrent children
-- @tparam function tell called several times a second with the number of kinds measured so far;
--   true: stop
-- @treturn boolean whether a stop was requested
function M.measure(kinds, command, threads, jobs, tell)
  local next_kind, done, pool = 1, 0, nil
  pool = children.pool {
    heard = function(kind, line) kind.said = line end,
    ended = function(kind, code, signal)
      done = done + 1
      settle(kind, signal == 0 and code or 128 + signal)
      if kind.pace then paces.keep(kind, threads) end
    end,
    tick = function()
      if tell(done) and pool.requests == 0 then pool:stop() end
    end,
  }
  return pool:run(function()
    while pool.count < jobs and next_kind <= #kinds do
      local kind = kinds[next_kind]
      next_kind = next_kind + 1
      pool:start(kind, command(kind.run, { "--dry-run", "--json" }))
    end
  end, 100)
end

--- The expected seconds of a run, before corrections; nil if unknown.
-- @tparam table run
-- @treturn ?number
-- @treturn ?number the part after training
function M.seconds(run)
  if not run.kind.pace then return nil end
  local train, evaluation = estimate.seconds(run.cfg, run.kind.pace)
  return run.kind.pace.start_s + train + evaluation, evaluation
end

--- The factor by which runs of a kind took longer than expected.
-- @tparam {table,...} kinds
-- @tparam table kind
-- @treturn number
function M.correction(kinds, kind)
  if kind.planned > 0 then return kind.actual / kind.planned end
  local actual, planned = 0, 0
  for _, it in ipairs(kinds) do actual, planned = actual + it.actual, planned + it.planned end
  return planned > 0 and actual / planned or 1
end

--- Seconds until all runs are done, if each waiting run in turn goes to the job that is free first.
-- @tparam {number,...} busy remaining seconds of each running job
-- @tparam {number,...} waiting seconds of each waiting run
-- @tparam integer jobs
-- @treturn number
function M.makespan(busy, waiting, jobs)
  local free = table.move(busy, 1, #busy, 1, {})
  for k = #free + 1, jobs do free[k] = 0 end
  for _, seconds in ipairs(waiting) do
    local first = 1
    for k = 2, #free do
      if free[k] < free[first] then first = k end
    end
    free[first] = free[first] + seconds
  end
  local last = 0
  for _, seconds in ipairs(free) do last = math.max(last, seconds) end
  return last
end

--- Record the time that a run took.
-- @tparam table run
-- @tparam number seconds
function M.finished(run, seconds)
  local planned = M.seconds(run)
  if planned then
    run.kind.actual, run.kind.planned = run.kind.actual + seconds, run.kind.planned + planned
  end
end

--- Memory of the `jobs` largest runs together, and disk space of all runs.
-- @tparam {table,...} runs
-- @tparam integer jobs
-- @treturn number bytes of memory
-- @treturn number bytes of disk
function M.space(runs, jobs)
  local sizes, disk, memory = {}, 0, 0
  for _, run in ipairs(runs) do
    local pace = run.kind.pace
    if pace then sizes[#sizes + 1], disk = pace.memory, disk + pace.disk end
  end
  table.sort(sizes, function(a, b) return a > b end)
  for k = 1, math.min(jobs, #sizes) do memory = memory + sizes[k] end
  return memory, disk
end

return M
