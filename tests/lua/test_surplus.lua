-- Arguments that Lua would take without a word: booleans that are none, more than there are, and
-- fields of a table that nothing reads.

local t = require "harness"
local core = require "flowmap.core"
local files = require "flowmap.base.files"
local fm = require "flowmap"
local sandbox = require "sandbox"

local function said(f, ...)
  local ok, err = pcall(f, ...)
  t.eq(ok, false)
  return tostring(err):gsub("^%S+:%d+: ", "")
end

local x = core.tensor { { 1, 2 }, { 3, 4 } }

t.test("a boolean is true or false, or nil where it is optional", function()
  for _, wrong in ipairs { 0, 1, "true", {} } do
    t.eq(said(core.matmul, x, x, wrong):find("matmul: argument 3 (ta) is ", 1, true), 1)
  end
  t.eq(said(core.matmul, x, x, 0), "matmul: argument 3 (ta) is 0, expected true or false")
  t.eq(said(core.matmul, x, x, true, "no"),
    "matmul: argument 4 (tb) is the string 'no', expected true or false")
  t.eq(said(core.save_safetensors, "x", {}, {}, 0),
    "save_safetensors: argument 4 (keep) is 0, expected true or false")
  t.eq(core.matmul(x, x, nil, nil):totable(), core.matmul(x, x):totable())
end)

t.test("nil in place of an optional argument leaves later ones in their places", function()
  t.eq(core.matmul(x, x, nil, true):totable(), core.matmul(x, x, false, true):totable())
end)

t.test("every operation refuses one argument more than it has", function()
  local tried = 0
  for _, op in ipairs(core.ops()) do
    local n = #op.args:gsub("|", "")
    if core[op.name] and n > 0 then
      local words = said(core[op.name], table.unpack({}, 1, n + 1))
      t.eq(words, ("%s: %d arguments found, expected at most %d"):format(op.name, n + 1, n))
      tried = tried + 1
    end
  end
  t.eq(tried > 40, true)
end)

-- Those that are C functions before any module of the library replaces them.
local ANY_NUMBER = { get = true }

t.test("every other function of the core does so, too", function()
  local code, out = sandbox.lua [[
local core, tried = require "flowmap.core", 0
for name, f in pairs(core) do
  if type(f) == "function" and debug.getinfo(f, "S").what == "C" then
    tried = tried + 1
    local ok, err = pcall(f, table.unpack({}, 1, 20))
    if not tostring(err):find(name .. ": 20 arguments found, expected at most", 1, true) then
      print(name)
    end
  end
end
print(tried)
]]
  t.eq(code, 0, out)
  local names, tried = out:match "^(.-)(%d+)\n$"
  t.eq(tonumber(tried) > 100, true, out)
  for name in names:gmatch "%S+" do t.eq(ANY_NUMBER[name], true, name) end
end)

t.test("functions written in Lua refuse what they would drop", function()
  t.eq(said(fm.sum, x, 1, 0), "sum: keepdims is a number, expected true or false")
  t.eq(said(fm.matmul, x, x, true, false, 1), "matmul: 5 arguments found, expected at most 4")
  t.eq(said(fm.grad, fm.sum, x), "grad: 2 arguments found, expected at most 1")
  t.eq(said(fm.zeros, 2, "float32", 3), "zeros: 3 arguments found, expected at most 2")
end)

t.test("methods refuse what they would drop", function()
  local trace = core.trace()
  local function refused(words, f) t.eq(said(f), words) end
  refused("input: 4 arguments found, expected at most 3", function()
    return trace:input("rows", { 2 }, "float32", 1)
  end)
  refused("uniform: 4 arguments found, expected at most 3", function()
    return trace:uniform({ 2 }, "s", "float32", 1)
  end)
  refused("vjp: 4 arguments found, expected at most 3", function()
    return trace:vjp({}, {}, {}, {})
  end)
  trace:output(trace:full({}, 1), "sum")
  local exe = core.exe({ trace }, { 1 }, { 0, 1 })
  refused("stats: 1 argument found, expected at most 0", function() return exe:stats(1) end)
  refused("run: 5 arguments found, expected at most 4", function()
    return exe:run({}, 0, 0, {}, 1)
  end)
  local own = core.optim({}, { core.full({ 2 }, 1) })
  refused("steps: 2 arguments found, expected at most 1", function() return own:steps(1, 2) end)
  local pack = core.pack(sandbox.root .. "/p", { count = 1, shape = { 2, 2, 3 }, train = 1 })
  refused("finish: 1 argument found, expected at most 0", function() return pack:finish(1) end)
  pack:close()
  local program = fm.program(function(p) return { sum = p } end, { shared = fm.ones { 2 } })
  refused("program: run: 2 arguments found, expected at most 1", function()
    return program:run({ batch = 2 }, 1)
  end)
  local nested = fm.optimiser { params = { fm.ones { 2 } } }
  refused("optimiser: update: 4 arguments found, expected at most 3", function()
    return nested:update({}, 1, 1, 1)
  end)
end)

