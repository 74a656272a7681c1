--- Where a figure or table of the page comes from: the command that makes it, its data as CSV, the
-- line of the experiment that asks for it, its runs, and what they cost. Links are relative to the
-- folder of the page, so they work where the page was woven.
-- @module flowmap.report.origin

local errors = require "flowmap.base.errors"
local escape = require "flowmap.base.escape"
local files = require "flowmap.base.files"
local regular = require "flowmap.base.regular"
local provenance = require "flowmap.report.provenance"
local render = require "flowmap.report.render"
local render_list = require "flowmap.experiment.render_list"
local results = require "flowmap.report.results"
local suite = require "flowmap.experiment"
local tree = require "flowmap.tree"

local M = {}

--- More runs than these are not listed one by one.
M.MOST_RUNS = 24

-- ------------------------------------------------------------------ paths and links

local function parts_of(path)
  if path:sub(1, 1) ~= "/" then path = regular.here() .. "/" .. path end
  local parts = {}
  for part in path:gmatch "[^/]+" do
    if part == ".." then
      table.remove(parts)
    elseif part ~= "." then
      parts[#parts + 1] = part
    end
  end
  return parts
end

--- A path as it is shown: that of a file of the suite begins at the suite's folder.
-- @tparam string path
-- @treturn string
function M.shown(path)
  local root = files.installed ""
  return root ~= "./" and path:sub(1, #root) == root and path:sub(#root + 1) or path
end

--- The target of a link from a page to a file: relative if the file is in the current folder,
-- absolute otherwise.
-- @tparam string folder of the page
-- @tparam string path
-- @treturn string percent-encoded
function M.href(folder, path)
  local from, to, here = parts_of(folder), parts_of(path), parts_of "."
  local function encoded(parts)
    return (table.concat(parts, "/"):gsub("[^%w._~/=+,-]", function(c)
      return ("%%%02X"):format(c:byte())
    end))
  end
  for i, part in ipairs(here) do
    if to[i] ~= part then return "/" .. encoded(to) end
  end
  local k = 0
  while from[k + 1] and from[k + 1] == to[k + 1] do k = k + 1 end
  local up = {}
  for i = 1, #from - k do up[i] = ".." end
  return encoded(table.move(to, k + 1, #to, #up + 1, up))
end

--- A link from the page to a file.
-- @tparam Context context
-- @tparam string text
-- @tparam string path
-- @treturn string Markdown
function M.link(context, text, path)
  return ("[%s](<%s>)"):format(escape.markdown(text), M.href(context.output, path))
end

local link = M.link

local function code(text)
  local longest = 0
  for run in text:gmatch "`+" do longest = math.max(longest, #run) end
  local fence = ("`"):rep(longest + 1)
  return longest > 0 and ("%s %s %s"):format(fence, text, fence) or fence .. text .. fence
end

-- ------------------------------------------------------------------ the line of the experiment

-- How surely a line names an entry: by `name = "kl"`; by a bare "kl", as an argument of a function
-- that makes entries; by the beginning of the name, which `..` or a format continues; by an
-- expression. 0: it does not.
local function sureness(line, name)
  local most = line:find "%f[%w]name%s*=%s*[^%s'\"(]" and line:find "%f[%w]kind%s*=" and 1 or 0
  for before, _, text, rest in line:gmatch "()(['\"])([^'\"]*)%2()" do
    local key = line:sub(1, before - 1):match "([%w_]+)%s*=%s*%(?$"
    local start = text:match "^[^%%]+"
    local goes_on = start and (start ~= text or line:find("^%s*%.%.", rest))
      and name:sub(1, #start) == start
    local here = text == name and (key == "name" and 5 or not key and 4)
      or goes_on and (key == "name" and 3 or not key and 2) or 0
    most = math.max(most, here)
  end
  return most
end

--- The line of an experiment's source that defines an entry of its render list.
-- @tparam string source
-- @tparam table entry
-- @tparam ?string experiment its name
-- @treturn ?integer if no line names the entry, that which names the experiment, whose list comes
--   from a module then; nil if there is none, either
function M.line(source, entry, experiment)
  local number, best, most = 0, nil, 0
  for line in (source .. "\n"):gmatch "([^\n]*)\n" do
    number = number + 1
    local found = line:find "^%s*%-%-" and 0 or sureness(line, entry.name)
    if found > 0 and line:find(('"%s"'):format(entry.kind), 1, true) then found = found + 0.5 end
    if found == 0 and experiment and line:find(('name = "%s"'):format(experiment), 1, true) then
      found = 0.1
    end
    if found > most then best, most = number, found end
  end
  return best
end

-- ------------------------------------------------------------------ runs and cost

-- The runs behind an entry; nil if it shows no results.
local function runs_of(exp, entry, set)
  local own = exp.figures and exp.figures[entry.kind]
  local draw = type(own) == "table" and own.draw or own
  local reads = entry.kind ~= "triangle"
  if draw then reads = debug.getinfo(draw, "u").nparams > 0 end
  if not reads then return nil end
  return render.selected(entry, set)
end

--- The runs behind an entry; nil if it shows no results.
-- @tparam table exp an experiment
-- @tparam table entry of its render list
-- @tparam Set set all its runs
-- @treturn ?Set
M.runs_of = runs_of

local function run_text(context, set)
  local list = set:all()
  local folder = link(context, ("%d run%s"):format(#list, #list == 1 and "" or "s"), set.root)
  if #list > M.MOST_RUNS then return folder end
  for i, run in ipairs(list) do list[i] = link(context, run.dir:match "[^/]+$", run.dir) end
  return ("%s[: %s]{.each}"):format(folder, table.concat(list, ", "))
end

-- The commands that make the runs of a set, with their seeds if these are not those of the profile.
local function command(exp, profile, set)
  local seen, methods = {}, {}
  for _, run in ipairs(set:all()) do
    seen[run:field("config", "seed")], methods[run:field("config", "method")] = true, true
  end
  local made, what = tree.keys(seen), escape.word(M.shown(exp.path)) .. " --profile " .. profile
  local planned = exp.profiles[profile] and suite.seeds(exp, profile) or {}
  local seeds = table.concat(made, ",")
  if seeds == table.concat(planned, ",") then return "./flowmap reproduce " .. what end
  if #made > 1 or made[1] == 1 then
    return ("./flowmap reproduce %s --seeds %s"):format(what, seeds)
  end
  local list = tree.keys(methods) -- a single number of --seeds would be a count
  for k, method in ipairs(list) do
    list[k] = ("./flowmap run %s --method %s --seed %s"):format(what, method, seeds)
  end
  return table.concat(list, "; ")
end

-- ------------------------------------------------------------------ data

-- The file with the values of an entry, and what it is; nil if there is none.
local function data_of(context, name, entry, sort)
  local stem = sort == "table" and context:table(name, entry.name):gsub("%.md$", "")
    or context:figure(name, entry.name)
  for _, ending in ipairs(sort == "table" and { ".csv" } or { ".figure.csv", ".dat" }) do
    if files.exists(stem .. ending) then return stem .. ending end
  end
  local all = context.published and context:folder(name) .. "/values.csv"
  if all and files.exists(all) then return all end
end

-- ------------------------------------------------------------------ the text

-- Find the entry of a figure or table.
local function entry_of(exp, set, name, sort)
  for _, entry in ipairs(render.entries(exp, set)) do
    local writes = render_list.writes(entry.kind, exp.figures) == "table" and "table" or "figure"
    if entry.name == name and writes == sort then return entry end
  end
end

--- The runs behind a figure or table.
-- @tparam Context context see flowmap.report.context
-- @tparam string experiment its name
-- @tparam string name of the render entry
-- @tparam string sort "table" or "figure"
-- @treturn ?Set nil: it shows no results, or no experiment of the suite or of the page has it
-- @treturn ?table the render entry
function M.runs(context, experiment, name, sort)
  local exp = context:experiment_of(experiment)
  local all = exp and context:set(experiment)
  local entry = exp and entry_of(exp, all, name, sort)
  if entry then return runs_of(exp, entry, all), entry end
end

--- The origin of a figure or table as a block of Markdown, of class "origin".
-- @tparam Context context see flowmap.report.context
-- @tparam string experiment its name
-- @tparam string name of the render entry
-- @tparam string sort "table" or "figure"
-- @treturn string "" if no experiment of the suite or of the page has such an entry
function M.markdown(context, experiment, name, sort)
  local exp = context:experiment_of(experiment)
  local all = exp and context:set(experiment)
  local entry = exp and entry_of(exp, all, name, sort)
  if not entry then return "" end
  local set, line = runs_of(exp, entry, all), M.line(results.read_file(exp.path), entry, exp.name)
  local profile = (all.runs[1] or all.diverged[1]):field("config", "profile")
  local data = data_of(context, experiment, entry, sort)
  -- The name tells to what it belongs where a figure floats to another page of the PDF.
  local parts = { ("%s %s"):format(sort:gsub("^%l", string.upper), escape.markdown(name)),
    "Command: " .. code(command(exp, profile, all)) }
  if data or set and sort == "figure" then -- of images there is no CSV
    parts[#parts + 1] = "Data: " .. (data and link(context, data:match "[^/]+$", data)
      or "the samples in the folders of the runs")
  end
  parts[#parts + 1] = ("Script: %s%s"):format(link(context, M.shown(exp.path), exp.path),
    line and (", line %d"):format(line) or "")
  parts[#parts + 1] = "Runs: " .. (set and run_text(context, set) or "none, it shows no results")
  if set then parts[#parts + 1] = "Cost: " .. provenance.cost(set) end
  return ("\n::: origin\n%s.\n:::\n"):format(table.concat(parts, ". "))
end

--- The origin of a table that the weaver itself makes from a line of a chapter.
-- @tparam Context context
-- @tparam string place of the line, FILE:LINE
-- @tparam string words of the lookup, such as "reproduction values checkerboard"; where the last
--   one is an experiment with results, these are its runs
-- @treturn string
function M.woven(context, place, words)
  local path, line = place:match "^(.*):(%d+)$"
  local from = context.published and "--results " .. M.shown(context.published)
    or "--profile " .. tostring(context.profile)
  local parts = { "Command: " .. code(("./flowmap paper %s %s"):format(
    escape.word(M.shown(path)), from)) }
  local ok, set = errors.pcall(context.set, context, words:match "[%w_-]+%s*$")
  if words:find "^reproduction" then
    local published = "paper/published.lua"
    parts[2] = ("Data: %s%s"):format(link(context, published, files.installed(published)),
      ok and " and the results of the runs" or "")
  end
  parts[#parts + 1] = ("Script: %s, line %s"):format(link(context, M.shown(path), path), line)
  if ok then
    parts[#parts + 1] = "Runs: " .. run_text(context, set)
    parts[#parts + 1] = "Cost: " .. provenance.cost(set)
  end
  return ("\n::: origin\n%s.\n:::\n"):format(table.concat(parts, ". "))
end

return M
