-- The program as its users see it: exit codes, sentences, files, interruption.

local t = require "harness"
local files = require "flowmap.base.files"
local json = require "flowmap.base.json"
local sandbox = require "sandbox"

local work = sandbox.root
sandbox.link "experiments"

-- Run the program; returns exit code, standard output, standard error.
local function flowmap(arguments, before)
  local code = sandbox.run(("%s %s %s >stdout 2>stderr"):format(before or "", sandbox.program,
    arguments))
  return code, sandbox.read "stdout", sandbox.read "stderr"
end

local SMALL = "run experiments/checkerboard.lua --profile smoke --set width=16 --set steps=20 "
  .. "--set eval_samples=2000 --set nfe=1,2 --set batch=32 "

-- Check that a command line ends with this code and one matching sentence.
local function fails(arguments, expected, pattern)
  local code, _, stderr = flowmap(arguments)
  t.eq(code, expected, arguments)
  t.eq(stderr:find(pattern) ~= nil, true, arguments .. ": " .. stderr)
  t.eq(select(2, stderr:gsub("\n", "")), 1, "one line: " .. stderr)
  t.eq(stderr:find "traceback", nil)
end

t.test("every command has help and version", function()
  for _, command in ipairs { "", "run", "reproduce", "repl", "sample", "params", "gradcheck",
    "info", "explain", "paper" } do
    local code, out = flowmap(command .. " --help")
    t.eq(code, 0)
    t.eq(out:find "Usage: flowmap" ~= nil, true, command)
    code, out = flowmap(command .. " --version")
    t.eq(code, 0)
    t.eq(out:find "^flowmap %d+%.%d+%.%d+\n$" ~= nil, true, command)
  end
  for words, same in pairs { help = "--help", ["help run"] = "run --help" } do
    t.eq({ flowmap(words) }, { flowmap(same) }, words)
  end
end)

t.test("wrong use gives exit code 2 and a sentence", function()
  fails("frobnicate", 2, "unknown command 'frobnicate'")
  fails("lua -e", 2, "unknown option '%-e'; did you mean '%-h'")
  fails("run", 2, "missing argument 'experiment'")
  fails("run experiments/none.lua", 2, "no experiment")
  fails("run experiments/checkerboard.lua --profile labtop", 2, "did you mean laptop")
  fails("run experiments/checkerboard.lua --method lds", 2, "unknown method 'lds'")
  fails("run experiments/checkerboard.lua --seed x", 2, "%-%-seed: expected a whole number")
  fails("run experiments/checkerboard.lua --set widht=3", 2, "did you mean width")
  fails("run experiments/checkerboard.lua --set width", 2, "expected key=value")
  fails("sample x --out a.jpg", 2, "%.png, %.npy or %.csv")
end)

-- Call f(words of the command, option) for each option of these commands that takes a value.
local function each_option(f, commands, before)
  for _, command in ipairs(commands) do
    local words = before .. command[1]
    for k = 3, #command do
      if command[k][1]:find "^%-" and not command[k].flag then f(words, command[k]) end
    end
    each_option(f, command.commands or {}, words .. " ")
  end
end

t.test("a negative number is the value of the option before it", function()
  local cli, told = require "flowmap.app.cli", 0
  local function try(words, option)
    for name in option[1]:gmatch "%S+" do
      local line = ("%s %s -3 --help"):format(words, name)
      local code, out, err = flowmap(line)
      t.eq(err:find "unknown option", nil, line .. ": " .. err)
      t.eq(code == 2 and err:find(option[1]:match "%S+" .. ": expected", 1, true) ~= nil
        or code == 0 and out:find "^Usage" ~= nil, true, line .. ": " .. out .. err)
      told = told + (code == 2 and 1 or 0)
    end
  end
  each_option(try, cli.commands, "")
  for _, option in ipairs(cli.everywhere) do
    if not option.flag then try("info", option) end
  end
  t.eq(told > 20, true)
  fails("sample --count -3 x", 2, "%-%-count: expected a whole number from 1 .*found '%-3'")
  fails("sample --guidance -.5 x --out a.png", 3, "no checkpoint x")
  fails("reproduce -j -3", 2, "%-%-jobs: expected a whole number")
  fails("sample --steps=2 -3", 2, "unknown option '%-3'")
  fails("run --json -3", 2, "'%-%-json' does not take arguments")
end)

t.test("missing and damaged files give exit code 3", function()
  fails("sample none.safetensors --out a.npy", 3, "no checkpoint none.safetensors")
  local path = sandbox.write("bad.safetensors", "not a checkpoint")
  fails("sample " .. path .. " --out a.npy", 3, "bad.safetensors")
end)

