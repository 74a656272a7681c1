--- The published methods in print: their coordinates as a table, and one of them with its equation.
-- @module flowmap.report.coordinates

local curriculum = require "flowmap.curriculum"
local errors = require "flowmap.base.errors"
local escape = require "flowmap.base.escape"
local files = require "flowmap.base.files"
local methods = require "flowmap.methods"
local parts = require "flowmap.experiment.parts"
local residuals = require "flowmap.residuals"
local settings = require "flowmap.experiment.settings"
local tree = require "flowmap.tree"

local M = {}

-- The columns and their widths in text. `p diag` is the exponent on the diagonal. A velocity "w/u"
-- is differentiated along u.
local COLUMNS = { { "method", 13 }, { "family", 10 }, { "velocity", 11 }, { "target", 7 },
  { "stop", 6 }, { "p", 3 }, { "p diag", 6 }, { "c", 4 }, { "eta", 5 }, { "times", 19 },
  { "arXiv", 10 } }

local NONE = "-" -- not read, or the experiment's

local function number(x) return x and ("%.3g"):format(x) or NONE end

-- The names and rows of all methods, checked: what a row lacks would be an error in Lua's words.
local function checked_rows()
  local names, rows = methods.rows()
  for _, name in ipairs(names) do
    parts.check_method("flowmap.methods." .. name)
    for _, key in ipairs { "family", "stops", "title", "cite" } do
      if rows[name][key] == nil then
        errors.usage("lua/flowmap/methods/%s.lua: the field %s is missing", name, key)
      end
    end
  end
  return names, rows
end

-- The cells of a row; a method of an experiment's own may be a function, and cite nothing.
local function cells(name, row)
  if not row.family then
    local out = { name, "own loss" }
    for i = 3, #COLUMNS do out[i] = NONE end
    return out
  end
  local p, stops = row.p or 0, row.stops or residuals.stops[row.family]
  local velocity = row.velocity or "self"
  if row.tangent then velocity = velocity .. "/" .. row.tangent end
  return { name, row.family, velocity, row.target or "current", stops[1], number(p),
    number(row.p_diagonal and p or 0), number(p > 0 and row.c or nil),
    row.both_terms and "both" or number(row.eta),
    row.times or "uniform", (row.cite or ""):match "arXiv (%d+%.%d+)" or NONE }
end

local function line(values)
  local padded = {}
  for i, column in ipairs(COLUMNS) do
    padded[i] = ("%-" .. column[2] .. "s"):format(values[i])
  end
  return (table.concat(padded, " "):gsub(" +$", ""))
end

local function heads()
  local names = {}
  for i, column in ipairs(COLUMNS) do names[i] = column[1] end
  return names
end

