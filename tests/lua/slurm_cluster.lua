--- A cluster for tests of job arrays: Slurm's own daemons on this machine, in a folder, with a key
-- and at ports of their own; or shell scripts in the place of sbatch, squeue, scontrol and scancel.
-- @module slurm_cluster

local files = require "flowmap.base.files"
local lfs = require "lfs"
local sandbox = require "sandbox"

local M = {}

local sh = files.quote

-- ------------------------------------------------------------------ the real one

--- The first program that is missing for a real cluster; nil if none is.
-- @treturn ?string
function M.lacks()
  for _, name in ipairs { "slurmctld", "slurmd", "munged", "sbatch" } do
    if sandbox.run("PATH=$PATH:/usr/sbin command -v " .. name) ~= 0 then return name end
  end
end

local function free_port()
  local uv = require "luv"
  local socket = uv.new_tcp()
  socket:bind("127.0.0.1", 0)
  local port = socket:getsockname().port
  socket:close()
  uv.run "nowait"
  return port
end

local CONF = [[
ClusterName=flowmap
SlurmctldHost=@host@(127.0.0.1)
SlurmctldPort=@port1@
SlurmdPort=@port2@
SlurmUser=@user@
SlurmdUser=@user@
AuthType=auth/munge
AuthInfo=socket=@at@/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation=@at@/state
SlurmdSpoolDir=@at@/spool
SlurmctldPidFile=@at@/slurmctld.pid
SlurmdPidFile=@at@/slurmd.pid
SlurmctldLogFile=@at@/slurmctld.log
SlurmdLogFile=@at@/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
ReturnToService=2
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
KillWait=15
MaxArraySize=@largest@
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=sched_interval=2,batch_sched_delay=0,sched_min_interval=0,bf_interval=2
NodeName=@host@ NodeAddr=127.0.0.1 CPUs=@cpus@ RealMemory=8192 State=UNKNOWN
PartitionName=main Nodes=@host@ Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes=@host@ MaxTime=INFINITE State=UP PriorityTier=2
]]

-- Starts the daemons and, to end them after a killed test, a process that watches this one.
local START = [[
set -e
cd @at@
head -c 64 /dev/urandom >munge.key
chmod 400 munge.key
munged --force --num-threads=1 --socket=$PWD/munge.socket --key-file=$PWD/munge.key \
  --log-file=$PWD/munged.log --pid-file=$PWD/munged.pid --seed-file=$PWD/munged.seed
slurmctld -i -f $PWD/slurm.conf
slurmd -f $PWD/slurm.conf
k=0
until sinfo -h -o %T | grep -q idle || test $k -gt 100; do sleep 0.1; k=$((k + 1)); done
sinfo -h -o %T | grep -q idle
(
  while kill -0 @parent@ && test -e slurmd.pid; do sleep 2; done
  kill $(cat slurmd.pid slurmctld.pid munged.pid)
) >/dev/null 2>&1 &
]]

local STOP = [[
cd @at@
scancel -u $(id -un)
sleep 1
kill $(cat slurmd.pid slurmctld.pid munged.pid)
rm -f slurmd.pid
]]

local Cluster = {}
Cluster.__index = Cluster

--- Start a real cluster of one node.
-- @tparam table it { cpus =, largest = MaxArraySize }
-- @treturn Cluster
function M.real(it)
  local at = sandbox.root:gsub("/work$", "/cluster")
  for _, name in ipairs { "", "/state", "/spool" } do assert(lfs.mkdir(at .. name)) end
  local _, names = sandbox.run "hostname -s; id -un"
  local host, user = names:match "^(%S+)%s+(%S+)"
  local values = { at = at, host = host, user = user, port1 = free_port(), port2 = free_port(),
    cpus = it.cpus, largest = it.largest, parent = require("flowmap").pid() }
  local function fill(text)
    return (text:gsub("@(%w+)@", function(key) return tostring(values[key]) end))
  end
  sandbox.write(at .. "/slurm.conf", fill(CONF))
  local self = setmetatable({ environment = "SLURM_CONF=" .. sh(at .. "/slurm.conf")
    .. " PATH=$PATH:/usr/sbin", halt = fill(STOP), real = true }, Cluster)
  local code, out = sandbox.run(fill(START), self.environment)
  if code ~= 0 then error("the cluster did not start: " .. out) end
  return self
end

-- ------------------------------------------------------------------ the other one

