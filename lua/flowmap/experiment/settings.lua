--- Every setting of a run: its name, default (which also fixes the type), range and meaning.
-- An experiment, its profiles and `--set key=value` may change them; nothing else exists.
-- @module flowmap.experiment.settings

local augment = require "flowmap.augment"
local errors = require "flowmap.base.errors"
local coupling = require "flowmap.coupling"
local curriculum = require "flowmap.curriculum"
local interpolants = require "flowmap.interpolants"
local ranges = require "flowmap.experiment.ranges"
local schedule = require "flowmap.schedule"
local texts = require "flowmap.base.text"
local times = require "flowmap.times"
local tree = require "flowmap.tree"

local M = {}

local within, above, zero_or = ranges.within, ranges.above, ranges.zero_or
local fraction, below_1 = ranges.fraction, ranges.below_1
local one_of, either = ranges.one_of, ranges.either
local each, two, number_text = ranges.each, ranges.two, ranges.number_text

local function any() return true end

local COUNT, STEPS = 1 << 30, 1000000000000 -- samples; steps of a training

-- ------------------------------------------------------------------ when a setting is read
--
-- Each condition gets c = { cfg =, loss = what losses.find returned, set = function: the data set,
-- own = field -> whether the run's part is the experiment's own }, and returns true if the setting
-- is read; false and the reason if nothing reads it; nil if only a part of the experiment's own can
-- tell, see flowmap.experiment.effect.

-- Networks of the suite that read a setting.
local described = {} -- networks whose settings are all in the list below

local function of_net(name)
  described[name] = true
  return function(c)
    if c.own.nets then return nil end
    if not described[c.cfg.net] then
      return nil, ("the net %s does not read it"):format(c.cfg.net)
    end
    return c.cfg.net == name, ("only the net %s reads it, and the net is %s"):format(name,
      c.cfg.net)
  end
end

local function of_images(c)
  return c.set().shape ~= nil, "the data are points, not images"
end

local function of_grid(c)
  local set = c.set()
  return not set.shape and (set.dim == 2 or set.dim == 1 and set.mass ~= nil),
    "the data are not judged on a grid"
end

local function of_masses(c)
  local ok, why = of_grid(c)
  if not ok then return ok, why end
  return c.set().mass ~= nil, "the masses of the data's cells are not known"
end

local function off_diagonal(c)
  local cfg = c.cfg
  return cfg.both_terms or math.max(1, math.floor(cfg.eta * cfg.batch + 1e-9)) < cfg.batch,
    ("eta is %s: all samples of a batch are diagonal"):format(number_text(cfg.eta))
end

local function of_teacher(c)
  local ok, why = off_diagonal(c)
  if not ok then return ok, why end
  if c.own.losses then return nil end
  return c.loss.teacher, ("the method %s has no teacher"):format(c.loss.name)
end

-- Coordinates of methods that are given as data.
local function of_row(c)
  local ok, why = off_diagonal(c)
  if not ok then return ok, why end
  if c.own.losses then return nil end
  return c.loss.row ~= nil, ("the method %s is not given as coordinates"):format(c.loss.name)
end

local function of_average(c)
  return c.cfg.target == "ema", ("target is %s, not ema"):format(c.cfg.target)
end

local function bounded(c) return c.cfg.p > 0, "p is 0" end

-- Settings of some laws of times.
local function of_law(names)
  return function(c)
    if c.own.times then return nil end
    return names[c.cfg.times] == true, ("the law of times %s does not read it"):format(c.cfg.times)
  end
end

local function of_moments(c)
  if c.cfg.times_diagonal == "logit_normal" then return true end
  return of_law(times.with_moments)(c)
end

-- Of the same, a setting that a curriculum replaces.
local function of_constant(key, names)
  local read = of_law(names)
  return function(c)
    if curriculum.drives(c.cfg) == key then return false, "the curriculum drives it" end
    return read(c)
  end
end

-- The factor of the derivative in an Eulerian target.
local function of_tangent(c)
  local ok, why = of_row(c)
  if not ok then return ok, why end
  return c.loss.row.family == "eulerian" and c.cfg.stop == "target",
    "only the Eulerian residual reads it, and only with stop = target"
end

-- A curriculum needs a method or a law of times that takes what it drives.
local function of_driven(c)
  local drives = curriculum.drives(c.cfg)
  if drives == "levels" then return of_law(times.with_levels)(c) end
  if drives == "share" then return of_law(times.with_share)(c) end
  local ok, why = of_row(c)
  if not ok then return ok, why end
  return not drives or c.loss.row.family == "semigroup", "only the semigroup residual reads g"
