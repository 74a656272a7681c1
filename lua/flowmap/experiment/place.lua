--- The line of an experiment's file that an error is about. Settings and parts are values of a
-- table, which do not know where they were written; their names do, so the line is found from the
-- names in the error's sentence.
-- @module flowmap.experiment.place

local errors = require "flowmap.base.errors"
local files = require "flowmap.base.files"
local meaning = require "flowmap.runs.meaning"
local settings = require "flowmap.experiment.settings"
local source = require "flowmap.runs.source"

local M = {}

-- The text of a token that is a quoted string without escapes; nil for another token.
local function unquoted(token) return token:match "^([\"'])([^\\]*)%1$" end

-- Whether a value is given to the name at token k: NAME = , ["NAME"] = , function at.NAME( .
local function is_given(tokens, k)
  local after = tokens[k + 1]
  if after == "=" then return true end
  if after == "]" then return tokens[k + 2] == "=" end
  for back = 1, 3 do
    if after == "(" and tokens[k - back] == "function" then return true end
  end
  return false
end

-- The first token from `from` on that is a name to which a value is given or, else, a string.
local function find(tokens, name, from)
  local mention
  for k = from, #tokens do
    local token = tokens[k]
    local text = select(2, unquoted(token))
    if (token == name or text == name) and is_given(tokens, k) then return k end
    if text == name then mention = mention or k end
  end
  return mention
end

-- The names in the part of a sentence that says what is wrong, in order: { name, quoted = }. A
-- function may be named as in "sample of the data set".
local function names_of(sentence)
  local about, names = sentence, {}
  for _, words in ipairs { "; ", ", found", ", expected", " such as ", " must be ",
    " returned " } do
    about = about:sub(1, (about:find(words, 1, true) or #about + 1) - 1)
  end
  for mark, name, past in about:gmatch "('?)([%w_][%w_.-]*)()" do
    local named = mark == "'" or about:find("^ of the ", past) ~= nil
    names[#names + 1] = { (name:gsub("%.$", "")), quoted = named }
  end
  return names
end

-- Whether a sentence is about an unknown name that is one of some settings.
local function is_unknown(sentence, set)
  local name = sentence:match "^unknown [^']*'([^']*)'"
  for _, value in pairs(name and set or {}) do
    if ("," .. settings.text(value) .. ","):find("," .. name .. ",", 1, true) then return true end
  end
end

--- The line of a source that a sentence is about.
-- @tparam string text of the source
-- @tparam string sentence
-- @tparam[opt] table how { quoted = whether only quoted names count, except = the user's settings,
--   for whose names and values the file is not to blame }
-- @treturn ?integer nil if the source does not mention what the sentence names
function M.line(text, sentence, how)
  local tokens, places = meaning.tokens(text)
  local from, found = 1, nil
  if how and is_unknown(sentence, how.except) then return nil end
  for _, it in ipairs(names_of(sentence)) do
    local name, quoted = it[1], it.quoted
    if how and how.except and how.except[name] then return nil end
    local counts = quoted or not (how and how.quoted)
    local k = counts and (find(tokens, name, from) or find(tokens, name, 1))
    if k and (quoted or is_given(tokens, k)) then from, found = k, k end
  end
  local value = not found and sentence:match "found '([^']*)'"
  found = found or value and find(tokens, value, 1)
  return found and 1 + select(2, text:sub(1, places[found]):gsub("\n", ""))
end

-- Errors of the suite about an experiment, with the line.
local function refine(err, path, how)
  local of_us = type(err) == "table" and errors.status[err.code]
  if not of_us or err.message:find "^%-%-" or not files.exists(path) then return err end
  if not err.where and err.message:find "^[^:\n]+:%d+: " then return err end -- as Lua placed it
  if (err.where or ""):find(path:match "[^/]*$" .. ":", 1, true) then return err end -- known
  local rest = err.message:sub(1, #path) == path and err.message:match("^[:,] (.*)$", #path + 1)
  local line = M.line(source.text_of(path) or "", rest or err.message, how)
  if line then err.where, err.message = ("%s:%d: "):format(path, line), rest or err.message end
  return err
end

--- Call a function; an error about an experiment gets the line of its file.
-- @tparam ?string path of the experiment's file
-- @tparam ?table how see `line`
-- @tparam function f called with the other arguments
-- @return what f returned
function M.within(path, how, f, ...)
  local results = table.pack(errors.pcall(f, ...))
  if results[1] then return table.unpack(results, 2, results.n) end
  error(path and refine(results[2], path, how) or results[2], 0)
end

return M
