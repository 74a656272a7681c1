--- A pool of child processes on libuv. Children are started without a shell. Their output arrives
-- through pipes, requests to stop reach them as signals, and they end when this process does.
--
-- libuv's callbacks only queue events, so that `run` raises the errors of handlers. Each child has
-- a session of its own: Ctrl-C at the terminal reaches only this process, which then asks each
-- child once. (A second request would end a child while it saves.)
-- @module flowmap.app.children

local errors = require "flowmap.base.errors"
local signals = require "flowmap.app.signals"

local M = {}

local LONGEST = 65536 -- bytes of a line; longer lines are split
local APART = 300     -- milliseconds; signals closer together are one request (`timeout` sends two)
local GRACE = 10      -- ticks for which a grandchild may hold a pipe open after the child ended

local Pool = {}
Pool.__index = Pool

--- Create a pool.
-- @tparam table handlers optional functions: heard(task, line) for each line of output,
--   ended(task, code, signal), and tick() several times a second
-- @treturn Pool
function M.pool(handlers)
  return setmetatable({ uv = signals.uv(), handlers = handlers, queue = {}, running = {}, count = 0,
    requests = 0, handles = {} }, Pool)
end

local function push(pool, ...) pool.queue[#pool.queue + 1] = table.pack(...) end

local function call(pool, name, ...)
  local handler = pool.handlers[name]
  if handler then handler(...) end
end

-- Read a pipe; its data become events.
local function read_from(pool, child, pipe)
  child.pipes[#child.pipes + 1], child.open = pipe, child.open + 1
  pipe:read_start(function(_, data)
    push(pool, data and "data" or "closed", child, pipe, data)
  end)
end

--- Start a child.
-- @tparam table task passed to the handlers
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

-- Pass on the whole lines that came from one pipe; keep an incomplete line until its end arrives,
-- unless this is the `last` data.
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

-- A child has ended when its process has ended and all of its output has been read.
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

--- Ask every child to save and end; a second call ends them at once.
function Pool:stop()
  self.requests = self.requests + 1
  for child in pairs(self.running) do
    if not child.code then
      -- The second time, its whole session: it may be waiting for a child of its own.
      self.uv.kill(self.requests == 1 and child.pid or -child.pid,
        self.requests == 1 and "sigterm" or "sigkill")
    end
  end
end

-- Turn signals and the clock into events.
local function watch(pool, interval)
  local uv = pool.uv
  signals.watch(uv, pool.handles, function() push(pool, "signal") end)
  local timer = uv.new_timer()
  timer:start(interval, interval, function() push(pool, "tick") end)
  pool.handles[#pool.handles + 1] = timer
end

--- Run until no child is left and `more` starts no further one.
-- @tparam function more starts children; called whenever one may have ended, but not after `stop`
-- @tparam integer interval milliseconds between ticks
-- @treturn boolean whether `stop` was requested
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

--- Leave no child behind, however `run` ends, including by an error in a handler.
function Pool:__close()
  if self.requests == 0 and self.count > 0 then self:stop() end
  for _, handle in ipairs(self.handles) do
    if not handle:is_closing() then handle:close() end
  end
  self.handles = {}
  self.uv.run "nowait"
end

return M
