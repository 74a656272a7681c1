--- The meaning of a Lua source: its tokens, without comments and layout, so that edited prose never
-- makes a finished run stale, while a changed constant does. Of an experiment's file some parts do
-- not count either: those that reach a run as settings, which are compared by value, and those that
-- only say how results are shown.
-- @module flowmap.runs.meaning

local M = {}

-- ------------------------------------------------------------------ tokens

-- Symbols of two characters; the only one of three is "...".
local PAIRS = { [".."] = true, ["=="] = true, ["~="] = true, ["<="] = true, [">="] = true,
  ["//"] = true, ["::"] = true, ["<<"] = true, [">>"] = true }

-- Each function below gets a text and where a piece of it starts, and returns where that ends.
-- Thousands of lines are read at the start of each run: the first character decides what to try.

local function symbol(text, at)
  if not PAIRS[text:sub(at, at + 1)] then return at end
  return text:sub(at, at + 2) == "..." and at + 2 or at + 1
end

local function word(text, at) return select(2, text:find("^[%w_]+", at)) end

local function number(text, at)
  local hex = text:find("^0[xX]", at)
  local last = select(2, text:find("^[%w_.]+", at))
  while text:find(hex and "^[pP][+-]" or "^[eE][+-]", last) do
    last = select(2, text:find("^[%w_.]+", last + 2)) or last + 1
  end
  return last
end

local function number_or_dots(text, at)
  return (text:find("^%d", at + 1) and number or symbol)(text, at)
end

local function quoted(text, at)
  local quote, last = text:sub(at, at), at
  while true do
    last = text:find("[\\" .. quote .. "]", last + 1)
    if not last or text:sub(last, last) == quote then return last or #text end
    last = last + 1 -- what the backslash escapes
  end
end

-- The end of what a long bracket at `at` opens; nil if there is none.
local function bracketed(text, at)
  local level, past = text:match("^%[(=*)%[()", at)
  if not level then return nil end
  local _, last = text:find("]" .. level .. "]", past, true)
  return last or #text
end

local function long_string(text, at) return bracketed(text, at) or symbol(text, at) end

-- The second result: whether it is a comment.
local function comment(text, at)
  if text:sub(at, at + 1) ~= "--" then return symbol(text, at) end
  return bracketed(text, at + 2) or select(2, text:find("^[^\n]*", at)), true
end

local END = { ["-"] = comment, ["["] = long_string, ['"'] = quoted, ["'"] = quoted,
  ["."] = number_or_dots } -- by the byte

for byte = 0, 255 do
  local char = string.char(byte)
  END[byte] = END[char] or char:find "%d" and number or char:find "[%a_]" and word or symbol
end

--- The tokens of a Lua source.
-- @tparam string text
-- @treturn {string,...}
-- @treturn {integer,...} where each begins
function M.tokens(text)
  local tokens, places, count, at = {}, {}, 0, 1
  if text:sub(1, 1) == "#" then at = text:find "\n" or #text + 1 end -- as Lua reads a script
  at = text:find("%S", at)
  while at do
    local last, is_comment = END[text:byte(at)](text, at)
    if not is_comment then
      count = count + 1
      tokens[count], places[count] = text:sub(at, last), at
    end
    at = text:find("%S", last + 1)
  end
  return tokens, places
end

local function hash(tokens)
  return require("flowmap.core").sha256(table.concat(tokens, "\n"))
end

--- Hash of a source's meaning.
-- @tparam string text
-- @treturn string SHA-256 in hex
function M.of(text) return hash(M.tokens(text)) end

-- ------------------------------------------------------------------ a little syntax

local function set(...)
  local out = {}
  for _, name in ipairs { ... } do out[name] = true end
  return out
end

local OPEN, CLOSE = set("{", "(", "["), set("}", ")", "]")
local BLOCK, DONE = set("function", "if", "do", "repeat"), set("end", "until")
local BEFORE = set("not", "-", "#", "~")
local BETWEEN = set("+", "-", "*", "/", "//", "%", "^", "..", "==", "~=", "<", ">", "<=", ">=",
  "and", "or", "&", "|", "~", "<<", ">>")

