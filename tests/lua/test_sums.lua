-- Sums of many values through the public functions: as accurate in a trace as eagerly, whatever is
-- differentiated, along rows and columns; and elementwise functions, whose bits do not depend on
-- neighbouring values.

local t = require "harness"
local fm = require "flowmap"

local N = 1 << 20

-- The value of 0.1 and its like in float32.
local function single(x) return string.unpack("<f", string.pack("<f", x)) end

local TENTH = single(0.1)

local function near(found, expected, what)
  for k, v in ipairs(found:flat()) do
    t.near(v, expected, 1.5e-7 * math.abs(expected), ("%s, value %d"):format(what, k))
  end
end

t.test("sums and means in a trace agree with eager ones", function()
  local x = fm.full({ N }, 0.1)
  for name, f in pairs { sum = fm.sum, mean = fm.mean } do
    local y, dy = fm.jvp(f, x, fm.full({ N }, 0.3))
    t.eq(y:item(), f(x):item(), name)
    t.near(dy:item(), f(fm.full({ N }, 0.3)):item(), 0, "tangent of " .. name)
  end
end)

t.test("sums over rows, columns and middle axes", function()
  local x = fm.full({ 4, N // 16, 4 }, 0.1)
  for axis, count in pairs { 4, N // 16, 4 } do
    local y, dy = fm.jvp(function(z) return fm.sum(z, axis) end, x, x)
    near(y, count * TENTH, "axis " .. axis)
    near(dy, count * TENTH, "tangent, axis " .. axis)
  end
  near((fm.jvp(function(z) return fm.sum(z, { 1, 2 }) end, x, x)), N // 4 * TENTH, "two axes")
end)

t.test("gradients that add up: of broadcasts, gathered rows, products", function()
  local one, tenths = fm.ones { 1, 4 }, fm.full({ N, 4 }, 0.1)
  near(fm.grad(function(b) return fm.sum(fm.broadcast(b, { N, 4 }) * tenths) end)(one),
    N * TENTH, "columns")
  near(fm.grad(function(b)
    return fm.sum(fm.broadcast(b, { 4, N }) * fm.full({ 4, N }, 0.1))
  end)(fm.ones { 4, 1 }), N * TENTH, "rows")
  near(fm.grad(function(table)
    return fm.sum(fm.gather(table, fm.zeros { N }) * tenths)
  end)(one), N * TENTH, "gathered rows")
  near(fm.grad(function(b) return fm.sum(b * tenths) end)(fm.ones {}), 4 * N * TENTH, "a scalar")
end)

t.test("a sum over very many micro-batches", function()
  local count = 20000
  local program = fm.program(function(_, b)
    return { sum = { total = fm.sum(b.rows.x) } }
  end, { rows = { x = { 3 } }, micro = 1 })
  local out = program:run { batch = count, rows = { x = fm.full({ count, 3 }, 0.1) } }
  t.near(out.sum.total:item(), 3 * count * TENTH, 1e-6 * 3 * count * TENTH)
end)

t.test("elementwise functions give the same bits whatever the neighbouring values", function()
  for _, name in ipairs { "sin", "cos", "exp", "log", "tanh", "sigmoid", "silu", "gelu", "sqrt" } do
    local alone = fm[name](fm.tensor { 0.68 }):item()
    for _, other in ipairs { 0.25, 1e30, math.huge, 0 / 0, 1e-42, 0.0 } do
      for at = 1, 33 do
        local values = {}
        for k = 1, 33 do values[k] = k == at and 0.68 or other end
        t.eq(fm[name](fm.tensor(values)):flat()[at], alone, name)
      end
    end
  end
end)

t.done()
