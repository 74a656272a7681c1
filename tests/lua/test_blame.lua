-- Errors in a user's own Lua: exit code 2, one sentence, file and line; never Lua's own words.

local t = require "harness"
local errors = require "flowmap.base.errors"
local meaning = require "flowmap.runs.meaning"
local sandbox = require "sandbox"

-- Run an experiment with this text; returns exit code and standard error.
local function run(text, arguments)
  sandbox.write("own.lua", meaning.returns(text) and text or text .. "\nreturn {}")
  return sandbox.flowmap((arguments or "run own.lua --profile smoke --out o --force")
    .. " 2>&1 >/dev/null")
end

local function with(losses)
  return ([[
return { name = "own", methods = { "mine" }, profiles = { smoke = { steps = 3, width = 8,
    batch = 32, eval_samples = 200, nfe = { 1 } } },
  losses = { mine = function(a)
    %s
  end } }]]):format(losses)
end

-- { the experiment, the expected sentence }
local CASES = {
  { "error()", "own.lua:1: error%(%) was called without a message" },
  { "\nerror({})", "own.lua:2: error%(%) was called with a table" },
  { "error(setmetatable({}, { __tostring = function() return 'mine' end }))", "own.lua:1: mine" },
  { "error(3)", "own.lua:1: .*3" },
  { "error ''", "own.lua:1: error%(%) was called with an empty text" },
  { "error(setmetatable({}, { __tostring = function() return '' end }))",
    "own.lua:1: error%(%) was called with an empty text" },
  { "error { code = 'usage' }", "own.lua:1: error%(%) was called with a table" },
  { "error 'no good'", "own.lua:1: no good" },
  { "\n\nlocal x = nil + 1", "own.lua:3: attempt to perform arithmetic" },
  { "return {", "own.lua:1: unexpected symbol" },
  { "local x = require 'no_such_module'", "own.lua:1: module 'no_such_module' not found$" },
  { "string.rep()", "own.lua:1: bad argument #1 to 'rep'" },
  { "local fm = require 'flowmap'\nfm.matmul(fm.ones{2,3}, fm.ones{2,3})", "own.lua:2: .*matmul" },
  { "require('flowmap').nothing()", "own.lua:1: fm.nothing: no such function" },
  { "return 5", "own.lua returns a number" },
  { "local function f() return f() + 1 end\nreturn f()", "own.lua:1: stack overflow" },
  { "coroutine.wrap(function() require('flowmap').interpolants.at(nil, 3) end)()",
    "own.lua:1: a function of the suite cannot use what it was given: attempt to index" },
  { "local f = coroutine.create(function() require('flowmap').interpolants.at(nil, 3) end)\n"
    .. "local _, e = coroutine.resume(f)\nerror(e, 0)", "own.lua:3: a function of the suite" },
  { "coroutine.wrap(function() local x = nil + 1 end)()", "own.lua:1: attempt to perform" },
  { with "error 'no good'", "own.lua:4: no good" },
  { with "return a.map + 1", "own.lua:4: attempt to perform arithmetic" },
  { with "return a.s .. a.t", "own.lua:4: the operator .. found" },
  { with "local x = require('flowmap').matmul(a.x, a.x); return x", "own.lua:4: .*matmul.*%(" },
  { with "error({})", "own.lua:4: error%(%) was called with a table" },
  { with "local v = a.map:v(a.s, a.t, a.x); return v", "own.lua:4: the function 'v' cannot use" },
  { with "return require('flowmap').losses.norm2(nil)", "the function 'norm2' cannot use what it" },
  { with "local x, d = a.map:dt(a.s, a.t); return x",
    "own.lua:4: a function of the suite cannot use" },
  { with "\n    return a.map .. 'mine'", "own.lua:5: attempt to concatenate .*field 'map'" },
  { with "local x = 'x'\n    return a.map .. x", "own.lua:5: attempt to concatenate" },
  { with "return a.s > 0 and a.x or a.t", "own.lua:4: the operator < or <= found" },
}

