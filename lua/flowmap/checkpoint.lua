--- Checkpoints: one safetensors file with the weights (params.NAME), moments (m.NAME, v.NAME) and
-- averages (ema1.NAME, ...); its metadata hold the step, the settings and the pinned code.
-- Random numbers are keyed by the step, so nothing else is needed to continue bit for bit.
-- A checkpoint may come from an untrusted source: every field is checked, and none names code to
-- load.
-- @module flowmap.checkpoint

local fm = require "flowmap"
local errors = require "flowmap.base.errors"
local interpolants = require "flowmap.interpolants"
local jobs = require "flowmap.job"
local json = require "flowmap.base.json"
local nets = require "flowmap.nets"
local pin = require "flowmap.runs.pin"
local ranks = require "flowmap.base.ranks"
local schema = require "flowmap.runs.schema"
local settings = require "flowmap.experiment.settings"
local tree = require "flowmap.tree"

local M = {}

-- Keys of config.json that are not settings, and their types.
local RUN_KEYS = { experiment = "string", profile = "string", method = "string", seed = "number",
  shape = "table", dim = "number", unit_centre = "table", unit_scale = "table" }

-- Names of parts of the suite or of an experiment; never part of a path.
local NAMES = { data = true, net = true, interpolant = true, times = true, stop = true,
  method = true }