local function is_string(token) return token and token:find "^[\"'%[]" and #token > 1 end

local function is_name(token) return token and token:find "^[%a_]" and true end

-- The position after what closes the bracket or the block at position i.
local function past(tokens, i)
  local up, down = OPEN, CLOSE
  if BLOCK[tokens[i]] then up, down = BLOCK, DONE end
  local depth = 0
  repeat
    local token = tokens[i]
    depth = depth + (up[token] and 1 or down[token] and -1 or 0)
    i = i + 1
  until depth == 0 or not tokens[i]
  return i
end

-- The position after the expression at position i.
local function past_expression(tokens, i)
  while true do
    while BEFORE[tokens[i]] do i = i + 1 end
    local token = tokens[i]
    i = (OPEN[token] or token == "function") and past(tokens, i) or i + 1
    while true do
      token = tokens[i]
      if token == "." or token == ":" then
        i = i + 2
      elseif OPEN[token] then
        i = past(tokens, i)
      elseif is_string(token) then
        i = i + 1
      else
        break
      end
    end
    if not BETWEEN[token] then return i end
    i = i + 1
  end
end

-- ------------------------------------------------------------------ experiments

-- How results are shown; and what a run gets as settings or is told by its command line.
local SHOWN = set("render", "title", "figures")
local GIVEN = set("settings", "profiles", "grid", "methods", "seeds", "name", "options")

local PLAIN = set("ipairs", "pairs", "table", "math", "string", "tostring", "tonumber")

-- Whether an expression calls nothing but the suite's and Lua's own functions.
local function calls_known_only(tokens, first, last, known)
  for i = first, last do
    local token, after = tokens[i], tokens[i + 1]
    if token == "function" then return false end
    local root = is_name(token) and not (BETWEEN[token] or BEFORE[token]) and tokens[i - 1] ~= "."
      and tokens[i - 1] ~= ":"
    local used = after == "." or after == ":" or after == "(" or after == "{" or is_string(after)
    if root and used and not (PLAIN[token] or known[token]) then return false end
  end
  return true
end

-- Local names of modules of the suite: local NAME = require "flowmap...".
local function suite_names(tokens)
  local known = {}
  for i, token in ipairs(tokens) do
    local name = token == "local" and tokens[i + 2] == "=" and tokens[i + 3] == "require"
      and tokens[tokens[i + 4] == "(" and i + 5 or i + 4]
    if name and name:find "^[\"']flowmap[%w_.]*[\"']$" then known[tokens[i + 1]] = true end
  end
  return known
end

-- The name in "return NAME" or "return images.experiment(NAME)" at the end, if there is one.
local function returned(tokens)
  local n = #tokens
  if tokens[n] == ";" then n = n - 1 end
  if tokens[n - 1] == "return" then return tokens[n] end
  if tokens[n] == ")" and tokens[n - 2] == "(" and tokens[n - 3] == "experiment" then
    return tokens[n - 1]
  end
end

--- Whether a chunk could return a value: it has a `return` outside its functions. It is not run.
-- @tparam string text
-- @treturn boolean
function M.returns(text)
  local tokens, i = M.tokens(text), 1
  while i <= #tokens do
    if tokens[i] == "return" then return true end
    i = tokens[i] == "function" and past(tokens, i) or i + 1
  end
  return false
end

