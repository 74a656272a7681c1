-- The lines below figures and tables of the page that say how they were made.

local t = require "harness"
local chapters = require "flowmap.experiment.chapters"
local contexts = require "flowmap.report.context"
local files = require "flowmap.base.files"
local lfs = require "lfs"
local made_run = require "made_run"
local origin = require "flowmap.report.origin"
local provenance = require "flowmap.report.provenance"
local results = require "flowmap.report.results"
local sandbox = require "sandbox"
local suite = require "flowmap.experiment"
local weave = require "flowmap.report.weave"

local root = sandbox.root

t.test("links to files of this folder lead from the page's folder, others are absolute", function()
  local here = lfs.currentdir()
  t.eq(origin.href("paper/build", "results/a/b.csv"), "../../results/a/b.csv")
  t.eq(origin.href("paper/build", here .. "/paper/results/x"), "../results/x")
  t.eq(origin.href("paper/build", "/usr/share/a b#.lua"), "/usr/share/a%20b%23.lua")
end)

t.test("the line of an entry: its name, an argument, a beginning, an expression", function()
  local source = table.concat({ 'local e = { kind = "line", name = "kl" }', '-- "kl"',
    'x { kind = "compare", name = "kl", metric = "fd" }', 'x { kind = "traces", metric = "sw" }',
    'compare("fd", 1)', 'x { kind = "heat", name = "at-N" .. N }',
    'name = ("by-%s-N%d"):format(a, 1)', 'x { kind = kind, name = kind .. "-" .. data }' }, "\n")
  local function line(kind, name) return origin.line(source, { kind = kind, name = name }) end
  t.eq({ line("compare", "kl"), line("against_steps", "fd"), line("heat", "at-N4"),
    line("several", "by-true-N1"), line("cures", "cures-modes2") }, { 3, 5, 6, 7, 8 })
  t.eq(origin.line("local x = 1", { kind = "a", name = "b" }), nil)
end)

t.test("every entry of every chapter has a line", function()
  for _, path in ipairs(chapters.experiments()) do
    local exp = suite.load(path)
    local source = results.read_file(exp.path)
    for _, entry in ipairs(exp.render or {}) do
      t.eq(origin.line(source, entry, exp.name) ~= nil, true, path .. ": " .. entry.name)
    end
  end
end)

local function run(name, seed, times)
  made_run.finished(root .. "/r/" .. name, { config = { method = "lsd", seed = seed },
    metrics = { { step = 1, samples = 64, loss = 1 } }, rows = { { N = 1, kl = 1 } },
    manifest = times })
end

t.test("a figure whose runs all diverged has an origin, too; one of no runs says so", function()
  local source = 'return { name = "lost", profiles = { smoke = {} }, render = {\n'
    .. '  { kind = "compare", name = "kl", metric = "kl", title = "KL" },\n'
    .. '  { kind = "triangle", name = "times" },\n} }\n'
  sandbox.write("lost.lua", source)
  made_run.diverged(root .. "/results/lost/smoke/esd-seed1", { step = 2,
    config = { method = "esd", seed = 1, experiment = "lost", steps = 9 },
    metrics = { { step = 1, samples = 64, loss = 1 } } })
  local context = contexts.new("lost", { profile = "smoke", results = root .. "/results" },
    root .. "/lost.lua")
  local text = origin.markdown(context, "lost", "kl", "table")
  t.eq(text:find("^\n::: origin\nTable kl%. Command: `./flowmap reproduce [^`]*lost.lua "
    .. "%-%-profile smoke %-%-seeds 1`%. Script: .*, line 2%. Runs: %[1 run%]") ~= nil, true, text)
  sandbox.write("lost it's.lua", source)
  made_run.diverged(root .. "/results/lost/long/esd-seed5", { step = 2,
    config = { method = "esd", seed = 5, experiment = "lost", steps = 9, profile = "long" },
    metrics = { { step = 1, samples = 64, loss = 1 } } })
  local other = contexts.new("lost", { profile = "long", results = root .. "/results" },
    root .. "/lost it's.lua")
  local command = origin.markdown(other, "lost", "kl", "table"):match "`([^`]*)`"
  t.eq(command, ("./flowmap run '%s/lost it'\\''s.lua' --profile long --method esd --seed 5")
    :format(root))
  text = origin.markdown(context, "lost", "times", "figure")
  t.eq(text:find "line 3%. Runs: none, it shows no results%.\n:::\n$" ~= nil, true, text)
end)

t.test("a table that the weaver makes itself has an origin, too", function()
  sandbox.write("index.md", "# Index\n\n{{equations}}\n")
  local page = weave.chapter(root .. "/index.md", { profile = "smoke" })
  t.eq(page:match "::: origin\n(.-)\n:::", ("Command: `./flowmap paper %s/index.md --profile "
    .. "smoke`. Script: [%s/index\\.md](<%s/index.md>), line 3."):format(root, root, root))
end)

t.test("the cost is processor time, or time by the clock where a run did not record it", function()
  run("a", 1, { wall_s = 1000, cpu_s = 1800 })
  t.eq(provenance.cost(results.open(root .. "/r")), "30 minutes of processor time")
  run("b", 2, { wall_s = 7000, cpu_s = 36000 })
  t.eq(provenance.cost(results.open(root .. "/r")), "10.5 hours of processor time")
  run("c", 3, { wall_s = 1000 })
  t.eq(provenance.cost(results.open(root .. "/r")),
    "10.5 hours of processor time and, for 1 run that did not record it, "
    .. "17 minutes of running time")
  files.remove_tree(root .. "/r")
  run("a", 1, { wall_s = 1000 })
  t.eq(provenance.cost(results.open(root .. "/r")),
    "17 minutes of running time; their processor time was not recorded")
  files.remove_tree(root .. "/r")
  run("a", 1, { wall_s = 1, cpu_s = 1 })
  t.eq(provenance.cost(results.open(root .. "/r")), "less than 5 minutes of processor time")
end)

t.test("a chapter of published results: every link of every origin leads to a file", function()
  local path, count, without, runs = files.installed "experiments/checkerboard.lua", 0, 0, -2
  for _ in lfs.dir(files.installed "paper/results/long/checkerboard/runs") do runs = runs + 1 end
  local page = weave.chapter(path, { profile = "long", published = files.installed
    "paper/results/long", output = files.installed "paper/build" })
  local shown = select(2, page:gsub("{#fig:", "")) + select(2, page:gsub("{#tab:", ""))
  for text in page:gmatch "::: origin\n(.-)\n:::" do
    count = count + 1
    t.eq(text:find("`./flowmap reproduce experiments/checkerboard.lua --profile long", 1, true)
      ~= nil, true, text)
    local links = 0
    for target in text:gmatch "%]%(<(.-)>%)" do
      links = links + 1
      target = target:gsub("^%.%./%.%./", files.installed "")
      target = target:gsub("^%.%./", files.installed "paper/")
      t.eq(files.exists(target), true, target)
    end
    local plain = text:find "Runs: none, it shows no results" ~= nil -- the triangle of times
    without = without + (plain and 1 or 0)
    t.eq(links, plain and 2 or 3 + (runs <= origin.MOST_RUNS and runs or 0), text)
    t.eq(text:find "Cost: [%d.]+ %l+ of processor time" ~= nil, not plain, text)
  end
  t.eq({ count, without }, { shown, 1 })
end)

t.done()
