-- The command `runs`: what it says of runs in every state, and of folders that are none.

local t = require "harness"
local cache = require "flowmap.runs.cache"
local columns = require "flowmap.app.columns"
local core = require "flowmap.core"
local edit = require("made_run").edit
local files = require "flowmap.base.files"
local json = require "flowmap.base.json"
local lfs = require "lfs"
local look = require "flowmap.runs.look"
local record = require "flowmap.runs.record"
local sandbox = require "sandbox"
local stats = require "flowmap.measure.stats"

local flowmap, root = sandbox.flowmap, sandbox.root

local SET = "--set width=8 --set depth=1 --set steps=20 --set log_every=5 --set batch=32 "
  .. "--set micro=16 --set eval_samples=200 --set nfe=1,2 --set bins=4 --set kl_estimates=false"

local code, said = flowmap(("run %s/experiments/checkerboard.lua --profile smoke %s --out %s/one")
  :format(sandbox.here, SET, root))
t.eq(code, 0, said)

local base = root .. "/results/checkerboard/smoke-own"

-- A copy of the run with other settings and another KL, sealed as a run of its own.
local function copy(name, set, kl)
  local dir = base .. "/" .. name
  files.mkdir(dir)
  for _, file in ipairs(files.below(root .. "/one")) do
    core.write_file(dir .. "/" .. file, files.read(root .. "/one/" .. file))
  end
  local inputs = edit(dir, "inputs", function(it)
    for key, value in pairs(set) do it["setting " .. key] = tostring(value) end
  end)
  edit(dir, "config", function(it) for key, value in pairs(set) do it[key] = value end end)
  edit(dir, "eval", function(it) it.rows[1].kl = kl or it.rows[1].kl end)
  edit(dir, "manifest", function(it)
    it.seed, it.cpu_s, it.inputs_hash = set.seed, 100.5, cache.hash(inputs)
    it.files = record.checksums(dir)
  end)
  return dir
end

copy("a-1", { seed = 1, eta = 0.5 }, 1.5)
copy("a-2", { seed = 2, eta = 0.5 }, 2.0)
copy("a-3", { seed = 3, eta = 0.5 }, 2.5)
copy("b-1", { seed = 1, eta = 0.25 }, 0.5)

local function list(options)
  local status, text = flowmap("runs " .. (options or ""))
  t.eq(status, 0, text)
  return text
end

local function line_of(text, words)
  for line in text:gmatch "[^\n]+" do
    if line:find(words, 1, true) then return line end
  end
  error(("%q is in no line of:\n%s"):format(words, text))
end

t.test("seeds share a row with mean and interval; only settings that differ are named", function()
  local text = list()
  t.has(text, "results/checkerboard/smoke-own: 4 runs, 6:42 of processor time; KL at N = 1\n")
  local half = stats.summary({ 1.5, 2.0, 2.5 }).half -- 4.302652729749 * 0.5 / sqrt(3)
  t.near(half, 1.242068, 1e-5)
  t.eq(line_of(text, "eta=0.5"), "lsd     eta=0.5   1-3    2.0000 ± 1.2421  5:02  finished")
  t.eq(line_of(text, "eta=0.25"), "lsd     eta=0.25  1      0.5000           1:41  finished")
end)

t.test("rows are sorted by any column or setting", function()
  local function order(options)
    local text = list(options)
    return text:find("eta=0.5 ", 1, true) < text:find("eta=0.25", 1, true)
  end
  t.eq(order(), true)
  t.eq(order "--sort result", false)
  t.eq(order "--sort eta", false)
  t.eq(order "--sort cpu", false)
  local status, text = flowmap "runs --sort reslt"
  t.eq(status, 2)
  t.has(text, "did you mean result")
end)