-- Marks the fields of the table at position i (its "{") as spots { field, first, after }.
local function fields_of(tokens, i, spots)
  local after = past(tokens, i)
  i = i + 1
  while i < after - 1 do
    local first = i
    local named = is_name(tokens[i]) and tokens[i + 1] == "="
    if named then
      i = i + 2
    elseif tokens[i] == "[" then
      i = past(tokens, i) + 1
    end
    i = past_expression(tokens, i)
    if tokens[i] == "," or tokens[i] == ";" then i = i + 1 end
    if named then spots[#spots + 1] = { tokens[first], first, i } end
  end
  return after
end

-- Fields of the experiment that are set outside any function, as spots.
local function fields(tokens)
  local spots, it, i = {}, returned(tokens), 1
  while i <= #tokens do
    local token = tokens[i]
    if token == it and tokens[i + 1] == "." and tokens[i + 3] == "="
      and tokens[i - 1] ~= "." and tokens[i - 1] ~= ":" then
      local after = past_expression(tokens, i + 4)
      spots[#spots + 1] = { tokens[i + 2], i, after }
      i = after
    elseif token == "{" and (tokens[i - 1] == "return" or tokens[i - 1] == "experiment"
      or tokens[i - 1] == "=" and tokens[i - 2] == it) then
      i = fields_of(tokens, i, spots)
    else
      i = (OPEN[token] or BLOCK[token]) and past(tokens, i) or i + 1
    end
  end
  return spots, it
end

-- Tokens without the spots whose fields are in `dropped`.
local function without(tokens, spots, dropped)
  local out, i = {}, 1
  for _, spot in ipairs(spots) do
    local field, first, after = table.unpack(spot)
    if dropped[field] and first >= i then
      table.move(tokens, i, first - 1, #out + 1, out)
      i = after
    end
  end
  return table.move(tokens, i, #tokens, #out + 1, out)
end

-- Names by which a file could make or change code, or bring parts of its own.
local CODE = set("function", "require", "dofile", "loadfile", "load", "package", "debug", "_G",
  "_ENV", "setmetatable", "getmetatable", "rawset", "os", "io", "losses", "nets", "interpolants",
  "metrics", "run")

-- Whether a file can only make a table of settings: it has no function, loads nothing, and assigns
-- to nothing of Lua's own.
local function is_settings_alone(tokens)
  for i, token in ipairs(tokens) do
    if CODE[token] then return false end
    if PLAIN[token] and tokens[i + 1] == "." and tokens[i + 3] == "=" then return false end
  end
  return true
end

local NO_USE = set("local", ".", ":") -- before a name

-- Whether the table that a file returns is used as a whole: passed on, indexed by a value.
local function passed_on(tokens, it)
  local open = {} -- brackets and blocks around the token
  for i = 1, #tokens - 4 do
    local token = tokens[i]
    if OPEN[token] or BLOCK[token] then
      open[#open + 1] = token
    elseif CLOSE[token] or DONE[token] then
      open[#open] = nil
    end
    local field = open[#open] == "{" and tokens[i + 1] == "=" -- the name of a field of a table
    if token == it and tokens[i + 1] ~= "." and not NO_USE[tokens[i - 1]] and not field then
      return true
    end
  end
  return false
end

-- The fields that count for nothing.
local function droppable(tokens, spots, it)
  local known, dropped = suite_names(tokens), {}
  for field in pairs(SHOWN) do dropped[field] = true end
  for field in pairs(GIVEN) do dropped[field] = true end
  for _, spot in ipairs(spots) do
    if GIVEN[spot[1]] and not calls_known_only(tokens, spot[2] + 2, spot[3] - 1, known) then
      dropped[spot[1]] = nil
    end
  end
  local kept = without(tokens, spots, dropped)
  for _, token in ipairs(kept) do
    local name = token:match "^[\"'](.*)[\"']$" or token
    if GIVEN[name] then dropped[name] = nil end
  end
  return passed_on(kept, it) and SHOWN or dropped
end

--- Hash of what an experiment's file means for a run. Whoever edits a caption, a colour or another
-- profile's settings changes nothing; when in doubt (a field that is mentioned elsewhere, a value
-- that a function of the file makes) all of it counts.
-- @tparam string text
-- @treturn string SHA-256 in hex
function M.of_experiment(text)
  local tokens = M.tokens(text)
  if is_settings_alone(tokens) then return hash { "settings alone" } end
  local spots, it = fields(tokens)
  return hash(without(tokens, spots, droppable(tokens, spots, it)))
end

return M
