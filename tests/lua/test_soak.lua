-- A few points of every part of `make soak`: no signal, one sentence, no file lost, the same bits.
-- The seed chooses which; FM_SEED=2 tries others.

local t = require "harness"
local files = require "flowmap.base.files"
local sandbox = require "sandbox"

-- Points of each of some cases.
local function soak(parts, each, some, also)
  local where = " PARTS='%s' EACH=%d SOME=%d SEED=%s SOAK=%s RESULTS=%s"
  where = (also or "") .. where:format(parts, each, some,
    os.getenv "FM_SEED" or "1", sandbox.path "soak", sandbox.path "soak.json")
  local code, text = sandbox.run(("cd '%s' && env %s '%s' lua tests/soak/soak.lua"):format(
    sandbox.here, where, sandbox.program))
  t.eq(code, 0, text:sub(-3000))
  for part in parts:gmatch "%S+" do
    local tried = tonumber(text:match(part .. ": (%d+) [%l ]+, 0 lost"))
    local why = text:match(part .. ": left out: ([^\n]*)")
    if why then t.skip(part, why) else t.eq(tried ~= nil and tried > 0, true, text) end
  end
end

t.test("published results name no folder of the machine", function()
  local script = sandbox.write("told.lua", ([[
    package.path = "tests/soak/?.lua;" .. package.path
    local here, home = require("lfs").currentdir(), os.getenv "HOME"
    local book = require("ledger").open { results = %q, state = %q, seed = 1 }
    for k, folder in ipairs { here, here .. "/tests" } do
      require("lfs").chdir(folder)
      book:lose("calls", "calls/run/" .. k, ("%%s/a.lua, %%s, %%s/b, %%sx/c, /usr/lib"):format(here,
        here, home, here))
      print(book.results.losses[k].what == ("./a.lua, ., ~/b, %%sx/c, /usr/lib"):format(here))
    end
  ]]):format(sandbox.path "ledger.json", sandbox.path "state/state.json"))
  local code, text = sandbox.run(("cd '%s' && HOME=/home/somebody '%s' lua '%s'"):format(
    sandbox.here, sandbox.program, script))
  t.eq({ code, text }, { 0, "true\ntrue\n" })
  local published = files.read(sandbox.here .. "/paper/results/soak.json")
  for top in published:gmatch "[^%w.]/(%w+)/" do
    t.eq(top == "usr" or top == "lib" or top == "dev" or top == "proc", true, "/" .. top)
  end
end)

t.test("allocations fail", function() soak("alloc", 1, 3, "ONE_OF=9001") end)