t.test("exit code 2 and one sentence that names file and line", function()
  for _, case in ipairs(CASES) do
    local code, said = run(case[1])
    t.eq(code, 2, case[1] .. ": " .. said)
    t.eq(said:gsub("\n$", ""):find("^flowmap: .*" .. case[2]) ~= nil, true, said)
    t.eq(select(2, said:gsub("\n", "")), 1, "one line: " .. said)
    t.eq(said:find "/lua/flowmap/", nil, said)
    t.eq(select(2, said:gsub("own%.lua:%d+:", "")) <= 1, true, "one line of the file: " .. said)
  end
end)

t.test("an error of Lua's in the suite's code that no user's code called is its own", function()
  local function noted(f, ...) -- on a stack without this file
    return select(3, coroutine.resume(coroutine.create(errors.pcall), f, ...))
  end
  local status, text = errors.explain(noted(require("flowmap.residuals").norm2, nil))
  t.eq(status, 1, text)
  t.eq(text:find "^internal error: .*residuals.lua:%d+: attempt to index .*%-%-traceback" ~= nil,
    true, text)
  status, text = errors.explain(noted(require, "no_such_module"))
  t.eq(status, 2, text)
  t.eq(text:find "^the Lua module 'no_such_module' is not installed" ~= nil, true, text)
end)

t.test("--traceback shows the user's stack, through our own calls", function()
  local code, said = run(with "local function inner() error 'no good' end; inner()",
    "--traceback run own.lua --profile smoke --out o --force")
  t.eq(code, 2)
  t.eq(said:find "own.lua:4: no good\nstack traceback:" ~= nil, true, said)
  t.eq(said:find "own.lua:4: in .-inner" ~= nil, true, said)
end)

t.test("every command that loads an experiment", function()
  for _, command in ipairs { "run own.lua", "reproduce own.lua", "params own.lua",
    "explain own.lua", "reproduce own.lua --dry-run" } do
    local code, said = run("\nerror {}", command)
    t.eq(code, 2, command .. said)
    t.eq(said:find "^flowmap: own.lua:2: error%(%) was called with a table" ~= nil, true, said)
  end
end)

t.test("modules of the suite under their former names: where they are now", function()
  for old, new in pairs { metrics = "measure.metrics", images = "experiment.image_template",
    ["features.cnn"] = "measure.features.cnn", ["data.images.places"] = "data.packed.places" } do
    local code, said = run(with('require "flowmap.%s"'):format(old))
    t.eq(code, 2, said)
    t.eq(said:find(("module 'flowmap.%s' not found (it is now flowmap.%s)"):format(old, new), 1,
      true) ~= nil, true, said)
  end
end)

t.test("without LUA_PATH's own ';;' the suite still finds itself", function()
  local code, said = sandbox.flowmap("info", "LUA_PATH=/none/?.lua")
  t.eq(code, 0, said)
end)

t.test("a lack of memory is told from other reasons, also by the loader of libraries", function()
  local library = "error loading module 'x' from file 'x.so':\n\tx.so: cannot open shared "
    .. "object file"
  for text, want in pairs {
    ["cannot read x: Cannot allocate memory"] = true, ["not enough memory"] = true,
    [library] = true, [library .. "\n"] = true,
    [library .. ": No such file or directory"] = false, ["cannot read x: Is a directory"] = false,
  } do
    t.eq(errors.of_memory(text), want, text)
  end
end)

t.test("an unknown name of the command line is not blamed on a line of the file", function()
  local text = [[
return { name = "own", profiles = { smoke = { steps = 3 } },
  metrics = { mine = function() return 1 end },
  render = { { kind = "compare", name = "kl", metric = "kl", title = "A" } } }]]
  for set, words in pairs { ["metrics=nan"] = "unknown metric 'nan'",
    ["metrics=mine,nan"] = "unknown metric 'nan'", ["net=nan"] = "unknown net 'nan'" } do
    local code, out = run(text, "run own.lua --profile smoke --out o --set " .. set)
    t.eq({ code, (out:find("flowmap: " .. words, 1, true)) }, { 2, 1 }, out)
  end
end)

t.done()
