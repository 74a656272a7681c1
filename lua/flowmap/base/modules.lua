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

return M
