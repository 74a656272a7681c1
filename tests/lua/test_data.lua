--- Images as data: uint8 tables and the operation that reads them.
local fm = require "flowmap"
local t = require "harness"

local function bytes(list) return fm.tensor(list, "uint8") end

t.test("uint8 tensors are made, sliced, reshaped, cast and hashed", function()
  local x = bytes { { 1, 2, 3 }, { 0, 128, 255 } }
  t.eq(x.dtype, "uint8")
  t.eq(x:bytes(), "\1\2\3\0\128\255")
  t.eq(fm.slice(x, 1, 2, 1):totable(), { { 0.0, 128.0, 255.0 } })
  t.eq(fm.slice(x, 2, 2, 2):totable(), { { 2.0, 3.0 }, { 128.0, 255.0 } })
  t.eq(fm.reshape(x, { 3, 2 }):bytes(), x:bytes())
  t.eq(fm.cast(x, "float64"):flat(), { 1.0, 2.0, 3.0, 0.0, 128.0, 255.0 })
  t.eq(fm.full({ 2 }, 7, "uint8"):bytes(), "\7\7")
end)

t.test("pixels are rows in [-1, 1]; a number outside the table is a row of NaN", function()
  local x = fm.reshape(bytes { 0, 255, 51, 102, 7, 9 }, { 3, 1, 1, 2 })
  for _, dtype in ipairs { "float32", "float64" } do
    local y = fm.pixels(x, fm.tensor({ 1, 0, -1, 3, 0 / 0, 1.9 }, dtype))
    t.eq(y.dtype, dtype)
    t.eq(y.shape, { 6, 1, 1, 2 })
    local v = y:flat()
    t.near(v[1], 51 / 127.5 - 1, 1e-7)
    t.near(v[2], 102 / 127.5 - 1, 1e-7)
    t.eq({ v[3], v[4] }, { -1.0, 1.0 })
    for k = 5, 10 do t.eq(v[k] ~= v[k], true, "NaN at " .. k) end
    t.near(v[11], v[1], 0)
  end
end)

t.test("pixels in a program: the table is shared, the numbers are cut", function()
  local table_of = bytes { { 0, 255 }, { 51, 204 } }
  local program = fm.program(function(shared, b)
    return { rows = { x = fm.pixels(shared, fm.reshape(b.rows.index, { b.n })) } }
  end, { shared = table_of, rows = { index = { 1 } }, micro = 2 })
  local x = program:run { shared = table_of, rows = { index = fm.tensor { { 1 }, { 0 }, { 1 } } },
    batch = 3 }.rows.x
  t.eq(x:bytes(), fm.pixels(table_of, fm.tensor { 1, 0, 1 }):bytes())
end)

t.test("uint8 only stores: everything else is a sentence", function()
  local x, only = bytes { 1, 2 }, "uint8, which only stores images"
  t.raises(function() return x + x end, "^add: operand 1 is " .. only)
  t.raises(function() return 2 * x end, "^affine: operand 1 is " .. only)
  t.raises(function() return fm.sum(x) end, "^sum_to: operand 1 is " .. only)
  t.raises(function() return fm.exp(x) end, "^exp: operand 1 is " .. only)
  t.raises(function() return fm.gather(x, fm.tensor { 0 }) end, only)
  t.raises(function() return fm.cast(fm.tensor { 1 }, "uint8") end, "^cast: to uint8 found")
  t.raises(function() return fm.uniform({ 2 }, { dtype = "uint8" }) end, "^random numbers: uint8")
  t.raises(function() return fm.pixels(fm.tensor { 1 }, fm.tensor { 0 }) end, "table of uint8")
  t.raises(function() return fm.pixels(x, x) end, "row numbers %(2%) %(uint8%)")
  t.raises(function() return bytes { 256 } end, "value 1 is 256, expected a whole number")
  t.raises(function() return bytes { 1, 0.5 } end, "value 2 is 0.5")
  t.raises(function() fm.save_safetensors("x", { x = x }) end, "tensor 'x' is uint8")
  t.raises(function()
    fm.program(function(s) return { sum = { s } } end, { shared = x }):run { shared = x, batch = 1 }
  end, "output 1 is uint8")
end)

t.done()
