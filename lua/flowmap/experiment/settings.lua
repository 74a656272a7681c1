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
local when = require "flowmap.experiment.conditions"

local M = {}

local within, above, zero_or = ranges.within, ranges.above, ranges.zero_or
local fraction, below_1 = ranges.fraction, ranges.below_1
local one_of, either = ranges.one_of, ranges.either
local each, two, number_text = ranges.each, ranges.two, ranges.number_text

local function any() return true end

local COUNT, STEPS = 1 << 30, 1000000000000 -- samples; steps of a training

-- ------------------------------------------------------------------ the settings

local OPTIMISERS = { "radam", "adamw" }

--- The settings in reading order: { key, default, check, meaning, condition for being read (absent:
-- always read) }.
M.list = {
  { "data", "checkerboard", any, "data set: a file of lua/flowmap/data" },
  { "dataset_size", 0, within(0, COUNT), "samples drawn once; 0: fresh draws in every step" },
  { "resolution", 0, within(0, 4096), "side to which images are averaged down; 0: as they are",
    when.of_images },
  { "augment", "none", one_of(augment.names),
    "random transformations of training images: none, flip or edm", when.of_images },
  { "augment_p", 0.12, fraction, "probability of each transformation of edm besides mirroring",
    when.of_edm },
  { "sigma", 0.0, within(0, 1e6), "base standard deviation; 0: that of the data" },
  { "interpolant", "linear", any,
    either(interpolants.names, "one of the experiment's own") },
  { "coupling", "independent", one_of(coupling.names),
    "pairs of base and data samples; ot: of least distance within a micro-batch, which takes 0.2, "
      .. "1.7 or 12 ms for 64, 128 or 256 points" },
  { "stop", "default", any, "stop-gradient of the method; default: the paper's",
    when.off_diagonal },
  { "eta", 0.75, fraction, "diagonal fraction of a batch; 0 leaves one sample, or none where the "
    .. "velocity is the sample's or a frozen map's", when.of_split },
  { "both_terms", false, any, "whether every sample enters both terms", when.not_diagonal },
  { "devices", 1, within(1, 4096),
    "parts of a batch that are split again, as the official code does on several devices",
    when.off_diagonal },
  { "off_weight", 1.0, above(0, 1e6), "weight of the off-diagonal term in the objective",
    when.off_diagonal },
  { "robust", 0.0, zero_or(within(1e-6, 1e6)),
    "an older name: p = 1 with this c; 0: p = 0", when.off_diagonal },
  { "p", 0.0, fraction, "exponent of the weight (1 + L/c^2)^-p of the off-diagonal L; 0: none",
    when.off_diagonal },
  { "c", 0.1, within(1e-6, 1e6), "scale of the residuals in the weight (1 + L/c^2)^-p",
    when.bounded },
  { "p_diagonal", false, any, "whether the diagonal term has that weight as well", when.bounded },
  { "velocity", "self", one_of { "self", "sample", "teacher" },
    "whose velocity the residual contains: the network's own, dI, or a teacher's", when.of_row },
  { "target", "current", one_of { "current", "ema", "frozen" },
    "weights that targets read; frozen: the teacher's", when.of_row },
  { "target_decay", 0.99, below_1, "decay of the average that targets read", when.of_average },
  { "teacher", "", any, "checkpoint whose velocity stands in for v, where the method has a "
    .. "teacher; auto: trained first; empty: self", when.of_teacher },
  { "teacher_experiment", "", any, "experiment file of the teacher's network, if it is its own",
    when.with_teacher },
  { "start", "", any, "checkpoint whose weights begin the run; teacher: the teacher's, averaged; "
    .. "empty: random weights" },
  { "student_steps", 1, within(1, 4096), "N steps that the student makes from 0 to 1",
    when.of_law(times.with_students) },
  { "teacher_steps", 64, within(2, 8192),
    "steps of the first teacher; each round of distillation halves them", when.of_halves },
  { "times", "uniform", any, "distribution of the off-diagonal (s, t): "
    .. either(times.names, "one of the experiment's own"), when.off_diagonal },
  { "times_mean", { 0.0, 0.0 }, two(within(-100, 100)),
    "means of the two normal variates of a law of times", when.of_moments },
  { "times_sd", { 1.0, 1.0 }, two(above(0, 100)), "their standard deviations", when.of_moments },
  { "times_diagonal", "uniform", one_of(tree.keys(times.diagonal)),
    "law of the diagonal's t, see lua/flowmap/times.lua" },
  { "particles", 4, within(1, 1 << 20), "samples of a group, which share their times",
    when.of_groups },
  { "levels", 18, within(2, 1 << 20), "number of noise levels",
    when.of_constant("levels", times.with_levels) },
  { "share", 0.25, above(0, 1), "part of the noise level that a step removes, at large noise",
    when.of_constant("share", times.with_share) },
  { "curriculum", "none", one_of { "none", table.unpack(curriculum.names) },
    "how a coordinate changes during training, see lua/flowmap/curriculum.lua", when.of_driven },
  { "curriculum_span", { 0.0, 1.0 }, two(within(0, 1 << 20)),
    "first and last value of the curriculum, or its first and last fraction of the training",
    when.of_curriculum },
  { "tangent_warmup", 0.0, within(0, STEPS), "steps, or (below 1) the part of all steps, in which "
    .. "the derivative in the target rises from 0 to its whole", when.of_tangent },
  { "net", "mlp", any, "network: a file of lua/flowmap/nets" },
  { "conditioning", "times", one_of { "times", "gap" },
    "times that the network is given: s and t, or s and t - s" },
  { "width", 512, within(1, 65536), "width of the hidden layers", when.of_net "mlp" },
  { "depth", 5, within(1, 1024), "number of hidden layers", when.of_net "mlp" },
  { "time_input", "raw", one_of { "raw", "standard" }, "s, t as they are, or with mean 0, sd 1",
    when.of_net "mlp" },
  { "features", 0, within(0, 1024), "pairs of sines and cosines of each coordinate",
    when.of_net "mlp" },
  { "model_channels", 128, within(1, 65536), "edm2: channels that `mult` multiplies",
    when.of_net "edm2" },
  { "mult", { 2, 2, 2 }, each(within(1, 1024), 1, 16),
    "edm2: channels of each level; the resolution halves", when.of_net "edm2" },
  { "num_blocks", 4, within(1, 1024), "edm2: blocks of a level", when.of_net "edm2" },
  { "attention", { 16 }, each(within(1, 4096), 0, 16), "edm2: resolutions with attention",
    when.of_net "edm2" },
  { "learned_weight", true, any, "edm2: whether w(s,t) weights the loss; false: w = 0",
    when.of_net "edm2" },
  { "dropout", 0.0, below_1, "edm2: part of the values dropped in the diagonal term",
    when.of_net "edm2" },
  { "dropout_off", false, any, "whether the off-diagonal term has dropout as well",
    when.with_dropout },
  { "classes", 0, within(0, 65536), "edm2: number of classes to condition on; 0: none",
    when.of_net "edm2" },
  { "label_dropout", 0.1, fraction, "part of the labels that become the null class",
    when.with_classes },
  { "guidance", 1.0, within(0, 1000), "samples of a class: v_null + guidance (v_class - v_null)",
    when.with_classes },
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
    .. when.STARTING, when.with_start },
  { "warmup", 0, within(0, STEPS), "steps of linear warm-up" },
  { "b1", 0.9, below_1, "decay of the first moment" },
  { "b2", 0.999, below_1, "decay of the second moment" },
  { "eps", 1e-8, above(0, 1), "offset of the optimiser's denominator" },
  { "weight_decay", 0.0, within(0, 1000), "decoupled weight decay (adamw)", when.of_adamw },
  { "clip", 10.0, within(0, 1e12), "bound on the gradient's global norm; 0: none" },
  { "ema", { 0.999 }, each(below_1, 0, 4), "decays of the averaged weights that are kept" },
  { "eval_ema", 1, within(0, 4), "which average is evaluated, from 1; 0: the weights themselves" },
  { "sampler", "map", one_of { "map", "consistency", "euler", "heun", "dopri5" },
    "steps of samples: of the map, of X_{s,1} with fresh noise, or of an ODE solver on v_{t,t}; "
      .. "dopri5 chooses each sample's steps" },
  { "rtol", 1e-5, within(1e-14, 1), "dopri5: bound of a step's error, relative to the sample",
    when.adaptive },
  { "atol", 1e-5, within(1e-14, 1), "dopri5: bound added to it", when.adaptive },
  { "nfe", { 1, 2, 4, 8, 16 }, each(within(1, 4096), 1, 64, true), "numbers of steps N evaluated" },
  { "eval_samples", 1000000, within(1, COUNT), "samples per N in the evaluation" },
  { "checkpoints", 1, within(1, 10000),
    "checkpoints evaluated, equally spaced; the last is the result" },
  { "relative_cost", 0.0, zero_or(within(0.01, 100)), "time of a step over that of the method "
    .. "compared with: evaluated after steps / relative_cost, too; 0: no" },
  { "metrics", { "all" }, any, "the experiment's own metrics to measure: all, none or names" },
  { "image_metrics", { "none" }, any,
    "further metrics of images: none, all or names, see measure/feature_metrics.lua",
    when.of_images },
  { "bins", 64, within(2, 2048), "bins per axis of the histogram", when.of_grid },
  { "kl_estimates", false, any, "whether other estimates of KL are made as well", when.of_masses },
  { "log_every", 100, within(1, STEPS), "steps per line of metrics.jsonl" },
  { "gradients_every", 0, within(0, STEPS),
    "steps per measurement of the gradients of both terms, a multiple of log_every; 0: none",
    when.off_diagonal },
  { "audit_bytes", 8388608, within(0, 1 << 40),
    "disk space for states from which parts of a run can be audited; 0: none" },
  { "save_every", 60.0, within(0, 1e9), "seconds between checkpoints; 0: every step" },
  { "shard", 0, within(0, 1),
    "1: ranks of mpirun divide the optimiser's moments among them; no bit changes" },
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

