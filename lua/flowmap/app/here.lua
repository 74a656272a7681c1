--- The executor of `reproduce` that makes runs as child processes of this one.
--
-- An executor is a module with
--
--     check(args)                 raises an error if it cannot work here
--     jobs(args, due)             how many runs it makes at a time
--     threads(args, share)        of each run where so many share the machine
--     measured_at_once(jobs, args)     how many measurements of paces run at a time
--     pool(handlers, it)          it = { args =, due =, kinds = }
--
-- and a pool with `start(run, how, share)`, `run(more, interval)`, `stop()`, `count` and
-- `requests`, which are those of flowmap.app.children, as are the handlers. `how` is the option of
-- the run's command, `--resume` or `--force`, or nil. All else, the plan, the records and the page,
-- is the same for all executors; flowmap.app.slurm.executor is the other one.
-- @module flowmap.app.here

local children = require "flowmap.app.children"
local fm = require "flowmap"
local forecast = require "flowmap.app.forecast"

local M = {}

function M.check() end

function M.jobs(args, due)
  return math.max(1, math.min(args.jobs or fm.info().threads, #due))
end

function M.threads(_, share) return math.max(1, fm.info().threads // share) end

function M.measured_at_once(jobs) return jobs end

function M.pool(handlers)
  local pool = children.pool(handlers)
  local start = pool.start
  function pool:start(run, how, share)
    return start(self, run, forecast.command(run, { how }, M.threads(nil, share)))
  end
  return pool
end

return M