t.test("CSV holds the same numbers exactly, with the ends of the interval", function()
  local lines = {}
  for line in list("--csv"):gmatch "[^\n]+" do lines[#lines + 1] = line end
  t.eq(#lines, 3)
  t.eq(lines[1], "folder,experiment,profile,method,settings,seeds,runs,metric,N,n,mean,low,high,"
    .. "cpu_s,state")
  local half = stats.summary({ 1.5, 2.0, 2.5 }).half
  t.eq(lines[2], ("results/checkerboard/smoke-own,checkerboard,smoke,lsd,eta=0.5,1-3,3,kl,1,3,2,"
    .. "%s,%s,301.5,finished"):format(json.encode(2 - half), json.encode(2 + half)))
  t.eq(#list("--csv --each"):gsub("[^\n]", ""), 5)
end)

t.test("another N and another result", function()
  t.has(list "--N 2 --metric energy", "; energy at N = 2\n")
  local eval = record.read(base .. "/b-1", "eval")
  t.has(line_of(list "--N 2 --metric energy", "eta=0.25"), ("%.2e"):format(eval.rows[2].energy))
  local status, text = flowmap "runs --metric enrgy"
  t.eq(status, 2)
  t.has(text, "did you mean energy")
end)

t.test("an experiment's name selects; one without runs is an error with a near name", function()
  t.has(list "checkerboard", "4 runs")
  local status, text = flowmap "runs chekerboard"
  t.eq(status, 2)
  t.has(text, "has no run of the experiment 'chekerboard'; did you mean checkerboard?")
  t.has(list "--profile laptop", "there are no runs below results")
end)

t.test("a run in progress tells its share, an interrupted one its last checkpoint", function()
  local dir = copy("c-1", { seed = 1, eta = 0.125 })
  os.remove(dir .. "/manifest.json")
  t.has(line_of(list(), "eta=0.125"), "interrupted at 20")
  local trace = files.read(dir .. "/metrics.jsonl"):gsub('[^\n]*"step": 20}\n', '{"half a li')
  core.write_file(dir .. "/metrics.jsonl", trace)
  local lock = core.lock(dir .. "/.flowmap")
  t.has(line_of(list(), "eta=0.125"), "running, 75 %")
  t.eq(look.words { state = "running", step = 20, steps = 20 }, "evaluating")
  t.eq(look.words { state = "running" }, "starting")
  lock:release()
  os.remove(dir .. "/checkpoint.safetensors")
  t.has(line_of(list(), "eta=0.125"), "interrupted at 0")
  files.remove_tree(dir)
end)

t.test("a run that ends while it is looked at is finished", function()
  local dir, lock = copy("g-1", { seed = 1, eta = 0.125 }), core.lock
  local manifest = files.read(dir .. "/manifest.json")
  os.remove(dir .. "/manifest.json")
  core.lock = function(path)
    core.write_file(dir .. "/manifest.json", manifest)
    return lock(path)
  end
  local it = look.run(dir)
  core.lock = lock
  t.eq(it.state, "finished", it.fault)
  files.remove_tree(dir)
end)

t.test("a diverged run tells its step, and enters no mean", function()
  local dir = copy("a-4", { seed = 4, eta = 0.5 })
  os.remove(dir .. "/manifest.json")
  record.write(dir, "diverged", { step = 17, message = "the loss is not finite",
    files = record.checksums(dir) })
  local line = line_of(list(), "eta=0.5 ")
  t.has(line, "1-4    2.0000 ± 1.2421")
  t.has(line, "3 finished; 1 diverged at 17")
  files.remove_tree(dir)
end)

t.test("an outdated run says why, in a row of its own", function()
  local dir = copy("a-4", { seed = 4, eta = 0.5 })
  edit(dir, "inputs", function(it)
    it["module flowmap.step"] = "code " .. ("0"):rep(64)
    it["module flowmap.times"] = "code " .. ("0"):rep(64)
  end)
  local text = list()
  t.has(text, "1-3    2.0000 ± 1.2421")
  t.has(text, "outdated: flowmap.step changed and 1 more")
  files.remove_tree(dir)
end)

t.test("damaged, foreign and half-written folders get one sentence each", function()
  local damaged = copy("d-1", { seed = 1 })
  local other = files.read(damaged .. "/eval.json"):gsub("kl", "kI")
  core.write_file(damaged .. "/eval.json", other)
  local cut = copy("d-2", { seed = 1 })
  core.write_file(cut .. "/manifest.json", files.read(cut .. "/manifest.json"):sub(1, 300))
  local alien = sandbox.mkdir "results/checkerboard/smoke-own/d-3"
  core.write_file(alien .. "/config.json", "\0\1\2")
  core.write_file(sandbox.mkdir "results/holiday" .. "/photo.png", "")
  local begun = sandbox.mkdir "results/checkerboard/smoke-own/d-4"
  core.write_file(begun .. "/.flowmap", files.read(damaged .. "/.flowmap"))
  os.execute("mkdir " .. base .. "/d-5 && ln -s /nowhere " .. base .. "/d-5/config.json")
  os.execute("mkdir -p " .. base .. "/d-6/config.json")
  local text = list()
  t.has(text, "smoke-own: 4 runs")
  for name, words in pairs { ["d-1"] = "eval.json is damaged", ["d-2"] = "manifest.json is damaged",
    ["d-3"] = "config.json is damaged", ["d-4"] = "its run ended before its first step",
    ["d-5"] = "d-5", ["d-6"] = "d-6", ["holiday"] = "holds files, but no run" } do
    t.has(line_of(text, name), words)
  end
  files.remove_tree(root .. "/results/holiday")
  for k = 1, 6 do os.execute(("rm -rf %s/d-%d"):format(base, k)) end
end)

t.test("checksums are compared on request", function()
  local dir = copy("e-1", { seed = 1, eta = 0.75 })
  core.write_file(dir .. "/samples-N1.npy", "other samples")
  t.has(line_of(list(), "eta=0.75"), "finished")
  local status, text = flowmap "runs --verify"
  t.eq(status, 3)
  t.has(text, "e-1/samples-N1.npy is damaged or was changed")
  files.remove_tree(dir)
end)

t.test("published sets, whose runs have neither mark nor weights", function()
  local set = sandbox.mkdir "published/smoke/checkerboard"
  core.write_file(set .. "/set.json", "{}")
  core.write_file(set .. "/kl.csv", "")
  files.mkdir(set .. "/runs")
  t.eq(os.rename(copy("f-1", { seed = 1, eta = 0.75 }, 3.5), set .. "/runs/f-1"), true)
  for _, name in ipairs { ".flowmap", "checkpoint.safetensors", "samples-N1.npy" } do
    os.remove(set .. "/runs/f-1/" .. name)
  end
  local text = list "--results published --verify"
  t.has(text, "published/smoke/checkerboard/runs: 1 run, 1:41 of processor time; KL at N = 1\n")
  t.eq(line_of(text, "lsd"), "lsd               1      3.5000  1:41  finished")
  t.eq(#text:gsub("[^\n]", ""), 3)
end)

t.test("a pipe in place of a journal holds up nobody who looks at runs", function()
  sandbox.run "mkdir -p seen && cp -a one seen/ && cd seen/one && rm manifest.json history.jsonl "
  sandbox.run "mkfifo seen/one/history.jsonl"
  local ended, out = sandbox.run(("timeout 20 %s runs --results seen"):format(
    files.quote(sandbox.program)))
  t.eq({ ended, out:find "interrupted at 0" ~= nil }, { 0, true }, out)
end)

t.test("a run and its copy are no two seeds of an interval", function()
  sandbox.run "mkdir twice && cp -a one twice/one && cp -a one twice/two"
  local ended, out = flowmap "runs --results twice --csv"
  t.eq({ ended, select(2, out:gsub(",lsd,,1,1,kl,1,1,", "")) }, { 0, 2 }, out)
end)

t.test("names from files steer no terminal: a head of the results, a folder, a cell", function()
  local dir = copy("h-1", { seed = 1 })
  edit(dir, "eval", function(it) it.columns[1][2] = "K\27[2JL" end)
  edit(dir, "manifest", function(it) it.files = record.checksums(dir) end)
  local evil = sandbox.mkdir "evil/a\27]0;b\7"
  t.eq(os.rename(dir, evil .. "/run"), true)
  local text = list "--results evil"
  t.has(text, "a ]0;b : 1 run")
  t.has(text, "K [2JL at N = 1\n")
  t.eq(text:find "[\0-\9\11-\31\127]", nil)
  files.remove_tree(root .. "/evil")
end)

t.test("a link to a folder above leads nowhere: no run is listed twice", function()
  for name, target in pairs { self = ".", all = "/", up = "../.." } do
    os.execute(("ln -s %s %s/%s"):format(target, base, name))
  end
  t.eq(#look.find(root .. "/results"), 4)
  t.has(list "--each", "4 runs")
  os.execute(("cd %s && rm self all up && ln -s . around"):format(base))
  os.execute(("ln -s %s %s/elsewhere"):format(base, sandbox.mkdir "linked"))
  t.eq(#look.find(root .. "/linked"), 4) -- but a link to another folder is followed
  os.execute(("rm %s/around"):format(base))
  files.remove_tree(root .. "/linked")
end)

t.test("a folder that may not be looked into is unreadable, and hides no other", function()
  local dir, attributes = sandbox.mkdir "results/checkerboard/smoke-own/private", lfs.attributes
  lfs.attributes = function(path, what) -- luacheck: ignore 122
    if path:find("/private/", 1, true) then return nil, path .. ": Permission denied", 13 end
    return attributes(path, what)
  end
  local found, it = look.find(root .. "/results"), look.run(dir)
  lfs.attributes = attributes -- luacheck: ignore 122
  t.eq(#found, 5)
  t.eq(it.state, "unreadable")
  t.has(it.fault, "Permission denied")
  files.remove_tree(dir)
end)

t.test("commands that look at a run take the folder that one stands in", function()
  for _, words in ipairs { "why .", "why ./", "diff . ../a-2", "watch . --once" } do
    local command = ("cd %s/a-1 && %s %s"):format(base, sandbox.program, words)
    local status, text = sandbox.run(command)
    t.eq(status == 0 or words:find "^diff" and status == 1, true, text)
  end
end)

t.test("results that are not there", function()
  local status, text = flowmap "runs --results nowhere"
  t.eq(status, 3)
  t.has(text, "there is no folder nowhere")
end)

t.test("a table fits its width, and wraps between words without losing any", function()
  local rows = { { "method", "settings", "state" },
    { "lsd", "data=checkerboard eta=0.75 interpolant=trig steps=20", "outdated: a ± changed" } }
  local text = columns.text(rows, { right = {}, wraps = { [2] = true, [3] = true }, total = 44 })
  local words = {}
  for line in text:gmatch "[^\n]+" do t.eq(utf8.len(line) <= 44, true, line) end
  for word in text:gmatch "%S+" do words[word] = true end
  for _, row in ipairs(rows) do
    for word in table.concat(row, " "):gmatch "%S+" do t.eq(words[word], true, word) end
  end
  t.eq(columns.text({ { "a", "b" }, { "1", "long" } }, { right = { true }, wraps = {} }),
    "a  b\n1  long\n")
end)

t.done()
