--- Commands in adverse surroundings: closed and full streams, locales, time zones, limits,
-- variables that lie; and names and files of every kind where they expect others. Each succeeds
-- with the same results or says why not, in one sentence and by exit code 2 or 3; none hangs.
-- @module places

local files = require "flowmap.base.files"
local place = require "place"

local M = { what = "a command in adverse surroundings", unit = "commands" }

local PROGRAM = files.quote(place.program)

-- Around a command: %s. Standard error goes to the file err unless the surrounding closes it.
local around = {
  "%s <&-", "%s >&-", "%s 2>&-", "%s <&- >&- 2>&-", "%s >/dev/full", "%s 2>/dev/full",
  "%s | true", "%s | head -c 1", "%s <.", "(trap '' PIPE; %s) | true", "yes | %s", "nohup %s",
  "LC_ALL=de_DE.UTF-8 %s", "LC_ALL=tr_TR.UTF-8 %s", "LC_ALL=nowhere %s", "LANG= LC_NUMERIC=de %s",
  "TZ=Pacific/Kiritimati %s", "TZ=:/nowhere %s", "TZ=x %s", "umask 077; %s", "umask 777; %s",
  "TERM=dumb %s", "TERM= %s", "COLUMNS=1 %s", "COLUMNS=x %s", "COLUMNS=99999999999 %s",
  "HOME= %s", "HOME=/nowhere %s", "TMPDIR=/nowhere %s", "TMPDIR= %s",
  "XDG_CACHE_HOME=/dev/null %s",
  "XDG_CACHE_HOME=relative %s", "PATH=/nowhere %s", "PATH= %s", "ulimit -n 9; %s",
  "ulimit -n 16; %s",
  "ulimit -f 0; %s", "ulimit -f 8; %s", "ulimit -s 256; %s", "ulimit -u 1; %s",
  "ulimit -v 60000; %s",
  "ulimit -v 300000; %s", "ulimit -t 20; %s", "LUA_PATH=x %s", "LUA_INIT=@/nowhere %s",
  "LUA_INIT='error(1)' %s", "LUA_CPATH='/dev/null;' %s", "FM_THREADS=-1 %s", "FM_THREADS=x %s",
  "FM_THREADS=99999999999999999999 %s", "FM_ISA=none %s", "OPENBLAS_NUM_THREADS=0 %s",
  "OMP_NUM_THREADS=9999 %s", "FLOWMAP_DATA=/nowhere %s", "FLOWMAP_DATA=tiny.lua %s",
  "GIT_DIR=/nowhere %s", "NO_COLOR=1 %s", "env -i %s", "setsid %s", "cd /; %s", "cd /proc; %s",
  "POSIXLY_CORRECT=1 %s", "SOURCE_DATE_EPOCH=x %s", "MALLOC_PERTURB_=85 %s",
  "MALLOC_ARENA_MAX=1 %s",
}

local here -- the folder, absolute: some surroundings leave it

local commands = {
  { "info", "info" }, { "help", "--help" },
  { "run", "run %s/tiny.lua --profile smoke --out %s/fresh", "fresh", "kept" },
  { "sample", "sample %s/kept/checkpoint.safetensors --count 20 --out %s/x.npy", "x.npy",
    "twenty.npy" },
  { "runs", "runs %s" }, { "import", "data import afhq %s/images", "cache/flowmap" },
  { "explain", "explain %s/tiny.lua --profile smoke" },
}

-- Names and files where a command expects others: in the folder `odd`, made by MAKE.
local MAKE = [[rm -rf odd; mkdir odd; cd odd; mkfifo fifo; mkdir folder 'a folder'; : >empty
ln -s loop loop; ln -s nowhere dangling; ln -s ../kept link; ln -s ../tiny.lua tiny
printf '\377\376x\0y' >binary; printf 'return {\r\n}\r\n' >crlf; printf 'return' >short
printf 'local fm = ...\n' >none; printf '\033Lua' >bytecode; cp ../tiny.lua -- -tiny.lua
cp ../tiny.lua 'ü ".lua'; printf '%%d' >percent; head -c 100 ../kept/checkpoint.safetensors >part
cp -r ../kept run; mkdir run/manifest.json.d; cp -r ../kept fifos; rm fifos/eval.json
mkfifo fifos/eval.json; cp -r ../kept folders; rm folders/manifest.json; mkdir folders/manifest.json
cp -r ../kept loops; rm loops/config.json; ln -s config.json loops/config.json]]

