-- Results cannot go stale: a list of changes, and the runs that each of them makes outdated.

local t = require "harness"
local fm = require "flowmap"
local cache = require "flowmap.runs.cache"
local experiment = require "flowmap.experiment"
local files = require "flowmap.base.files"
local sandbox = require "sandbox"

local work, write, read = sandbox.root, sandbox.write, sandbox.read
for _, name in ipairs { "parts", "found", "before" } do sandbox.mkdir(name) end

-- ------------------------------------------------------------------ one experiment, every input

write("own.lua", ([[
-- # A chapter
local fm = require "flowmap"
local HERE = "WORK"
local scale = dofile(HERE .. "/parts/scale.lua")
local bend = require "stale_bend"
local points = fm.load_npy(HERE .. "/points.npy")
local text = io.open(HERE .. "/number.txt"):read "n"
for name in require("lfs").dir(HERE .. "/parts") do text = text + #name / 1e9 end
if require("lfs").attributes(HERE .. "/flag") then text = 2 * text end
text = text + require("lfs").attributes(HERE .. "/sized", "size") / 1e9
text = text * (os.getenv "STALE_KNOB" and 2 or 1)
if require("lfs").symlinkattributes(HERE .. "/linked") then text = 2 * text end
text = text + #fm.sha256_file(HERE .. "/hashed") / 1e9
local is_more, more = pcall(require, "stale_more")
text = text * (is_more and more or 1)
local K = 1.5
local t = { name = "own", title = "A caption", methods = { "mine", "lsd" }, seeds = 2 }
t.losses = { mine = function(a)
  local r = a.map.v(a.s, a.t, a.x) - fm.stop(a.dx)
  if io.open(HERE .. "/override.txt") then r = 2 * r end
  return fm.losses.norm2(r) * K * scale * text
end }
t.nets = { line = function(cfg)
  return { init = function(rng) return { w = rng({ cfg.dim, cfg.dim }, "lecun") } end,
    v = function(p, _, _, x) return fm.matmul(x, p.w) * 1.25 end }
end }
local flat = points:flat()
t.data = { points = { dim = 2, sd = fm.data.sd(points),
  sample = function(b)
    return fm.gather(points, fm.reshape(fm.floor(4 * b:uniform({ 1 }, "i")), { b.n }))
  end,
  mass = function(x0, x1, y0, y1)
    local m = 0
    for k = 1, 8, 2 do
      local x, y = flat[k], flat[k + 1]
      if x >= x0 and x < x1 and y >= y0 and y < y1 then m = m + 1 / 4 end
    end
    return m
  end,
  inside = function(x, y)
    for k = 1, 8, 2 do
      if x == flat[k] and y == flat[k + 1] then return true end
    end
    return false
  end } }
t.interpolants = { curve = { alpha = function(s) return 1 - s end,
  beta = function(s) return bend.of(s) end } }
t.times = { mine = function(a, b) return fm.minimum(a, b) * 0.875, fm.maximum(a, b) end }
t.figures = { mine = function() return { colour = "#112233" } end }
t.render = { { kind = "compare", name = "kl", metric = "kl", title = "A table's caption" } }
t.profiles = {
  smoke = { data = "points", net = "line", interpolant = "curve", times = "mine", steps = 2,
    batch = 16, micro = 16, eval_samples = 64, nfe = { 1 }, bins = 8, ema = { 0.5 }, lr = 1e-3,
    by_method = { mine = { off_weight = 2 }, lsd = { off_weight = 3 } } },
  laptop = { steps = 1000 },
}
return t
]]):gsub("WORK", work))
write("parts/scale.lua", "return 0.5")
write("found/stale_bend.lua", "return { of = function(s) return s * 1.0 end }")
write("number.txt", "3")
write("sized", "12345")
write("hashed", "a")
fm.save_npy(work .. "/points.npy", fm.uniform({ 4, 2 }, { seed = 1 }))
package.path = ("%s/before/?.lua;%s/found/?.lua;%s"):format(work, work, package.path)

local dir = work .. "/run"

