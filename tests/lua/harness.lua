--- A small test harness: local t = require "harness"; t.test(name, fn) ...; t.done(). A test that
-- ends without having reached a check has failed: its loop was empty, or its way led around it.
-- @module harness

local M = {}

local passed, failed = 0, 0

-- In the test that runs: how many checks were reached, and whether it was skipped.
local reached, skipped = 0, false

local function failure(name, message)
  failed = failed + 1
  io.stderr:write("FAILED ", name, ": ", tostring(message), "\n")
end

--- Run one test; an error in it is a failure, unless its field `skip` says why it cannot be run.
-- @tparam string name
-- @tparam function fn
function M.test(name, fn)
  reached, skipped = 0, false
  local ok, message = xpcall(fn, function(err)
    return type(err) == "table" and err or debug.traceback(tostring(err), 2)
  end)
  if not ok and type(message) == "table" and message.skip then
    M.skip(name, message.skip)
  elseif not ok then
    failure(name, message)
  elseif reached > 0 then
    passed = passed + 1
  elseif not skipped then
    failure(name, "it ended without a check")
  end
end

--- Say that a test, or the rest of it, is not run, and why.
-- @tparam string name
-- @tparam string why a sentence
function M.skip(name, why)
  skipped = true
  print(("ok 0 - %s # SKIP %s"):format(name, why))
end

local function show(value)
  if type(value) ~= "table" then return tostring(value) end
  local keys, parts = {}, {}
  for k in pairs(value) do keys[#keys + 1] = k end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  for i, k in ipairs(keys) do parts[i] = tostring(k) .. " = " .. show(value[k]) end
  return "{" .. table.concat(parts, ", ") .. "}"
end

local function equal(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b end
  for k, v in pairs(a) do
    if not equal(v, b[k]) then return false end
  end
  for k in pairs(b) do
    if a[k] == nil then return false end
  end
  return true
end

--- Check that two values are equal; tables are compared by their contents.
-- @param found
-- @param expected
-- @tparam[opt] string what for the message
function M.eq(found, expected, what)
  reached = reached + 1
  if not equal(found, expected) then
    error(("%sexpected %s, found %s"):format(what and what .. ": " or "", show(expected),
      show(found)), 2)
  end
end

--- Check that a text contains some words, as they are written.
-- @tparam string text
-- @tparam string words
function M.has(text, words)
  reached = reached + 1
  if not text:find(words, 1, true) then error(("%q is not in:\n%s"):format(words, text), 2) end
end

--- Check that two numbers are close.
-- @tparam number found
-- @tparam number expected
-- @tparam number bound on the absolute difference
-- @tparam[opt] string what for the message
function M.near(found, expected, bound, what)
  reached = reached + 1
  local off = math.abs(found - expected)
  if off > bound or off ~= off then
    error(("%sexpected %.12g within %g, found %.12g"):format(what and what .. ": " or "", expected,
      bound, found), 2)
  end
end

--- The largest absolute difference of two lists of numbers; NaN if one of them holds a NaN.
-- @tparam {number,...} found
-- @tparam {number,...} expected of the same length
-- @treturn number
function M.furthest(found, expected)
  M.eq(#found, #expected, "length")
  local worst = 0
  for k, value in ipairs(found) do
    local off = math.abs(value - expected[k])
    if off > worst or off ~= off then worst = off end
  end
  return worst
end

--- Check that a function fails with a message that matches a pattern.
-- @tparam function fn
-- @tparam string pattern a Lua pattern
-- @return the error
function M.raises(fn, pattern)
  reached = reached + 1
  local ok, err = pcall(fn)
  if ok then error("expected an error that matches " .. pattern .. ", found none", 2) end
  local message = type(err) == "table" and err.message -- without the place
  if not tostring(err):find(pattern) and not (message and message:find(pattern)) then
    error(("expected an error that matches '%s', found '%s'"):format(pattern, tostring(err)), 2)
  end
  return err
end

--- Report the results and exit with code 1 if a test failed.
function M.done()
  print(("%d passed, %d failed"):format(passed, failed))
  os.exit(failed == 0 and 0 or 1, true)
end

return M
