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

experiment("chain", '"lmd"', { steps = LONG and 4000 or 60,
  more = [[render = { { kind = "compare", name = "kl", metric = "kl", format = "%.3f",
    title = "KL" } }]] })

t.test("the script is one that a shell reads, and names every run, its request and its teacher",
  function()
    local code, text = flowmap "slurm chain.lua --profile smoke --option partition=main 2>/dev/null"
    t.eq({ code, text:match "[^\n]*" }, { 0, "#!/bin/sh" }, text)
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
    ["slurm chain.lua --option depend=afterok:1"] = "flowmap does not set itself, found 'depend",
    ["reproduce chain.lua --option exclusive --hours 2"] = "%-%-hours has no effect without "
      .. "%-%-executor slurm",
    ["reproduce chain.lua --executor pbs"] = "expected local or slurm, found 'pbs'",
    ["reproduce chain.lua --render --jobs 2"] = "%-%-render makes no run: %-%-jobs has no effect",
    ["slurm chain.lua --mpi pmi2"] = "%-%-mpi has no effect without %-%-ranks",
    ["slurm chain.lua --nodes 2"] = "%-%-nodes has no effect without %-%-ranks",
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

-- ------------------------------------------------------------------ arrays

local array = require "flowmap.app.slurm.array"
local run_command = require "flowmap.app.run_command"

-- A run that is not made: seconds and MiB that it would take, and its teachers.
local function run_of(name, seconds, mib, ...)
  return { name = name, dir = "results/x/smoke/" .. name, after = { ... }, done = 0,
    experiment = { name = "x", path = "x'; $(touch pwned) #.lua" }, set = {},
    cfg = { profile = "smoke", method = "lsd", seed = 1, steps = 1, batch = 1, nfe = { 1 },
      ema = {}, checkpoints = 0, eval_samples = 1 },
    kind = seconds and { planned = 0, pace = { memory = mib * 2 ^ 20, start_s = seconds,
      sample_s = 0, map_s = 0, judge_s = 0, rows_s = 0, cpu_s = 0, map_cpu_s = 0, judge_cpu_s = 0,
      rows_cpu_s = 0 } } or { planned = 0 } }
end

t.test("an array's request holds each of its runs; teachers come first", function()
  local teacher = run_of("teacher", 100, 100)
  local first = run_of("first", 100, 100, teacher)
  local runs = { teacher, first, run_of("second", 100, 100, teacher, first),
    run_of("unknown"), run_of("endless", 1e9, 100) }
  for k = 1, 40 do runs[#runs + 1] = run_of("run" .. k, 200 * k, 50 * k) end
  local args = { hours = 3, ranks = 1 }
  local place, count = {}, 0
  for k, it in ipairs(array.of(runs, {}, args, 7)) do
    t.eq(#it.runs <= 7 and it.minutes <= 180, true)
    for _, run in ipairs(it.runs) do
      place[run], count = k, count + 1
      local pace = run.kind.pace
      if pace then
        t.eq(it.minutes >= math.min(180, 1.5 * pace.start_s / 60), true, run.name)
        t.eq(it.mib >= 1.25 * pace.memory / 2 ^ 20, true, run.name)
      else
        t.eq({ it.minutes, it.mib }, { 180, 3072 }) -- as the largest of the others
      end
      for _, stage in ipairs(run.after) do t.eq(place[stage] < k, true, run.name) end
    end
  end
  t.eq(count, #runs)
  local without = table.concat(array.options({ runs = { first }, minutes = 10 },
    { option = {}, ranks = 1, cpus = 1 }, true), " ")
  t.eq({ without:find "%-%-array", without:find "%-%-mem" }, {}, "a cluster without arrays")
  local ranks = table.concat(array.options({ runs = { first, teacher }, minutes = 10, mib = 700 },
    { option = { "--partition=main" }, ranks = 4, nodes = 2, cpus = 3 }, false), " ") .. " "
  for _, word in ipairs { "--nodes=2", "--array=0-1", "--ntasks=4", "--cpus-per-task=3",
    "--mem-per-cpu=234M", "--partition=main" } do
    t.eq(ranks:find(" " .. word .. " ", 1, true) ~= nil, true, word .. " in " .. ranks)
  end
  t.eq(#array.of({ teacher, first, runs[6] }, {}, args, 7), 3, "teachers alone are waited for")
end)

-- The element of an array, executed by a shell, with a program in the place of flowmap whose exit
-- codes are given in turn.
local function element(codes, state, restarts, before)
  local at = sandbox.mkdir "element"
  sandbox.run "rm -rf element/* && mkdir -p element/results/x/smoke/one element/results/.slurm"
  sandbox.write("element/program", ([[
#!/bin/sh
[ "$INT" ] || INT=1 exec env --default-signal=INT "$0" "$@" # which a shell could not trap
echo "$*" >>words
set -- %s
n=$(wc -l <words)
shift $((n - 1))
[ "$1" != save ] || { sleep 0.02; touch results/x/smoke/one/checkpoint.safetensors; exit 75; }
[ "$1" != wait ] || { trap 'echo asked >>asked; exit 75' INT; >ready; sleep 9 & wait; }
exit $1
]]):format(codes))
  sandbox.write("element/squeue", "echo " .. state)
  sandbox.write("element/scontrol", "#!/bin/sh\necho $* >>requeued; sleep 0.02")
  local program = run_command.program
  run_command.program = function() return at .. "/program" end
  local it = { runs = { run_of("one", 1, 1) } }
  sandbox.write("element/job", array.head(it) .. array.tail({ ranks = 1, cpus = 3 }, {}))
  run_command.program = program
  local code = sandbox.run(([[cd element && chmod +x * && export PATH=$PWD:$PATH
    export SLURM_JOB_ID=9 SLURM_ARRAY_JOB_ID=8 SLURM_ARRAY_TASK_ID=0 SLURM_RESTART_COUNT=%d
    sh -c '%s exec sh job']]):format(restarts or 0, before or ""))
  return code, sandbox.read "element/results/.slurm/8_0.end", sandbox.read "element/requeued"
end

t.test("an element ends as its run does, or is requeued to continue", function()
  local function check(expected, ...) t.eq({ element(...) }, expected, (...)) end
  check({ 0, "0\n" }, "0", "RUNNING")
  t.eq(sandbox.read "element/words", "run x'; $(touch pwned) #.lua --profile smoke "
    .. "--method lsd --seed 1 --out results/x/smoke/one --threads 3 --base results --element\n")
  check({ 3, "3\n" }, "3", "RUNNING")
  check({ 0, "4\n" }, "4", "RUNNING") -- a divergence is a result
  check({ 137, "137\n" }, "137", "RUNNING")
  check({ 75, nil, "requeue 8_0\n" }, "75", "RUNNING") -- and no other element
  check({ 75, "75\n" }, "75", "COMPLETING") -- cancelled, or requeued by Slurm itself
  check({ 75, nil, "requeue 8_0\n" }, "save", "RUNNING", 50)
  check({ 75, "75\n" }, "75", "RUNNING", 3)
  check({ 75, nil, "requeue 8_0\n" }, "wait", "RUNNING", 0,
    "(until test -e ready; do sleep 0.02; done; kill -TERM $$) &")
  t.eq(sandbox.read "element/asked", "asked\n")
end)

-- ------------------------------------------------------------------ the bits

-- Checksums of the files of runs below a folder, without those that know the clock and pictures,
-- which are drawn from the others.
local function sums(below)
  return select(2, sandbox.run(("cd */%s && find . -type f ! -name manifest.json "
    .. "! -name history.jsonl ! -name diverged.json ! -name '*.prev' ! -name '*.svg' "
    .. "! -name '*.png' ! -name '.rendered*' ! -path '*/.slurm/*' | LC_ALL=C sort "
    .. "| xargs -d '\\n' sha256sum"):format(below)))
end

local ARGUMENTS = "chain.lua --profile smoke"

t.test("submitted jobs make the bits of a local reproduce, and render", function()
  local code, out = flowmap("reproduce " .. ARGUMENTS)
  t.eq(code, 0, out)
  sandbox.run "cd */ && mv results here"
  if not LONG then -- the teacher is made once
    sandbox.run "cd */ && mkdir -p results/chain && cp -a here/chain/smoke-stages results/chain"
  end
  code, out = flowmap("slurm --submit " .. ARGUMENTS)
  t.eq(code, 0, out)
  t.eq(out:find "submitted as the jobs [%d ]+; their logs are in results/%.slurm" ~= nil, true)
  t.eq(cluster:wait(60), true)
  t.eq(sums "results", sums "here")
end)

t.test("reproduce --executor slurm differs in nothing but where runs are made", function()
  sandbox.run "cd */ && rm -r results/chain/smoke"
  local code, out = flowmap("reproduce --executor slurm " .. ARGUMENTS)
  t.eq(code, 0, out)
  t.eq(out:find "chain/fm%-seed1 reused.*%[1/1%] chain/lmd%-seed1 done in" ~= nil, true, out)
  t.eq(out:find "results/chain/smoke/tables/kl.md" ~= nil, true, out)
  t.eq(sums "results", sums "here")
end)

-- With states that no real queue has at a time known beforehand.
local function test_refusals()
  sandbox.run "rm -r */results/chain/smoke"
  local code, out = flowmap("slurm --submit --option refuse " .. ARGUMENTS)
  t.eq(code, 2, out)
  t.eq(out:find "not today.*refused the jobs, see above; %d+ cancelled, nothing runs" ~= nil, true,
    out)
  local first = out:match "(%d+) cancelled"
  t.eq(sandbox.read(cluster.at .. "/cancelled"), first .. "\n")
  cluster:wait(60)
  sandbox.run "rm -rf */results/chain/smoke"
  sandbox.write(cluster.at .. "/" .. first .. "_0.state", "PENDING")
  code, out = flowmap("slurm --submit " .. ARGUMENTS)
  t.eq(code, 2, out)
  t.eq(out:find("chain/lmd-seed1 is in Slurm's queue already, as job " .. first, 1, true) ~= nil,
    true, out)
  -- as if the command had been killed before it named the script after the job
  sandbox.run(("cd a*/results/.slurm && mv %s.sh submitted-1.sh"):format(first))
  code, out = flowmap("slurm --submit " .. ARGUMENTS)
  t.eq(code, 2, out)
  t.eq(out:find("lmd-seed1 may be in Slurm's queue already, as job " .. first, 1, true) ~= nil,
    true, out)
  os.remove(cluster.at .. "/" .. first .. "_0.state")
end

if not LONG then
  t.test("a run in the queue is not submitted again; where one array is refused, none runs",
    test_refusals)
end

-- ------------------------------------------------------------------ a hard life

-- Give the processors of the cluster to somebody else for two seconds.
local function preempt()
  local code, out = cluster:run "sbatch -p urgent -c 4 --output=/dev/null --wrap 'sleep 2'"
  t.eq(code, 0, out)
end

-- Wait until a file below the results has some words.
local function await(words, name)
  sandbox.run(("k=0; until grep -qs '%s' */results/%s || test $k -gt 999; do sleep 0.1; "
    .. "k=$((k + 1)); done"):format(words, name))
end

local GRID = "slow.lua broken.lua wild.lua --profile smoke"

-- The grid of one experiment that takes long, one that fails and one that diverges, made by Slurm
-- while jobs are asked to save, requeued and preempted.
local function submit_grid()
  local code, out = flowmap("slurm --submit " .. GRID)
  t.eq(code, 0, out)
  await("step", "slow/smoke/lsd-seed1/metrics.jsonl")
  await("step", "slow/smoke/psd-m-seed1/metrics.jsonl")
  local script = select(2, sandbox.run "cd */results/.slurm && grep -l lsd-seed1 *.sh")
  local job = script:match "%d+"
  -- The last element has the number of the array.
  cluster:run(("scancel --batch --signal=TERM %s_1 && scontrol requeue %s_0"):format(job, job))
  await("resuming", ".slurm/" .. job .. "_0.log")
  await("resuming", ".slurm/" .. job .. "_1.log")
  preempt()
  t.eq(cluster:wait(300), true)
  local logs = select(2, sandbox.run "cat */results/.slurm/*.log")
  for _, words in ipairs { "resuming after step %d+.*resuming after step %d+", "no number",
    "lmd%-seed1.-it does not run: .-, its teacher, has no result", "its teacher, diverged",
    "broken/fm%-seed1 is missing", "wild is not rendered: there are no results",
    "2 of 6 runs are missing, first broken/fm%-seed1" } do
    t.eq(logs:find(words) ~= nil, true, words .. " in " .. logs)
  end
end

-- The same grid by `reproduce --executor slurm`, whose jobs another one preempts.
local function execute_grid()
  sandbox.write("executor.sh", ("cd */ && exec %s --threads 1 reproduce --executor slurm %s\n")
    :format(sandbox.program, GRID))
  local code, out = cluster:run("sh executor.sh & run=$!\nk=0\nuntil test -s "
    .. "*/results/slow/smoke/psd-m-seed1/metrics.jsonl || test $k -gt 999; do\nsleep 0.1\n"
    .. "k=$((k + 1))\ndone\nsbatch -p urgent -c 4 --output=/dev/null --wrap 'sleep 2' >/dev/null\n"
    .. "wait $run")
  t.eq({ code, out:find "2 of 6 runs failed, first broken/fm%-seed1" ~= nil }, { 2, true }, out)
  local starts = select(2, sandbox.run "cat */results/slow/smoke/*/history.jsonl | wc -l")
  t.eq(tonumber(starts) > 2, true, "starts of two runs: " .. starts)
end

local function test_hard_life()
  experiment("slow", '"lsd", "psd-m"', { steps = 40000 })
  experiment("broken", '"lmd"', { steps = 100, more = [[metrics = { own = {
    measure = function() -- fails after the training, which no estimate foresees
      return io.open "results/broken/smoke-stages/fm-seed1/checkpoint.safetensors"
        and error "no number" or 1
    end } }]] })
  experiment("wild", '"lmd"', { steps = 100,
    set = "lr = 900, clip = 0, depth = 8, optimiser = 'adamw'" })
  sandbox.run "cd */ && rm -rf results here"
  local code, out = flowmap("reproduce " .. GRID)
  t.eq({ code, out:find "2 of 6 runs failed, first broken/fm%-seed1" ~= nil }, { 2, true }, out)
  sandbox.run "cd */ && mv results here"

  submit_grid()
  t.eq(sandbox.exists(FOLDER .. "/results/slow/smoke/tables/kl.md"), true)
  sandbox.run "cd */ && rm -rf */*/smoke/tables */*/smoke/figures"
  t.eq(sums "results", sums "here")
  sandbox.run "cd */ && mv results there"

  execute_grid()
  t.eq(sums "results", sums "here")
end

-- Runs that srun starts as several ranks; one is asked to save on the way.
local function test_ranks()
  experiment("shared", '"lsd"', { steps = 2000, set = "micro = 8" })
  sandbox.run "cd */ && rm -rf results here"
  local code, out = flowmap "reproduce shared.lua --profile smoke"
  t.eq(code, 0, out)
  sandbox.run "cd */ && mv results here"
  code, out = flowmap "slurm --submit shared.lua --profile smoke --ranks 2"
  t.eq(code, 0, out)
  await("step", "shared/smoke/lsd-seed1/metrics.jsonl")
  cluster:run(("scancel --batch --signal=TERM %s_0"):format(out:match "jobs (%d+)"))
  t.eq(cluster:wait(300), true)
  local log = select(2, sandbox.run "cat */results/.slurm/*.log")
  t.eq(log:find "tasks 0%-1: Exited with exit code 75.*resuming after step" ~= nil, true, log)
  t.eq(sums "results", sums "here")
end

if LONG then
  t.test("preempted, failed, diverged", test_hard_life)
  local _, kinds = cluster:run "srun --mpi=list"
  if kinds:find "pmix" and sandbox.exists(sandbox.build .. "/mpi/openmpi.so") then
    t.test("ranks by srun --mpi=pmix", test_ranks)
  else
    t.skip("ranks by srun --mpi=pmix", "Slurm has no pmix, or Open MPI is not connected: make mpi")
  end
end

cluster:stop()
t.eq(read "pwned", nil)
t.done()
