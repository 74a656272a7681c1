--- All runs below a folder as they are at the moment: state, progress, loss, pace, result. They are
-- looked at again and again while the runs write their files; what has not changed is not read.
-- @module flowmap.app.live.board

local Progress = require "flowmap.base.progress"
local core = require "flowmap.core"
local curves = require "flowmap.app.live.curve"
local escape = require "flowmap.base.escape"
local follow = require "flowmap.app.live.follow"
local lfs = require "lfs"
local look = require "flowmap.runs.look"
local provenance = require "flowmap.report.provenance"

local M = {}

local LONGEST = 160   -- characters of a name, a reason
local WINDOW = 100    -- lines over which the pace is measured
local SILENT = 60     -- seconds without a line, and
local SCAN = 5        -- seconds between searches for new runs
local PATIENCE = 10   -- times the usual interval, after which a running run is called silent

local Entry = {}
Entry.__index = Entry

-- ------------------------------------------------------------------ the journals of one run

local function finite(x) return type(x) == "number" and x - x == 0 end

-- A line of metrics.jsonl; any other is passed over.
local function add_metrics(self, line)
  local step = math.tointeger(line.step)
  if not step or step < 0 or not finite(line.loss) then return end
  self.curve:add(step, line.loss)
  self.last = line
end

-- A line of history.jsonl: a start, or the seconds of training up to a step.
local function add_history(self, line)
  local step = math.tointeger(line.step)
  local times = self.times
  if line.time then
    self.times = {} -- another machine may continue the run
  elseif step and finite(line.wall_s) then
    if times[#times] and step <= times[#times][1] then times = {} end
    times[#times + 1] = { step, line.wall_s }
    if #times > 2 * WINDOW then times = table.move(times, #times - WINDOW, #times, 1, {}) end
    self.times = times
  end
end

local function new_entry(dir, root)
  local self = setmetatable({ dir = dir, times = {}, curve = curves.new() }, Entry)
  self.id = core.sha256(dir):sub(1, 16)
  local name = root and dir:sub(1, #root + 1) == root .. "/" and dir:sub(#root + 2) or dir
  self.name = escape.short(name, LONGEST)
  self.metrics = follow.new(dir .. "/metrics.jsonl", {
    line = function(line) add_metrics(self, line) end,
    restarted = function() self.curve, self.last = curves.new(), nil end,
  })
  self.history = follow.new(dir .. "/history.jsonl", {
    line = function(line) add_history(self, line) end,
    restarted = function() self.times = {} end,
  })
  return self
end

--- Read what is new in the run's journals.
-- @treturn boolean whether there is more
function Entry:read()
  local more = self.history:read()
  return self.metrics:read() or more
end

-- ------------------------------------------------------------------ pace

-- Seconds per step and per line over the last lines; nil if there are too few.
local function pace_of(times)
  local last, first = times[#times], times[math.max(1, #times - WINDOW)]
  if #times == 1 then first = { 0, 0 } end
  if not last or last[1] <= first[1] or last[2] <= first[2] then return nil end
  return (last[2] - first[2]) / (last[1] - first[1]), (last[2] - first[2]) / (#times > 1
    and math.min(#times - 1, WINDOW) or 1)
end

-- Seconds of training that are left, and whether the run has been silent for too long.
local function forecast(self, now)
  self.pace, self.left, self.silent = nil, nil, nil
  if self.state ~= "running" then return end
  local since = now - (self.metrics.changed or self.history.changed or now)
  local pace, interval = pace_of(self.times)
  local training = not self.steps or self.step < self.steps
  if training and since > math.max(SILENT, PATIENCE * (interval or 0)) then
    self.silent = since
  elseif pace and self.steps then
    local steps = self.steps - self.times[#self.times][1]
    local past = math.max(0, math.min(since, interval)) -- more than that shows no progress
    self.pace, self.left = pace, math.max(0, pace * steps - past)
  end
end

-- ------------------------------------------------------------------ one run

local RECORDS = { "config", "inputs", "manifest", "diverged", "eval", "accepted" }

-- The sizes and times of the records of a run; equal: they have not changed.
local function signature(dir)
  local parts = {}
  for k, kind in ipairs(RECORDS) do
    local is = lfs.attributes(("%s/%s.json"):format(dir, kind))
    parts[k] = is and ("%d %d %d"):format(is.ino, is.size, is.change) or "-"
  end
  return table.concat(parts, ",")
end

-- The first result of a finished run: "KL 0.0123 at N = 1".
local function result_of(it)
  local eval = it.eval
  local column = eval and eval.columns[1]
  local value = column and eval.rows[1][column[1]]
  if type(value) ~= "number" then return nil end
  local ok, text = pcall(string.format, column[3], value)
  return ("%s %s at N = %d"):format(escape.short(column[2], 20), ok and text or "?",
    eval.rows[1].N)
end

-- When a run ended or last wrote a line, as in a manifest: such texts sort by time.
local function changed(it)
  if it.manifest then return it.manifest.finished end
  local last = 0
  for _, name in ipairs { "diverged.json", "metrics.jsonl", "config.json" } do
    last = math.max(last, lfs.attributes(it.dir .. "/" .. name, "modification") or 0)
  end
  return os.date("!%Y-%m-%dT%H:%M:%SZ", last)
end

local ENDED = { finished = true, diverged = true }

--- A name or a reason in one line of bounded length.
-- @tparam ?string text
-- @treturn ?string
function M.short(text) return text and escape.short(text, LONGEST) end

local short = M.short

-- The numbers of steps for which a finished run has results.
local function steps_of(eval)
  local list = {}
  for k, row in ipairs(eval and eval.rows or {}) do list[k] = row.N end
  return list
end

local function describe(self, it)
  local config, made = it.config or {}, it.manifest or {}
  self.state, self.words, self.fault = it.state, look.words(it), short(it.fault)
  self.step, self.steps = it.step, it.steps
  self.experiment, self.profile = short(config.experiment), short(config.profile)
  self.method, self.seed = short(config.method), config.seed
  self.cpu_s, self.wall_s = it.cpu_s, made.wall_s
  self.samples = made.samples_seen or (it.step and config.batch and it.step * config.batch)
  self.result, self.N = result_of(it), steps_of(it.eval)
  self.reason = it.diverged and short(it.diverged.message)
  self.changed = changed(it)
end

local function refresh(self, now, whole)
  local is = signature(self.dir)
  if not (ENDED[self.state] and is == self.signature) then
    describe(self, look.run(self.dir))
    self.signature = is
  end
  if whole or self.state == "running" then self:read() end
  if self.state == "running" and self.last then -- of one reading with the curve
    self.step = math.max(self.step, math.tointeger(self.last.step))
  end
  forecast(self, now)
end

-- ------------------------------------------------------------------ the board

local Board = {}
Board.__index = Board

--- The runs below a folder, or a single run.
-- @tparam table of { root = a folder } or { run = a folder }
-- @treturn Board its list `entries` is complete after `refresh`: running ones first, then those
--   that changed last
function M.new(of)
  return setmetatable({ root = of.root, run = of.run, known = {}, entries = {} }, Board)
end

local function before(a, b)
  local x, y = a.state == "running", b.state == "running"
  if x ~= y then return x end
  if not x and a.changed ~= b.changed then return a.changed > b.changed end
  return a.name < b.name
end

-- The runs that are there; the folders are searched only every few seconds.
local function scan(self, now)
  if not self.run and now - (self.scanned or -SCAN) < SCAN then return false end
  local known = {}
  for _, dir in ipairs(self.run and { self.run } or look.find(self.root)) do
    known[dir] = self.known[dir] or new_entry(dir, self.root)
  end
  self.known, self.scanned = known, now
  return true
end

--- Look at all runs again.
-- @treturn {Entry,...} entries
function Board:refresh()
  local all, now = scan(self, core.clock()), os.time()
  self.entries, self.counts = {}, {}
  for _, it in pairs(self.known) do
    if all or not ENDED[it.state] then refresh(it, now, self.run ~= nil) end
    self.entries[#self.entries + 1] = it
    self.counts[it.state] = (self.counts[it.state] or 0) + 1
  end
  table.sort(self.entries, before)
  return self.entries
end

local STATES = { "running", "finished", "diverged", "interrupted", "unreadable" }

--- How many runs are in each state: "1 running, 12 finished".
-- @treturn string
function Board:summary()
  local parts = {}
  for _, state in ipairs(STATES) do
    if self.counts[state] then parts[#parts + 1] = ("%d %s"):format(self.counts[state], state) end
  end
  return #parts > 0 and table.concat(parts, ", ") or "no runs"
end

-- ------------------------------------------------------------------ words

--- A loss in four digits.
-- @tparam number x
-- @treturn string
function M.loss(x) return ("%.4g"):format(x) end

--- How far a run is, from the longest text to the shortest.
-- @treturn {string,...}
function Entry:progress()
  if self.state ~= "running" then
    local text = self.fault or self.reason and self.words .. ": " .. self.reason
      or self.result and self.words .. ", " .. self.result or self.words
    return { text, self.words }
  elseif self.silent then
    return { ("%s, silent for %s"):format(self.words, Progress.duration(self.silent)), self.words }
  elseif not self.steps or self.step >= self.steps then
    return { self.words }
  end
  local left = self.left and Progress.duration(self.left) .. " left" or "time left unknown"
  local percent = ("%d %%"):format(100 * self.step // self.steps)
  local steps = ("step %d of %d"):format(self.step, self.steps)
  local loss = self.last and "loss " .. M.loss(self.last.loss) or "no line yet"
  local some = ("%s, %s, %s, %s"):format(percent, steps, loss, left)
  return { ("%s, %s, %s samples, %s, %s"):format(percent, steps, self.samples
    and provenance.grouped(self.samples) or "?", loss, left), some,
    ("%s, %s, %s"):format(percent, loss, left), ("%s, %s"):format(percent, left), percent }
end

return M
