--- Checkpoints: one safetensors file with the weights (params.NAME), moments (m.NAME, v.NAME) and
-- averages (ema1.NAME, ...), and in its metadata the step and the settings.
-- All randomness is keyed by the step, so nothing else is needed to continue bit for bit.
-- @module flowmap.checkpoint

local fm = require "flowmap"
local errors = require "flowmap.errors"
local json = require "flowmap.json"
local settings = require "flowmap.settings"
local tree = require "flowmap.tree"

local M = {}

--- Write a checkpoint; the one before it is kept as PATH.prev.
-- @tparam string path
-- @tparam table job see flowmap.trainer: params, opt, cfg, experiment
-- @tparam table state { step =, wall_s = }
function M.save(path, job, state)
  local tensors = {}
  tree.each(function(tensor, name) tensors["params." .. name] = tensor end, job.params)
  for name, tensor in pairs(job.opt:state()) do tensors[name] = tensor end
  fm.save_safetensors(path, tensors, {
    format = "flowmap 1",
    config = json.encode(job.cfg),
    experiment = job.experiment.path,
    step = tostring(state.step),
    wall_s = ("%.3f"):format(state.wall_s),
  })
end

--- Write weights alone, as a checkpoint that can be sampled from but not continued.
-- @tparam string path
-- @tparam table job see flowmap.trainer
-- @tparam table params the weights, or an average of them
-- @tparam integer step
function M.save_weights(path, job, params, step)
  local tensors, cfg = {}, {}
  tree.each(function(tensor, name) tensors["params." .. name] = tensor end, params)
  for key, value in pairs(job.cfg) do cfg[key] = value end
  cfg.eval_ema = 0
  fm.save_safetensors(path, tensors, { format = "flowmap 1", config = json.encode(cfg),
    experiment = job.experiment.path, step = tostring(step) })
end

--- Read a checkpoint. Settings that did not exist when it was written get their defaults, with
-- which everything is as it was before them.
-- @tparam string path
-- @treturn table { tensors =, cfg =, experiment = path, step =, wall_s = }
function M.load(path)
  local tensors, meta = fm.load_safetensors(path)
  local cfg = meta.config and json.decode(meta.config)
  if meta.format ~= "flowmap 1" or type(cfg) ~= "table" or not tonumber(meta.step) then
    errors.data("%s is a safetensors file, but not a checkpoint of flowmap", path)
  end
  for key, it in pairs(settings.by_key) do
    if cfg[key] == nil then cfg[key] = it.default end
  end
  return {
    path = path, tensors = tensors, cfg = cfg, experiment = meta.experiment,
    step = math.tointeger(tonumber(meta.step)), wall_s = tonumber(meta.wall_s) or 0,
  }
end

local function same_shape(a, b)
  return table.concat(a.shape, ",") == table.concat(b.shape, ",")
end

--- The tensors of a checkpoint in the form of a tree.
-- @tparam table saved what `load` returned
-- @tparam string group "params" or "ema1", "ema2", ...
-- @tparam table like a tree of tensors whose names and shapes are expected
-- @treturn table
function M.tree(saved, group, like)
  return tree.map(function(expected, name)
    local found = saved.tensors[group .. "." .. name]
    if not found then
      errors.data("%s has no tensor %s.%s; was it made with another network?", saved.path, group,
        name)
    elseif not same_shape(found, expected) then
      errors.data("%s: %s.%s has shape (%s), expected (%s)", saved.path, group, name,
        table.concat(found.shape, ", "), table.concat(expected.shape, ", "))
    end
    return found
  end, like)
end

--- Put a checkpoint's optimiser state back.
-- @tparam table saved what `load` returned
-- @tparam table opt an optimiser of the checkpoint's parameters
function M.restore(saved, opt)
  for name, tensor in pairs(opt:state()) do
    local found = saved.tensors[name]
    if not found then errors.data("%s has no tensor %s", saved.path, name) end
    tensor:copy_from(found)
  end
  opt:steps(saved.step)
end

return M
