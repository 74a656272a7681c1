--- The command `slurm`: all runs of some experiments as job arrays, and a last job that renders.
-- It prints one script of the shell, which submits them all or none; `--submit` executes it.
-- @module flowmap.app.slurm.command

local Status = require "flowmap.base.status"
local array = require "flowmap.app.slurm.array"
local due_runs = require "flowmap.app.due"
local errors = require "flowmap.base.errors"
local escape = require "flowmap.base.escape"
local files = require "flowmap.base.files"
local fm = require "flowmap"
local forecast = require "flowmap.app.forecast"
local queue = require "flowmap.app.slurm.queue"
local run_command = require "flowmap.app.run_command"
local sums = require "flowmap.runs.sums"

local M = {}

-- The job that renders.
local LAST = { minutes = 60, mib = 2048, tasks = 1, cpus = 1, log = "%j.log" }

-- ------------------------------------------------------------------ dependencies

-- The jobs that an array waits for: the elements that make teachers of its runs. Whether they
-- succeed is for the runs themselves to see: a job whose condition can never hold would wait
-- forever.
local function awaited(it, place)
  local names, seen = {}, {}
  for _, run in ipairs(it.runs) do
    for _, stage in ipairs(run.after) do
      local name = place[stage]
      if name and not seen[name] then names[#names + 1], seen[name] = name, true end
    end
  end
  return names
end

-- Where each run is made: "${job1}_0", or "$job1" if the cluster has no arrays.
local function places(arrays, plain)
  local place = {}
  for k, it in ipairs(arrays) do
    for i, run in ipairs(it.runs) do
      place[run] = plain and ("${job%d}"):format(k) or ("${job%d}_%d"):format(k, i - 1)
    end
  end
  return place
end

-- ------------------------------------------------------------------ the text

local HEAD = [[
cd @here@ || exit
command -v sbatch >/dev/null || {
  echo 'flowmap: sbatch of Slurm is not installed here: run this where jobs are submitted' >&2
  exit 2
}
folder=@folder@
@unset@
mkdir -p "$folder" || exit
jobs=

# submit TEXT OPTION...: submit the script that the function TEXT prints, and keep it as JOB.sh. If
# this is killed before it can name it so, the next command still finds it.
submit() {
  text=$1
  shift
  kept=$folder/submitted-$$.sh
  "$text" >"$kept" && job=$(sbatch "$@" <"$kept") || job=
  job=${job%%;*}
  case $job in
  ('' | *[!0-9]*)
    rm -f "$kept"
    echo "flowmap: sbatch refused the jobs, see above; ${jobs:+$jobs cancelled, }nothing runs" >&2
    [ -z "$jobs" ] || scancel $jobs
    exit 2
    ;;
  esac
  jobs="$jobs${jobs:+ }$job"
  mv "$kept" "$folder/$job.sh"
}
]]

-- A here-document whose end marker is not a line of the text.
local function quoted_text(text)
  local marker = "END"
  while ("\n" .. text):find("\n" .. marker .. "\n", 1, true) do marker = marker .. "_" end
  return ("<<'%s'\n%s%s\n"):format(marker, text, marker)
end

local function add(lines, ...) lines[#lines + 1] = string.format(...) end

local function add_array(lines, k, it, place, args, plain)
  local options = array.quoted(array.options(it, args, plain))
  local after = awaited(it, place)
  if #after > 0 then
    options = ('%s --dependency="afterany:%s"'):format(options, table.concat(after, ":"))
  end
  add(lines, "\n# %s\nruns%d() {\n  cat %s  element\n}\nsubmit runs%d %s\njob%d=$job\n",
    array.words(it), k, quoted_text(array.head(it)), k, options, k)
end

-- The command of the last job.
local function render_words(args)
  local words = { run_command.program(), "reproduce", "--render", "--profile", args.profile }
  if args.seeds then
    words[#words + 1] = "--seeds"
    words[#words + 1] = table.concat(args.seeds, ",")
  end
  if args.methods then
    words[#words + 1] = "--methods"
    words[#words + 1] = table.concat(args.methods, ",")
  end
  for _, path in ipairs(args.experiments) do words[#words + 1] = path:gsub("^%-", "./-") end
  return words
end

local function add_last(lines, count, args)
  local options = array.quoted(array.job_options("flowmap-render", LAST, args))
  local jobs = {}
  for k = 1, count do jobs[k] = ("$job%d"):format(k) end
  if count > 0 then
    options = ('%s --dependency="afterany:%s"'):format(options, table.concat(jobs, ":"))
  end
  local script = "#!/bin/sh\nexec " .. array.quoted(render_words(args)) .. "\n"
  add(lines, "\n# Tables, figures and the page, when all runs have ended.\nrender() {\n  cat %s}\n"
    .. "submit render %s\n", quoted_text(script), options)
  add(lines, "echo \"flowmap: submitted as the jobs $jobs; their logs are in $folder\"\n")
end

--- The script.
-- @tparam {string,...} notes lines about the runs, which become comments
-- @tparam {table,...} arrays see flowmap.app.slurm.array
-- @tparam table args
-- @tparam boolean plain whether the cluster has no arrays
-- @treturn string
function M.text(notes, arrays, args, plain)
  local lines = { "#!/bin/sh\n" }
  for _, note in ipairs(notes) do add(lines, "# %s\n", escape.line(note)) end
  lines[#lines + 1] = HEAD:gsub("@(%l+)@", { here = escape.shell(require("lfs").currentdir()),
    folder = escape.shell(array.folder()), unset = array.unset })
  local place = places(arrays, plain)
  if #arrays > 0 then
    add(lines, "\n# The rest of each array's script.\nelement() {\n  cat %s}\n",
      quoted_text(array.tail(args, {})))
  end
  for k, it in ipairs(arrays) do add_array(lines, k, it, place, args, plain) end
  add_last(lines, #arrays, args)
  return table.concat(lines)
end

-- ------------------------------------------------------------------ the command

-- Execute the script; its messages go where ours do.
local function submit(text)
  files.mkdir(array.folder())
  local path = ("%s/submitted-%d.sh"):format(array.folder(), fm.pid())
  fm.write_file(path, text)
  local _, _, code = os.execute("sh " .. escape.shell(path))
  os.remove(path)
  return code
end

--- The command.
-- @tparam table args see flowmap.app.cli
-- @treturn ?integer exit code
function M.run(args)
  array.complete(args)
  args.dry_run = not args.submit
  if args.submit then
    queue.need "without --submit the script is printed, for a machine that can"
  else
    require("flowmap.data.packed").imagine()
    require("flowmap.runs.numerics").keep = false
  end
  sums.load()
  local notes = {}
  local function note(...) notes[#notes + 1] = string.format(...) end
  local _, runs, due = due_runs.prepare(note, args)
  if args.submit then queue.check_free(due) end
  local status <close> = Status.new(2) -- standard output may be the script
  local kinds = forecast.measure(status, due, args.at_once, args.cpus)
  forecast.announce(note, runs, due, math.max(1, #due), kinds, true)
  local largest = queue.largest()
  local arrays = array.of(due, kinds, args, math.max(1, largest))
  local text = M.text(notes, arrays, args, largest == 0)
  if args.submit then
    for _, line in ipairs(notes) do print(escape.line(line)) end
    io.stdout:flush()
    return submit(text)
  end
  if not io.stdout:write(text) then errors.data "standard output cannot be written" end
end

return M
