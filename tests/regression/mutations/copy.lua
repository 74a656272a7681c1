--- A private copy of the sources in which faults are planted, with what has been built of them.
-- @module copy

local errors = require "flowmap.base.errors"
local files = require "flowmap.base.files"

local M = {}

local quote = files.quote

--- Run a command in a folder; its output goes to the file `log` of the copy.
-- @tparam string folder the copy
-- @tparam string command
-- @tparam[opt] string from where it runs; default: the copy
-- @treturn integer exit code
function M.run(folder, command, from)
  local _, _, code = os.execute(("cd %s && %s >%s 2>&1 </dev/null"):format(quote(from or folder),
    command, quote(folder .. "/log")))
  return code
end

--- The output of the last command.
-- @tparam string folder the copy
-- @treturn string
function M.log(folder) return files.read(folder .. "/log") end

--- Copy what builds and runs, with what has been built.
-- @tparam string folder the copy
-- @tparam[opt] string more further files and folders of tests, apart by spaces
function M.make(folder, more)
  local to = quote(folder)
  local command = ("mkdir -p %s/tests %s/build && cp -a core lua experiments paper Makefile "
    .. "flowmap %s && cp -a tests/regression %s %s/tests && cp -a build/core build/flowmap "
    .. "build/*.list build/*.a %s/build"):format(to, to, to, more or "", to, to)
  if M.run(folder, command, ".") ~= 0 then
    errors.data("the sources cannot be copied: %s", M.log(folder))
  end
end

--- Put a file back, and what was built from it, with their times, so that nothing is built for it.
-- @tparam string folder the copy
-- @tparam string file
-- @tparam boolean is_c something was built from it
function M.restore(folder, file, is_c)
  local to = quote(folder)
  local code = M.run(folder, ("cp -a %s %s"):format(quote(file), quote(folder .. "/" .. file)), ".")
  if code == 0 and is_c then
    local command = "cp -a flowmap %s && cp -a build/core build/flowmap build/*.a %s/build"
    code = M.run(folder, command:format(to, to), ".")
  end
  if code ~= 0 then errors.data("%s cannot be restored: %s", file, M.log(folder)) end
end

--- Run make with the compiler and the flags of the build that was copied.
-- @tparam string folder the copy
-- @tparam string what its targets and variables, for a shell
-- @treturn integer exit code
function M.build(folder, what)
  local flags = files.read(folder .. "/build/flags.list") or ""
  local cc, cflags = flags:match "^(.-) %-std=c11", flags:match "%-Werror=int%-conversion (.-)  "
  local command = "env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL CC= make CC=%s CFLAGS=%s %s"
  return M.run(folder, command:format(quote(cc or "cc"), quote(cflags or "-O3"), what))
end

return M
