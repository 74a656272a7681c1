-- Grids of runs as job arrays of Slurm: the script, and what becomes of runs that are preempted,
-- fail, diverge or have no teacher. The result folders have the bits of a local reproduce.
-- FLOWMAP_SLURM=long does it on a real cluster, which it starts on this machine.

local t = require "harness"
local clusters = require "slurm_cluster"
local sandbox = require "sandbox"

local LONG = os.getenv "FLOWMAP_SLURM" == "long"

if LONG and clusters.lacks() then
  t.skip("slurm", "there is no " .. clusters.lacks() .. ": install slurm-wlm and munge")
  t.done()
end

-- The programs run in a folder whose name no shell leaves as it is.
local FOLDER = [[a b's "$(touch pwned)" *]]
sandbox.mkdir(FOLDER)

local cluster = LONG and clusters.real { cpus = 4, largest = 3 } or clusters.fake()

local function flowmap(arguments, environment)
  return cluster:run(("cd %s && exec %s --threads 1 %s"):format(
    "'" .. FOLDER:gsub("'", "'\\''") .. "'", sandbox.program, arguments), environment)
end

local function write(name, text) sandbox.write(FOLDER .. "/" .. name, text) end
local function read(name) return sandbox.read(FOLDER .. "/" .. name) end

local PROFILE = [[profiles = { smoke = { steps = @steps@, width = 8, depth = 1, batch = 32,
  log_every = 50, eval_samples = 500, nfe = { 1 }, save_every = 0.05, audit_bytes = 0, @more@ } }]]

local function experiment(name, methods, it)
  local profile = PROFILE:gsub("@steps@", tostring(it.steps)):gsub("@more@", it.set or "")
  write(name .. ".lua", ("return { name = %q, methods = { %s }, seeds = 1, %s, %s }"):format(name,
    methods, profile, it.more or ""))
end

-- ------------------------------------------------------------------ the script

experiment("chain", '"lmd"', { steps = LONG and 4000 or 60 })

t.test("the script is one that a shell reads, and names every run, its request and its teacher",
  function()
    local code, text = flowmap "slurm chain.lua --profile smoke --option partition=main"
    t.eq(code, 0, text)
    write("grid.sh", text)
    t.eq(sandbox.run("cd */ && sh -n grid.sh"), 0)
    for _, words in ipairs { "# chain/fm-seed1 runs: there is no result yet (about 0:0",
      "'--signal=B:TERM@120' '--requeue' '--array=0-0'", "'--time=10'", "'--mem=256M'",
      "'--cpus-per-task=1'", "'--partition=main'", '--dependency="afterany:${job1}_0"',
      '--dependency="afterany:$job1:$job2"', "'reproduce' '--render' '--profile' 'smoke'",
      [[b'\''s]] } do
      t.eq(text:find(words, 1, true) ~= nil, true, words .. " in " .. text)
    end
    t.eq(sandbox.exists(FOLDER .. "/results"), false, "printing makes no folder")
    t.eq(sandbox.exists(FOLDER .. "/pwned"), false)
  end)

t.test("options that flowmap sets, or that would do nothing, are refused", function()
  for arguments, words in pairs {
    ["slurm chain.lua --option array=0-99"] = "%-%-option: expected NAME or NAME=VALUE, an option "
      .. "of sbatch that flowmap does not set itself, found 'array=0%-99'",
    ["slurm chain.lua --option --wait"] = "option",
    ["reproduce chain.lua --hours 2"] = "%-%-hours has no effect without %-%-executor slurm",
    ["reproduce chain.lua --option exclusive"] = "%-%-option has no effect without",
    ["reproduce chain.lua --executor pbs"] = "expected local or slurm, found 'pbs'",
    ["reproduce chain.lua --render --jobs 2"] = "%-%-render makes no run: %-%-jobs has no effect",
    ["slurm chain.lua --mpi pmi2"] = "%-%-mpi has no effect without %-%-ranks",
  } do
    local code, out = flowmap(arguments .. " --profile smoke")
    t.eq({ code, out:find(words) ~= nil }, { 2, true }, out)
  end
end)

t.test("without sbatch there is a sentence", function()
  for _, arguments in ipairs { "slurm --submit", "reproduce --executor slurm" } do
    local code, out = flowmap(arguments .. " chain.lua --profile smoke", "PATH=/nowhere")
    t.eq({ code, out:find "sbatch of Slurm is not installed here" ~= nil }, { 2, true }, out)
  end
end)

-- ------------------------------------------------------------------ the bits

-- Checksums of the files of runs below a folder, without those that know the clock.
local function sums(below)
  return select(2, sandbox.run(("cd */%s && find . -type f ! -name manifest.json "
    .. "! -name history.jsonl ! -name '*.svg' ! -name '*.png' ! -name '.rendered*' "
    .. "! -path '*slurm-jobs*' | LC_ALL=C sort | xargs -d '\\n' sha256sum"):format(below)))
end

local ARGUMENTS = "chain.lua --profile smoke"

t.test("submitted jobs make the bits of a local reproduce, and render", function()
  local code, out = flowmap("reproduce " .. ARGUMENTS)
  t.eq(code, 0, out)
  sandbox.run "cd */ && mv results here"
  code, out = flowmap("slurm --submit " .. ARGUMENTS)
  t.eq({ code, out:find "submitted as the jobs %d+ %d+ %d+; their logs are in" ~= nil },
    { 0, true }, out)
  t.eq(cluster:wait(60), true)
  t.eq(sums "results", sums "here")
  sandbox.run "cd */ && mv results there"
end)

t.test("reproduce --executor slurm differs in nothing but where runs are made", function()
  local code, out = flowmap("reproduce --executor slurm " .. ARGUMENTS)
  t.eq(code, 0, out)
  t.eq(out:find "%[1/2%] chain/fm%-seed1 done in.*%[2/2%] chain/lmd%-seed1 done" ~= nil, true, out)
  t.eq(out:find "results/chain/smoke/tables/kl.md" ~= nil, true, out)
  t.eq(sums "results", sums "here")
end)

cluster:stop()
t.eq(read "pwned", nil)
t.done()