-- Names of the settings that an experiment declares itself.
local function own_keys(cfg)
  local keys = {}
  for key in pairs(cfg) do
    if not settings.by_key[key] and not RUN_KEYS[key] then keys[#keys + 1] = key end
  end
  table.sort(keys)
  return keys
end

local function metadata(job, cfg, step)
  return {
    format = "flowmap 1", config = json.encode(cfg), options = json.encode(own_keys(cfg)),
    code = pin.text(job), step = tostring(step),
  }
end

local NO_LINES = fm.sha256 ""

--- Write a checkpoint; the one before it is kept as PATH.prev. Of several ranks only the first
-- does.
-- @tparam string path
-- @tparam table job see flowmap.job: params, opt, cfg, experiment
-- @tparam table state { step =, sums = since the last line of metrics.jsonl (none: zeros),
--   metrics = the checksum of its lines so far (none: of no lines), chain = of chain.jsonl }
-- @tparam[opt=true] boolean keep the one before
function M.save(path, job, state, keep)
  if not ranks.first then return end
  local tensors = {}
  tree.each(function(tensor, name) tensors["params." .. name] = tensor end, job.params)
  for name, tensor in pairs(job.opt:state()) do tensors[name] = tensor end
  local meta = metadata(job, job.cfg, state.step)
  meta.state = json.encode { sums = state.sums or jobs.new_sums(job),
    metrics = state.metrics or NO_LINES, chain = state.chain }
  fm.save_safetensors(path, tensors, meta, keep)
end

--- Write only weights: a checkpoint that can be sampled from but not continued. Of several ranks
-- only the first does.
-- @tparam string path
-- @tparam table job see flowmap.job
-- @tparam table params the weights, or an average of them
-- @tparam integer step
function M.save_weights(path, job, params, step)
  if not ranks.first then return end
  local tensors, cfg = {}, {}
  tree.each(function(tensor, name) tensors["params." .. name] = tensor end, params)
  for key, value in pairs(job.cfg) do cfg[key] = value end
  cfg.eval_ema = 0
  fm.save_safetensors(path, tensors, metadata(job, cfg, step), false)
end

-- ------------------------------------------------------------------ reading

-- Whether a value is text, a boolean, a finite number or a list of these.
local function plain(value)
  if type(value) == "table" then
    for i, x in pairs(value) do
      if math.type(i) ~= "integer" or type(x) == "table" or not plain(x) then return false end
    end
    return #value > 0 or next(value) == nil
  end
  return type(value) ~= "number" or value - value == 0
end

-- Call f; an error about usage becomes one about the file.
local function as_data(f, ...)
  local ok, result = pcall(f, ...)
  if ok then return result end
  if type(result) == "table" and result.code == "usage" then
    errors.data("%s", (result.message:gsub("[%c\x7f]", "?"))) -- it may quote the file's text
  end
  error(result, 0)
end

local function check_setting(where, key, value)
  local default = settings.by_key[key].default
  if (type(value) == "table") ~= (type(default) == "table") then
    errors.data("%s: %s must be a %s, found a %s", where, key,
      type(default) == "table" and "list of numbers" or type(default), type(value))
  end
  if NAMES[key] then return value end
  return as_data(settings.check, key, value, where)
end

local function check_name(where, key, value)
  if type(value) == "string" and #value <= 100 and value:find "^%w[%w_.+-]*$" then return end
  errors.data("%s: %s must be a name of letters, digits, -, _, . and +", where, key)
end

-- The settings in the metadata, each checked.
local function read_settings(path, cfg, options)
  local where, own, out = path .. ", its settings", {}, {}
  for _, key in ipairs(options) do own[key] = true end
  for key, value in pairs(cfg) do
    if type(key) ~= "string" or not key:find "^[%a_][%w_]*$" or not plain(value) then
      errors.data("%s: damaged", where)
    end
    if NAMES[key] then check_name(where, key, value) end
    if settings.by_key[key] then
      out[key] = check_setting(where, key, value)
    elseif RUN_KEYS[key] then
      if type(value) ~= RUN_KEYS[key] then
        errors.data("%s: %s is a %s, expected a %s", where, key, type(value), RUN_KEYS[key])
      end
      out[key] = value
    elseif own[key] then
      out[key] = value
    else
      errors.data("%s: unknown setting '%s'", where, key)
    end
  end
  if cfg.p == nil and out.robust then settings.translate(out, { robust = out.robust }) end
  -- Settings added since the file was written: their defaults leave everything as it was.
  for key, it in pairs(settings.by_key) do
    if out[key] == nil then out[key] = it.default end
  end
  return out
end

-- Names of the experiment's own settings; a file from before they were listed may have any.
local function read_options(meta, cfg)
  if meta.options == nil then return own_keys(cfg) end
  local list = json.decode(meta.options)
  return type(list) == "table" and list or {}
end

-- Bytes of a metadata text. We write a few kilobytes; decoding takes many times the size.
local LARGEST = 1 << 20

local function check_sizes(path, meta)
  for key, text in pairs(meta) do
    if #text > LARGEST then
      errors.data("%s: %s in its metadata has %d bytes, expected at most %d", path,
        key:find "^%w+$" and #key < 20 and key or "a text", #text, LARGEST)
    end
  end
end

--- Read a checkpoint.
-- @tparam string path
-- @treturn table { tensors =, cfg =, pinned = see flowmap.runs.pin, step =; and sums =, metrics =,
--   chain =, unless it holds only weights }
function M.load(path)
  local tensors, meta = fm.load_safetensors(path)
  check_sizes(path, meta)
  local cfg = meta.config and json.decode(meta.config)
  local step = math.tointeger(tonumber(meta.step))
  if meta.format ~= "flowmap 1" or type(cfg) ~= "table" or not step or step < 0 then
    errors.data("%s is a safetensors file, but not a checkpoint of flowmap", path)
  end
  local pinned = meta.code and pin.parse(meta.code)
  if meta.code and not pinned then
    errors.data("%s: the description of its code is damaged", path)
  end
  local state = meta.state and schema.check("state", json.decode(meta.state), path .. ", metadata")
  return {
    path = path, tensors = tensors, cfg = read_settings(path, cfg, read_options(meta, cfg)),
    pinned = pinned or { own_net = false }, step = step, sums = state and state.sums,
    metrics = state and state.metrics, chain = state and state.chain,
  }
end

-- The units of points of a file: two lists with a number for each coordinate.
local function check_units(saved)
  local cfg = saved.cfg
  for _, key in ipairs { "unit_centre", "unit_scale" } do
    local list = cfg[key] or {}
    local fine = #list == 0 and not cfg.unit_scale or #list == cfg.dim
    for _, x in ipairs(list) do fine = fine and type(x) == "number" end
    if not fine then errors.data("%s: its settings do not say the units (%s)", saved.path, key) end
  end
end

local MANY = 1024 -- layers, at most

-- Sampling needs the shape of a sample, its number of values and the deviation of the base. An
-- absurd number of layers is refused here, before anything loops over it.
local function check_sample(saved)
  local cfg, count = saved.cfg, 1
  for _, n in ipairs(cfg.shape or {}) do
    count = math.type(n) == "integer" and n > 0 and n < 1 << 20 and count * n or 0
  end
  local rank = #(cfg.shape or {})
  if (rank ~= 1 and rank ~= 3) or count <= 0 or cfg.dim ~= count or cfg.sigma <= 0 then
    errors.data("%s: its settings do not say what a sample is (shape, dim, sigma)", saved.path)
  end
  for _, key in ipairs { "depth", "num_blocks" } do
    if cfg[key] > MANY then
      errors.data("%s: %s is %d, expected at most %d", saved.path, key, cfg[key], MANY)
    end
  end
end

-- The interpolant, which some samplers read; nil if it is one of an experiment that is not loaded.
local function interpolant_of(cfg, own)
  local ok, it = pcall(interpolants.find, cfg.interpolant, own and own.interpolants, cfg)
  return ok and it or nil
end

--- The network of a checkpoint: the suite's, or that of an experiment.
-- @tparam table saved what `load` returned
-- @tparam table code see flowmap.runs.pin
-- @treturn table job see flowmap.job: cfg, net, interpolant, check
function M.job(saved, code)
  check_sample(saved)
  check_units(saved)
  if code.path and not saved.pinned.own_net then
    errors.usage("%s has no effect: the network of %s, '%s', is one of the suite's", code.option,
      saved.path, saved.cfg.net)
  end
  local own = saved.pinned.own_net and pin.experiment(saved, code)
  return jobs.new {
    cfg = saved.cfg, interpolant = interpolant_of(saved.cfg, own),
    net = as_data(nets.build, saved.cfg, own and own.nets or nil),
    check = function()
      if own then pin.verify(saved, own) end
    end,
  }
end

-- The parameters of a network as traced values, which take no memory. The network may create at
-- most as many tensors as the file has, so that no setting makes it run without bound.
local function shapes(saved, job)
  local trace, left = fm.trace(), 0
  for _ in pairs(saved.tensors) do left = left + 1 end
  return job.net.init(function(shape)
    left = left - 1
    if left < 0 then
      errors.data("%s has fewer tensors than its network; was it made with another one?",
        saved.path)
    end
    return trace:full(shape, 0, job.cfg.dtype)
  end)
end

--- The weights of a checkpoint, or one of their averages.
-- @tparam table saved what `load` returned
-- @tparam table job what `job` returned
-- @tparam integer k number of the average, from 1; 0: the weights
-- @treturn table
function M.weights(saved, job, k)
  local like = as_data(shapes, saved, job)
  job.check()
  return M.tree(saved, k == 0 and "params" or "ema" .. k, like)
end

local function described(x) return ("shape (%s)"):format(table.concat(x.shape, ", ")) end

-- Check shape and type of a tensor from a file.
local function check_tensor(path, name, found, expected)
  if described(found) ~= described(expected) then
    errors.data("%s: %s has %s, expected (%s)", path, name, described(found),
      table.concat(expected.shape, ", "))
  elseif found.dtype ~= expected.dtype then
    errors.data("%s: %s is of type %s, expected %s", path, name, found.dtype, expected.dtype)
  end
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
    end
    check_tensor(saved.path, group .. "." .. name, found, expected)
    return found
  end, like)
end

--- The weights of a file that `save_weights` of this run wrote; all ranks get those of the first.
-- @tparam string path
-- @tparam table like parameters of the same names and shapes
-- @treturn table
function M.kept_weights(path, like)
  return ranks.copy_values(ranks.first and M.tree(M.load(path), "params", like)
    or tree.map(function(tensor) return fm.copy(tensor) end, like))
end

--- Restore the optimiser state of a checkpoint.
-- @tparam table saved what `load` returned
-- @tparam table opt an optimiser of the checkpoint's parameters
function M.restore(saved, opt)
  for name, tensor in pairs(opt:state()) do
    local found = saved.tensors[name]
    if not found then errors.data("%s has no tensor %s", saved.path, name) end
    check_tensor(saved.path, name, found, tensor)
    tensor:copy_from(found)
  end
  opt:steps(saved.step)
end

return M
