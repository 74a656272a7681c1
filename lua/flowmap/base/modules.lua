--- Which module a name in `fm` stands for: fm.losses is flowmap.losses, fm.stats is
-- flowmap.measure.stats.
-- @module flowmap.base.modules

local M = {}

local ROOMS = { "", "measure.", "report.", "experiment.", "runs.", "base.", "app." }

--- Find a module by its short name.
-- @tparam string key
-- @treturn ?string its name for `require`; nil if there is none
-- @treturn ?string its file
function M.find(key)
  if ("." .. key .. "."):find "%.%." or key:find "[^%w_.]" then return nil end
  for _, room in ipairs(ROOMS) do
    local name = "flowmap." .. room .. key
    local path = package.searchpath(name, package.path)
    if path then return name, path end
  end
end

-- The modules that were called otherwise up to version 0.1.
local RENAMED = { images = "experiment.image_template", image_metrics = "measure.image_distances",
  figure_density = "report.figure.density", figure_traces = "report.figure.traces",
  figure_triangle = "report.figure.triangle", figure_images = "report.figure.grid" }

--- Where a module of the suite is now that is not found by its name.
-- @param name what was required
-- @treturn string in words; "" if it is none of the suite's
function M.moved(name)
  local key = type(name) == "string" and name:match "^flowmap%.([%w_.]+)$"
  if not key then return "" end
  key = key:gsub("^features", "measure.features"):gsub("^judges", "measure.judges")
    :gsub("^data%.images", "data.packed")
  local new = RENAMED[key] and "flowmap." .. RENAMED[key] or M.find(key)
  return new and (" (it is now %s)"):format(new) or ""
end

--- The short name of a module.
-- @tparam string name for `require`
-- @treturn ?string nil for one that is not found by it
function M.short(name)
  for _, room in ipairs(ROOMS) do
    local key = room ~= "" and name:sub(1, 8 + #room) == "flowmap." .. room and name:sub(9 + #room)
    if key and M.find(key) == name then return key end
  end
  local key = name:match "^flowmap%.(.+)$"
  return key and M.find(key) and key or nil
end

--- What a module returns, which must be something.
-- @tparam string name
-- @tparam function load Lua's own `require`
-- @return
function M.value(name, load)
  local value = load(name)
  if value == true then -- what `require` makes of a file that does not return
    load("flowmap.base.errors").usage("%s returns nothing, expected a table",
      package.searchpath(name, package.path))
  end
  return value
end

return M
