--- Two commands at once in one folder, every command with every other that writes there and with
-- itself: each succeeds with the right results or is refused in one sentence (exit code 2), at
-- least one succeeds, and what they leave is what one of them alone would have left.
-- @module pairs

local files = require "flowmap.base.files"
local place = require "place"

local M = { what = "two commands at once in one folder", unit = "pairs" }

local RUN = "run tiny.lua --profile smoke --out "

-- Commands of one folder; `like` is what it must be in the end.
local commands = {
  { "run", RUN .. "fresh", "fresh", "kept" },
  { "resume", RUN .. "fresh --resume", "fresh", "kept" },
  { "force", RUN .. "fresh --force", "fresh", "kept" },
  { "accept", "accept fresh --why nothing", "fresh", "kept", optional = true },
  { "audit", "audit fresh", optional = true },
  { "why", "why fresh", optional = true },
  { "runs", "runs .", optional = true },
  { "diff", "diff fresh kept", optional = true },
  { "sample", "sample kept/checkpoint.safetensors --count 20 --out x.npy", "x.npy",
    "twenty.npy" },
  { "import", "data import afhq images", "cache/flowmap", "imported/flowmap" },
  { "verify", "data verify afhq", optional = true },
  { "render", "reproduce tiny.lua --profile smoke --seeds 1", "results/tiny", "rendered/tiny" },
  { "info", "info" }, { "new", "new own", "own.lua" },
  { "params", "params tiny.lua --profile smoke" },
}

local CODES = { [0] = true, [1] = true, [2] = true, [3] = true }

local function line(it, n)
  local text = "( timeout -s KILL 120 env FM_THREADS=1 %s %s >out%d 2>err%d </dev/null; "
    .. "echo $? >code%d ) &"
  return text:format(files.quote(place.program), it[2], n, n, n)
end

local function fault_of(it, n)
  local code, said = tonumber(files.read("code" .. n)), files.read("err" .. n) or ""
  if not CODES[code] then return ("%s: exit code %s: %s"):format(it[1], code, said:sub(-300)) end
  if code >= 2 and not ("\n" .. said):find "\nflowmap: " or said:find "traceback" then
    return ("%s: exit code %d without a sentence: %s"):format(it[1], code, said:sub(-300))
  end
  return nil, code
end

local FIRST = "rm -rf fresh x.npy own.lua cache results; cp -r drawn cache; cp -r finished results"

local function try(a, b)
  place.flowmap("info", nil, FIRST)
  place.shell(line(a, 1) .. "\n" .. line(b, 2) .. "\nwait")
  local fault, code = fault_of(a, 1)
  local other, second = fault_of(b, 2)
  if fault or other then return fault or other end
  if code ~= 0 and second ~= 0 and not (a.optional or b.optional) then
    return ("neither %s nor %s succeeds: %s"):format(a[1], b[1], files.read "err1")
  end
  for i, it in ipairs { a, b } do
    local done = (i == 1 and code or second) == 0
    if done and it[4] and place.hashes(it[3]) ~= place.hashes(it[4]) then
      return ("%s beside %s: other results"):format(it[1], (i == 1 and b or a)[1])
    end
  end
end

function M.cases()
  place.enter()
  local list = {}
  for i, a in ipairs(commands) do
    list[#list + 1] = { name = a[1], count = function() return #commands end,
      try = function(k)
        local b = commands[(i + k - 2) % #commands + 1]
        return try(a, b)
      end }
  end
  return list
end

return M
