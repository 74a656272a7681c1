--- All runs of the paper's experiments, in child processes, then tables, figures and the page.
-- @module flowmap.reproduce

local fm = require "flowmap"
local cache = require "flowmap.cache"
local errors = require "flowmap.errors"
local experiment = require "flowmap.experiment"
local files = require "flowmap.files"
local folder = require "flowmap.folder"
local progress = require "flowmap.progress"
local record = require "flowmap.record"
local settings = require "flowmap.settings"
local tree = require "flowmap.tree"

local M = {}

--- The paper's experiments, in its order.
M.experiments = { "experiments/checkerboard.lua", "experiments/ablations.lua",
  "experiments/cifar10.lua", "experiments/celeba.lua", "experiments/afhq.lua" }

local function say(...)
  io.stdout:write(string.format(...), "\n")
  io.stdout:flush()
end

local function seeds_of(it, seeds)
  if seeds then return seeds end
  local list = {}
  for k = 1, it.seeds or 2 do list[k] = k end
  return list
end

-- Every run with what to do about it and why.
local function plan(list, args)
  local runs = {}
  for _, it in ipairs(list) do
    for _, run in ipairs(experiment.runs(it, args.profile, seeds_of(it, args.seeds))) do
      run.inputs = cache.inputs(it, run.cfg)
      if args.force then -- not even looked at: it may be unreadable
        run.action, run.why, run.force = "run", "--force", true
      else
        run.action, run.why = cache.decide(run.dir, run.inputs)
      end
      run.name = run.dir:match "([^/]+)$"
      runs[#runs + 1] = run
    end
  end
  return runs
end

local function announce(runs)
  local words = { reuse = "reused", resume = "resumes", run = "runs", diverged = "diverged" }
  for _, run in ipairs(runs) do
    say("%s/%s %s: %s", run.cfg.experiment, run.name, words[run.action], run.why)
  end
end

-- The values that a recorded run has in the experiment's grid.
local function point_of(it, config)
  local point = {}
  for key in pairs(it.grid or {}) do point[key] = config[key] end
  return point
end

-- Whether the run in a folder is one of the experiment as it is now; if not, why.
local function outdated(it, dir)
  local config = record.read(dir, "config")
  local ok, cfg = pcall(experiment.resolve, it, { profile = config.profile,
    method = config.method, seed = config.seed, point = point_of(it, config) })
  if not ok then return tostring(cfg) end
  local action, why = cache.decide(dir, cache.inputs(it, cfg))
  return action == "run" and why
end

-- Results that a table must not mix with the present ones (seeds or methods that are not made again
-- now, from other settings) are put aside, not deleted.
local function put_aside(it, profile, runs)
  local root, planned = experiment.root(it.name, profile), {}
  for _, run in ipairs(runs) do planned[run.dir] = true end
  for _, name in ipairs(files.folders(root)) do
    local dir = root .. "/" .. name
    if not planned[dir] and files.exists(dir .. "/config.json") and folder.is_run(dir) then
      local held <close> = folder.take(dir)
      local why = held and outdated(it, dir)
      if why then say("%s/%s put aside in %s: %s", it.name, name, folder.put_aside(dir), why) end
    end
  end
end

-- The command line of a run, for the shell.
local function command(program, run, threads)
  local words = { program, "run", run.experiment.path, "--profile",
    run.cfg.profile, "--method", run.cfg.method, "--seed", tostring(run.cfg.seed), "--out",
    run.dir, "--threads", tostring(threads) }
  for _, key in ipairs(tree.keys(run.set)) do
    words[#words + 1] = "--set"
    words[#words + 1] = key .. "=" .. settings.text(run.set[key])
  end
  if run.action == "resume" then words[#words + 1] = "--resume" end
  if run.force then words[#words + 1] = "--force" end
  for i, word in ipairs(words) do words[i] = files.quote(word) end
  return table.concat(words, " ")
end

-- Each line that a run prints comes to us as "NUMBER LINE"; the wrapper adds "pid" and "exit".
-- Signals reach the run itself; those around it ignore them, so that nothing is lost while it
-- saves. xargs starts no further runs after the exit code 255.
local function wrapped(index, text)
  return ([[{ sh -c %s; code=$?; echo "exit $code"; } 2>&1 | sed -u 's/^/%d /'; ]]
    .. [[test ! -e "$FLOWMAP_STOP" || exit 255]]):format(
      files.quote('echo "pid $$"; exec ' .. text), index)
end

local DIVERGED = errors.status.numeric
local ENDS = { [DIVERGED] = "diverged", [errors.status.interrupted] = "stopped" }

local function finished(run, count, total, code, clock)
  if code ~= 0 then
    local word = ENDS[code] or "failed with exit code " .. code
    return say("[%d/%d] %s %s: %s", count, total, run.name, word, run.last or "")
  end
  local result, parts = record.need(run.dir, "eval"), {}
  local field, head, format = table.unpack(result.columns[1])
  for i, row in ipairs(result.rows) do
    parts[i] = ("N=%d %s"):format(row.N, format:format(row[field]))
  end
  say("[%d/%d] %s done in %s, %s: %s", count, total, run.name,
    progress.duration(clock - run.started), head, table.concat(parts, ", "))
end

-- One line of a run's output.
local function heard(runs, state, line)
  local index, text = line:match "^(%d+) (.*)$"
  local run = runs[tonumber(index)]
  if not run then return line:find "^xargs:" or say("%s", line) end
  local pid, code = text:match "^pid (%d+)$", text:match "^exit (%d+)$"
  if pid then
    run.pid, run.started = pid, fm.clock()
  elseif code then
    run.pid, run.code = nil, tonumber(code)
    state.count = state.count + 1
    finished(run, state.count, #runs, run.code, fm.clock())
  else
    run.last = text:gsub("^flowmap: ", "")
    if text:find "^training" then say("  %s %s", run.name, text) end
  end
end

-- A request to stop goes to every run once; they save and end with 75.
local function pass_on_interrupt(runs, state)
  if state.stopped or not fm.interrupted() then return end
  state.stopped = true
  fm.write_file(state.stop, "")
  for _, run in ipairs(runs) do
    if run.pid then os.execute("kill -TERM " .. run.pid .. " 2>/dev/null") end
  end
end

-- Make runs, `jobs` at a time; returns how many failed.
local function execute(program, runs, jobs)
  fm.watch_signals()
  local list, stop = os.tmpname(), os.tmpname()
  os.remove(stop)
  local file <close> = assert(io.open(list, "w"))
  local threads = math.max(1, fm.info().threads // jobs)
  for i, run in ipairs(runs) do file:write(wrapped(i, command(program, run, threads)), "\0") end
  file:flush()
  local pipe <close> = assert(io.popen(("trap '' INT TERM; FLOWMAP_STOP=%s xargs -0 -a %s -P %d "
    .. "-n 1 sh -c 2>&1"):format(stop, list, jobs)))
  local state = { count = 0, stop = stop }
  while true do
    local line, _, errno = pipe:read "l"
    pass_on_interrupt(runs, state)
    if line then
      heard(runs, state, line)
    elseif errno ~= 4 then -- not EINTR: the end
      break
    end
  end
  os.remove(list)
  os.remove(stop)
  local failed = 0
  for _, run in ipairs(runs) do
    -- A divergence is a result: its place in the tables stays empty.
    if run.code ~= 0 and run.code ~= DIVERGED then failed = failed + 1 end
  end
  if state.stopped then
    errors.raise("interrupted", "interrupted; the same command continues where the runs stopped")
  end
  return failed
end

-- Tables and figures, from the files of the runs alone; with all chapters, the page too.
local function render(list, args)
  local weave = require "flowmap.weave"
  say "to look at:"
  for _, it in ipairs(list) do
    for _, path in ipairs(weave.render(it, args.profile)) do
      if path:find "%.png$" or path:find "%.md$" then say("  %s", path) end
    end
  end
  if #args.experiments > 0 then return end
  local book = dofile(files.installed "paper/chapters.lua")
  say("  %s", weave.book(book, { profile = args.profile }))
end

--- The command `reproduce`.
-- @tparam table args profile, seeds, jobs, force, experiments
-- @treturn integer exit code
function M.run(args)
  local list, start = {}, fm.clock()
  local paths = #args.experiments > 0 and args.experiments or M.experiments
  for i, path in ipairs(paths) do list[i] = experiment.load(path) end
  local runs, due = plan(list, args), {}
  for _, it in ipairs(list) do put_aside(it, args.profile, runs) end
  announce(runs)
  for _, run in ipairs(runs) do
    if run.action == "run" or run.action == "resume" then due[#due + 1] = run end
  end
  local jobs = args.jobs or fm.info().threads
  say("%d runs, %d of them to make, %d at a time", #runs, #due, jobs)
  local failed = #due > 0 and execute(args.program, due, jobs) or 0
  if failed > 0 then
    errors.check("%d of %d runs failed; the same command tries them again", failed, #due)
  end
  render(list, args)
  say("done in %s", progress.duration(fm.clock() - start))
  return 0
end

return M
