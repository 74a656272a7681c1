--- A folder in which commands are disturbed: a finished run, an interrupted one, pictures with what
-- an import made of them, figures; and the commands with what must hold after each.
-- @module place

local core = require "flowmap.core"
local files = require "flowmap.base.files"
local lfs = require "lfs"

local M = {}

M.here = lfs.currentdir()
M.program = os.getenv "FLOWMAP" or M.here .. "/flowmap"

-- The folder of places and of what is remembered between sessions.
M.build = os.getenv "SOAK" or M.here .. "/build/soak"

local MARK = 105  -- bytes of a run's mark when it is complete
local LIMIT = 120 -- seconds after which a command hangs

-- Commands stay inside the folder, whatever the user has set.
local ENVIRONMENT = [[export HOME="$PWD" XDG_CACHE_HOME="$PWD/cache" XDG_DATA_HOME="$PWD/cache"
export XDG_CONFIG_HOME="$PWD" TMPDIR="$PWD/tmp"; unset FLOWMAP_DATA]]

-- ------------------------------------------------------------------ files

-- Files that depend on the clock; those that come and go.
local function passing(name)
  return name:find "manifest%.json$" or name:find "history%.jsonl$" or name:find "%.tmp%."
    or name:find "%.prev$" or name:find "%.log$"
end

