--- Rendering: an experiment's `render` list becomes files in results/EXPERIMENT/PROFILE/tables
-- and figures. Each entry names what to draw and how:
--
--     render = {
--       { kind = "compare", name = "kl", metric = "kl", title = "...", published = true },
--       { kind = "density", name = "density", range = { -1, 1 } },
--       { kind = "against_setting", name = "ablation-N1", where = { data = "checkerboard" }, ... },
--     }
--
-- kind: a table (`compare`, `grid`: see flowmap.table) or a figure (`density`, `against_steps`,
-- `against_setting`, `traces`, `triangle`: see flowmap.figure; `grids`: flowmap.figure_images);
-- `where` selects runs by config; `published = true` sets the paper's values of this experiment and
-- metric beside ours; other fields go to the table or figure. Without a list, the tables and
-- figures of KL are drawn.
-- @module flowmap.render

local errors = require "flowmap.errors"
local figure = require "flowmap.figure"
local results = require "flowmap.results"
local tables = require "flowmap.table"
local tree = require "flowmap.tree"

local M = {}

local default = {
  { kind = "compare", name = "kl", metric = "kl", title = "KL(data || model)", floor = "kl_floor" },
  { kind = "against_steps", name = "kl", metric = "kl", label = "KL(data || model)" },
  { kind = "density", name = "density", range = { -1, 1 }, metric = "kl", label = "KL" },
  { kind = "traces", name = "traces" },
}

local kinds = {
  compare = "table", grid = "table", density = "figure", against_steps = "figure",
  against_setting = "figure", traces = "figure", triangle = "figure", grids = "images",
}

local published_file = "paper/published.lua"

--- The published numbers.
-- @treturn table what paper/published.lua returns
function M.published()
  local chunk, why = loadfile(published_file, "t")
  if not chunk then
    errors.data("cannot read the published values: %s (run in the project's folder)", why)
  end
  return chunk()
end

-- An entry with its runs chosen, steps and published values filled in.
local function complete(entry, it, all)
  local spec, set = {}, entry.where and all:select(entry.where) or all
  for key, value in pairs(entry) do spec[key] = value end
  spec.steps = spec.steps or set:steps()
  if entry.published then
    local known = M.published()
    spec.source, spec.published = known.source, (known[it.name] or {})[entry.metric]
    if not spec.published then
      errors.data("there are no published values of '%s' for %s in %s", tostring(entry.metric),
        it.name, published_file)
    end
  end
  return spec, set
end

--- Render one entry.
-- @tparam table it an experiment (its name and path are used)
-- @tparam table entry see above
-- @tparam Set all the experiment's runs
-- @treturn {string,...} paths of the files
function M.entry(it, entry, all)
  errors.choice("render kind", tostring(entry.kind), tree.keys(kinds))
  if type(entry.name) ~= "string" or entry.name:find("[^%w_.-]") then
    errors.usage("%s: a render entry (%s) needs a name for its files, found %s",
      it.path or it.name, entry.kind, tostring(entry.name))
  end
  local spec, set = complete(entry, it, all)
  if kinds[entry.kind] == "table" then
    return tables.write(all.root .. "/tables", entry.name, tables[entry.kind](set, spec))
  elseif kinds[entry.kind] == "images" then
    return require("flowmap.figure_images").grids(all.root .. "/figures", entry.name, set, spec)
  elseif entry.kind == "triangle" then
    return figure.triangle(all.root .. "/figures", entry.name, spec)
  end
  return figure[entry.kind](all.root .. "/figures", entry.name, set, spec)
end

--- Render all tables and figures of an experiment from its results.
-- @tparam table it an experiment, see flowmap.experiment
-- @tparam string profile
-- @tparam[opt="results"] string base
-- @treturn {string,...} paths of the files
function M.experiment(it, profile, base)
  local all = results.open(("%s/%s/%s"):format(base or "results", it.name, profile))
  local paths = {}
  for _, entry in ipairs(it.render or default) do
    local made = M.entry(it, entry, all)
    table.move(made, 1, #made, #paths + 1, paths)
  end
  return paths
end

return M
