--- What a user may not have meant, told before a run: a network of one's own is not used before
-- `settings.net` says so, and the run would train another without a word; a table of points may be
-- transposed; a short training may end before the average that is evaluated has moved.
-- @module flowmap.experiment.notes

local Progress = require "flowmap.base.progress"
local Status = require "flowmap.base.status"
local settings = require "flowmap.experiment.settings"
local tree = require "flowmap.tree"

local M = {}

-- The field of the parts, the setting that names one of them, what it is.
local KINDS = { { "data", "data", "data set" }, { "losses", "method", "method" },
  { "nets", "net", "network" }, { "times", "times", "law of times" },
  { "interpolants", "interpolant", "interpolant" } }

local DEPTH = 8 -- of the tables of settings, profiles and grids

-- Collect the texts in a table: keys, since `by_method` has methods as keys, and values.
local function collect(value, texts, depth)
  if type(value) == "string" then texts[value:lower()] = true end
  if type(value) ~= "table" or depth > DEPTH then return texts end
  for key, inner in pairs(value) do
    collect(key, texts, depth + 1)
    collect(inner, texts, depth + 1)
  end
  return texts
end

-- Whether one of some texts names a part, or a variant of it: "mine", "mine-u".
local function is_named(part, texts)
  part = part:lower()
  if texts[part] then return true end
  for text in pairs(texts) do
    if text:sub(1, #part + 1) == part .. "-" then return true end
  end
  return false
end

-- Add the sentences about parts of an experiment's own, of a kind of which it names none.
local function add_unused(it, cfg, out)
  local texts = {}
  for _, field in ipairs { "settings", "profiles", "grid", "methods" } do
    collect(it[field], texts, 1)
  end
  for _, kind in ipairs(KINDS) do
    local field, key, what = table.unpack(kind)
    local own, used = tree.keys(it[field] or {}), collect(cfg[key], {}, 1)
    for _, name in ipairs(own) do
      if is_named(name, texts) or is_named(name, used) then own = {} end
    end
    if #own > 0 then
      out[#out + 1] = ("the experiment's own %s '%s' is not used: nothing names it, and %s is %s"
        ):format(what, own[1], key, cfg[key])
    end
  end
end

-- Add the sentence about points with more coordinates than there are points.
local function add_transposed(it, cfg, out)
  local set = type(it.data) == "table" and it.data[cfg.data]
  local points = type(set) == "table" and rawget(set, "points")
  local n, d = table.unpack(points and points.shape or { 1, 0 })
  if n < d then
    out[#out + 1] = ("the data set '%s' has %d points of %d coordinates; a point is a row; "
      .. "fm.transpose(x, { 2, 1 }) makes rows of columns"):format(cfg.data, n, d)
  end
end

local STALE = 0.9 -- of the weights evaluated, the part that is the initial ones

-- Add the sentence about an average of the weights that hardly leaves the initial ones. The profile
-- smoke tries whether all works; nobody reads its numbers.
local function add_stale(cfg, profile, out)
  if profile == "smoke" then return end
  local decay = cfg.eval_ema > 0 and cfg.ema[cfg.eval_ema] or 0
  local part = decay ^ cfg.steps
  if part > STALE then
    out[#out + 1] = ("after %d steps the average that is evaluated (ema %s) is to %.0f %% the "
      .. "initial weights, whatever was learnt; ema = 0.9 or eval_ema = 0 evaluates later ones")
      :format(cfg.steps, settings.text(decay), 100 * part)
  end
end

--- The sentences about a run.
-- @tparam table it an experiment
-- @tparam table cfg resolved settings of a run
-- @tparam string profile
-- @treturn {string,...}
function M.sentences(it, cfg, profile)
  local out = {}
  add_unused(it, cfg, out)
  add_transposed(it, cfg, out)
  add_stale(cfg, profile, out)
  return out
end

local noted = {} -- what was told

--- Tell the user, once. The runs of `reproduce`, which reports their progress, leave it to that.
-- @tparam table it an experiment
-- @tparam table cfg resolved settings of a run
-- @tparam string profile
function M.note(it, cfg, profile)
  if Progress.reports then return end
  for _, sentence in ipairs(M.sentences(it, cfg, profile)) do
    if not noted[sentence] then Status.new(2):say("note: " .. sentence) end
    noted[sentence] = true
  end
end

return M
