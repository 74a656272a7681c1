--- Weaving README.md and RESULTS.md: pages that are read as plain Markdown, whose measured numbers
-- come from the committed results all the same. A woven part is a template in a comment, followed
-- by what it gives:
--
--     <!-- woven from paper/results/long
--     LSD reaches {{checkerboard/kl.LSD.N1 pm %.3f}}.
--     -->
--     LSD reaches 0.139 ± 0.018.
--     <!-- woven -->
--
-- `make readme` writes the second half of each part again from the first. In a template stands the
-- notation of flowmap.report.weave, for the published sets in the given folder, and
--
--     {{cells checkerboard/kl.LSD 1,2,4 pm %.3f}}   cells of a table: values at several N
--     {{seeds checkerboard}}                        the seeds of a set: 11, 12 and 13; 11 to 20
--     {{planned checkerboard}}                      how many seeds the profile has
--     {{csv FILE KEY=VALUE,... FIELD,... %.2f}}     fields of the matching rows of a CSV file, as
--                                                   cells; blanks in a value are written "_"
--     {{json FILES FIELD %.1f}}                     a field of JSON files that share it (`*` stands
--                                                   for any text), or the range "37 to 52"
--
-- `csv` and `json` multiply a number before they print it by a format: times=100 %.1f. FILE is
-- relative to the folder.
-- @module flowmap.report.readme

local claims = require "flowmap.report.claims"
local contexts = require "flowmap.report.context"
local csv = require "flowmap.report.csv"
local errors = require "flowmap.base.errors"
local files = require "flowmap.base.files"
local json = require "flowmap.base.json"
local results = require "flowmap.report.results"
local suite = require "flowmap.experiment"
local tree = require "flowmap.tree"
local weave = require "flowmap.report.weave"

local M = {}

--- The pages.
M.pages = { "README.md", "RESULTS.md" }

-- ------------------------------------------------------------------ files of results

