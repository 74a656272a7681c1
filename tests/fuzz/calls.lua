-- Random calls of the whole binding: every function of the core, every method of its handles,
-- operators and programs, with arguments that are valid, nearly valid, or hostile (-1, 2^31, 2^62,
-- NaN, empty, of another type, closed). Nothing may crash, and every error of a C function must be
-- a sentence with a code. The calls depend only on the seed; to find a failing one, run the same
-- seed with TRACE=1, which prints each call before it is made. tests/fuzz/calls.sh uses sanitizers.
--
--   SEED=1 SECONDS=5 lua5.4 tests/fuzz/calls.lua     (in the environment of the Lua tests, with
--                                                     limited memory: ulimit -v 3000000)

local core = require "flowmap.core"
local fm = require "flowmap"
local lfs = require "lfs"

local seed = math.tointeger(tonumber(os.getenv "SEED" or "")) or 1
local seconds = tonumber(os.getenv "SECONDS" or 5)
local rounds = tonumber(os.getenv "ROUNDS") -- instead of SECONDS: the same calls on any machine
local tracing = os.getenv "TRACE"
math.randomseed(seed, 0)

-- Of the fuzzer (readers.lua): a function that returns the next number from its bytes, 0 .. 2^32-1;
-- this file then returns a function that makes one round of calls.
local draw = ...
local random = draw and function(a, b)
  if not a then return draw() / (1 << 32) end
  if not b then a, b = 1, a end
  return a + draw() % (b - a + 1)
end or math.random

