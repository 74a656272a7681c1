-- Every function at zeros, infinities, NaN and the largest numbers against its mathematical
-- limit, where one exists: values, first and second derivatives, forwards and backwards.

local t = require "harness"
local fm = require "flowmap"

local INF, NAN = math.huge, 0 / 0
local MAX = { float32 = 3.4028234663852886e38, float64 = 1.7976931348623157e308 }
local FINITE = { 0.0, -0.0, 1e-30, -1e-30, 0.5, -0.5, 3, -3, 30, -30, 81, -81, 95, -95, 700, -700,
  2000, -2000, 1e6, -1e6, 1e15, -1e15, 1e20, -1e20 }

local function sigmoid(x)
  if x >= 0 then return 1 / (1 + math.exp(-x)) end
  return math.exp(x) / (1 + math.exp(x))
end

local function silu(x) return x == -INF and 0 or x * sigmoid(x) end
local function silu_1(x)
  if math.abs(x) > 1e4 then return x > 0 and 1 or 0 end
  local s = sigmoid(x)
  return s + x * s * sigmoid(-x)
end
local function silu_2(x)
  if math.abs(x) > 1e4 then return 0 end
  local s, r = sigmoid(x), sigmoid(-x)
  return s * r * (2 + x * (r - s))
end

local C, A = math.sqrt(2 / math.pi), 0.044715
local function gelu(x)
  if x == -INF then return 0 end
  return math.abs(x) > 1e4 and math.max(x, 0) or x * sigmoid(2 * C * (x + A * x ^ 3))
end
local function gelu_1(x)
  if math.abs(x) > 1e4 then return x > 0 and 1 or 0 end
  local w, w1 = 2 * C * (x + A * x ^ 3), 2 * C * (1 + 3 * A * x * x)
  return sigmoid(w) * (1 + x * sigmoid(-w) * w1)
end
local function gelu_2(x)
  if math.abs(x) > 1e4 then return 0 end
  local w, w1, w2 = 2 * C * (x + A * x ^ 3), 2 * C * (1 + 3 * A * x * x), 12 * C * A * x
  local s, r = sigmoid(w), sigmoid(-w)
  return s * r * (2 * w1 + x * w2 + x * (r - s) * w1 * w1)
end

local function tanh(x)
  if math.abs(x) > 20 then return x > 0 and 1 or -1 end
  local e = math.exp(2 * x)
  return math.abs(x) < 1e-4 and x or (e - 1) / (e + 1)
end
local function tanh_1(x)
  if math.abs(x) > 300 then return 0 end
  return 4 / (math.exp(x) + math.exp(-x)) ^ 2
end
local function zero() return 0 end
local function sign(x) return x > 0 and 1 or x < 0 and -1 or x end

