--- Load a table of numbers, one point per line, from a text file.
--
--     experiment.data = fm.load_csv "points.csv"
--     local x = fm.load_csv("points.csv", { columns = { "x", "y" } })
--
-- Fields are separated by commas, semicolons, tabs or blanks, whichever the first line has, in that
-- order; they may be quoted. Numbers are decimal, with a point. A first line without any number
-- holds the names of the columns; of one that might be a damaged point, `header` says what it is.
-- Empty lines, and lines that begin with #, are skipped. Errors name file, line and field.
-- @module flowmap.load_csv

local fm = require "flowmap"
local errors = require "flowmap.base.errors"
local files = require "flowmap.base.files"
local points = require "flowmap.points"
local texts = require "flowmap.base.text"

local OPTIONS = { "columns", "header", "separator" }
local MOST_COLUMNS, LONGEST_LINE = 4096, 1 << 20
local LARGEST = 3.4028234663852886e38 -- of float32
local SEPARATORS = { ",", ";", "\t" }

local function shown(text) return texts.line(text, 40) end

-- ------------------------------------------------------------------ fields

-- The fields of a line in which some may be quoted; "" inside quotes is a quote. Blanks around
-- quotes belong to no field, unless they separate fields.
local function quoted_fields(line, separator, where)
  local fields, at, blank = {}, 1, separator == " "
  local pad = blank and "" or separator == "\t" and "[^%S\t]*" or "%s*"
  if blank then line = line:match "^%s*(.-)%s*$" end
  repeat
    local field
    local from = line:match("^" .. pad .. '"()', at)
    if from then
      local stop = from
      repeat
        stop = line:find('"', stop, true)
        if not stop then errors.data("%s: a quote is not closed", where) end
        local doubled = line:byte(stop + 1) == 34
        stop = stop + (doubled and 2 or 1)
      until not doubled
      field = line:sub(from, stop - 2):gsub('""', '"')
      at = line:match("^" .. pad .. "()", stop)
    else
      local stop = line:find(blank and "%s" or separator, at, not blank) or #line + 1
      field, at = line:sub(at, stop - 1), stop
    end
    fields[#fields + 1] = field
    if at <= #line and not line:find(blank and "^%s" or "^%" .. separator, at) then
      errors.data("%s:%d: there is text behind a quoted field", where, #fields)
    end
    at = blank and line:match("^%s*()", at) or at + 1
  until at > #line + (blank and 0 or 1)
  return fields
end

-- The fields of a line, without blanks around them.
local function fields_of(line, separator, where)
  local fields = {}
  if line:find('"', 1, true) then
    fields = quoted_fields(line, separator, where)
  elseif separator == " " then
    for field in line:gmatch "%S+" do fields[#fields + 1] = field end
  else
    for field in (line .. separator):gmatch("([^" .. separator .. "]*)" .. separator) do
      fields[#fields + 1] = field
    end
  end
  for k, field in ipairs(fields) do fields[k] = field:match "^%s*(.-)%s*$" end
  return fields
end

-- The number that a field is, or nil. `tonumber` alone would take 0x10, and 1e999 for infinity.
local function number(field)
  if not (field:find "^[+-]?%d+%.?%d*$" or field:find "^[+-]?%.%d+$"
    or field:find "^[+-]?%d*%.?%d+[eE][+-]?%d+$" or field:find "^[+-]?%d+%.[eE][+-]?%d+$") then
    return nil
  end
  return tonumber((field:gsub("^%+", ""))) + 0.0
end

local function separator_of(line, wanted)
  if wanted then return wanted end
  line = line:gsub('"[^"]*"', "") -- a name may have commas
  for _, mark in ipairs(SEPARATORS) do
    if line:find(mark, 1, true) then return mark end
  end
  return " "
end

-- ------------------------------------------------------------------ columns

local NO_NUMBERS = { [""] = true, nan = true, inf = true, na = true, null = true, none = true,
  infinity = true }

-- Whether a field is no number, but could be a point's: 0x10, 1_000, nan, nothing.
local function damaged(field)
  local text = field:lower():gsub("^[+-]", "")
  return NO_NUMBERS[text] or text:find "^%.?%d" ~= nil
end

-- Whether a first line holds the names of columns. One that may be a point must not be taken for
-- names, since the point would be lost without a word.
local function is_header(fields, where)
  local numbers, first = 0, nil
  for k, field in ipairs(fields) do
    if number(field) then
      numbers = numbers + 1
    elseif not first or damaged(field) and not damaged(fields[first]) then
      first = k
    end
  end
  if first and (numbers > 0 or damaged(fields[first])) then
    errors.data("%s:%d: '%s' is not a number%s; header = true says that this line names the "
      .. "columns, header = false that it is a point", where, first, shown(fields[first]),
      numbers > 0 and ", but other fields are" or "")
  end
  return first ~= nil
end

-- The number of the column with a name, or nil.
local function column_named(wanted, names, where)
  local found
  for at, name in ipairs(names or {}) do
    if name == wanted and found then
      errors.usage("%s: the columns %d and %d both have the name '%s'; choose by number", where,
        found, at, shown(name))
    end
    found = name == wanted and at or found
  end
  return found
end

-- The numbers of the columns that are taken.
local function chosen(columns, names, count, where)
  local list = {}
  for k = 1, columns and #columns or count do
    local wanted = columns and columns[k] or k
    local found = math.type(wanted) == "integer" and wanted >= 1 and wanted <= count and wanted
    found = found or column_named(wanted, names, where)
    if not found then
      errors.usage("%s: there is no column '%s'%s", where, tostring(wanted),
        names and errors.near(tostring(wanted), names)
          or ("; the line has %d fields, and no names"):format(count))
    end
    list[k] = found
  end
  if #list == 0 then errors.usage("%s: columns is an empty list", where) end
  return list
end

-- ------------------------------------------------------------------ the file

local Reader = {}
Reader.__index = Reader

function Reader:where(line) return ("%s:%d"):format(self.path, line) end

-- The first line that is not skipped: separator, names, columns.
function Reader:begin(line, at)
  local options, where = self.options, self:where(at)
  self.separator = separator_of(line, options.separator)
  local fields = fields_of(line, self.separator, where)
  if #fields > MOST_COLUMNS then
    errors.data("%s: %d fields found, expected at most %d", where, #fields, MOST_COLUMNS)
  end
  local named = options.header
  if named == nil then named = is_header(fields, where) end
  self.count, self.names, self.first = #fields, named and fields or nil, at
  self.taken = chosen(options.columns, self.names, #fields, where)
  return named
end

function Reader:fault(fields, k, at)
  local field, name = fields[k], self.names and self.names[k]
  local comma = self.separator ~= "," and field:find "^[+-]?%d+,%d+$"
  errors.data("%s:%d: expected a number%s, found %s%s", self:where(at), k,
    name and (" in the column '%s'"):format(shown(name)) or "",
    field == "" and "an empty field" or ("'%s'"):format(shown(field)),
    comma and "; decimals are separated by a point" or "")
end

function Reader:row(line, at)
  local fields = fields_of(line, self.separator, self:where(at))
  if #fields ~= self.count then
    errors.data("%s: %d fields found, expected %d as in line %d", self:where(at), #fields,
      self.count, self.first)
  end
  local values = self.values
  for _, k in ipairs(self.taken) do
    local value = number(fields[k]) or self:fault(fields, k, at)
    if value > LARGEST or value < -LARGEST then
      errors.data("%s:%d: %s is too large, expected at most 3.4e38", self:where(at), k,
        shown(fields[k]))
    end
    values[#values + 1] = value
  end
end

function Reader:read(text)
  local at = 0
  for line in (text:sub(-1) == "\n" and text or text .. "\n"):gmatch "([^\n]*)\n" do
    at = at + 1
    if #line > LONGEST_LINE then
      errors.data("%s: the line has %d bytes, expected at most %d", self:where(at), #line,
        LONGEST_LINE)
    elseif line:find "%S" and not line:find "^#" then
      if self.count or not self:begin(line, at) then self:row(line, at) end
    end
  end
end

local function check_options(options)
  errors.fields("load_csv", options, OPTIONS)
  local mark = options.separator
  if mark ~= nil and not (type(mark) == "string" and mark:find "^[,;\t |]$") then
    errors.usage "load_csv: separator must be ',', ';', '|', a tab or a blank"
  elseif options.columns ~= nil and type(options.columns) ~= "table" then
    errors.usage("load_csv: columns must be a list of names or numbers, found a %s",
      type(options.columns))
  elseif options.header ~= nil and type(options.header) ~= "boolean" then
    errors.usage("load_csv: header must be true or false, found a %s", type(options.header))
  end
  if options.columns then errors.list("load_csv: columns", options.columns) end
end

--- Load a text file of numbers as a tensor (n, d) of float32, which is also a data set.
-- @tparam string path
-- @tparam[opt] table options { columns = names or numbers of those to take, header = whether the
--   first line holds names (default: if no field is a number), separator = one character }
-- @treturn tensor (n, d)
local function load_csv(path, options)
  if type(path) ~= "string" then
    errors.usage("load_csv: expected the name of a file, found a %s", type(path))
  end
  options = options or {}
  check_options(options)
  local text, why = files.read(path)
  if not text then errors.data("cannot read %s", why) end
  local reader = setmetatable({ path = path, options = options, values = {} }, Reader)
  text = text:gsub("^\xEF\xBB\xBF", "")
  reader:read(text:find("\r", 1, true) and text:gsub("\r\n?", "\n") or text) -- all ends of lines
  local d = reader.taken and #reader.taken or 0
  if #reader.values == 0 then
    errors.data("%s holds no points%s", path, d > 0 and ", only names of columns" or "")
  end
  local x = fm.reshape(fm.tensor(reader.values), { #reader.values // d, d })
  points.remember(x, path)
  return x
end

return load_csv