end

local function of_groups(c)
  local ok, why = of_row(c)
  if not ok then return ok, why end
  return c.loss.row.compare == "groups", ("the method %s compares single samples"):format(
    c.loss.name)
end

local function not_diagonal(c)
  return not (c.loss.row and c.loss.row.family == "diagonal"),
    ("the method %s trains the diagonal alone"):format(c.loss.name)
end

local function of_split(c)
  local ok, why = not_diagonal(c)
  if not ok then return ok, why end
  return not c.cfg.both_terms, "both_terms is true: every sample enters both terms"
end

local function of_curriculum(c)
  return c.cfg.curriculum ~= "none", "there is no curriculum"
end

-- Whether the teacher of a student is itself a student, of twice as many steps.
local function of_halves(c)
  if c.cfg.times ~= "steps" then return false, "the law of times is not steps" end
  return c.loss.row ~= nil and c.loss.row.halves == true,
    ("the method %s does not halve its steps"):format(c.loss.name)
end

local function adaptive(c) return c.cfg.sampler == "dopri5", "the sampler is not dopri5" end

local function with_teacher(c) return c.cfg.teacher ~= "", "there is no teacher" end

local function with_dropout(c)
  local ok, why = off_diagonal(c)
  if not ok then return ok, why end
  return c.cfg.dropout > 0, "dropout is 0"
end

local function of_edm(c)
  return c.cfg.augment == "edm", ("augment is %s"):format(c.cfg.augment)
end

local function with_classes(c) return c.cfg.classes > 0, "classes is 0: there are no labels" end

local function of_adamw(c)
  return c.cfg.optimiser == "adamw", ("the optimiser is %s"):format(c.cfg.optimiser)
end

local STARTING = either(tree.keys(schedule.with_start))

local function with_start(c)
  local name = schedule.name(c.cfg.schedule)
  return schedule.with_start[name] == true,
    ("only the schedule %s reads it, and the schedule is %s"):format(STARTING, name)
end

-- ------------------------------------------------------------------ the settings

local OPTIMISERS = { "radam", "adamw" }

