-- Sizes out of range: every operation, called with numbers at which arithmetic overflows, eagerly
-- and in a trace, gives a result or a sentence; shapes near 2^62 are refused before anything runs.

local t = require "harness"
local fm = require "flowmap"

local MOST = math.maxinteger
local HOSTILE = { 0, -1, 2, 1 << 20, 1 << 31, 1 << 32, 1 << 40, 1 << 61, 1 << 62, MOST - 1, MOST,
  math.mininteger, math.mininteger + 1 }

-- An acceptable sentence names the operation or the missing memory.
local function refused(f, ...)
  local ok, message = pcall(f, ...)
  if ok then return nil end
  message = tostring(message)
  if message:match "attempt to" or message:match "stack traceback" then error(message, 0) end
  return message
end

local function expect_refusal(name, f)
  for way, run in pairs { eager = f, traced = function(x) return fm.jvp(f, x, x) end } do
    local message = refused(run, fm.ones { 2, 2, 2, 2 })
    t.eq(message ~= nil, true, name .. " " .. way .. ": no error")
  end
end

t.test("shapes too large to address are refused, at once and in a trace", function()
  local huge = 1 << 62
  local index = fm.tensor { 0, 1 }
  for name, f in pairs {
    pad = function(x) return fm.pad(x, 1, MOST, 5) end,
    ["pad's end"] = function(x) return fm.pad(x, 1, 1, huge) end,
    ["pad from 0"] = function(x) return fm.pad(x, 1, 0, 5) end,
    ["pad, all large"] = function(x) return fm.pad(x, 1, MOST, MOST) end,
    slice = function(x) return fm.slice(x, 1, MOST, MOST) end,
    ["slice of many"] = function(x) return fm.slice(x, 1, 2, MOST) end,
    broadcast = function(x) return fm.broadcast(fm.sum(x, nil, true), { huge, 2, 2, 2 }) end,
    ["broadcast twice"] = function(x)
      return fm.sum(fm.broadcast(fm.sum(x, nil, true), { 1 << 32, 1 << 32, 1, 1 }))
    end,
    ["broadcast to 2^64 values"] = function(x)
      return fm.broadcast(fm.sum(x, nil, true), { 1 << 16, 1 << 16, 1 << 16, 1 << 16 })
    end,
    reshape = function(x) return fm.reshape(x, { 1 << 32, 1 << 32 }) end,
    ["reshape to a product that wraps"] = function(x)
      return fm.reshape(x, { 1 << 34, (1 << 34) + 1, 16, 1 })
    end,
    scatter = function(x) return fm.scatter(x, index, huge) end,
    ["scatter to few"] = function(x) return fm.scatter(x, index, -1) end,
    resize = function(x) return fm.resize_bilinear(x, huge, huge, true) end,
    conv_x = function(x) return fm.conv_x(x, x, 1, MOST, MOST, MOST, MOST) end,
    avg_pool = function(x) return fm.avg_pool(x, MOST, MOST, MOST) end,
    avg_unpool = function(x) return fm.avg_unpool(x, 2, 2, 0, false, MOST, MOST) end,
  } do
    expect_refusal(name, f)
  end
end)

t.test("results of operations on large values are refused", function()
  local function large(x) return fm.broadcast(fm.sum(x, nil, true), { 1, 1 << 28, 1 << 28, 1 }) end
  for name, f in pairs {
    upsample = function(x) return fm.upsample(fm.upsample(large(x))) end,
    concat = function(x)
      local list, y = {}, large(x)
      for k = 1, 40 do list[k] = y end
      return fm.concat(list, 2)
    end,
    ["the same along the first axis"] = function(x)
      local list, y = {}, large(x)
      for k = 1, 40 do list[k] = y end
      return fm.concat(list, 1)
    end,
    mix_cat = function(x) return fm.mix_cat(large(x), fm.pad(large(x), 4, 1, 64), 1, 1) end,
    matmul = function(x)
      local y = fm.reshape(fm.broadcast(fm.sum(x, nil, true), { 1 << 31, 1, 1, 1 }), { 1 << 31, 1 })
      return fm.matmul(y, y, false, true)
    end,
  } do
    local x = fm.ones { 2, 2, 2, 2 }
    t.eq(refused(function() return fm.jvp(f, x, x) end) ~= nil, true, name)
  end
end)

t.test("a gradient through 2^64 values is refused, not 0", function()
  local message = refused(function()
    return fm.grad(function(x) return fm.sum(fm.broadcast(x, { 1 << 32, 1 << 32 })) end)(
      fm.zeros { 1, 1 })
  end)
  t.eq(message and message:match "too large" ~= nil, true, tostring(message))
end)

t.test("a program whose values need more than all memory is refused when it is planned", function()
  local function many(x)
    local total = 0
    for k = 1, 40 do
      local y = fm.broadcast(fm.reshape(x * k, { 1, 1, 1, 1 }), { 1, 1 << 28, 1 << 28, 1 })
      total = total + fm.sum(fm.upsample(y))
    end
    return total
  end
  t.eq(refused(function() return fm.jvp(many, fm.ones { 1 }, fm.ones { 1 }) end) ~= nil, true)
end)

