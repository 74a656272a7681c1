--- Parts of the book that are made while it is woven, each from the one place where its content
-- lives. In prose, on a line of their own unless stated otherwise:
--
--     {{reproduction values cifar10}}     see flowmap.report.reproduction
--     {{checklist}} {{checklist runs}} {{dates}}     see flowmap.report.checklist
--     {{gate}}                            see flowmap.report.gate
--     {{endurance}}                       see flowmap.report.endurance
--     {{glossary}} {{citation}}           see flowmap.report.document
--     {{source lua/flowmap/residuals.lua M.lagrangian}}   the source text of one function
--     {{source lua/flowmap/methods/lsd.lua return}}       the table that a file returns
--     {{scaling}}                         see flowmap.report.scaling
--     {{graph}}                           see flowmap.report.graph
--     {{see devices}}                     inline: a link to another chapter; its title alone where
--                                         that chapter is not woven, for want of results
-- @module flowmap.report.inserts

local attempt = require "flowmap.report.attempt"
local checklist = require "flowmap.report.checklist"
local document = require "flowmap.report.document"
local errors = require "flowmap.base.errors"
local escape = require "flowmap.base.escape"
local files = require "flowmap.base.files"
local graph = require "flowmap.report.graph"
local lineage = require "flowmap.report.lineage"
local origin = require "flowmap.report.origin"
local results = require "flowmap.report.results"

local M = {}

-- ------------------------------------------------------------------ source text

-- Whether a line starts the function NAME, or `return {`.
local function starts(line, name)
  if name == "return" then return line:find "^return {" ~= nil end
  local found = line:match "^local function ([%w_]+)%(" or line:match "^function ([%w_.:]+)%("
  return found == name
end

--- The lines of one function of a Lua file, from `function` to its `end`, or of the table that the
-- file returns. Both end at the first line without indentation.
-- @tparam string path of the suite, e.g. "lua/flowmap/residuals.lua"
-- @tparam string name "M.lagrangian", of a local function its name, or "return"
-- @treturn string
function M.source(path, name)
  local lines
  for line in (results.read_file(files.installed(path)) .. "\n"):gmatch "([^\n]*)\n" do
    if lines then
      lines[#lines + 1] = line
      if line:find "^[end}]" then return table.concat(lines, "\n") end
    elseif starts(line, name) then
      lines = { line }
      if line:find "%f[%w]end$" or line:find "}$" then return line end
    end
  end
  errors.data("%s has no function '%s'", path, name)
end

local function source(_, words)
  local path, name = words:match "^(%S+)%s+(%S+)$"
  if not path then errors.data("source: expected a file and a name, found '%s'", words) end
  return ("\n```{.lua}\n%s\n```\n"):format(M.source(path, name))
end

-- ------------------------------------------------------------------ links to chapters

--- The identifier that pandoc gives to a heading.
-- @tparam string heading
-- @treturn string
function M.identifier(heading)
  local text = heading:lower():gsub("[^%w%s_.-]", ""):gsub("%s+", "-")
  return (text:gsub("^[^%a]+", ""))
end

local function see(context, name)
  local path = attempt.experiment(name).path
  local heading = results.read_file(path):match "^%-%- # ([^\n]+)"
  if not heading then errors.data("%s does not begin with a heading", path) end
  local text = escape.markdown(heading)
  if not attempt.runs(context, name) then return ("*%s* (not part of this set)"):format(text) end
  return ("[%s](#%s)"):format(text, M.identifier(heading))
end

-- ------------------------------------------------------------------ the graph

-- Where the graph or its table comes from.
local function graph_origin(context, what, chapter, data)
  local from = context.published and "--results " .. origin.shown(context.published)
    or "--profile " .. tostring(context.profile)
  return ("\n::: origin\n%s. Command: `./flowmap graph %s%s`. Data: [%s](<%s>). Script: "
    .. "lua/flowmap/report/graph.lua. Runs: their manifests alone are read. Cost: none.\n:::\n")
    :format(escape.markdown(what), chapter and chapter.path .. " " or "", from,
    escape.markdown(data), data)
end

local function graph_table(context, list)
  local out = { "\n:::::: {#tab:graph:chapters}\n",
    "| " .. table.concat(graph.heads, " | ") .. " |", "|:---|:-----|:----|:----|" }
  for _, row in ipairs(graph.rows(list)) do
    for k, text in ipairs(row) do row[k] = escape.markdown(text) end
    out[#out + 1] = "| " .. table.concat(row, " | ") .. " |"
  end
  out[#out + 1] = "\n: Chapters with results: their runs, what shows them, and whether they are up"
    .. " to date.\n::::::"
  return ("%s\n%s"):format(table.concat(out, "\n"), graph_origin(context, "Table chapters", nil,
    "graph.csv"))
end

-- A table of all chapters and, on the page, one picture per chapter.
local function graph_of(context)
  local list, left = lineage.chapters { profile = context.profile, results = context.base,
    published = context.published, output = context.output, sets = context.sets,
    made = context.made }
  local out = { graph_table(context, list) }
  results.write_file(context.output .. "/graph.csv", graph.csv(list))
  if #left > 0 then
    out[2] = "\nWithout results: " .. escape.markdown(table.concat(left, ", ")) .. "."
  end
  out[#out + 1] = "\n:::::::: graphs"
  for _, chapter in ipairs(list) do
    local name = escape.filename(chapter.name)
    local path = ("%s/graph-%s.svg"):format(context.output, name)
    results.write_file(path, graph.svg { chapter })
    results.write_file(path:gsub("svg$", "csv"), graph.csv { chapter })
    out[#out + 1] = ("\n![What the chapter '%s' is made from. A broken border marks what is out of "
      .. "date or cannot be compared.](<%s>){#fig:graph:%s}\n%s"):format(
      escape.markdown(chapter.title), path, name, graph_origin(context, "Figure graph-" .. name,
      chapter, ("graph-%s.csv"):format(name)))
  end
  out[#out + 1] = "::::::::"
  return table.concat(out, "\n") .. "\n"
end

-- ------------------------------------------------------------------ all inserts

--- The inserts by name: function(context, words) -> Markdown.
M.known = {
  graph = graph_of,
  scaling = require("flowmap.report.scaling").text,
  source = source,
  see = see,
  reproduction = require("flowmap.report.reproduction").text,
  checklist = checklist.text,
  dates = checklist.dates,
  glossary = document.glossary,
  citation = document.citation,
  gate = require("flowmap.report.gate").text,
  endurance = require("flowmap.report.endurance").text,
}

return M
