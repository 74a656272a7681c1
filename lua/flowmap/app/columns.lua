--- Plain tables in columns of a terminal: cells that are too long are wrapped between words, within
-- their column, so that nothing is lost. Cells may come from a file: none steers the terminal.
-- @module flowmap.app.columns

local escape = require "flowmap.base.escape"

local M = {}

local GAP = "  "
local LEAST = 12 -- columns that a wrapped cell has at least

-- Columns that a text takes; every character counts as one.
local function width_of(text) return utf8.len(text) or #text end

-- The lines of a text within a width; a word that is longer is broken.
local function wrapped(text, width)
  local lines, line = {}, ""
  for word in text:gmatch "%S+" do
    if line ~= "" and width_of(line) + 1 + width_of(word) > width then
      lines[#lines + 1], line = line, ""
    end
    line = line == "" and word or line .. " " .. word
    while width_of(line) > width do
      local at = utf8.len(line) and utf8.offset(line, width + 1) or width + 1
      lines[#lines + 1], line = line:sub(1, at - 1), line:sub(at)
    end
  end
  lines[#lines + 1] = line
  return lines
end

-- The width of each column if all cells are on one line; those that may wrap share what is missing.
local function widths_of(rows, wraps, total)
  local widths, sum = {}, 0
  for _, row in ipairs(rows) do
    for k, cell in ipairs(row) do widths[k] = math.max(widths[k] or 0, width_of(cell)) end
  end
  for _, width in ipairs(widths) do sum = sum + width + #GAP end
  local over = sum - #GAP - (total or math.huge)
  while over > 0 do
    local widest
    for k in ipairs(widths) do
      if wraps[k] and (not widest or widths[k] > widths[widest]) then widest = k end
    end
    if not widest or widths[widest] <= LEAST then break end
    widths[widest], over = widths[widest] - 1, over - 1
  end
  return widths
end

local function padded(text, width, right)
  local space = (" "):rep(width - width_of(text))
  return right and space .. text or text .. space
end

--- The text of a table.
-- @tparam {table,...} rows lists of texts; the first one holds the heads
-- @tparam table how { right = columns that are aligned at the right, wraps = columns that may wrap:
--   column -> true, total = columns of the terminal; nil: no limit }
-- @treturn string lines with newlines
function M.text(rows, how)
  local lines, out = {}, {}
  for i, row in ipairs(rows) do
    lines[i] = {}
    for k, cell in ipairs(row) do lines[i][k] = escape.line(cell) end
  end
  local widths = widths_of(lines, how.wraps, how.total)
  for _, row in ipairs(lines) do
    local cells, height = {}, 1
    for k, cell in ipairs(row) do
      cells[k] = wrapped(cell, widths[k])
      height = math.max(height, #cells[k])
    end
    for i = 1, height do
      local parts = {}
      for k in ipairs(row) do parts[k] = padded(cells[k][i] or "", widths[k], how.right[k]) end
      out[#out + 1] = table.concat(parts, GAP):gsub("%s+$", "") .. "\n"
    end
  end
  return table.concat(out)
end

return M