--- The settings in reading order: { key, default, check, meaning, condition for being read (absent:
-- always read) }.
M.list = {
  { "data", "checkerboard", any, "data set: a file of lua/flowmap/data" },
  { "dataset_size", 0, within(0, COUNT), "samples drawn once; 0: fresh draws in every step" },
  { "resolution", 0, within(0, 4096), "side to which images are averaged down; 0: as they are",
    of_images },
  { "augment", "none", one_of(augment.names),
    "random transformations of training images: none, flip or edm", of_images },
  { "augment_p", 0.12, fraction, "probability of each transformation of edm besides mirroring",
    of_edm },
  { "sigma", 0.0, within(0, 1e6), "base standard deviation; 0: that of the data" },
  { "interpolant", "linear", any,
    either(interpolants.names, "one of the experiment's own") },
  { "coupling", "independent", one_of(coupling.names),
    "pairs of base and data samples; ot: of least distance within a micro-batch, which takes 0.2, "
      .. "1.7 or 12 ms for 64, 128 or 256 points" },
  { "stop", "default", any, "stop-gradient of the method; default: the paper's", off_diagonal },
  { "eta", 0.75, fraction, "diagonal fraction of a batch", of_split },
  { "both_terms", false, any, "whether every sample enters both terms", not_diagonal },
  { "devices", 1, within(1, 4096),
    "parts of a batch that are split again, as the official code does on several devices",
    off_diagonal },
  { "off_weight", 1.0, above(0, 1e6), "weight of the off-diagonal term in the objective",
    off_diagonal },
  { "robust", 0.0, zero_or(within(1e-6, 1e6)),
    "an older name: p = 1 with this c; 0: p = 0", off_diagonal },
  { "p", 0.0, fraction, "exponent of the weight (L + c^2)^-p of the off-diagonal L; 0: none",
    off_diagonal },
  { "c", 0.1, within(1e-6, 1e6), "scale of the residuals in the weight (L + c^2)^-p", bounded },
  { "p_diagonal", false, any, "whether the diagonal term has that weight as well", bounded },
  { "velocity", "self", one_of { "self", "sample", "teacher" },
    "whose velocity the residual contains: the network's own, dI, or a teacher's", of_row },
  { "target", "current", one_of { "current", "ema", "frozen" },
    "weights that targets read; frozen: the teacher's", of_row },
  { "target_decay", 0.99, below_1, "decay of the average that targets read", of_average },
  { "teacher", "", any, "checkpoint whose velocity stands in for v, where the method has a "
    .. "teacher; auto: trained first; empty: self", of_teacher },
  { "teacher_experiment", "", any, "experiment file of the teacher's network, if it is its own",
    with_teacher },
  { "start", "", any, "checkpoint whose weights begin the run; teacher: the teacher's, averaged; "
    .. "empty: random weights" },
  { "student_steps", 1, within(1, 4096), "N steps that the student makes from 0 to 1",
    of_law(times.with_students) },
  { "teacher_steps", 64, within(2, 8192),
    "steps of the first teacher; each round of distillation halves them", of_halves },
  { "times", "uniform", any, "distribution of the off-diagonal (s, t)", off_diagonal },
  { "times_mean", { 0.0, 0.0 }, two(within(-100, 100)),
    "means of the two normal variates of a law of times", of_moments },
  { "times_sd", { 1.0, 1.0 }, two(above(0, 100)), "their standard deviations", of_moments },
  { "times_diagonal", "uniform", one_of(tree.keys(times.diagonal)),
    "law of the diagonal's t, see lua/flowmap/times.lua" },
  { "particles", 4, within(1, 1 << 20), "samples of a group, which share their times", of_groups },
  { "levels", 18, within(2, 1 << 20), "number of noise levels",
    of_constant("levels", times.with_levels) },
  { "share", 0.25, above(0, 1), "part of the noise level that a step removes, at large noise",
    of_constant("share", times.with_share) },
  { "curriculum", "none", one_of { "none", table.unpack(curriculum.names) },
    "how a coordinate changes during training, see lua/flowmap/curriculum.lua", of_driven },
  { "curriculum_span", { 0.0, 1.0 }, two(within(0, 1 << 20)),
    "first and last value of the curriculum, or its first and last fraction of the training",
    of_curriculum },
  { "tangent_warmup", 0.0, within(0, STEPS), "steps, or (below 1) the part of all steps, in which "
    .. "the derivative in the target rises from 0 to its whole", of_tangent },
  { "net", "mlp", any, "network: a file of lua/flowmap/nets" },
  { "conditioning", "times", one_of { "times", "gap" },
    "times that the network is given: s and t, or s and t - s" },
  { "width", 512, within(1, 65536), "width of the hidden layers", of_net "mlp" },
  { "depth", 5, within(1, 1024), "number of hidden layers", of_net "mlp" },
  { "time_input", "raw", one_of { "raw", "standard" }, "s, t as they are, or with mean 0, sd 1",
    of_net "mlp" },
  { "features", 0, within(0, 1024), "pairs of sines and cosines of each coordinate",
    of_net "mlp" },
  { "model_channels", 128, within(1, 65536), "edm2: channels that `mult` multiplies",
    of_net "edm2" },
  { "mult", { 2, 2, 2 }, each(within(1, 1024), 1, 16),
    "edm2: channels of each level; the resolution halves", of_net "edm2" },
  { "num_blocks", 4, within(1, 1024), "edm2: blocks of a level", of_net "edm2" },
  { "attention", { 16 }, each(within(1, 4096), 0, 16), "edm2: resolutions with attention",
    of_net "edm2" },
  { "learned_weight", true, any, "edm2: whether w(s,t) weights the loss; false: w = 0",
    of_net "edm2" },
  { "dropout", 0.0, below_1, "edm2: part of the values dropped in the diagonal term",
    of_net "edm2" },
  { "dropout_off", false, any, "whether the off-diagonal term has dropout as well", with_dropout },
  { "classes", 0, within(0, 65536), "edm2: number of classes to condition on; 0: none",
    of_net "edm2" },
  { "label_dropout", 0.1, fraction, "part of the labels that become the null class",
    with_classes },
  { "guidance", 1.0, within(0, 1000), "samples of a class: v_null + guidance (v_class - v_null)",
    with_classes },
  { "dtype", "float32", one_of { "float32", "float64" }, "number format of training" },
  { "precision", "float32", one_of { "float32", "bfloat16" },
    "of wide matrix products in training" },
  { "batch", 256, within(1, COUNT), "samples per step" },
  { "micro", 128, within(1, 1 << 20), "rows a worker takes at a time; part of the result's bits" },
  { "steps", 17000, within(1, STEPS), "training steps" },
  { "optimiser", "radam", one_of(OPTIMISERS), either(OPTIMISERS) },
  { "lr", 1.5e-3, above(0, 1000), "learning rate" },
  { "schedule", "linear", one_of(schedule.names, schedule.older), either(schedule.names) },
  { "decay_start", 35000, within(1, STEPS), "first step of the decay of the schedule "
    .. STARTING, with_start },
  { "warmup", 0, within(0, STEPS), "steps of linear warm-up" },
  { "b1", 0.9, below_1, "decay of the first moment" },
  { "b2", 0.999, below_1, "decay of the second moment" },
  { "eps", 1e-8, above(0, 1), "offset of the optimiser's denominator" },
  { "weight_decay", 0.0, within(0, 1000), "decoupled weight decay (adamw)", of_adamw },
  { "clip", 10.0, within(0, 1e12), "bound on the gradient's global norm; 0: none" },
  { "ema", { 0.999 }, each(below_1, 0, 4), "decays of the averaged weights that are kept" },
  { "eval_ema", 1, within(0, 4), "which average is evaluated, from 1; 0: the weights themselves" },
  { "sampler", "map", one_of { "map", "consistency", "euler", "heun", "dopri5" },
    "steps of samples: of the map, of X_{s,1} with fresh noise, or of an ODE solver on v_{t,t}; "
      .. "dopri5 chooses each sample's steps" },
  { "rtol", 1e-5, within(1e-14, 1), "dopri5: bound of a step's error, relative to the sample",
    adaptive },
  { "atol", 1e-5, within(1e-14, 1), "dopri5: bound added to it", adaptive },
  { "nfe", { 1, 2, 4, 8, 16 }, each(within(1, 4096), 1, 64, true), "numbers of steps N evaluated" },
  { "eval_samples", 1000000, within(1, COUNT), "samples per N in the evaluation" },
  { "checkpoints", 1, within(1, 10000),
    "checkpoints evaluated, equally spaced; the last is the result" },
  { "relative_cost", 0.0, zero_or(within(0.01, 100)), "time of a step over that of the method "
    .. "compared with: evaluated after steps / relative_cost, too; 0: no" },
  { "metrics", { "all" }, any, "the experiment's own metrics to measure: all, none or names" },
  { "image_metrics", { "none" }, any,
    "further metrics of images: none, all or names, see measure/feature_metrics.lua", of_images },
  { "bins", 64, within(1, 2048), "bins per axis of the histogram", of_grid },
  { "kl_estimates", false, any, "whether other estimates of KL are made as well", of_masses },
  { "log_every", 100, within(1, STEPS), "steps per line of metrics.jsonl" },
  { "gradients_every", 0, within(0, STEPS),
    "steps per measurement of the gradients of both terms, a multiple of log_every; 0: none",
    off_diagonal },
  { "audit_bytes", 8388608, within(0, 1 << 40),
    "disk space for states from which parts of a run can be audited; 0: none" },
  { "save_every", 60.0, within(0, 1e9), "seconds between checkpoints; 0: every step" },
}

