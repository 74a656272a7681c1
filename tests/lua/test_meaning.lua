-- Which parts of a Lua file affect a run's numbers, and which parts of an experiment do not.

local t = require "harness"
local files = require "flowmap.base.files"
local meaning = require "flowmap.runs.meaning"

local of = meaning.of_experiment

-- Check whether a change of the text changes the meaning.
local function changed(text, what, by)
  local first, last = text:find(what, 1, true)
  t.eq(first ~= nil, true, "the text to change: " .. what)
  return of(text) ~= of(text:sub(1, first - 1) .. by .. text:sub(last + 1))
end

t.test("the tokens of every source file reproduce the file", function()
  local list <close> = assert(io.popen "find lua/flowmap experiments -name '*.lua'")
  local count = 0
  for path in list:lines() do
    local text = assert(files.read(path))
    local tokens = meaning.tokens(text)
    local again = table.concat(tokens, " ")
    t.eq(load(again, "=again", "t") ~= nil, true, path)
    t.eq(meaning.tokens(again), tokens, path)
    count = count + 1
  end
  t.eq(count > 50, true)
end)

t.test("numbers and strings are one token each", function()
  t.eq(meaning.tokens [==[x = 1e-3 + .5 - 0x1p+4 .. "a\"--b" .. [=[ ]] ]=] -- c]==],
    { "x", "=", "1e-3", "+", ".5", "-", "0x1p+4", "..", '"a\\"--b"', "..", "[=[ ]] ]=]" })
  t.eq(meaning.tokens "#!/usr/bin/lua\na ~= b // 2 --[[ c\n]] ::d::",
    { "a", "~=", "b", "//", "2", "::", "d", "::" })
  t.eq(meaning.tokens [[a = '\\' .. b]], { "a", "=", [['\\']], "..", "b" })
end)

t.test("the suite's experiments: titles and other profiles do not count", function()
  local paths = require("flowmap.experiment.chapters").experiments()
  paths[#paths + 1] = "experiments/template.lua"
  for _, path in ipairs(paths) do
    local text = assert(files.read(path))
    if text:find 'title = "' then t.eq(changed(text, 'title = "', 'title = "X'), false, path) end
    if text:find "smoke = {" then
      t.eq(changed(text, "smoke = {", "smoke = { lr = 7,"), false, path)
    end
  end
  local template = files.read "experiments/template.lua"
  t.eq(changed(template, "2 * math.pi", "3 * math.pi"), true)
  t.eq(changed(template, "a.dx + (a.t", "a.dx - (a.t"), true)
end)

local CODE = "local f = function() return 3 end\n"

t.test("fields outside of functions, in all their forms", function()
  for _, text in ipairs {
    CODE .. "return { title = 'a', losses = { x = f }, seeds = 2 }",
    CODE .. "local t = { title = 'a', seeds = 2 }\nt.losses = { x = f }\nreturn t",
    CODE .. "local t = {}\nt.title = 'a'\nt.losses = { x = f }\nt.seeds = 2\nreturn t",
    CODE .. "local images = require 'flowmap.experiment.image_template'\n"
      .. "local t = { title = 'a', seeds = 2,"
      .. " losses = { x = f } }\nreturn images.experiment(t)",
    CODE .. "local images = require 'flowmap.experiment.image_template'\n"
      .. "return images.experiment { title = 'a', losses = { x = f }, seeds = 2 }",
    -- a field that is named like the table is no use of it
    CODE .. "local lr = { title = 'a', seeds = 2, losses = { x = f } }\n"
      .. "lr.profiles = { smoke = { lr = 3, ema = 4 } }\nlr.grid = { lr = { 1 } }\nreturn lr",
  } do
    t.eq(changed(text, "'a'", "'b' .. 'c'"), false, text)
    t.eq(changed(text, "seeds = 2", "seeds = 5"), false, text)
    t.eq(changed(text, "return 3", "return 4"), true, text)
    t.eq(changed(text, "x = f", "y = f"), true, text)
  end
  local drawn = CODE .. "local t = {}\nt.figures = { own = function(s) return { a = 'red' } end }\n"
    .. "t.render = { { kind = 'own', if_so = function() return 1 end } }\nreturn t"
  t.eq(changed(drawn, "'red'", "'blue'"), false)
  t.eq(changed(drawn, "return 1 ", "return 2 "), false)
end)

t.test("in doubt, a change counts", function()
  for _, text in ipairs {
    -- read by a loss
    "local t = { settings = { c = 3 } }\nfunction t.f() return t.settings.c end\nreturn t",
    "local t = { settings = { c = 3 } }\nlocal c = t.settings.c\nreturn { losses = { x = c } }",
    "local t = { settings = { c = 3 } }\nt.f = function() return t['settings'].c end\nreturn t",
    -- the table as a whole goes elsewhere
    "local t = { settings = { c = 3 } }\nt.f = function() return g(t) end\nreturn t",
    "local t = { settings = { c = 3 } }\nt.f = function() return t[k].c end\nreturn t",
    "local function f() return 9 end\n"
      .. "local t = { settings = { c = 3 } }\nfor k, v in pairs(t) do t.f = v end\nreturn t",
    "local function f() return 9 end\nlocal t = { settings = { c = 3 } }\n"
      .. "local u = { losses = { x = function() t = f(t) return t end } }\nt.f = u\nreturn t",
    "local t = { settings = { c = 3 } }\nlocal u = { x = t }\nt.losses = u\nreturn t",
    -- made by a function of the file, which may do more
    "local function g(x) K = x return {} end\nlocal t = { losses = { x = g } }\n"
      .. "t.settings = g(3)\nreturn t",
    "local h = dofile 'h.lua'\nlocal t = { losses = {} }\nt.settings = h.made(3)\nreturn t",
    -- of another table, or inside a function
    "local o = { settings = { c = 3 } }\nlocal t = { losses = { x = o } }\nreturn t",
    "local t = { losses = { x = function() local u = {} u.settings = 3 return u end } }\nreturn t",
    "local t = { losses = { x = function() return { render = 3 } end } }\nreturn t",
    -- a part of Lua or of the suite that is changed
    "math.pi = 3\nreturn { name = 'x' }",
    "require('flowmap.times').uniform = require('flowmap.times').mine3\nreturn { name = 'x' }",
  } do
    t.eq(changed(text, "3", "4"), true, text)
  end
end)

t.done()
