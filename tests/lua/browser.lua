--- Chromium without a window, controlled by its debugging protocol through two pipes: JSON messages
-- that end in zero bytes.
-- @module browser

local json = require "flowmap.base.json"
local uv = require "luv"

local M = {}

--- Seconds for an answer; a busy machine takes long to start it.
M.patience = 120

local Browser = {}
Browser.__index = Browser

local function receive(self, data)
  self.text = self.text .. data
  local stop = self.text:find("\0", 1, true)
  while stop do
    self.heard[#self.heard + 1] = json.decode(self.text:sub(1, stop - 1))
    self.text = self.text:sub(stop + 1)
    stop = self.text:find("\0", 1, true)
  end
end

--- Start it.
-- @tparam string profile a folder for its files
-- @treturn Browser to be closed
function M.start(profile)
  local self = setmetatable({ out = uv.new_pipe(), into = uv.new_pipe(), text = "", heard = {},
    number = 0 }, Browser)
  self.process = assert(uv.spawn("chromium", { args = { "--headless", "--no-sandbox",
    "--disable-gpu", "--hide-scrollbars", "--user-data-dir=" .. profile,
    "--remote-debugging-pipe" }, stdio = { nil, nil, nil, self.into, self.out } },
    function() self.over = true end))
  self.out:read_start(function(_, data)
    if data then receive(self, data) else self.over = true end
  end)
  local target = self:call("Target.createTarget", { url = "about:blank" }).targetId
  self.session = self:call("Target.attachToTarget", { targetId = target, flatten = true }).sessionId
  return self
end

-- Run the loop until a condition holds.
local function await(self, what, condition)
  local timer, late = uv.new_timer(), false
  timer:start(1000 * M.patience, 0, function() late = true end)
  local found = condition()
  while not found and not late and not self.over do
    uv.run "once"
    found = condition()
  end
  timer:close()
  return found or error(("chromium gave no answer to %s"):format(what), 0)
end

--- Call a method of the protocol.
-- @tparam string method
-- @tparam table params not empty
-- @treturn table the result
function Browser:call(method, params)
  self.number = self.number + 1
  local number = self.number
  self.into:write(json.encode { id = number, method = method, params = params,
    sessionId = self.session } .. "\0")
  local answer = await(self, method, function()
    for k, message in ipairs(self.heard) do
      if message.id == number then return table.remove(self.heard, k) end
    end
  end)
  if answer.error then error(method .. ": " .. answer.error.message, 0) end
  return answer.result
end

--- The value of a JavaScript expression on the page.
-- @tparam string expression
function Browser:value(expression)
  local it = self:call("Runtime.evaluate", { expression = expression, returnByValue = true,
    awaitPromise = true })
  if it.exceptionDetails then error(expression .. ": " .. json.encode(it.exceptionDetails), 0) end
  return it.result.value
end

--- Wait until an expression is true.
-- @tparam string expression
function Browser:wait(expression)
  local pause = "new Promise((done) => setTimeout(done, 100))"
  local from = uv.hrtime()
  local function holds()
    local ok, value = pcall(self.value, self, expression) -- a page that is left has no values
    return ok and value
  end
  while not holds() do
    pcall(self.value, self, pause)
    if uv.hrtime() - from > M.patience * 1e9 then error("it stays false: " .. expression, 0) end
  end
end

--- Show a page in a window of a size.
-- @tparam string url
-- @tparam integer width
-- @tparam integer height
function Browser:open(url, width, height)
  self:call("Emulation.setDeviceMetricsOverride", { width = width, height = height,
    deviceScaleFactor = 1, mobile = width < 600 })
  self:value "window.left = true"
  self:call("Page.navigate", { url = url })
  self:wait(("!window.left && location.href === %q && document.readyState === 'complete'")
    :format(url))
end

--- A picture of the page as PNG, in base 64.
-- @treturn string
function Browser:picture()
  return self:call("Page.captureScreenshot", { format = "png" }).data
end

--- End it.
function Browser:close()
  if not self.process:is_closing() then
    self.process:kill "sigkill"
    self.process:close()
  end
  for _, pipe in ipairs { self.into, self.out } do
    if not pipe:is_closing() then pipe:close() end
  end
  uv.run "nowait"
end

Browser.__close = Browser.close

return M