--- The hashes of the files below a path.
-- @tparam string path a folder or a file
-- @treturn string one line for each file
function M.hashes(path)
  if lfs.attributes(path, "mode") == "file" then return core.sha256_file(path) end
  if not lfs.attributes(path) then return "absent" end
  local lines = {}
  for _, name in ipairs(files.below(path)) do
    if not passing(name) then lines[#lines + 1] = core.sha256_file(path .. "/" .. name) .. name end
  end
  return table.concat(lines, "\n")
end

--- Whether a folder is a run's.
function M.marked(dir) return lfs.attributes(dir .. "/.flowmap", "size") == MARK end

--- Run a shell command in the folder.
-- @tparam string command
-- @treturn integer its exit code
function M.shell(command)
  local _, how, code = os.execute(ENVIRONMENT .. "\n" .. command)
  return how == "signal" and 128 + code or code
end

--- Run the program; its messages are left in the file err.
-- @tparam string arguments
-- @tparam[opt] string before what comes before the program's name: variables, fail_call
-- @tparam[opt] string first commands that come first
-- @tparam[opt] integer limit seconds after which it is killed
-- @treturn integer its exit code, 128 + signal
function M.flowmap(arguments, before, first, limit)
  local line = "%s\nexec timeout -s KILL %d env FM_THREADS=2 %s %s %s >out 2>err </dev/null"
  return M.shell(line:format(first or "", limit or LIMIT, before or "",
    files.quote(M.program), arguments))
end

--- Run a command that forks (fail_alloc.c), and look at each child when it has ended.
-- @tparam table command
-- @tparam string before variables
-- @tparam function look (k, exit code)
function M.forking(command, before, look)
  local line = "%s; rm -f answers; mkfifo answers; %s\n%s FM_THREADS=1 LD_PRELOAD=./fail.so "
    .. "%s %s 9>&1 8<>answers >/dev/null 2>&1 </dev/null"
  local asked <close> = assert(io.popen(line:format(ENVIRONMENT, command.first or "true", before,
    files.quote(M.program), command.args)))
  local answers
  for said in asked:lines() do
    answers = answers or assert(io.open("answers", "w"))
    look(math.tointeger(said:match "^%d+"), math.tointeger(said:match "%d+$"))
    assert(answers:write "\n" and answers:flush())
  end
  if answers then answers:close() end
end

--- The output of the program.
-- @treturn string
function M.said() return files.read "err" or "" end

-- ------------------------------------------------------------------ commands and what must hold

local RUN = "run tiny.lua --profile smoke --out "

local function old_or_new(path, old, new)
  local found = M.hashes(path)
  if found ~= M.hashes(old) and found ~= M.hashes(new) then return path .. " is damaged" end
end

-- A run that may have ended anywhere continues, or starts where nothing was kept.
local function continue(dir)
  local code = M.flowmap(RUN .. dir .. (lfs.attributes(dir .. "/.flowmap") and " --resume" or ""))
  if code == 2 and M.said():find "no run" then code = M.flowmap(RUN .. dir) end
  return code
end

--- The commands by name: `first`, shell commands that restore the files; `args`; `result` and
-- `like`, what is made and an undisturbed example; `kept`, which says what was damaged though the
-- command failed; `again`, which completes what a failed command began.
M.commands = {
  start = { args = "info" },
  trace = { args = "params tiny.lua --profile smoke" },
  explain = { args = "explain tiny.lua --profile smoke --program=plan" },
  run = { first = "rm -rf fresh", args = RUN .. "fresh", result = "fresh", like = "kept",
    again = function() return continue "fresh" end },
  resume = { first = "rm -rf more && cp -r interrupted more", args = RUN .. "more --resume",
    result = "more", like = "kept", again = function() return continue "more" end },
  sample = { first = "cp kept/samples-N1.npy x.npy", result = "x.npy", like = "twenty.npy",
    args = "sample kept/checkpoint.safetensors --count 20 --out x.npy",
    kept = function() return old_or_new("x.npy", "kept/samples-N1.npy", "twenty.npy") end },
  import = { first = "rm -rf cache && cp -r drawn cache", args = "data import afhq images",
    result = "cache/flowmap", like = "imported/flowmap",
    kept = function()
      if M.hashes "images" ~= M.hashes "pictures" then return "the pictures are damaged" end
    end },
  render = { first = "rm -rf results && cp -r finished results", result = "results/tiny",
    args = "reproduce tiny.lua --profile smoke --seeds 1", like = "rendered/tiny" },
}

local Lua = [[
for _, class in ipairs { "cat", "dog", "wild" } do
  fm.save_png("images/train/" .. class .. "/a.png", fm.zeros { 64, 64, 3 })
end]]

local function build_tools()
  local code = M.shell(([[set -e; from=%s/tests/soak; cp $from/tiny.lua .
    ${CC:-cc} -shared -fPIC -O1 -o fail.so $from/fail_alloc.c
    ${CC:-cc} -std=c11 -O1 -o fail_call $from/fail_call.c]]):format(files.quote(M.here)))
  if code ~= 0 then error("soak: tests/soak/*.c do not compile", 0) end
end

-- Steps of preparation: a command of the program, and shell commands after it.
local function prepare()
  files.mkdir "tmp"
  for _, class in ipairs { "cat", "dog", "wild" } do files.mkdir("images/train/" .. class) end
  core.write_file("draw.lua", "local fm = require 'flowmap'\n" .. Lua)
  local steps = {
    { RUN .. "kept", "true" },
    { "sample kept/checkpoint.safetensors --count 20 --out twenty.npy", "true" },
    { "lua draw.lua", "cp -r images pictures" },
    { M.commands.render.args, "rm -rf results/tiny/smoke/.drawn.json; cp -r results rendered; "
      .. "rm -rf results/tiny/smoke/figures; cp -r results finished; cp -r cache drawn" },
    { "data import afhq images", "cp -r cache imported" },
    { RUN .. "interrupted", "test -e interrupted/checkpoint.safetensors",
      killed = "KILL_AFTER=checkpoint.safetensors LD_PRELOAD=./fail.so" },
  }
  for _, step in ipairs(steps) do
    local code = M.flowmap(step[1], step.killed)
    if code ~= (step.killed and 137 or 0) or M.shell(step[2]) ~= 0 then
      error(("soak: the preparation fails: %s: exit code %d: %s"):format(step[1], code, M.said()))
    end
  end
end

--- Enter the folder, which is prepared if this program has not done so yet.
function M.enter()
  local dir = M.build .. "/place"
  local look = lfs.attributes(M.program)
  local made_by = ("%d %d\n"):format(look.size, look.modification)
  if files.read(dir .. "/made-by") ~= made_by then
    if lfs.attributes(dir) then files.remove_tree(dir) end
    files.mkdir(dir)
    assert(lfs.chdir(dir))
    build_tools()
    prepare()
    core.write_file("made-by", made_by)
  end
  assert(lfs.chdir(dir))
end

-- ------------------------------------------------------------------ verdicts

local LUA_WORDS = { "stack traceback", "attempt to ", "bad argument" }

-- A fault of the messages of a command that failed, or nil: one sentence is expected.
local function not_a_sentence(text, about)
  local _, lines = text:gsub("%f[^\n\0]flowmap: ", "")
  if lines ~= 1 then return ("%d sentences"):format(lines) end
  for _, words in ipairs(LUA_WORDS) do
    if text:find(words, 1, true) then return "a message in Lua's words" end
  end
  if about and not text:find(about) then return "an error that is not about " .. about end
end

--- The loss that a disturbed command caused, or nil.
-- @tparam table command of `commands`
-- @tparam integer code its exit code
-- @tparam table how codes = exit codes that are right if it fails; about = a word that its sentence
--   must hold; again = whether the command is repeated, undisturbed
-- @treturn ?string
function M.lost(command, code, how)
  local text = M.said()
  local function with(what) return ("%s (exit code %d: %s)"):format(what, code, text:sub(-300)) end
  local reference = command.like and M.hashes(command.like)
  if code == 0 then
    if command.result and M.hashes(command.result) ~= reference then return with "other results" end
    return nil
  end
  if code ~= 137 or not how.killed then
    if not how.codes[code] then return with "a wrong exit code" end
    local wrong = not_a_sentence("\n" .. text, how.about)
    if wrong then return with(wrong) end
  end
  local damage = command.kept and command.kept()
  if damage then return with(damage) end
  if not how.again then return nil end
  local second = command.again and command.again() or M.flowmap(command.args)
  if second ~= 0 then
    return ("repeated, it fails: %s; the first time: %s"):format(M.said(), text)
  end
  if command.result and M.hashes(command.result) ~= reference then
    return with "repeated, it has other results"
  end
end

return M
