--- Job arrays of Slurm: which runs share one, their requests and their scripts.
--
-- An element makes one run. Slurm asks it to save before its time is up or when the job is
-- preempted; the run then ends with code 75 and the element requeues itself, so that a run may take
-- longer than any job. A divergence is a result, not a failure of the job. An element writes three
-- files to `folder()`, named after its job and index: the log (JOB_INDEX.log), the exit code of the
-- run (.end), and an empty file that has the time of its last start (.began).
-- @module flowmap.app.slurm.array

local errors = require "flowmap.base.errors"
local escape = require "flowmap.base.escape"
local experiment = require "flowmap.experiment"
local fm = require "flowmap"
local forecast = require "flowmap.app.forecast"
local run_command = require "flowmap.app.run_command"

local M = {}

local GRACE = 120              -- seconds before the end of its time in which a run can save
local LONGER, MINUTES = 1.5, 5 -- what a request adds to the estimated time: a factor, minutes
local LARGER, MIB = 1.25, 128  -- and to the estimated memory: a factor, MiB
local LEAST_TIME, LEAST_MEMORY = 10, 256 -- minutes, MiB
local TRIES = 3                -- restarts without a new checkpoint after which an element gives up

--- A command of the shell: what flowmap decides is not for the environment, in which users keep
-- options: which jobs squeue shows, whether sbatch waits for the job.
M.unset = "unset SBATCH_ARRAY_INX SBATCH_ERROR SBATCH_WAIT SQUEUE_ACCOUNT SQUEUE_FORMAT2 "
  .. "SQUEUE_LICENSES SQUEUE_NAMES SQUEUE_PARTITION SQUEUE_QOS SQUEUE_STATES SQUEUE_USERS"

--- The folder of the jobs' logs.
-- @treturn string relative to the current folder
function M.folder() return experiment.base .. "/.slurm" end

-- ------------------------------------------------------------------ options of the command line

local GIVEN = { "hours", "ranks", "nodes", "mpi" }

--- Refuse the options of jobs where no jobs are made.
-- @tparam table args
function M.refuse(args)
  for _, name in ipairs(GIVEN) do
    if args[name] then errors.usage("--%s has no effect without --executor slurm", name) end
  end
  if args.option and #args.option > 0 then
    errors.usage "--option has no effect without --executor slurm"
  end
end