M.by_key = {}
for _, s in ipairs(M.list) do
  M.by_key[s[1]] = { default = s[2], check = s[3], meaning = s[4], when = s[5] }
end

--- Settings with defaults for those that did not exist when they were recorded.
-- @tparam table cfg
-- @treturn table a copy
function M.complete(cfg)
  local all = {}
  for _, it in ipairs(M.list) do all[it[1]] = it[2] end
  for key, value in pairs(cfg) do all[key] = value end
  return all
end

--- Names of all settings.
-- @tparam[opt] table own settings of an experiment, key -> default
-- @treturn {string,...}
function M.keys(own)
  local keys = {}
  for _, s in ipairs(M.list) do keys[#keys + 1] = s[1] end
  for key in pairs(own or {}) do keys[#keys + 1] = key end
  return keys
end

local function type_name(value)
  if type(value) == "table" then
    return type(value[1]) == "string" and "list of texts" or "list of numbers"
  end
  return math.type(value) == "integer" and "whole number" or type(value)
end

-- "a,b" -> { "a", "b" }
local function split(text)
  local list = {}
  for part in text:gmatch "[^,]+" do list[#list + 1] = part end
  return list
end

-- Whether a table holds a list alone.
local function is_list(t)
  local count = 0
  for _ in pairs(t) do count = count + 1 end
  return count == #t
end

local fit

-- The value in the type of the default, or nil: 1 becomes a float where one is expected, and one
-- number a list of one.
function fit(value, default)
  if type(default) == "table" then
    local list = {}
    if type(value) == "string" and type(default[1]) == "string" then value = split(value) end
    if type(value) == "table" and not is_list(value) then return nil end
    for i, x in ipairs(type(value) == "table" and value or { value }) do
      list[i] = fit(x, default[1])
      if list[i] == nil then return nil end
    end
    return list
  elseif math.type(default) == "integer" then
    return type(value) == "number" and math.tointeger(value) or nil
  elseif math.type(default) == "float" then
    return type(value) == "number" and value + 0.0 or nil
  end
  if type(value) == type(default) then return value end
end

local MOST_EXACT = 1 << 53 -- beyond it the records of a run do not hold every whole number

-- A setting declared by an experiment has no range, but must be finite and recorded exactly.
local function finite(value)
  for _, x in ipairs(type(value) == "table" and value or { value }) do
    if type(x) == "number" and x - x ~= 0 then return false, "finite" end
    if math.type(x) == "integer" and (x > MOST_EXACT or x < -MOST_EXACT) then
      return false, "from -2^53 to 2^53"
    end
  end
  return true
end

local LONGEST = 4096 -- bytes of a text: no path is longer

-- Why a setting cannot be recorded, if so: a checkpoint holds only lines of UTF-8.
local function text_fault(value)
  for _, x in ipairs(type(value) == "table" and value or { value }) do
    local fault = type(x) == "string" and texts.fault(x, LONGEST)
    if fault then return fault end
  end
end

-- A found value, for a message.
local function found_text(value)
  if type(value) == "function" then return "a function" end
  if type(value) == "table" and not is_list(value) then return "a table with named fields" end
  local text = M.text(value)
  return text == "" and "nothing" or text
end

--- Check one setting.
-- @tparam string key
-- @param value
-- @tparam string where for the sentence: who set it
-- @tparam[opt] table own settings of an experiment
-- @return the value in the setting's type
function M.check(key, value, where, own)
  local it = M.by_key[key]
  local default = it and it.default
  if not it then default = own and own[key] end
  if default == nil then
    errors.usage("%s: unknown setting '%s'%s", where, tostring(key),
      errors.near(tostring(key), M.keys(own)))
  end
  local fitted = fit(value, default)
  if fitted == nil then
    local expected = type_name(default)
    errors.usage("%s: %s must be a %s such as %s, found %s", where, key, expected,
      M.text(default), found_text(value))
  end
  local ok, expected = (it and it.check or finite)(fitted)
  if not ok then
    errors.usage("%s: %s must be %s, found %s", where, key, expected, found_text(value))
  end
  local fault = text_fault(fitted)
  if fault then
    errors.usage("%s: %s must be a line of text, found one that %s", where, key, fault)
  end
  return fitted
end

--- Values of `robust` as what it stood for before `p` and `c`: p = 1 with that c, or p = 0. A value
-- of either makes `robust` void.
-- @tparam table cfg settings, changed in place
-- @tparam table values key -> value: what was just set in them
function M.translate(cfg, values)
  if values.p ~= nil or values.c ~= nil then
    cfg.robust = 0.0
  elseif values.robust ~= nil then
    cfg.p, cfg.c = cfg.robust > 0 and 1.0 or 0.0, cfg.robust > 0 and cfg.robust or cfg.c
  end
end

--- A value as it is written after `--set key=`. Two different values never have the same text.
-- @param value
-- @treturn string
function M.text(value)
  if type(value) == "table" then
    local parts = {}
    for i, x in ipairs(value) do parts[i] = M.text(x) end
    return table.concat(parts, ",")
  end
  return type(value) == "number" and number_text(value) or tostring(value)
end

--- The value that a `--set key=value` means: numbers and comma-separated lists of numbers are
-- recognised, all else is text.
-- @tparam string text
-- @return number, list, boolean or string
function M.parse(text)
  if text == "true" or text == "false" then return text == "true" end
  if tonumber(text) then return tonumber(text) end
  local list = {}
  for part in (text .. ","):gmatch "([^,]*)," do list[#list + 1] = tonumber(part) or part end
  if #list < 2 or type(list[1]) ~= "number" then return text end
  return list
end

return M