local function joined(list)
  if #list < 2 then return list[1] or "" end
  return table.concat(list, ", ", 1, #list - 1) .. " and " .. list[#list]
end

-- "times=100 %.1f" -> 100, "%.1f"
local function scaled(words)
  local times, format = words:match "times=(%S+)", words:match "%%%S+"
  return tonumber(times) or 1, format
end

local function csv_cells(folder, words)
  local file, where, field, rest = words:match "^(%S+)%s+(%S+)%s+(%S+)%s*(.*)$"
  if not file then errors.data("csv: expected FILE KEY=VALUE FIELD, found '%s'", words) end
  local path, cells, times, format = folder .. "/" .. file, {}, scaled(rest)
  for _, row in ipairs(csv.rows(results.read_file(path))) do
    local is = true
    for key, value in where:gmatch "([^=,]+)=([^,]+)" do
      is = is and (row[key] or ""):gsub("[ ,]+", "_") == value
    end
    for name in (is and field or ""):gmatch "[^,]+" do
      local value = row[name] or errors.data("%s has no column '%s'", path, name)
      local number = tonumber(value)
      cells[#cells + 1] = number and format and weave.number(number * times, format) or value
    end
  end
  if #cells == 0 then errors.data("%s has no row with %s", path, where) end
  return table.concat(cells, " | ")
end

local function matching(folder, name)
  local pattern, list = "^" .. name:gsub("%p", "%%%0"):gsub("%%%*", ".*") .. "$", {}
  for _, file in ipairs(files.below(folder)) do
    if file:find(pattern) then list[#list + 1] = folder .. "/" .. file end
  end
  return #list > 0 and list or errors.data("there is no file %s/%s", folder, name)
end

local function json_text(folder, words)
  local name, field, rest = words:match "^(%S+)%s+(%S+)%s*(.*)$"
  if not name then errors.data("json: expected FILE FIELD, found '%s'", words) end
  local times, format = scaled(rest)
  local low, high = math.huge, -math.huge
  for _, path in ipairs(matching(folder, name)) do
    local value = json.decode(results.read_file(path))
    for key in field:gmatch "[^.]+" do value = type(value) == "table" and value[key] or nil end
    if type(value) ~= "number" then errors.data("%s has no number '%s'", path, field) end
    low, high = math.min(low, value * times), math.max(high, value * times)
  end
  low, high = weave.number(low, format), weave.number(high, format)
  return low == high and low or low .. " to " .. high
end

-- ------------------------------------------------------------------ sets and plans

local function cells(context, words)
  local name, steps, rest = words:match "^(%S+)%s+([%d,]+)%s*(.*)$"
  if not name then
    errors.data("cells: expected EXPERIMENT/METRIC.METHOD 1,2,..., found '%s'", words)
  end
  local list = {}
  for N in steps:gmatch "%d+" do
    list[#list + 1] = weave.inline(context, ("%s.N%s %s"):format(name, N, rest))
  end
  return table.concat(list, " | ")
end

local function seeds(context, name)
  local seen = {}
  for _, run in ipairs(context:set(name).runs) do seen[run:field("config", "seed")] = true end
  local list = tree.keys(seen)
  if #list > 3 and list[#list] - list[1] == #list - 1 then
    return ("%d to %d"):format(list[1], list[#list])
  end
  return joined(list)
end

local function planned(context, name)
  local profile = context:set(name).runs[1]:field("config", "profile")
  return tostring(#suite.seeds(context:experiment_of(name), profile))
end

-- ------------------------------------------------------------------ weaving

local KINDS = {
  cells = cells, seeds = seeds, planned = planned,
  csv = function(context, words) return csv_cells(context.published, words) end,
  json = function(context, words) return json_text(context.published, words) end,
}

-- Fill in a template; errors name the page and the lookup.
local function fill(page, folder, template)
  local context = contexts.new(nil, { published = folder }, page)
  context.claims = claims.list(template)
  return (template:gsub("{{(.-)}}", function(inside)
    local kind, words = inside:match "^%s*(%S+)%s*(.-)%s*$"
    local ok, text = pcall(KINDS[kind] or weave.inline, context, KINDS[kind] and words or inside)
    if not ok then errors.data("%s: {{%s}}: %s", page, inside, tostring(text)) end
    return text
  end))
end

local WIDTH = 100

-- Paragraphs and list items in lines of at most WIDTH columns.
local function wrapped(text)
  local lines, line, indent = {}, "", ""
  local function close()
    if line ~= "" then lines[#lines + 1] = line end
    line = ""
  end
  for source in (text .. "\n"):gmatch "([^\n]*)\n" do
    local item = source:find "^[-*] "
    if item or source == "" then
      close()
      indent = item and "  " or ""
      if source == "" then lines[#lines + 1] = "" end
    end
    for word in source:gmatch "%S+" do
      if line ~= "" and utf8.len(line) + 1 + utf8.len(word) > WIDTH then
        close()
        line = indent .. word
      else
        line = line == "" and word or line .. " " .. word
      end
    end
  end
  close()
  return table.concat(lines, "\n")
end

--- Weave a page.
-- @tparam string page its name, for errors
-- @tparam string text
-- @treturn string the text with all woven parts made from the results
function M.woven(page, text)
  local opened = select(2, text:gsub("<!%-%- woven from ", ""))
  local closed = select(2, text:gsub("\n<!%-%- woven %-%->", ""))
  if opened ~= closed then
    errors.data("%s: %d woven parts begin, %d end", page, opened, closed)
  end
  return (text:gsub("(<!%-%- woven from (%S+)\n(.-)\n%-%->\n).-(<!%-%- woven %-%->)",
    function(head, folder, template, tail)
      local made = fill(page, folder, template)
      return head .. (made:find "^|" and made or wrapped(made)) .. "\n" .. tail
    end))
end

--- Weave the pages of the current folder, or check that they are as woven.
-- @tparam ?boolean check nothing is written
-- @treturn {string,...} the pages that differ from what the results give
function M.run(check)
  local differ = {}
  for _, page in ipairs(M.pages) do
    local text = results.read_file(page)
    local made = M.woven(page, text)
    if made ~= text then
      differ[#differ + 1] = page
      if not check then results.write_file(page, made) end
    end
  end
  return differ
end

return M
