--- Parts that an experiment defines and nothing names. A network of one's own is not used before
-- `settings.net` says so, and the run would train another without a word.
-- @module flowmap.experiment.unused

local Progress = require "flowmap.base.progress"
local Status = require "flowmap.base.status"
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

--- The sentences about parts of an experiment's own, of a kind of which it names none.
-- @tparam table it an experiment
-- @tparam table cfg resolved settings of a run
-- @treturn {string,...}
function M.sentences(it, cfg)
  local texts, out = {}, {}
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
  return out
end

local noted = {} -- what was told

--- Tell the user, once. The runs of `reproduce`, which reports their progress, leave it to that.
-- @tparam table it an experiment
-- @tparam table cfg resolved settings of a run
function M.note(it, cfg)
  if Progress.reports then return end
  for _, sentence in ipairs(M.sentences(it, cfg)) do
    if not noted[sentence] then Status.new(2):say("note: " .. sentence) end
    noted[sentence] = true
  end
end

return M