--- The table of all methods, as text. "-" under eta stands for the experiment's.
-- @treturn string
function M.table()
  local names, rows = checked_rows()
  local lines = { line(heads()) }
  for _, name in ipairs(names) do lines[#lines + 1] = line(cells(name, rows[name])) end
  return table.concat(lines, "\n")
end

-- ------------------------------------------------------------------ on the page

local CAPTION = "The methods as coordinates. *p* is the exponent off the diagonal, *p diag* on it; "
  .. "a velocity *w*/*u* is differentiated along *u*; – stands for a coordinate that is not read, "
  .. "or, under *eta*, for the experiment's diagonal fraction; *both*: every sample enters both "
  .. "terms."

-- "MeanFlow. Geng et al. 2025, arXiv 2505.13447. Here: ..."
local function about(name, row)
  local text = ("**%s**: %s. %s."):format(escape.markdown(name), escape.markdown(row.title),
    escape.markdown(row.cite))
  if row.differs then text = ("%s Here: %s."):format(text, escape.markdown(row.differs)) end
  return "- " .. text
end

-- The line of a Markdown table; the arXiv number becomes a link.
local function table_line(values)
  local texts = {}
  for i, value in ipairs(values) do
    texts[i] = value == NONE and "–" or escape.markdown(value)
    if COLUMNS[i][1] == "arXiv" and value:find "^%d" then
      texts[i] = ("[%s](https://arxiv.org/abs/%s)"):format(value, value)
    end
  end
  return "| " .. table.concat(texts, " | ") .. " |"
end

--- The same table for the page, with a list of sources and of departures from them.
-- @tparam[opt] table own the experiment's `losses`
-- @treturn string Markdown
function M.markdown(own)
  local names, rows = checked_rows()
  local lines = { table_line(heads()), "|" .. (":--|"):rep(#COLUMNS) }
  for _, name in ipairs(names) do lines[#lines + 1] = table_line(cells(name, rows[name])) end
  for _, name in ipairs(tree.keys(own or {})) do
    local row = type(own[name]) == "table" and own[name] or {}
    lines[#lines + 1] = table_line(cells(name, row))
  end
  lines[#lines + 1] = "\n: " .. CAPTION .. "\n"
  lines[#lines + 1] = "::: sources"
  for _, name in ipairs(names) do lines[#lines + 1] = about(name, rows[name]) end
  lines[#lines + 1] = ":::\n"
  return table.concat(lines, "\n")
end

-- ------------------------------------------------------------------ one method

-- The equation of a row: the comment at the head of its file.
local function equation(name)
  local lines = {}
  local path = package.searchpath("flowmap.methods." .. name, package.path)
  for text in files.read(path):gmatch "([^\n]*)\n" do
    local comment = text:match "^%-%-%-? ?(.*)$"
    if not comment or comment:find "^@module" then break end
    lines[#lines + 1] = comment
  end
  return table.concat(lines, "\n")
end

-- Coordinates that the table has and those that have a line of their own.
local SHOWN = { family = true, title = true, cite = true, differs = true, velocity = true,
  target = true, times = true, p = true, p_diagonal = true, c = true, eta = true, both_terms = true,
  tangent = true, curriculum = true, curriculum_span = true, tangent_warmup = true }

-- The other coordinates that a row states, as "name = value".
local function others(row)
  local words = {}
  for _, key in ipairs(tree.keys(methods.fields)) do
    if row[key] ~= nil and not SHOWN[key] then
      words[#words + 1] = ("%s = %s"):format(key, settings.text(row[key]))
    end
  end
  return #words > 0 and { "also      " .. table.concat(words, ", ") } or {}
end

-- Lines on the coordinates that change during training.
local function changing(row)
  local lines = {}
  if row.curriculum then
    lines[1] = ("changes   %s, %s: %s"):format(row.curriculum,
      settings.text(row.curriculum_span), curriculum.shapes[row.curriculum].words)
  end
  if row.tangent_warmup then
    lines[#lines + 1] = ("warm-up   of the derivative in T, %s of all steps"):format(
      settings.text(row.tangent_warmup))
  end
  return lines
end

--- One method: its equation, citation, coordinates, and departures from the publication.
-- @tparam string name of a row, or of one of its variants
-- @treturn string
function M.describe(name)
  local names, rows = checked_rows()
  local entry = name:lower()
  if not rows[entry] then entry = entry:match "^(.*)%-%w+$" or entry end
  local row = rows[entry]
  if not row then errors.choice("method", name, names) end
  local lines = { row.title, "", equation(entry), "" }
  for i, cell in ipairs(cells(entry, row)) do
    lines[#lines + 1] = ("%-9s %s"):format(COLUMNS[i][1], cell)
  end
  lines[#lines + 1] = ("stops     %s (all: %s)"):format(table.concat(row.stops, ", "),
    table.concat(residuals.stops[row.family], ", "))
  if row.variants then
    lines[#lines + 1] = "variants  " .. table.concat(tree.keys(row.variants), ", ")
  end
  for _, list in ipairs { others(row), changing(row) } do
    table.move(list, 1, #list, #lines + 1, lines)
  end
  lines[#lines + 1] = "source    " .. row.cite
  if row.differs then lines[#lines + 1] = "differs   " .. row.differs end
  return table.concat(lines, "\n")
end

return M
