-- experiments/hello.lua, the newcomer's door: it needs no framework, is quick, and learns.

local t = require "harness"
local files = require "flowmap.base.files"
local sandbox = require "sandbox"

local script = files.quote(sandbox.here .. "/experiments/hello.lua")

local function distances(out)
  local found = {}
  for N, distance in out:gmatch "N = (%d+)  energy distance to the data (%S+)" do
    found[tonumber(N)] = tonumber(distance)
  end
  return found
end

t.test("hello.lua learns: one and four steps come far nearer to the data than noise", function()
  local code, out = sandbox.flowmap("lua " .. script)
  t.eq(code, 0, out)
  local found = distances(out)
  t.eq(found[0] > 0.05, true, out)
  t.eq(found[1] < found[0] / 20 and found[4] < found[0] / 20, true, out)
  t.eq(sandbox.read "hello.png":sub(2, 4), "PNG")
end)

t.test("flowmap lua: `arg` is as the program lua sets it", function()
  local code, out = sandbox.flowmap("lua " .. files.quote(sandbox.write("arg.lua",
    "print(arg[0] == debug.getinfo(1, 'S').source:sub(2), #arg, arg[1], arg[2])")) .. " a b")
  t.eq({ code, out }, { 0, "true\t2\ta\tb\n" })
end)

t.test("flowmap run refuses a script, which returns no experiment, before it runs it", function()
  sandbox.write("script.lua",
    "local function f() return 1 end\nio.open('ran', 'w'):write(f()):close()")
  local code, out = sandbox.flowmap "run script.lua"
  t.eq(code, 2, out)
  t.eq(out, "flowmap: script.lua returns nothing; an experiment returns a table (a script is run "
    .. "by `flowmap lua script.lua`)\n")
  t.eq(files.exists(sandbox.root .. "/ran"), false)
end)

t.test("flowmap lua: arguments, what is no file, what is no Lua, errors", function()
  local code, out = sandbox.flowmap("lua " .. files.quote(sandbox.write("args.lua",
    "print(require 'flowmap'.tensor { 1 }.shape[1], ...)")) .. " a b")
  t.eq(code, 0, out)
  t.eq(out, "1\ta\tb\n")
  code, out = sandbox.flowmap "lua absent.lua"
  t.eq(code, 2, out)
  t.eq(out, "flowmap: there is no file 'absent.lua'; expected a Lua file such as "
    .. "experiments/hello.lua\n")
  sandbox.write("broken.lua", "return return")
  code, out = sandbox.flowmap "lua broken.lua"
  t.eq(code, 2, out)
  t.eq(out:find "broken.lua is not valid Lua" ~= nil, true, out)
  sandbox.write("fails.lua", "require('flowmap').sum(1)")
  code, out = sandbox.flowmap "lua fails.lua"
  t.eq(code, 2, out)
  t.eq(out, "flowmap: fails.lua:1: sum: a number found, expected a tensor\n")
end)

t.done()
