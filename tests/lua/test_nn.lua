-- The parts of magnitude-preserving networks against closed forms and plain loops.

local t = require "harness"
local fm = require "flowmap"
local nn = require "flowmap.nn"

local F64 = "float64"

local function normal(shape, stream)
  return fm.normal(shape, { seed = 5, stream = stream, dtype = F64 })
end

local function largest(x) return fm.max_reduce(fm.abs(x)):item() end

local function rms(x) return math.sqrt(fm.mean(fm.square(x)):item()) end

-- Values by index: at(x)(n, h, w, c), 1-based.
local function reader(x)
  local values, shape = x:flat(), x.shape
  return function(...)
    local at = 0
    for k, i in ipairs { ... } do at = at * shape[k] + i - 1 end
    return values[at + 1]
  end
end

t.test("normalize divides by the root mean square plus 1e-4, over the last axes", function()
  local x = normal({ 3, 2, 2, 5 }, "x")
  for _, case in ipairs { { nil, { 4 } }, { { 4 }, { 4 } }, { { 2, 3, 4 }, { 2, 3, 4 } } } do
    local mean = fm.mean(fm.square(x), case[2], true)
    t.near(largest(nn.normalize(x, case[1]) - x / (fm.sqrt(mean) + 1e-4)), 0, 1e-14)
  end
  t.raises(function() nn.normalize(x, { 2, 3 }) end, "axes {2, 3} of 4 found")
  t.eq(nn.normalize(fm.zeros({ 2, 3 })):flat(), { 0.0, 0.0, 0.0, 0.0, 0.0, 0.0 })
end)

t.test("mp_sum and mp_cat are those of the paper", function()
  local a, b = normal({ 2, 3, 3, 64 }, "a"), normal({ 2, 3, 3, 64 }, "b")
  local sum = (a * 0.7 + b * 0.3) / math.sqrt(0.7 ^ 2 + 0.3 ^ 2)
  t.near(largest(nn.mp_sum(a, b, 0.3) - sum), 0, 1e-14)
  local wide = normal({ 2, 3, 3, 192 }, "wide")
  local C = math.sqrt((64 + 192) / (0.5 ^ 2 + 0.5 ^ 2))
  local cat = fm.concat({ a * (C / 8 * 0.5), wide * (C / math.sqrt(192) * 0.5) }, 4)
  t.near(largest(nn.mp_cat(a, wide) - cat), 0, 1e-14)
end)

t.test("sums, concatenations, activations, layers preserve normal magnitudes", function()
  local a, b = normal({ 1, 32, 32, 64 }, "a"), normal({ 1, 32, 32, 128 }, "b")
  t.near(rms(nn.mp_sum(a, normal({ 1, 32, 32, 64 }, "c"), 0.3)), 1, 0.02)
  t.near(rms(nn.mp_cat(a, b)), 1, 0.02)
  t.near(rms(nn.mp_silu(a)), 1, 0.02)
  t.near(rms(nn.mp_conv(a, 7 * normal({ 96, 64 }, "w"))), 1, 0.05)
  local y = nn.mp_conv(a, normal({ 32, 3, 3, 64 }, "w3"))
  t.near(rms(fm.slice(fm.slice(y, 2, 2, 30), 3, 2, 30)), 1, 0.05) -- without the border
end)

t.test("mp_weight has rows of length `gain`, whatever the length of w", function()
  for _, gain in ipairs { 1, 2.5 } do
    local w = nn.mp_weight(normal({ 4, 3, 3, 7 }, "w") * 30, gain)
    t.eq(w.shape, { 4, 3, 3, 7 })
    local length = fm.sqrt(fm.sum(fm.square(w), { 2, 3, 4 }))
    t.near(largest(length - gain), 0, 1e-5)
    local learned = nn.mp_weight(normal({ 4, 3, 3, 7 }, "w") * 30, fm.full({}, gain, F64))
    t.near(largest(learned - w), 0, 1e-14)
  end
end)

t.test("layers: matrices and 1 x 1 kernels act on channels, 3 x 3 kernels on neighbours", function()
  local x, w = normal({ 2, 3, 4, 5 }, "x"), normal({ 6, 5 }, "w")
  local y, X, W = reader(nn.conv(x, w)), reader(x), reader(w)
  local one = nn.conv(x, fm.reshape(w, { 6, 1, 1, 5 }))
  t.near(largest(nn.conv(x, w) - one), 0, 0)
  local w3 = normal({ 6, 3, 3, 5 }, "w3")
  local y3, W3 = reader(nn.conv(x, w3)), reader(w3)
  for n = 1, 2 do for h = 1, 3 do for v = 1, 4 do for o = 1, 6 do
    local sum, near = 0, 0
    for i = 1, 5 do
      sum = sum + X(n, h, v, i) * W(o, i)
      for a = 1, 3 do for b = 1, 3 do
        local hh, vv = h + a - 2, v + b - 2
        if hh >= 1 and hh <= 3 and vv >= 1 and vv <= 4 then
          near = near + X(n, hh, vv, i) * W3(o, a, b, i)
        end
      end end
    end
    t.near(y(n, h, v, o), sum, 1e-13)
    t.near(y3(n, h, v, o), near, 1e-12)
  end end end end
  t.eq(nn.conv(normal({ 7, 5 }, "rows"), w).shape, { 7, 6 })
end)