t.test("tensors and random numbers out of range", function()
  for name, f in pairs {
    zeros = function() return fm.zeros { 1 << 32, 1 << 32 } end,
    ["zeros of nothing, huge"] = function() return fm.zeros { 0, 1 << 40, 1 << 40 } end,
    normal = function() return fm.normal({ 1 << 62 }, { seed = 1, stream = "a" }) end,
    ["many values of a sample"] = function()
      return fm.jvp(function(x)
        return x * fm.sum(fm.normal({ 1, 1 << 27 }, { seed = 1, stream = "a" }))
      end, fm.ones { 1 }, fm.ones { 1 })
    end,
    rows = function() return fm.zeros { 3 }:rows(MOST, MOST) end,
  } do
    t.eq(refused(f) ~= nil, true, name)
  end
end)

t.test("a batch out of range is refused", function()
  local program = fm.program(function(_, b)
    return { sum = { total = fm.sum(b.rows.x) } }
  end, { rows = { x = { 2 } }, micro = 64 })
  for _, batch in ipairs { 1 << 62, MOST, 1 << 40, 1 << 32, 0, -1 } do
    local message = refused(function()
      return program:run { batch = batch, rows = { x = fm.ones { 2, 2 } } }
    end)
    t.eq(message and message:match "batch" ~= nil, true, ("%d: %s"):format(batch, message))
  end
end)

-- ------------------------------------------------------------------ all operations

local state = 12345
local function draw(n)
  state = (state * 1103515245 + 12345) & 0x7fffffff
  return state // 65536 % n + 1
end

local SHAPES = { { 2, 2, 2, 2 }, { 3, 4 }, { 0, 3 }, { 5 }, {}, { 1, 4, 4, 3 }, { 3, 3, 3, 3 } }

local ARGUMENT = {
  t = function() return fm.ones(SHAPES[draw(#SHAPES)]) end,
  T = function() return { fm.ones { 2, 3 }, fm.ones { 2, 3 } } end,
  n = function() return ({ 0.5, 0, -1, math.huge, 0 / 0, 1e308 })[draw(6)] end,
  i = function() return HOSTILE[draw(#HOSTILE)] end,
  o = function() return HOSTILE[draw(#HOSTILE)] end,
  a = function() return draw(2) == 1 and draw(3) or HOSTILE[draw(#HOSTILE)] end,
  b = function() return draw(2) == 1 end,
  d = function() return draw(2) == 1 and "float32" or "float64" end,
  s = function()
    local s = {}
    for k = 1, draw(5) - 1 do s[k] = draw(3) == 1 and HOSTILE[draw(#HOSTILE)] or draw(4) end
    return s
  end,
  p = function()
    local p = {}
    for k = 1, draw(4) do p[k] = draw(4) == 1 and HOSTILE[draw(#HOSTILE)] or k end
    return p
  end,
}

-- Arguments small enough to run quickly; sizes that barely fit into memory would take too long.
local function modest(arguments)
  for _, a in ipairs(arguments) do
    for _, n in ipairs(type(a) == "table" and a or { a }) do
      if math.type(n) == "integer" and n >= 1 << 20 and n <= 1 << 40 then return false end
    end
  end
  return true
end

local function call(op, arguments)
  local f = fm[op.name]
  if modest(arguments) then refused(f, table.unpack(arguments)) end
  local first = fm.is_tensor(arguments[1]) and arguments[1]
  if not first then return end
  refused(function()
    fm.jvp(function(x)
      local y = f(x, table.unpack(arguments, 2))
      local values = 1
      for _, n in ipairs(y.shape) do values = values * math.min(n, 1 << 20) end
      return values < 1 << 20 and y or fm.ones {}
    end, first, first)
  end)
end

t.test("every operation takes hostile numbers without harm", function()
  local tried = 0
  for _, op in ipairs(fm.ops()) do
    local bound = pcall(function() return fm[op.name] end)
    tried = tried + (bound and 1 or 0)
    for _ = 1, bound and 60 or 0 do
      local arguments = {}
      for kind in op.args:gmatch "[^|]" do arguments[#arguments + 1] = ARGUMENT[kind]() end
      call(op, arguments)
    end
  end
  t.eq(tried > 60, true, tried .. " operations are functions of flowmap")
end)

t.test("rows of nothing take no time, however many", function()
  local start = fm.clock()
  t.eq(fm.broadcast(fm.ones { 1, 0 }, { 1 << 40, 0 }).shape, { 1 << 40, 0 })
  local p = fm.program(function(shared)
    return { sum = { y = fm.broadcast(shared, { 1 << 40, 0 }) } }
  end, { shared = fm.ones { 1, 0 } })
  t.eq(p:run { batch = 1 }.sum.y.shape, { 1 << 40, 0 })
  t.eq(fm.clock() - start < 10, true)
end)

t.done()
