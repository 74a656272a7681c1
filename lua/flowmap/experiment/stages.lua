--- The stages of a run: the runs that are made before it because their weights are its teacher.
--
-- Where the setting `teacher` is `auto`, the teacher is a run of the same experiment, seed and
-- settings with the method that the row names (`taught_by`; without one, flow matching). A method
-- that `halves` its steps is taught by a student of twice as many steps, and the first of these by
-- the teacher. So each stage is an ordinary run with a folder, a checkpoint and a result of its
-- own; several runs may share one.
-- @module flowmap.experiment.stages

local errors = require "flowmap.base.errors"
local published = require "flowmap.methods"
local settings = require "flowmap.experiment.settings"

local M = {}

local FIRST = "fm" -- the method of a teacher that the row does not name

-- Settings that a teacher and its student have in common: what they are velocities of; and, where
-- the student starts from the teacher's weights, the network.
local SAME = { "data", "dataset_size", "resolution", "sigma", "interpolant", "coupling", "dtype",
  "classes" }
local SAME_NET = { "net", "conditioning", "width", "depth", "time_input", "features",
  "model_channels", "mult", "num_blocks", "attention" }

-- Settings of the student that say nothing about a teacher of another method.
local OF_STUDENT = { teacher = true, teacher_experiment = true, stop = true, nfe = true,
  checkpoints = true, student_steps = true, teacher_steps = true }
for _, key in ipairs(published.DEFAULTS) do OF_STUDENT[key] = true end

-- Check that repeated halving leads from the teacher's steps to the student's.
local function check_halving(cfg)
  local steps = cfg.student_steps
  while steps < cfg.teacher_steps do steps = 2 * steps end
  if steps == cfg.teacher_steps and steps > cfg.student_steps then return end
  errors.usage("halving %d steps (teacher_steps) does not lead to %d (student_steps)",
    cfg.teacher_steps, cfg.student_steps)
end

-- The run that teaches another: its method and what distinguishes its settings; nil if there is
-- none, or a file.
local function teacher_of(cfg, row)
  if row and row.halves and cfg.times == "steps" then
    check_halving(cfg)
    local steps = 2 * cfg.student_steps
    if steps < cfg.teacher_steps then
      return cfg.method, { student_steps = steps, nfe = { steps } }
    end
  end
  if cfg.teacher == "auto" then return row and row.taught_by or FIRST, {} end
end

-- Settings of the grid's point and of the user that the teacher reads, too.
local function passed_on(experiment, it, cfg, method, want)
  local set = {}
  for _, values in ipairs { want.point or {}, want.set or {} } do
    for key, value in pairs(values) do
      if method == cfg.method or not OF_STUDENT[key] then set[key] = value end
    end
  end
  return experiment.readable(it, cfg.profile, method, set)
end

-- Add the settings in which the teacher would differ from the student but must not.
local function add_same(set, of, cfg)
  for _, list in ipairs { SAME, cfg.start == "teacher" and SAME_NET or {} } do
    for _, key in ipairs(list) do
      if settings.text(of[key]) ~= settings.text(cfg[key]) then set[key] = cfg[key] end
    end
  end
end

--- Resolve the stages of a run, and set `teacher` to the checkpoint of the last.
-- @tparam table experiment the module flowmap.experiment, which calls this
-- @tparam table it an experiment
-- @tparam table cfg the run's resolved settings, changed in place
-- @tparam ?table row the method's coordinates
-- @tparam table want what the run was resolved from, see flowmap.experiment; `stages` is the folder
--   of the stages, otherwise that of the experiment's own
-- @treturn {table,...} stages in their order: { cfg =, set =, dir = }
function M.of(experiment, it, cfg, row, want)
  local method, more = teacher_of(cfg, row)
  if not method then return {} end
  local set = passed_on(experiment, it, cfg, method, want)
  for key, value in pairs(more) do set[key] = value end
  local wanted = { profile = cfg.profile, method = method, seed = cfg.seed, set = set,
    stages = want.stages, of_stage = true }
  add_same(set, experiment.resolve(it, wanted), cfg)
  local of, list = experiment.staged(it, wanted)
  local dir = experiment.stage_dir(it, of, set, want.stages)
  list[#list + 1] = { cfg = of, set = set, dir = dir }
  cfg.teacher = dir .. "/checkpoint.safetensors"
  return list
end

return M