local function load() return experiment.load(work .. "/own.lua") end

local function resolved(it, want)
  want = want or {}
  want.profile = "smoke"
  return experiment.resolve(it, want)
end

-- The current decision on the run, and its reason.
local function decision(want)
  local it = load()
  return cache.decide(dir, cache.inputs(it, resolved(it, want)))
end

local own = load()
fm.run.run(own, resolved(own), dir)

t.test("the run is current", function()
  local action, why = decision()
  t.eq(action, "reuse", why)
end)

-- ------------------------------------------------------------------ changes of files

-- A change of the text of a file: name, file, what, by what, expected words ("": current).
local CHANGES = {
  { "a comment", "own.lua", "# A chapter", "# Another chapter", "" },
  { "a longer comment", "own.lua", "local K", "--[[ new\nlines ]] local K", "" },
  { "layout", "own.lua", "local K = 1.5", "local K   =\n\n 1.5", "" },
  { "a caption", "own.lua", "A caption", "Another caption", "" },
  { "a table's caption", "own.lua", "A table's caption", "Another", "" },
  { "a colour", "own.lua", "#112233", "#445566", "" },
  { "another figure", "own.lua", 't.render = {', 't.render = { { kind = "traces", name = "t" },',
    "" },
  { "another profile's settings", "own.lua", "steps = 1000", "steps = 2000", "" },
  { "a new profile", "own.lua", "laptop = {", "long = { width = 3 }, laptop = {", "" },
  { "another method's settings", "own.lua", "off_weight = 3", "off_weight = 4", "" },
  { "its methods", "own.lua", '{ "mine", "lsd" }', '{ "mine" }', "" },
  { "the number of seeds", "own.lua", "seeds = 2", "seeds = 5", "" },
  { "this method's settings", "own.lua", "off_weight = 2", "off_weight = 5",
    "off_weight changed from 2 to 5" },
  { "a setting", "own.lua", "lr = 1e-3", "lr = 1.0000000000000002e-3",
    "lr changed from 0.001 to 0.0010000000000000002" },
  { "a constant", "own.lua", "local K = 1.5", "local K = 1.75", "experiment changed" },
  { "an own loss", "own.lua", "* K * scale", "/ K * scale", "experiment changed" },
  { "an own network", "own.lua", "p.w) * 1.25", "p.w) * 1.5", "experiment changed" },
  { "an own data set", "own.lua", "fm.floor(4 *", "fm.floor(3 *", "experiment changed" },
  { "own data's law", "own.lua", "m + 1 / 4", "m + 0.25", "experiment changed" },
  { "an own interpolant", "own.lua", "1 - s end", "1 - s * s end", "experiment changed" },
  { "an own law of times", "own.lua", "* 0.875", "* 0.5", "experiment changed" },
  { "a helper read by dofile", "parts/scale.lua", "0.5", "0.25", "parts/scale.lua changed" },
  { "a comment in a helper", "parts/scale.lua", "return", "-- half\nreturn", "" },
  { "a helper found by require", "found/stale_bend.lua", "s * 1.0", "s * s",
    "stale_bend changed" },
  { "a text that is read", "number.txt", "3", "4", "number.txt changed" },
  { "a size that is asked for", "sized", "5", "56", "sized changed" },
  { "the text of a file that is only measured", "sized", "5", "6", "" },
  { "a file whose hash is asked for", "hashed", "a", "b", "hashed changed" },
}

for _, change in ipairs(CHANGES) do
  local name, file, what, by, words = table.unpack(change)
  t.test("after a change of " .. name, function()
    local before = read(file)
    local first, last = before:find(what, 1, true)
    t.eq(first ~= nil, true, "the text to change")
    write(file, before:sub(1, first - 1) .. by .. before:sub(last + 1))
    local action, why = decision()
    write(file, before)
    if words == "" then
      t.eq(action, "reuse", why)
    else
      t.eq({ action, why }, { "run", words })
    end
    t.eq(decision(), "reuse")
  end)
end

