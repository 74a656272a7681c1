-- Published runs made again: intact ones agree bit by bit, also after an interruption and, by
-- interval, with other numerics; a forged value, an outdated experiment and a broken kernel differ.

local t = require "harness"
local core = require "flowmap.core"
local experiment = require "flowmap.experiment"
local files = require "flowmap.base.files"
local json = require "flowmap.base.json"
local mini = require "mini_set"
local publish = require "flowmap.app.publish"
local record = require "flowmap.runs.record"
local render = require "flowmap.report.render"
local results = require "flowmap.report.results"
local sandbox = require "sandbox"
local tables = require "flowmap.report.table"

local final = mini.final

-- A method with a teacher, whose runs are in no table.
mini.text = mini.text:gsub('"lsd", "psd%-m"', '"lmd"'):gsub('"lsd"', '"lmd"')
mini.make({ "lmd" }, { 1, 2, 3 })
for seed = 1, 3 do
  mini.stamp("lmd-seed" .. seed, "revision", "abc123")
  mini.stamp("../smoke-stages/fm-seed" .. seed, "revision", "abc123")
end
local published, why = sandbox.flowmap "publish smoke mini.lua"
t.eq(published, 0, why)

local function verified(code, pattern, arguments, environment)
  local found, out = sandbox.flowmap("verify mini.lua " .. (arguments or ""), environment)
  t.eq(found, code, out)
  t.eq(out:find(pattern) ~= nil, true, pattern .. ": " .. out)
  t.eq(out:find "traceback", nil, out)
  return out
end

t.test("records alone make no run; a dry run tells the time", function()
  verified(0, "its tables and values follow from its own runs\nnothing differs", "--records")
  local out = verified(0, "2 runs, 2 of them to make.*estimate: 0:", "--seed 2 --dry-run")
  t.eq(out:find "seed1", nil, out)
  for _, nothing in ipairs { "--seed 9", "--methods lsd --dry-run" } do
    verified(2, "it has no run of the seeds.*no published run has these seeds and methods", nothing)
  end
  t.eq(sandbox.exists "build/verify/mini", false)
  verified(2, "holds no published set of mini.lua, profile long", "--profile long --records")
  for _, folder in ipairs { "paper/results/smoke", "./paper/results/smoke//" } do
    verified(0, "nothing differs", "--records --results " .. folder)
  end
  sandbox.run "mkdir paper/results/other && cp -r paper/results/smoke/mini paper/results/other"
  verified(2, "paper/results/other holds no published set of mini.lua, profile smoke",
    "--records --results paper/results/other --profile smoke")
  sandbox.run "rm -r paper/results/other"
  verified(2, "smoke/%. holds no published set of mini.lua\n$", "--results paper/results/smoke/.")
  verified(2, "holds no published set of absent\n$", "absent --records")
  for _, name in ipairs { "", "mini " } do -- which names no file
    local code, said = sandbox.flowmap("verify " .. name .. "--records")
    t.eq(code, 2, said)
    t.eq(said:find "'mini', which is not one of the suite's; name its file" ~= nil, true, said)
  end
  sandbox.run "cp mini.lua renamed.lua" -- a set has the name of the experiment, not of its file
  t.eq(sandbox.flowmap "verify renamed.lua --records", 0)
  local _, listed = sandbox.flowmap "runs renamed.lua"
  t.eq(listed:find "^results/mini/smoke: 3 runs" ~= nil, true, listed)
end)

