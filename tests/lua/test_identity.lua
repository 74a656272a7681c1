-- The smoke profile made twice, in other folders, languages, time zones and homes and on another
-- day, gives the same bytes: page, tables, figures and their data.

local t = require "harness"
local files = require "flowmap.base.files"
local mini = require "mini_set"
local sandbox = require "sandbox"

-- A chapter with a table, figures, a comparison and origins; `make identity` makes the whole book.
local CHAPTER = [[
-- # A chapter
--
-- LSD {{kl.LSD.N1 pm %.3f}}; {{difference kl.LSD.N1 kl.PSD-M.N1 %.3f}}. {{provenance}}
--
-- $$ \dot x = b $$ {#eq:flow}
--
-- {{table kl}}
--
-- ![Density.](figure:density)
--
-- ![Traces.](figure:traces)

]] .. mini.text:gsub('render = {', [[seeds = 2,
    render = { { kind = "density", name = "density", range = { -1, 1 }, bins = 8 },]])

-- Make the chapter in a new folder; returns the folder.
local function make(name, environment)
  local dir = sandbox.mkdir(name)
  sandbox.write(name .. "/mini.lua", CHAPTER)
  local program = files.quote(sandbox.program)
  local code, text = sandbox.run(("cd %s && %s %s reproduce mini.lua --profile smoke --jobs 1 "
    .. "&& %s %s paper mini.lua --profile smoke"):format(files.quote(dir), environment, program,
    environment, program))
  t.eq(code, 0, text)
  return dir
end

-- Path below dir -> contents, of what a reader sees.
local function seen(dir)
  local _, list = sandbox.run(("cd %s && find results paper -name '*.csv' -o -name '*.svg' -o "
    .. "-name '*.png' -o -name '*.md' -o -name '*.tex' -o -name '*.html'"):format(files.quote(dir)))
  local contents = {}
  for path in list:gmatch "[^\n]+" do contents[path] = files.read(dir .. "/" .. path) end
  return contents
end

t.test("the same bytes in another folder, language, time zone and home, on another day", function()
  local languages = { "C.UTF-8", "C" }
  for _, name in ipairs { "tr_TR.UTF-8", "de_DE.UTF-8" } do
    if sandbox.run("locale -a | grep -qix " .. name:gsub("UTF%-8", "utf8")) == 0 then
      languages[1] = name
    end
  end
  local clock = sandbox.has "faketime" and "faketime '2031-02-03 04:05:06' " or ""
  local a = seen(make("one", "env LC_ALL=C TZ=UTC"))
  local b = seen(make("another, one", ("%senv LC_ALL=%s TZ=Asia/Tokyo HOME=%s USER=nobody"):format(
    clock, languages[1], files.quote(sandbox.mkdir "nowhere"))))
  local count = 0
  for path, contents in pairs(a) do
    count = count + 1
    t.eq(b[path] == contents, true, path .. " has other bytes")
  end
  for path in pairs(b) do t.eq(a[path] ~= nil, true, path .. " is new") end
  t.eq(a["paper/build/mini.html"] ~= nil, true, "the page")
  t.eq(count > 5, true, count)
end)

t.done()
