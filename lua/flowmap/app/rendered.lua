--- Whether tables, figures and the page are those that would be rendered again: a note beside the
-- results names what they were made from, and what they looked like when they were written.
-- @module flowmap.app.rendered

local experiment = require "flowmap.experiment"
local files = require "flowmap.base.files"
local fm = require "flowmap"
local lfs = require "lfs"
local source = require "flowmap.runs.source"

local M = {}

-- The identity, size and times of a file, which change when it does; "-" if it is not there.
local function look(path)
  local it = lfs.attributes(path)
  return it and ("%s %s %s %s"):format(it.ino, it.size, it.modification, it.change) or "-"
end

-- The programs that draw and weave, this one and those that PATH finds, and the font of formulas.
local function programs(parts)
  local paths = { require("luv").exepath(), require("flowmap.report.page").math_font }
  for _, name in ipairs { "gnuplot", "pandoc", "hb-subset" } do
    for _, path in ipairs(files.in_path(name)) do paths[#paths + 1] = path end
  end
  for _, path in ipairs(paths) do parts[#parts + 1] = path .. " " .. look(path) end
end

-- The suite's sources and the files of the paper.
local function sources(parts)
  local folders = { source.folder:gsub("/$", ""), files.installed "paper/chapters.lua"
    :match "^(.*)/[^/]*$" }
  for _, folder in ipairs(folders) do
    for _, name in ipairs(files.below(folder)) do
      if not name:find "^build/" and not name:find "^results/" then
        parts[#parts + 1] = name .. " " .. look(folder .. "/" .. name)
      end
    end
  end
end

-- The ends of all runs of an experiment, whoever made them.
local function runs(parts, root)
  for _, name in ipairs(files.folders(root)) do
    for _, kind in ipairs { "manifest", "diverged", "accepted", "config" } do
      local path = ("%s/%s/%s.json"):format(root, name, kind)
      local seen = look(path)
      if seen ~= "-" then parts[#parts + 1] = path .. " " .. seen end
    end
  end
end

--- A hash of what tables, figures and page of some experiments depend on. It is taken before they
-- are rendered, which loads further files.
-- @tparam {table,...} list experiments
-- @tparam string profile
-- @tparam boolean book whether the page is among them
-- @treturn string
function M.key(list, profile, book)
  local parts = { profile, book and "with the page" or "without the page" }
  programs(parts)
  sources(parts)
  local own = {} -- the experiments and what they load besides the suite
  for i, it in ipairs(list) do own[i] = source.absolute(it.path) end
  for path in pairs(source.closure(own, source.is_suite)) do own[#own + 1] = path end
  for _, path in ipairs(own) do parts[#parts + 1] = path .. " " .. look(path) end
  table.sort(parts)
  for _, name in ipairs(files.folders(experiment.base)) do -- figures may show other experiments
    runs(parts, experiment.root(name, profile))
  end
  return fm.sha256(table.concat(parts, "\n"))
end

local function note(list, profile)
  local names = {}
  for i, it in ipairs(list) do names[i] = it.path end
  return ("%s/.rendered-%s-%s"):format(experiment.base, profile,
    fm.sha256(table.concat(names, "\n")):sub(1, 12))
end

--- The files that were rendered, if they and all that they were made from are unchanged.
-- @tparam {table,...} list experiments
-- @tparam string profile
-- @tparam string key
-- @treturn ?{string,...} paths; nil: render again
function M.current(list, profile, key)
  local text = files.read(note(list, profile))
  local made, rest = (text or ""):match "^(%x+)\n(.*)$"
  if not made or made ~= key then return nil end
  local paths = {}
  for seen, path in rest:gmatch "([^\t\n]+)\t([^\n]+)\n" do
    if look(path) ~= seen then return nil end
    paths[#paths + 1] = path
  end
  return paths
end

--- Note what was rendered.
-- @tparam {table,...} list experiments
-- @tparam string profile
-- @tparam string key
-- @tparam {string,...} paths
function M.keep(list, profile, key, paths)
  local lines = { key .. "\n" }
  for _, path in ipairs(paths) do lines[#lines + 1] = ("%s\t%s\n"):format(look(path), path) end
  pcall(fm.write_file, note(list, profile), table.concat(lines))
end

return M
