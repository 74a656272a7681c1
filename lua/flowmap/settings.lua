--- Every setting of a run: its name, default (which also fixes the type), range and meaning.
-- An experiment, its profiles and `--set key=value` may change them; nothing else exists.
-- @module flowmap.settings

local errors = require "flowmap.errors"

local M = {}

local function positive(x) return x > 0, "more than 0" end
local function at_least_0(x) return x >= 0, "at least 0" end
local function fraction(x) return x >= 0 and x <= 1, "between 0 and 1" end
local function below_1(x) return x >= 0 and x < 1, "at least 0 and below 1" end

local function one_of(...)
  local names = { ... }
  return function(x)
    for _, name in ipairs(names) do
      if x == name then return true end
    end
    return false, "one of " .. table.concat(names, ", ")
  end
end

local function names_of(module)
  return function(x) return one_of(table.unpack(require("flowmap." .. module).names))(x) end
end

-- Lists: the check of the elements.
local function each(check, least)
  return function(list)
    for _, x in ipairs(list) do
      local ok, expected = check(x)
      if not ok then return false, "a list of numbers, each " .. expected end
    end
    return #list >= (least or 0), "a list that is not empty"
  end
end

local function any() return true end

--- The settings in reading order: { key, default, check, meaning }.
M.list = {
  { "data", "checkerboard", any, "data set: a file of lua/flowmap/data" },
  { "dataset_size", 0, at_least_0, "samples drawn once; 0: fresh draws in every step" },
  { "resolution", 0, at_least_0, "side to which images are averaged down; 0: as they are" },
  { "sigma", 0.0, at_least_0, "base standard deviation; 0: that of the data" },
  { "interpolant", "linear", any, "linear, trig or one of the experiment's own" },
  { "stop", "default", any, "stop-gradient of the method; default: the paper's" },
  { "eta", 0.75, fraction, "diagonal fraction of a batch" },
  { "off_weight", 1.0, positive, "weight of the off-diagonal term in the objective" },
  { "robust", 0.0, at_least_0, "c of c^2 log(1 + L / c^2) for the off-diagonal L; 0: L itself" },
  { "teacher", "", any, "checkpoint whose velocity stands in for v (lsd, esd); empty: self" },
  { "teacher_experiment", "", any, "experiment file of the teacher's network, if it is its own" },
  { "times", "uniform", any, "distribution of the off-diagonal (s, t)" },
  { "net", "mlp", any, "network: a file of lua/flowmap/nets" },
  { "width", 512, positive, "width of the hidden layers" },
  { "depth", 5, positive, "number of hidden layers" },
  { "time_input", "raw", one_of("raw", "standard"), "s, t as they are, or with mean 0, sd 1" },
  { "features", 0, at_least_0, "pairs of sines and cosines of each coordinate" },
  { "model_channels", 128, positive, "edm2: channels that `mult` multiplies" },
  { "mult", { 2, 2, 2 }, each(positive, 1), "edm2: channels of each level; the resolution halves" },
  { "num_blocks", 4, positive, "edm2: blocks of a level" },
  { "attention", { 16 }, each(positive), "edm2: resolutions with attention" },
  { "dropout", 0.0, below_1, "edm2: part of the values dropped in the diagonal term" },
  { "classes", 0, at_least_0, "edm2: number of classes to condition on; 0: none" },
  { "label_dropout", 0.0, fraction, "part of the labels that become the null class" },
  { "guidance", 1.0, at_least_0, "samples of a class: v_null + guidance (v_class - v_null)" },
  { "dtype", "float32", one_of("float32", "float64"), "number format of training" },
  { "precision", "float32", one_of("float32", "bfloat16"), "of wide matrix products in training" },
  { "batch", 256, positive, "samples per step" },
  { "micro", 128, positive, "rows a worker takes at a time; part of the result's bits" },
  { "steps", 17000, positive, "training steps" },
  { "optimiser", "radam", one_of("radam", "adamw"), "radam or adamw" },
  { "lr", 1.5e-3, positive, "learning rate" },
  { "schedule", "linear", names_of "schedule", "constant, sqrt, linear, cosine or late" },
  { "decay_start", 35000, positive, "first step of the sqrt or late decay" },
  { "warmup", 0, at_least_0, "steps of linear warm-up" },
  { "b1", 0.9, below_1, "decay of the first moment" },
  { "b2", 0.999, below_1, "decay of the second moment" },
  { "eps", 1e-8, positive, "offset of the optimiser's denominator" },
  { "weight_decay", 0.0, at_least_0, "decoupled weight decay (adamw)" },
  { "clip", 10.0, at_least_0, "bound on the gradient's global norm; 0: none" },
  { "ema", { 0.999 }, each(below_1), "decays of the averaged weights that are kept" },
  { "eval_ema", 1, at_least_0, "which average is evaluated, from 1; 0: the weights themselves" },
  { "nfe", { 1, 2, 4, 8, 16 }, each(positive, 1), "numbers of steps N evaluated" },
  { "eval_samples", 1000000, positive, "samples per N in the evaluation" },
  { "checkpoints", 1, positive, "checkpoints evaluated, equally spaced; the last is the result" },
  { "metrics", { "all" }, any, "the experiment's own metrics to measure: all, none or names" },
  { "bins", 64, positive, "bins per axis of the histogram" },
  { "log_every", 100, positive, "steps per line of metrics.jsonl" },
  { "save_every", 60.0, at_least_0, "seconds between checkpoints; 0: every step" },
}

M.by_key = {}
for _, s in ipairs(M.list) do M.by_key[s[1]] = { default = s[2], check = s[3], meaning = s[4] } end

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

local fit

-- The value in the type of the default, or nil: 1 is a float where one is expected, and one number
-- is a list of one.
function fit(value, default)
  if type(default) == "table" then
    local list = {}
    if type(value) == "string" and type(default[1]) == "string" then value = split(value) end
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
      M.text(default), M.text(value))
  end
  local ok, expected = (it and it.check or any)(fitted)
  if not ok then
    errors.usage("%s: %s must be %s, found %s", where, key, expected, M.text(value))
  end
  return fitted
end

-- The shortest decimal text that reads back as exactly this number; with a dot in any locale.
local function number_text(x)
  if math.type(x) == "integer" then return ("%d"):format(x) end
  local text
  for _, digits in ipairs { "%.14g", "%.15g", "%.16g", "%.17g" } do
    text = digits:format(x):gsub(",", ".")
    if tonumber(text) == x then return text end
  end
  return text -- not a number: equal to nothing
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
