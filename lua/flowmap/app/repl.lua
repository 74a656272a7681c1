--- The interactive prompt: Lua with `fm` defined; the value of an expression is printed.
-- @module flowmap.app.repl

local errors = require "flowmap.base.errors"

local M = {}

-- A function that reads a line, by readline where Debian's lua-readline is installed. Modules in
-- the current folder are not considered, because anyone may have put them there.
local function reader()
  local elsewhere = (";" .. package.path .. ";" .. package.cpath):gsub(";%.[^;]*", "")
  local ok, readline = false, nil
  if package.searchpath("readline", elsewhere) then ok, readline = pcall(require, "readline") end
  if ok and require("flowmap.core").isatty() then
    return function(prompt)
      local line = readline.readline(prompt)
      if line and #line > 0 then readline.add_history(line) end
      return line
    end
  end
  return function(prompt)
    io.stdout:write(prompt)
    io.stdout:flush()
    return io.read "l"
  end
end

local function compile(text, env)
  local chunk = load("return " .. text, "=prompt", "t", env)
  if chunk then return chunk end
  return load(text, "=prompt", "t", env)
end

-- Lua's message ends in "<eof>" when further lines could complete the chunk.
local function incomplete(text, env)
  local chunk, message = load(text, "=prompt", "t", env)
  return not chunk and message:find "<eof>$" ~= nil
end

local function say_error(err)
  local _, text = errors.explain(err)
  io.stdout:write("error: ", text, "\n")
end

local function show(ok, ...)
  if not ok then return say_error((...)) end
  local count, texts = select("#", ...), {}
  for i = 1, count do
    local fine, text = pcall(tostring, (select(i, ...))) -- the user's __tostring may fail
    if not fine then return say_error(text) end
    texts[i] = text
  end
  if count > 0 then io.stdout:write(table.concat(texts, "\t"), "\n") end
end

--- Evaluate a text as the prompt does.
-- @tparam string text
-- @tparam table env
-- @treturn boolean success
-- @return the values, or the error
function M.evaluate(text, env)
  local chunk, message = compile(text, env)
  if not chunk then return false, message end
  return pcall(chunk)
end

--- Read and evaluate lines until the input ends.
function M.run()
  local env = setmetatable({ fm = require "flowmap" }, { __index = _G })
  local read = reader()
  io.stdout:write("flowmap ", env.fm.info().version,
    "; fm is the library, fm.help() lists its operations; Ctrl-D exits\n")
  while true do
    local text = read "> "
    if not text then break end
    while incomplete(text, env) and not compile(text, env) do
      local more = read ">> "
      if not more then break end
      text = text .. "\n" .. more
    end
    if text:find "%S" then show(M.evaluate(text, env)) end
  end
  io.stdout:write "\n"
end

return M
