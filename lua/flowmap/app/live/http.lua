--- A page for a browser on this machine, over HTTP by libuv: bound to 127.0.0.1, GET of exact paths
-- only. A request is another program's text: nothing in it names a file, every connection has
-- limits of bytes and time, and closes after one answer. The header Host must name this machine:
-- without that, a page of another site could read ours under a name that it directs here (DNS
-- rebinding).
-- @module flowmap.app.live.http

local errors = require "flowmap.base.errors"
local signals = require "flowmap.app.signals"
local texts = require "flowmap.base.text"

local M = {}

--- Limits. Times are milliseconds.
M.limits = {
  connections = 64, -- at one time; further ones are closed at once
  bytes = 8192,     -- of a request up to its empty line
  request = 5000,   -- from the connection to that line
  answer = 10000,   -- to send an answer to a client that reads slowly
  linger = 2000,    -- after the answer, for the client to close first
}

local SWEEP = 250 -- milliseconds between looks at the times

local REASONS = { [200] = "OK", [400] = "Bad Request", [403] = "Forbidden", [404] = "Not Found",
  [405] = "Method Not Allowed", [408] = "Request Timeout",
  [431] = "Request Header Fields Too Large", [500] = "Internal Server Error" }

-- The page may load only what comes from here, and nothing may embed it.
local HEADERS = table.concat({
  "Cache-Control: no-store",
  "Connection: close",
  "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; "
    .. "connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; "
    .. "frame-ancestors 'none'",
  "Cross-Origin-Opener-Policy: same-origin",
  "Cross-Origin-Resource-Policy: same-origin",
  "Referrer-Policy: no-referrer",
  "X-Content-Type-Options: nosniff",
  "X-Frame-Options: DENY",
}, "\r\n") .. "\r\n"

-- ------------------------------------------------------------------ requests

local TOKEN = "[%w!#$%%&'*+.^_`|~-]+"

-- The fields of a request's header, names in lower case; nil if a line is malformed, or if Host is
-- there twice.
local function fields_of(head)
  local fields = {}
  for line in head:gmatch "([^\r\n]*)\r\n" do
    local name, value = line:match("^(" .. TOKEN .. "):[ \t]*(.-)[ \t]*$")
    if not name or value:find "[%z\1-\8\10-\31\127]" then return nil end
    name = name:lower()
    if name == "host" and fields.host then return nil end
    fields[name] = value
  end
  return fields
end

local function is_ours(host, port)
  local name, number = host:lower():match "^([^:]*):?(%d*)$"
  if name ~= "127.0.0.1" and name ~= "localhost" then return false end
  return number == "" and port == 80 or tonumber(number) == port
end

-- Whether a page of another site asks. A link from there may open ours.
local function is_foreign(fields)
  local site = fields["sec-fetch-site"]
  return (site == "cross-site" or site == "same-site") and fields["sec-fetch-mode"] ~= "navigate"
end

--- Read a request.
-- @tparam string text up to and including the empty line
-- @tparam integer port ours
-- @treturn integer status; 200: it may be answered
-- @treturn ?string the path without what follows "?", or a sentence if the status is another one
function M.parse(text, port)
  local method, target, version, head = text:match "^(%u+) (%S+) HTTP/1%.([01])\r\n(.*)\r\n$"
  local fields = version and fields_of(head)
  if not fields then return 400, "this is not an HTTP request" end
  if method ~= "GET" then return 405, "only GET is answered" end
  if not fields.host then return 400, "the request has no Host" end
  if not is_ours(fields.host, port) then
    return 403, "only requests to 127.0.0.1 or localhost are answered"
  elseif is_foreign(fields) then
    return 403, "requests of other sites are not answered"
  end
  return 200, target:match "^[^?#]*"
end

-- ------------------------------------------------------------------ connections

local Server = {}
Server.__index = Server

