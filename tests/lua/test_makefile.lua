-- Targets of the Makefile that no other test calls, in a folder of the test.

local t = require "harness"
local files = require "flowmap.base.files"
local sandbox = require "sandbox"

local function make(words)
  return sandbox.run(("env -u MAKEFLAGS -u MAKELEVEL make -f %s/Makefile B=build PROGRAM=flowmap %s")
    :format(files.quote(sandbox.here), words))
end

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
