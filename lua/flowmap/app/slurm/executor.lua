--- The executor of `reproduce` that makes runs as elements of Slurm's job arrays. See
-- flowmap.app.here for what an executor is.
--
-- Runs that may start at the same time are submitted together, as arrays whose requests fit their
-- estimates. An element has ended when it has left the exit code of its run, or when Slurm no
-- longer has it in the queue. Code 75 counts only then: until it leaves the queue it will start
-- again.
-- @module flowmap.app.slurm.executor

local array = require "flowmap.app.slurm.array"
local errors = require "flowmap.base.errors"
local files = require "flowmap.base.files"
local fm = require "flowmap"
local folder = require "flowmap.runs.folder"
local queue = require "flowmap.app.slurm.queue"
local signals = require "flowmap.app.signals"

local M = {}

local LOOK, ASK = 1, 5     -- seconds between looks at files and between questions to Slurm
local REPORT = 5           -- seconds between two reports of a run
local LATE, HIDDEN = 10, 60 -- seconds for which other machines may not see an exit code, records
local SILENT = 30 * 60     -- seconds without an answer of Slurm after which the study is given up
local APART = 300          -- milliseconds; signals closer together are one request
local DIVERGED, INTERRUPTED = errors.status.numeric, errors.status.interrupted

local Pool = {}
Pool.__index = Pool

--- See flowmap.app.here.
function M.check()
  queue.need "--executor local makes the runs here"
end