local function pick(list) return list[random(#list)] end
local function chance(p) return random() < p end

-- ------------------------------------------------------------------ arguments

local nan, inf = 0 / 0, 1 / 0
local integers = { 0, 1, 2, 3, 4, 5, 7, -1, -2, 1 << 31, (1 << 31) - 1, -(1 << 31), 1 << 32,
  (1 << 32) + 1, 1 << 53, 1 << 61, 1 << 62, (1 << 62) + 1, math.maxinteger, math.mininteger,
  math.maxinteger - 1, math.mininteger + 1 }
local numbers = { 0.0, -0.0, 0.5, 1.5, -1.0, 1e-300, 1e30, 1e308, -1e308, nan, inf, -inf, 2.0 ^ 63,
  2.0 ^ 31, 3.0 }
local texts = { "", "x", "float32", "float64", "uint8", "rows", "shared", "sum", "objects", "a\0b",
  "faces", "scalar", "avx2", "matmul", ("long"):rep(300), "none/at/all", "a.png", "a.npy",
  "\255\254" }

local closed = { trace = core.trace(), value = nil }
closed.value = closed.trace:input("rows", { 2, 3 })
closed.trace:close()
local trace, values -- the open one, and values of it

local function small() return random(0, 4) end

local function sizes(rank)
  local s = {}
  for k = 1, rank or random(0, 6) do s[k] = small() end
  return s
end

local function tensor()
  if trace and chance(0.3) and #values > 0 then return pick(values) end
  local x = fm.normal(chance(0.6) and pick { { 2, 3 }, { 3, 2 }, { 2, 4, 4, 3 }, { 3 }, { 4, 4 } }
    or sizes(), { seed = random(9), stream = "fuzz", dtype = pick { "float32", "float64" } })
  if chance(0.05) then return core.from_bytes(("x"):rep(12), { 2, 2, 1, 3 }) end
  if chance(0.05) and #x.shape > 0 then return x:view(1, random(0, x.shape[1])) end
  return x
end

local mild = false -- avoid sizes that are valid but would take forever to compute at once

local function hostile_shape()
  local s = sizes()
  if mild then return s end
  for _ = 1, random(2) do s[random(7)] = chance(0.8) and pick(integers) or pick(numbers) end
  return s
end

local liars = { __index = function() return 1 end, __len = function() return 2 end,
  __tostring = function() error "raised" end }

local handles = {
  function() return core.trace() end, function() return closed.trace end,
  function() return closed.value end, function() return trace end, tensor,
  function() return core.optim({}, { fm.tensor { 1, 2 } }) end,
  function() return io.stdout end, function() return print end,
  function() return coroutine.create(print) end,
  function() return setmetatable({}, liars) end,
  function()
    local o = core.optim({}, { fm.tensor { 1 } })
    local meta = debug.getmetatable(o) -- of the program's Lua: its name
    if type(meta) == "table" then meta.__gc(o) end
    return o
  end,
}

local function list(make)
  local out = {}
  for k = 1, random(0, 4) do out[k] = make() end
  return out
end

local any
local tables = {
  function() return {} end, hostile_shape, sizes, function() return list(tensor) end,
  function() return { { 1, 2 }, { 3 } } end, function() return { { 1, 2 }, { 3, any() } } end,
  function() return { seed = any(), stream = any(), step = any(), row0 = any(), dtype = any() } end,
  function() return { kind = any(), b1 = any(), eps = any(), clip = any(), ema = any() } end,
  function() return { x = tensor() } end, function() return { [pick(texts)] = any() } end,
  function() return { count = small(), train = small(), classes = small(), shape = sizes(3) } end,
}

function any()
  local kind = random(8)
  if kind == 1 then return nil end
  if kind <= 3 then return pick(integers) end
  if kind == 4 then return pick(numbers) end
  if kind == 5 then return pick(texts) end
  if kind == 6 then return pick(handles)() end
  if kind == 7 then return pick { true, false } end
  return pick(tables)()
end

-- An argument that usually fits the operation's specification (fm.ops).
local fitting = {
  t = tensor, T = function() return list(tensor) end, n = function() return pick(numbers) end,
  i = function() return chance(0.7) and small() or pick(integers) end,
  o = function() return chance(0.7) and small() or pick(integers) end,
  a = function() return random(-3, 3) end, b = function() return chance(0.5) end,
  s = function() return chance(0.5) and sizes() or hostile_shape() end,
  p = function() return pick { { 1, 2 }, { 2, 1 }, { 4, 3, 2, 1 }, hostile_shape() } end,
  d = function() return pick(texts) end,
}

-- ------------------------------------------------------------------ functions to call

-- Left out: functions that wait, end the process, or leave the folder.
local skip = { fetch = true, watch_signals = true, follow_parent = true, peak = true, probe = true,
  gradcheck = true, own_sources = true, set_threads = true, help = true, program = true,
  optimiser = true }

local targets = {} -- { name, function, specification or nil }
for _, op in ipairs(core.ops()) do
  if core[op.name] then targets[#targets + 1] = { op.name, core[op.name], op.args } end
end
local operations = #targets
local names = {}
for name in pairs(core) do names[#names + 1] = name end
table.sort(names)
for _, name in ipairs(names) do
  if type(core[name]) == "function" and not skip[name] then
    targets[#targets + 1] = { name, core[name] }
  end
end
local operators = { function(a, b) return a + b end, function(a, b) return a - b end,
  function(a, b) return a * b end, function(a, b) return a / b end, function(a, b) return a ^ b end,
  function(a) return -a end, function(a) return #a end, tostring,
  function(a, b) return a[b] end, function(a, b) return a == b end }

local methods = { "close", "input", "const", "full", "dropout", "output", "count", "uniform",
  "normal", "jvp", "vjp", "run", "explain", "stats", "update", "state", "steps", "put", "take",
  "draw", "finish", "names", "assign", "release" }

local calls, failures = 0, 0

local function show(x)
  local ok, text = pcall(tostring, x)
  if type(x) == "table" and getmetatable(x) == nil then
    local parts = {}
    for k, v in pairs(x) do parts[#parts + 1] = tostring(k) .. "=" .. show(v) end
    return "{" .. table.concat(parts, ", ") .. "}"
  end
  return type(x) == "string" and ("%q"):format(x) or ok and text or type(x)
end

local function is_c(f) return debug.getinfo(f, "S").what == "C" end

-- Call a function and check its error: from a C function it must be a sentence with a code.
local function call(name, f, ...)
  calls = calls + 1
  if tracing then
    local parts = {}
    for k = 1, select("#", ...) do parts[k] = show((select(k, ...))) end
    io.stderr:write(calls, " ", name, "(", table.concat(parts, ", "), ")\n")
  end
  local result = table.pack(pcall(f, ...))
  local err = result[2]
  if not result[1] and is_c(f) and (type(err) ~= "table" or not err.code or #err.message < 10)
    and not tostring(err):find "not enough memory" and name ~= "operator" then
    failures = failures + 1
    io.stderr:write(("call %d of seed %d, %s: no sentence: %s\n"):format(calls, seed, name,
      tostring(err)))
  end
  if result[1] and trace and core.is_tensor(err) and chance(0.5) then
    local ok, traced = pcall(function() return err.traced end)
    if ok and traced then values[#values + 1] = err end
  end
  return table.unpack(result, 1, result.n)
end

local function arguments(spec)
  local args, n = {}, 0
  for c in spec:gsub("|", ""):gmatch "." do
    n = n + 1
    args[n] = chance(0.88) and fitting[c]() or any()
  end
  return args, n
end

local function one_call()
  local kind = random(10)
  if kind <= 5 then
    local it = targets[random(operations)]
    local args, n = arguments(it[3])
    call(it[1], it[2], table.unpack(args, 1, n))
  elseif kind <= 8 then
    local it = pick(targets)
    local args, n = {}, random(0, 5)
    for k = 1, n do args[k] = any() end
    if chance(0.5) then args[1] = tensor() end
    call(it[1], it[2], table.unpack(args, 1, n))
  elseif kind == 9 then
    call("operator", pick(operators), tensor(), chance(0.5) and tensor() or any())
  else
    local h, key = pick(handles)(), pick(methods)
    local method = type(h) == "userdata" and h ~= io.stdout and not core.is_tensor(h) and h[key]
    if method then call(key, method, chance(0.8) and h or any(), any(), any(), any(), any()) end
  end
end

-- A trace: inputs, operations on them, derivatives, a program, its run.
local function one_trace()
  local n = random(1, 3)
  trace = core.trace()
  values = { trace:input("rows", { n, 3 }), trace:input("shared", { 3, 2 }),
    trace:input("shared", { 2, 4, 4, 3 }) }
  local x = values[1]
  for _ = 1, random(12) do one_call() end
  local y = pick(values)
  local function absent(v) return chance(0.3) and false or v end
  call("jvp", trace.jvp, trace, { x }, { absent(x) }, { y })
  call("vjp", trace.vjp, trace, { y }, { chance(0.8) and absent(y) or any() }, { x, values[2] })
  call("output", trace.output, trace, y, pick { "sum", "rows", "x" })
  local ok, exe = call("exe", core.exe, { trace }, { 1 }, { 0, chance(0.9) and n or any() },
    chance(0.5) and random(0, 1100) or nil, chance(0.2))
  local work = ok and exe:stats()
  if ok and work.flops + work.moved < 1e9 then
    local inputs = { fm.zeros { n, 3 }, fm.zeros { 3, 2 }, fm.zeros { 2, 4, 4, 3 } }
    if chance(0.3) then inputs[random(4)] = any() end
    local _, out = call("run", exe.run, exe, inputs, chance(0.9) and 1 or any(), 0)
    call("run", exe.run, exe, inputs, 1, 0, chance(0.5) and out or any())
    call("stats", exe.stats, exe)
    if chance(0.5) then exe:close() end
  end
  if chance(0.7) then trace:close() end
  trace, values = nil, nil
end

local function one_nested()
  mild = true
  local function f(x)
    local it = targets[random(operations)]
    local args, n = arguments(it[3])
    args[1] = x
    local _, y = call(it[1], it[2], table.unpack(args, 1, n))
    return core.is_tensor(y) and y or x * x
  end
  local x = tensor()
  call("jvp", function() return fm.jvp(f, x, chance(0.8) and x or any()) end)
  call("grad", function()
    return fm.grad(function(z)
      return fm.sum(fm.cast(f(z), "float64"))
    end)(x)
  end)
  mild = false
end

-- ------------------------------------------------------------------ running

local function one_round()
  local kind = random(10)
  if kind <= 6 then one_call() elseif kind <= 9 then one_trace() else one_nested() end
end

if draw then
  return function()
    one_round()
    if failures > 0 then error("an error of a C function is no sentence", 0) end
  end
end

local home, folder = lfs.currentdir(), fm.private_folder()
lfs.chdir(folder)

local stop, round = fm.clock() + seconds, 0
while rounds and round < rounds or not rounds and fm.clock() < stop do
  round = round + 1
  one_round()
end

collectgarbage()
lfs.chdir(home)
io.stderr:write(("%d calls of seed %d\n"):format(calls, seed))
print(("%d passed, %d failed"):format(failures == 0 and 1 or 0, failures))
os.exit(failures == 0)
