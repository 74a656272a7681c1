-- reproduce: its plan and estimate, and its child processes, however it ends.

local t = require "harness"
local Progress = require "flowmap.base.progress"
local children = require "flowmap.app.children"
local estimate = require "flowmap.runs.estimate"
local files = require "flowmap.base.files"
local forecast = require "flowmap.app.forecast"
local lfs = require "lfs"
local outlook = require "flowmap.app.outlook"
local sandbox = require "sandbox"

local work, write, exists = sandbox.root, sandbox.write, sandbox.exists

local sh = sandbox.run

local function reproduce(arguments) return sandbox.program .. " reproduce " .. arguments end

-- An experiment with runs that take `steps` steps.
local function experiment(name, steps, more)
  write(name .. ".lua", ([[
    return { name = "%s", methods = { "lsd", "psd-m" }, profiles = { smoke = { steps = %d,
      width = 8, depth = 1, batch = 32, log_every = 50, eval_samples = 500, nfe = { 1 },
      save_every = 0.05 %s } } }]]):format(name, steps, more or ""))
end

-- The processes whose command line has this text.
local function processes(text)
  local list = {}
  for entry in lfs.dir "/proc" do
    local line = entry:find "^%d+$" and files.read("/proc/" .. entry .. "/cmdline")
    if line and line:find(text, 1, true) and line:find("--parent", 1, true) then
      list[#list + 1] = entry
    end
  end
  return list
end

-- Wait until a condition holds, for at most `seconds`.
local function await(seconds, condition)
  local fm = require "flowmap"
  local start = fm.clock()
  while not condition() do
    if fm.clock() - start > seconds then return false end
    os.execute "sleep 0.05"
  end
  return true
end

t.test("--dry-run lists each run, its reason and the estimate, and writes nothing", function()
  experiment("dry", 100)
  local before = #files.folders(work)
  local code, out = sh("XDG_CACHE_HOME=$PWD/none " .. reproduce
    "dry.lua --profile smoke --seeds 2 --jobs 1 --dry-run")
  t.eq(code, 0, out)
  for _, name in ipairs { "lsd-seed1", "psd-m-seed1", "lsd-seed2", "psd-m-seed2" } do
    t.eq(out:find("dry/" .. name .. " runs: there is no result yet (about ", 1, true) ~= nil, true,
      out)
  end
  t.eq(out:find("measuring the pace of 2 kinds of runs, 1 at a time; each takes a few seconds\n", 1,
    true), 1, out) -- nothing is silent for long
  t.eq(out:find "4 runs, 4 of them to make" ~= nil, true, out)
  t.eq(out:find "estimate: %d+:%d%d, memory %d+ MiB of .- free, disk %d+ MiB of .- free" ~= nil,
    true, out)
  t.eq(#files.folders(work), before)
end)

t.test("what is up to date is neither trained nor drawn again", function()
  experiment("same", 10)
  local command = reproduce "same.lua --profile smoke --seeds 1"
  local figure = work .. "/results/same/smoke/figures/kl.svg"
  local function drawn()
    local code, out = sh(command)
    t.eq(code, 0, out)
    return out:find "to look at, unchanged:" == nil, out
  end
  t.eq(drawn(), true)
  t.eq(drawn(), false)
  files.remove_tree(work .. "/results/same/smoke/figures")
  t.eq(drawn(), true)
  t.eq(files.exists(figure), true)
  t.eq(drawn(), false)
  local run = work .. "/results/same/smoke/lsd-seed1/"
  local whole = files.read(run .. "metrics.jsonl")
  sandbox.write(run .. "metrics.jsonl", (whole:gsub("%d", "7", 1)))
  local code, out = sh(command)
  t.eq({ code, out:find "metrics.jsonl is damaged or was changed" ~= nil }, { 3, true }, out)
  sandbox.write(run .. "metrics.jsonl", whole)
  t.eq(sh "ln -s loop loop", 0) -- as a folder of PATH that this user may not look into
  command = "PATH=$PWD/loop:$PATH " .. command
  t.eq(drawn(), false)
end)

t.test("--methods chooses methods; a wrong name is answered with similar ones", function()
  experiment("chosen", 100)
  local code, out = sh(reproduce "chosen.lua --profile smoke --seeds 1 --dry-run "
    .. "--methods LSD,esd,lsd")
  t.eq(code, 0, out)
  t.eq(out:find "2 runs, 2 of them to make" ~= nil, true, out)
  t.eq({ out:find "chosen/lsd%-seed1 runs" ~= nil, out:find "chosen/esd%-seed1 runs" ~= nil,
    out:find "psd%-m" }, { true, true })
  code, out = sh(reproduce "chosen.lua --profile smoke --methods lsdd --dry-run")
  t.eq({ code, out:find "unknown method 'lsdd'; did you mean lsd%?" ~= nil }, { 2, true }, out)
  code, out = sh(reproduce "chosen.lua --profile smoke --methods , --dry-run")
  t.eq({ code, out:find "%-%-methods: expected names of methods such as lsd,psd%-m" ~= nil },
    { 2, true }, out)
end)

t.test("the estimate precedes the first run; output of runs carries their names", function()
  write("talk.lua", [[
    print "own words"
    return { name = "talk", profiles = { smoke = { steps = 3, width = 8, batch = 32,
      eval_samples = 500, nfe = { 1 }, log_every = 1 } } }]])
  local code, out = sh(reproduce "talk.lua --profile smoke --seeds 2 -j 2")
  t.eq(code, 0, out)
  t.eq(out:find "estimate:.*talk/lsd%-seed1: own words" ~= nil, true, out)
  t.eq(out:find "talk/lsd%-seed2: own words" ~= nil, true, out)
  t.eq(out:find "%[2/2%] talk/lsd%-seed%d done in" ~= nil, true, out)
  t.eq(out:find "[\27\r\30]", nil, "no escapes where there is no terminal")
end)

-- Start a long reproduce in the background; returns its process id when both runs have checkpoints.
local function begin(name)
  experiment(name, 2000000)
  write(name .. ".sh", ("echo $$ >%s.pid; exec env --default-signal %s"):format(name,
    reproduce(name .. ".lua --profile smoke --seeds 1 -j 2")))
  sh(("{ sh %s.sh >%s.log 2>&1; echo $? >%s.code; } &"):format(name, name, name))
  local root = ("results/%s/smoke/"):format(name)
  t.eq(await(20, function()
    return exists(root .. "lsd-seed1/checkpoint.safetensors")
      and exists(root .. "psd-m-seed1/checkpoint.safetensors")
  end), true, "two runs begin")
  return sandbox.read(name .. ".pid"):match "%d+"
end

-- Check that no run of an experiment continues and that all can be resumed.
local function ended_and_resumable(name)
  t.eq(await(5, function() return #processes(name .. ".lua") == 0 end), true, "no run goes on")
  local _, out = sh(reproduce(name .. ".lua --profile smoke --seeds 1 --dry-run"))
  t.eq(select(2, out:gsub("resumes: it was interrupted", "")), 2, out)
end

t.test("kill -9 of reproduce: its runs save and end", function()
  local pid = begin "killed"
  t.eq(#processes "killed.lua", 2)
  sh("kill -KILL " .. pid)
  ended_and_resumable "killed"
end)

t.test("INT and TERM: exit code 75, its runs save and end", function()
  for _, signal in ipairs { "INT", "TERM" } do
    local name = "asked" .. signal
    local pid = begin(name)
    sh(("kill -%s %s; kill -%s %s"):format(signal, pid, signal, pid)) -- as `timeout` does
    t.eq(await(10, function() return exists(name .. ".code") end), true)
    t.eq(sandbox.read(name .. ".code"), "75\n")
    local out = sandbox.read(name .. ".log")
    t.eq(out:find "flowmap: interrupted; the same command continues" ~= nil, true, out)
    t.eq(select(2, out:gsub("stopped: it is saved", "")), 2, out)
    ended_and_resumable(name)
  end
end)

t.test("the reader of its output goes: its runs save and end", function()
  experiment("piped", 2000000)
  write("piped.lua", 'print "own words"\n' .. sandbox.read("piped.lua"))
  for _, count in ipairs { 1, 7 } do -- while paces are measured; when runs say their word
    local code, out = sh(("{ %s; echo code $? >&2; } | head -n %d"):format(
      reproduce "piped.lua --profile smoke --seeds 1 -j 2", count))
    t.eq(code, 0)
    t.eq(out:find "code 75" ~= nil, true, out)
    t.eq(#processes "piped.lua", 0)
  end
end)

t.test("--render --force renders again what has all of its runs", function()
  experiment("forced", 5)
  local line = reproduce "forced.lua --profile smoke --seeds 1 --methods lsd"
  local code, out = sh(line)
  t.eq(code, 0, out)
  t.eq(select(2, sh(line .. " --render")):find "to look at, unchanged:" ~= nil, true)
  code, out = sh(line .. " --render --force")
  t.eq({ code, out:find "is missing", out:find "to look at:" ~= nil }, { 0, nil, true }, out)
end)

t.test("a second request immediately ends runs that do not end by themselves", function()
  local uv = require "luv"
  local asked, last, code_seen, signal_seen = 0, 0, nil, nil
  local pool
  pool = children.pool {
    heard = function() asked, last = 1, uv.now() end,
    ended = function(_, code, signal) code_seen, signal_seen = code, signal end,
    tick = function()
      if asked > 0 and asked < 3 and uv.now() - last > 400 then
        asked, last = asked + 1, uv.now()
        uv.kill(uv.os_getpid(), "sigterm")
      end
    end,
  }
  local begun = false
  local stopped = pool:run(function()
    if begun then return end
    begun = true
    pool:start("task", "/bin/sh", { "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done" })
  end, 50)
  t.eq(stopped, true)
  t.eq(pool.requests, 2)
  t.eq(code_seen, signal_seen) -- nil: it was not waited for
end)

t.test("nothing is deleted: a run that starts over is put aside completely", function()
  experiment("kept", 100)
  local first, said = sh(reproduce "kept.lua --profile smoke --seeds 1")
  t.eq(first, 0, said)
  local bytes = sandbox.read("results/kept/smoke/lsd-seed1/checkpoint.safetensors")
  local aside = work .. "/results/kept/smoke/lsd-seed1-outdated"
  for k = 1, 2 do
    local code, out = sh(reproduce "kept.lua --profile smoke --seeds 1 --force")
    t.eq(code, 0, out)
    t.eq(#files.folders(aside), k)
  end
  for _, name in ipairs(files.folders(aside)) do
    local dir = aside .. "/" .. name
    t.eq(files.read(dir .. "/checkpoint.safetensors") == bytes, true)
    t.eq(files.exists(dir .. "/eval.json"), true)
  end
end)

t.test("a run that fails: its sentence with its name, and its exit code", function()
  write("bad.lua", [[
    return { name = "bad", losses = { bad = function() error "no good" end }, methods = { "bad" },
      profiles = { smoke = { steps = 3, width = 8, batch = 32, eval_samples = 500 } } }]])
  local code, out = sh(reproduce "bad.lua --profile smoke")
  t.eq(code, 2, out)
  t.eq(out:find "flowmap: bad/bad%-seed1: bad.lua:1: no good" ~= nil, true, out)
  t.eq(exists "results/bad", false, "nothing had begun")
end)

t.test("a program that was built again meanwhile starts no further run", function()
  local uv, run_command = require "luv", require "flowmap.app.run_command"
  local was = uv.exepath
  uv.exepath = function() return "/nowhere/flowmap (deleted)" end
  local ok, err = pcall(run_command.program)
  uv.exepath = was
  t.eq({ ok, err.code }, { false, "data" })
  t.eq(err.message:find "^/nowhere/flowmap was built again or removed since" ~= nil, true,
    err.message)
end)

t.test("what is drawn depends on the font of formulas and on whether the page was woven", function()
  local rendered, page = require "flowmap.app.rendered", require "flowmap.report.page"
  experiment("own", 2)
  local it, font = { require("flowmap.experiment").load(work .. "/own.lua") }, page.math_font
  local key = rendered.key(it, "smoke", false)
  t.eq({ rendered.key(it, "smoke", false) == key, rendered.key(it, "smoke", true) == key },
    { true, false })
  page.math_font = write("font.ttf", "")
  t.eq(rendered.key(it, "smoke", false) == key, false)
  page.math_font = font
end)

t.test("an experiment that is named twice", function()
  experiment("own", 2)
  local code, out = sh(reproduce "own.lua own.lua --profile smoke --dry-run")
  t.eq({ code, out:find "own.lua is named twice" ~= nil }, { 2, true }, out)
end)

t.test("a file whose name looks like an option is no option of the runs either", function()
  experiment("own", 2)
  write("-own.lua", sandbox.read "own.lua")
  local code, out = sh(reproduce "--profile smoke --seeds 1 --dry-run -- -own.lua")
  t.eq({ code, out:find "own/lsd%-seed1 runs" ~= nil }, { 0, true }, out)
end)

t.test("makespan gives each run to the job that is free first", function()
  t.eq(outlook.makespan({}, {}, 2), 0)
  t.eq(outlook.makespan({ 5 }, { 1, 1, 1 }, 2), 5)
  t.eq(outlook.makespan({}, { 3, 3, 3 }, 2), 6)
  t.eq(outlook.makespan({ 2, 4 }, { 3, 1 }, 2), 5)
end)

t.test("what is left of a run: its part of the training, and its evaluation", function()
  local pace = { start_s = 0, sample_s = 2, map_s = 1, judge_s = 10, rows_s = 5, cpu_s = 3,
    map_cpu_s = 2, judge_cpu_s = 20, rows_cpu_s = 7, memory = 100, disk = 10 }
  local kind = { pace = pace, actual = 0, planned = 0 }
  local run = { kind = kind, done = 0, cfg = { batch = 3, steps = 100, nfe = { 1, 4 },
    eval_samples = 7, checkpoints = 1 } }
  local training, evaluation = 2 * 3 * 100, (1 + 4) * 7 * 1 + 10 + 2 * 5
  t.eq({ forecast.expected(run, { kind }) }, { training + evaluation, evaluation })
  run.done = 25
  t.eq(forecast.expected(run, { kind }), 0.75 * training + evaluation)
  kind.actual, kind.planned = 30, 20
  t.eq(forecast.expected(run, { kind }), 1.5 * (0.75 * training + evaluation))
  run.cfg.checkpoints = 3 -- each of which is evaluated
  t.eq(select(2, outlook.seconds(run)), 3 * (1 + 4) * 7 + 10 + 3 * 2 * 5)
  t.eq(select(3, estimate.seconds(run.cfg, pace)), 3 * 300 + 2 * 105 + 20 + 7 * 6)
  t.eq(forecast.expected({ kind = {}, done = 0, cfg = run.cfg }, { kind }), nil)
  local large = { kind = { pace = { memory = 300, disk = 30 } } }
  t.eq({ outlook.space({ run, large, run }, 2) }, { 400, 50 }, "the two largest; the disk of all")
end)

t.test("the times of finished runs correct the estimates of their kind, or of all", function()
  local a, b = { actual = 0, planned = 0 }, { actual = 0, planned = 0 }
  t.eq(outlook.correction({ a, b }, a), 1)
  a.actual, a.planned = 30, 20
  t.eq(outlook.correction({ a, b }, a), 1.5)
  t.eq(outlook.correction({ a, b }, b), 1.5)
  b.actual, b.planned = 10, 20
  t.eq(outlook.correction({ a, b }, b), 0.5)
  t.eq(Progress.duration(59.6), "1:00")
end)

t.done()