t.test("the records of teachers belong to the set", function()
  local it = experiment.load(sandbox.path "mini.lua")
  t.eq(publish.check(final, it), {})
  t.eq(files.folders(final .. "/stages"), { "fm-seed1", "fm-seed2", "fm-seed3" })
  t.eq(#record.read(final, "set").stages, 3)
  os.rename(final .. "/stages/fm-seed1", final .. "/stages/fm-seed9")
  local problems = table.concat(publish.check(final, it), "; ")
  os.rename(final .. "/stages/fm-seed9", final .. "/stages/fm-seed1")
  for _, words in ipairs { "stages/fm-seed9/eval.json is not in set.json",
    "the set lacks the run fm-seed1", "lmd-seed1 was not taught by the run fm-seed1" } do
    t.eq(problems:find(words, 1, true) ~= nil, true, words .. ": " .. problems)
  end
end)

t.test("an intact run gives the same bits; what was made is not made again", function()
  verified(0, "estimate: .*1 run: the same bits\nnothing differs", "--runs 1")
  local first = files.folders(sandbox.root .. "/build/verify/mini/smoke")
  verified(0, "0 of them to make.*1 run: the same bits", "--runs 1")
  t.eq(files.folders(sandbox.root .. "/build/verify/mini/smoke"), first)
  verified(0, "3 runs: the same bits")
end)

-- Change the files of the set by a function; afterwards they are as before.
local function forged(change, check)
  local was = {}
  for _, name in ipairs(files.below(final)) do was[name] = files.read(final .. "/" .. name) end
  local ok, fault = pcall(function()
    change()
    check()
  end)
  for name, text in pairs(was) do sandbox.write(final .. "/" .. name, text) end
  if not ok then error(fault, 0) end
end

-- Make a changed set consistent again: tables, values, ids and all checksums.
local function reseal(name)
  local dir = final .. "/runs/" .. name
  local manifest = record.read(dir, "manifest")
  manifest.files["eval.json"] = core.sha256_file(dir .. "/eval.json")
  local old, new = manifest.id, record.id(core.sha256(json.encode(record.read(dir, "inputs"))),
    manifest.files)
  manifest.id = new
  record.write(dir, "manifest", manifest)
  local it, set = experiment.load(sandbox.path "mini.lua"), results.copies(final .. "/runs")
  for _, entry in ipairs(it.render) do
    local table_of = render.description(it, entry, set)
    if table_of then
      sandbox.write(("%s/%s.csv"):format(final, entry.name), tables.csv(table_of))
      sandbox.write(("%s/%s.md"):format(final, entry.name), tables.markdown(table_of))
    end
  end
  sandbox.write(final .. "/values.csv", publish.values(set))
  local svg = files.read(final .. "/traces.svg")
  sandbox.write(final .. "/traces.svg", (svg:gsub("run ids [%x, ]+", set:signature() .. " ")))
  local index = record.read(final, "set")
  for _, run in ipairs(index.runs) do run.id = run.id == old and new or run.id end
  for file, about in pairs(index.files) do
    about.sha256 = core.sha256_file(final .. "/" .. file)
    for i, id in ipairs(about.runs) do about.runs[i] = id == old and new or id end
    table.sort(about.runs)
  end
  record.write(final, "set", index)
end

t.test("a value that was forged everywhere differs from that of the run made again", function()
  forged(function()
    local eval = record.read(final .. "/runs/lmd-seed2", "eval")
    eval.rows[2].kl = eval.rows[2].kl * 0.99
    record.write(final .. "/runs/lmd-seed2", "eval", eval)
    reseal "lmd-seed2"
  end, function()
    verified(0, "nothing differs", "--records") -- the set agrees with itself
    local out = verified(1, "lmd%-seed2, N = 2, kl: published [%d.]+, made again [%d.]+")
    t.eq(out:find "kl.csv: made again, a cell is LMD,ours,N = 2," ~= nil, true, out)
    t.eq(out:find "N = 1", nil, out)
    verified(0, "1 run: the same bits", "--seed 1")
  end)
end)

t.test("other bits than an earlier version's are compared by interval", function()
  forged(function()
    local dir = final .. "/runs/lmd-seed2"
    local eval, manifest = record.read(dir, "eval"), record.read(dir, "manifest")
    eval.rows[2].kl = eval.rows[2].kl * (1 + 1e-7)
    manifest.version, manifest.history[1].version = "0.0.9", "0.0.9"
    record.write(dir, "eval", eval)
    record.write(dir, "manifest", manifest)
    reseal "lmd-seed2"
  end, function()
    verified(0, "2 runs: the same bits\n  1 run: other bits than those of the version that "
      .. "was published.*1 run with other numerics.* 0 differ")
  end)
end)

t.test("an experiment that changed since cannot make the published runs", function()
  sandbox.write("mini.lua", (mini.text:gsub("width = 8", "width = 9")))
  verified(1, "lmd%-seed1: width is 9 now, published is 8.*no run of it was chosen")
  sandbox.write("mini.lua", mini.text)
end)

t.test("other numerics are compared by interval, and the way to the same is told", function()
  verified(0, "with scalar and .-; FM_ISA=%w+ OPENBLAS_CORETYPE=%w+ in front of the command.*"
    .. "1 run with other numerics.* 10 cells agree, 0 differ, 0 of one seed",
    "--seed 1 --out other", "FM_ISA=scalar")
end)

local function graph(pattern)
  local code, out = sandbox.flowmap "graph mini.lua --results paper/results/smoke --out graph.svg"
  t.eq(code, 0, out)
  t.eq(out:gsub("%s+", " "):find(pattern, 1, true) ~= nil, true, pattern .. ": " .. out)
end

t.test("sources that gave the same bits again leave a set up to date, until they change", function()
  local function with_loss(returns) -- which no method uses
    local loss = ("losses = { spare = function(a) return %s end }, "):format(returns)
    sandbox.write("mini.lua", (mini.text:gsub("methods = ", loss .. "%0")))
  end
  with_loss "a.x"
  graph "LMD: 3 runs, out of date"
  verified(2, "%-%-keep has no effect", "--dry-run --keep")
  verified(2, "%-%-keep has no effect", "--records --keep")
  verified(0, "1 run: the same bits", "--seed 1 --keep") -- kept if this revision is clean
  sandbox.run "rm -f paper/results/verified.jsonl"
  mini.stamp("../../../build/verify/mini/smoke/lmd-seed1", "revision", "abc-dirty")
  verified(0, "lmd%-seed1 is not kept: a part of it was made from the revision abc%-dirty",
    "--seed 1 --keep")
  t.eq(sandbox.exists "paper/results/verified.jsonl", false)
  mini.stamp("../../../build/verify/mini/smoke/lmd-seed1", "revision", "abc124")
  verified(0, "0 of them to make.*1 run kept in paper/results/verified.jsonl",
    "--seed 1 --keep")
  local kept = sandbox.read "paper/results/verified.jsonl"
  graph "LMD: 3 runs, 1 made again with the same bits, 2 of the same earlier sources"
  graph "bits spot-checked: made again at abc124"
  verified(0, "1 run kept", "--seed 1 --keep")
  t.eq(sandbox.read "paper/results/verified.jsonl", kept, "a run has one line")
  sandbox.write("paper/results/verified.jsonl", (kept:gsub("\n$", ""))) -- as an editor may leave it
  graph "LMD: 3 runs, 1 made again with the same bits, 2 of the same earlier sources"
  with_loss "a.s"
  graph "LMD: 3 runs, out of date"
  sandbox.write("mini.lua", mini.text)
  graph "up to date"
  sandbox.run "mv results elsewhere" -- a clone has the records of teachers, not their weights
  graph "up to date"
  sandbox.run "mv elsewhere results"
  sandbox.write("paper/results/verified.jsonl", "5\n")
  t.eq(sandbox.flowmap "graph mini.lua --results paper/results/smoke --out graph.svg", 3)
  sandbox.run "rm paper/results/verified.jsonl"
end)

-- A program that differs in one line of a kernel: the build continues in a copy, in which only the
-- objects of this file are older than their source.
local function planted(file, from, to)
  local here, build = files.quote(sandbox.here), files.quote(sandbox.build)
  local code, out = sandbox.run(("mkdir copy && cp -a %s/core %s/Makefile copy/ && cp -a %s "
    .. "copy/build && ln -s %s/lua %s/paper copy/"):format(here, here, build, here, here))
  t.eq(code, 0, out)
  local changed, count = sandbox.read("copy/core/" .. file):gsub(from, to)
  t.eq(count, 1, "the line of the kernel")
  sandbox.write("copy/core/" .. file, changed)
  -- The flags of the build do not matter for the difference: no list of them is made.
  local makefile = sandbox.read "copy/Makefile"
  sandbox.write("copy/Makefile", (makefile:gsub("(%.list:) FORCE", "%1")))
  local compiler = files.read(sandbox.build .. "/flags.list"):match "^(.-) %-std=c11"
  code, out = sandbox.run(("make -C copy CC=%s flowmap"):format(files.quote(compiler)))
  t.eq(code, 0, out)
  t.eq(select(2, out:gsub("  CC ", "")) < 10, true, out)
  return files.quote(sandbox.path "copy/flowmap")
end

t.test("a kernel that computes something else is found", function()
  local program = planted("ops/leaf.c", "(FM_EXEC%(normal%) { draw%(e, fm_rng_normal%);)",
    "%1 for (int64_t i = 0; i < fm_shape_count(&e->out->shape); i++) ((T *)e->y)[i] *= 30;")
  local code, out = sandbox.run(program .. " verify mini.lua --seed 1 --out planted")
  t.eq({ code, out:find "DIFFERS: lmd, N = 1, outside: published 0[%d.]+, made again 1\n" ~= nil },
    { 1, true }, out)
end)

t.done()
