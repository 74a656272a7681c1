--- What two ranks gain over one, each with one thread: the paper's network for the checkerboard at
-- a batch of 16,384, and the small U-Net on CIFAR-10 or its stand-in at a batch of 32.
--
--     lua5.4 tests/bench/ranks.lua [mlp] [unet]
--
-- A step's time is the difference between a long and a short run, so that start and end of the
-- program do not count. Beside it stands what two processes that know nothing of each other reach
-- at the same time: more than that the machine does not give. All are made in turns,
-- FLOWMAP_ROUNDS times (default: 5); the table has the medians. Needs an MPI and `make mpi`.
-- @script ranks

package.path = (arg[0]:match "^(.*/)" or "./") .. "support/?.lua;" .. package.path

local files = require "flowmap.base.files"
local fm = require "flowmap"
local measure = require "measure"

local ROUNDS = tonumber(os.getenv "FLOWMAP_ROUNDS") or 5
local PROGRAM = os.getenv "FLOWMAP" or "./flowmap"

-- The settings of a run, and the steps of a short and a long one.
local CASES = {
  mlp = { few = 2, many = 12, run = "experiments/checkerboard.lua --profile paper --method lsd "
    .. "--set schedule=constant --set dataset_size=0 --set batch=16384 --set eval_samples=500 "
    .. "--set nfe=1 --set bins=8 --set kl_estimates=false --set checkpoints=1" },
  unet = { few = 2, many = 12, run = "experiments/cifar10.lua --profile smoke --method lsd "
    .. "--set net=edm2 --set model_channels=32 --set num_blocks=2 --set mult=2,2,2 "
    .. "--set attention=16 --set batch=32 --set micro=8 --set eval_samples=256 --set nfe=1 "
    .. "--set checkpoints=1" },
}

local folder = ("%s/flowmap-ranks-%d"):format(os.getenv "TMPDIR" or "/tmp", fm.pid())
local quoted = files.quote(folder)

-- Open MPI refuses root and binds two ranks to two threads of one core unless told otherwise.
local LAUNCHER = "env OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 "
  .. "OMPI_MCA_hwloc_base_binding_policy=none mpirun -n 2"

local function command(case, steps, name, launcher)
  return ("%s %s --threads 1 run %s --set steps=%d --set log_every=1 --out %s/%s >%s/said 2>&1")
    :format(launcher, files.quote(PROGRAM), case.run, steps, quoted, name, quoted)
end

-- Seconds of a shell command; none of its runs may be there already.
local function seconds(text)
  os.execute(("rm -rf %s && mkdir -p %s"):format(quoted, quoted))
  local wall = measure.seconds(function()
    if not os.execute(text) then
      error(("%s\nfailed: %s"):format(text, files.read(folder .. "/said") or ""), 0)
    end
  end)
  return wall
end

local WAYS = {
  one = function(case, steps) return seconds(command(case, steps, "one", "env")) end,
  two = function(case, steps)
    return seconds(command(case, steps, "two", LAUNCHER))
  end,
  apart = function(case, steps)
    return seconds(("{ %s; } & { %s; } && wait $!"):format(command(case, steps, "a", "env"),
      command(case, steps, "b", "env")))
  end,
}

local function of_step(way, case)
  return (WAYS[way](case, case.many) - WAYS[way](case, case.few)) / (case.many - case.few)
end

local function bench(name)
  local case, times = CASES[name], { one = {}, two = {}, apart = {} }
  for round = 1, ROUNDS do
    for way, list in pairs(times) do list[round] = of_step(way, case) end
    measure.say("  round %d: one rank %.3f s a step, two %.3f: %.2f times as fast; two processes "
      .. "apart: %.2f", round, times.one[round], times.two[round],
      times.one[round] / times.two[round], 2 * times.one[round] / times.apart[round])
  end
  local function median(way) return select(2, measure.least(times[way])) end
  measure.say("%s: two ranks are %.2f times as fast as one; two processes apart: %.2f", name,
    median "one" / median "two", 2 * median "one" / median "apart")
end

if not os.execute "command -v mpirun >/dev/null" or not files.exists "build/mpi" then
  measure.say "ranks: left out: no MPI is connected; install one, then make mpi"
  return
end
local chosen = #arg > 0 and arg or { "mlp", "unet" }
for _, name in ipairs(chosen) do
  if not CASES[name] then error(("ranks: %s: expected mlp or unet"):format(name), 0) end
end
for _, name in ipairs(chosen) do bench(name) end
os.execute("rm -rf " .. quoted)
