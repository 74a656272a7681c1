--- The command `new`: an experiment file of the user's own, made of sections of
-- experiments/template.lua and, for a loss, of the table of its arguments in CONTRIBUTING.md. No
-- text of the file is kept here, so that it cannot differ from what these files say.
-- @module flowmap.app.new

local fm = require "flowmap"
local errors = require "flowmap.base.errors"
local files = require "flowmap.base.files"
local lfs = require "lfs"

local M = {}

-- The sections of the template that an option selects, by the start of their heading; the others
-- are those of every file, and those of a complete one.
local SECTIONS = { loss = "A loss ", net = "A network ", data = "A data set " }
local ALWAYS = "Profiles"

local LONGEST = 64 -- bytes of a name

local KEYWORDS = {}
for word in ([[and break do else elseif end false for function goto if in local nil not or repeat
  return then true until while]]):gmatch "%S+" do
  KEYWORDS[word] = true
end

-- Names become a file, a folder of results and a variable.
local function check_name(name)
  local expected = "expected letters, digits, - and _, the first one a letter"
  if not name:find "^%a[%w_-]*$" then
    errors.usage("new: '%s' cannot name an experiment; %s%s", name, expected,
      name:find "%.lua$" and " (without .lua)" or "")
  elseif #name > LONGEST then
    errors.usage("new: the name has %d characters, expected at most %d", #name, LONGEST)
  elseif files.exists(files.installed("experiments/" .. name .. ".lua")) then
    errors.usage("new: '%s' is an experiment of the suite, whose results are in results/%s; choose "
      .. "another name", name, name)
  end
end

-- A file of the suite; documents lie elsewhere in an installed copy.
local function suite_file(name)
  for _, path in ipairs { name, "../doc/flowmap/" .. name } do
    local text = files.read(files.installed(path))
    if text then return text end
  end
  return errors.data("%s is not installed; the file is made of it", name)
end

-- { title, text } of each section; the title of the first one is empty.
local function sections(text)
  local list, at = {}, 1
  repeat
    local next_at = text:find("\n-- ## ", at, true)
    local part = text:sub(at, next_at or #text)
    list[#list + 1] = { part:match "^%-%- ## ([^\n]*)" or "", part }
    at = (next_at or 0) + 1
  until not next_at
  return list
end

-- The table of the arguments of a loss, the first of its recipe, as a comment.
local function arguments_of_loss()
  local rows = suite_file("CONTRIBUTING.md"):match "\n## Recipe: a loss\n.-\n(|.-)\n\n"
  return "-- " .. rows:gsub("\n", "\n-- ")
end

-- A section with a comment at the end of its first one.
local function with_comment(section, comment)
  local at = section:find "\n\n" or #section
  return section:sub(1, at) .. "--\n" .. comment .. "\n" .. section:sub(at + 1)
end

local function wanted(title, args)
  if title == "" or title == ALWAYS or not (args.loss or args.net or args.data) then return true end
  for option, start in pairs(SECTIONS) do
    if args[option] and title:sub(1, #start) == start then return true end
  end
  return false
end

--- The text of a new experiment.
-- @tparam string name
-- @tparam table args loss, net, data = whether the file has that part; none: all kinds of parts
-- @treturn string
function M.text(name, args)
  local parts = {}
  for _, it in ipairs(sections(suite_file "experiments/template.lua")) do
    local title, text = it[1], it[2]
    if title:sub(1, #SECTIONS.loss) == SECTIONS.loss then
      text = with_comment(text, arguments_of_loss())
    end
    if wanted(title, args) then parts[#parts + 1] = text end
  end
  local text, variable = table.concat(parts), name:gsub("-", "_")
  local taken = KEYWORDS[variable] or text:find("%f[%w_]" .. variable .. "%f[^%w_]")
  if taken then variable = "the_" .. variable end
  return (text
    :gsub("^%-%- # [^\n]*\n%-%-\n%-%- .-\n%-%-\n", "-- # " .. name .. "\n--\n", 1)
    :gsub("experiments/template", name)
    :gsub('name = "template"', ('name = "%s"'):format(name))
    :gsub("%f[%w_]template%f[^%w_]", variable))
end

-- Write a file that does not exist yet: a finished one is linked under its name, which fails if
-- there is anything of that name, whoever made it and when.
local function write_new(path, text)
  local there = lfs.symlinkattributes(path, "mode")
  if there then errors.usage("new: there is a %s %s already; it is left as it is", there, path) end
  local draft = (".%s-%s"):format(path, fm.sha256(tostring {} .. os.time()):sub(1, 12))
  local ok, why = pcall(fm.write_file, draft, text)
  if not ok then -- the sentence names the draft, of which the user knows nothing
    if type(why) ~= "table" then error(why, 0) end
    errors.raise(why.code, "new: %s", (why.message:gsub(draft:gsub("%p", "%%%0"), path)))
  end
  ok, why = lfs.link(draft, path)
  os.remove(draft)
  if not ok then errors.data("new: cannot make %s: %s; nothing was overwritten", path, why) end
end

--- The command.
-- @tparam table args name, loss, net, data
function M.run(args)
  local name = args.name
  check_name(name)
  local path = name .. ".lua"
  write_new(path, M.text(name, args))
  io.stdout:write(("%s is made; it runs as it is:\n\n  flowmap run %s --profile smoke\n"):format(
    path, path))
end

return M
