--- Child processes, some at a time, by libuv. There is no shell between: a child's output arrives
-- through pipes, a request to stop goes to it as a signal, and it ends when this process does.
--
-- libuv's callbacks only put events into a queue, so that an error in a handler is raised by `run`.
-- Each child has a session of its own: Ctrl-C at the terminal reaches this process alone, which
-- asks each child once. (Two requests would end a child that is saving.)
-- @module flowmap.app.children

local errors = require "flowmap.base.errors"
local files = require "flowmap.base.files"

local M = {}

local LONGEST = 65536 -- bytes of a line; what is longer is broken
local APART = 300     -- milliseconds: closer signals are one request (`timeout` sends two)
local GRACE = 10      -- ticks for which output may outlive its process, in one of its own

local Pool = {}
Pool.__index = Pool

--- A pool.
-- @tparam table handlers functions of a task, any of which may be missing:
--   heard(task, line) for each line of output; ended(task, code, signal); tick() several times a
--   second
-- @treturn Pool
function M.pool(handlers)
  local ok, uv = pcall(require, "luv")
  if not ok then
    errors.usage("the Lua module luv is not installed; .ci/deps.sh installs it")
  end
  return setmetatable({ uv = uv, handlers = handlers, queue = {}, running = {}, count = 0,
    requests = 0, handles = {} }, Pool)
end

local function push(pool, ...) pool.queue[#pool.queue + 1] = table.pack(...) end

local function call(pool, name, ...)
  local handler = pool.handlers[name]
  if handler then handler(...) end
end

-- A pipe whose data become events.
local function read_from(pool, child, pipe)
  child.pipes[#child.pipes + 1], child.open = pipe, child.open + 1
  pipe:read_start(function(_, data)
    push(pool, data and "data" or "closed", child, pipe, data)
  end)
end

--- Start a child.
-- @tparam table task what handlers get
-- @tparam string program
-- @tparam {string,...} arguments
function Pool:start(task, program, arguments)
  local uv = self.uv
  local out, err = uv.new_pipe(), uv.new_pipe()
  local child = { task = task, open = 0, pipes = {}, rest = {} }
  local handle, pid = uv.spawn(program, { args = arguments, stdio = { nil, out, err },
    detached = true }, function(code, signal) push(self, "exit", child, code, signal) end)
  if not handle then
    out:close()
    err:close()
    errors.usage("cannot start %s: %s", program, tostring(pid))
  end
  child.handle, child.pid = handle, pid
  self.running[child], self.count = true, self.count + 1
  read_from(self, child, out)
  read_from(self, child, err)
end

-- Whole lines of what came from one pipe; the rest waits for more, unless it is the last.
local function tell_lines(pool, child, pipe, data, last)
  local text = (child.rest[pipe] or "") .. data
  local at = 1
  for line, past in text:gmatch "([^\n]*)\n()" do
    call(pool, "heard", child.task, line)
    at = past
  end
  local rest = text:sub(at)
  if rest ~= "" and (last or #rest > LONGEST) then
    call(pool, "heard", child.task, rest)
    rest = ""
  end
  child.rest[pipe] = rest
end

-- A child has ended when its process has and all its output was read.
local function check_end(pool, child)
  if not child.code or child.open > 0 or not pool.running[child] then return end
  pool.running[child], pool.count = nil, pool.count - 1
  child.handle:close()
  call(pool, "ended", child.task, child.code, child.signal)
end

local events = {}

function events.data(pool, child, pipe, data) tell_lines(pool, child, pipe, data, false) end

function events.closed(pool, child, pipe)
  if pipe:is_closing() then return end
  pipe:close()
  child.open = child.open - 1
  tell_lines(pool, child, pipe, "", true)
  check_end(pool, child)
end

function events.exit(pool, child, code, signal)
  child.code, child.signal, child.grace = code, signal, GRACE
  check_end(pool, child)
end

function events.signal(pool)
  local now = pool.uv.now()
  if now - (pool.asked or -APART) >= APART then pool:stop() end
  pool.asked = now
end

function events.tick(pool)
  for child in pairs(pool.running) do
    if child.code then child.grace = child.grace - 1 end
    for _, pipe in ipairs(child.code and child.grace < 0 and child.pipes or {}) do
      events.closed(pool, child, pipe)
    end
  end
  call(pool, "tick")
end

--- Ask every child to save and end; asked again, end them at once.
function Pool:stop()
  self.requests = self.requests + 1
  for child in pairs(self.running) do
    if not child.code then
      -- The second time its whole session: it may wait for a process of its own.
      self.uv.kill(self.requests == 1 and child.pid or -child.pid,
        self.requests == 1 and "sigterm" or "sigkill")
    end
  end
end

-- Whether a signal was ignored when this process began (`nohup`, a shell's `&`), as it stays then.
local function ignored(number)
  local mask = (files.read "/proc/self/status" or ""):match "SigIgn:%s*(%x+)"
  return mask ~= nil and tonumber(mask, 16) >> (number - 1) & 1 == 1
end

local SIGNALS = { sighup = 1, sigint = 2, sigterm = 15 }

-- Signals and the clock, as events.
local function watch(pool, interval)
  local uv = pool.uv
  for name, number in pairs(SIGNALS) do
    if not ignored(number) then
      local handle = uv.new_signal()
      handle:start(name, function() push(pool, "signal") end)
      pool.handles[#pool.handles + 1] = handle
    end
  end
  local timer = uv.new_timer()
  timer:start(interval, interval, function() push(pool, "tick") end)
  pool.handles[#pool.handles + 1] = timer
end

--- Work until nothing runs and `more` starts nothing further.
-- @tparam function more starts children; called whenever one may have ended, not after `stop`
-- @tparam integer interval milliseconds between ticks
-- @treturn boolean whether it was asked to stop
function Pool:run(more, interval)
  local guard <close> = self
  watch(self, interval)
  while true do
    if self.requests == 0 then more() end
    if self.count == 0 then break end
    self.uv.run "once"
    local queue = self.queue
    self.queue = {}
    for _, event in ipairs(queue) do
      events[event[1]](self, table.unpack(event, 2, event.n))
    end
    if self.requests > 1 then break end
  end
  return guard.requests > 0
end

--- Whatever ends `run`, an error of a handler too: no child stays.
function Pool:__close()
  if self.requests == 0 and self.count > 0 then self:stop() end
  for _, handle in ipairs(self.handles) do
    if not handle:is_closing() then handle:close() end
  end
  self.handles = {}
  self.uv.run "nowait"
end

return M
