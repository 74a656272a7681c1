--- The executor of `reproduce` that makes runs as child processes of this one.
--
-- An executor is a module with the functions below and a pool with `start(run, how, at_once)`,
-- `run(more, interval)`, `stop()`, `count` and `requests`, which are those of flowmap.app.children,
-- as are its handlers. `how` is the option of the run's command, `--resume` or `--force`, or nil;
-- `at_once`, how many runs share the machine. All else, the plan, the records and the page, is the
-- same for all executors; flowmap.app.slurm.executor is the other one.
-- @module flowmap.app.here

local children = require "flowmap.app.children"
local fm = require "flowmap"
local run_command = require "flowmap.app.run_command"

local M = {}

--- Raise an error if runs cannot be made in this way here.
-- @tparam table args of `reproduce`
function M.check() end

--- How many runs are made at a time.
-- @tparam table args
-- @tparam {table,...} due
-- @treturn integer
function M.jobs(args, due)
  return math.max(1, math.min(args.jobs or fm.info().threads, #due))
end

--- The threads of each run.
-- @param _ of the command, unused here
-- @tparam integer at_once how many runs share the machine
-- @treturn integer
function M.threads(_, at_once) return math.max(1, fm.info().threads // at_once) end

--- How many paces are measured at a time.
-- @tparam integer jobs
-- @treturn integer
function M.measured_at_once(jobs) return jobs end

--- Create a pool.
-- @tparam table handlers
-- @treturn table
function M.pool(handlers)
  local pool = children.pool(handlers)
  local start = pool.start
  function pool:start(run, how, at_once)
    return start(self, run, run_command.child(run, { how }, M.threads(nil, at_once)))
  end
  return pool
end

return M
