--- Slurm's programs: submit a job, ask for the queue, cancel.
-- @module flowmap.app.slurm.queue

local array = require "flowmap.app.slurm.array"
local core = require "flowmap.core"
local errors = require "flowmap.base.errors"
local files = require "flowmap.base.files"

local M = {}

local SECONDS = 60          -- after which a program that does not answer is given up
local DEFAULT_LARGEST = 1001 -- Slurm's own default of MaxArraySize

-- ------------------------------------------------------------------ calls

--- Whether this machine can submit jobs.
-- @treturn boolean
function M.here() return #files.in_path "sbatch" > 0 end

--- Raise an error where jobs cannot be submitted.
-- @tparam string otherwise what can be done without, to end the sentence
function M.need(otherwise)
  if not M.here() then
    errors.usage("sbatch of Slurm is not installed here (no such program in PATH); %s", otherwise)
  end
end

-- Run a program of Slurm; returns whether it succeeded, and its output without the last line end.
local function call(words, input)
  local command = ("%s; timeout %d %s 2>&1 <%s"):format(array.unset, SECONDS, array.quoted(words),
    array.quoted { input or "/dev/null" })
  local pipe = files.pipe(words[1], command)
  local text = pipe:read "a" or ""
  return pipe:close() == true, (text:gsub("%s+$", ""))
end

-- The last line of what a program said, where it names its error.
local function last_line(text) return text:match "[^\n]*$" end

--- The largest array that this cluster takes; without a cluster, Slurm's default.
-- @treturn integer 0 if it takes none
function M.largest()
  local ok, text = false, ""
  if #files.in_path "scontrol" > 0 then ok, text = call { "scontrol", "show", "config" } end
  return ok and tonumber(text:match "MaxArraySize%s*=%s*(%d+)") or DEFAULT_LARGEST
end

--- Submit a script.
-- @tparam {string,...} options of sbatch, with --parsable
-- @tparam string path of the script
-- @treturn string the job's number
function M.submit(options, path)
  local ok, text = call(table.move(options, 1, #options, 2, { "sbatch" }), path)
  local number = ok and ("\n" .. text):match "\n(%d+);?[^\n]*$"
  if not number then
    errors.usage("sbatch refused the jobs: %s", text ~= "" and last_line(text) or "it said nothing")
  end
  return number
end

--- The jobs of this user that wait or run: elements by "JOB_INDEX", others by "JOB_0".
-- @treturn ?table set of names with their states; nil if Slurm does not answer
-- @treturn ?string why it does not
function M.queued()
  local ok, text = call { "squeue", "--me", "--noheader", "--array", "--format=%F_%K %T" }
  if not ok then return nil, last_line(text) end
  local names = {}
  for job, index, state in text:gmatch "(%d+)_(%S+) (%S+)" do
    names[job .. "_" .. (tonumber(index) and index or "0")] = state
  end
  return names
end

--- The last state of an element that has ended, if Slurm still knows it.
-- @tparam string name JOB_INDEX
-- @treturn string its state, such as OUT_OF_MEMORY
function M.state(name)
  local ok, text = call { "scontrol", "--oneliner", "show", "job", name }
  return ok and text:match "JobState=(%S+)" or "unknown"
end

--- Cancel jobs. Their runs are asked to save, unless they are to end at once.
-- @tparam {string,...} jobs
-- @tparam[opt] boolean at_once
function M.cancel(jobs, at_once)
  if #jobs == 0 then return end
  local words = at_once and { "scancel", "--signal=KILL", "--full" } or { "scancel" }
  call(table.move(jobs, 1, #jobs, #words + 1, words))
end

-- ------------------------------------------------------------------ what was submitted before

-- The folders of the runs of a kept script, by their index in the array, and in order.
local function dirs_of(name)
  local by_index, list = {}, {}
  local script = files.read(("%s/%s.sh"):format(array.folder(), name)) or ""
  for index, dir in script:gmatch "\n%((%d+)%) dir='([^\n]-)'; set " do
    by_index[index], list[#list + 1] = dir, dir
  end
  return by_index, list
end

-- The scripts of commands that were killed before they could name them after their jobs, by the
-- folders of their runs.
local function left_by_dir()
  local by_dir = {}
  for _, name in ipairs(core.folder_names(array.folder())) do
    local left = name:match "^(submitted%-%d+)%.sh$"
    for _, dir in ipairs(left and select(2, dirs_of(left)) or {}) do
      by_dir[dir] = array.folder() .. "/" .. name
    end
  end
  return by_dir
end

--- Raise an error if one of these runs is in the queue already, by the scripts that were kept.
-- @tparam {table,...} runs
function M.check_free(runs)
  local queued = files.exists(array.folder()) and M.queued()
  if not queued or not next(queued) then return end
  local by_dir, known, unknown = {}, {}, nil
  for name in pairs(queued) do
    local job, index = name:match "^(%d+)_(%d+)$"
    known[job] = known[job] or dirs_of(job)
    if known[job][index] then by_dir[known[job][index]] = name end
    if not files.exists(("%s/%s.sh"):format(array.folder(), job)) then unknown = name end
  end
  local left = unknown and left_by_dir() or {}
  for _, run in ipairs(runs) do
    local name = by_dir[run.dir]
    if name then
      errors.usage("%s is in Slurm's queue already, as job %s: wait until it ends, or scancel %s",
        run.name, name, name:match "%d+")
    elseif left[run.dir] then
      errors.usage("%s may be in Slurm's queue already, as job %s, by a command that was killed: "
        .. "wait until it ends, or scancel it; if that job is another's, remove %s", run.name,
        unknown, left[run.dir])
    end
  end
end

return M
