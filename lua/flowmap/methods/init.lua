--- The published methods as data. A method is one file of this folder, `NAME.lua`: a comment with
-- its equation, and a table of coordinates,
--
--     { family = "eulerian",        -- "lagrangian", "eulerian" or "semigroup": flowmap.residuals;
--                                   -- "diagonal": there is no off-diagonal term
--       stops = { "target" },       -- the stop-gradients of its publication, the default first
--       title = "MeanFlow", cite = "Geng et al. 2025, arXiv 2505.13447",
--       differs = "...",            -- optional: where the suite departs from the publication
--       taught_by = "fm",           -- optional: the method that trains its teacher
--       halves = true,              -- optional: each teacher is a student of twice as many steps
--       velocity = "sample", ... }  -- defaults of settings, see DEFAULTS
--
-- and, where a family reads them, `g` of the semigroup as `args` or `variants` (flowmap.losses),
-- `weight` and `factor` = one of residuals.weights, `kernel` = one of residuals.kernels, `tangent`,
-- `solver`, `form`, `compare`, `limit`, `trip`.
-- Times run from noise (0) to data (1), whichever way the publication counts. Teachers are trained
-- as flowmap.experiment.stages says.
-- @module flowmap.methods

local errors = require "flowmap.base.errors"
local files = require "flowmap.base.files"
local residuals = require "flowmap.residuals"
local source = require "flowmap.runs.source"
local tree = require "flowmap.tree"

local M = {}

--- The settings whose defaults a row may state.
M.DEFAULTS = { "velocity", "target", "target_decay", "times", "times_mean", "times_sd", "levels",
  "share", "curriculum", "curriculum_span", "tangent_warmup", "times_diagonal", "particles", "p",
  "c", "p_diagonal", "eta", "both_terms", "interpolant", "start", "sampler" }

--- The fields of a row besides those that every loss may have, and their types.
M.fields = { family = "string", title = "string", cite = "string", differs = "string",
  weight = "string", factor = "string", tangent = "string", solver = "string", form = "string",
  compare = "string", kernel = "string", limit = "string", trip = "string", taught_by = "string",
  halves = "boolean" }
for _, key in ipairs(M.DEFAULTS) do M.fields[key] = "any" end

-- The choices of the fields that name one.
local CHOICES = {
  family = tree.keys(residuals.stops), weight = tree.keys(residuals.weights),
  factor = tree.keys(residuals.weights), kernel = tree.keys(residuals.kernels),
  limit = { "eulerian" },
  tangent = { "self", "sample", "teacher" }, solver = { "euler", "heun" },
  form = { "map", "velocity" }, compare = { "end", "groups" }, trip = { "return" },
}

--- Check a row of an experiment.
-- @tparam table row
-- @tparam string where start of the error sentence
function M.check(row, where)
  for key, names in pairs(CHOICES) do
    if row[key] then errors.choice(("%s: %s"):format(where, key), row[key], names) end
  end
  for _, name in ipairs(row.stops or {}) do
    errors.choice(where .. ": stop-gradient", name, residuals.stops[row.family])
  end
  if row.family == "semigroup" and not (row.args and row.args.g or row.variants) then
    errors.usage("%s: the semigroup needs g, as args = { g = 0.5 } or by variants", where)
  end
end

--- The defaults of settings that a row states.
-- @tparam ?table row
-- @treturn table key -> value
function M.defaults(row)
  local set = {}
  for _, key in ipairs(M.DEFAULTS) do set[key] = row and row[key] end
  if row and row.taught_by then set.teacher = "auto" end
  return set
end

--- Whether a frozen map is needed.
-- @tparam table it a row, or the settings of a run
-- @treturn boolean
function M.needs_teacher(it) return it.velocity == "teacher" or it.target == "frozen" end

--- Whether a method can take its velocity, or its target, from a frozen map.
-- @tparam table row
-- @treturn boolean
function M.reads_teacher(row)
  if row.family == "diagonal" then return false end
  return row.family ~= "semigroup" or M.needs_teacher(row)
end

--- Whether a method trains the diagonal alone.
-- @tparam ?table row
-- @treturn boolean
function M.is_diagonal(row) return row ~= nil and row.family == "diagonal" end

--- All rows: names of files, sorted, and name -> row.
-- @treturn {string,...}
-- @treturn table
function M.rows()
  local names, rows = files.modules "flowmap.methods", {}
  for _, name in ipairs(names) do rows[name] = source.peek("flowmap.methods." .. name) end
  return names, rows
end

return M
