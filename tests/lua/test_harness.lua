-- What counts as passed: the harness of tests in Lua (harness.lua), and tests/run.sh, which adds up
-- the results of all programs.

local t = require "harness"
local files = require "flowmap.base.files"
local sandbox = require "sandbox"

t.test("a test without a check, a NaN and a list of another length fail; a skipped test does not",
  function()
    local code, out = sandbox.lua [[
      local t, sandbox = require "harness", require "sandbox"
      t.test("good", function() t.eq({ 1, { a = 2 } }, { 1, { a = 2 } }) end)
      t.test("empty", function() for _ in ipairs {} do t.eq(1, 2) end end)
      t.test("left out", function() t.skip("left out", "nothing is there") end)
      t.test("lacking", function() sandbox.needs("sh", "no-such-program") end)
      t.test("unequal", function() t.eq({ 1 }, { 1, 2 }) end)
      t.test("far", function() t.near(1, 2, 0.5) end)
      t.test("not near", function() t.near(0 / 0, 0, 1) end)
      t.test("a NaN", function() t.near(t.furthest({ 0, 0 / 0, 0 }, { 0, 0, 0 }), 0, 1) end)
      t.test("longer", function() t.near(t.furthest({ 0, 0 }, { 0 }), 0, 1) end)
      t.test("no error", function() t.raises(function() end, "other words") end)
      t.test("another", function() t.raises(function() error "y" end, "other words") end)
      t.test("an object", function() t.eq(1, 1) error { code = "data" } end)
      t.done()]]
    t.eq(code, 1, out)
    t.eq(out:match "%d+ passed, %d+ failed\n$", "1 passed, 9 failed\n", out)
    for _, line in ipairs { "FAILED empty: it ended without a check",
      "ok 0 - left out # SKIP nothing is there",
      "ok 0 - lacking # SKIP no-such-program is not installed" } do
      t.eq(("\n" .. out):find("\n" .. line .. "\n", 1, true) ~= nil, true, line .. " in " .. out)
    end
  end)

t.test("run.sh: a program that crashes, hangs, or reports too little has failed", function()
  local commands, expected = {}, {}
  for name, it in pairs {
    good = { "echo 1..2; echo 'ok 1 - a'; echo 'ok 2 - b'", "ok", 2, 0, "" },
    bad = { "echo 1..2; echo 'ok 1 - a'; echo 'not ok 2 - b'; exit 1", "FAIL", 1, 1, "" },
    skipped = { "echo 1..2; echo 'ok 1 - a'; echo 'ok 2 - b # SKIP why'", "ok", 1, 0, "1 skipped" },
    short = { "echo 1..3; echo 'ok 1 - a'", "FAIL", 1, 2, "2 of 3 tests never reported" },
    none = { ":", "FAIL", 0, 1, "ran no tests, exit code 0" },
    after = { "echo '3 passed, 0 failed'; exit 3", "FAIL", 3, 1, "exit code 3" },
    crashed = { "echo '3 passed, 0 failed'; kill -KILL $$", "FAIL", 3, 1, "killed after 1 s" },
    broken = { "echo 'ok 1 - a'; kill -FPE $$", "FAIL", 1, 1, "killed by signal 8" },
    slow = { "sleep 9", "FAIL", 0, 1, "killed after 1 s" },
  } do
    sandbox.write(name, it[1] .. "\n")
    commands[#commands + 1] = ("'sh %s'"):format(name)
    expected[name] = { table.unpack(it, 2) }
  end
  local code, out = sandbox.run(("%s %s"):format(files.quote(sandbox.here .. "/tests/run.sh"),
    table.concat(commands, " ")), "FM_TEST_TIMEOUT=1 FM_TEST_JOBS=3")
  t.eq(code, 1, out)
  local found = {}
  for verdict, name, passed, failed, remark in out:gmatch
    "(%u*%l*) +sh (%l+) +(%d+) passed +(%d+) failed +%d+ s +([^\n]*)" do
    found[name] = { verdict, tonumber(passed), tonumber(failed), remark }
  end
  t.eq(found, expected, out)
  t.eq(("\n" .. out):find("\nb # SKIP why\n", 1, true) ~= nil, true, out)
  t.eq(out:match "[^\n]*\n$", "12 passed, 8 failed\n")
end)

t.done()
