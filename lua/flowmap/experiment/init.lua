--- Experiments: ordinary Lua files that return a table, and the runs that follow from it.
--
--     return {
--       name = "checkerboard",                   -- names the results' folder
--       methods = { "lsd", "psd-m" },            -- what `reproduce` compares
--       settings = { data = "checkerboard" },    -- for all profiles: flowmap.experiment.settings
--       profiles = { laptop = { steps = 1000,    -- on top of them
--         methods = { "lsd" },                   -- optional: those that fit its budget
--         seeds = 3, grid = {},                  -- optional: in place of the experiment's
--         by_method = { ["psd-m"] = { lr = 2e-3 } } } },
--       grid = { eta = { 0.5, 0.75 } },          -- optional: see flowmap.experiment.grid
--       seeds = 2,                               -- optional: a number, or a list { 11, 12 }
--       losses = {}, nets = {}, data = {}, times = {}, interpolants = {}, metrics = {},
--       figures = {},                            -- optional: parts of its own, by name
--       options = {},                            -- optional: its own settings with defaults
--       run = function(cfg, dir, how) end,       -- optional: instead of training a flow map
--     }
--
-- Parts that it defines itself are found by name, like those of the suite: by `--method`, `--set
-- net=`, `data=`, `times=`, `interpolant=`, `metrics=`, or the `kind` of an entry of `render`.
--
--     losses = { mine = function(a) ... end }              -- see flowmap.losses
--     nets = { mine = function(cfg) ... end }              -- see flowmap.nets
--     data = { mine = { dim =, sd =, sample =, ... } }     -- see flowmap.data
--     times = { mine = function(a, c) ... return s, t end }            -- see flowmap.times
--     interpolants = { mine = { alpha = function(t) ... end, beta = function(t) ... end } }
--     metrics = { mine = function(samples, context) ... return number end }
--                                                      -- see flowmap.measure.measures
--     figures = { mine = function(set, spec) ... return panels end }
--     figures = { mine = { draw = function(set, spec) ... return a table end, writes = "table" } }
--                                                      -- see flowmap.experiment.render_list
--
-- A part with settings of its own is a table
--
--     { new = function(cfg) ... end, options = { waves = 8 } }
--
-- whose `new` makes the part from the settings. Options are settings like all others: typed by
-- their default, changed by profiles and `--set waves=4`, recorded with the run that uses the part.
-- An experiment's `options` are those of all its runs. (A figure reads no settings: its `options`
-- are the fields that its entries in `render` may have.)
--
-- @module flowmap.experiment

local core = require "flowmap.core"
local Status = require "flowmap.base.status"
local effect = require "flowmap.experiment.effect"
local errors = require "flowmap.base.errors"
local files = require "flowmap.base.files"
local grids = require "flowmap.experiment.grid"
local layout = require "flowmap.layout"
local losses = require "flowmap.losses"
local meaning = require "flowmap.runs.meaning"
local notes = require "flowmap.experiment.notes"
local outline = require "flowmap.experiment.outline"
local parts = require "flowmap.experiment.parts"
local place = require "flowmap.experiment.place"
local published = require "flowmap.methods"
local regular = require "flowmap.base.regular"
local curriculum = require "flowmap.curriculum"
local schedule = require "flowmap.schedule"
local settings = require "flowmap.experiment.settings"
local source = require "flowmap.runs.source"
local stages = require "flowmap.experiment.stages"
local tree = require "flowmap.tree"

local M = {}

--- Names of the profiles, from quick to complete.
M.profiles = { "smoke", "laptop", "long", "paper" }

--- Find a Lua file: one of the current folder or, if there is none, one of the installed suite.
-- @tparam string path
-- @tparam string what the file is: "experiment"
-- @tparam string example its path
-- @treturn string path, which no command takes for an option
function M.file(path, what, example)
  local given = path
  path = files.exists(path) and path:gsub("^%-", "./-") or files.installed(path)
  if not files.exists(path) then
    errors.usage("there is no %s '%s'; expected a Lua file such as %s", what, given, example)
  end
  local fault = regular.fault(path)
  if fault then errors.usage("%s", fault) end
  return path
end

--- Check what `loadfile` returned for a file; raises an error that names the file.
-- @tparam string path
-- @tparam ?function chunk
-- @tparam ?string message
-- @treturn function the chunk
function M.valid(path, chunk, message)
  return chunk or errors.usage("%s is not valid Lua: %s", path, message)
end

