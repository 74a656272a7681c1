--- The origin of each chapter: sources, runs by method, the tables and figures that show them,
-- and what of it is out of date, with the reasons. See flowmap.report.graph for the picture.
-- @module flowmap.report.lineage

local chapters = require "flowmap.experiment.chapters"
local contexts = require "flowmap.report.context"
local current = require "flowmap.runs.current"
local errors = require "flowmap.base.errors"
local look = require "flowmap.runs.look"
local origin = require "flowmap.report.origin"
local render = require "flowmap.report.render"
local render_list = require "flowmap.experiment.render_list"
local results = require "flowmap.report.results"
local suite = require "flowmap.experiment"
local tree = require "flowmap.tree"
local verified = require "flowmap.report.verified"

local M = {}

-- ------------------------------------------------------------------ one run

-- Changes that say only that another machine makes other bits.
local function is_numerics(change)
  return change:find "^the numerics changed" or change:find "^trial steps"
end

-- The state of a run and the changes since: "current", "stale", "numerics" or "unknown".
local function state_since(it, now)
  if it.fault then return "unknown", { it.fault } end
  local changes, why = now:changes(it)
  if not changes then return "unknown", { why } end
  local others = {}
  for _, change in ipairs(changes) do
    if not is_numerics(change) then others[#others + 1] = change end
  end
  if #others > 0 then return "stale", others end
  return #changes > 0 and "numerics" or "current", changes
end

-- The same, or "repeated" if the sources changed and, as they are now, gave the same bits again.
local function state_of(it, now, again)
  local state, changes = state_since(it, now)
  if state == "stale" and again then
    local second = setmetatable({ inputs = verified.inputs(again, it.inputs), accepted = false },
      { __index = it })
    if state_since(second, now) ~= "stale" then return "repeated", changes end
  end
  return state, changes
end

-- ------------------------------------------------------------------ runs of one method

local ORDER = { "stale", "unknown", "numerics", "repeated", "alike", "diverged" }
local WORDS = { stale = "out of date", unknown = "not comparable", numerics = "of other numerics",
  repeated = "made again with the same bits", alike = "of the same earlier sources",
  diverged = "diverged" }

--- A group of runs in words: "3 runs, 1 diverged, 2 out of date".
-- @tparam table group
-- @treturn string
function M.words(group)
  local parts = { ("%d run%s"):format(group.count, group.count == 1 and "" or "s") }
  for _, state in ipairs(ORDER) do
    local count = group[state] or 0
    if count > 0 then
      local all = count == group.count
      parts[#parts + 1] = all and WORDS[state] or ("%d %s"):format(count, WORDS[state])
    end
  end
  return table.concat(parts, ", ")
end

--- The worst state among groups: "stale", "unknown", "numerics", "repeated" or "current".
-- @tparam {table,...} groups
-- @treturn string
function M.worst(groups)
  for _, state in ipairs { "stale", "unknown", "numerics", "repeated" } do
    for _, group in ipairs(groups) do
      if (group[state] or 0) > 0 then return state end
    end
  end
  return "current"
end

local function count(group, state) group[state] = (group[state] or 0) + 1 end

-- Count a run whose sources changed since; the reasons are the group's and the chapter's.
local function add_stale(chapter, group, changes)
  count(group, "stale")
  for _, change in ipairs(changes) do
    group.reasons[change], chapter.changes[change] = true, true
  end
end

-- Add the runs whose sources changed since. If others of the group were made again with the same
-- bits, those that no further change concerns are of the same earlier sources.
local function settle(chapter, group)
  local harmless = {}
  for _, changes in ipairs(group.again) do
    for _, change in ipairs(changes) do harmless[change] = true end
  end
  for _, changes in ipairs(group.since) do
    local further = false
    for _, change in ipairs(changes) do further = further or not harmless[change] end
    if further then add_stale(chapter, group, changes) else count(group, "alike") end
  end
  group.again, group.since = nil, nil
end

-- Add a run to its method's group, its sources and changes to the chapter.
local function add_run(chapter, run, diverged, now, kept)
  local method = run:method()
  local group = chapter.by_method[method]
  group.count = group.count + 1
  if diverged then count(group, "diverged") end
  chapter.group_of[run.dir] = group
  local it = look.run(run.dir)
  for key in pairs(it.inputs or {}) do
    local kind = key:match "^(%l+) "
    if kind == "module" or kind == "suite" then chapter.modules[key] = true end
  end
  chapter.data[run:field("config", "data")] = true
  if not now then return end
  local again = kept[run:id()]
  local state, changes = state_of(it, now, again)
  if state == "stale" then
    table.insert(group.since, changes)
    return
  end
  count(group, state)
  if state == "repeated" then
    table.insert(group.again, changes)
    changes = { "made again at " .. again.revision }
  end
  for _, change in ipairs(changes) do group.reasons[change] = true end
end

-- ------------------------------------------------------------------ tables and figures

local function add_entry(chapter, exp, entry, all)
  local ok, set = pcall(origin.runs_of, exp, entry, all)
  local groups, seen = {}, {}
  for _, list in ipairs { ok and set and set.runs or {}, ok and set and set.diverged or {} } do
    for _, run in ipairs(list) do
      local group = chapter.group_of[run.dir]
      if group and not seen[group] then
        seen[group], groups[#groups + 1] = true, group
      end
    end
  end
  chapter.entries[#chapter.entries + 1] = { name = entry.name, groups = groups,
    sort = render_list.writes(entry.kind, exp.figures) == "table" and "table" or "figure" }
end

-- ------------------------------------------------------------------ chapters

-- Changes as a list: those of the suite's modules first, then others that are not new settings.
local function in_order(set)
  local ranked = {}
  for change in pairs(set) do
    local rank = change:find "^flowmap%." and 1 or change:find "changed" and 2 or 3
    ranked[rank .. change] = true
  end
  local list = tree.keys(ranked)
  for k, text in ipairs(list) do list[k] = text:sub(2) end
  return list
end

local function chapter_of(context, exp, now)
  local chapter = { name = exp.name, path = origin.shown(exp.path), groups = {}, by_method = {},
    group_of = {}, entries = {}, modules = {}, data = {}, changes = {},
    title = results.read_file(exp.path):match "^%-%- # ([^\n]+)" or exp.title or exp.name }
  local all = context:set(exp.name)
  local kept = context.published and verified.read(context.published .. "/..") or {}
  for k, method in ipairs(all:traced_methods()) do
    chapter.groups[k] = { method = method, count = 0, reasons = {}, again = {}, since = {} }
    chapter.by_method[method] = chapter.groups[k]
  end
  for _, list in ipairs { all.runs, all.diverged } do
    for _, run in ipairs(list) do add_run(chapter, run, list == all.diverged, now, kept) end
  end
  for _, group in ipairs(chapter.groups) do settle(chapter, group) end
  for _, entry in ipairs(render.entries(exp, all)) do add_entry(chapter, exp, entry, all) end
  chapter.modules = #tree.keys(chapter.modules)
  chapter.data, chapter.changes = tree.keys(chapter.data), in_order(chapter.changes)
  for _, group in ipairs(chapter.groups) do group.reasons = in_order(group.reasons) end
  return chapter
end

--- The chapters that have results, in the book's order.
-- @tparam table how see flowmap.report.context, and `made`: true if all runs are known to be
--   current, since they have just been made
-- @tparam[opt] {string,...} paths of experiments
-- @treturn {table,...} { name =, title =, path =, modules = their number, data = names, groups =
--   { method =, count =, stale =, unknown =, numerics =, repeated =, alike =, diverged = numbers,
--   reasons = }, entries = { name =, sort = "table" or "figure", groups = }, changes = of those out
--   of date }
-- @treturn {string,...} names of chapters without results
function M.chapters(how, paths)
  local now = not how.made and current.new(paths) or nil
  local list, left = {}, {}
  for _, path in ipairs(paths or chapters.experiments()) do
    local exp = suite.load(path)
    local context = contexts.new(exp.name, how, exp.path)
    local ok, chapter = errors.pcall(chapter_of, context, exp, now)
    if ok then
      list[#list + 1] = chapter
    elseif type(chapter) == "table" and (chapter.code == "data" or chapter.code == "usage") then
      left[#left + 1] = exp.name
    else
      error(chapter, 0)
    end
  end
  return list, left
end

return M
