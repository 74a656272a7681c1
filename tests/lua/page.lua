--- Commands on a page with the output that it shows, and whether a real output is like that. A
-- command without an output on the page may print anything. In an output "..." stands for any text,
-- alone on a line for any lines; numbers with a decimal point agree to a tenth.
-- @module page

local t = require "harness"

local M = {}

-- Whether a line is as expected: word by word.
local function line_fits(expected, found)
  local wanted, words = {}, {}
  for word in expected:gmatch "%S+" do wanted[#wanted + 1] = word end
  for word in found:gmatch "%S+" do words[#words + 1] = word end
  local function fits(i, k)
    if i > #wanted then return k > #words end
    if wanted[i] == "..." then
      for next = k, #words + 1 do
        if fits(i + 1, next) then return true end
      end
      return false
    end
    if k > #words then return false end
    local a, b = wanted[i], words[k]
    local x, y = a:find "%d%." and tonumber(a), tonumber(b)
    local same = a == b or x and y and math.abs(x - y) <= 0.1 * math.abs(x) + 1e-12
    return same and fits(i + 1, k + 1)
  end
  return fits(1, 1)
end

-- The first expected line that was not found, or what follows the last one where nothing should;
-- nil if all is as expected. Lines alone are "...": greedy.
local function missing(expected, output)
  local lines, at, skip = {}, 1, false
  for line in output:gmatch "([^\n]*)\n?" do lines[#lines + 1] = line end
  for _, line in ipairs(expected) do
    if line == "..." then
      skip = true
    else
      while skip and lines[at] and not line_fits(line, lines[at]) do at = at + 1 end
      if not lines[at] or not line_fits(line, lines[at]) then return line end
      at, skip = at + 1, false
    end
  end
  local rest = not skip and #expected > 0 and table.concat(lines, "\n", at) or ""
  return rest:find "%S" and "the end, in place of: " .. rest or nil
end

--- The commands of a block: "$ command", each followed by its output.
-- @tparam string body
-- @treturn {table,...} { command =, [1..] = expected lines }
function M.commands(body)
  local list = {}
  for line in body:gmatch "([^\n]*)\n" do
    local command = line:match "^%$ (.*)$"
    if command then
      list[#list + 1] = { command = command }
    else
      table.insert(list[#list], line)
    end
  end
  return list
end

--- That a command did as the page says.
-- @tparam table it one of `commands`
-- @tparam integer code its exit code
-- @tparam string out its output
function M.check(it, code, out)
  t.eq(code, 0, it.command .. ": " .. out)
  t.eq(missing(it, out), nil, ("what '%s' does not print as the page says; it prints:\n%s"):format(
    it.command, out))
end

return M