-- An experiment whose `data` is one data set, or a tensor of points, has it under the name `points`
-- or `images`, and trains on it.
local function name_data(it)
  local set = type(it) == "table" and it.data
  if core.is_tensor(set) then set = require("flowmap.points").new(set) end
  if type(set) ~= "table" or not (rawget(set, "sample") or rawget(set, "shape")) then return end
  local name = rawget(set, "shape") and "images" or "points"
  it.data, it.settings = { [name] = set }, it.settings or {}
  if type(it.settings) == "table" and it.settings.data == nil then it.settings.data = name end
end

-- Variables that other versions of Lua have, which a file may look for.
local ELSEWHERE = { unpack = true, loadstring = true, setfenv = true, getfenv = true, bit32 = true,
  jit = true }

-- The global variables of an experiment. A misspelt variable would be nil, and `lr = leraning_rate`
-- no setting at all.
local VARIABLES = setmetatable({}, { __newindex = _G, __index = function(_, name)
  local value = _G[name]
  if value == nil and not ELSEWHERE[name] then
    errors.usage("there is no variable '%s'%s; _G.%s may be nil", tostring(name),
      errors.near(tostring(name), tree.keys(_G)):match "^; did you mean.*" or "", tostring(name))
  end
  return value
end })

--- Load an experiment.
-- @tparam string path a Lua file
-- @treturn table the experiment, with `path` added
function M.load(path)
  local chunk
  path = M.file(path, "experiment", "experiments/checkerboard.lua")
  chunk = M.valid(path, loadfile(path, "t"))
  if not meaning.returns(source.text_of(path)) then
    errors.usage("%s returns nothing; an experiment returns a table (a script is run by "
      .. "`flowmap lua %s`)", path, path)
  end
  math.randomseed(0) -- Lua seeds it differently in each process, but the file must mean the same
  debug.setupvalue(chunk, 1, VARIABLES)
  local it = chunk()
  place.within(path, nil, function()
    name_data(it)
    outline.check(it, path)
  end)
  it.methods = it.methods or { "lsd" }
  it.path = path
  return it
end

--- The name of an experiment that a user gives by its name or by its file.
-- @tparam string given
-- @treturn string
function M.name_of(given) return given:find "%.lua$" and M.load(given).name or given end

-- Keys of a profile that are not settings.
local NO_SETTING = { by_method = true, methods = true, seeds = true, grid = true }

local function apply(cfg, values, where, own)
  for _, key in ipairs(tree.keys(values)) do
    if not NO_SETTING[key] then cfg[key] = settings.check(key, values[key], where, own) end
  end
  settings.translate(cfg, values)
end

