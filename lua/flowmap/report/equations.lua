--- The index "equation -> line of Lua -> test". A comment beside a line of code, or beside a test,
-- names the equation that it is, in brackets after "eq:". It stands at the end of the line that it
-- tags, or above it. paper/equations.lua lists the equations.
-- @module flowmap.report.equations

local chapters = require "flowmap.experiment.chapters"
local files = require "flowmap.base.files"
local results = require "flowmap.report.results"

local M = {}

--- The equations, in the paper's order.
-- @treturn {table,...} { name =, title =, tex = }
function M.list() return assert(loadfile(files.installed "paper/equations.lua", "t"))() end

--- The tags of a source text.
-- @tparam string source Lua
-- @treturn {table,...} { name =, line = that of the tagged code }
function M.tags(source)
  local list, waiting, number = {}, {}, 0
  for line in (source .. "\n"):gmatch "([^\n]*)\n" do
    number = number + 1
    local code, comment = line:match "^(.-)%-%-(.*)$"
    for name in (comment or ""):gmatch "%[eq:([%w_-]+)%]" do waiting[#waiting + 1] = name end
    if (code or line):find "%S" then
      for _, name in ipairs(waiting) do list[#list + 1] = { name = name, line = number } end
      waiting = {}
    end
  end
  for _, name in ipairs(waiting) do list[#list + 1] = { name = name, line = number } end
  return list
end

-- The tags of the files below a folder of the suite that match a pattern.
local function below(folder, pattern)
  local root, list = files.installed(folder), {}
  for _, name in ipairs(files.exists(root) and files.below(root) or {}) do
    if name:find(pattern) then
      for _, tag in ipairs(M.tags(results.read_file(root .. "/" .. name))) do
        tag.path = folder .. "/" .. name
        list[#list + 1] = tag
      end
    end
  end
  return list
end

--- All tags of the suite.
-- @treturn {table,...} of code: { name =, path =, line = }
-- @treturn {table,...} of tests; empty where the suite is installed without them
function M.found()
  return below("lua/flowmap", "%.lua$"), below("tests/lua", "^test_[%w_]+%.lua$")
end

-- The names of the numbered equations of the book.
local function labels()
  local list = {}
  for _, path in ipairs(chapters.book().chapters) do
    for name in results.read_file(path):gmatch "{#eq:([%w_-]+)}" do
      list[#list + 1] = { name = name, path = path }
    end
  end
  return list
end

--- Faults of the tags: one that names no equation, an equation without code or without a
-- test, a numbered equation of the book that is not listed.
-- @tparam {table,...} list see `list`
-- @tparam {table,...} code see `found`
-- @tparam {table,...} tests
-- @tparam[opt] {table,...} numbered equations of the book; default: those of its chapters
-- @treturn {string,...} sentences
function M.problems(list, code, tests, numbered)
  local out, has = {}, {}
  for _, it in ipairs(list) do has[it.name] = {} end
  for kind, tags in pairs { ["no line of code"] = code, ["no test"] = tests } do
    for _, tag in ipairs(tags) do
      if not has[tag.name] then
        out[#out + 1] = ("%s:%d: there is no equation '%s' in paper/equations.lua"):format(tag.path,
          tag.line, tag.name)
      else
        has[tag.name][kind] = true
      end
    end
    for _, it in ipairs(list) do
      if not has[it.name][kind] then
        out[#out + 1] = ("%s is the equation '%s', [eq:%s]"):format(kind, it.name, it.name)
      end
    end
  end
  for _, it in ipairs(numbered or labels()) do
    if not has[it.name] then
      out[#out + 1] = ("%s: the equation '%s' is numbered, but not in paper/equations.lua"):format(
        it.path, it.name)
    end
  end
  table.sort(out)
  return out
end

--- The index as a table in Markdown.
-- @tparam function link link(text, path) -> Markdown
-- @treturn string
function M.markdown(link)
  local code, tests = M.found()
  local function places(tags, name)
    local list = {}
    for _, tag in ipairs(tags) do
      if tag.name == name then
        local text = ("%s:%d"):format(tag.path:match "[^/]+$", tag.line)
        list[#list + 1] = link(text, files.installed(tag.path))
      end
    end
    return #list > 0 and table.concat(list, ", ") or "–"
  end
  local lines = { "| | equation | code | test |", "|:----|:--------|:-----|:-----|" }
  for _, it in ipairs(M.list()) do
    lines[#lines + 1] = ("| %s | $%s$ | %s | %s |"):format(it.title,
      it.tex:gsub("|", "\\vert "):gsub("%s+$", ""), places(code, it.name), places(tests, it.name))
  end
  lines[#lines + 1] = "\n: Equations, the lines that compute them, and their tests.\n"
  return table.concat(lines, "\n")
end

return M