-- Name, function, least valid argument, value, first and second derivative.
local CASES = {
  { "exp", fm.exp, -INF, math.exp, math.exp, math.exp },
  { "log", fm.log, 0, math.log, function(x) return 1 / x end, function(x) return -1 / x / x end },
  { "sqrt", fm.sqrt, 0, math.sqrt, function(x) return 0.5 / math.sqrt(x) end,
    function(x) return x == INF and 0 or -0.25 / math.sqrt(x) / x end },
  { "rsqrt", fm.rsqrt, 0, function(x) return 1 / math.sqrt(x) end,
    function(x) return x == INF and 0 or -0.5 / math.sqrt(x) / x end },
  { "tanh", fm.tanh, -INF, tanh, tanh_1, function(x) return -2 * tanh(x) * tanh_1(x) end },
  { "sigmoid", fm.sigmoid, -INF, sigmoid, function(x) return sigmoid(x) * sigmoid(-x) end,
    function(x) return sigmoid(x) * sigmoid(-x) * (sigmoid(-x) - sigmoid(x)) end },
  { "silu", fm.silu, -INF, silu, silu_1, silu_2 },
  { "gelu", fm.gelu, -INF, gelu, gelu_1, gelu_2 },
  { "square", fm.square, -INF, function(x) return x * x end, function(x) return 2 * x end,
    function() return 2 end },
  { "recip", fm.recip, -INF, function(x) return 1 / x end, function(x) return -1 / x / x end },
  { "abs", fm.abs, -INF, math.abs, sign, zero },
  { "sign", fm.sign, -INF, sign, zero, zero },
  { "floor", fm.floor, -INF, function(x)
    return math.abs(x) < 1e15 and math.floor(x) + 0.0 or x
  end, zero, zero },
  { "clip", function(x) return fm.clip(x, -2, 5) end, -INF,
    function(x) return math.max(-2, math.min(5, x)) end,
    function(x) return x >= -2 and x <= 5 and 1 or 0 end, zero },
  { "maximum", function(x) return fm.maximum(x, 2) end, -INF,
    function(x) return math.max(x, 2) end, function(x) return x >= 2 and 1 or 0 end, zero },
  { "minimum", function(x) return fm.minimum(x, 2) end, -INF,
    function(x) return math.min(x, 2) end, function(x) return x <= 2 and 1 or 0 end, zero },
  { "x^2.5", function(x) return x ^ 2.5 end, 0, function(x) return x ^ 2.5 end,
    function(x) return 2.5 * x ^ 1.5 end, function(x) return 3.75 * x ^ 0.5 end },
  { "x^0.5", function(x) return x ^ 0.5 end, 0, function(x) return x ^ 0.5 end,
    function(x) return 0.5 * x ^ -0.5 end, function(x) return -0.25 * x ^ -1.5 end },
  { "x^1", function(x) return x ^ 1 end, -INF, function(x) return x end,
    function() return 1 end, zero },
  { "x^-1", function(x) return x ^ -1 end, -INF, function(x) return x ^ -1 end,
    function(x) return -x ^ -2 end },
}

-- A number in the requested format; numbers beyond its range become infinite.
local function rounded(x, dtype)
  if dtype == "float64" then return x end
  if math.abs(x) > MAX.float32 then return x > 0 and INF or -INF end
  return string.unpack("<f", string.pack("<f", x))
end

-- 1 - y^2 and y (1 - y) cancel where y is next to 1: derivatives are as exact as the value is.
local CANCELS = { tanh = true, sigmoid = true }

local function same(found, expected, dtype, cancels)
  if expected ~= expected then return found ~= found end
  if found == expected then return true end
  local unit, tiny = dtype == "float64" and 1e-12 or 4e-6, dtype == "float64" and 1e-290 or 1e-36
  return math.abs(found - expected) <= unit * math.min(math.abs(expected), 1e300)
    + (cancels and unit or tiny)
end

