--- Experiments: an ordinary Lua file that returns a table, and the runs that follow from it.
--
--     return {
--       name = "checkerboard",                   -- names the results' folder
--       methods = { "lsd", "psd-m" },            -- what `reproduce` compares
--       settings = { data = "checkerboard" },    -- for all profiles, see flowmap.settings
--       profiles = { laptop = { steps = 1000,    -- on top of them
--         methods = { "lsd" },                   -- optional: those that fit its time
--         by_method = { ["psd-m"] = { lr = 2e-3 } } } },
--       grid = { eta = { 0.5, 0.75 } },          -- optional: every combination is a run
--       seeds = 2,                               -- optional: how many by default
--       losses = {}, nets = {}, data = {}, times = {}, interpolants = {}, metrics = {},
--       figures = {},                            -- optional: parts of its own, by name
--       options = {},                            -- optional: its own settings with defaults
--       run = function(cfg, dir, how) end,       -- optional: what is no training of a flow map
--     }
--
-- Parts of its own. Each is found by its name, like those of the suite: `--method`, `--set net=`,
-- `data=`, `times=`, `interpolant=`, `metrics=`, or the `kind` of an entry of `render`.
--
--     losses = { mine = function(a) ... end }              -- see flowmap.losses
--     nets = { mine = function(cfg) ... end }              -- see flowmap.nets
--     data = { mine = { dim =, sd =, sample =, ... } }     -- see flowmap.data
--     times = { mine = function(a, c) ... return s, t end }            -- see flowmap.times
--     interpolants = { mine = { alpha = function(t) ... end, beta = function(t) ... end } }
--     metrics = { mine = function(samples, context) ... return number end } -- flowmap.measures
--     figures = { mine = function(set, spec) ... return panels end }   -- see flowmap.render
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

local errors = require "flowmap.errors"
local files = require "flowmap.files"
local losses = require "flowmap.losses"
local parts = require "flowmap.parts"
local settings = require "flowmap.settings"
local tree = require "flowmap.tree"

local M = {}

--- Names of the profiles, from quick to complete.
M.profiles = { "smoke", "laptop", "long", "paper" }

local FIELDS = {
  name = "string", methods = "table", settings = "table", profiles = "table", grid = "table",
  seeds = "number", losses = "table", nets = "table", data = "table", times = "table",
  interpolants = "table", metrics = "table", figures = "table", options = "table",
  title = "string", render = "table", run = "function",
}

--- Load an experiment.
-- @tparam string path a Lua file
-- @treturn table the experiment, with `path` added
function M.load(path)
  path = files.exists(path) and path or files.installed(path)
  if not files.exists(path) then
    errors.usage("there is no experiment '%s'; expected a Lua file such as "
      .. "experiments/checkerboard.lua", path)
  end
  local chunk, message = loadfile(path, "t")
  if not chunk then errors.usage("%s is not valid Lua: %s", path, message) end
  local it = chunk()
  if type(it) ~= "table" then
    errors.usage("%s returns a %s; an experiment returns a table", path, type(it))
  end
  local known = tree.keys(FIELDS)
  for key, value in pairs(it) do
    if not FIELDS[key] then
      errors.usage("%s: unknown field '%s'%s", path, tostring(key),
        errors.near(tostring(key), known))
    elseif type(value) ~= FIELDS[key] then
      errors.usage("%s: the field %s must be a %s, found a %s", path, key, FIELDS[key], type(value))
    end
  end
  for _, key in ipairs { "name", "profiles" } do
    if not it[key] then errors.usage("%s: the field %s is missing", path, key) end
  end
  parts.check(it, path)
  it.methods = it.methods or { "lsd" }
  it.path = path
  return it
end

-- Keys of a profile that are no settings.
local NO_SETTING = { by_method = true, methods = true }

local function apply(cfg, values, where, own)
  for _, key in ipairs(tree.keys(values)) do
    if not NO_SETTING[key] then cfg[key] = settings.check(key, values[key], where, own) end
  end
end

