-- The command `serve`: its page in a browser at two widths, its JSON, and what a client may try.

local t = require "harness"
local browser = require "browser"
local core = require "flowmap.core"
local files = require "flowmap.base.files"
local http = require "flowmap.app.live.http"
local json = require "flowmap.base.json"
local lfs = require "lfs"
local made_run = require "made_run"
local sandbox = require "sandbox"
local uv = require "luv"

-- ------------------------------------------------------------------ runs to look at

local function metrics(count)
  local list = {}
  for k = 1, count do list[k] = { step = 10 * k, samples = 320 * k, loss = 1 + 10 / k } end
  return list
end

local EVIL = "<img src=x onerror=\"document.title='owned'\">&amp;"

local function npy(values)
  local header = ("{'descr': '<f4', 'fortran_order': False, 'shape': (%d, 2), }"):format(
    #values // 2)
  header = header .. (" "):rep(-(#header + 11) % 64) .. "\n"
  for k, v in ipairs(values) do values[k] = string.pack("<f", v) end
  return "\x93NUMPY\1\0" .. string.pack("<s2", header) .. table.concat(values)
end

made_run.finished(sandbox.mkdir "results/made/ended", { rows = { { N = 1, kl = 0.25 } },
  metrics = metrics(10), config = { method = "lsd", seed = 1, steps = 100, batch = 32 },
  files = { ["samples-N1.npy"] = npy { 0.5, -0.25, 0 / 0, 1 } } })
made_run.diverged(sandbox.mkdir("results/made/" .. EVIL), { step = 31, metrics = metrics(3),
  config = { method = "lsd", seed = 2, steps = 100, batch = 32 } })

-- A run without an end: interrupted, or going on while its folder is locked.
local function unfinished(name, seed)
  local dir = sandbox.mkdir("results/made/" .. name)
  made_run.diverged(dir, { step = 31, metrics = metrics(4),
    config = { method = "lsd", seed = seed, steps = 100, batch = 32 } })
  os.remove(dir .. "/diverged.json")
  return dir
end

local going, paused = unfinished("going", 3), unfinished("paused", 4)
local lock = assert(core.lock(going .. "/.flowmap"))

-- The paused run was written last, hours after the others.
local function written(hours) lfs.touch(paused .. "/metrics.jsonl", os.time() + 3600 * hours) end
written(1)
sandbox.write("results/made/secret.txt", "secret")

-- ------------------------------------------------------------------ the server, and clients of it

local started = {} -- process ids: none is left behind, whichever test fails

-- Start a server in the sandbox; returns its process id and its port.
local function start(arguments)
  sandbox.write("served", "")
  local code, text = sandbox.run(("env --default-signal=INT,TERM %s %s >served 2>&1 &\n"
    .. "echo $! >pid; k=0; until grep -qs 127.0.0.1 served || test $k -gt 999; do sleep 0.05; "
    .. "k=$((k + 1)); done"):format(files.quote(sandbox.program), arguments))
  t.eq(code, 0, text)
  started[#started + 1] = tonumber(sandbox.read "pid")
  return started[#started], tonumber(sandbox.read("served"):match "127.0.0.1:(%d+)/")
end

local pid, port = start "serve --port 0"

-- Run the loop until a condition holds, at most some seconds.
local function await(seconds, condition)
  local timer, late = uv.new_timer(), false
  timer:start(math.floor(1000 * seconds), 0, function() late = true end)
  while not condition() and not late do uv.run "once" end
  timer:close()
  return not late
end

-- A connection whose field `text` collects what it hears; `over` when the server has closed it.
local function connect(to)
  local it = { tcp = uv.new_tcp(), text = "" }
  it.tcp:connect("127.0.0.1", to or port, function(err)
    it.open, it.over = not err, err
    if err then return end
    it.tcp:read_start(function(fault, data)
      if data then it.text = it.text .. data else it.over = fault or true end
    end)
  end)
  t.eq(await(30, function() return it.open or it.over end), true, "no connection")
  return it
end

-- The server's answer to a text; the connection is closed.
local function ask(text, seconds)
  local it = connect()
  it.tcp:write(text)
  t.eq(await(seconds or 60, function() return it.over end), true, "no end: " .. it.text:sub(1, 100))
  it.tcp:close()
  return it.text
end

local function get(path, more, host)
  return ask(("GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n"):format(path, host or "127.0.0.1:" .. port,
    more or ""))
end

local function status(text) return tonumber(text:match "^HTTP/1.1 (%d+) [%w ]+\r\n") end
local function body(text) return text:match "\r\n\r\n(.*)$" end

-- ------------------------------------------------------------------ what it answers

t.test("the page, its scripts and its style, with a policy that lets nothing else load", function()
  for path, kind in pairs { ["/"] = "text/html; charset=utf-8", ["/page.js"] = "text/javascript",
    ["/chart.js"] = "text/javascript", ["/page.css"] = "text/css", ["/?a"] = "text/html" } do
    local text = get(path)
    t.eq(status(text), 200, path)
    t.has(text, "Content-Type: " .. kind)
    t.has(text, "Content-Security-Policy: default-src 'none'; script-src 'self'")
    t.has(text, "X-Content-Type-Options: nosniff")
    t.eq(tonumber(text:match "Content%-Length: (%d+)"), #body(text))
    local elsewhere = body(text):gsub("http://www.w3.org/2000/svg", ""):match "%a+://[^\"' ]*"
    t.eq(elsewhere, nil, path)
  end
end)

local function state() return json.decode(body(get "/state.json")) end

local function run_named(name)
  for _, run in ipairs(state().runs) do
    if run.name == name then return run end
  end
end

t.test("all runs as JSON, whatever their names; curves and samples of each", function()
  local going_now, ended = run_named "made/going", run_named "made/ended"
  t.eq({ going_now.state, going_now.part }, { "running", 0.4 })
  t.has(going_now.text, "40 %, step 40 of 100, 1,280 samples, loss 3.5")
  t.eq({ ended.state, ended.result }, { "finished", "KL 0.2500 at N = 1" })
  t.eq(run_named("made/" .. EVIL).words, "diverged at 31")
  local curve = json.decode(body(get("/curve/" .. ended.id .. ".json")))
  t.eq({ #curve.points, curve.points[10], curve.steps }, { 10, { 100, 2 }, 100 })
  local samples = json.decode(body(get("/samples/" .. ended.id .. "-1.json")))
  t.eq(samples, { shape = { 2, 2 }, values = { 0.5, -0.25, 0, 1 } })
end)

t.test("samples whose sizes have a product that wraps around are not shown", function()
  local header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3, 6148914691236517206, 1)}"
  local path = sandbox.write("wraps.npy", "\x93NUMPY\1\0" .. ("<s2"):pack(header) .. ("\0"):rep(16))
  t.eq(require("flowmap.app.live.samples").json(path), nil)
end)

t.test("a file that is being written, a run that dies", function()
  local path = going .. "/metrics.jsonl"
  local file <close> = assert(io.open(path, "a"))
  file:write('{"step": 50, "loss": 1.')
  file:flush()
  t.has(run_named("made/going").text, "step 40")
  file:write '5, "samples": 1600}\n'
  file:flush()
  uv.sleep(1000) -- longer than an answer is repeated
  t.has(run_named("made/going").text, "step 50 of 100, 1,600 samples, loss 1.5")
  lock:release()
  uv.sleep(1000)
  t.eq(run_named("made/going").state, "interrupted")
  lock = assert(core.lock(going .. "/.flowmap"))
  uv.sleep(1000)
end)

-- ------------------------------------------------------------------ what it refuses

t.test("no path leads to a file", function()
  local id = run_named("made/ended").id
  for _, path in ipairs { "/../../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd",
    "/page.js/../secret.txt", "/results/made/secret.txt", "/curve/../state.json", "/page.js%00",
    "/curve/" .. id, "/curve/" .. id .. "-1.json", "/samples/" .. id .. "-2.json",
    "/samples/" .. id .. "-1/../x.json", "/other/" .. id .. ".json", "/curve/0.json", "/page.html",
    "http://127.0.0.1:" .. port .. "/", "*" } do
    local text = get(path)
    t.eq(status(text), 404, path)
    t.eq(text:find "root:", nil)
  end
end)

t.test("only GET, only from here, only HTTP", function()
  local host = "Host: 127.0.0.1:" .. port .. "\r\n"
  for _, method in ipairs { "POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "HEAD" } do
    local text = ask(method .. " / HTTP/1.1\r\n" .. host .. "Content-Length: 4\r\n\r\nbody")
    t.eq(status(text), 405, method)
    t.has(text, "Allow: GET\r\n")
  end
  for _, name in ipairs { "evil.example", "evil.example:" .. port, "127.0.0.1", "127.0.0.1:1",
    "127.0.0.1.evil.example:" .. port, "localhost:" .. port .. "@evil.example", "[::1]:" .. port,
    "" } do
    t.eq(status(get("/", nil, name)), 403, name)
  end
  t.eq(status(get("/", nil, "LocalHost:" .. port)), 200)
  local foreign = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: "
  t.eq(status(get("/state.json", foreign .. "no-cors\r\n")), 403)
  t.eq(status(get("/", foreign .. "navigate\r\n")), 200) -- a link
  for _, text in ipairs { "GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\n" .. host .. host .. "\r\n",
    "GET /\r\n\r\n", "GET / HTTP/2.0\r\n" .. host .. "\r\n", "\0\1\2\255\r\n\r\n",
    "GET / HTTP/1.1\r\n" .. host .. " folded: x\r\n\r\n", "GET  / HTTP/1.1\r\n" .. host .. "\r\n",
    "GET / HTTP/1.1\r\n" .. host .. "a: \0\r\n\r\n", "\22\3\1\2\0\1\r\n\r\n",
    "GET / HTTP/1.1\r\n" .. host .. "a b: c\r\n\r\n" } do
    t.eq(status(ask(text)), 400, text)
  end
  t.eq(http.parse("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 80), 200)
end)

t.test("requests that are too long, too slow, or never made do not hold it up", function()
  t.eq(status(get("/" .. ("x"):rep(9000))), 431)
  t.eq(status(ask(("x"):rep(20000))), 431)
  local slow, silent, deaf = connect(), connect(), connect()
  slow.tcp:write "GET / HT"
  deaf.tcp:read_stop()
  deaf.tcp:write(("GET /chart.js HTTP/1.1\r\nHost: localhost:%d\r\n\r\n"):format(port))
  t.eq(status(get "/"), 200)
  t.eq(await(60, function() return slow.over and silent.over end), true)
  t.eq({ status(slow.text), silent.text }, { 408, "" })
  for _, it in ipairs { slow, silent, deaf } do it.tcp:close() end
end)

-- A server that takes so many connections, and waits so many milliseconds for a request.
local function start_with(connections, request)
  return start("lua " .. sandbox.write("limits.lua", ([[
    local limits = require("flowmap.app.live.http").limits
    limits.connections, limits.request = %d, %d
    require("flowmap.app.live.serve").run { results = "results", port = 0 }]]):format(connections,
    request)))
end

-- The answer to a request that arrives while the server stands still, longer than it waits.
local function ask_stopped(server, at)
  local it = connect(at)
  uv.sleep(300) -- it is accepted
  uv.kill(server, "sigstop")
  it.tcp:write(("GET /page.css HTTP/1.1\r\nHost: localhost:%d\r\n\r\n"):format(at))
  await(0.1, function() return false end)
  uv.sleep(2500)
  uv.kill(server, "sigcont")
  t.eq(await(60, function() return it.over end), true)
  it.tcp:close()
  return status(it.text)
end

t.test("what arrived while the server had to wait is not late", function()
  local other, at = start_with(9, 2000)
  local answer, tries = nil, 0
  while answer ~= 200 and tries < 4 do -- a busy machine may stop this process instead
    answer, tries = ask_stopped(other, at), tries + 1
  end
  t.eq(answer, 200)
  uv.kill(other, "sigterm")
end)

t.test("more connections than it takes: further ones are closed, then it serves again", function()
  local other, at = start_with(3, 600000)
  local many = {}
  for k = 1, 5 do many[k] = connect(at) end
  t.eq(await(60, function() return many[4].over and many[5].over end), true)
  t.eq({ many[1].over, many[2].over, many[3].over }, {})
  for _, it in ipairs(many) do it.tcp:close() end
  uv.sleep(500) -- the server hears of it
  local again = connect(at)
  again.tcp:write(("GET /page.css HTTP/1.1\r\nHost: localhost:%d\r\n\r\n"):format(at))
  t.eq(await(60, function() return again.over end), true)
  t.eq(status(again.text), 200)
  again.tcp:close()
  uv.kill(other, "sigterm")
end)

t.test("a client that goes away in the middle of an answer", function()
  for _ = 1, 20 do
    local it = connect()
    it.tcp:write(("GET /chart.js HTTP/1.1\r\nHost: localhost:%d\r\n\r\n"):format(port))
    it.tcp:close_reset()
  end
  t.eq(status(get "/"), 200)
end)

t.test("it listens at 127.0.0.1 alone; a port in use is a sentence", function()
  local code, text = sandbox.flowmap("serve --port " .. port)
  t.eq({ code, text }, { 2, ("flowmap: serve: port %d is in use by another program; --port names "
    .. "another, and 0 takes one that is free\n"):format(port) })
  for line in io.lines "/proc/net/tcp" do
    local address, at, kind = line:match "^ *%d+: (%x+):(%x+) %x+:%x+ (%x%x)"
    if kind == "0A" and tonumber(at, 16) == port then t.eq(address, "0100007F") end
  end
  code, text = sandbox.flowmap "serve --port 99999"
  t.eq(code, 2, text)
  code, text = sandbox.flowmap "serve --results none"
  t.eq(code, 3, text)
end)

-- ------------------------------------------------------------------ in a browser

local LOOKS = "[...document.querySelectorAll('#ended li')].map((li) => li.textContent).join('\\n')"

local LABELLED = "[...document.querySelectorAll('svg,canvas')].every((picture) => "
  .. "picture.textContent || picture.getAttribute('aria-label'))"
local FILTER = "document.getElementById('filter').value = '%s'; "
  .. "document.getElementById('filter').dispatchEvent(new Event('input'))"

-- The page in a window of a width, checked as a reader would look at it.
local function look(it, width)
  it:open(("http://127.0.0.1:%d/"):format(port), width, 900)
  it:wait "document.querySelector('#running polyline') && document.querySelector('#ended li')"
  t.eq(it:value "document.title", "1 running – flowmap")
  t.eq(it:value "document.querySelectorAll('img').length", 0)
  t.has(it:value(LOOKS), "diverged at 31 made/" .. EVIL)
  t.eq(it:value "document.querySelector('progress').value", 0.5)
  it:value "document.querySelectorAll('details').forEach((d) => d.open = true)"
  it:wait "document.querySelectorAll('canvas').length === 1"
  it:wait "document.querySelectorAll('polyline').length === 4"
  t.eq(it:value "document.documentElement.scrollWidth <= innerWidth", true, width .. " px")
  t.eq(it:value(LABELLED), true)
  it:value(FILTER:format "ENDED")
  t.eq(it:value "[...document.querySelectorAll('#ended li')].filter((li) => !li.hidden).length", 1)
end

local CURVE_OF_ONE = "import('/chart.js').then((chart) => { const one = chart.newCurve(); "
  .. "chart.drawCurve(one, { points: [[1, 0.53]], steps: 10 }); "
  .. "window.one = one.querySelectorAll('line').length + one.querySelector('text').textContent })"

-- A run is continued and stops again while the page shows it, then once more while it does not.
local function continue(it)
  it:value "console.info = (_, why) => { if (why.includes('execute')) window.failed = why }"
  local held = core.lock(paused .. "/.flowmap")
  it:wait "document.querySelectorAll('#running article').length === 2"
  t.eq(it:value "document.querySelectorAll('#ended li').length", 2)
  held:release()
  it:wait "document.querySelectorAll('#ended li').length === 3"
  t.eq(it:value "window.failed || 'nothing'", "nothing", "every answer was shown")
  it:value "document.querySelectorAll('details').forEach((d) => d.open = true)"
  it:wait "document.getElementById('ended').textContent.includes('loss 3.5 at step 40')"
  local lines = files.read(paused .. "/metrics.jsonl")
  local more = lines:match("([^\n]*\n)$"):gsub('"step": 40', '"step": 50')
  sandbox.write(paused .. "/metrics.jsonl", lines .. more)
  written(2)
  it:wait "document.getElementById('ended').textContent.includes('loss 3.5 at step 50')"
  it:value(CURVE_OF_ONE)
  it:wait "window.one === '10.53'" -- a curve of one point has a line with its value
end

t.test("the page at 390 and 1280 px, a run that goes on, and when the server has gone", function()
  if not sandbox.has "chromium" then
    return t.skip("page in a browser", "chromium is not installed")
  end
  local it <close> = browser.start(sandbox.mkdir "chromium")
  look(it, 1280)
  look(it, 390)
  continue(it)
  uv.kill(pid, "sigint")
  it:wait "document.getElementById('connection').textContent.startsWith('No answer')"
end)

t.test("Ctrl-C and SIGTERM end it with exit code 0", function()
  for _, signal in ipairs { "INT", "TERM" } do
    local code, text = sandbox.run(("rm -f out; env --default-signal=INT,TERM %s serve --port 0 "
      .. ">out 2>&1 & k=0\nuntil grep -qs 127.0.0.1 out || test $k -gt 999; do sleep 0.05; "
      .. "k=$((k + 1)); done; "
      .. "kill -%s $!; wait $!"):format(files.quote(sandbox.program), signal))
    t.eq(code, 0, text .. (sandbox.read "out" or ""))
  end
end)

for _, it in ipairs(started) do uv.kill(it, "sigkill") end
t.done()