local function points(low, dtype)
  local list = {}
  for _, x in ipairs(FINITE) do
    if x >= low and (low < 0 or 1 / x > 0) then list[#list + 1] = x end
  end
  list[#list + 1], list[#list + 2] = MAX[dtype], INF
  if low < 0 then list[#list + 1], list[#list + 2] = -MAX[dtype], -INF end
  for k, x in ipairs(list) do list[k] = rounded(x, dtype) end
  return list
end

local function compare(what, found, reference, at, dtype, cancels)
  found = found:flat()
  t.eq(#found, #at, what)
  for k, x in ipairs(at) do
    local expected = rounded(reference(x), dtype)
    if not same(found[k], expected, dtype, cancels) then
      error(("%s of %g in %s: expected %.9g, found %.9g"):format(what, x, dtype, expected,
        found[k]), 0)
    end
  end
end

local function check(case, dtype)
  local name, f, low, value, first, second = table.unpack(case)
  local at = points(low, dtype)
  local x = fm.tensor(at, dtype)
  local one = fm.full(x.shape, 1, dtype)
  local function forwards(z) return select(2, fm.jvp(f, z, fm.full(x.shape, 1, dtype))) end
  local function total(z) return fm.sum(f(z)) end
  compare(name, f(x), value, at, dtype)
  compare(name .. " traced", (fm.jvp(f, x, one)), value, at, dtype)
  local loose = CANCELS[name]
  compare("jvp of " .. name, forwards(x), first, at, dtype, loose)
  compare("gradient of " .. name, fm.grad(total)(x), first, at, dtype, loose)
  if not second then return end
  compare("second jvp of " .. name, select(2, fm.jvp(forwards, x, one)), second, at, dtype, loose)
end

for _, case in ipairs(CASES) do
  t.test(case[1] .. " and its derivatives have their limits", function()
    check(case, "float32")
    check(case, "float64")
  end)
end

t.test("third derivatives of the activations vanish far out", function()
  local x = fm.tensor { -INF, -3e38, -1e20, -3000, 3000, 1e20, 3e38, INF }
  for _, f in ipairs { fm.silu, fm.gelu } do
    local function third(z) return f(z, 2) end
    local _, dx = fm.jvp(third, x, fm.full(x.shape, 1))
    for _, v in ipairs(dx:flat()) do t.eq(v == 0, true, tostring(v)) end
  end
end)

t.test("NaN stays NaN", function()
  for _, case in ipairs(CASES) do
    local y = case[2](fm.tensor { NAN, 1 }):flat()
    t.eq(y[1] ~= y[1], true, case[1])
  end
  local top = fm.max_reduce(fm.tensor { 1, NAN, INF }):item()
  t.eq(top ~= top, true)
end)

t.test("softmax of infinities is its limit where that exists", function()
  t.eq(fm.softmax(fm.tensor { 1, INF, -3 }):flat(), { 0.0, 1.0, 0.0 })
  t.eq(fm.softmax(fm.tensor { -INF, 0, 0, -INF }):flat(), { 0.0, 0.5, 0.5, 0.0 })
  t.eq(fm.softmax(fm.tensor { 3e38, -3e38, 3e38 }):flat(), { 0.5, 0.0, 0.5 })
  local row = {}
  for k = 1, 40 do row[k] = k == 37 and INF or k end
  local y = fm.softmax(fm.tensor(row)):flat()
  for k = 1, 40 do t.eq(y[k], k == 37 and 1.0 or 0.0) end
  for _, x in ipairs { { NAN, 1, INF }, { -INF, -INF }, { NAN, 1, 2 } } do
    for _, v in ipairs(fm.softmax(fm.tensor(x)):flat()) do t.eq(v ~= v, true) end
  end
end)

t.test("normalize of large and tiny rows", function()
  for _, size in ipairs { 1e20, 8e37, 1e-2 } do -- 1 / size must not be denormal
    local y = fm.normalize(fm.tensor { { size, -size }, { 1, 1 } }):flat()
    t.near(y[1], size / (1e-4 + size), 1e-6)
    t.near(y[2], -size / (1e-4 + size), 1e-6)
    t.near(y[3], 1 / (1 + 1e-4), 1e-6)
  end
  t.eq(fm.normalize(fm.tensor { { 0.0, 0.0 } }):flat(), { 0.0, 0.0 })
end)

t.test("the maximum and the mean of nothing are errors", function()
  local none = fm.zeros { 3, 0 }
  for name, f in pairs {
    max = function(x) return fm.max_reduce(x, 2) end,
    ["max of all"] = function(x) return fm.max_reduce(x) end,
    mean = function(x) return fm.mean(x, 2) end,
    softmax = fm.softmax,
  } do
    for way, run in pairs { eager = f, traced = function(x) return fm.jvp(f, x, x) end } do
      local ok, message = pcall(run, none)
      t.eq(ok, false, name .. " " .. way)
      t.eq(tostring(message):match "no values" ~= nil, true, tostring(message))
    end
  end
  t.eq(fm.sum(none, 2):flat(), { 0.0, 0.0, 0.0 })
  t.eq(fm.max_reduce(fm.zeros { 0, 3 }, 2).shape, { 0 })
end)

t.done()