t.test("after other data in an own .npy", function()
  local before = read "points.npy"
  fm.save_npy(work .. "/points.npy", fm.normal({ 4, 2 }, { seed = 2 }))
  t.eq({ decision() }, { "run", "points.npy changed" })
  write("points.npy", before)
  t.eq(decision(), "reuse")
end)

t.test("a file that hides another, one that is gone, one that was not there", function()
  write("before/stale_bend.lua", "return { of = function(s) return s * s * s end }")
  t.eq({ decision() }, { "run", "stale_bend changed" })
  write("before/stale_bend.lua", "return { of = function(s) return s * 1.0 end } -- the same")
  t.eq(decision(), "reuse")
  os.remove(work .. "/before/stale_bend.lua")
  os.rename(work .. "/number.txt", work .. "/away.txt")
  local it = own
  t.eq({ cache.decide(dir, cache.inputs(it, resolved(it))) }, { "run", "number.txt is gone" })
  os.rename(work .. "/away.txt", work .. "/number.txt")
  write("override.txt", "")
  t.eq({ decision() }, { "run", "override.txt is new" })
  os.remove(work .. "/override.txt")
  t.eq(decision(), "reuse")
  write("parts/more.lua", "return 1")
  t.eq({ decision() }, { "run", "parts changed" })
  os.remove(work .. "/parts/more.lua")
  write("flag", "")
  t.eq({ decision() }, { "run", "flag is new" })
  os.remove(work .. "/flag")
  write("linked", "")
  t.eq({ decision() }, { "run", "linked is new" })
  os.remove(work .. "/linked")
  t.eq(decision(), "reuse")
  write("found/stale_more.lua", "return 2") -- a module that was missing, and may be
  t.eq({ cache.decide(dir, cache.inputs(it, resolved(it))) }, { "run", "stale_more is new" })
  os.remove(work .. "/found/stale_more.lua")
  t.eq(decision(), "reuse")
end)

t.test("what is read without a record is told", function()
  write("told.lua", [[
    local n = io.popen "echo 1":read "n" + #(io.read "l" or "")
    return { name = "told", methods = { "lsd" }, settings = { width = 8 * n },
      profiles = { s = {} } }
  ]])
  local code, said = sandbox.flowmap "params told.lua --profile s < /dev/null"
  t.eq({ code, select(2, said:gsub("note: ", "")) }, { 0, 2 }, said)
  for _, words in ipairs { "output of 'echo 1'", "standard input" } do
    t.eq(said:find("reads the " .. words .. ", which is not recorded", 1, true) ~= nil, true)
  end
  write("script.lua", 'print(io.popen "echo 1":read "n")') -- no run comes of it
  t.eq({ sandbox.flowmap "lua script.lua" }, { 0, "1\n" })
end)

t.test("a missing module is reported at the line that requires it", function()
  local chunk = assert(_G.load("\n\nrequire 'stale_nowhere'", "@own place"))
  t.raises(chunk, "^own place:3: module 'stale_nowhere' not found")
  t.eq(fm.help("load_npy"):find("load_npy(path", 1, true), 1, fm.help "load_npy")
end)

-- ------------------------------------------------------------------ the user's settings

t.test("settings and seeds are compared exactly; saving and threads do not count", function()
  local action, why = decision { seed = 1700000000000001 }
  t.eq({ action, why }, { "run", "seed changed from 1 to 1700000000000001" })
  local it = load()
  local function inputs(seed) return cache.inputs(it, resolved(it, { seed = seed })) end
  t.eq(cache.differences(inputs(1700000000000001), inputs(1700000000000002)),
    { "seed changed from 1700000000000001 to 1700000000000002" })
  t.eq(decision { method = "lsd" }, "run")
  t.eq(decision { set = { save_every = 1 } }, "reuse")
  local threads = fm.info().threads
  fm.set_threads(threads + 1)
  action, why = decision()
  fm.set_threads(threads)
  t.eq(action, "reuse", why)
end)