local function copy(value)
  return type(value) == "table" and table.move(value, 1, #value, 1, {}) or value
end

--- All settings of one run: defaults, the experiment's, its profile's, the method's, the grid's
-- point, then the user's.
-- @tparam table it an experiment
-- @tparam table want { profile, method, seed, set = { key = value }, point = {...} }
-- @treturn table the settings, with experiment, profile, method and seed
function M.resolve(it, want)
  local own = parts.options(it)
  local profile = want.profile or "laptop"
  errors.choice("profile", profile, tree.keys(it.profiles))
  local loss = losses.find(want.method or it.methods[1], it.losses)
  local method = loss.name
  local cfg = {}
  for _, s in ipairs(settings.list) do cfg[s[1]] = copy(s[2]) end
  for key, value in pairs(own or {}) do cfg[key] = copy(value) end
  local of_profile = it.profiles[profile]
  apply(cfg, it.settings or {}, it.path, own)
  apply(cfg, of_profile, ("%s, profile %s"):format(it.path, profile), own)
  apply(cfg, (of_profile.by_method or {})[method] or {}, it.path .. ", by_method", own)
  apply(cfg, want.point or {}, it.path .. ", grid", own)
  apply(cfg, want.set or {}, "--set", own)
  parts.resolve(it, cfg, loss, want.set or {})
  if cfg.stop == "default" then cfg.stop = loss.stops[1] end
  errors.choice("stop-gradient of " .. method, cfg.stop, loss.stops)
  if cfg.eval_ema > #cfg.ema then
    errors.usage("eval_ema is %d, but there are %d averages (ema)", cfg.eval_ema, #cfg.ema)
  end
  if cfg.precision == "bfloat16" and cfg.dtype ~= "float32" then
    errors.usage("precision bfloat16 needs dtype float32, found %s", cfg.dtype)
  end
  cfg.experiment, cfg.profile, cfg.method, cfg.seed = it.name, profile, method, want.seed or 1
  return cfg
end

-- All points of a grid { key = {values} }; "*" as values of `stop` means all of the method's.
local function points(grid, loss)
  local out = { {} }
  for _, key in ipairs(tree.keys(grid or {})) do
    local values, longer = grid[key], {}
    if key == "stop" and values == "*" then values = loss.stops end
    for _, point in ipairs(out) do
      for _, value in ipairs(values) do
        local more = {}
        for k, v in pairs(point) do more[k] = v end
        more[key] = value
        longer[#longer + 1] = more
      end
    end
    out = longer
  end
  return out
end

--- The folder of a run below results/EXPERIMENT/PROFILE.
-- @tparam table cfg resolved settings
-- @tparam table set what was set besides the profile's values: part of the name
-- @treturn string
function M.run_name(cfg, set)
  local words = { cfg.method }
  for _, key in ipairs(tree.keys(set)) do
    words[#words + 1] = key .. "=" .. settings.text(cfg[key]):gsub("[^%w.,+-]", "_")
  end
  words[#words + 1] = "seed" .. cfg.seed
  return table.concat(words, "-")
end

--- The folder of the runs that an experiment's tables and figures are made from.
-- @tparam string name of the experiment
-- @tparam string profile
-- @treturn string
function M.root(name, profile)
  return ("results/%s/%s"):format(name, profile)
end

--- Where the files of a run go by default. One with settings of the user's own has its place apart
-- from the experiment's, so that it enters no table.
-- @tparam table cfg resolved settings
-- @tparam table set what the user set
-- @treturn string
function M.run_dir(cfg, set)
  local profile = next(set) and cfg.profile .. "-own" or cfg.profile
  return M.root(cfg.experiment, profile) .. "/" .. M.run_name(cfg, set)
end

--- All runs of an experiment: methods (a profile's own, if it has some) x grid x seeds.
-- @tparam table it an experiment
-- @tparam string profile
-- @tparam {integer,...} seeds
-- @treturn {table,...} runs { experiment =, cfg =, set =, dir = }
function M.runs(it, profile, seeds)
  local out = {}
  local methods = (it.profiles[profile] or {}).methods or it.methods
  for _, seed in ipairs(seeds) do
    for _, method in ipairs(methods) do
      for _, point in ipairs(points(it.grid, losses.find(method, it.losses))) do
        local want = { profile = profile, method = method, seed = seed, point = point }
        local cfg = M.resolve(it, want)
        out[#out + 1] = { experiment = it, cfg = cfg, set = point,
          dir = M.root(it.name, profile) .. "/" .. M.run_name(cfg, point) }
      end
    end
  end
  return out
end

return M
