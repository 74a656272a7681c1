-- Trees are paired by their keys; wrong results of user functions are named; errors state
-- the line of the user's code.

local t = require "harness"
local fm = require "flowmap"
local sandbox = require "sandbox"

local x = { a = fm.tensor { 1, 2 }, b = { c = fm.tensor { 3, 4 } } }
local function f(it) return { y = it.a * it.b.c, z = { it.a } } end
local one = fm.tensor { 1, 1 }

t.test("jvp's directions", function()
  for _, it in ipairs {
    { { z = one, y = { c = one } }, "jvp: the direction: the key '[yz]' found, " },
    { { a = one }, "nothing found at 'b', expected the keys a, b" },
    { { a = one, b = { c = one, d = one } }, "the key 'd' found at 'b', expected the keys c" },
    { { a = one, b = {} }, "nothing found at 'b.c', expected the keys c" },
    { { a = one, b = one }, "a tensor found at 'b', expected a table with the keys c" },
    { { a = { one }, b = { c = one } }, "a table found at 'a', expected a tensor" },
    { { a = 1, b = { c = one } }, "a number found at 'a', expected a tensor" },
    { one, "a tensor found, expected a table with the keys a, b" },
    { nil, "a nil found, expected a table with the keys a, b" },
    { { one, one }, "the key '[12]' found, expected the keys a, b" },
  } do
    t.raises(function() fm.jvp(f, x, it[1]) end, (it[2]:gsub("%.", "%%.")))
  end
  local _, dy = fm.jvp(f, x, { b = { c = fm.tensor { 0, 1 } }, a = fm.tensor { 1, 0 } })
  t.eq(dy.y:flat(), { 3, 2 })
end)

t.test("vjp's cotangents", function()
  t.raises(function() fm.vjp(f, x, { y = one }) end, "vjp: the cotangent: nothing found at 'z'")
  t.raises(function() fm.vjp(f, x, { y = one, z = { one, one } }) end, "the key '2' found at 'z'")
  local _, g = fm.vjp(f, x, { z = { one }, y = fm.tensor { 2, 0 } })
  t.eq({ g.a:flat(), g.b.c:flat() }, { { 7, 1 }, { 2, 0 } })
end)

t.test("a program's inputs, and an optimiser's gradients", function()
  local p = fm.program(function(shared, b)
    return { rows = { y = b.rows.v * shared.a + shared.b } }
  end, { shared = { a = one, b = one }, rows = { v = { 2 } } })
  local v = fm.ones { 3, 2 }
  for _, it in ipairs {
    { { a = one, c = one }, "program: the shared inputs: the key 'c' found, " },
    { { one, one }, "the key '[12]' found" }, { { a = one }, "nothing found at 'b'" },
  } do
    t.raises(function() p:run { batch = 3, shared = it[1], rows = { v = v } } end, it[2])
  end
  t.raises(function() p:run { batch = 3, rows = { v = v, w = v } } end, "no rows input 'w'")
  t.raises(function() p:run { batch = 3, rows = {} } end, "rows input 'v' is absent")
  local opt = fm.optimiser { params = { a = fm.tensor { 1 }, b = fm.tensor { 1 } } }
  t.raises(function() opt:update({ fm.tensor { 1 }, fm.tensor { 1 } }, 1) end,
    "optimiser: the gradients: the key '[12]' found, expected the keys a, b")
end)

t.test("the form and the results of user functions", function()
  local function run(result)
    return function()
      return fm.program(function() return result end, {}):run { batch = 1 }
    end
  end
  t.raises(run(nil), "program: the function returned a nil, expected a table")
  t.raises(run(one), "program: the function returned a tensor, expected a table")
  t.raises(run { loss = one }, "returned 'loss', expected sum and rows alone")
  t.raises(run { sum = { loss = 3 } }, "returned a number as sum.loss, expected a tensor")
  t.raises(run { rows = 3 }, "returned a number as rows, expected a tensor")
  for _, g in ipairs { fm.grad, fm.value_and_grad } do
    t.raises(function() g(3) end, "grad: argument 1 is a number, expected a function")
  end
  t.raises(function() fm.jvp(nil, one, one) end, "jvp: argument 1 is a nil")
  t.raises(function() fm.program(3, {}) end, "program: argument 1 is a number")
  t.raises(function() fm.program(print) end, "program: argument 2 is a nil")
  t.raises(function() fm.program(print, { micro = 0 }) end, "micro is 0")
  t.raises(function() fm.grad(function() return 3 end)(one) end, "returned a number")
  t.raises(function() fm.jvp(function() end, one, one) end, "a nil found")
  t.raises(function() fm.sum(fm.tensor({ 1 }, "float64") + fm.tensor { 1 }) end, "float64.*float32")
end)

t.test("errors state the nearest line of the user's code", function()
  local line = debug.getinfo(1, "l").currentline
  local e = t.raises(function()
    local y = fm.sum(fm.matmul(one, one))
    return y
  end, "test_pairing.lua:" .. line + 2 .. ": matmul: ")
  t.eq(e.message:find "^matmul: the shape" ~= nil, true, e.message)
  t.raises(function()
    local y = fm.mean(3)
    return y
  end, "test_pairing.lua:" .. line + 7 .. ": mean: a number found")
end)

t.test("a wrong shape in an experiment's loss: place, sentence, the user's stack", function()
  local path = sandbox.write("e.lua", [[
local fm = require "flowmap"
local function inner(x)
  local y = fm.matmul(x, fm.zeros { 3, 3 })
  return y
end
return { name = "e", methods = { "own" }, settings = { data = "checkerboard" },
  profiles = { smoke = { width = 16, steps = 4 } },
  losses = { own = function(a)
    local residual = inner(a.x)
    return fm.sum(fm.square(residual), 2)
  end } }
]])
  local code, text = sandbox.flowmap(("--traceback run %s --profile smoke --out run"):format(path))
  t.eq(code, 2, text)
  t.eq(text:find("flowmap: " .. path .. ":3: matmul: the shapes (32, 2)", 1, true) ~= nil, true,
    text)
  t.eq(text:find(path .. ":9: in", 1, true) ~= nil, true, text)
end)

t.done()
