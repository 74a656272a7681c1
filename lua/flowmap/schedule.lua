--- Learning rate schedules: the rate of update `step` (counted from 0) as a fraction of `lr`.
-- @module flowmap.schedule

local tree = require "flowmap.tree"

local M = {}

--- The shapes: functions of the step and the settings.
M.shapes = {
  constant = function() return 1 end,
  -- 1 until `decay_start`, then falling like 1 / sqrt(step)
  sqrt = function(step, cfg) return 1 / math.sqrt(math.max(step / cfg.decay_start, 1)) end,
  -- 1 until `decay_start`, then linearly to 0; steps before it do not depend on `steps`
  cooldown = function(step, cfg)
    return math.min(1, (cfg.steps - step) / math.max(1, cfg.steps - cfg.decay_start))
  end,
  linear = function(step, cfg) return 1 - step / cfg.steps end,
  cosine = function(step, cfg) return (1 + math.cos(math.pi * step / cfg.steps)) / 2 end,
}

--- Names of the schedules.
M.names = tree.keys(M.shapes)

--- Those that are constant until the step `decay_start`.
M.with_start = { sqrt = true, cooldown = true }

--- Former names, by which settings and checkpoints may call a schedule.
M.older = { late = "cooldown" }

--- The present name of a schedule.
-- @tparam string name
-- @treturn string
function M.name(name) return M.older[name] or name end

--- The learning rate of a step, after a linear warm-up of `warmup` steps.
-- @tparam integer step counted from 0
-- @tparam table cfg settings lr, schedule, warmup, decay_start, steps
-- @treturn number
function M.rate(step, cfg)
  local rate = cfg.lr * M.shapes[M.name(cfg.schedule)](step, cfg)
  if step < cfg.warmup then rate = rate * (step + 1) / cfg.warmup end
  return rate
end

return M