t.test("an instruction set and a kernel whose bits differ; one that keeps them", function()
  local isa = fm.info().isa
  if fm.set_isa "scalar" ~= isa then
    t.eq({ decision() }, { "run", "the numerics changed: instruction set " .. isa .. " -> scalar" })
  end
  fm.set_isa(isa)
  t.eq(decision(), "reuse")
  local numerics = require "flowmap.runs.numerics"
  local text = numerics.text
  numerics.text = function() -- as a program with another kernel would find it
    return (text():gsub("^%x+", ("0"):rep(64)))
  end
  t.eq({ decision() }, { "run",
    "the numerics changed: another program or library gives other bits" })
  t.eq(cache.differences({ fingerprint = "a", training = "b" }, { fingerprint = "a",
    training = "c" }), { "trial steps of its method give other bits: the suite changed where no "
    .. "file of the run shows it" })
  numerics.text = text
  t.eq(decision(), "reuse")
end)

-- ------------------------------------------------------------------ the installed program

local program = sandbox.program

local function flowmap(line, before)
  return sandbox.run(("%s %s %s"):format(before or "", program, line))
end

local BOARD = ("run %s/experiments/checkerboard.lua --profile smoke --set width=8 --set depth=1 "
  .. "--set steps=2 --set eval_samples=500 --out board"):format(sandbox.here)

t.test("a changed module of the suite: numerics make runs outdated, reports do not", function()
  sandbox.run(("mkdir -p copy/paper && cp -r %s/lua %s copy && cp %s/paper/*.lua copy/paper")
    :format(sandbox.here, program, sandbox.here))
  local before = program
  program = work .. "/copy/flowmap"
  local function edited(file, what, by)
    local path = "copy/lua/flowmap/" .. file
    local text = read(path)
    local first, last = text:find(what, 1, true)
    t.eq(first ~= nil, true, file)
    write(path, text:sub(1, first - 1) .. by .. text:sub(last + 1))
    local code, out = flowmap(BOARD)
    t.eq(code, 0, out)
    return out:match "[^\n]*"
  end
  t.eq(flowmap(BOARD), 0)
  for _, it in ipairs {
    { "report/table.lua", "local M = {}", "local M = { wide = true }", "reused" },
    { "report/figure/init.lua", "local ", "local COLOUR = 3\nlocal ", "reused" },
    { "app/cli.lua", "sample, compare.", "sample, look.", "reused" },
    { "base/progress.lua", "local Progress = {}", "local Progress = { wide = 3 }", "reused" },
    { "methods/esd.lua", "return {", "local _ = 1 return {", "reused" },
    { "step.lua", "--- One", "--- A", "reused" },
    { "show.lua", "local M = {}", "local M = { wide = true }", "reused" },
    { "base/json.lua", "local M = {}", "local M = { version = 2 }",
      "runs: flowmap.base.json changed" },
    { "step.lua", "local M = {}", "local M = { version = 2 }", "runs: flowmap.step changed" },
    { "methods/lsd.lua", "return {", "local _ = 1 return {", "runs: flowmap.methods.lsd changed" },
    { "measure/metrics.lua", "local M = {}", "local M = { version = 2 }",
      "runs: flowmap.measure.metrics changed" },
  } do
    local file, what, by, words = table.unpack(it)
    local line = edited(file, what, by)
    t.eq(line:find(words, 1, true) ~= nil, true, file .. ": " .. line)
  end
  program = before
end)

t.test("interrupted, then resumed with another instruction set: the note is kept", function()
  local long = BOARD:gsub("steps=2", "steps=3000"):gsub("out board", "out moved")
  local code, out = sandbox.interrupt(long, "INT", "moved/metrics.jsonl")
  t.eq(code, 75, out)
  sandbox.run "cp -r moved unfinished"
  code, out = flowmap(long .. " --resume", "FM_ISA=scalar")
  t.eq(code, 0, out)
  if fm.info().isa == "scalar" then return t.skip("a note", "there is one instruction set") end
  t.eq(out:find("it was interrupted; the numerics changed: instruction set", 1, true) ~= nil, true,
    out)
  local history = require("flowmap.runs.record").need(work .. "/moved", "manifest").history
  t.eq({ history[1].isa, history[2].isa }, { fm.info().isa, "scalar" })
  t.eq(history[1].fingerprint == history[2].fingerprint, false)
end)