t.test("time codes are cosines, then sines, of geometric frequencies", function()
  local a = fm.tensor({ 0, 0.3, 1 }, F64)
  local code = nn.time_code(a, 6)
  t.eq(code.shape, { 3, 6 })
  t.near(largest(code - nn.time_code(fm.reshape(a, { 3, 1 }), 6)), 0, 0)
  local C, values = reader(code), a:flat()
  for n = 1, 3 do
    for k = 0, 2 do
      local phase = values[n] * 10000 ^ (-k / 3)
      t.near(C(n, k + 1), math.sqrt(2) * math.cos(phase), 1e-14)
      t.near(C(n, k + 4), math.sqrt(2) * math.sin(phase), 1e-14)
    end
  end
  t.raises(function() nn.time_code(a, 5) end, "dimension 5 found, expected an even number")
end)

-- Attention by loops over samples, heads and pixels; channels are (heads, c, 3).
local function plain_attention(qkv, heads)
  local N, H, W, channels = table.unpack(qkv.shape)
  local c, P = channels // (3 * heads), H * W
  local X, out = reader(fm.reshape(qkv, { N, P, heads, c, 3 })), {}
  local function part(n, p, h, j) -- a normalised query, key or value
    local v, sum = {}, 0
    for i = 1, c do
      v[i] = X(n, p, h, i, j)
      sum = sum + v[i] ^ 2
    end
    for i = 1, c do v[i] = v[i] / (1e-4 + math.sqrt(sum / c)) end
    return v
  end
  for n = 1, N do for p = 1, P do for h = 1, heads do
    local q, weight, total, y = part(n, p, h, 1), {}, 0, {}
    for other = 1, P do
      local k, dot = part(n, other, h, 2), 0
      for i = 1, c do dot = dot + q[i] * k[i] end
      weight[other] = math.exp(dot / math.sqrt(c))
      total = total + weight[other]
    end
    for i = 1, c do y[i] = 0 end
    for other = 1, P do
      local v = part(n, other, h, 3)
      for i = 1, c do y[i] = y[i] + weight[other] / total * v[i] end
    end
    table.move(y, 1, c, #out + 1, out)
  end end end
  return fm.reshape(fm.tensor(out, F64), { N, H, W, heads * c })
end

t.test("attention agrees with plain loops, with interleaved queries, keys and values", function()
  for _, case in ipairs { { 1, 4 }, { 2, 3 }, { 3, 8 } } do
    local heads, c = table.unpack(case)
    local qkv = normal({ 2, 2, 3, 3 * heads * c }, "qkv")
    t.near(largest(nn.attention(qkv, heads) - plain_attention(qkv, heads)), 0, 1e-13)
  end
  t.raises(function() nn.attention(normal({ 1, 2, 2, 10 }, "x"), 2) end, "multiple of 3 x 2")
end)

t.test("attention's first and second derivatives agree with finite differences", function()
  local x, d = normal({ 1, 2, 2, 12 }, "x"), normal({ 1, 2, 2, 12 }, "d")
  local u = normal({ 1, 2, 2, 4 }, "u")
  local function f(z) return nn.attention(z, 1) end
  local function slope(z)
    local _, dy = fm.jvp(f, z, d)
    return dy
  end
  local h = 3e-4
  local function difference(g) -- of fourth order along d
    return (8 * (g(x + h * d) - g(x - h * d)) - (g(x + 2 * h * d) - g(x - 2 * h * d))) / (12 * h)
  end
  t.near(largest(slope(x) - difference(f)), 0, 1e-9)
  -- reverse over forward: <grad <u, J(x) d>, d> = d/dh <u, J(x + h d) d>
  local g = fm.grad(function(z) return fm.sum(slope(z) * u) end)(x)
  t.near(fm.sum(g * d):item(), fm.sum(difference(slope) * u):item(), 1e-8)
end)

t.test("upsampling repeats pixels, downsampling averages them", function()
  local x = normal({ 1, 2, 2, 3 }, "x")
  t.eq(nn.up(x).shape, { 1, 4, 4, 3 })
  t.near(largest(nn.down(nn.up(x)) - x), 0, 1e-15)
  t.near(fm.sum(nn.down(x)):item(), fm.sum(x):item() / 4, 1e-14)
end)

t.test("rows that scatter leaves out have the derivative 0, in both modes", function()
  local number, x = fm.tensor({ -1, 1, 5, 0 }, "float64"), fm.full({ 4, 1 }, 1, "float64")
  local function f(y) return fm.scatter(y, number, 2) end
  local function weighted(y) return fm.sum(f(y) * fm.tensor({ { 3 }, { 7 } }, "float64")) end
  t.eq(fm.grad(weighted)(x):flat(), { 0, 7, 0, 3 })
  local _, tangent = fm.jvp(f, x, x)
  t.eq(tangent:flat(), { 1, 1 })
end)

t.test("clip's derivative is 1 on the limits and 0 beyond", function()
  local x = fm.tensor({ -2, -1, 0, 1, 2 }, F64)
  t.eq(fm.clip(x, -1, 1):flat(), { -1.0, -1.0, 0.0, 1.0, 1.0 })
  local g = fm.grad(function(z) return fm.sum(fm.clip(z, -1, 1)) end)(x)
  t.eq(g:flat(), { 0.0, 1.0, 1.0, 1.0, 0.0 })
end)

t.test("picking rows of a table moves only those rows", function()
  local function moved(rows)
    local table = fm.zeros({ rows, 50 })
    local program = fm.program(function(shared, b)
      return { rows = fm.gather(shared.table, b.rows.k) }
    end, { shared = { table = table }, rows = { k = {} }, micro = 4 })
    return program:stats(4).moved
  end
  t.eq(moved(1000), moved(10))
  t.eq(moved(10), (4 + 2 * 200 + 2 * 200) * 4) -- numbers; read, write; copied to the result
end)

t.test("a view refers to rows in the tensor's memory and keeps it alive", function()
  local x = fm.tensor { { 1, 2 }, { 3, 4 }, { 5, 6 } }
  x:view(2, 2):view(2, 1):copy_from(fm.tensor { { 7, 8 } })
  t.eq(x:totable(), { { 1, 2 }, { 3, 4 }, { 7, 8 } })
  local rows = fm.full({ 1000, 1000 }, 3):view(999, 2)
  collectgarbage()
  collectgarbage()
  t.eq(rows:sum():item(), 6000)
  t.eq(fm.zeros({ 2, 3 }):view(3, 0).shape, { 0, 3 })
  for _, it in ipairs { { 0, 1 }, { 1, 4 }, { 4, 1 }, { 2, -1 }, { math.mininteger, 1 },
    { 2, math.maxinteger } } do
    t.raises(function() x:view(it[1], it[2]) end, "view: rows .* expected a range within 1 to 3")
  end
  t.raises(function() fm.tensor(1):view(1, 1) end, "view: a scalar found")
end)

t.test("a number beside a traced tensor takes no memory", function()
  local function moved(f)
    local p = fm.program(function(_, b) return { rows = { y = f(b.rows.x) } } end,
      { rows = { x = { 100 } } })
    return p:stats(8).moved
  end
  local one = moved(function(x) return x * 2 end)
  t.eq(moved(function(x) return fm.maximum(x, 0) end), one)
  t.eq(moved(function(x) return fm.where(x, 1, fm.minimum(2, x)) end), one)
  t.eq(fm.maximum(fm.tensor { { -1, 3 } }, 0):flat(), { 0.0, 3.0 })
end)

-- Dropout in two layers of a program of 30 samples; the second layer sees the first `few` alone.
local function dropped(micro, few)
  return fm.program(function(_, b)
    local mask = nn.masks(b)
    local x = fm.ones({ b.n, 6, 40 })
    local first = nn.dropout(x, 0.25, mask)
    local second = nn.dropout(few and fm.rows(x, 1, few) or x, 0.25, mask)
    return { rows = { first = first, second = few and first or second },
      sum = { kept = fm.sum(second), both = fm.sum(first * first) } }
  end, { micro = micro }):run { batch = 30, seed = 3, step = 4 }
end

t.test("dropout: each layer has its own mask, independent of the micro-batches", function()
  local whole = dropped(30)
  local first, second = whole.rows.first, whole.rows.second
  t.near(fm.mean(first):item(), 1, 0.04)
  t.near(fm.mean(first * second):item(), 1, 0.05) -- independent
  for _, micro in ipairs { 1, 7, 16 } do
    t.near(largest(dropped(micro).rows.first - first), 0, 0)
    t.near(largest(dropped(micro).rows.second - second), 0, 0)
  end
  t.near(dropped(30, 5).sum.kept:item(), fm.sum(fm.rows(second, 1, 5)):item(), 1e-3)
  local x = fm.ones({ 2, 3 })
  t.eq(nn.dropout(x, 0.5):flat(), x:flat())
  t.raises(function() dropped(30, 31) end, "slice")
end)

t.done()
