--- Errors as sentences. An error value is the core's { code, message } and prints as its message.
-- The command line maps the code to an exit status, see M.status.
-- @module flowmap.base.errors

local core = require "flowmap.core"
local texts = require "flowmap.base.text"

local M = {}

-- Sources whose path starts like this one's belong to the library; errors report the place in a
-- user's file instead.
core.own_sources((debug.getinfo(1, "S").source:gsub("base/errors%.lua$", "")))

local mt = { __tostring = function(e) return (e.where or "") .. e.message end }

--- Exit status of each code.
M.status = { check = 1, usage = 2, memory = 2, data = 3, numeric = 4, interrupted = 75 }

local LONGEST = 2000 -- bytes; a message may quote a name of megabytes from a file

-- Shorten a long sentence to its start and end, cutting between characters.
local function bounded(sentence)
  if #sentence <= LONGEST then return sentence end
  local head = sentence:sub(1, LONGEST - 500):gsub("[\xC0-\xFF]?[\x80-\xBF]*$", "")
  return head .. " ... " .. sentence:sub(-400):gsub("^[\x80-\xBF]+", "")
end

-- A message may quote a file or an argument: what could steer a terminal is replaced.
local function printable(message)
  if not message:find "[\0-\8\11-\31\127-\255]" then return message end
  local lines = {}
  for line in (message .. "\n"):gmatch "([^\n]*)\n" do
    lines[#lines + 1] = texts.line(line, #line)
  end
  return table.concat(lines, "\n")
end

--- Create an error value. It prints as its sentence, preceded by the line of the user's code that
-- led to it.
-- @tparam string code one of the keys of `status`
-- @tparam string message a sentence
-- @treturn table
function M.new(code, message)
  return setmetatable({ code = code, message = printable(bounded(message)),
    where = core.user_place() }, mt)
end

-- The arguments of a format, with names on one line: those in quotes, and those that the sentence
-- goes on after. One at its end may be the output of a program.
local function with_names(format, ...)
  local args, k = table.pack(...), 0
  for from, past in format:gsub("%%%%", "  "):gmatch "()%%[-+ #0]*%d*%.?%d*%a()" do
    k = k + 1
    local quoted = format:sub(from - 1, from - 1) == "'" and format:sub(past, past) == "'"
    if type(args[k]) == "string" and (quoted or past <= #format) then
      args[k] = args[k]:gsub("\n", "?")
    end
  end
  return table.unpack(args, 1, args.n)
end

--- Whether an error text of Lua, of the system or of the loader reports lack of memory.
-- @tparam string text
-- @treturn boolean
function M.of_memory(text)
  for _, words in ipairs { "not enough memory", "[Cc]annot allocate memory", ": out of memory" } do
    if text:find(words) then return true end
  end
  -- glibc's loader gives the system's reason, unless it had no memory for the file's name
  return text:find "cannot open shared object file%s*$" ~= nil
end

--- Raise an error.
-- @tparam string code one of the keys of `status`; "memory" stands for "data" where the reason that
-- the system gives is the lack of it
-- @tparam string format the sentence, a format of string.format
-- @param ... arguments of the format
function M.raise(code, format, ...)
  local message = select("#", ...) > 0 and format:format(with_names(format, ...)) or format
  if code == "data" and M.of_memory(message) then code = "memory" end
  error(M.new(code, message), 0)
end

--- The sentence for Lua's own out-of-memory error.
M.NO_MEMORY = "memory: Lua's objects need more than there is"

-- Whether an error value is one of ours or of the core's.
local function is_ours(err)
  local meta = type(err) == "table" and M.status[rawget(err, "code")] and getmetatable(err)
  return type(meta) == "table" and rawget(meta, "__tostring") ~= nil -- a user's may be anything
end

--- Exit status and text of any error value. Lua's own out-of-memory error counts as ours.
-- @param err
-- @treturn integer exit status; 1 for an error that is not one of ours
-- @treturn string
function M.explain(err)
  local fine, text = pcall(tostring, err)
  if is_ours(err) and fine then return M.status[err.code], text end
  if type(err) ~= "string" then text = require("flowmap.base.blame").in_words(err) end
  if M.of_memory(text) then return M.status.memory, M.NO_MEMORY end
  return 1, text
end

local seen, trace -- the last error and its stack trace

--- A message handler that records the stack of an error, which then survives any number of catches.
-- An error of Lua's or of a user's becomes one of ours.
-- @param err
-- @return err
function M.note(err)
  if type(err) ~= "table" or not is_ours(err) and not rawequal(err, seen) then
    local ok, explained = pcall(require("flowmap.base.blame").explained, err)
    err = ok and explained or M.new("usage", "an error value that cannot be shown")
  end
  if not rawequal(seen, err) then seen, trace = err, debug.traceback(nil, 2) end
  return err
end

--- pcall for code that may be a user's; `--traceback` then shows its functions even after a
-- rethrow.
function M.pcall(f, ...) return xpcall(f, M.note, ...) end

--- The stack trace of an error that `note` has seen.
-- @param err
-- @treturn ?string
function M.traceback(err) return rawequal(seen, err) and trace or nil end

local function raiser(code)
  return function(...) M.raise(code, ...) end
end

--- Raise an error of this code, as `raise` does: `errors.usage("step %d found", n)`.
-- @tparam string format the sentence, a format of string.format
-- @param ... arguments of the format
M.check, M.usage, M.data, M.numeric = raiser "check", raiser "usage", raiser "data",
  raiser "numeric"

--- Check that the keys of a table are 1, 2, ...: Lua reads no entry behind a gap, such as that of
-- `{ "a", switch and "b" or nil, "c" }`.
-- @tparam string where begins the sentence: what the list is
-- @tparam table list
function M.list(where, list)
  local count, first = 0, 1
  for _ in pairs(list) do count = count + 1 end
  while list[first] ~= nil do first = first + 1 end
  for key in pairs(list) do
    if math.type(key) ~= "integer" then
      M.usage("%s: the list has the field '%s', expected entries alone", where, tostring(key))
    elseif key < 1 or key > count then
      M.usage("%s: the list has an entry %d but no entry %d, expected one without gaps", where, key,
        first)
    end
  end
end

--- Edit distance of two short strings; swapping two adjacent characters counts as one edit.
-- @tparam string a
-- @tparam string b
-- @treturn integer
function M.distance(a, b)
  local rows = { [0] = {} }
  for j = 0, #b do rows[0][j] = j end
  for i = 1, #a do
    local row, above = { [0] = i }, rows[i - 1]
    for j = 1, #b do
      local same = a:byte(i) == b:byte(j)
      row[j] = math.min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (same and 0 or 1))
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        row[j] = math.min(row[j], rows[i - 2][j - 2] + 1)
      end
    end
    rows[i] = row
  end
  return rows[#a][#b]
end

local LONGEST_NAME = 100 -- bytes; time and memory grow with the square of the length

--- The end of a sentence about an unknown name: what is here in place of a function of PyTorch, JAX
-- or NumPy, or close matches, otherwise all names.
-- @tparam string name the unknown name
-- @tparam {string,...} known the names that exist
-- @treturn string e.g. "; did you mean width?"
function M.near(name, known)
  if #name > LONGEST_NAME then return "" end
  local best, found, here = math.max(1, (#name + 1) // 3), {}, core.counterpart(name)
  for _, k in ipairs(known) do
    local distance = k == here and 0 or M.distance(name, k)
    if #name >= 3 and k:find(name, 1, true) then distance = 0.5 end
    if distance < best then best, found = distance, {} end
    if distance == best then found[#found + 1] = k end
  end
  table.sort(found)
  if #found > 0 then return ("; did you mean %s?"):format(table.concat(found, " or ")) end
  local all = table.move(known, 1, #known, 1, {})
  table.sort(all)
  if #all == 0 then return "; none is known" end
  return ("; known: %s"):format(table.concat(all, ", "))
end

--- Check that a name is one of the known names.
-- @tparam string kind the kind of thing named, e.g. "method"
-- @tparam string name
-- @tparam {string,...} known
-- @treturn string the name
function M.choice(kind, name, known)
  for _, k in ipairs(known) do
    if k == name then return name end
  end
  return M.usage("unknown %s '%s'%s", kind, tostring(name), M.near(tostring(name), known))
end

-- The options that are truth values. Any other is read by `options.NAME or DEFAULT`, which would
-- take false for the default.
local SWITCHES = { header = true, reuse = true }

--- Check that a table of options has only known fields; a misspelt field would be ignored.
-- @tparam string who start of the error sentence
-- @tparam table options
-- @tparam {string,...} known
-- @treturn table the options
function M.fields(who, options, known)
  if type(options) ~= "table" then
    M.usage("%s: a %s found, expected a table of options", who, type(options))
  end
  for key, value in pairs(options) do
    local found = false
    for _, name in ipairs(known) do found = found or key == name end
    if not found then
      M.usage("%s: there is no field '%s'%s", who, tostring(key), M.near(tostring(key), known))
    elseif value == false and not SWITCHES[key] then
      M.usage("%s: %s is false, expected one of its values, or no such field", who, key)
    end
  end
  return options
end

return M