-- A job is a file $FAKE/NAME with its state, named JOB or JOB_INDEX.
local FAKE = { sbatch = [[
#!/bin/sh
[ -z "$SBATCH_WAIT" ] || exec sleep 99
array= out=/dev/null after= refuse=
for word; do
  case $word in
  (--array=*) array=${word#--array=0-} ;;
  (--output=*) out=${word#--output=} ;;
  (--dependency=afterany:*) after=${word#--dependency=afterany:} ;;
  (--refuse) refuse=1 ;;
  esac
done
printf '%s\n' "$*" >>"$FAKE/calls"
if [ "$refuse" ] && [ "$after" ]; then
  echo 'sbatch: error: Batch job submission failed: not today' >&2
  exit 1
fi
job=$(($(cat "$FAKE/last" 2>/dev/null || echo 0) + 1))
echo $job >"$FAKE/last"
cat >"$FAKE/$job.script"
: >"$FAKE/$job.jobs"
for k in ${array:+$(seq 0 $array)} ${array:-x}; do
  name=${job}_$k
  [ "$array" ] || name=$job
  grep -qx "$name" "$FAKE/$job.jobs" && continue
  echo "$name" >>"$FAKE/$job.jobs"
  echo PENDING >"$FAKE/$name.state"
  log=$(printf '%s\n' "$out" | sed "s/%A_%a/$name/; s/%j/$job/")
  setsid "$FAKE/element" "$job" "$k" "$name" "$log" "$after" >/dev/null 2>&1 </dev/null &
done
echo $job
]], element = [[
#!/bin/sh
for other in $(echo $5 | tr : ' '); do
  for name in $other $(cat "$FAKE/$other.jobs" 2>/dev/null); do
    while [ -e "$FAKE/$name.state" ]; do sleep 0.02; done
  done
done
export SLURM_JOB_ID=$3 SLURM_RESTART_COUNT=0
case $3 in
(*_*) export SLURM_ARRAY_JOB_ID=$1 SLURM_ARRAY_TASK_ID=$2 ;;
esac
while :; do
  rm -f "$FAKE/$3.again"
  echo RUNNING >"$FAKE/$3.state"
  sh "$FAKE/$1.script" >>"$4" 2>&1 &
  echo $! >"$FAKE/$3.pid"
  wait
  [ -e "$FAKE/$3.again" ] || break
  SLURM_RESTART_COUNT=$((SLURM_RESTART_COUNT + 1))
done
rm -f "$FAKE/$3.state"
]], squeue = [[
#!/bin/sh
[ -z "$SQUEUE_STATES" ] || exit 0 # no job is suspended
cd "$FAKE"
case $* in
(*--me*)
  for name in *.state; do
    [ -e "$name" ] || continue
    id=${name%.state}
    case $id in (*_*) ;; (*) id=${id}_N/A ;; esac
    echo "$id $(cat $name)"
  done
  ;;
(*) cat "$3.state" ;;
esac
]], scontrol = [[
#!/bin/sh
case $1 in
(requeue) : >"$FAKE/$2.again" ;;
(show) echo "MaxArraySize = ${LARGEST:-1001}" ;;
(*) echo JobState=FAILED ;;
esac
]], scancel = [[
#!/bin/sh
cd "$FAKE"
echo "$*" >>cancelled
for job; do
  for name in $(cat $job.jobs 2>/dev/null); do
    kill -TERM $(cat $name.pid)
  done
done
]] }

--- A cluster of shell scripts.
-- @treturn Cluster
function M.fake()
  local at = sandbox.root:gsub("/work$", "/fake")
  assert(lfs.mkdir(at))
  for name, text in pairs(FAKE) do
    sandbox.write(at .. "/" .. name, text)
    sandbox.run("chmod +x " .. sh(at .. "/" .. name))
  end
  return setmetatable({ environment = ("FAKE=%s PATH=%s:$PATH SBATCH_WAIT=1 "
    .. "SQUEUE_STATES=SUSPENDED"):format(sh(at), sh(at)), at = at, halt = "true" }, Cluster)
end

-- ------------------------------------------------------------------ both

--- Run a command where the cluster can be reached; like sandbox.run.
function Cluster:run(command, environment)
  return sandbox.run(command, self.environment .. " " .. (environment or ""))
end

--- Wait until the queue is empty.
-- @tparam integer seconds at most
-- @treturn boolean whether it is
function Cluster:wait(seconds)
  return (self:run(("unset SQUEUE_STATES; k=0; while squeue --me -h -r -o '%%F_%%K %%T' "
    .. "| grep -q .; do test $k -lt %d || exit 1; sleep 0.1; k=$((k + 1)); done"):format(
    seconds * 10))) == 0
end

--- End it, and all jobs.
function Cluster:stop() self:run(self.halt) end

return M