--- The type of a setting, in words.
-- @param value its default
-- @treturn string
function M.kind(value)
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

-- Why a setting cannot be recorded, if so: a checkpoint holds only lines of UTF-8, and a list is
-- written with commas between its texts.
local function text_fault(value)
  local several = type(value) == "table"
  for _, x in ipairs(several and value or { value }) do
    local fault = type(x) == "string" and texts.fault(x, LONGEST)
    if not fault and several and x == "" then fault = "is empty" end
    if not fault and several and type(x) == "string" and x:find(",", 1, true) then
      fault = "holds a comma, which separates the texts of a list"
    end
    if fault then return fault end
  end
end

-- A found value, for a message.
local function found_text(value)
  if type(value) == "function" then return "a function" end
  if type(value) == "table" and not is_list(value) then return "a table with named fields" end
  local text = M.text(value)
  if type(value) == "string" and type(M.parse(value)) ~= "string" then -- not from --set
    return ("the text '%s'"):format(texts.line(text, 200))
  end
  return text == "" and "nothing" or texts.line(text, 200)
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
    errors.usage("%s: unknown setting '%s'%s", where, texts.line(tostring(key), 100),
      errors.near(tostring(key), M.keys(own)))
  end
  local fitted = fit(value, default)
  if fitted == nil then
    local example = M.text(default)
    errors.usage("%s: %s must be a %s%s, found %s", where, key, M.kind(default),
      example ~= "" and " such as " .. example or "", found_text(value))
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

--- The number that a text is, or nil. Lua alone would take 0x10000000000000040 for 64, of which it
-- drops the first digit, and 1e-400 for 0.
-- @tparam string text
-- @treturn ?number
function M.number(text)
  local x = not text:find "[xX]" and tonumber(text)
  if x and not (x == 0 and text:match "^[^eE]*":find "[1-9]") then return x end
end

--- The value that a `--set key=value` means: numbers and comma-separated lists of numbers are
-- recognised, all else is text.
-- @tparam string text
-- @return number, list, boolean or string
function M.parse(text)
  if text == "true" or text == "false" then return text == "true" end
  local number = M.number(text)
  if number then return number end
  local list = {}
  for part in (text .. ","):gmatch "([^,]*)," do list[#list + 1] = M.number(part) or part end
  if #list < 2 or type(list[1]) ~= "number" then return text end
  return list
end

return M
