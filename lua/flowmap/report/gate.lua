--- What `make regress` catches, in print: the planted faults with the tier at which each was
-- caught, and the repeats of unchanged code. Both tables are written by the commands they name.
-- @module flowmap.report.gate

local csv = require "flowmap.report.csv"
local escape = require "flowmap.base.escape"
local files = require "flowmap.base.files"

local M = {}

local FAULTS, CLEAN = "tests/regression/mutations/table.csv", "tests/regression/clean.csv"

-- The rows of a CSV file of the suite; nil if there is no such file, as in an installed copy.
local function rows_of(path)
  local text = files.read_if_there(files.installed(path))
  return text and csv.rows(text)
end

-- "plane/lsd +2.0 % (-6.7 to +11.4 %)", from the sentence of the gate.
local function change(text)
  local name, by, interval = text:match "^(%S+): .- changed by (%S+ %%) %(95 %% interval ([^,]+),"
  return name and ("%s %s (%s)"):format(name, by, interval) or "–"
end

-- The difference by which a fault was noticed first.
local function first(text)
  return text ~= "" and text:gsub(" on %w+: other bits; the ", ", ") or "–"
end

local CAPTION = "Faults planted in the sources, one at a time, and the tier of `make regress` "
  .. "that fails: 2 compares the first steps, 3 the distance to the data. The last column is the "
  .. "largest change of that distance, with its 95 % interval."

local ORIGIN = "Table of faults. Command: `make regress-mutations`. Data: " .. FAULTS
  .. ". Script: lua/flowmap/report/gate.lua."

local function faults(rows)
  local lines = { ":::::: {#tab:gate:faults}",
    "| fault | caught by | other bits in | first difference | distance to the data |",
    "|:--|:--|:--|:--|:--|" }
  for _, row in ipairs(rows) do
    local cells = { row.fault, row["caught by"], row["cases with other bits"] .. " cases",
      first(row.first), change(row.quality) }
    for i, cell in ipairs(cells) do cells[i] = escape.markdown(cell) end
    lines[#lines + 1] = "| " .. table.concat(cells, " | ") .. " |"
  end
  lines[#lines + 1] = ("\n: %s\n::::::\n\n::: origin\n%s\n:::\n"):format(CAPTION, ORIGIN)
  return table.concat(lines, "\n")
end

-- How often unchanged code was judged by each study, and with how many alarms.
local function clean(rows)
  local seen, alarms, studies, counts = {}, 0, {}, {}
  local function is_new(name)
    local new = not seen[name]
    seen[name] = true
    return new
  end
  for _, row in ipairs(rows) do
    local study = row.study
    if not counts[study] then studies[#studies + 1], counts[study] = study, 0 end
    local name = study .. " " .. row["repeat"]
    if is_new(name) then counts[study] = counts[study] + 1 end
    if row.alarm == "yes" and is_new("alarm " .. name) then alarms = alarms + 1 end
  end
  table.sort(studies)
  for i, study in ipairs(studies) do
    studies[i] = ("%s %d times"):format(escape.markdown(study), counts[study])
  end
  return ("Trainings of unchanged code with new seeds (`make regress-clean`) were judged, too: %s. "
    .. "Of these judgements, %d raised an alarm."):format(table.concat(studies, ", "), alarms)
end

--- The table of faults and the sentence about unchanged code.
-- @treturn string Markdown
function M.text()
  local planted, repeats = rows_of(FAULTS), rows_of(CLEAN)
  if not (planted and repeats) then
    return "\nThis copy is without the tests, which hold the table of planted faults.\n"
  end
  return ("\n%s\n%s\n"):format(faults(planted), clean(repeats))
end

return M
