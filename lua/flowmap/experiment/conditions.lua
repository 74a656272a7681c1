--- When each setting is read. A condition gets c = { cfg =, loss = what losses.find returned,
-- set = function: the data set, own = field -> whether the run's part is the experiment's own }. It
-- returns true if the setting is read; false and the reason if nothing reads it; nil if only a part
-- of the experiment's own can tell, see flowmap.experiment.effect.
-- @module flowmap.experiment.conditions

local curriculum = require "flowmap.curriculum"
local layout = require "flowmap.layout"
local ranges = require "flowmap.experiment.ranges"
local schedule = require "flowmap.schedule"
local times = require "flowmap.times"
local tree = require "flowmap.tree"

local M = {}

local words_of = {} -- condition -> when it holds

local function stated(condition, words, ...)
  words_of[condition] = words:format(...)
  return condition
end

--- When a condition holds, in words that continue "read if".
-- @tparam ?function condition
-- @treturn ?string nil for a setting that is always read
function M.words(condition) return words_of[condition] end

-- Networks of the suite that read a setting.
local described = {} -- networks whose settings are all in the list below

--- The condition that a run has this network of the suite.
-- @tparam string name
-- @treturn function a condition
function M.of_net(name)
  described[name] = true
  return stated(function(c)
    if c.own.nets then return nil end
    if not described[c.cfg.net] then
      return nil, ("the net %s does not read it"):format(c.cfg.net)
    end
    return c.cfg.net == name, ("only the net %s reads it, and the net is %s"):format(name,
      c.cfg.net)
  end, "net is %s, or a net of the experiment's own reads it", name)
end

--- Whether the data are images.
function M.of_images(c)
  return c.set().shape ~= nil, "the data are points, not images"
end

--- Whether samples are judged on a grid: points of the plane, or of a line with known masses.
function M.of_grid(c)
  local set = c.set()
  return not set.shape and (set.dim == 2 or set.dim == 1 and set.mass ~= nil),
    "the data are not judged on a grid"
end

--- Whether the masses of the data's cells are known.
function M.of_masses(c)
  local ok, why = M.of_grid(c)
  if not ok then return ok, why end
  return c.set().mass ~= nil, "the masses of the data's cells are not known"
end

--- Whether some samples of a batch are off-diagonal.
function M.off_diagonal(c)
  local cfg = c.cfg
  local diagonal = layout.counts(cfg.eta, cfg.batch, 1, layout.least(cfg)).diagonal
  return cfg.both_terms or diagonal < cfg.batch,
    ("eta is %s: all samples of a batch are diagonal"):format(ranges.number_text(cfg.eta))
end

--- Whether the method has a teacher.
function M.of_teacher(c)
  local ok, why = M.off_diagonal(c)
  if not ok then return ok, why end
  if c.own.losses then return nil end
  return c.loss.teacher, ("the method %s has no teacher"):format(c.loss.name)
end

--- Whether the method is given as coordinates: it is given as data.
function M.of_row(c)
  local ok, why = M.off_diagonal(c)
  if not ok then return ok, why end
  if c.own.losses then return nil end
  return c.loss.row ~= nil, ("the method %s is not given as coordinates"):format(c.loss.name)
end

--- Whether the target is a moving average of the weights.
function M.of_average(c)
  return c.cfg.target == "ema", ("target is %s, not ema"):format(c.cfg.target)
end

--- Whether the norm of the error is bounded, p > 0.
function M.bounded(c) return c.cfg.p > 0, "p is 0" end

--- The condition that a run uses one of these laws of times.
-- @tparam table names name -> true
-- @treturn function a condition
function M.of_law(names)
  return stated(function(c)
    if c.own.times then return nil end
    return names[c.cfg.times] == true, ("the law of times %s does not read it"):format(c.cfg.times)
  end, "times is %s, or a law of the experiment's own reads it", ranges.either(tree.keys(names)))
end

--- Whether a law of times in use has means and deviations.
function M.of_moments(c)
  if c.cfg.times_diagonal == "logit_normal" then return true end
  return M.of_law(times.with_moments)(c)
end

--- As `of_law`, for a setting that a curriculum may replace.
-- @tparam string key the setting
-- @tparam table names name -> true
-- @treturn function a condition
function M.of_constant(key, names)
  local read = M.of_law(names)
  return stated(function(c)
    if curriculum.drives(c.cfg) == key then return false, "the curriculum drives it" end
    return read(c)
  end, "%s; not if a curriculum drives it", words_of[read])
end

