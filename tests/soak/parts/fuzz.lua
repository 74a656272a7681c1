--- Readers of files from elsewhere are fuzzed (tests/fuzz): libFuzzer with sanitizers where `make
-- fuzz` found a clang, else a driver that damages files at random. A point is a seed; executions
-- count. What libFuzzer finds worth keeping is kept in build/soak/corpus between sessions.
-- @module fuzz

local files = require "flowmap.base.files"
local lfs = require "lfs"
local place = require "place"

local M = { what = "a reader is given bytes of a fuzzer", unit = "executions" }

local SEEDS = 1 << 20
local SECONDS = 30 -- of a point, at most
local RUNS = tonumber(os.getenv "FUZZ_RUNS" or 1000000)

local function fuzzer()
  for _, build in ipairs { "build/libfuzzer", "build" } do
    local path = ("%s/%s/fuzz/fuzz"):format(place.here, build)
    if lfs.attributes(path) then return path end
  end
end

function M.unable() return not fuzzer() and "there is no fuzzer; make fuzz builds one" or nil end

-- A call may rightly ask for any memory; a fuzzer stops at what is larger than its own limit.
local COMMAND = [[mkdir -p %s %s; rm -f %s/crash-*; export FUZZ_TARGET=%s FUZZ_ROOT=%s; ]]
  .. [[export ASAN_OPTIONS=allocator_may_return_null=1:max_allocation_size_mb=1024:detect_leaks=0;]]
  .. [[ FM_THREADS=1 timeout 600 %s -runs=%d -seed=%d -max_total_time=%d -timeout=60 ]]
  .. [[-rss_limit_mb=3000 -max_len=%d -print_final_stats=1 -artifact_prefix=%s/ %s %s >%s 2>&1]]

local q = files.quote

local function run(name, seed)
  local kept, crashes = place.build .. "/corpus/" .. name, place.build .. "/crashes/" .. name
  local seeds, log = place.here .. "/tests/fuzz/corpus/" .. name, place.build .. "/fuzz.log"
  local largest = name == "pack" and 5000 or 4096
  local code = place.shell(COMMAND:format(q(kept), q(crashes), q(crashes), name, q(place.here),
    q(fuzzer()), RUNS, seed, SECONDS, largest, q(crashes), q(kept), q(seeds), q(log)))
  local said = files.read(log) or ""
  local count = tonumber(said:match "number_of_executed_units: *(%d+)") or 0
  if code == 0 and count > 0 then return nil, count end
  return ("exit code %d: %s\nthe input is in %s"):format(code, said:sub(-1500), crashes), count
end

function M.cases()
  files.mkdir(place.build .. "/tmp")
  assert(lfs.chdir(place.build)) -- where the environment of commands lies
  local list = {}
  for _, name in ipairs(files.folders(place.here .. "/tests/fuzz/corpus")) do
    list[#list + 1] = { name = name, count = function() return SEEDS end,
      try = function(k) return run(name, k) end }
  end
  return list
end

return M