--- Give the options of jobs their defaults; `cpus` are the threads of each process, `at_once` is
-- how many paces are measured here at a time.
-- @tparam table args changed in place
function M.complete(args)
  for _, name in ipairs { "mpi", "nodes" } do
    if args[name] and (args.ranks or 1) == 1 then
      errors.usage("--%s has no effect without --ranks", name)
    end
  end
  args.hours, args.ranks, args.mpi = args.hours or 24, args.ranks or 1, args.mpi or "pmix"
  args.cpus = args.workers or fm.info().threads
  args.at_once = math.max(1, #(require("luv").cpu_info() or {}) // args.cpus)
end

-- ------------------------------------------------------------------ requests

-- The smallest of first, 1.5 first, 2 first, 3 first, 4 first, ... that is not below x: runs whose
-- needs are alike share an array.
local function rounded(x, first)
  local size = first
  while size < x do
    if 1.5 * size >= x then return math.ceil(1.5 * size) end
    size = 2 * size
  end
  return size
end

-- The memory that a run is expected to take, in bytes; nil if unknown.
local function memory_of(run) return run.kind.pace and run.kind.pace.memory end

-- The request of a run: minutes and MiB of each process. A run of unknown needs may take the most
-- time and what the largest of the others takes, if that is known.
local function request(run, kinds, args, largest)
  local seconds, memory = forecast.expected(run, kinds), memory_of(run) or largest
  local most = args.hours * 60
  local minutes = seconds and math.min(most, LONGER * seconds / args.ranks / 60 + MINUTES)
  return math.min(most, rounded(minutes or most, LEAST_TIME)),
    memory and rounded(LARGER * memory / 2 ^ 20 + MIB, LEAST_MEMORY)
end

--- The arrays that make some runs, in an order in which each run comes after its teachers. The
-- request of an array is that of its largest run. Runs that teach others share no array with runs
-- that do not, for which nobody should wait.
-- @tparam {table,...} runs with `kind` and, in `after`, their teachers, which stand before them
-- @tparam {table,...} kinds see flowmap.app.outlook
-- @tparam table args hours, ranks, see flowmap.app.cli
-- @tparam integer most elements of an array
-- @treturn {table,...} arrays { runs = , minutes = , mib = or nil, level = }
function M.of(runs, kinds, args, most)
  local level, teaches, by_key, list = {}, {}, {}, {}
  local largest = 0
  for _, run in ipairs(runs) do
    largest = math.max(largest, memory_of(run) or 0)
    level[run] = 0
    for _, stage in ipairs(run.after) do
      teaches[stage], level[run] = true, math.max(level[run], 1 + (level[stage] or -1))
    end
  end
  for _, run in ipairs(runs) do
    local minutes, mib = request(run, kinds, args, largest > 0 and largest)
    local key = ("%d %s %d %s"):format(level[run], teaches[run], minutes, mib)
    local array = by_key[key]
    if not array or #array.runs == most then
      array = { runs = {}, minutes = minutes, mib = mib, level = level[run], order = #list }
      by_key[key], list[#list + 1] = array, array
    end
    array.runs[#array.runs + 1] = run
  end
  table.sort(list, function(a, b)
    if a.level ~= b.level then return a.level < b.level end
    return a.order < b.order
  end)
  return list
end

--- A request in words.
-- @tparam table array
-- @treturn string
function M.words(array)
  return ("%d run%s: %d minutes%s each"):format(#array.runs, #array.runs == 1 and "" or "s",
    array.minutes, array.mib and (", %d MiB"):format(array.mib) or "")
end

-- ------------------------------------------------------------------ options of sbatch

local OURS = {}
for name in ([[array dependency output error open-mode chdir signal requeue no-requeue parsable wait
  wrap test-only ntasks nodes help version]]):gmatch "%S+" do
  OURS[name] = true
end

--- The option of sbatch that the user gives as "NAME" or "NAME=VALUE".
-- @tparam string text
-- @treturn ?string nil if it is not one, or one that flowmap decides, which sbatch takes by its
--   first letters, too
function M.option(text)
  local name = text:match "^(%l[%l-]*)$" or text:match "^(%l[%l-]*)=[^\n]+$"
  for ours in pairs(OURS) do
    if name == ours:sub(1, #(name or "")) then return nil end
  end
  return name and "--" .. text or nil
end

local function name_of(array)
  local first = array.runs[1].experiment.name
  for _, run in ipairs(array.runs) do
    if run.experiment.name ~= first then return "flowmap" end
  end
  return first
end

local function folder_here() return require("lfs").currentdir() end

--- The options that every job has: where it runs, what it may take, and the user's own, last.
-- @tparam string name
-- @tparam table it minutes, mib = or nil, tasks, cpus, log
-- @tparam table args option
-- @treturn {string,...}
function M.job_options(name, it, args)
  local words = { "--parsable", "--job-name=" .. name, "--chdir=" .. folder_here(),
    ("--output=%s/%s"):format(M.folder(), it.log), "--open-mode=append",
    "--time=" .. it.minutes, "--ntasks=" .. it.tasks, "--cpus-per-task=" .. it.cpus }
  if it.mib and it.tasks == 1 then words[#words + 1] = ("--mem=%dM"):format(it.mib) end
  if it.mib and it.tasks > 1 then
    words[#words + 1] = ("--mem-per-cpu=%dM"):format(math.ceil(it.mib / it.cpus))
  end
  return table.move(args.option, 1, #args.option, #words + 1, words)
end

--- The options of an array.
-- @tparam table array
-- @tparam table args option, nodes, ranks, cpus
-- @tparam boolean plain whether the cluster has no arrays: then it has one element
-- @treturn {string,...}
function M.options(array, args, plain)
  local own = { "--signal=B:TERM@" .. GRACE, "--requeue" }
  if args.nodes then own[#own + 1] = "--nodes=" .. args.nodes end
  if not plain then own[#own + 1] = ("--array=0-%d"):format(#array.runs - 1) end
  local words = M.job_options(name_of(array), { minutes = array.minutes, mib = array.mib,
    tasks = args.ranks, cpus = args.cpus, log = plain and "%j_0.log" or "%A_%a.log" }, args)
  return table.move(words, 1, #words, #own + 1, own)
end

-- ------------------------------------------------------------------ the script

local HEAD = [[
#!/bin/sh
# Each element of this array makes one run. It ends with the exit code of the run; a divergence
# (code 4) is a result. A run that was asked to save (code 75) is put into the queue again.
case ${SLURM_ARRAY_TASK_ID:-0} in
]]

local TAIL = [[
(*) echo 'flowmap: this array has no such element' >&2; exit 2 ;;
esac
mark=@folder@/${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}_${SLURM_ARRAY_TASK_ID:-0}
# SLURM_JOB_ID of one of the elements is the number of the whole array.
self=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}
self=${self:-$SLURM_JOB_ID}
@unset@
rm -f "$mark.end"
: >"$mark.began"

# Slurm signals this shell alone before the time is up, and all processes when the job must end.
# The run takes a TERM and an INT that arrive together for one request to save.
pid= asked=
ask() {
  asked=1
  [ -z "$pid" ] || @ask@ 2>/dev/null || :
}
trap ask TERM
@start@ "$@" @common@ &
pid=$!
[ -z "$asked" ] || ask
code=1
while :; do
  asked=
  wait "$pid"
  got=$?
  [ "$got" = 127 ] || code=$got
  [ -n "$asked" ] || break
done
case $code in
(130 | 143) code=75 ;; # the signal came before the run could handle it
esac

if [ "$code" = 75 ] && [ "$(squeue -h -j "$self" -o %T)" = RUNNING ]; then # not cancelled
  if [ "$dir/checkpoint.safetensors" -nt "$mark.began" ] ||
    [ "${SLURM_RESTART_COUNT:-0}" -lt @tries@ ]; then
    scontrol requeue "$self" && exit 75
  else
    echo 'flowmap: stopped @tries@ times without a new checkpoint: the time of its job is too short'
  fi
fi
echo "$code" >"$mark.tmp" && mv "$mark.tmp" "$mark.end"
[ "$code" != 4 ] || exit 0
exit "$code"
]]

--- Words of a shell command.
-- @tparam {string,...} words
-- @treturn string
function M.quoted(words)
  local list = {}
  for k, word in ipairs(words) do list[k] = escape.shell(word) end
  return table.concat(list, " ")
end

-- The command before the words of a run, and the one that asks it to save.
local function start(program, args)
  if args.ranks == 1 then return { program, "run" }, 'kill -INT "$pid"' end
  return { "srun", "--mpi=" .. args.mpi, "--ntasks=" .. args.ranks,
    "--cpus-per-task=" .. args.cpus, "--kill-on-bad-exit=1", program, "run" },
    'scancel --signal=TERM "$self"' -- reaches the steps; srun itself would kill them
end

--- The first part of an array's script: the run of each element.
-- @tparam table array
-- @treturn string
function M.head(array)
  local lines = { HEAD }
  for k, run in ipairs(array.runs) do
    if run.dir:find "\n" then errors.usage("%s: a line end in the name of a folder", run.dir) end
    lines[#lines + 1] = ("(%d) dir=%s; set -- %s ;;\n"):format(k - 1, escape.shell(run.dir),
      M.quoted(run_command.words(run)))
  end
  return table.concat(lines)
end

--- The other part, which is the same for all arrays.
-- @tparam table args ranks, cpus, mpi
-- @tparam {string,...} more further arguments of each run
-- @treturn string
function M.tail(args, more)
  local command, ask = start(run_command.program(), args)
  local common = { "--threads", tostring(args.cpus), "--base", experiment.base, "--element" }
  local filled = { folder = M.quoted { M.folder() }, ask = ask, unset = M.unset,
    start = M.quoted(command), tries = tostring(TRIES),
    common = M.quoted(table.move(more, 1, #more, #common + 1, common)) }
  return (TAIL:gsub("@(%l+)@", filled))
end

return M
