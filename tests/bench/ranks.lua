--- The gain of two ranks over one, each with one thread: the paper's network for the checkerboard
-- at a batch of 16,384, and the small U-Net on CIFAR-10 or its stand-in at a batch of 32.
--
--     lua5.4 tests/bench/ranks.lua [mlp] [unet]
--
-- A run is begun as if it were a long one, and interrupted; the time of its steps is that between
-- two lines of its history.jsonl. Beside one and two ranks stand two processes at the same time
-- that know nothing of each other: more than they reach, the machine does not give. All are made in
-- turns, FLOWMAP_ROUNDS times (default: 3); the last lines have the medians. In each round
-- `calibrate` describes the machine, and `plan` says how long the steps of one and two ranks should
-- take. Needs an MPI and `make mpi`.
-- @script ranks

package.path = (arg[0]:match "^(.*/)" or "./") .. "support/?.lua;" .. package.path

local files = require "flowmap.base.files"
local fm = require "flowmap"
local json = require "flowmap.base.json"
local measure = require "measure"

local ROUNDS = tonumber(os.getenv "FLOWMAP_ROUNDS") or 3
local PROGRAM = os.getenv "FLOWMAP" or "./flowmap"
local WARM = 2 -- steps that are not counted
local STEPS = 64000 -- of the run as begun: its chain hashes every thousandth

-- A case's settings, and the seconds after which it is interrupted.
local CASES = {
  mlp = { seconds = 15, run = "experiments/checkerboard.lua --profile paper --method lsd "
    .. "--set schedule=constant --set dataset_size=0 --set batch=16384" },
  unet = { seconds = 15, run = "experiments/cifar10.lua --profile smoke --method lsd "
    .. "--set net=edm2 --set model_channels=32 --set num_blocks=2 --set mult=2,2,2 "
    .. "--set attention=16 --set batch=32 --set micro=8" },
}

local folder = ("%s/flowmap-ranks-%d"):format(os.getenv "TMPDIR" or "/tmp", fm.pid())
local quoted = files.quote(folder)

-- Open MPI refuses root and binds two ranks to two threads of one core unless told otherwise.
local LAUNCHER = "env OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 "
  .. "OMPI_MCA_hwloc_base_binding_policy=none mpirun -n 2"

local function command(case, name, launcher)
  return ("timeout -s TERM %d %s %s --threads 1 run %s --set steps=%d --set log_every=1 "
    .. "--out %s/%s >%s/said-%s 2>&1"):format(case.seconds, launcher, files.quote(PROGRAM),
    case.run, STEPS, quoted, name, quoted, name)
end

-- Seconds of a step of the run `name`.
local function of_step(name)
  local first, last
  for line in (files.read(("%s/%s/history.jsonl"):format(folder, name)) or ""):gmatch "[^\n]+" do
    local it = json.decode(line)
    if it.wall_s and it.step >= WARM then
      first, last = first or it, it
    end
  end
  if not last or last.step < first.step + 3 then
    error(("ranks: the run made too few steps: %s"):format(
      files.read(("%s/said-%s"):format(folder, name))), 0)
  end
  return (last.wall_s - first.wall_s) / (last.step - first.step)
end

-- Run a shell command in an empty folder.
local function fresh(text)
  os.execute(("rm -rf %s && mkdir -p %s && { %s; }"):format(quoted, quoted, text))
end

local WAYS = {
  one = function(case)
    fresh(command(case, "one", "env"))
    return of_step "one"
  end,
  two = function(case)
    fresh(command(case, "two", LAUNCHER))
    return of_step "two"
  end,
  apart = function(case)
    fresh(("%s & %s; wait"):format(command(case, "a", "env"), command(case, "b", "env")))
    return (of_step "a" + of_step "b") / 2
  end,
}

-- Seconds of a step of one rank and of two as `plan` simulates them on the machine as it is now.
local function planned(case)
  fresh(("%s calibrate --out %s/machine.json && %s plan %s --json --machine %s/machine.json "
    .. ">%s/plan.json"):format(files.quote(PROGRAM), quoted, files.quote(PROGRAM), case.run, quoted,
    quoted))
  local rows = json.decode(files.read(folder .. "/plan.json")).rows
  return rows[1].step_s, rows[2].step_s
end

local function bench(name)
  local case, times = CASES[name], { one = {}, two = {}, apart = {} }
  local plan = { one = {}, two = {} }
  for round = 1, ROUNDS do
    plan.one[round], plan.two[round] = planned(case)
    for way, list in pairs(times) do list[round] = WAYS[way](case) end
    measure.say("  round %d: one rank %.3f s a step (plan: %.3f), two %.3f (%.3f): %.2f times as "
      .. "fast; two processes apart: %.2f", round, times.one[round], plan.one[round],
      times.two[round], plan.two[round], times.one[round] / times.two[round],
      2 * times.one[round] / times.apart[round])
  end
  local function median(list) return select(2, measure.least(list)) end
  local one, two = median(times.one), median(times.two)
  measure.say("%s: two ranks are %.2f times as fast as one; two processes apart: %.2f", name,
    one / two, 2 * one / median(times.apart))
  measure.say("%s: plan is off by %+.1f %% for one rank and %+.1f %% for two", name,
    100 * (median(plan.one) / one - 1), 100 * (median(plan.two) / two - 1))
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