local NAMES = { "odd/fifo", "odd/folder", "'odd/a folder'", "odd/empty", "odd/loop", "odd/dangling",
  "odd/link", "odd/tiny", "odd/binary", "odd/crlf", "odd/short", "odd/none", "odd/bytecode",
  "odd/-tiny.lua", "-- -tiny.lua", "'odd/ü \".lua'", "odd/percent", "odd/part", "odd/run",
  "odd/fifos", "odd/folders", "odd/loops", "/dev/null", "/dev/full", "/dev/zero", "/dev/stdin",
  "''",
  "' '", ".", "..", "/", "-", "--", "-x", "$(printf 'a\\nb')", "$(printf '\\377')", "odd/empty/x",
  "$(printf 'x%.0s' $(seq 300))", "~", "'*'", "'$HOME'", "'`id`'", "%s", "/proc/self/mem" }

local USES = { "run %s --profile smoke --out odd/out", "run tiny.lua --profile smoke --out %s",
  "sample %s --out odd/x.npy", "sample kept/checkpoint.safetensors --out %s", "runs %s",
  "why %s", "audit %s", "diff %s kept", "data import afhq %s", "explain %s", "params %s",
  "lua %s", "settings --experiment %s", "reproduce %s --profile smoke --dry-run",
  "run tiny.lua --profile smoke --set teacher=%s --method lmd --out odd/out", "new %s",
  "run tiny.lua --profile smoke --set start=%s --out odd/out", "accept %s --why x" }

local CODES = { [0] = true, [2] = true, [3] = true }

-- A fault of the way a command ended, or nil; `quiet`: its messages cannot be seen.
local function wrong(code, quiet, codes)
  local said = place.said()
  for _, words in ipairs { "traceback", "attempt to ", "bad argument", "stack overflow" } do
    if said:find(words, 1, true) then return ("Lua's words: %s"):format(said:sub(-400)) end
  end
  if not (codes or CODES)[code] then return ("exit code %d: %s"):format(code, said:sub(-400)) end
  if code == 0 or quiet or ("\n" .. said):find "\nflowmap: %S" then return nil end
  return ("exit code %d without a sentence: %s"):format(code, said:sub(-400))
end

local RESTORE = "rm -rf fresh x.npy cache relative out err; cp -r drawn cache; "

local function surrounded(command)
  local args = command[2]:gsub("%%s", files.quote(here))
  return { name = "around-" .. command[1], count = function() return #around end,
    try = function(k)
      local whole = ("timeout -s KILL 60 %s %s"):format(PROGRAM, args)
      local code = place.shell(RESTORE .. "exec 2>err >out; " .. around[k]:gsub("%%s",
        function() return whole end))
      local quiet = around[k]:find "2>" or around[k]:find "|"
        or around[k]:find "ulimit %-f" -- of the file with the messages, too
      local fault = wrong(code, quiet, { [0] = true, [2] = true, [3] = true, [127] = quiet,
        [126] = around[k]:find "ulimit" and true })
      if not fault and code == 0 and command[4] and not around[k]:find "|"
        and place.hashes(command[3]) ~= place.hashes(command[4]) then
        fault = "other results"
      end
      return fault and ("%s: %s"):format(around[k]:format(command[1]), fault)
    end }
end

local function named(use)
  return { name = "name-" .. use:gsub("[^%w]+", "-"), count = function() return #NAMES end,
    try = function(k)
      local args = use:gsub("%%s", function() return NAMES[k] end)
      local code = place.shell(("(%s); exec timeout -s KILL 60 %s %s 2>err >out </dev/null"):format(
        MAKE, PROGRAM, args))
      local codes = use:find "^lua " and { [0] = true, [1] = true, [2] = true, [3] = true }
        or use:find "^diff" and { [0] = true, [1] = true, [2] = true, [3] = true } or nil
      local fault = wrong(code, use:find "^diff" and code == 1, codes)
      return fault and ("%s: %s"):format(args, fault)
    end }
end

function M.cases()
  place.enter()
  here = require("lfs").currentdir()
  local list = {}
  for _, command in ipairs(commands) do list[#list + 1] = surrounded(command) end
  for _, use in ipairs(USES) do list[#list + 1] = named(use) end
  return list
end

return M
