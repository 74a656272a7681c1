--- The published methods in print: their coordinates as a table, and one of them with its equation.
-- @module flowmap.report.coordinates

local errors = require "flowmap.base.errors"
local files = require "flowmap.base.files"
local methods = require "flowmap.methods"
local residuals = require "flowmap.residuals"
local tree = require "flowmap.tree"

local M = {}

local COLUMNS = { { "method", 13 }, { "family", 11 }, { "velocity", 9 }, { "target", 8 },
  { "stop", 7 }, { "p", 4 }, { "c", 5 }, { "eta", 5 }, { "times", 20 } }

local function number(x) return x and ("%.3g"):format(x) or "-" end

local function cells(name, row)
  local p = row.p or 0
  return { name, row.family, row.velocity or "self", row.target or "current", row.stops[1],
    number(p), number(p > 0 and row.c or nil), number(row.eta), row.times or "uniform" }
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
  local names, rows = methods.rows()
  local lines = { line(heads()) }
  for _, name in ipairs(names) do lines[#lines + 1] = line(cells(name, rows[name])) end
  return table.concat(lines, "\n")
end

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

--- One method: its equation, citation, coordinates, and departures from the publication.
-- @tparam string name of a row, or of one of its variants
-- @treturn string
function M.describe(name)
  local names, rows = methods.rows()
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
  lines[#lines + 1] = "source    " .. row.cite
  if row.differs then lines[#lines + 1] = "differs   " .. row.differs end
  return table.concat(lines, "\n")
end

return M
