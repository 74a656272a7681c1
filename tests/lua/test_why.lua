-- The command `why`: what a run is made from, what has changed since, what shows it.

local t = require "harness"
local cache = require "flowmap.runs.cache"
local core = require "flowmap.core"
local edit = require("made_run").edit
local files = require "flowmap.base.files"
local lfs = require "lfs"
local record = require "flowmap.runs.record"
local sandbox = require "sandbox"

local flowmap, root = sandbox.flowmap, sandbox.root

sandbox.write("mine.lua", [[
local mine = { name = "mine", methods = { "lsd", "esd" }, seeds = 1 }
mine.settings = { data = "gaussians", width = 8, depth = 1, batch = 16, micro = 16, bins = 4,
  eval_samples = 100, nfe = { 1, 2 }, log_every = 5, kl_estimates = false }
mine.profiles = { smoke = { steps = 10 } }
mine.render = {
  { kind = "traces", name = "both" },
  { kind = "traces", name = "one", where = { method = "esd" } },
}
return mine
]])

for _, method in ipairs { "lsd", "esd" } do
  local code, said = flowmap("run mine.lua --profile smoke --method " .. method)
  t.eq(code, 0, said)
end
local dir = root .. "/results/mine/smoke/esd-seed1"

local function why(expected)
  local code, said = flowmap "why results/mine/smoke/esd-seed1 --experiment mine.lua"
  t.eq(code, expected or 0, said)
  return said
end

t.test("it tells what the run is made from", function()
  local said, made = why(), record.read(dir, "manifest")
  t.has(said, "run        mine, profile smoke, method esd, seed 1\nstate      finished\n")
  t.has(said, "id         " .. made.id .. "\n")
  t.has(said, made.started .. " to " .. made.finished)
  t.has(said, "10 steps, 160 samples seen, ")
  t.has(said, "revision   " .. made.revision .. ", version " .. made.version .. ", on " .. made.isa)
  t.has(said, "data       gaussians, hash " .. made.dataset.hash:sub(1, 12))
  t.has(said, "batch=16")
  t.has(said, "bins=4")
  t.eq(said:find("sigma=", 1, true), nil, "sigma has its default")
  t.has(said, "files      experiment\n")
  t.has(said, " data.gaussians, ")
  t.has(said, "numerics   fingerprint " .. made.fingerprint:sub(1, 12))
  t.has(said, "changed    nothing since: the run is up to date\n")
end)

t.test("it tells which figures show the run", function()
  t.has(why(), "shown in   both (traces), one (traces)\npublished  nothing here\n")
  local code, said = flowmap "why results/mine/smoke/lsd-seed1 --experiment mine.lua"
  t.eq(code, 0, said)
  t.has(said, "shown in   both (traces)\n")
  code, said = sandbox.run(("cd results/mine/smoke && %s why lsd-seed1 --experiment "
    .. "../../../mine.lua"):format(files.quote(sandbox.program)))
  t.eq(code, 0, said)
  t.has(said, "shown in   both (traces)\n")
end)

t.test("it tells which files of published sets were made from it", function()
  local made, set = record.read(dir, "manifest"), sandbox.mkdir "paper/results/smoke/mine"
  local hash = ("0"):rep(64)
  record.write(set, "set", { profile = "smoke", experiment = "mine", published = made.finished,
    renderer = "r", revision = "r", version = "0", isa = "i", blas = "b",
    runs = { { name = "esd-seed1", id = made.id, method = "ESD", seed = 1 } },
    files = { ["a.csv"] = { sha256 = hash, runs = { made.id } },
      ["b.csv"] = { sha256 = hash, runs = { ("0"):rep(12) } },
      ["runs/esd-seed1/config.json"] = { sha256 = hash, runs = { made.id } } } })
  t.has(why(), "published  paper/results/smoke/mine/a.csv\n")
  files.remove_tree(root .. "/paper")
end)

-- Let the run seem to be made from another version of a module; returns what undoes it.
local function age()
  local inputs, manifest = record.read(dir, "inputs"), record.read(dir, "manifest")
  edit(dir, "inputs", function(it) it["module flowmap.step"] = "code " .. ("0"):rep(64) end)
  edit(dir, "manifest", function(it)
    it.inputs_hash = cache.hash(record.read(dir, "inputs"))
    it.files["inputs.json"] = core.sha256_file(dir .. "/inputs.json")
  end)
  return function()
    inputs.sha256, manifest.sha256 = nil, nil
    record.write(dir, "inputs", inputs)
    record.write(dir, "manifest", manifest)
    t.has(why(), "changed    nothing since: the run is up to date\n")
  end
end

t.test("a changed setting of its experiment and a changed module are named", function()
  local text = sandbox.read "mine.lua"
  sandbox.write("mine.lua", (text:gsub("width = 8", "width = 16")))
  t.has(why(), "changed    width changed from 8 to 16\n")
  sandbox.write("mine.lua", text)
  local restore = age()
  t.has(why(), "changed    flowmap.step changed\n")
  restore()
end)

t.test("a declared change is told with its reason", function()
  local restore = age()
  local code, said = flowmap("accept results/mine/smoke/esd-seed1 --experiment mine.lua "
    .. "--why 'a line without effect'")
  t.eq(code, 0, said)
  said = why()
  t.has(said, ": a line without effect (flowmap.step changed; ")
  t.has(said, "changed    nothing since, except what was accepted: the run is up to date")
  os.remove(dir .. "/accepted.json")
  restore()
end)

t.test("a file that is not what it was when the run ended: exit code 3", function()
  local path = dir .. "/samples-N1.npy"
  local text = files.read(path)
  core.write_file(path, text .. "x")
  t.has(why(3), "CHANGED since the run ended: samples-N1.npy")
  os.remove(path)
  t.has(why(), ", 1 are not here")
  core.write_file(path, text)
end)

t.test("a run of an experiment that is not known, and folders that hold no run", function()
  local code, said = flowmap "why results/mine/smoke/esd-seed1"
  t.eq(code, 0, said)
  t.has(said, "changed    unknown: ")
  t.has(said, "name its file by --experiment")
  code, said = flowmap "why nowhere"
  t.eq(code, 2)
  t.has(said, "why: there is no run at nowhere")
  sandbox.write("half/config.json", "{}")
  code, said = flowmap "why half"
  t.eq(code, 3)
  t.has(said, "config.json is damaged")
end)

-- As by weaving the book from committed sets, which needs no data.
t.test("images that are not here are not drawn for the answer", function()
  local published = sandbox.here .. "/paper/results/laptop/cifar10/runs"
  local name = files.folders(published)[1]
  local code, said = flowmap("why " .. files.quote(published .. "/" .. name))
  t.eq(code, 0, said)
  t.has(said, "changed    unknown: its images are not here")
  t.eq(said:find "drawing", nil, said)
  for file in lfs.dir(sandbox.cache) do t.eq(file:find "%.images", nil, file) end
end)

t.done()