-- ------------------------------------------------------------------ accepted changes

local ACCEPT = "accept set/run --why '%s'"

t.test("accept: a reason, an undamaged run; then it is current, and tables say so",
  function()
    local line = BOARD:gsub("out board", "out set/run")
    t.eq(flowmap(line), 0)
    local function fails(expected, words, arguments)
      local code, out = flowmap(arguments)
      t.eq({ code, out:find(words, 1, true) ~= nil }, { expected, true }, out)
    end
    fails(2, "give the reason with --why", "accept set/run")
    fails(2, "give the reason with --why", ACCEPT:format " ")
    fails(2, "one line of at most 500 bytes", ACCEPT:format(("x"):rep(501)))
    fails(2, "this text is not UTF-8", ACCEPT:format "\xff") -- its record would be no JSON
    fails(2, "there is no run at nowhere", "accept nowhere --why x")
    fails(0, "there is nothing to accept", "accept unfinished --why x")
    fails(2, "name its file by --experiment FILE", "accept run --why x")
    fails(0, "there is nothing to accept", ACCEPT:format "x")
    t.eq(files.exists(work .. "/set/run/accepted.json"), false)
    local eval = read "set/run/eval.json"
    write("set/run/eval.json", (eval:gsub("1", "2", 1)))
    fails(3, "is damaged", ACCEPT:format "x")
    write("set/run/eval.json", eval)
    if fm.info().isa == "scalar" then return t.skip("accept", "there is one instruction set") end
    local code, out = flowmap(ACCEPT:format "bits of another machine", "FM_ISA=scalar")
    t.eq({ code, out:find "instruction set %w+ %-> scalar" ~= nil }, { 0, true }, out)
    t.eq(select(2, flowmap(line, "FM_ISA=scalar")):find "reused" ~= nil, true)
    t.eq(select(2, flowmap(ACCEPT:format "and back")):find "scalar %-> " ~= nil, true)
    t.eq(select(2, flowmap(line)):find "reused: nothing changed since %S+ but what was acc" ~= nil,
      true)
    local words = require("flowmap.report.results").open(work .. "/set"):provenance()
    t.eq(words:find("bits of another machine (the numerics changed: instruction set", 1, true)
      ~= nil, true, words)
    t.eq(words:find "and back %(.-; inputs %x+ %-> %x+, numerics %x+ %-> %x+%)" ~= nil, true, words)
  end)

t.test("accept: an own experiment's changed helper; settings stay those of the run", function()
  write("parts/scale.lua", "return 0.25 * 2")
  t.eq({ decision() }, { "run", "parts/scale.lua changed" })
  local code, out = flowmap("accept run --experiment own.lua --why 'the same number'",
    ("LUA_PATH='%s/found/?.lua;;'"):format(work))
  t.eq({ code, out }, { 0, "accepted: parts/scale.lua changed\n" })
  t.eq(decision(), "reuse")
  t.eq({ decision { set = { lr = 0.5 } } }, { "run", "lr changed from 0.001 to 0.5" })
end)

t.test("a first metric: the reason names none in place of an empty word", function()
  local text = [[return { name = "m", METRICS profiles = { smoke = { steps = 2, width = 8,
    depth = 1, batch = 16, micro = 16, eval_samples = 64, nfe = { 1 }, bins = 8 } } }]]
  local command = sandbox.program .. " run m.lua --profile smoke --method lsd --out metric"
  write("m.lua", (text:gsub("METRICS", "")))
  local code, out = sandbox.run(command)
  t.eq(code, 0, out)
  write("m.lua", (text:gsub("METRICS", "metrics = { mmd = function() return 1 end },")))
  code, out = sandbox.run(command)
  t.eq({ code, out:find("metrics changed from none to mmd", 1, true) ~= nil }, { 0, true }, out)
end)

t.done()
