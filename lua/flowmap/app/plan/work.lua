--- The work of a training step: the costs of its planned program, of the optimiser and of the
-- renewal of weights. The program is planned for the settings' own micro-batches; nothing is run,
-- and parameters and data take no memory.
-- @module flowmap.app.plan.work

local fm = require "flowmap"
local curriculum = require "flowmap.curriculum"
local jobs = require "flowmap.job"
local machines = require "flowmap.app.plan.machine"
local step = require "flowmap.step"
local trainer = require "flowmap.trainer"
local tree = require "flowmap.tree"

local M = {}

local FEW = 1024 -- points drawn in place of a data set: how many there are costs nothing

-- A job as far as its program needs it: parameters have a shape alone.
local function described(experiment, cfg)
  local job = jobs.parts(experiment, cfg)
  if job.set.shape then jobs.open_images(job) end
  local trace = fm.trace()
  local params = job.net.init(function(shape) return trace:full(shape, 0, job.cfg.dtype) end)
  job.shared = { params = params, data = job.data, labels = job.labels,
    fed = curriculum.inputs(job.cfg), target = job.cfg.target == "ema" and params or nil }
  job.program, job.params = step.program(job, job.shared), params
  return job, trace
end

--- The costs of a step.
-- @tparam table experiment
-- @tparam table cfg resolved settings
-- @tparam {table,...} stages see experiment.staged
-- @treturn table { steps =, which =, leaf = as exe:costs of core/bind/prog.c, batch = samples,
--   samples = of the whole profile, steps_of_profile =, params =, tensors = of parameters,
--   averages =, renews =, shard = whether ranks divide the moments, value = bytes of a number }
function M.costs(experiment, cfg, stages)
  require("flowmap.data.packed").imagine()
  local few = {}
  for key, value in pairs(cfg) do few[key] = value end
  few.dataset_size = math.min(cfg.dataset_size, FEW)
  local job, trace
  if cfg.teacher ~= "" then
    job = trainer.new(experiment, few, nil, stages[#stages])
  else
    job, trace = described(experiment, few)
  end
  local prepared = job.program:prepared(cfg.batch)
  local it = prepared.exe:costs()
  it.batch, it.steps_of_profile = cfg.batch, cfg.steps
  it.params, it.averages = tree.count(job.params), #jobs.decays(job.cfg, 0)
  it.renews, it.value = job.net.renew ~= nil, cfg.dtype == "float64" and 8 or 4
  it.shard, it.tensors = cfg.shard == 1, 0
  tree.each(function() it.tensors = it.tensors + 1 end, job.params)
  prepared.exe:close()
  if trace then trace:close() end
  return it
end

-- ------------------------------------------------------------------ on a machine

-- The bytes that the optimiser moves: it reads gradients twice, then reads and writes weights, two
-- moments and the averages. Renewed weights and averages are read, written and copied back.
-- With `shard`, ranks divide the second reading of gradients, the weights and the moments, and
-- read the weights of the others for the averages. Returned: the bytes of every rank, and those
-- that the ranks divide.
local function update_bytes(costs)
  local tensors, divided = 8 + 2 * costs.averages, 0
  if costs.renews then tensors = tensors + 2 + 4 * (1 + costs.averages) end
  if costs.shard then divided = 7 - (costs.averages > 0 and 1 or 0) end
  local bytes = costs.params * costs.value
  return bytes * (tensors - divided), bytes * divided
end

-- The seconds of the parts of a phase.
local function parts_of(costs, phase, seconds)
  local parts = {}
  for _, cost in ipairs(costs.steps) do
    if cost.phase == phase then
      parts[cost.part] = (parts[cost.part] or 0) + seconds(cost)
    end
  end
  return parts
end

-- The bodies: when each step ends, and after which of them each sum is computed.
local function bodies_of(costs, seconds)
  local bodies = {}
  for _, cost in ipairs(costs.steps) do
    if cost.phase == "body" then
      local body = bodies[cost.part] or { ends = {}, sum = {}, seconds = 0 }
      bodies[cost.part] = body
      body.seconds = body.seconds + seconds(cost)
      body.ends[#body.ends + 1] = body.seconds
      if cost.sum > 0 then body.sum[cost.sum] = { at = body.seconds, values = cost.values } end
    end
  end
  return bodies
end

-- The sums in the order in which the first body computes them: { number =, values = }.
local function sums_of(costs)
  local order, seen = {}, {}
  for _, cost in ipairs(costs.steps) do
    if cost.phase == "body" and cost.sum > 0 and not seen[cost.sum] then
      seen[cost.sum] = true
      order[#order + 1] = { number = cost.sum, values = cost.values }
    end
  end
  return order
end

--- The work as times on a machine of whose cores `active` are busy.
-- @tparam table costs
-- @tparam table machine
-- @tparam integer active busy cores of a node
-- @treturn table { bodies =, which =, leaf =, prologue = {seconds}, epilogue =, sums = in order,
--   update = bytes that the optimiser moves on every rank, divided = those that the ranks divide,
--   weights = bytes of the weights that they then send to each other, 0 if each updates all,
--   tensors = their number, value = bytes of a number }
function M.timed(costs, machine, active)
  local function seconds(cost)
    cost.double = costs.value == 8
    return machines.seconds(machine, cost, active)
  end
  local update, divided = update_bytes(costs)
  return {
    bodies = bodies_of(costs, seconds), which = costs.which, leaf = costs.leaf,
    prologue = parts_of(costs, "prologue", seconds),
    epilogue = parts_of(costs, "epilogue", seconds), sums = sums_of(costs),
    update = update, divided = divided, value = costs.value, tensors = costs.tensors,
    weights = costs.shard and costs.params * costs.value or 0,
  }
end

return M