t.test("params prints only the number", function()
  local code, out = flowmap "params experiments/checkerboard.lua --profile paper"
  t.eq(code, 0)
  t.eq(out, "1054210\n")
end)

t.test("params and explain of an experiment that trains no flow map", function()
  local commands = require "flowmap.app.commands"
  for _, name in ipairs { "params", "explain" } do
    local err = t.raises(function()
      commands[name] { experiment = "experiments/classifier.lua", profile = "smoke", set = {} }
    end, "classifier.lua trains no flow map; `" .. name .. "` describes the training step of one")
    t.eq(err.code, "usage")
  end
end)

t.test("a run writes its files, is reused, and runs again when an input changes", function()
  local dir = work .. "/run"
  local code, out, err = flowmap(SMALL .. "--out " .. dir)
  t.eq(code, 0, err)
  t.eq(out:find "runs: there is no result yet" ~= nil, true, out)
  for _, name in ipairs { "config.json", "manifest.json", "metrics.jsonl", "eval.json", "data.npy",
    "samples-N1.npy", "samples-N2.npy", "density-N1.npy", "checkpoint.safetensors" } do
    t.eq(files.exists(dir .. "/" .. name), true, name)
  end
  local manifest = json.read(dir .. "/manifest.json")
  t.eq(manifest.samples_seen, 640)
  t.eq(manifest.checkpoint_rule, "last")
  t.eq(json.read(dir .. "/eval.json").rows[2].N, 2)
  code, out = flowmap(SMALL .. "--out " .. dir)
  t.eq(code, 0)
  t.eq(out:find "reused: nothing changed since" ~= nil, true, out)
  code, out = flowmap(SMALL .. "--set lr=1e-3 --out " .. dir)
  t.eq(code, 0)
  t.eq(out:find "runs: lr changed from 0.002 to 0.001" ~= nil, true, out)
end)

t.test("--threads also works before the command", function()
  for _, line in ipairs { "--threads 3 info", "info --threads 3" } do
    local _, out = flowmap(line)
    t.eq(out:match "threads +(%d+)", "3", line)
  end
  local _, _, stderr = flowmap "--traceback params missing.lua"
  t.eq(stderr:find "stack traceback" ~= nil, true, stderr)
end)

t.test("the weights do not depend on the number of threads", function()
  local function weights(dir, options)
    local code, _, err = flowmap(SMALL .. options .. " --out " .. dir)
    t.eq(code, 0, err)
    local fm = require "flowmap.core"
    return fm.load_safetensors(dir .. "/checkpoint.safetensors")["params.1.w"]:flat()
  end
  local one = weights(work .. "/one", "--threads 1")
  t.eq(weights(work .. "/two", "--threads 2"), one)
end)

t.test("samples from a checkpoint", function()
  local path = work .. "/run/checkpoint.safetensors"
  for _, kind in ipairs { "npy", "csv" } do
    local file = ("%s/samples.%s"):format(work, kind)
    local code, _, err = flowmap(("sample %s --steps 2 --count 50 --out %s"):format(path, file))
    t.eq(code, 0, err)
    t.eq(files.exists(file), true)
  end
  local lines = select(2, files.read(work .. "/samples.csv"):gsub("\n", ""))
  t.eq(lines, 51)
end)

t.test("paper: a chapter or a profile that does not exist is a wrong argument", function()
  for words, said in pairs { ["nosuch"] = "there is no chapter 'nosuch'",
    ["nosuch.lua"] = "there is no chapter 'nosuch.lua'",
    ["--profile nosuch notes.md"] = "unknown profile 'nosuch'; known: laptop" } do
    sandbox.write("notes.md", "# Notes")
    local code, out, err = flowmap("paper " .. words)
    t.eq(code, 2, out .. err)
    t.eq(err:find("flowmap: " .. said, 1, true), 1, err)
  end
end)

t.test("the time of an experiment's own metric is part of the estimate", function()
  sandbox.write("slow.lua", [[
return { name = "slow", methods = { "lsd" }, profiles = { smoke = { steps = 1, width = 4,
  batch = 8, eval_samples = 64, nfe = { 1, 2, 4 } } }, metrics = { slow = function()
    local start = os.clock()
    repeat until os.clock() - start > 0.1
    return 1
  end } }]])
  local code, out = flowmap "run slow.lua --profile smoke --dry-run --json"
  t.eq(code, 0, out)
  local pace = json.decode(out)
  t.eq(pace.rows_s >= 0.1 and pace.evaluation_s >= 0.3, true, out)
  code, out = flowmap "run slow.lua --profile smoke --dry-run"
  t.eq(code, 0, out)
  t.eq(tonumber(out:match "evaluations of the map, about ([%d.]+) s") >= 0.3, true, out)
end)