-- glibc closes the stream of a text without an error, but without a text, if its last allocation
-- fails: a program that was printed then crashed.
t.test("any of the last allocations fails while a program is printed", function()
  if not sandbox.exists "soak/place/fail.so" then return t.skip("allocations", "no fail.so") end
  sandbox.write("soak/place/text.lua", [[
    local fm = require "flowmap"
    assert(#fm.show(function(x) return fm.exp(x) end, fm.zeros { 2 }) > 20)]])
  sandbox.write("soak/last.lua", [[
    package.path = "tests/soak/?.lua;" .. package.path
    local place, tried = require "place", 0
    place.enter()
    local command = { args = "lua text.lua" }
    assert(place.flowmap(command.args, "FAIL_COUNT=count LD_PRELOAD=./fail.so") == 0, place.said())
    local count = tonumber(require("flowmap.base.files").read "count")
    place.forking(command, "FORK_EVERY=1 FORK_AT=" .. count - 250, function(k, code)
      tried = tried + 1
      local what = place.lost(command, code, { codes = { [2] = true }, about = "memory" })
      if what then print(k, what) end
    end)
    print(tried > 100)]])
  local code, text = sandbox.run(("cd '%s' && SOAK=%s '%s' lua %s"):format(sandbox.here,
    sandbox.path "soak", sandbox.program, sandbox.path "soak/last.lua"))
  t.eq({ code, text }, { 0, "true\n" })
end)

t.test("system calls fail, or the process is killed there", function() soak("calls", 1, 4) end)
-- The exit codes of a command of which the calls whose description holds `words` fail one by one.
local function failing(kind, words, command)
  local codes, k = {}, 0
  repeat
    k = k + 1
    local line = "cd soak/place && FAIL_ONLY='%s' ./fail_call %s %d report '%s' %s"
    local code, text = sandbox.run(line:format(words, kind, k, sandbox.program, command),
      "FM_THREADS=1")
    if code == 125 then return { 125 } end -- no tracing here
    if code ~= 0 then codes[#codes + 1] = code end
    if code ~= 0 then t.eq(text:match "flowmap: [^\n]+" ~= nil, true, text) end
  until tonumber(sandbox.read("soak/place/report"):match "%d+") < k
  t.eq(k > 1, true, command)
  return codes
end

t.test("what cannot be looked at or listed is not taken for absent", function()
  local function all(codes, count)
    if codes[1] == 125 then return t.skip("calls that look", "system calls cannot be traced") end
    t.eq(#codes >= count, true, table.concat(codes, " "))
    for _, code in ipairs(codes) do t.eq(code, 3) end
  end
  sandbox.write("soak/place/list.lua", "require('flowmap.base.files').folders 'images/train'")
  sandbox.write("soak/place/sums.lua", "require('flowmap.runs.record').checksums 'kept'")
  all(failing("EIO", "getdents", "lua list.lua"), 1)
  all(failing("EIO", "kept/data.npy", "lua sums.lua"), 3)
  all(failing("EIO", "images/train/wild", "data import afhq images"), 2)
end)

t.test("bits of files are flipped", function() soak("flips", 1, 99) end)
t.test("a process is killed at random moments", function() soak("kills", 1, 1) end)

t.test("two commands at once; adverse surroundings", function() soak("pairs places", 1, 2) end)

t.test("the page's table adds up sessions, seeds and what is mended", function()
  local rows = require("flowmap.report.endurance").rows {
    parts = { alloc = { { points = 1200, seed = 1, revision = "a", date = "2026-01-01" },
      { points = 34, seed = 2, revision = "b", date = "2026-01-02" } } },
    losses = { { part = "alloc", mended = "b" }, { part = "alloc" }, { part = "calls" } } }
  t.eq(#rows, 1)
  t.eq({ table.unpack(rows[1].heads, 2) }, { "1,234", "2", "1", "1, 2", "b", "2026-01-02" })
end)

t.test("steps with flat memory", function() soak("steps", 1, 1, "STEPS=400") end)

t.test("readers are given damaged files", function() soak("fuzz", 1, 4, "FUZZ_RUNS=800") end)

t.test("an edited soak.json is an error that names the field", function()
  local session = '{"points": 1, "seed": 1, "seconds": 1, "revision": "a", "date": "b"}'
  local loss = '{"part": "flip", "point": "p", "what": "w", "revision": "a", "date": "b"}'
  local text = require("flowmap.report.endurance").text
  local read = files.read_if_there
  for json, words in pairs { ["[1"] = "is not a JSON object",
    ["{}"] = "the field losses is missing",
    ['{"losses": [], "parts": {"flips": []}}'] = "parts.flips is a table, expected a list",
    ['{"losses": [], "parts": {"flip": [' .. session .. "]}}"] = "there is no part 'flip'",
    ['{"losses": [' .. loss .. '], "parts": {"flips": [' .. session .. "]}}"] =
      "the loss at 'p' is of the part 'flip', which has no points" } do
    files.read_if_there = function() return json end -- luacheck: ignore
    local ok, err = pcall(text, {})
    files.read_if_there = read -- luacheck: ignore
    t.eq({ ok, err.code, tostring(err):find(words, 1, true) ~= nil }, { false, "data", true },
      tostring(err))
  end
end)

t.done()
