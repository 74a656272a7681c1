-- A file that cannot be opened for lack of memory or descriptors is not reported as absent, and a
-- library that ends the program because memory runs out does not determine the exit code.

local t = require "harness"
local sandbox = require "sandbox"

local write = sandbox.write

-- Exit code and output of lines at the prompt, with `words` before the program's name.
local function prompt(words, ...)
  write("input.lua", table.concat({ ... }, "\n") .. "\n")
  return sandbox.run(("%s %s repl <input.lua"):format(words, sandbox.program))
end

t.test("a module that could not be opened is not 'not found'", function()
  local _, text = prompt("ulimit -n 40;", "local all, f = {}; repeat f = io.open 'input.lua'; "
    .. "all[#all + 1] = f until not f; print(pcall(require, 'flowmap.report.sheet'))")
  t.eq(text:find("sheet.lua: Too many open files", 1, true) ~= nil, true, text)
  t.eq(text:find "not found", nil, text)
end)

t.test("a library that ends the program does not determine the exit code", function()
  write("quits.c", "#include <stdlib.h>\nint luaopen_quits(void *L) { exit(L ? 255 : 1); }\n")
  local cc = os.getenv "CC" or "cc"
  t.eq(sandbox.run(cc .. " -shared -fPIC -o quits.so quits.c"), 0)
  local code, text = prompt("", "require 'quits'")
  t.eq(code, 2, text)
  t.eq(text:find "flowmap: memory: a library [^\n]*\n$" ~= nil, true, text)
  t.eq((prompt("", "os.exit(7)")), 7)
  t.eq((prompt("", "os.exit(true, true)")), 0)
end)

t.done()
