--- Escaping: the only place where text becomes a literal of another language.
--
-- Names, titles and labels may come from files that somebody else wrote. They are data: whatever
-- they contain, they appear as the same visible text and never act as a command, a tag or a
-- formula. Code that generates another language passes every value through that language's function
-- below and never adds quotes itself. (JSON is written only by flowmap.base.json.)
-- @module flowmap.base.escape

local errors = require "flowmap.base.errors"

local M = {}

-- ------------------------------------------------------------------ plain text

local REPLACEMENT = "\u{FFFD}"

-- Replace control characters and those that reorder or break lines (U+2028 to U+202E, U+2066 to
-- U+2069).
local function visible(text)
  text = text:gsub("[\0-\31\127]", " "):gsub("\xC2[\x80-\x9F]", " ")
  text = text:gsub("\xE2\x80[\xA8\xA9]", " "):gsub("\xE2\x80[\xAA-\xAE]", "")
  return (text:gsub("\xE2\x81[\xA6-\xA9]", ""):gsub("\xEF\xBF[\xBE\xBF]", REPLACEMENT))
end

--- One line of valid UTF-8 that is safe in any output: control characters and line ends become
-- spaces, bytes that are not UTF-8 become U+FFFD, and marks that reorder text are dropped.
-- @param value any value that tostring accepts
-- @treturn string
function M.line(value)
  local text = tostring(value)
  if not text:find "[^\32-\126]" then return text end
  local parts, at = {}, 1
  repeat
    local _, bad = utf8.len(text, at)
    parts[#parts + 1] = visible(text:sub(at, (bad or #text + 1) - 1))
    if bad then parts[#parts + 1] = REPLACEMENT end
    at = bad and bad + 1
  until not at or at > #text
  return table.concat(parts)
end

--- The first characters of a line, followed by an ellipsis if any were removed.
-- @param value see `line`
-- @tparam integer count at most this many characters
-- @treturn string
function M.short(value, count)
  local text = M.line(value)
  if utf8.len(text) <= count then return text end
  return text:sub(1, utf8.offset(text, count) - 1) .. "…"
end

-- ------------------------------------------------------------------ languages

--- One word of a shell command.
-- @tparam string word
-- @treturn string
function M.shell(word)
  if word:find("\0", 1, true) then
    errors.usage("a word of a command holds a zero byte: '%s'", M.line(word))
  end
  return "'" .. word:gsub("'", "'\\''") .. "'"
end

--- One word of a command that is shown to people: quoted only where a shell needs it.
-- @tparam string word
-- @treturn string
function M.word(word)
  return word:find "^[%w_./,=+:@][%w_./,=+:@-]*$" and word or M.shell(word)
end

--- A string expression of gnuplot. Its scanners of quotes, macros, backquotes and blocks disagree
-- on where a string with an apostrophe ends, whether doubled or in double quotes, and version 5.4
-- takes the rest for code. Every character that any of them could act on is therefore written as a
-- number.
-- @param value see `line`
-- @treturn string such as 'it'.sprintf('%c',39).'s'
function M.gnuplot(value)
  local parts = {}
  for text, active in M.line(value):gmatch "([^'\"`@\\{}#;$!]*)(['\"`@\\{}#;$!]*)" do
    if text ~= "" then parts[#parts + 1] = "'" .. text .. "'" end
    if active ~= "" then
      parts[#parts + 1] = ("sprintf('%s',%s)"):format(("%c"):rep(#active),
        table.concat({ active:byte(1, -1) }, ","))
    end
  end
  return #parts > 0 and table.concat(parts, ".") or "''"
end

local entities = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;",
  ["'"] = "&#39;" }

--- Text of an HTML element or of a quoted attribute.
-- @param value see `line`
-- @treturn string
function M.html(value)
  return (M.line(value):gsub("[&<>\"']", entities))
end

-- Escape marks that are active only in the first word: those of lists, headings, title blocks,
-- captions and definitions. The other marks are active everywhere, except an underscore inside a
-- word.
local function first_word(word)
  return (word:gsub("^[-+=%%(]", "\0%0"):gsub("\0?([.):])", "\0%1"))
end

--- Inline text in pandoc's Markdown, including cells of pipe tables.
-- @param value see `line`
-- @treturn string
function M.markdown(value)
  local text = M.line(value):gsub("%s+", " "):gsub("^ ", ""):gsub(" $", "")
  text = text:gsub("[\\`*%[%]{}<>#|$~^@&!\"']", "\0%0"):gsub("%-%-", "\0-\0-")
  text = text:gsub("%.%.", "\0.\0."):gsub("()(_+)()", function(from, run, past)
    local inside = text:find("^%w_%w", from - 1) and past - from == 1
    return not inside and run:gsub("_", "\0_") or nil
  end)
  return (text:gsub("^%S+", first_word):gsub("\0", "\\"))
end

local tex_special = { ["\\"] = "\\textbackslash{}", ["~"] = "\\textasciitilde{}",
  ["^"] = "\\textasciicircum{}", ["<"] = "\\textless{}", [">"] = "\\textgreater{}",
  ["|"] = "\\textbar{}", ["`"] = "{`}", ["'"] = "{'}", ['"'] = '{"}', ["["] = "{[}",
  ["]"] = "{]}", ["*"] = "{*}", ["±"] = "$\\pm$", ["–"] = "--" }

--- Text in LaTeX. (A table row that starts with `[` or `*` would be an option of the `\\` above
-- it.)
-- @param value see `line`
-- @treturn string
function M.latex(value)
  local text = M.line(value):gsub("[#$%%&_{}]", "\0%0")
  text = text:gsub("%-%-+", function(run) return ("-{}"):rep(#run - 1) .. "-" end)
  return (text:gsub(utf8.charpattern, tex_special):gsub("\0", "\\"))
end

--- A field of comma-separated values. Spreadsheets take text that starts with = + - or @ for a
-- formula, so such text gets a leading apostrophe. Only our comment lines start with #.
-- @param value see `line`
-- @treturn string
function M.csv(value)
  local text = M.line(value)
  if text:find "^%s*[=+@-]" then text = "'" .. text end
  if not (text:find "^#" or text:find '[",;]') then return text end
  return '"' .. text:gsub('"', '""') .. '"'
end

--- A comment line of a CSV file, safe in programs that do not know comments and split it at commas.
-- @param value see `line`
-- @treturn string
function M.csv_comment(value)
  return "# " .. M.line(value):gsub("([,;|]%s*)([=+@-])", "%1'%2"):gsub('"', "'")
end

--- Part of a file name, in a fixed alphabet; different texts have different names.
-- @tparam string text
-- @treturn string see flowmap.base.text
function M.filename(text)
  return require("flowmap.base.text").file_name(text)
end

return M