local function copy(value)
  return type(value) == "table" and table.move(value, 1, #value, 1, {}) or value
end

-- The layers of settings that an experiment gives a method: { values, where they are set }.
local function layers(it, profile, method)
  local of_profile, of_method = it.profiles[profile], {}
  for name, values in pairs(of_profile.by_method or {}) do
    if losses.registry_name(name, it.losses) == method then of_method = values end
  end
  local path = it.path or it.name
  return {
    { it.settings or {}, path .. ": settings" },
    { of_profile, ("%s, profile %s"):format(path, profile) },
    { of_method, ("%s, profile %s, by_method %s"):format(path, profile, method), true },
  }
end

-- Settings of one run, unchecked: defaults, the method's coordinates, the layers, the grid's point,
-- the user's.
local function layered(it, profile, method, want)
  local own, cfg = parts.options(it), {}
  local loss = losses.find(method, it.losses)
  if loss.file then parts.check_method(loss.file) end
  for _, s in ipairs(settings.list) do cfg[s[1]] = copy(s[2]) end
  for key, value in pairs(own) do cfg[key] = copy(value) end
  apply(cfg, published.defaults(loss.row), "the method " .. loss.name, own)
  for _, layer in ipairs(layers(it, profile, loss.name)) do apply(cfg, layer[1], layer[2], own) end
  apply(cfg, want.point or {}, (it.path or it.name) .. ", grid", own)
  apply(cfg, want.set or {}, "--set", own)
  if published.is_diagonal(loss.row) then cfg.eta = 1.0 end
  parts.resolve(it, cfg, loss, want.set or {})
  if cfg.stop == "default" then cfg.stop = loss.stops[1] end
  errors.choice("stop-gradient of " .. loss.name, cfg.stop, loss.choices)
  cfg.method = loss.name
  return cfg, loss
end

-- The methods of a profile.
local function methods_of(it, profile) return (it.profiles[profile] or {}).methods or it.methods end

-- Whether some run of some methods reads a setting.
local function read_by_some(key, it, profile, methods)
  local why, any
  for _, method in ipairs(methods) do
    for _, point in ipairs(grids.points(it, profile, losses.find(method, it.losses))) do
      local read, reason = effect.reads(key, it, layered(it, profile, method, { point = point }))
      if read then return true end
      why, any = why or reason, true
    end
  end
  return not any, why -- a grid may have no point for any of these methods
end

-- Each setting of an experiment must be read by at least one of its runs; default values may be
-- written anywhere.
local function check_layers(it, profile, method)
  local methods = methods_of(it, profile)
  for _, layer in ipairs(layers(it, profile, method)) do
    local values, where, of_method = table.unpack(layer)
    for _, key in ipairs(tree.keys(values)) do
      local known = settings.by_key[key]
      if known and known.when and settings.text(values[key]) ~= settings.text(known.default) then
        local read, why = read_by_some(key, it, profile, of_method and { method } or methods)
        if not read then errors.usage("%s: %s has no effect: %s", where, key, why) end
      end
    end
  end
end

-- A batch is cut into equal parts, one per device, each with rows of both terms.
local function check_devices(cfg)
  if cfg.devices == 1 then return end
  if cfg.both_terms then
    errors.usage("devices is %d, but both_terms is true: no sample belongs to one term alone",
      cfg.devices)
  end
  if cfg.batch % cfg.devices ~= 0 then
    errors.usage("devices is %d, but batch is %d, which cannot be cut into %d equal parts",
      cfg.devices, cfg.batch, cfg.devices)
  elseif layout.counts(cfg.eta, cfg.batch, cfg.devices, layout.least(cfg)).diagonal
    == cfg.batch then
    errors.usage("devices is %d, which leaves each device %d of %d samples: with eta = %s all of "
      .. "them are diagonal; batch must be larger", cfg.devices, cfg.batch // cfg.devices,
      cfg.batch, settings.text(cfg.eta))
  end
end

--- Those of some settings that a run reads; the others would be refused.
-- @tparam table it an experiment
-- @tparam string profile
-- @tparam string method
-- @tparam table set key -> value
-- @treturn table
function M.readable(it, profile, method, set)
  local out, declared = {}, layered(it, profile, method, {})
  for key, value in pairs(set) do
    if settings.by_key[key] or declared[key] ~= nil then out[key] = value end
  end
  local cfg, loss = layered(it, profile, method, { set = out })
  for _, key in ipairs(tree.keys(out)) do
    if not effect.reads(key, it, cfg, loss) then out[key] = nil end
  end
  return out
end

-- Parts of the learning rate's course that the training would not reach.
local function check_schedule(cfg)
  if schedule.with_start[schedule.name(cfg.schedule)] and cfg.decay_start >= cfg.steps then
    errors.usage("decay_start is %d, but there are only %d steps: the schedule '%s' would never "
      .. "decay", cfg.decay_start, cfg.steps, cfg.schedule)
  elseif cfg.warmup > cfg.steps then
    errors.usage("warmup is %d, but there are only %d steps: the learning rate would never reach "
      .. "lr", cfg.warmup, cfg.steps)
  end
end

-- Settings that exclude or need each other.
local function check_together(cfg, loss)
  if published.is_diagonal(loss.row) and cfg.sampler == "map" then
    errors.usage("sampler is map, but the method %s trains no map, only its velocity", loss.name)
  end
  if cfg.start == "teacher" and cfg.teacher == "" then
    errors.usage "start is teacher, but there is none; set teacher to a checkpoint, or to auto"
  end
  check_devices(cfg)
  check_schedule(cfg)
  if cfg.teacher == "" and published.needs_teacher(cfg) then
    errors.usage("%s is that of a teacher, but there is none; set teacher to a checkpoint, or to "
      .. "auto", cfg.velocity == "teacher" and "the velocity" or "the target (frozen)")
  end
  if cfg.gradients_every % cfg.log_every ~= 0 then
    errors.usage("gradients_every is %d, expected a multiple of log_every, which is %d",
      cfg.gradients_every, cfg.log_every)
  end
  local expected = curriculum.fault(cfg)
  if expected then
    errors.usage("curriculum_span is %s, but the curriculum %s takes %s",
      settings.text(cfg.curriculum_span), cfg.curriculum, expected)
  end
  if cfg.eval_ema > #cfg.ema then
    errors.usage("eval_ema is %d, but there are %d averages (ema)", cfg.eval_ema, #cfg.ema)
  elseif cfg.precision == "bfloat16" and cfg.dtype ~= "float32" then
    errors.usage("precision bfloat16 needs dtype float32, found %s", cfg.dtype)
  elseif cfg.checkpoints > cfg.steps then
    errors.usage("checkpoints is %d, but there are only %d steps", cfg.checkpoints, cfg.steps)
  elseif cfg.relative_cost > 0 and cfg.checkpoints > 1 then
    errors.usage("relative_cost is %s and checkpoints is %d; a run has either, because the best "
      .. "checkpoint is one of %d", settings.text(cfg.relative_cost), cfg.checkpoints,
      cfg.checkpoints)
  elseif cfg.classes > 0 and cfg.guidance ~= 1 and cfg.label_dropout == 0 then
    errors.usage("guidance is %s, which follows the difference to the null class, but "
      .. "label_dropout is 0: the null class would never be trained", settings.text(cfg.guidance))
  end
end

local noted = {} -- values of `robust` of which the user was told

local function note_robust(cfg)
  if noted[cfg.robust] then return end
  noted[cfg.robust] = true
  Status.new(2):say(("note: robust is an older name; this run has p = %s, c = %s"):format(
    settings.text(cfg.p), settings.text(cfg.c)))
end

-- See M.staged.
local function staged(it, want)
  local profile = want.profile or "laptop"
  if not want.profile and not it.profiles[profile] then
    errors.usage("%s has no profile 'laptop', which is taken where --profile names none; it has: "
      .. "%s", it.path or it.name, table.concat(tree.keys(it.profiles), ", "))
  end
  errors.choice("profile", profile, tree.keys(it.profiles))
  local cfg, loss = layered(it, profile, want.method or it.methods[1], want)
  if not it.run then
    if not (want.checked and want.checked[loss.name]) then check_layers(it, profile, loss.name) end
    if want.checked then want.checked[loss.name] = true end
    effect.check(it, cfg, loss, want.point or {}, (it.path or it.name) .. ", grid")
    effect.await(cfg, effect.check(it, cfg, loss, want.set or {}, "--set"))
    effect.check_net(it, cfg)
    check_together(cfg, loss)
    if (want.set or {}).robust then note_robust(cfg) end
    if not want.of_stage then notes.note(it, cfg, profile) end
  end
  cfg.experiment, cfg.profile, cfg.seed = it.name, profile, want.seed or 1
  return cfg, it.run and {} or stages.of(M, it, cfg, loss.row, want)
end

--- All settings of one run: defaults, the experiment's, its profile's, the method's, the grid's
-- point, then the user's. A setting without effect is an error, see flowmap.experiment.effect.
-- @tparam table it an experiment
-- @tparam table want { profile, method, seed, set = { key = value }, point = {...}, stages = the
--   folder of the runs that are made first; nil: the experiment's, of_stage = whether it is one of
--   them, checked = methods whose settings in the experiment were checked before, kept up to date }
-- @treturn table the settings, with experiment, profile, method and seed
-- @treturn {table,...} the runs that are made first, see flowmap.experiment.stages
function M.staged(it, want)
  return place.within(it.path, { except = want.set }, staged, it, want)
end

--- The settings of one run alone, see `staged`.
-- @tparam table it an experiment
-- @tparam table want
-- @treturn table
function M.resolve(it, want) return (M.staged(it, want)) end

-- Text as part of a file's name: unchanged, or, if it is too long or has unsafe characters,
-- shortened with part of its hash.
local function file_text(text, longest)
  local safe = text:gsub("[^%w.,=+_-]", "_")
  if safe == text and #text <= longest then return text end
  return safe:sub(1, longest // 2) .. "-" .. core.sha256(text):sub(1, 8)
end

--- The folder of a run below results/EXPERIMENT/PROFILE.
-- @tparam table cfg resolved settings
-- @tparam table set what was set besides the profile's values: part of the name
-- @treturn string
function M.run_name(cfg, set)
  local words = { cfg.method }
  for _, key in ipairs(tree.keys(set)) do
    words[#words + 1] = key .. "=" .. file_text(settings.text(cfg[key]), 64)
  end
  return file_text(table.concat(words, "-"), 200) .. "-seed" .. cfg.seed
end

--- The folder below which runs without a folder of their own are made.
M.base = "results"

--- The folder of the runs that an experiment's tables and figures are made from.
-- @tparam string name of the experiment
-- @tparam string profile
-- @treturn string
function M.root(name, profile)
  return ("%s/%s/%s"):format(M.base, name, profile)
end

--- The default folder of a run. A run with settings of the user's own lies apart from the runs of
-- the experiment, so that it enters no table.
-- @tparam table cfg resolved settings
-- @tparam table set what the user set
-- @treturn string
function M.run_dir(cfg, set)
  local profile = next(set) and cfg.profile .. "-own" or cfg.profile
  return M.root(cfg.experiment, profile) .. "/" .. M.run_name(cfg, set)
end

--- The seeds of an experiment's runs: those wanted, or the default ones of the profile or of the
-- experiment. Where each point of the grid belongs to a seed and none of the wanted seeds has one,
-- as many of the default seeds are taken as are wanted.
-- @tparam table it an experiment
-- @tparam string profile
-- @tparam[opt] {integer,...} wanted
-- @treturn {integer,...}
function M.seeds(it, profile, wanted)
  local seeds = (it.profiles[profile] or {}).seeds or it.seeds or 2
  local list = type(seeds) == "table" and seeds or {}
  for k = 1, type(seeds) == "number" and seeds or 0 do list[k] = k end
  local tied = grids.seeds(grids.of(it, profile))
  if not (wanted and tied) then return wanted or list end
  for _, seed in ipairs(wanted) do
    if tied[seed] then return wanted end
  end
  return table.move(list, 1, math.min(#list, #wanted), 1, {})
end

-- Whether an experiment has a run of this method with these settings.
local function is_planned(it, cfg, set)
  for _, name in ipairs(methods_of(it, cfg.profile)) do
    local loss = losses.find(name, it.losses)
    for _, point in ipairs(loss.name == cfg.method
      and grids.points(it, cfg.profile, loss, cfg.seed) or {}) do
      if M.run_name(cfg, point) == M.run_name(cfg, set) then return true end
    end
  end
  return false
end

--- The folder of a stage: that of the experiment's own run, if it has this one, so that it is made
-- once; otherwise one that enters no table.
-- @tparam table it an experiment
-- @tparam table cfg the stage's resolved settings
-- @tparam table set what was set besides the profile's values: part of the name
-- @tparam[opt] string root folder of the stages; nil: the experiment's
-- @treturn string
function M.stage_dir(it, cfg, set, root)
  local profile = is_planned(it, cfg, set) and cfg.profile or cfg.profile .. "-stages"
  local named = {} -- without nfe, which a stage has for itself
  for key in pairs(set) do named[key] = key ~= "nfe" or nil end
  return (root or M.root(it.name, profile)) .. "/" .. M.run_name(cfg, named)
end

--- All runs of an experiment: methods (a profile's own, if it has some) x grid x seeds.
-- @tparam table it an experiment
-- @tparam string profile
-- @tparam {integer,...} seeds
-- @tparam[opt] {string,...} methods in place of the experiment's
-- @treturn {table,...} runs { experiment =, cfg =, set =, dir =, stages = made first }
function M.runs(it, profile, seeds, methods)
  local out, checked = {}, {}
  methods = methods or methods_of(it, profile)
  for _, seed in ipairs(seeds) do
    for _, method in ipairs(methods) do
      for _, point in ipairs(grids.points(it, profile, losses.find(method, it.losses), seed)) do
        local want = { profile = profile, method = method, seed = seed, point = point,
          checked = checked }
        local cfg, before = M.staged(it, want)
        out[#out + 1] = { experiment = it, cfg = cfg, set = point, stages = before,
          dir = M.root(it.name, profile) .. "/" .. M.run_name(cfg, point) }
      end
    end
  end
  if #out == 0 then
    errors.usage("%s: no point of the grid belongs to the seeds %s and the methods %s",
      it.path or it.name, settings.text(seeds), settings.text(methods))
  end
  return out
end

--- The run that an experiment has now under the name of a recorded one.
-- @tparam table it an experiment
-- @tparam table config recorded settings: profile, method, seed
-- @tparam string name of the run's folder
-- @tparam table known what other calls for this experiment found, kept up to date
-- @treturn ?table see `runs`; nil if the experiment has no such run
-- @treturn ?string why it has none of this method and seed, if that is an error
function M.run_named(it, config, name, known)
  local key = ("%s %s %s"):format(config.profile, config.method, config.seed)
  if not known[key] then
    local ok, runs = errors.pcall(M.runs, it, config.profile, { config.seed }, { config.method })
    known[key] = { fault = not ok and select(2, errors.explain(runs)) or nil }
    for _, run in ipairs(ok and runs or {}) do known[key][M.run_name(run.cfg, run.set)] = run end
  end
  return known[key][name], known[key].fault
end

return M
