-- Targets of the Makefile that no other test calls, in a folder of the test.

local t = require "harness"
local files = require "flowmap.base.files"
local sandbox = require "sandbox"

local function make(words)
  local command = "env -u MAKEFLAGS -u MAKELEVEL make -f %s/Makefile B=build PROGRAM=flowmap %s"
  return sandbox.run(command:format(files.quote(sandbox.here), words))
end

local FILES = "mkdir -p build/core build/verify/lsd paper/build results/lsd && touch flowmap "
  .. "build/core/a.o build/.hidden build/verify/lsd/eval.json paper/build/a.html "
  .. "results/lsd/eval.json"

t.test("clean keeps what verify has made, and says so", function()
  t.eq(sandbox.run(FILES), 0)
  local code, text = make "clean"
  t.eq(code, 0, text)
  t.eq(text:find("kept: build/verify", 1, true) ~= nil, true, text)
  local _, left = sandbox.run "find build results paper flowmap -type f 2>/dev/null | sort"
  t.eq(left, "build/verify/lsd/eval.json\nresults/lsd/eval.json\n")
end)

t.test("clean leaves no empty folder, and may be repeated", function()
  t.eq(sandbox.run(FILES .. "; rm -r build/verify"), 0)
  for _ = 1, 2 do
    local code, text = make "clean"
    t.eq(code, 0, text)
    t.eq(text:find("kept", 1, true), nil, text)
    t.eq(sandbox.exists "build", false)
  end
end)

t.test("lint-tidy looks at each file for itself, and tells which", function()
  local code, text = make(("-C %s -n run-tidy"):format(files.quote(sandbox.here)))
  t.eq(code, 0, text)
  local told, tried = 0, 0
  for file in text:gmatch "TIDY '([^\n']+%.c)%.[^\n']*tidy'" do
    told = told + 1
    t.eq(files.exists(file), true, file)
  end
  for line in text:gmatch "clang%-tidy[^\n]*" do
    tried = tried + 1
    t.eq(select(2, line:gsub("core/%S*%.c ", "")), 1, line)
  end
  t.eq(told > 100 and told == tried, true, ("%d told, %d tried"):format(told, tried))
end)

t.done()
