-- The manual page: all commands and options are in it, and troff has nothing to complain about.

local t = require "harness"
local cli = require "flowmap.app.cli"
local files = require "flowmap.base.files"
local manual = require "flowmap.app.manual"
local sandbox = require "sandbox"
local usage = require "flowmap.app.usage"

local source = manual.text(cli)
local text = source:gsub("\\%-", "-")

local function has(words, where)
  t.eq((where or text):find("\n" .. words .. "\n", 1, true) ~= nil, true, words)
end

t.test("the manual page describes every command and every option", function()
  for _, command in ipairs(usage.commands(cli)) do
    if not command.commands then has(".Nm\n.Cm " .. command.name) end
    local heading = command.name:gsub("%-", "%%-")
    local section = text:match("\n%.Ss " .. heading .. "\n(.-)\n%.S[sh] ") .. "\n"
    for _, argument in ipairs(command.arguments) do
      if argument.positional then
        has(".It Ar " .. argument.key, section)
      elseif not argument.shared and not argument.information then
        for _, name in ipairs(argument.names) do
          t.eq(section:find("Fl " .. name:sub(2), 1, true) ~= nil, true, command.name .. name)
        end
      end
    end
  end
  for _, list in ipairs { cli.everywhere, cli.information } do
    for _, spec in ipairs(list) do
      for name in spec[1]:gmatch "%-(%S+)" do
        t.eq(text:find("Fl " .. name, 1, true) ~= nil, true, name)
      end
    end
  end
  for _, code in ipairs(cli.exit_codes) do has(".It " .. code[1]) end
  t.eq(text:find("parent", 1, true), nil) -- hidden
end)

t.test("its environment variables are those that the sources read", function()
  for _, name in ipairs { "FLOWMAP_DATA", "FLOWMAP_INCEPTION", "FM_THREADS", "FM_ISA" } do
    has(".It Ev " .. name)
  end
  local _, found = sandbox.run(("grep -rhoE 'getenv *\\(?\"(FM|FLOWMAP)_[A-Z_]+' %s/core %s/lua")
    :format(files.quote(sandbox.here), files.quote(sandbox.here)))
  local count = 0
  for name in found:gmatch '"([A-Z_]+)' do
    has(".It Ev " .. name)
    count = count + 1
  end
  t.eq(count > 3, true, found)
end)

t.test("special characters reach the reader", function()
  t.eq(text:find('"kl.LSD.N1 - kl', 1, true) ~= nil, true) -- quotes in text stay
  for line in source:gmatch "[^\n]+" do
    t.eq(line:find "^'" or line:find "^%.%l" or line:find "[\128-\255]", nil, line)
    local rest = line:gsub("\\%-", ""):gsub("\\&", ""):gsub("\\%(dq", ""):gsub('^%.\\"', "")
    t.eq(rest:find("\\", 1, true), nil, line)
  end
end)

t.test("mandoc and man find nothing wrong", function()
  sandbox.write("flowmap.1", source)
  local tried
  for name, command in pairs {
    mandoc = "mandoc -T lint -W warning flowmap.1 | grep -v mandoc.db; :",
    man = "man --warnings -l flowmap.1 2>&1 >shown" } do
    if sandbox.has(name) then
      tried = true
      local code, out = sandbox.run(command)
      t.eq(code, 0, out)
      t.eq(out, "", name)
    end
  end
  if not tried then t.skip("lint", "neither mandoc nor man is installed") end
end)

t.test("the page's date is the day of the release in CITATION.cff", function()
  t.eq(files.read "CITATION.cff":match "\ndate%-released: ([%d-]+)\n", cli.released)
end)

t.done()
