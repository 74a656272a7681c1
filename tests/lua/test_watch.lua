-- The command `watch`, and what it is made of: journals that are read while they grow, the board of
-- runs, frames of any size, the terminal.

local t = require "harness"
local boards = require "flowmap.app.live.board"
local core = require "flowmap.core"
local curves = require "flowmap.app.live.curve"
local files = require "flowmap.base.files"
local follow = require "flowmap.app.live.follow"
local json = require "flowmap.base.json"
local lfs = require "lfs"
local made_run = require "made_run"
local sandbox = require "sandbox"
local view = require "flowmap.app.live.view"

local root = sandbox.root

local function append(path, text)
  local file <close> = assert(io.open(path, "a"))
  file:write(text)
end

-- A run that is being made: 40 of 100 steps, 0.5 s each. Its lock is the second result.
local function running(name, config)
  local dir = sandbox.mkdir("results/" .. name)
  made_run.finished(dir, { rows = { { N = 1, kl = 0.5 } }, metrics = {},
    config = { method = "lsd", seed = 1, steps = 100, batch = 32, table.unpack(config or {}) } })
  os.remove(dir .. "/manifest.json")
  os.remove(dir .. "/eval.json")
  os.remove(dir .. "/history.jsonl")
  for step = 10, 40, 10 do
    append(dir .. "/metrics.jsonl", json.encode { step = step, samples = 32 * step, lr = 0.1,
      loss = 10 / step, grad_norm = 1 } .. "\n")
    append(dir .. "/history.jsonl", json.encode { step = step, wall_s = step / 2 } .. "\n")
  end
  return dir, assert(core.lock(dir .. "/.flowmap"))
end

local function board_of(dir)
  local board = boards.new { run = dir }
  return board:refresh()[1], board
end

-- ------------------------------------------------------------------ journals

