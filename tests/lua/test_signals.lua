-- The first signal asks a run to stop, the second ends it, even in loops that never check.

local fm = require "flowmap"
local lfs = require "lfs"
local t = require "harness"
local sandbox = require "sandbox"

-- Runs Lua in the program (by its prompt) and sends it signals, the n-th after its n-th pause;
-- gives its exit code, or 128 + signal, its seconds from the last signal on, and its output.
local function signalled(lua, ...)
  local input, log = sandbox.write("input.lua", lua .. "\n"), sandbox.write("log", "")
  local script = { ("env --default-signal=INT,TERM %s repl <%s >%s 2>&1 & pid=$!")
    :format(sandbox.program, input, log), "until grep -q started log; do sleep 0.02; done" }
  for _, step in ipairs { ... } do
    script[#script + 1] = ("sleep %g; t=$(date +%%s%%N); kill -%s $pid"):format(step[1], step[2])
  end
  script[#script + 1] = "(sleep 10; kill -KILL $pid) >/dev/null 2>&1 & dog=$!; "
    .. "wait $pid 2>/dev/null; code=$?; kill $dog; echo $code $(( ($(date +%s%N) - t) / 1000000 ))"
  local _, text = sandbox.run(("bash -c '%s' 2>/dev/null"):format(table.concat(script, "\n")))
  local code, ms = text:match "(%d+) (%d+)"
  return tonumber(code), tonumber(ms) / 1000, sandbox.read "log"
end

local WATCH = "fm.watch_signals() print 'started' io.stdout:flush() "

t.test("a Lua loop that never checks is ended by the first signal, resumably", function()
  for _, name in ipairs { "INT", "TERM" } do
    local code, s, log = signalled(WATCH .. "while true do end", { 0.05, name })
    t.eq(code, 0, log) -- the prompt caught the error and reached its end
    t.eq(log:find "error: prompt:1: interrupted by a signal" ~= nil, true, log)
    t.eq(s < 4, true, s)
  end
end)

t.test("a loop that catches every error, or is in a coroutine, by the second", function()
  for _, loop in ipairs { "while true do pcall(function() while true do end end) end",
    "coroutine.wrap(function() while true do end end)()" } do
    local code, s, log = signalled(WATCH .. loop, { 0.05, "INT" }, { 0.4, "INT" })
    t.eq(code, 130, log)
    t.eq(s < 4, true, s)
    t.eq(signalled(WATCH .. loop, { 0.05, "TERM" }, { 0.4, "TERM" }), 143)
    t.eq(signalled(WATCH .. loop, { 0.05, "INT" }, { 0.4, "TERM" }), 143)
  end
end)

t.test("two signals from one event count as one", function()
  local code, _, log = signalled(WATCH .. "while not fm.interrupted() do end "
    .. "local e = fm.clock() + 0.5 while fm.clock() < e do fm.interrupted() end print 'saved'",
    { 0.05, "INT" }, { 0, "TERM" })
  t.eq(code, 0, log)
  t.eq(log:find "saved" ~= nil, true, log)
end)

t.test("a terminal that is closed is a request to save, also if it is told twice", function()
  local loop = WATCH .. "while not fm.interrupted() do end "
    .. "local e = fm.clock() + 0.5 while fm.clock() < e do fm.interrupted() end print 'saved'"
  local code, _, log = signalled(loop, { 0.05, "HUP" }, { 0, "HUP" })
  t.eq({ code, log:find "saved" ~= nil }, { 0, true }, log)
  t.eq(signalled(loop, { 0.05, "HUP" }, { 0.4, "HUP" }), 129)
end)

-- Which of these signals each worker blocks, in words; a thread that is starting blocks all.
local function blocked_by_workers()
  local list = {}
  for id in lfs.dir "/proc/self/task" do
    local file = id:find "%d" and tonumber(id) ~= fm.pid()
      and io.open("/proc/self/task/" .. id .. "/status")
    if file then
      local mask = tonumber(file:read "a":match "SigBlk:%s*%x*(%x%x%x%x%x%x%x%x)", 16)
      file:close()
      local words = {}
      for name, number in pairs { INT = 2, BUS = 7, SEGV = 11, TERM = 15 } do
        if mask >> (number - 1) & 1 == 1 then words[#words + 1] = name end
      end
      table.sort(words)
      list[#list + 1] = table.concat(words, " ")
    end
  end
  return table.concat(list, ", ")
end

t.test("workers leave signals to the thread of the Lua state, except those of faults", function()
  if not lfs.attributes "/proc/self/task" then return t.skip("signals of workers", "no /proc") end
  fm.set_threads(3)
  fm.sort(fm.ones { 8, 8 })
  local last = fm.clock() + 5
  while blocked_by_workers() ~= "INT TERM, INT TERM" and fm.clock() < last do end
  t.eq(blocked_by_workers(), "INT TERM, INT TERM")
end)

t.test("a loop in C, by the second", function()
  local code, s = signalled(WATCH .. "fm.sha256(('x'):rep(1 << 20):rep(1500))", { 0.2, "INT" },
    { 0.2, "INT" })
  t.eq(code, 130)
  t.eq(s < 4, true, s)
end)

t.test("a training step is completed, however long the code around it", function()
  local code, _, log = signalled(WATCH .. "local n = 0 for k = 1, 60 do "
    .. "local e = fm.clock() + 0.02 while fm.clock() < e do end n = k "
    .. "if fm.interrupted() then break end end print('looked', n < 60)", { 0.1, "INT" })
  t.eq(code, 0, log)
  t.eq(log:find "looked\ttrue" ~= nil, true, log)
end)

t.done()
