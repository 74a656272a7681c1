-- Ranks of mpirun make a run together: the bits of one process, whatever their number and whenever
-- it changes; they stop together, and none is left behind when one fails. FLOWMAP_RANKS=long tries
-- more numbers of ranks, images, a bad link, and srun.

local t = require "harness"
local files = require "flowmap.base.files"
local sandbox = require "sandbox"

local LONG = os.getenv "FLOWMAP_RANKS" == "long"

-- The launchers whose MPI is installed and connected: how to start n ranks.
local function launchers()
  local list = {}
  for name, options in pairs { openmpi = "--allow-run-as-root --oversubscribe", mpich = "" } do
    local connected = files.exists(("%s/mpi/%s.so"):format(sandbox.build, name))
    if connected and sandbox.has("mpirun." .. name) then
      list[#list + 1] = { name = name, start = ("mpirun.%s %s -n"):format(name, options) }
    end
  end
  table.sort(list, function(a, b) return a.name > b.name end)
  return list
end

t.test("an error of one rank alone is the error of all, whichever rank it is", function()
  local ranks, core = require "flowmap.base.ranks", require "flowmap.core"
  local most, copy, count = core.ranks_most, core.ranks_copy, ranks.count
  ranks.count = 3
  core.ranks_most = function() return 1 end
  core.ranks_copy = function(text, rank)
    return rank == 3 and '{"code": "data", "message": "the third cannot read"}' or text
  end
  local ok, err = pcall(ranks.parts, 9, function() return {} end)
  core.ranks_most, core.ranks_copy, ranks.count = most, copy, count
  t.eq({ ok, err.code, err.message }, { false, "data", "the third cannot read" })
end)

local found = launchers()
if #found == 0 then
  t.skip("ranks", "no MPI is connected: install openmpi-bin and libopenmpi-dev, then make mpi")
  t.done()
end

for _, name in ipairs { "experiments", "paper" } do sandbox.link(name) end

-- 14 micro-batches: no power of two, and not the same number for each rank. A small network, for
-- what is tested are the ranks.
local POINTS = "run experiments/checkerboard.lua --profile smoke --method %s --set batch=112 "
  .. "--set micro=8 --set width=16 --set depth=2 --set steps=%d --set eval_samples=500 "
  .. "--set nfe=1 --set bins=8 --set save_every=0.1 "
local IMAGES = "run experiments/cifar10.lua --profile smoke --method %s --set batch=24 "
  .. "--set micro=4 --set steps=%d --set eval_samples=256 "

-- Ranks beside the first have a new cache folder each time, as on machines of their own; one for
-- all runs on images, which are drawn into it.
local RANK = "${OMPI_COMM_WORLD_RANK:-${PMI_RANK:-$PMIX_RANK}}"
sandbox.write("rank.sh", ([[test %s = 0 || export XDG_CACHE_HOME="$PWD/cache-$1"; shift
  exec "$@"]]):format(RANK))
local calls = 0

-- mpirun leaves its own files in TMPDIR, whose name must be short.
local function ranks(launcher, n, arguments)
  calls = calls + 1
  local cache = arguments:find "cifar10" and "images" or calls
  return sandbox.run(("%s %d sh rank.sh %s %s --threads 1 %s"):format(launcher.start, n, cache,
    files.quote(sandbox.program), arguments), "TMPDIR=/tmp " .. (launcher.environment or ""))
end

-- Results that depend only on the run's inputs. Of samples the file of each number of steps.
local function bits(dir)
  local parts = {}
  for _, name in ipairs { "chain.jsonl", "metrics.jsonl", "eval.json", "samples-N1.npy",
    "samples-N4.npy" } do
    local text = sandbox.read(dir .. "/" .. name)
    t.eq(text ~= nil or name:find "^samples" ~= nil, true, dir .. "/" .. name)
    parts[#parts + 1] = text or "no " .. name
  end
  return table.concat(parts)
end

-- Compare runs by each launcher, on the numbers of ranks that are listed for it, with one process.
-- Those of more than two ranks have a sharded optimiser.
local function check_bits(template, method, steps, name, numbers)
  local arguments = template:format(method, steps)
  local code, text = sandbox.flowmap(arguments .. "--out alone-" .. name)
  t.eq(code, 0, text)
  for k, launcher in ipairs(found) do
    for _, n in ipairs(numbers[k]) do
      local dir = ("%s-%s-%d"):format(name, launcher.name, n)
      code, text = ranks(launcher, n, arguments .. (n > 2 and "--set shard=1 " or "")
        .. "--out " .. dir)
      t.eq(code, 0, text)
      t.eq(bits(dir) == bits("alone-" .. name), true, dir .. " has other bits than one process")
      local _, listed = sandbox.run("ls -d " .. dir .. "*")
      t.eq(listed, dir .. "\n", "folders of the run")
    end
  end
end

-- The short form tries 3 ranks by one MPI and 2 by the other; runs below are continued on others.
t.test("the bits of one process, for any number of ranks", function()
  if not LONG then
    return check_bits(POINTS .. "--set checkpoints=2 ", "lsd", 20, "points", { { 3 }, { 2 } })
  end
  local all, some = { 1, 2, 3, 4, 7 }, { 2, 7 }
  check_bits(POINTS, "lsd", 100, "points", { all, all })
  check_bits(IMAGES, "lsd", 100, "images", { all, all })
  for _, method in ipairs { "esd", "psd-m" } do
    check_bits(POINTS, method, 20, method, { some, some })
  end
end)

-- 3,000 points are no whole number of micro-batches, and not the same number for each rank.
t.test("ranks draw the samples of one process", function()
  local arguments = "sample %s/checkpoint.safetensors --steps 2 --count 3000 --seed 5 --out "
  local alone, launcher = arguments:format "alone-points", found[#found]
  t.eq(sandbox.flowmap(alone .. "alone.npy"), 0)
  for _, n in ipairs(LONG and { 2, 3, 4, 7 } or { 3 }) do
    local code, text = ranks(launcher, n, alone .. "shared.npy")
    t.eq(code, 0, text)
    t.eq(select(2, text:gsub("3000 samples", "")), 1, "told once: " .. text)
    t.eq(sandbox.read "shared.npy" == sandbox.read "alone.npy", true, n .. " ranks")
    os.remove(sandbox.path "shared.npy")
  end
end)

if LONG then
  t.test("ranks whose checkpoints differ draw no samples", function()
    sandbox.write("differ.sh", ([[test %s = 0 && dir=points || dir=esd
      exec "$@" sample alone-$dir/checkpoint.safetensors --count 10 --out no.npy]]):format(RANK))
    local code, text = sandbox.run(found[1].start .. " 2 sh differ.sh "
      .. files.quote(sandbox.program), "TMPDIR=/tmp")
    t.eq(code, 3, text)
    t.eq(text:find("is not the same file for all ranks", 1, true) ~= nil, true, text)
    t.eq(sandbox.exists "no.npy", false, "written")
  end)
end

-- Network namespaces need root, ip and devices for tunnels.
local function has_namespaces()
  return found[1].name == "openmpi" and sandbox.has "ip" and sandbox.has "cc"
    and sandbox.run "test $(id -u) = 0 && test -w /dev/net/tun" == 0
end

-- Two ranks that share no memory, whose packets arrive late or, in part, not at all.
local function check_bad_link(template, steps, name)
  local arguments = template:format("lsd", steps)
  t.eq(sandbox.flowmap(arguments .. "--out alone-bad-" .. name), 0)
  local code, text = sandbox.run(("%s/tests/ranks/apart.sh ./link %s --threads 1 %s --out bad-%s")
    :format(files.quote(sandbox.here), files.quote(sandbox.program), arguments, name),
    "TMPDIR=/tmp")
  t.eq(code, 0, text)
  t.eq(bits("bad-" .. name) == bits("alone-bad-" .. name), true, "other bits on a bad link")
  t.eq(tonumber(text:match "bytes over the link: (%d+)") > 1e6, true, text)
end

if LONG and has_namespaces() then
  t.test("two network namespaces, 2 ms of delay and 1 % of loss", function()
    t.eq(sandbox.run(("cc -O2 -o link %s/tests/ranks/link.c"):format(files.quote(sandbox.here))), 0)
    check_bad_link(POINTS, 100, "points")
    check_bad_link(IMAGES, 20, "images")
  end)
elseif LONG then
  t.skip("a bad link", "root, ip, cc and /dev/net/tun are needed for network namespaces")
end

-- Start n ranks in a new folder, and call a shell command when the run has saved after a step; once
-- more if it ended before, which happens where the shell waits for a processor.
local function disturbed(launcher, n, arguments, dir, command)
  local code, text
  for _ = 1, 3 do
    code, text = sandbox.run(([[rm -rf %s; %s %d %s --threads 1 %s --out %s & job=$!; k=0
      until test -e %s/checkpoint.safetensors || test $k -gt 1999; do sleep 0.01; k=$((k + 1)); done
      %s; start=$(date +%%s); wait $job; code=$?
      echo "after $(($(date +%%s) - start)) s"; exit $code]])
      :format(dir, launcher.start, n, files.quote(sandbox.program), arguments, dir, dir, command),
      "TMPDIR=/tmp " .. (launcher.environment or ""))
    if code ~= 0 then break end
  end
  return code, text
end

-- The pattern of the ranks of a run, which matches neither the launcher nor a shell.
local function processes(dir)
  return ("-f '^[^ ]*flowmap --threads 1 run.*--out %s'"):format(dir)
end

t.test("a signal stops all ranks within a step; any number of ranks continues", function()
  local launcher, arguments = found[1], POINTS:format("lsd", 500)
  t.eq(sandbox.flowmap(arguments .. "--out whole"), 0)
  local code, text = disturbed(launcher, 3, arguments, "parts", "pkill -TERM -o "
    .. processes "parts")
  t.eq(code, 75, text)
  t.eq(text:find("interrupted after step", 1, true) ~= nil, true, text)
  t.eq(select(2, text:gsub("interrupted after step", "")), 1, "told once: " .. text)
  code, text = ranks(launcher, 2, arguments .. "--out parts --resume")
  t.eq(code, 0, text)
  t.eq(bits "parts" == bits "whole", true, "other bits after the interruption")
end)

local function check_killed(launcher, dir)
  local arguments = POINTS:format("lsd", 500)
  local code, text = disturbed(launcher, 2, arguments, dir, "pkill -KILL -n " .. processes(dir))
  t.eq(code ~= 0 and code ~= 75, true, text)
  t.eq(tonumber(text:match "after (%d+) s") <= 10, true, text)
  t.eq(sandbox.run("pgrep " .. processes(dir)), 1, "processes are left")
  code, text = sandbox.flowmap(arguments .. ("--out %s --resume"):format(dir))
  t.eq(code, 0, text)
  t.eq(bits(dir) == bits "whole", true, "other bits after the kill")
end

t.test("a rank that is killed ends the run, which continues from what is saved", function()
  check_killed(found[1], "killed")
end)

-- A run of four ranks with a sharded optimiser is interrupted early; each number of ranks continues
-- a copy of its folder.
local function check_elastic(launcher)
  local steps = POINTS:format("lsd", 100)
  local arguments = steps .. "--set shard=1 --set save_every=0.001 "
  t.eq(sandbox.flowmap(steps .. "--out elastic"), 0)
  local code, text = disturbed(launcher, 4, arguments, "four", "pkill -TERM -o "
    .. processes "four")
  t.eq(code, 75, text)
  for _, n in ipairs { 1, 2, 3, 7 } do
    local dir = "four-" .. n
    t.eq(sandbox.run(("rm -rf %s; cp -r four %s"):format(dir, dir)), 0)
    code, text = ranks(launcher, n, arguments .. ("--resume --out %s"):format(dir))
    t.eq(code, 0, text)
    t.eq(text:find("resuming after step", 1, true) ~= nil, true, text)
    t.eq(bits(dir) == bits "elastic", true, n .. " ranks continue with other bits")
  end
end

-- The disk of the run's folder, a small one in memory, is filled after a checkpoint and emptied
-- before the run continues.
local function check_full_disk(launcher)
  local arguments = POINTS:format("lsd", 500)
  local code, text = disturbed(launcher, 2, arguments, "disk/run",
    "(cat /dev/zero > disk/filler) 2> full.log")
  t.eq(code, 3, text)
  t.eq(select(2, text:gsub("No space left on device", "")), 1, "told once: " .. text)
  t.eq(tonumber(text:match "after (%d+) s") <= 20, true, text)
  t.eq(sandbox.run("pgrep " .. processes "disk/run"), 1, "processes are left")
  os.remove(sandbox.path "disk/filler")
  code, text = ranks(launcher, 2, arguments .. "--out disk/run --resume")
  t.eq(code, 0, text)
  t.eq(bits "disk/run" == bits "whole", true, "other bits after the full disk")
  t.eq(sandbox.run "rm -rf disk/run", 0)
end

if LONG then
  t.test("a checkpoint of four ranks continues on 1, 2, 3 and 7", function()
    for _, launcher in ipairs(found) do check_elastic(launcher) end
  end)
end

if LONG and sandbox.run "mkdir -p disk && mount -t tmpfs -o size=4m tmpfs disk" == 0 then
  t.test("a disk that is full ends the run, which continues when it is not", function()
    local ok, problem = pcall(function()
      for _, launcher in ipairs(found) do check_full_disk(launcher) end
    end)
    sandbox.run "umount -l disk"
    if not ok then error(problem, 0) end
  end)
elseif LONG then
  t.skip("a full disk", "a disk in memory cannot be mounted")
end

local lacking = LONG and require("slurm_cluster").lacks()
if lacking or LONG and found[1].name ~= "openmpi" then
  t.skip("srun", "there is no " .. (lacking or "Open MPI") .. " for srun --mpi=pmix")
elseif LONG then
  t.test("ranks of srun --mpi=pmix, in a cluster of Slurm on this machine", function()
    local cluster = require("slurm_cluster").real { cpus = 3, largest = 10 }
    local ok, problem = pcall(function()
      local launcher = { start = "srun --mpi=pmix --mem=100 -n", environment = cluster.environment }
      local code, text = ranks(launcher, 3, POINTS:format("lsd", 500) .. "--out slurm")
      t.eq(code, 0, text)
      t.eq(bits "slurm" == bits "whole", true, "other bits by srun")
      check_killed(launcher, "slurm-killed")
    end)
    sandbox.run(cluster.halt, cluster.environment)
    if not ok then error(problem, 0) end
  end)
end

t.test("what all ranks find wrong is told once, with its exit code", function()
  local code, text = ranks(found[1], 2, POINTS:format("lsd", 5) .. "--set nonsense=1 --out wrong")
  t.eq(code, 2, text)
  t.eq(select(2, text:gsub("unknown setting", "")), 1, text)
  local far = POINTS:format("lsd", 200) .. "--set clip=0 --set lr=900 --out far"
  code, text = ranks(found[1], 2, far)
  t.eq(code, 4, text)
  t.eq(select(2, text:gsub("is not finite in", "")), 1, text)
  t.eq(sandbox.exists "far/diverged.json", true, text)
end)

-- What one rank of three says, by the sentence that is printed, where the last has its own form of
-- the command.
local function check_unequal(last, expected, sentence)
  sandbox.write("unequal.sh", ([[test %s = 2 && %s; exec "$@"]]):format(RANK, last))
  local code, text = sandbox.run(("%s 3 sh unequal.sh %s %s --out unequal --threads 1"):format(
    found[1].start, files.quote(sandbox.program), POINTS:format("lsd", 5)), "TMPDIR=/tmp")
  t.eq(code, expected, text)
  t.eq(select(2, text:gsub(sentence, "")), 1, text)
  t.eq(sandbox.exists "unequal", false, text)
end

t.test("ranks with other arguments, numerics or variables make no run", function()
  check_unequal('set -- "$@" --seed 2', 2, "3 ranks of the launcher were given different arguments")
  check_unequal("export FM_ISA=scalar", 3, "rank 3 cannot share the run of the first rank: the "
    .. "numerics changed: instruction set")
end)

t.test("what only a call of an experiment's part reads is compared, too", function()
  sandbox.write("reads.lua", [[
    local fm = require "flowmap"
    local it = { name = "reads", methods = { "mine" }, profiles = { smoke = { steps = 2, batch = 8,
      micro = 4, eval_samples = 64, nfe = { 1 } } }, settings = { data = "gaussians" } }
    it.losses = { mine = function(a)
      return fm.losses.norm2(a.map:b(a.t, a.x)) * tonumber(os.getenv "OF_A_LOSS" or 1)
    end }
    return it]])
  sandbox.write("unequal.sh", ([[test %s = 1 && export OF_A_LOSS=2; exec "$@"]]):format(RANK))
  local code, text = sandbox.run(("%s 2 sh unequal.sh %s run reads.lua --profile smoke --out reads")
    :format(found[1].start, files.quote(sandbox.program)), "TMPDIR=/tmp")
  t.eq(code, 3, text)
  t.eq(text:find("rank 2 cannot share the run of the first rank: OF_A_LOSS", 1, true) ~= nil, true,
    text)
  t.eq(sandbox.exists "reads", false, text)
end)

t.test("other commands, and a program that is not connected to MPI, say so", function()
  local code, text = ranks(found[1], 2, "reproduce experiments/checkerboard.lua --profile smoke")
  t.eq(code, 2, text)
  t.eq(text:find("reproduce runs as one process, found 2 ranks", 1, true) ~= nil, true, text)
  sandbox.run(("mkdir bare && cp %s bare/flowmap && ln -s %s/lua bare/lua"):format(
    files.quote(sandbox.program), files.quote(sandbox.here)))
  code, text = sandbox.run(found[1].start .. " 2 ./bare/flowmap info", "TMPDIR=/tmp")
  t.eq(code, 2, text)
  local said = text:find("expected one program of 2 processes; make mpi builds", 1, true)
  t.eq(said ~= nil, true, text)
end)

t.done()