t.test("the estimate sees that a metric looks at a part of the samples", function()
  sandbox.write("part.lua", [[
return { name = "part", methods = { "lsd" }, profiles = { smoke = { steps = 1, width = 4,
  batch = 8, eval_samples = 60000, nfe = { 1 } } }, metrics = { part = function(x)
    local start = os.clock()
    repeat until os.clock() - start > 8e-5 * math.min(x.shape[1], 4096)
    return 1
  end } }]])
  local code, out = flowmap "run part.lua --profile smoke --dry-run --json"
  t.eq(code, 0, out)
  local pace = json.decode(out)
  t.eq(pace.rows_s > 0.3 and pace.rows_s < 1.5, true, out) -- 5 s if all samples counted
end)

t.test("--dry-run prints memory and time and writes nothing", function()
  local code, out, err = flowmap(SMALL .. "--dry-run --out " .. work .. "/dry")
  t.eq(code, 0, err)
  t.eq(out:find "memory" ~= nil and out:find "training" ~= nil, true, out)
  t.eq(files.exists(work .. "/dry"), false)
end)

t.test("SIGINT saves and gives exit code 75; --resume ends as if nothing had happened", function()
  local long = SMALL:gsub("steps=20", "steps=200000") .. "--set eval_samples=500 "
    .. "--set log_every=10 --out interrupted"
  local code, out = sandbox.interrupt(long, "INT", "interrupted/metrics.jsonl")
  t.eq(code, 75, out)
  t.eq(out:find "interrupted after step %d+ of 200000" ~= nil, true, out)
  -- the rest of a run is long; here it only matters that it continues, and that another version
  -- with the same numerics is not said to have changed the bits
  local history = sandbox.read "interrupted/history.jsonl"
  sandbox.write("interrupted/history.jsonl", (history:gsub('("version": *)"[^"]*"', '%1"0.0.1"')))
  local metrics = sandbox.read "interrupted/metrics.jsonl"
  local next_line = ('"step": %d}'):format(metrics:match '.*"step": (%d+)' + 10)
  code, out = sandbox.interrupt(long .. " --resume >resumed", "TERM", "interrupted/metrics.jsonl",
    next_line)
  t.eq(code, 75, out)
  out = sandbox.read "resumed"
  t.eq(out:find "resumes: it was interrupted" ~= nil, true, out)
  t.eq(out:find "resuming after step %d+" ~= nil, true, out)
  t.eq(out:find "version was 0.0.1 up to step %d+ and is %S+ from there on; the fingerprint of the "
    ~= nil, true, out)
  t.eq(out:find "bits", nil, out)
  local after = sandbox.read "interrupted/metrics.jsonl"
  t.eq(after:sub(1, #metrics) == metrics and after:find(next_line, #metrics, true) ~= nil, true)
end)

t.test("kill -9 at ten random moments, then --resume: the bits of an undisturbed run", function()
  local run = SMALL:gsub("steps=20", "steps=400") .. "--set log_every=50 --out "
  local whole, killed = work .. "/whole", work .. "/killed"
  local fm = require "flowmap"
  local start = fm.clock()
  t.eq(flowmap(run .. whole), 0)
  local took = fm.clock() - start -- on a machine as busy as it is now
  run = run:gsub("%-%-out", "--set save_every=0.01 --out")
  local function resume() return files.exists(killed .. "/.flowmap") and " --resume" or "" end
  for k = 1, 10 do
    flowmap(run .. killed .. resume(), ("timeout --signal=KILL %.2f"):format(
      took * (0.25 + k * 7 % 10 / 20)))
  end
  local code, _, err = flowmap(run .. killed .. resume())
  t.eq(code, 0, err)
  -- save_every is a setting of its own: of the records that name it, only it may differ
  for _, name in ipairs { "eval.json", "samples-N1.npy", "samples-N2.npy", "metrics.jsonl" } do
    t.eq(files.read(killed .. "/" .. name) == files.read(whole .. "/" .. name), true, name)
  end
  local function tensors(dir)
    local out = {}
    for name, tensor in pairs((fm.load_safetensors(dir .. "/checkpoint.safetensors"))) do
      out[name] = fm.sha256(fm.bytes(tensor))
    end
    return out
  end
  t.eq(tensors(killed), tensors(whole))
end)

t.test("an experiment's own loss that diverges gives exit code 4", function()
  local path = sandbox.write("own.lua", [[
    local fm = require "flowmap"
    return { name = "own", methods = { "wrong" }, profiles = { smoke = { steps = 5, width = 8,
      batch = 32, eval_samples = 100 } },
      losses = { wrong = function(a) return fm.losses.norm2(fm.log(a.map.v(a.s, a.t, a.x))) end } }
  ]])
  fails(("run %s --profile smoke --out %s/own"):format(path, work), 4,
    "step %d: the loss is not finite in the wrong term")
  fails(("run %s --profile smoke --out %s/own"):format(path, work), 4, "not finite")
end)

t.test("reproduce makes, reuses and renders, and states why", function()
  local path = sandbox.write("mini.lua", [[
    return { name = "mini", methods = { "lsd", "psd-m" }, profiles = { smoke = { steps = 5,
      width = 8, batch = 32, log_every = 1, eval_samples = 500, nfe = { 1, 2 } } } }
  ]])
  local code, out, err = flowmap("reproduce mini.lua --profile smoke --seeds 2 -j 2")
  t.eq(code, 0, out .. err)
  t.eq(select(2, out:gsub("runs: there is no result yet", "")), 4)
  t.eq(out:find "4 runs, 4 of them to make, 2 at a time" ~= nil, true, out)
  t.eq(out:find "mini/lsd%-seed2 runs" ~= nil, true, out)
  t.eq(files.exists(work .. "/results/mini/smoke/tables/kl.csv"), true)
  t.eq(files.exists(work .. "/results/mini/smoke/figures/kl.svg"), true)
  code, out, err = flowmap("reproduce mini.lua --profile smoke --seeds 2")
  t.eq(code, 0, err)
  t.eq(select(2, out:gsub("reused: nothing changed since", "")), 4)
  t.eq(out:find "4 runs, 0 of them to make" ~= nil, true, out)
  -- a seed that is not repeated must not remain among runs with other settings
  local text = files.read(path)
  sandbox.write(path, (text:gsub("width = 8", "width = 9")))
  code, out, err = flowmap("reproduce mini.lua --profile smoke --seeds 1")
  t.eq(code, 0, err)
  t.eq(out:find "lsd%-seed1 runs: width changed from 8 to 9" ~= nil, true, out)
  t.eq(out:find "lsd%-seed2 put aside in .-: width changed from 8 to 9" ~= nil, true, out)
end)

t.test("the template runs, with its own loss, network and data", function()
  local code, _, err = flowmap("run experiments/template.lua --profile smoke --out "
    .. work .. "/t")
  t.eq(code, 0, err)
  t.eq(json.read(work .. "/t/config.json").waves, 8)
end)

t.test("the prompt evaluates expressions and survives errors", function()
  local code, out = flowmap("repl", "printf '1 + 1\\nerror(\"x\")\\nfm.tensor(2) * 3\\n' |")
  t.eq(code, 0)
  t.eq(out:find "2\n" ~= nil, true, out)
  t.eq(out:find "error: .-x\n" ~= nil, true, out)
end)

t.test("fm.help describes operations and suggests similar names for unknown ones", function()
  local fm = require "flowmap"
  t.eq(fm.help "slice", "slice(tensor, axis, start, length)  `length` entries of an axis from "
    .. "`start` on.\n  fm.slice(fm.arange(5), 1, 2, 3) --> { 1, 2, 3 }")
  t.eq(fm.help("clip"):find("clip(tensor, lo, hi)  x limited to [lo, hi].", 1, true), 1)
  t.eq(fm.help("matmul"):sub(1, 32), "matmul(tensor, tensor [, ta, tb]")
  for _, op in ipairs(fm.ops()) do
    if rawget(require "flowmap.core", op.name) and op.args ~= "" then
      t.eq(("\n" .. fm.help()):find("\n" .. op.name .. "(", 1, true) ~= nil, true, op.name)
    end
  end
  t.eq(fm.help "item", "item(tensor)  The value of a tensor that has only one.\n"
    .. "  fm.item(fm.tensor(3)) --> 3")
  t.eq(fm.help("mean"):find "flowmap/tensor.lua, line %d+" ~= nil, true, fm.help "mean")
  t.raises(function() fm.help "slise" end, "did you mean slice")
  t.raises(function() fm.conv2d() end, "fm.conv2d: no such function or module; did you mean conv")
  t.raises(function() return fm.ones({ 2 }).shpae end, "tensor: no field or method 'shpae' found")
  t.raises(function() fm.sum() end, "sum: a nil found, expected a tensor")
  t.raises(function() fm.jvp(fm.exp, 1, 2) end, "derivatives: a number found, expected tensors")
end)

t.done()