--- Whether the derivative in an Eulerian target has a factor.
function M.of_tangent(c)
  local ok, why = M.of_row(c)
  if not ok then return ok, why end
  return c.loss.row.family == "eulerian" and c.cfg.stop == "target",
    "only the Eulerian residual reads it, and only with stop = target"
end

--- Whether anything reads what the curriculum changes: it needs a method or a law of
-- times that takes it.
function M.of_driven(c)
  local drives = curriculum.drives(c.cfg)
  if drives == "levels" then return M.of_law(times.with_levels)(c) end
  if drives == "share" then return M.of_law(times.with_share)(c) end
  local ok, why = M.of_row(c)
  if not ok then return ok, why end
  return not drives or c.loss.row.family == "semigroup", "only the semigroup residual reads g"
end

--- Whether the method compares groups of samples.
function M.of_groups(c)
  local ok, why = M.of_row(c)
  if not ok then return ok, why end
  return c.loss.row.compare == "groups", ("the method %s compares single samples"):format(
    c.loss.name)
end

--- Whether the method trains more than the diagonal.
function M.not_diagonal(c)
  return not (c.loss.row and c.loss.row.family == "diagonal"),
    ("the method %s trains the diagonal alone"):format(c.loss.name)
end

--- Whether a batch is split into diagonal and off-diagonal samples.
function M.of_split(c)
  local ok, why = M.not_diagonal(c)
  if not ok then return ok, why end
  return not c.cfg.both_terms, "both_terms is true: every sample enters both terms"
end

--- Whether a curriculum changes a value during the training.
function M.of_curriculum(c)
  return c.cfg.curriculum ~= "none", "there is no curriculum"
end

--- Whether the teacher of a student is itself a student, of twice as many steps.
function M.of_halves(c)
  if c.cfg.times ~= "steps" then return false, "the law of times is not steps" end
  return c.loss.row ~= nil and c.loss.row.halves == true,
    ("the method %s does not halve its steps"):format(c.loss.name)
end

--- Whether the sampler chooses its steps, dopri5.
function M.adaptive(c) return c.cfg.sampler == "dopri5", "the sampler is not dopri5" end

--- Whether the run has a teacher.
function M.with_teacher(c) return c.cfg.teacher ~= "", "there is no teacher" end

--- Whether there is dropout in the off-diagonal term.
function M.with_dropout(c)
  local ok, why = M.off_diagonal(c)
  if not ok then return ok, why end
  return c.cfg.dropout > 0, "dropout is 0"
end

--- Whether images are augmented as in EDM.
function M.of_edm(c)
  return c.cfg.augment == "edm", ("augment is %s"):format(c.cfg.augment)
end

--- Whether the run is conditional on classes.
function M.with_classes(c) return c.cfg.classes > 0, "classes is 0: there are no labels" end

--- Whether the optimiser is AdamW.
function M.of_adamw(c)
  return c.cfg.optimiser == "adamw", ("the optimiser is %s"):format(c.cfg.optimiser)
end

--- The schedules that read `decay_start`, in words.
M.STARTING = ranges.either(tree.keys(schedule.with_start))

--- Whether the schedule has a first step of decay.
function M.with_start(c)
  local name = schedule.name(c.cfg.schedule)
  return schedule.with_start[name] == true,
    ("only the schedule %s reads it, and the schedule is %s"):format(M.STARTING, name)
end

local OFF = "some samples of a batch are off-diagonal (eta below 1, or both_terms)"

for name, words in pairs {
  of_images = "the data are images",
  of_grid = "the data are points of the plane, or of a line with known masses",
  of_masses = "the data set states the masses of boxes (mass)",
  off_diagonal = OFF,
  of_teacher = "the method has a teacher",
  of_row = "the method is given as coordinates (flowmap methods lists them)",
  of_average = "target is ema",
  bounded = "p is more than 0",
  of_moments = "times or times_diagonal is a law with means and deviations",
  of_tangent = "the method is Eulerian and stop is target",
  of_driven = "the method or the law of times takes what the curriculum changes",
  of_groups = "the method compares groups of samples",
  not_diagonal = "the method trains more than the diagonal",
  of_split = "both_terms is false and the method trains more than the diagonal",
  of_curriculum = "curriculum is not none",
  of_halves = "the method halves its steps and times is steps",
  adaptive = "sampler is dopri5",
  with_teacher = "there is a teacher",
  with_dropout = "dropout is more than 0",
  of_edm = "augment is edm",
  with_classes = "classes is more than 0",
  of_adamw = "optimiser is adamw",
  with_start = "schedule is " .. M.STARTING,
} do stated(M[name], "%s", words) end

return M
