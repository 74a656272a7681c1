--- A private folder for one test program, and commands that write nothing outside of it.
-- It lies where TMPDIR says and is removed with everything in it when the program ends; the folder
-- of a program that was killed is removed by the next. Commands run in `root`; their home, caches,
-- data sets and temporary files lie beside it.
-- @module sandbox

local core = require "flowmap.core"
local files = require "flowmap.base.files"
local lfs = require "lfs"

local M = {}

local private = core.private_folder()

--- The folder of the tests' files, empty at first.
M.root = private .. "/work"

--- The folder from which the tests were started: that of the sources.
M.here = lfs.currentdir()

--- The flowmap program under test, and the folder of what was built with it.
M.program = os.getenv "FLOWMAP" or M.here .. "/flowmap"
M.build = os.getenv "FLOWMAP_BUILD" or M.here .. "/build"

for _, name in ipairs { "work", "home", "cache", "data", "tmp" } do
  assert(lfs.mkdir(private .. "/" .. name))
end

local output = private .. "/output"

-- %s: the private folder. A make that runs the tests has told its own jobs by variables.
local ENVIRONMENT = ("unset MAKEFLAGS MFLAGS MAKELEVEL; export HOME=%s/home XDG_CACHE_HOME=%s/cache"
  .. " XDG_DATA_HOME=%s/home/share XDG_CONFIG_HOME=%s/home/config FLOWMAP_DATA=%s/data"
  .. " TMPDIR=%s/tmp"):gsub("%%s", (files.quote(private):gsub("%%", "%%%%")))

--- The folders of packed images: FLOWMAP_DATA and the cache of every command.
M.data, M.cache = private .. "/data", private .. "/cache"

--- The path of a file below `root`.
-- @tparam string name an absolute path stays as it is
function M.path(name)
  return name:sub(1, 1) == "/" and name or M.root .. "/" .. name
end

--- Make a folder and its missing parents.
-- @tparam string name
-- @treturn string its path
function M.mkdir(name)
  files.mkdir(M.path(name))
  return M.path(name)
end

--- Write a file, replacing an existing one; missing parent folders are made.
-- @tparam string name
-- @tparam string text
-- @treturn string its path
function M.write(name, text)
  local path = M.path(name)
  files.mkdir(path:match "^(.*)/")
  local file = assert(io.open(path, "wb"))
  assert(file:write(text))
  assert(file:close())
  return path
end

--- The contents of a file; nil if it does not exist.
-- @tparam string name
function M.read(name) return (files.read(M.path(name))) end

--- Whether a file or folder of that name exists.
-- @tparam string name
function M.exists(name) return files.exists(M.path(name)) end

--- Run a shell command in `root`; standard input is empty.
-- @tparam string command
-- @tparam[opt] string environment variables over those of the sandbox: "A=1 B=2"
-- @treturn integer exit code
-- @treturn string all of its output
function M.run(command, environment)
  local _, _, code = os.execute(("%s %s\ncd %s && {\n%s\n} >%s 2>&1 </dev/null"):format(ENVIRONMENT,
    environment or "", files.quote(M.root), command, files.quote(output)))
  return code, files.read(output)
end

--- Run the program; like `run`.
-- @tparam string arguments
-- @tparam[opt] string environment
function M.flowmap(arguments, environment)
  return M.run(files.quote(M.program) .. " " .. arguments, environment)
end

--- Run the program and send it a signal as soon as a file holds certain words; like `run`. Waits
-- for the event, not for a time: on a busy machine it takes a second to load the program.
-- @tparam string arguments
-- @tparam string signal "INT", "TERM", "KILL"
-- @tparam string name the file, for instance the journal of the first steps
-- @tparam[opt] string words that it must hold
function M.interrupt(arguments, signal, name, words)
  return M.run(("env --default-signal=INT,TERM %s %s & k=0\nuntil grep -qs %s %s || test $k -gt 999"
    .. "; do sleep 0.02; k=$((k + 1)); done; kill -%s $!; wait $!"):format(files.quote(M.program),
    arguments, files.quote(words or "."), files.quote(name), signal))
end

--- Run a script in a stock Lua; like `run`.
-- @tparam string script
-- @tparam[opt] string environment
function M.lua(script, environment)
  local path = private .. "/script.lua"
  M.write(path, script)
  return M.run("lua5.4 " .. files.quote(path), environment)
end

--- Let a folder of the sources be seen below `root`, by its name there.
-- @tparam string name
function M.link(name) assert(lfs.link(M.here .. "/" .. name, M.path(name), true)) end

--- Whether a program is installed.
-- @tparam string name
function M.has(name) return M.run("command -v " .. name) == 0 end

--- Skip the test that runs, and say so, unless programs are installed.
-- @tparam string ... their names
function M.needs(...)
  for _, name in ipairs { ... } do
    if not M.has(name) then error { skip = name .. " is not installed" } end
  end
end

return M
