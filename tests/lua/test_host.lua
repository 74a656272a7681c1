-- The Lua inside the program: text chunks only, its own modules in any environment,
-- decimal points in numbers, and errors for output that cannot be written.

local t = require "harness"
local files = require "flowmap.base.files"
local own_files = require "own_experiment"
local sandbox = require "sandbox"

local program, work, write = sandbox.program, sandbox.root, sandbox.write

-- Exit code and all output of a shell command in which %s is the program.
local function run(command) return sandbox.run((command:format(program))) end

-- The output of the prompt for a file of Lua lines.
local function prompt(...)
  local path = write("input.lua", table.concat({ ... }, "\n") .. "\n")
  local code, text = run("LC_ALL=C %s repl <" .. path)
  return text, code
end

local bytecode = string.dump(load "return 'ran'", true)

t.test("load, loadfile, dofile, require and C modules take text only", function()
  local path = write("chunk.lua", bytecode)
  write("hostbytes.lua", bytecode)
  local out = prompt(
    "print(1, load(string.dump(function() return 'ran' end)))",
    "print(2, load(string.dump(function() return 'ran' end), 'x', 'b'))",
    "print(3, load(string.dump(function() return 'ran' end), 'x', 'bt', {}))",
    "s = string.dump(function() return 'ran' end)",
    "print(4, load(function() local x = s; s = nil; return x end))",
    ("print(5, loadfile %q)"):format(path), ("print(6, loadfile(%q, 'b'))"):format(path),
    ("print(7, pcall(dofile, %q))"):format(path),
    ("package.path = %q .. package.path"):format(work .. "/?.lua;"),
    "print(8, pcall(require, 'hostbytes'))",
    "print(9, load('return 1', 'x', 'b'))", "print(10, load('return 42')())",
    "print(11, load('return y', 'x', 't', { y = 43 })())",
    "print(12, load('return nil', 'x', nil, nil)())")
  for k = 1, 8 do
    local line = out:match(("%d\t([^\n]*\n?[^\n]*)"):format(k))
    t.eq(line and line:find "attempt to load a binary chunk" ~= nil, true, k .. ": " .. out)
  end
  t.eq(out:find "ran", nil, out)
  t.eq(out:find "9\tnil\tattempt to load a text chunk" ~= nil, true, out)
  t.eq(out:find "10\t42" and out:find "11\t43" and out:find "12\tnil" and true, true, out)
end)

t.test("mutated bytecode as an experiment gives a sentence", function()
  local code, text = run("%s params " .. write("mutated.lua", bytecode:gsub("ran", "\255\254\0")))
  t.eq(code, 2, text)
  t.eq(text:find "binary chunk" ~= nil, true, text)
end)

t.test("the environment of another Lua does not hide our modules", function()
  write("argparse.lua", "error 'hidden'")
  for _, environment in ipairs {
    "LUA_PATH=/nowhere/?.lua", "LUA_PATH_5_4=/nowhere/?.lua", "LUA_CPATH=/nowhere/?.so",
    "LUA_CPATH_5_4='' LUA_PATH_5_4=''", "LUA_PATH='" .. work .. "/?.lua;;'",
    "LUA_INIT='error(1)'", "LUA_INIT_5_4=@/nowhere LUA_PATH=';;;'",
  } do
    local code, text = run(environment .. " %s info")
    t.eq(code, 0, environment .. ": " .. text)
  end
  write("ownmodule.lua", "return 'found'")
  local path = write("input.lua", "print(require 'ownmodule')\n")
  local _, text = run(("LUA_PATH='%s/?.lua' %%s repl <%s"):format(work, path))
  t.eq(text:find "found" ~= nil, true, text)
end)

t.test("a HOME that is relative, another in each folder, is none", function()
  local script = write("home.lua", "print(require('flowmap').home())")
  local _, account = sandbox.run(("env -u HOME %s lua %s"):format(program, script))
  local code, out = sandbox.run(("env HOME=here %s lua %s"):format(program, script))
  t.eq({ code, out }, { 0, account })
end)

t.test("a folder whose name Lua's search paths cannot hold is named", function()
  for _, name in ipairs { "se;mi", "wh?t" } do
    sandbox.write(name .. "/lua/flowmap/app/cli.lua", "")
    local code, out = sandbox.run(("cp %s '%s/flowmap' && '%s/flowmap' info"):format(
      files.quote(sandbox.program), name, name))
    t.eq({ code, out:find(name .. ", and Lua looks for no file in a folder whose name", 1, true)
      ~= nil }, { 2, true }, out)
  end
end)