t.test("every method of an object of the core refuses surplus arguments", function()
  local trace, root, tried = core.trace(), sandbox.root, 0
  trace:output(trace:full({}, 1), "sum")
  local objects = {
    trace, core.exe({ trace }, { 1 }, { 0, 1 }), core.optim({}, { core.full({ 2 }, 1) }),
    core.pack(root .. "/q", { count = 1, shape = { 2, 2, 3 }, train = 1 }), core.source(root),
    core.lock(root .. "/lock"), (select(2, core.private_folder())),
  }
  for k, object in ipairs(objects) do
    for name, method in pairs(debug.getmetatable(object).__index) do
      local words = said(method, object, table.unpack({}, 1, 20))
      t.eq(words:find "^%S+: 20 arguments found, expected at most %d" ~= nil, true,
        ("%d %s: %s"):format(k, name, words))
      tried = tried + 1
    end
    if object.close then object:close() end
  end
  t.eq(tried > 30, true)
end)

t.test("unknown options of programs, optimisers and random numbers", function()
  local rows, w = fm.ones { 4, 2 }, { fm.ones { 2 } }
  local function twice(_, b) return { rows = { y = b.rows.x * 2 } } end
  local spec = { rows = { x = { 2 } }, micro = 2 }
  local p = fm.program(twice, spec)
  p:run { rows = { x = rows }, batch = 4, seed = 1, step = 0, shared = {}, reuse = true }
  for pattern, f in pairs {
    ["no field 'mirco'; did you mean micro"] = function()
      fm.program(twice, { rows = { x = { 2 } }, mirco = 2 })
    end,
    ["unknown precision 'bfloat61'; did you mean bfloat16"] = function()
      fm.program(twice, { rows = { x = { 2 } }, precision = "bfloat61" })
    end,
    ["run: there is no field 'sede'"] = function()
      p:run { rows = { x = rows }, batch = 4, sede = 1 }
    end,
    ["optimiser: there is no field 'weight_deacy'"] = function()
      fm.optimiser { kind = "adamw", params = w, weight_deacy = 0.1 }
    end,
    ["the field 'dtpye' found, expected seed, stream"] = function()
      fm.normal({ 2 }, { seed = 1, stream = "x", dtpye = "float64" })
    end,
    ["the field '%?' found"] = function() fm.uniform({ 2 }, { "x" }) end,
  } do
    t.eq(t.raises(f, pattern).code, "usage", pattern)
  end
end)

t.test("operators and their functions", function()
  t.eq(said(core.add, x, x, x), "add: 3 arguments found, expected at most 2")
  t.eq(said(core.neg, x, x), "neg: 2 arguments found, expected at most 1")
  t.eq((-x):totable(), core.neg(x):totable())
end)

t.test("a chosen test that does not exist is an error that names it", function()
  local code, out = sandbox.run(("make -s -C %s known-tests T='ops nosuch nix' 2>&1"):format(
    files.quote(sandbox.here)))
  t.eq(code, 2, out)
  t.eq(out:match "[^\n]*", 'flowmap: test: no test has the name "nosuch" "nix"')
  code, out = sandbox.run(("make -s -C %s known-tests T=\"x';touch\"' ran;:' 2>&1"):format(
    files.quote(sandbox.here)))
  t.eq(code, 2, out)
  t.eq(out:match "[^\n]*", 'flowmap: test: no test has the name "x\';touch" "ran;:"')
  t.eq(sandbox.run(("make -s -C %s known-tests T='ops losses' 2>&1"):format(
    files.quote(sandbox.here))), 0)
end)

t.done()
