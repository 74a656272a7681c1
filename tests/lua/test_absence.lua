-- What the program cannot open for want of memory or descriptors is not said to be absent, and a
-- library that ends the program because it finds no memory does not choose the exit code.

local t = require "harness"
local files = require "flowmap.files"

local program = os.getenv "FLOWMAP" or require("lfs").currentdir() .. "/flowmap"
local work = os.tmpname()
os.remove(work)
files.mkdir(work)

local function write(name, text)
  local file <close> = assert(io.open(work .. "/" .. name, "wb"))
  file:write(text)
end

-- Exit code and output of lines at the prompt, with `words` before the program's name.
local function prompt(words, ...)
  write("input.lua", table.concat({ ... }, "\n") .. "\n")
  local pipe = io.popen(("cd %s && exec 2>&1; %s %s repl <input.lua"):format(work, words, program))
  local text = pipe:read "a"
  local _, _, code = pipe:close()
  return code, text
end

t.test("a module that could not be opened is not 'not found'", function()
  local _, text = prompt("ulimit -n 40;", "local all, f = {}; repeat f = io.open 'input.lua'; "
    .. "all[#all + 1] = f until not f; print(pcall(require, 'flowmap.sheet'))")
  t.eq(text:find("sheet.lua: Too many open files", 1, true) ~= nil, true, text)
  t.eq(text:find "not found", nil, text)
end)

t.test("a library that ends the program", function()
  write("quits.c", "#include <stdlib.h>\nint luaopen_quits(void *L) { exit(L ? 255 : 1); }\n")
  local cc = os.getenv "CC" or "cc"
  t.eq(os.execute(("%s -shared -fPIC -o %s/quits.so %s/quits.c"):format(cc, work, work)), true)
  local code, text = prompt("", "require 'quits'")
  t.eq(code, 2, text)
  t.eq(text:find "flowmap: memory: a library [^\n]*\n$" ~= nil, true, text)
  t.eq((prompt("", "os.exit(7)")), 7)
  t.eq((prompt("", "os.exit(true, true)")), 0)
end)

os.execute("rm -rf " .. work)
t.done()
