--- Reading the comma-separated files of results, as flowmap.base.escape writes them: a field with
-- a comma or a quotation mark stands in quotation marks, with those inside doubled; no field holds
-- a line end. Lines that begin with # are comments.
-- @module flowmap.report.csv

local M = {}

-- The quoted field that begins at `at`, and the position behind it.
local function quoted(line, at)
  local last = at
  repeat
    last = line:find('"', last + 1, true) or #line + 1
    local doubled = line:sub(last + 1, last + 1) == '"'
    if doubled then last = last + 1 end
  until not doubled
  return line:sub(at + 1, last - 1):gsub('""', '"'), last + 1
end

local function fields(line)
  local list, at = {}, 1
  while at <= #line + 1 do
    local past
    if line:sub(at, at) == '"' then
      local text
      text, past = quoted(line, at)
      list[#list + 1] = text
    else
      past = line:find(",", at, true) or #line + 1
      list[#list + 1] = line:sub(at, past - 1)
    end
    at = past + 1
  end
  return list
end

--- The rows of a file, each with its fields by the names of the head.
-- @tparam string text
-- @treturn {table,...}
function M.rows(text)
  local names, rows = nil, {}
  for line in text:gmatch "[^\r\n]+" do
    local values = line:sub(1, 1) ~= "#" and fields(line)
    if values and names then
      local row = {}
      for i, name in ipairs(names) do row[name] = values[i] end
      rows[#rows + 1] = row
    end
    names = names or values or nil
  end
  return rows
end

return M