local function push(self, ...) self.queue[#self.queue + 1] = table.pack(...) end

local function close(self, client)
  if self.clients[client] then
    self.clients[client], self.count = nil, self.count - 1
  end
  if not client.tcp:is_closing() then client.tcp:close() end
end

-- Send an answer; then wait until the client closes, so that what it still sends does not destroy
-- the answer on its way.
local function send(self, client, status, kind, body)
  client.state, client.deadline = "answering", self.uv.now() + M.limits.answer
  local head = ("HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n%s%s\r\n"):format(
    status, REASONS[status], kind, #body, status == 405 and "Allow: GET\r\n" or "", HEADERS)
  client.tcp:write({ head, body }, function(err) push(self, err and "broken" or "sent", client) end)
end

local function refuse(self, client, status, sentence)
  send(self, client, status, "text/plain; charset=utf-8", sentence .. "\n")
end

local function answer(self, client, path)
  local ok, kind, body = errors.pcall(self.answer, path)
  if not ok then
    io.stderr:write("flowmap: ", texts.line(path, 200), ": ", select(2, errors.explain(kind)), "\n")
    return refuse(self, client, 500, "the answer failed; the terminal says why")
  elseif not kind then
    return refuse(self, client, 404, "there is no such page")
  end
  send(self, client, 200, kind, body)
end

local events = {}

function events.data(self, client, data)
  if client.state ~= "reading" then return end
  client.text = client.text .. data
  local _, last = client.text:find("\r\n\r\n", 1, true)
  if (last or #client.text) > M.limits.bytes then
    return refuse(self, client, 431, "the request is too long")
  end
  if not last then return end
  local status, path = M.parse(client.text:sub(1, last), self.port)
  client.text = ""
  if status ~= 200 then return refuse(self, client, status, path) end
  answer(self, client, path)
end

-- The client has closed its side. It may still read: an answer that is under way is completed.
function events.ended(self, client)
  client.ended = true
  if client.state ~= "answering" then close(self, client) end
end

events.broken = close

function events.sent(self, client)
  if client.tcp:is_closing() then return end
  if client.ended then return close(self, client) end
  client.state, client.deadline = "lingering", self.uv.now() + M.limits.linger
  client.tcp:shutdown()
end

function events.connected(self, tcp)
  if self.count >= M.limits.connections then return tcp:close() end
  local client = { tcp = tcp, text = "", state = "reading",
    deadline = self.uv.now() + M.limits.request }
  self.clients[client], self.count = true, self.count + 1
  tcp:read_start(function(err, data)
    push(self, err and "broken" or data and "data" or "ended", client, data)
  end)
end

-- Close what is overdue.
local function sweep(self)
  local now = self.uv.now()
  for client in pairs(self.clients) do
    if now > client.deadline then
      if client.state == "reading" and client.text ~= "" then
        refuse(self, client, 408, "the request took too long")
      else
        close(self, client)
      end
    end
  end
end

function events.stop(self) self.stopped = true end

-- ------------------------------------------------------------------ the server

local function fail(port, name, message)
  if name == "EADDRINUSE" then
    errors.usage("serve: port %d is in use by another program; --port names another, and 0 takes "
      .. "one that is free", port)
  elseif name == "EACCES" then
    errors.usage("serve: port %d needs root privileges; --port names another", port)
  end
  errors.data("serve: cannot listen at port %d: %s", port, tostring(message))
end

-- libuv reports an error as nil, "NAME: message", "NAME".
local function check(port, ok, message, name)
  if not ok then fail(port, name, message) end
end

local function listen(self, port)
  local tcp = self.uv.new_tcp()
  self.handles[#self.handles + 1] = tcp
  check(port, tcp:bind("127.0.0.1", port))
  check(port, tcp:listen(128, function(err)
    if err then return end
    local client = self.uv.new_tcp()
    if tcp:accept(client) then push(self, "connected", client) else client:close() end
  end))
  self.port = tcp:getsockname().port
end

--- Start to listen.
-- @tparam table uv
-- @tparam integer port 0: any that is free
-- @tparam function answer_of path -> content type and body, or nil if there is no such page
-- @treturn Server to be closed; its field `port`
function M.listen(uv, port, answer_of)
  local self = setmetatable({ uv = uv, answer = answer_of, queue = {}, clients = {}, count = 0,
    handles = signals.handles(uv) }, Server)
  local ok, err = errors.pcall(listen, self, port)
  if not ok then
    self:__close()
    error(err, 0)
  end
  return self
end

-- Take what has arrived, waiting for it or not ("once", "nowait").
local function take(self, how)
  self.uv.run(how)
  local queue = self.queue
  self.queue = {}
  for _, event in ipairs(queue) do
    events[event[1]](self, table.unpack(event, 2, event.n))
  end
end

--- Answer requests until a signal arrives.
-- @tparam function ready called when signals are handled
function Server:run(ready)
  local uv = self.uv
  signals.watch(uv, self.handles, function() push(self, "stop") end)
  ready()
  local timer = uv.new_timer()
  self.handles[#self.handles + 1] = timer
  local due = false
  timer:start(SWEEP, SWEEP, function() due = true end)
  while not self.stopped do
    take(self, "once")
    if due then
      take(self, "nowait") -- what has arrived while this process had to wait is not late
      sweep(self)
    end
    due = false
  end
end

function Server:__close()
  for client in pairs(self.clients) do client.tcp:close() end
  self.clients = {}
  local handles <close> = self.handles -- luacheck: ignore
end

return M