t.test("the current folder provides modules, but replaces no library and adds to no part of ours",
  function()
    for _, name in ipairs { "lfs", "luv", "cjson", "cjson/safe", "readline", "argparse",
      "flowmap/nets/planted", "flowmap/app/planted" } do
      write("planted/" .. name .. ".lua", "io.open('PWNED', 'w'):close() error 'planted'")
    end
    write("planted/mine.lua", "return 'a module beside me'")
    write("planted/parts/init.lua", "return 'a folder beside me'")
    write("planted/use.lua", "require 'lfs' require 'luv' require 'cjson' require 'argparse'\n"
      .. "print(require 'mine', require 'parts')\n"
      .. "print(pcall(require, 'flowmap.nets.planted'), pcall(require, 'flowmap.app.planted'))")
    local _, text = sandbox.run(("cd planted && P=%s; $P lua use.lua; $P repl;\n"
      .. "$P watch --once"):format(program))
    t.eq(text:find "a module beside me\ta folder beside me" ~= nil, true, text)
    t.eq(text:find "false\tfalse\tmodule 'flowmap.app.planted' not found" ~= nil,
      true, text)
    t.eq(sandbox.exists "planted/PWNED", false, text)
  end)

t.test("output that cannot be written raises an error", function()
  for _, command in ipairs { "info", "--version", "--help", "run --help" } do
    local code, text = run("%s " .. command .. " >/dev/full")
    t.eq(code, 3, command)
    t.eq(text:find "^flowmap: standard output could not be written: No space left" ~= nil, true,
      text)
  end
  t.eq(run "%s info >&-", 3)
  local code = run "%s frobnicate >/dev/full"
  t.eq(code, 2, "an earlier failure keeps its code")
end)

t.test("debug gives no access to C functions", function()
  local out = prompt(
    "print(debug.setmetatable, debug.getregistry, debug.setuservalue, debug.setlocal)",
    "print(debug.setupvalue(fm.matmul, 1, 3))",
    "f = (function() local up = 1; return function() return up end end)()",
    "print(debug.setupvalue(f, 1, 5), f())", "print(pcall(debug.setupvalue, f, 1))")
  t.eq(out:find "nil\tnil\tnil\tnil" ~= nil, true, out)
  t.eq(out:find "up\t5" ~= nil, true, out)
  t.eq(out:find "false\tbad argument" ~= nil, true, out)
end)

t.test("the prompt survives every error", function()
  local bad = "setmetatable({}, { __tostring = function() error 'raised' end })"
  local out = prompt("getmetatable(fm.tensor{1}).__gc(3)",
    "debug.getmetatable(fm.tensor{1}).__gc(3)", bad, "error(" .. bad .. ")",
    "setmetatable({}, { __tostring = function() return 3 end })",
    "error()", "error {}", "y = fm.matmul(1, 2)", "fm.none", "nil + 1", "=", "x = = 1",
    "string.rep('x', 1 << 40)",
    "(function() local function f() return f() + 1 end return f() end)()",
    "coroutine.wrap(function() fm.exp(3) end)()", "print 'alive'")
  t.eq(out:find "alive\n> \n$" ~= nil, true, out)
  t.eq(out:find "error: .-raised" ~= nil, true, out)
  t.eq(out:find "error: prompt:1: matmul: argument 1 is 1, expected a tensor" ~= nil, true, out)
end)

t.test("a readline.lua in the current folder is not run", function()
  write("readline.lua", "print 'ran' return {}")
  local code, text = run "%s repl"
  t.eq(code, 0, text)
  t.eq(text:find "ran", nil, text)
end)

t.test("the default number of threads is that of the allowed processors", function()
  local _, nproc = run "nproc" -- it heeds the mask, too
  for _, it in ipairs { { "", math.tointeger(tonumber(nproc)) }, { "taskset -c 0 ", 1 } } do
    local code, text = run("env -u FM_THREADS " .. it[1] .. "%s info")
    t.eq(code, 0, text)
    t.eq(tonumber(text:match "threads +(%d+)") <= it[2], true, it[1] .. text)
  end
end)

t.test("modules of the suite are found by a script that has replaced package.path", function()
  own_files.write "own.lua"
  write("own.path.lua", "package.path = 'mine/?.lua' " .. sandbox.read "own.lua")
  local code, out = sandbox.flowmap "run own.path.lua --profile smoke --dry-run"
  t.eq(code, 0, out)
  write("path.lua", [[package.path = 'mine/?.lua'
    print(type(require("flowmap").losses), (pcall(require, "flowmap.none"))) ]])
  code, out = sandbox.flowmap "lua path.lua"
  t.eq({ code, out }, { 0, "table\tfalse\n" })
end)

t.done()
