-- Grids of settings: the runs of their points and the names of these, tables of them, and runs that
-- a grid has no longer.

local t = require "harness"
local experiment = require "flowmap.experiment"
local files = require "flowmap.base.files"
local fm = require "flowmap"
local own_files = require "own_experiment"
local sandbox = require "sandbox"

local load, root = own_files.small, sandbox.root

-- The runs of a grid of an experiment's own option.
local function runs(lines)
  local it = load("own.options = { o = " .. lines)
  return experiment.runs(it, "smoke", { 1 })
end

t.test("grid values that cannot be file names have distinct folders", function()
  local seen = {}
  for _, one in ipairs(runs '"a" } own.grid = { o = { "a b", "a/b", "a_b", "../b" } }') do
    t.eq(seen[one.dir], nil, one.dir)
    seen[one.dir] = true
  end
  t.eq(seen["results/own/smoke/lsd-o=a_b-seed1"], true, "one is its own name")
  local long = runs(('"a" } own.grid = { o = { "%s", "%s2" } }'):format(("x"):rep(300),
    ("x"):rep(300)))
  t.eq(#long[1].dir < 200 and long[1].dir ~= long[2].dir, true, long[1].dir)
end)

t.test("grids of true and false and of lists are rendered", function()
  local results = require "flowmap.report.results"
  for values, expected in pairs { ["true } own.grid = { o = { true, false } }"] = { false, true },
    ["{ 1, 2 } } own.grid = { o = { { 1, 2 }, { 3 } } }"] = { "1,2", "3" },
    ['{ "a" } } own.grid = { o = { { "b" }, { "a", "c" } } }'] = { "a,c", "b" } } do
    local set = root .. "/set"
    for k, one in ipairs(runs(values)) do
      fm.run.run(one.experiment, one.cfg, ("%s/run%d"):format(set, k))
    end
    local found = results.open(set)
    t.eq(found:distinct "o", expected)
    for _, value in ipairs(expected) do t.eq(#found:select({ o = value }).runs, 1) end
    t.eq(#require("flowmap.report.table").grid(found, { metric = "kl", N = 1, rows = { "method" },
      column = "o", title = "x" }).columns, 2)
    os.execute("rm -rf " .. files.quote(set))
  end
end)

t.test("two experiments with the same name are not reproduced together", function()
  local a, b = load "", load ""
  local err = t.raises(function()
    require("flowmap.app.reproduce").run { profile = "smoke", experiments = { a.path, b.path },
      dry_run = true }
  end, "both have a run in results/own/smoke/lsd%-seed1; give the experiments different names")
  t.eq(err.code, "usage")
end)

t.test("a run of another seed is put aside where the grid lost its value, only then", function()
  local it, said, base = load 'own.grid = { { stop = "default" } }', {}, experiment.base
  experiment.base = root .. "/results"
  local planned = experiment.runs(it, "smoke", { 2 })[1]
  fm.run.run(it, planned.cfg, planned.dir)
  local function prepare()
    require("flowmap.app.due").prepare(function(...) said[#said + 1] = string.format(...) end,
      { experiments = { it.path }, profile = "smoke", seeds = { 1 }, dry_run = true })
    return table.concat(said)
  end
  t.eq(prepare(), "", "default is a name of the run's stop")
  fm.write_file(it.path, (files.read(it.path):gsub("{ { stop.-} }", '{ stop = { "none" } }')))
  t.eq(prepare():find "lsd%-stop=convex%-seed2 would be .-: the experiment has no such run now"
    ~= nil, true)
  experiment.base = base
end)

t.done()
