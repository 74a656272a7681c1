--- The findings of the gate as JUnit XML and as TAP (Test Anything Protocol, version 13).
--
-- A result is { tier = "bits", name =, verdict = "pass", "fail" or "skip", text = a sentence,
-- seconds = (optional) }.
-- @module reports

local escape = require "flowmap.base.escape"

local M = {}

--- Count the results.
-- @tparam {table,...} results
-- @treturn table verdict -> count
function M.counts(results)
  local counts = { pass = 0, fail = 0, skip = 0 }
  for _, it in ipairs(results) do counts[it.verdict] = counts[it.verdict] + 1 end
  return counts
end

local function xml_case(it)
  local open = ('    <testcase classname="%s" name="%s" time="%.3f"'):format(escape.html(it.tier),
    escape.html(it.name), it.seconds or 0)
  local text = escape.html(it.text)
  if it.verdict == "fail" then
    return ('%s>\n      <failure message="%s"/>\n    </testcase>'):format(open, text)
  elseif it.verdict == "skip" then
    return ('%s>\n      <skipped message="%s"/>\n    </testcase>'):format(open, text)
  end
  return ("%s>\n      <system-out>%s</system-out>\n    </testcase>"):format(open, text)
end

--- JUnit XML: one suite, tiers as classes.
-- @tparam {table,...} results
-- @treturn string
function M.junit(results)
  local counts, seconds, parts = M.counts(results), 0, {}
  for i, it in ipairs(results) do
    seconds, parts[i] = seconds + (it.seconds or 0), xml_case(it)
  end
  local numbers = ('tests="%d" failures="%d" skipped="%d" time="%.3f"'):format(#results,
    counts.fail, counts.skip, seconds)
  return ('<?xml version="1.0" encoding="UTF-8"?>\n<testsuites %s>\n  <testsuite '
    .. 'name="flowmap regress" %s>\n%s\n  </testsuite>\n</testsuites>\n'):format(numbers, numbers,
    table.concat(parts, "\n"))
end

-- A description in TAP: # begins a directive, and \ escapes.
local function tap_text(text) return (escape.line(text):gsub("[\\#]", "\\%0")) end

--- TAP.
-- @tparam {table,...} results
-- @treturn string
function M.tap(results)
  local lines = { "TAP version 13", ("1..%d"):format(#results) }
  for i, it in ipairs(results) do
    local name = tap_text(("%s: %s"):format(it.tier, it.name))
    if it.verdict == "skip" then
      lines[#lines + 1] = ("ok %d - %s # SKIP %s"):format(i, name, tap_text(it.text))
    else
      lines[#lines + 1] = ("%s %d - %s"):format(it.verdict == "pass" and "ok" or "not ok", i, name)
      lines[#lines + 1] = "# " .. escape.line(it.text)
    end
  end
  return table.concat(lines, "\n") .. "\n"
end

return M
