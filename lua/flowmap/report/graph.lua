--- The graph of what the book is made from, as SVG: sources, runs by method, tables and figures,
-- chapters. States stand as words in the boxes, and borders differ, so that it can be read without
-- colours. Nothing in it depends on the clock or the machine.
-- @module flowmap.report.graph

local escape = require "flowmap.base.escape"
local lineage = require "flowmap.report.lineage"

local M = {}

-- Pixels: left ends and width of the columns of boxes; heights.
local COLUMNS, WIDTH = { 0, 250, 500, 750 }, 190
local TOTAL, ROW, GAP, HEAD = COLUMNS[4] + WIDTH, 34, 8, 30
local LETTERS = 26        -- of a line in a box
local MOST_CHANGES = 4    -- boxes of changes; the rest is a number

local STYLE = [[
text { font: 12px "DejaVu Sans", sans-serif; fill: #1a1c20; }
.head { font-weight: bold; font-size: 13px; }
.second { fill: #4a505b; font-size: 11px; }
rect { fill: #f2f4f7; stroke: #5c6370; }
.stale rect { fill: #fdebd7; stroke: #9a4a00; stroke-width: 2; stroke-dasharray: 6 3; }
.unknown rect, .numerics rect { fill: #ffffff; stroke-dasharray: 2 2; }
path { fill: none; stroke: #8b93a1; }
path.stale { stroke: #9a4a00; stroke-dasharray: 6 3; }
@media (prefers-color-scheme: dark) {
  text { fill: #e8eaee; } .second { fill: #b3bac6; } rect { fill: #23272e; stroke: #8b93a1; }
  .stale rect { fill: #46300f; stroke: #f0a95a; } .unknown rect, .numerics rect { fill: #14161a; }
  path { stroke: #717988; } path.stale { stroke: #f0a95a; }
}
@media print { text { fill: #000000; } }
]]

local Drawing = {}
Drawing.__index = Drawing

function Drawing:add(...) self.parts[#self.parts + 1] = string.format(...) end

-- A box of one or two lines in a column; its top moves the column down.
function Drawing:box(column, state, first, second, about)
  local x, y = COLUMNS[column], self.tops[column]
  self.tops[column] = y + ROW + GAP
  self:add('<g class="%s"><title>%s</title><rect x="%d.5" y="%d.5" width="%d" height="%d" rx="4"/>',
    state, escape.html(about), x, y, WIDTH - 1, ROW - 1)
  self:add('<text x="%d" y="%d">%s</text>', x + 8, y + (second and 14 or 21),
    escape.html(escape.short(first, LETTERS)))
  if second then
    self:add('<text class="second" x="%d" y="%d">%s</text>', x + 8, y + 28,
      escape.html(escape.short(second, LETTERS + 2)))
  end
  self:add "</g>"
  return { left = x, right = x + WIDTH, middle = y + ROW // 2, state = state }
end

-- Lines between boxes, drawn behind them.
function Drawing:edge(from, to, state)
  local half = (from.right + to.left) // 2
  self.edges[#self.edges + 1] = ('<path class="%s" d="M%d %dC%d %d %d %d %d %d"/>'):format(state,
    from.right, from.middle, half, from.middle, half, to.middle, to.left, to.middle)
end

-- ------------------------------------------------------------------ one chapter

local WORDS = { stale = "out of date", unknown = "not comparable", numerics = "of other numerics",
  repeated = "bits spot-checked", current = "up to date" }

local function plural(number, word) return ("%d %s%s"):format(number, word, number == 1 and ""
  or "s") end

-- The boxes of sources; those of changes are the ones that make runs out of date.
local function add_sources(drawing, chapter)
  local list = { drawing:box(1, "current", chapter.path:match "[^/]+$", "experiment", chapter.path),
    drawing:box(1, "current", plural(chapter.modules, "module"), "of the suite", "modules") }
  for _, name in ipairs(chapter.data) do
    list[#list + 1] = drawing:box(1, "current", name, "data", name)
  end
  for k, change in ipairs(chapter.changes) do
    local rest = #chapter.changes - k + 1
    local more = k == MOST_CHANGES and rest > 1
    list[#list + 1] = drawing:box(1, "stale", more and plural(rest, "further change")
      or change:gsub("^flowmap%.", ""),
      "why out of date", more and table.concat(chapter.changes, "; ", k) or change)
    if more then break end
  end
  return list
end

local function reasons(group)
  return #group.reasons > 0 and ": " .. table.concat(group.reasons, "; ") or ""
end

-- Draw a chapter below `top`; returns its height.
local function add_chapter(drawing, chapter, top)
  drawing:add('<text class="head" x="0" y="%d">%s</text>', top + 16,
    escape.html(escape.short(chapter.title, 100)))
  for k = 1, #COLUMNS do drawing.tops[k] = top + HEAD end
  local sources, boxes = add_sources(drawing, chapter), {}
  for _, group in ipairs(chapter.groups) do
    local state, words = lineage.worst { group }, lineage.words(group)
    local box = drawing:box(2, state, group.method, words, group.method .. ", " .. words
      .. reasons(group))
    boxes[group] = box
    for _, source in ipairs(sources) do
      local stale = source.state == "stale"
      if not stale or state == "stale" then drawing:edge(source, box, source.state) end
    end
  end
  local shown = {}
  for k, entry in ipairs(chapter.entries) do
    local state = lineage.worst(entry.groups)
    shown[k] = drawing:box(3, state, entry.name, ("%s, %s"):format(entry.sort, #entry.groups > 0
      and WORDS[state] or "shows no runs"), entry.sort .. " " .. entry.name)
    for _, group in ipairs(entry.groups) do
      drawing:edge(boxes[group], shown[k], boxes[group].state)
    end
  end
  local state = lineage.worst(chapter.groups)
  local last = drawing:box(4, state, chapter.name, "chapter, " .. WORDS[state], chapter.title)
  for _, box in ipairs(shown) do drawing:edge(box, last, box.state) end
  return math.max(table.unpack(drawing.tops)) - top
end

-- ------------------------------------------------------------------ the picture

local KINDS = { "sources", "runs by method", "tables and figures", "chapter" }

--- The graph of chapters as SVG.
-- @tparam {table,...} list see flowmap.report.lineage
-- @treturn string
function M.svg(list)
  local drawing = setmetatable({ parts = {}, edges = {}, tops = {} }, Drawing)
  for k, kind in ipairs(KINDS) do
    drawing:add('<text class="second" x="%d" y="14">%s</text>', COLUMNS[k], kind)
  end
  local top = 24
  for _, chapter in ipairs(list) do top = top + add_chapter(drawing, chapter, top) + GAP end
  return table.concat({ ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="-4 -4 %d %d" width="%d" '
    .. 'height="%d" role="img"><title>What the book is made from</title><style>%s</style>'):format(
    TOTAL + 8, top + 8, TOTAL + 8, top + 8, STYLE), table.concat(drawing.edges, "\n"),
    table.concat(drawing.parts, "\n"), "</svg>\n" }, "\n")
end

-- ------------------------------------------------------------------ as a table

-- The state of a chapter with the first reason.
local function state_text(chapter)
  local state, why = lineage.worst(chapter.groups), chapter.changes
  for _, group in ipairs(#why == 0 and state ~= "current" and chapter.groups or {}) do
    if #group.reasons > 0 then why = group.reasons end
  end
  if #why == 0 then return WORDS[state] end
  local more = #why > 1 and (" and %d more"):format(#why - 1) or ""
  return ("%s: %s%s"):format(WORDS[state], why[1], more)
end

--- The contents of `svg` as rows of texts: chapter, runs, tables and figures, state and reason.
-- @tparam {table,...} list
-- @treturn {table,...} rows of four texts
function M.rows(list)
  local rows = {}
  for k, chapter in ipairs(list) do
    local runs, names = {}, {}
    for i, group in ipairs(chapter.groups) do
      runs[i] = ("%s: %s"):format(group.method, lineage.words(group))
    end
    for i, entry in ipairs(chapter.entries) do names[i] = entry.name end
    rows[k] = { chapter.name, table.concat(runs, "; "), table.concat(names, ", "),
      state_text(chapter) }
  end
  return rows
end

local function line(...)
  local cells = { ... }
  for k, cell in ipairs(cells) do cells[k] = escape.csv(cell) end
  return table.concat(cells, ",")
end

--- The contents of `svg` as CSV, one line per box.
-- @tparam {table,...} list
-- @treturn string
function M.csv(list)
  local lines = { "chapter,kind,name,state,details" }
  for _, chapter in ipairs(list) do
    local function add(...) lines[#lines + 1] = line(chapter.name, ...) end
    add("source", chapter.path, "current", plural(chapter.modules, "module") .. " of the suite")
    for _, name in ipairs(chapter.data) do add("data", name, "current", "") end
    for _, change in ipairs(chapter.changes) do add("change", change, "stale", "") end
    for _, group in ipairs(chapter.groups) do
      add("runs", group.method, lineage.worst { group }, lineage.words(group) .. reasons(group))
    end
    for _, entry in ipairs(chapter.entries) do
      local methods = {}
      for k, group in ipairs(entry.groups) do methods[k] = group.method end
      add(entry.sort, entry.name, lineage.worst(entry.groups), table.concat(methods, " "))
    end
  end
  return table.concat(lines, "\n") .. "\n"
end

--- The heads of `rows`.
M.heads = { "chapter", "runs by method", "tables and figures", "state" }

return M
