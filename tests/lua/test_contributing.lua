-- The recipes of CONTRIBUTING.md and core/ops/README.md are followed to the letter in a copy of the
-- repository: files are written, lines added, commands run and their output compared, mistakes made
-- and their messages found. Nothing of a recipe stands here; what a page says of a step is how it
-- is parsed:
--
--     Write `PATH`:                               the next fenced block is a new file
--     Add to `PATH`, below the line `LINE`:       the next fenced block is inserted there
--     ```console                                  commands after "$ ", each with its output
--     | ... `NEW` | `OLD` | `MESSAGE` |           with NEW for OLD in the file, MESSAGE appears
--
-- How outputs are compared: see page.lua.

local t = require "harness"
local files = require "flowmap.base.files"
local page = require "page"
local sandbox = require "sandbox"

-- ------------------------------------------------------------------ the page

-- Text without the marks of code around it: all `pieces` of a line.
local function quoted(line)
  local list = {}
  for text in line:gmatch "`([^`]+)`" do list[#list + 1] = text end
  return list
end

local function step_of(fence, text, body)
  if fence == "console" then return { kind = "run", body = body } end
  local paths = quoted(text)
  if text:find "^Write `" then return { kind = "write", path = paths[1], body = body } end
  if text:find "^Add to `" then
    return { kind = "add", path = paths[1], below = assert(paths[2]), body = body }
  end
  return nil
end

local function mistake_of(line)
  local cells = {}
  for cell in line:gmatch "[^|]+" do cells[#cells + 1] = cell:match "`(.+)`" or "" end
  if #cells < 3 or not line:find "`" then return nil end
  return { new = cells[1], old = cells[2], message = cells[3] }
end

-- Append the recipes of a page: their names, steps and mistakes in order.
local function parse(text_of_page, recipes)
  local recipe, fence, body, text = nil, nil, nil, ""
  for line in text_of_page:gmatch "([^\n]*)\n" do
    local mark = line:match "^```(%a*)"
    local title = not fence and line:match "^## (.*)$"
    if title then
      local name = title:match "^Recipe: an? (.*)$"
      recipe = name and { name = name, steps = {}, mistakes = {} }
      recipes[#recipes + 1] = recipe
    elseif mark and fence then
      local step = recipe and step_of(fence, text, table.concat(body, "\n") .. "\n")
      if step then recipe.steps[#recipe.steps + 1] = step end
      fence, text = nil, ""
    elseif mark then
      fence, body = mark, {}
    elseif fence then
      body[#body + 1] = line
    else
      if line:find "%S" then text = line end
      if recipe and line:find "^|" then
        recipe.mistakes[#recipe.mistakes + 1] = mistake_of(line)
      end
    end
  end
end

-- ------------------------------------------------------------------ the copy

-- What was built is used again: the copies are as old as the originals. The compiler and its flags
-- are those of that build, or everything would be compiled again.
local function copy_tree()
  local sources = { "core", "lua", "experiments", "paper", "Makefile", ".ci", "tests/lua",
    "tests/c", "tests/regression", "tests/run.sh" }
  local script = { "set -e", "mkdir tests build" }
  for _, name in ipairs(sources) do
    script[#script + 1] = ("cp -a %s %s"):format(files.quote(sandbox.here .. "/" .. name), name)
  end
  for _, name in ipairs { "core", "flowmap", "libflowmap.a", "flags.list", "objects.list" } do
    script[#script + 1] = ("cp -a %s build/"):format(files.quote(sandbox.build .. "/" .. name))
  end
  script[#script + 1] = ("cp -a %s flowmap"):format(files.quote(sandbox.program))
  local code, out = sandbox.run(table.concat(script, "\n"))
  t.eq(code, 0, out)
end

local function build_flags()
  local flags = assert(files.read(sandbox.build .. "/flags.list"))
  local cc = assert(flags:match "^(.-) %-std=c11")
  local cflags = assert(flags:match "%-Werror=int%-conversion (.-)  ")
  return ("env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL CC= make CC=%s CFLAGS=%s"):format(
    files.quote(cc), files.quote(cflags))
end

local make = build_flags()

local function run(command)
  return sandbox.run((command:gsub("^make", function() return make end)))
end

local function insert(text, below, body)
  local out, found = {}, false
  for line in text:gmatch "([^\n]*)\n" do
    out[#out + 1] = line .. "\n"
    if line:match "^%s*(.-)%s*$" == below then
      out[#out + 1], found = body, true
    end
  end
  t.eq(found, true, "the line " .. below)
  return table.concat(out)
end

local DO = {}

function DO.write(step)
  t.eq(sandbox.exists(step.path), false, step.path)
  sandbox.write(step.path, step.body)
end

function DO.add(step)
  sandbox.write(step.path, insert(assert(sandbox.read(step.path)), step.below, step.body))
end

function DO.run(step)
  for _, it in ipairs(page.commands(step.body)) do
    page.check(it, run(it.command))
  end
end

-- Make a mistake in the last written file that can have it; its message comes from some command of
-- the recipe.
local function try_mistake(recipe, it)
  for k = #recipe.steps, 1, -1 do
    local step = recipe.steps[k]
    local from, to = step.body:find(it.old, 1, true)
    if step.kind == "write" and from then
      sandbox.write(step.path, step.body:sub(1, from - 1) .. it.new .. step.body:sub(to + 1))
      local said = {}
      for _, again in ipairs(recipe.steps) do
        for _, line in ipairs(again.kind == "run" and page.commands(again.body) or {}) do
          local _, out = run(line.command)
          said[#said + 1] = out
          if out:find(it.message, 1, true) then return sandbox.write(step.path, step.body) end
        end
      end
      error(("'%s' was never said, but: %s"):format(it.message, table.concat(said)), 0)
    end
  end
  error("no file of the recipe holds " .. it.old, 0)
end

-- ------------------------------------------------------------------ the tests

local recipes = {}
for _, page_of in ipairs { "CONTRIBUTING.md", "core/ops/README.md" } do
  parse(assert(files.read(sandbox.here .. "/" .. page_of)), recipes)
end

t.test("the pages have their recipes", function()
  t.eq(#recipes, 6)
  for _, recipe in ipairs(recipes) do
    t.eq(#recipe.steps >= 2, true, recipe.name)
    t.eq(recipe.steps[#recipe.steps].kind, "run", recipe.name)
  end
end)

-- The tests that look at whole folders accept a further part.
local function check_lists()
  local code, out = run 'make test T="described lists regression"'
  t.eq(code, 0, out)
  t.eq(out:find("no baseline of [^\n]*semigroup[^\n]* # SKIP make "
    .. "regress%-update WHY=\"...\" measures one") ~= nil, true, out)
end

copy_tree()

t.test("the first test that is compiled compiles nothing of core again", function()
  local code, out = run "make build/tests/c/test_text"
  t.eq(code, 0, out)
  t.eq(out:find("CC    build/tests/c/test_text.o", 1, true) ~= nil, true, out)
  t.eq(out:find("build/core/", 1, true), nil, out)
end)

for _, recipe in ipairs(recipes) do
  local fine = true
  for _, step in ipairs(recipe.steps) do
    t.test(("recipe %s: %s %s"):format(recipe.name, step.kind, step.path or ""), function()
      if not fine then error("a step before failed", 0) end
      fine = false
      DO[step.kind](step)
      fine = true
    end)
  end
  for _, it in ipairs(fine and recipe.mistakes or {}) do
    t.test(("recipe %s: mistake %s"):format(recipe.name, it.new), function()
      t.eq(try_mistake(recipe, it) ~= nil, true)
    end)
  end
end

t.test("the tests of whole folders pass with all of the recipes' parts", check_lists)

t.done()