--- See flowmap.app.here.
function M.jobs(args, due) return args.jobs or math.max(1, #due) end

--- See flowmap.app.here.
function M.threads(args) return args.cpus end

--- See flowmap.app.here.
function M.measured_at_once(_, args) return args.at_once end

--- See flowmap.app.here.
function M.pool(handlers, it)
  queue.check_free(it.due)
  files.mkdir(array.folder())
  return setmetatable({ uv = signals.uv(), handlers = handlers, args = it.args, kinds = it.kinds,
    largest = queue.largest(), started = {}, elements = {}, count = 0, waiting = 0, requests = 0,
    looked = 0, asked = 0, heard_of = fm.clock() }, Pool)
end

-- ------------------------------------------------------------------ submitting

--- See flowmap.app.here. The run is submitted with the others that start in this turn.
function Pool:start(run, how)
  if how == "--force" and folder.is_run(run.dir) then
    local held <close> = folder.take(run.dir) -- luacheck: ignore
    folder.put_aside(run.dir)
  end
  self.started[#self.started + 1], self.count = run, self.count + 1
end

-- Submit one array; its script is kept beside the logs, by the number of the job.
local function submit(pool, it, plain)
  local path = ("%s/submitted-%d.sh"):format(array.folder(), fm.pid())
  fm.write_file(path, array.head(it)
    .. array.tail(pool.args, { "--reports", tostring(REPORT) }))
  local job = queue.submit(array.options(it, pool.args, plain), path)
  os.rename(path, ("%s/%s.sh"):format(array.folder(), job))
  for k, run in ipairs(it.runs) do
    local name = ("%s_%d"):format(job, k - 1)
    pool.elements[name] = { run = run, job = plain and job or name, read = 0, rest = "",
      path = array.folder() .. "/" .. name }
  end
end

local function submit_started(pool)
  local runs = pool.started
  pool.started = {}
  local plain = pool.largest == 0
  local arrays = array.of(runs, pool.kinds, pool.args, math.max(1, pool.largest))
  for _, it in ipairs(arrays) do submit(pool, it, plain) end
end

-- ------------------------------------------------------------------ listening

-- Pass on the lines that a run has added to its log.
local function read_log(pool, element)
  local file <close> = io.open(element.path .. ".log", "rb")
  if not file or not file:seek("set", element.read) then return end
  local data = file:read "a"
  element.read = element.read + #data
  local text, at = element.rest .. data, 1
  for line, past in text:gmatch "([^\n]*)\n()" do
    pool.handlers.heard(element.run, line)
    at = past
  end
  element.rest = text:sub(at)
end

local function finish(pool, name, code)
  local element = pool.elements[name]
  read_log(pool, element)
  pool.elements[name], pool.count = nil, pool.count - 1
  pool.handlers.ended(element.run, code, 0)
end

-- The exit code that an element has left; nil if there is none.
local function code_of(element) return tonumber((files.read(element.path .. ".end"))) end

-- Whether the records of a run that has ended are here: a network file system may show them later
-- than the exit code.
local function visible(element, code, now)
  local record = not element.run.experiment.run
    and (code == 0 and "manifest" or code == DIVERGED and "diverged")
  element.ended = element.ended or now
  return not record or now - element.ended > HIDDEN
    or files.exists(("%s/%s.json"):format(element.run.dir, record))
end

-- An element that Slurm no longer has and that left no exit code.
local function lost(pool, name)
  local element = pool.elements[name]
  if pool.requests > 0 then return finish(pool, name, INTERRUPTED) end
  local state = queue.state(element.job)
  pool.handlers.heard(element.run, ("flowmap: its job %s ended with the state %s and left no exit "
    .. "code; see %s.log"):format(element.job, state, element.path))
  finish(pool, name, 1)
end

-- Compare the elements with the queue.
local function ask(pool, now)
  local queued, why = queue.queued()
  if not queued then
    if now - pool.heard_of > SILENT then
      pool.given_up = true
      errors.data("Slurm has not answered for %d minutes: %s; the jobs go on, and the same command "
        .. "continues when they have ended", SILENT // 60, why)
    end
    return
  end
  pool.heard_of = now
  for name, element in pairs(pool.elements) do
    local left = not queued[name] and (element.left or now)
    element.left = left or nil
    local code = left and code_of(element)
    if code then
      finish(pool, name, code)
    elseif left and (now - left > LATE or not element.began) then
      lost(pool, name)
    end
  end
end

-- Look at the files of all elements. The time of a run counts from where it begins.
local function look(pool, now)
  pool.waiting = 0
  for name, element in pairs(pool.elements) do
    if not element.began and files.exists(element.path .. ".began") then
      element.began, element.run.started = true, now
    end
    if not element.began then
      pool.waiting, element.run.started = pool.waiting + 1, now
    end
    read_log(pool, element)
    local code = code_of(element)
    if code and code ~= INTERRUPTED and visible(element, code, now) then
      finish(pool, name, code)
    end
  end
end

-- ------------------------------------------------------------------ the loop

--- Cancel all jobs: their runs save and end. A second call ends them at once.
function Pool:stop()
  self.requests = self.requests + 1
  local names, seen = {}, {}
  for name in pairs(self.elements) do
    local job = name:match "^%d+"
    if not seen[job] then names[#names + 1], seen[job] = job, true end
  end
  queue.cancel(names, self.requests > 1)
end

local function turn(pool)
  local now = fm.clock()
  if pool.signal then
    local at = pool.uv.now()
    if at - (pool.stopped or -APART) >= APART then pool:stop() end
    pool.signal, pool.stopped = false, at
  end
  if now - pool.looked >= LOOK then pool.looked = now; look(pool, now) end
  if now - pool.asked >= ASK then pool.asked = now; ask(pool, now) end
  pool.handlers.tick()
end

--- See flowmap.app.children.
function Pool:run(more, interval)
  local handles <close> = signals.handles(self.uv)
  local timer = self.uv.new_timer()
  handles[#handles + 1] = timer
  timer:start(interval, interval, function() end)
  signals.watch(self.uv, handles, function() self.signal = true end)
  local guard <close> = self
  while true do
    if self.requests == 0 then more() end
    if #self.started > 0 then submit_started(self) end
    if self.count == 0 then break end
    self.uv.run "once"
    turn(self)
    if self.requests > 1 then break end
  end
  return guard.requests > 0
end

--- Leave no job behind where an error ends the study.
function Pool:__close(err)
  if err and self.requests == 0 and not self.given_up then self:stop() end
end

return M