t.test("a file that grows is read line by line; half a line waits for its end", function()
  local path, steps, restarts = root .. "/lines.jsonl", {}, 0
  local it = follow.new(path, { line = function(line) steps[#steps + 1] = line.step end,
    restarted = function() restarts, steps = restarts + 1, {} end })
  t.eq(it:read(), false) -- there is no file yet
  append(path, '{"step": 1}\n{"st')
  it:read()
  t.eq(steps, { 1 })
  append(path, 'ep": 2}\nno JSON \0\xff\n[1]\n7\n{"step": 3}\n' .. ("x"):rep(200000))
  it:read()
  t.eq(steps, { 1, 2, 3 })
  append(path, '"}\n{"step": 4}\n')
  it:read()
  t.eq(steps, { 1, 2, 3, 4 })
  core.write_file(path, '{"step": 9}\n') -- replaced, as by a run that continues
  it:read()
  t.eq({ steps, restarts }, { { 9 }, 1 })
  assert(io.open(path, "w")):close() -- shortened in place
  it:read()
  t.eq({ steps, restarts }, { {}, 2 })
end)

t.test("a pipe in place of a file does not block", function()
  os.execute(("mkfifo %s/pipe.jsonl"):format(root))
  t.eq(follow.new(root .. "/pipe.jsonl", {}):read(), false)
end)

-- ------------------------------------------------------------------ curves

t.test("a curve keeps its shape in a bounded number of points", function()
  local it = curves.new()
  for step = 1, 100000 do it:add(step, 1 + step / 100000) end
  t.eq(#it.points <= 512 and #it.points > 200, true, #it.points)
  t.near(it.points[#it.points // 2][2], 1.5, 0.02)
  local all = it:all()
  t.eq(all[#all][1], 100000, "the last line counts at once")
  local low, high = it:range()
  t.near(low, 1, 0.01)
  t.near(high, 2, 0.01)
  it = curves.new()
  for step = 1, 513 do it:add(step, step * step) end -- halved once: means of two, and the last
  t.eq({ it.points[1], it.points[256], it.points[257] },
    { { 2, 2.5 }, { 512, (511 ^ 2 + 512 ^ 2) / 2 }, { 513, 513 ^ 2 } })
end)

t.test("a curve in characters: width, height, part of the training, scale", function()
  local it = curves.new()
  t.eq(it:rows(10, 3, 100, true), {})
  for step = 10, 50, 10 do it:add(step, 60 - step) end
  local rows = it:rows(10, 2, 100, false)
  t.eq(#rows, 2)
  for _, row in ipairs(rows) do t.eq(#row, 10) end
  t.eq(rows[2], "###*_     ") -- to 50 of 100 steps, 50 to 10 on a logarithmic scale
  t.eq(rows[1], "#+,       ")
  t.eq(it:rows(5, 1, nil, true)[1], "█▇▆▄▁")
  local flat = curves.new()
  flat:add(1, 0)
  t.eq(flat:rows(3, 1, 3, false), { "_  " })
end)

-- ------------------------------------------------------------------ the board

t.test("progress and the time left of a run that is being made", function()
  local dir, lock = running "a"
  local it = board_of(dir)
  t.eq({ it.state, it.step, it.steps, it.samples }, { "running", 40, 100, 40 * 32 })
  t.near(it.pace, 0.5, 1e-9)
  t.near(it.left, 30, 2) -- 60 steps, less the seconds since the last line
  t.has(it:progress()[1], "40 %, step 40 of 100, 1,280 samples, loss 0.25, 0:")
  os.execute(("touch -d '-20 seconds' %s/*.jsonl"):format(dir))
  t.near(board_of(dir).left, 25, 1e-9) -- past are at most the seconds from a line to the next
  lock:release()
end)

t.test("a run that dies is interrupted, one that ends is finished with its result", function()
  local dir, lock = running "b"
  local it, board = board_of(dir)
  t.eq(it.state, "running")
  lock:release()
  t.eq(board:refresh()[1].state, "interrupted")
  made_run.finished(dir, { rows = { { N = 1, kl = 0.5 } }, metrics = { { step = 100,
    samples = 3200 } }, config = { method = "lsd", seed = 1 } })
  it = board:refresh()[1]
  t.eq({ it.state, it:progress()[1] }, { "finished", "finished, KL 0.5000 at N = 1" })
  files.remove_tree(dir)
  t.eq(board:refresh()[1].state, "unreadable")
end)

t.test("a running run without lines is called silent after a minute", function()
  local dir, lock = running "c"
  os.execute(("touch -d '-5 minutes' %s/*.jsonl"):format(dir))
  local it = board_of(dir)
  t.has(it:progress()[1], "running, 40 %, silent for 5:0")
  t.eq(it.left, nil)
  lock:release()
end)

t.test("a continued run counts its pace from the continuation on", function()
  local dir, lock = running "d"
  append(dir .. "/history.jsonl", json.encode { step = 40, time = "2025-01-31T12:00:00Z",
    revision = "abc", version = "0.1.0", isa = "scalar", blas = "Generic", threads = 1 } .. "\n")
  t.eq(board_of(dir).left, nil)
  append(dir .. "/history.jsonl", '{"step": 50, "wall_s": 100}\n{"step": 60, "wall_s": 110}\n'
    .. '{"step": 1e300, "wall_s": 3}\n{"step": 70, "wall_s": "x"}\n')
  t.near(board_of(dir).pace, 1, 1e-9)
  lock:release()
end)

t.test("a folder that may not be read, or vanishes meanwhile, hides no other run", function()
  local dir, lock = running "closed/a"
  local list = lfs.dir
  lfs.dir = function(path) -- luacheck: ignore
    if path:find "closed$" then error("cannot open " .. path .. ": Permission denied") end
    return list(path)
  end
  local ok, entries = pcall(function()
    return boards.new { root = root .. "/results" }:refresh()
  end)
  lfs.dir = list -- luacheck: ignore
  t.eq(ok, true, entries)
  t.eq(#entries > 2, true)
  lock:release()
  files.remove_tree(dir)
end)

-- ------------------------------------------------------------------ frames

-- Runs whose folders have names that would command a terminal or break a line.
local function hostile()
  local locks = {}
  for k, name in ipairs { "\27[2J\27]0;owned\7", "a\nb\rc", "\xff\xfe", "\u{202E}txt.exe",
    ("long"):rep(50), "<b>&\"'" } do
    local _, lock = running("evil/" .. name, { seed = k })
    locks[k] = lock
  end
  return locks
end

t.test("frames of every size fit it, whatever the names", function()
  local locks, machine = hostile(), { processors = 2, busy = 0.5, load = 1, memory = 2 ^ 34,
    free = 2 ^ 33 }
  local board = boards.new { root = root .. "/results" }
  local single = boards.new { run = root .. "/results/a" }
  single:refresh()
  t.eq(#board:refresh() >= 6, true)
  for _, unicode in ipairs { true, false } do
    for width = 1, 130, 3 do
      for _, height in ipairs { 1, 2, 5, 24, 60 } do
        for _, it in ipairs { board, single } do
          local lines = view.frame(it, machine, { width = width, height = height,
            unicode = unicode })
          t.eq(#lines <= height, true)
          for _, line in ipairs(lines) do
            t.eq(utf8.len(line) and utf8.len(line) <= width, true, line)
            t.eq(line:find "[%c\x7f]", nil, line)
          end
        end
      end
    end
  end
  for _, lock in ipairs(locks) do lock:release() end
end)

-- ------------------------------------------------------------------ the command

t.test("without a terminal: plain lines; --once; a run that has ended", function()
  local _, lock = running "e"
  local code, text = sandbox.flowmap "watch --once"
  t.eq(code, 0, text)
  t.has(text, "e: 40 %, step 40 of 100, 1,280 samples, loss 0.25, 0:")
  t.has(text, "1 running")
  t.eq(text:find "\27", nil)
  lock:release()
  code, text = sandbox.flowmap "watch" -- ends: no run is running
  t.eq(code, 0, text)
  t.has(text, "interrupted")
  code, text = sandbox.flowmap "watch results/e"
  t.eq({ code, (text:gsub("\n.*", "")) }, { 0, "results/e: interrupted at 0" })
end)

t.test("what is not there is a sentence", function()
  local code, text = sandbox.flowmap "watch results/none"
  t.eq({ code, text }, { 2, "flowmap: watch: there is no run at results/none\n" })
  code, text = sandbox.flowmap "watch --results none"
  t.eq(code, 3)
  t.has(text, "there is no folder none")
end)

-- `watch` in a terminal of a size; it gets a signal as soon as it has drawn a frame.
local function in_terminal(size, signal, arguments, environment)
  local command = ("stty %s; echo $$ >pid; exec env --default-signal=INT,TERM TERM=xterm "
    .. "LANG=C.UTF-8 %s %s watch %s"):format(size, environment or "",
    files.quote(sandbox.program), arguments)
  os.remove(root .. "/screen")
  os.remove(root .. "/pid")
  local code, said = sandbox.run(("timeout 60 script -qefc %s screen >/dev/null & k=0\n"
    .. "until grep -aqs 'GiB\\|left' screen || test $k -gt 500; do sleep 0.05; k=$((k + 1)); done\n"
    .. "kill -%s $(cat pid); wait $!"):format(files.quote(command), signal))
  return code, sandbox.read "screen" or said
end

local RESTORED = "\27[?7h\27[?25h\27[?1049l"

t.test("in a terminal: one frame after the other, Ctrl-C gives the screen back", function()
  if not sandbox.has "script" then return t.skip("terminal", "script is not installed") end
  local _, lock = running "f"
  for _, signal in ipairs { "INT", "TERM" } do
    local code, screen = in_terminal("cols 70 rows 20", signal, "")
    t.eq(code, 0, screen)
    local frame = screen:match "\27%[2J(.-)\27%[J"
    t.eq(frame ~= nil, true, screen)
    t.has(frame, "f\27[K\r\n[#########")
    t.eq(select(2, screen:gsub("\27%[2J", "")), 1, "erased once: no flicker")
    t.has(screen, RESTORED)
    t.has(screen:match("^.*\27%[%?1049l(.*)$"), "1 running") -- the last frame stays
  end
  local code, screen = in_terminal("cols 20 rows 4", "INT", "results/f")
  t.eq(code, 0, screen)
  for line in screen:match("\27%[2J\27%[H(.-)\27%[J"):gmatch "[^\r\n]+" do
    t.eq(utf8.len((line:gsub("\27%[%a", ""))) <= 20, true, line)
  end
  lock:release()
end)

t.test("a terminal without cursor movement, and NO_COLOR, get plain lines", function()
  if not sandbox.has "script" then return t.skip("terminal", "script is not installed") end
  local _, lock = running "g"
  for _, environment in ipairs { "TERM=dumb", "NO_COLOR=1" } do
    local code, screen = in_terminal("cols 70 rows 20", "INT", "", environment)
    t.eq(code, 0, screen)
    t.eq(screen:find("\27", 1, true), nil, screen)
    t.has(screen, "g: 40 %")
  end
  lock:release()
end)

t.done()
