--- Tables that the book makes while it is woven, beside those that experiments render: each with
-- its values as a CSV file in the page's folder, and a note on how it was made.
-- @module flowmap.report.insert_table

local captions = require "flowmap.report.caption"
local escape = require "flowmap.base.escape"
local results = require "flowmap.report.results"
local tables = require "flowmap.report.table"

local M = {}

-- The text of a cell in a CSV file.
local function plain(cell)
  if type(cell) == "table" then cell = cell.text or cell.mean or cell.lost or "" end
  return type(cell) == "number" and ("%.9g"):format(cell) or tostring(cell or "")
end

-- Whether a column of the table has an interval.
local function has_interval(t, k)
  for _, row in ipairs(t.rows) do
    if type(row.cells[k]) == "table" and row.cells[k].half then return true end
  end
  return false
end

--- A table as it stands on the page, one line per row; of means also half of their intervals.
-- @tparam table t a description, see flowmap.report.table
-- @treturn string CSV
function M.csv(t)
  local names, lines = {}, { escape.csv_comment(t.title) }
  for _, name in ipairs(t.heads) do names[#names + 1] = escape.csv(name) end
  local with = {}
  for k, name in ipairs(t.columns) do
    with[k] = has_interval(t, k)
    names[#names + 1] = escape.csv(name)
    names[#names + 1] = with[k] and escape.csv(name .. ", half of the 95 % interval") or nil
  end
  lines[2] = table.concat(names, ",")
  for _, row in ipairs(t.rows) do
    local fields = {}
    for i, head in ipairs(row.heads) do fields[i] = escape.csv(head) end
    for k = 1, #t.columns do
      local cell = row.cells[k]
      fields[#fields + 1] = escape.csv(plain(cell))
      local half = type(cell) == "table" and cell.half and ("%.9g"):format(cell.half) or ""
      fields[#fields + 1] = with[k] and half or nil
    end
    lines[#lines + 1] = table.concat(fields, ",")
  end
  return table.concat(lines, "\n") .. "\n"
end

--- The block of a table.
-- @tparam Context context see flowmap.report.context
-- @tparam string chapter "reproduction"; with the name it identifies the table
-- @tparam string name "values-cifar10"
-- @tparam table t a description
-- @tparam string script the file that makes it
-- @treturn string Markdown
function M.block(context, chapter, name, t, script)
  local file = ("%s-%s.csv"):format(chapter, name)
  results.write_file(context.output .. "/" .. file, M.csv(t))
  local command = context.published and "--results " .. context.published
    or "--profile " .. context.profile
  return ([[

:::::: {#tab:%s:%s}
%s
::::::

::: origin
Table %s. Command: `./flowmap paper %s`. Data: [%s](<%s>). Script: %s.
:::
]]):format(chapter, name, captions.made(tables.markdown(t)), escape.markdown(name),
    (command:gsub("[`%c]", " ")), escape.markdown(file), file, escape.markdown(script))
end

return M
