-- Handles of the core that are forged or closed during use, tables that run code when read,
-- numbers beyond C's range: each gives a sentence, never a crash.

local t = require "harness"
local core = require "flowmap.core"
local files = require "flowmap.base.files"
local fm = require "flowmap"
local sandbox = require "sandbox"

local work = sandbox.root

local function pack()
  return core.pack(work .. "/a.pack", { count = 2, train = 1, shape = { 2, 2, 3 }, text = "x" })
end

local function program(f)
  local trace = core.trace()
  local x = trace:input("rows", { 4, 2 })
  trace:output(f and f(x) or x * 2, "rows")
  return core.exe({ trace }, { 1 }, { 0, 4 }), trace, x
end

files.mkdir(work .. "/images")
fm.save_png(work .. "/images/a.png", fm.zeros { 2, 2, 3 })

local made = {
  tensor = function() return fm.tensor { 1, 2 } end,
  trace = core.trace,
  exe = function() return (program()) end,
  optim = function() return core.optim({}, { fm.tensor { 1 } }) end,
  pack = pack,
  source = function() return core.source(work .. "/images") end,
}

t.test("metatables are locked; finalisers accept any value and any number of calls", function()
  for name, make in pairs(made) do
    local it = make()
    t.eq(getmetatable(it), "flowmap." .. name)
    t.raises(function() setmetatable({}, it) end, "")
    local meta = debug.getmetatable(it) -- of a stock Lua
    for _, value in ipairs { io.stdout, 3, "x", {}, print, coroutine.create(print), false } do
      meta.__gc(value)
    end
    meta.__gc()
    for _, other in pairs(made) do meta.__gc(setmetatable({}, { __index = other() })) end
    meta.__gc(it)
    meta.__gc(it)
  end
  collectgarbage()
end)

t.test("a foreign userdata with one of our metatables is not accepted as ours", function()
  for _, make in pairs(made) do
    local meta = debug.getmetatable(make())
    for _, other in ipairs { io.tmpfile(), core.trace(), (program()) } do
      if debug.getmetatable(other) ~= meta then
        local was = debug.getmetatable(other)
        debug.setmetatable(other, meta)
        pcall(meta.__gc, other)
        pcall(tostring, other)
        pcall(function() return #other end)
        for _, method in pairs(type(meta.__index) == "table" and meta.__index or {}) do
          t.eq((pcall(method, other)), method == meta.__index.close)
          t.eq((pcall(method, other, {}, {}, {})), false)
        end
        t.eq(core.is_tensor(other), false)
        debug.setmetatable(other, was)
      end
    end
  end
end)

t.test("every method of a closed handle reports that it is closed", function()
  for name, make in pairs(made) do
    local it = make()
    local meta = debug.getmetatable(it)
    meta.__gc(it)
    if name ~= "tensor" then
      for key, method in pairs(meta.__index) do
        if key ~= "close" then
          t.raises(function() method(it) end, "")
          t.raises(function() method(it, fm.zeros { 1 }, 1, 1, 1) end, "")
          t.raises(function() method(it, {}, {}, {}, {}) end, "")
        end
      end
    end
  end
  local x = made.tensor()
  debug.getmetatable(x).__gc(x)
  t.eq(tostring(x), "closed tensor")
  for _, f in ipairs { fm.exp, fm.flat, fm.item, fm.bytes, fm.sum, fm.finite } do
    t.raises(function() f(x) end, "ended")
  end
  t.raises(function() return x + 1 end, "ended")
  t.raises(function() return #x end, "ended")
end)

t.test("a trace closed inside a metamethod or a finaliser", function()
  local function liar(trace)
    local function close()
      trace:close()
      return 2
    end
    return setmetatable({}, { __index = close, __len = close, __gc = close, __tostring = close })
  end
  local trace = core.trace()
  t.raises(function() trace:input("rows", liar(trace)) end, "metatable")
  trace = core.trace()
  t.raises(function() trace:jvp(liar(trace), {}, {}) end, "metatable")
  for _, key in ipairs { "seed", "stream", "step", "row0" } do
    t.raises(function() fm.normal({ 2 }, { [key] = {} }) end, "normal: " .. key .. " is a table")
  end
  -- a finaliser that runs whenever the collector does: the binding allocates while it reads
  collectgarbage "generational"
  for _ = 1, 300 do
    local it = core.trace()
    local x = it:input("rows", { 2, 2 })
    setmetatable({}, { __gc = function() it:close() end })
    for _ = 1, 30 do
      pcall(function() return it:jvp({ x }, { x }, { x * 2 + it:full({ 2, 2 }, 1) }) end)
    end
    local exe = program()
    setmetatable({}, { __gc = function() exe:close() end })
    for _ = 1, 5 do pcall(exe.run, exe, { fm.zeros { 4, 2 } }, 0, 0) end
  end
  collectgarbage "incremental"
end)

t.test("packs and sources closed while their arguments are read", function()
  local p, s = pack(), made.source()
  s:assign({ 0 }, { 0 })
  local function both(close, key)
    return setmetatable({}, { __index = function(_, k)
      if k == key then close() end
      return 0
    end })
  end
  t.raises(function() p:take(s, both(function() p:close() end, "crop")) end, "is closed")
  p = pack()
  t.raises(function() p:take(s, both(function() s:close() end, "height")) end, "is closed")
  s = made.source()
  t.raises(function() s:assign(both(function() s:close() end, 1), {}) end, "metatable")
  s:assign({ 1.0 }, {})
  t.raises(function() s:assign({ "x" }, {}) end, "file 1 has the string 'x'")
  t.raises(function() s:assign({ 0 }, { 256 }) end, "from %-1 to 255")
end)

t.test("tables with metamethods are refused instead of being read as empty", function()
  local one = setmetatable({}, {
    __index = function() return 1 end, __len = function() return 2 end,
  })
  for _, f in ipairs { fm.tensor, fm.zeros, fm.ones } do
    t.raises(function() f(one) end, "metatable")
  end
  t.raises(function() fm.concat(one, 1) end, "")
  t.raises(function() core.optim({}, one) end, "metatable")
  t.raises(function() core.optim({ ema = one }, { fm.tensor { 1 } }) end, "metatable")
end)

t.test("numbers beyond C's range give sentences with the function's name", function()
  local big, x = math.maxinteger, fm.tensor { 1, 2 }
  for _, it in ipairs {
    { function() fm.set_threads(1 << 32 | 1) end, "threads: found" },
    { function() fm.set_threads "2" end, "set_threads: argument 1 is the string '2'" },
    { function() fm.peak(1 << 32 | 1) end, "peak: argument 1 is 4294967297" },
    { function() made.optim():state(1 << 32) end, "state: argument 2 is 4294967296" },
    { function() made.optim():steps(-1) end, "steps: argument 2 is %-1" },
    { function() fm.normal({ 2 }, { step = 1 << 32 }) end, "from 0 to 4294967295" },
    { function() fm.normal({ 2 }, { stream = -1 }) end, "from 0 to 4294967295" },
    { function() fm.normal({ 2 }, { row0 = big }) end, "row0", "" },
    { function() fm.slice(x, 1, math.mininteger, 1) end, "slice" },
    { function() fm.slice(x, math.mininteger, 1, 1) end, "axis %-9223372036854775808" },
    { function() fm.zeros(1.5) end, "is 1.5, expected a whole number" },
    { function() fm.zeros { 0 / 0 } end, "size 1 of a shape is %-?nan" },
    { function() fm.zeros { "2" } end, "size 1 of a shape is the string '2'" },
    { function() fm.arange(-1) end, "arange: argument 1 is %-1" },
    { function() x:view(big, big) end, "view: rows" },
    { function() x:get(math.mininteger) end, "get: index %-9223372036854775808" },
    { function() core.exe({ core.trace() }, { 1 }, { 0, -4 }) end, "first row" },
    { function() core.exe({ core.trace() }, { 1 << 32 | 1 }, { 0, 4 }) end, "valid trace" },
    { function() core.trace():input("row", { 1 }) end, "expected 'shared' or 'rows'" },
    { function() fm.sha256_file "a\0b" end, "expected the name of a file" },
    { function() fm.matmul(x, "a\nb") end, "matmul: argument 2 is the string 'a%?b'" },
    { function() return x + {} end, "add: argument 2 is a table, expected a tensor" },
    { function() return x .. 1 end, "" },
    { function() fm.exp() end, "exp: argument 1 is missing, expected a tensor" },
    { function() fm.concat({ x, 3 }, 1) end, "concat: entry 2 of the list is 3" },
  } do
    t.raises(it[1], it[3] or it[2])
  end
  t.raises(function() program():run({ fm.zeros { 4, 2 } }, 0, 1 << 32) end, "run: argument 4")
end)

t.test("a trace that has failed says so again", function()
  local trace = core.trace()
  local x = trace:input("shared", { 2 })
  t.raises(function() fm.reshape(x, { 3 }) end, "reshape")
  local e = t.raises(function() fm.exp(x) end, "has failed before")
  t.eq(e.code, "usage")
end)

t.test("programs and optimisers that are dropped do not pile up outside of Lua", function()
  local x, column = fm.ones { 512, 512 }, fm.ones { 512, 1 } -- 1 MiB, 2 KiB
  local function run()
    local trace = core.trace()
    local a, b = trace:input("shared", x.shape), trace:input("shared", column.shape)
    trace:output(fm.matmul(fm.abs(a), b), "sum")
    core.exe({ trace }, { 1 }, { 0, 1 }):run({ x, column })
  end
  for _, make in ipairs { run, function() core.optim({}, { x }) end } do
    collectgarbage()
    local start, most = core.info().bytes, 0
    for _ = 1, 40 do
      make()
      most = math.max(most, core.info().bytes - start)
    end
    t.eq(most < 12 << 20, true, most)
  end
end)

t.test("the contents of a packed file are never modified", function()
  local p = pack()
  p:put(0, fm.from_bytes(("x"):rep(24), { 2, 2, 2, 3 }))
  p:finish()
  local table = core.pack_map(work .. "/a.pack", 0, 2)
  t.raises(function() table:copy_from(table) end, "read%-only")
  t.raises(function() table:view(1, 1):copy_from(table:view(1, 1)) end, "read%-only")
  t.raises(function() core.optim({}, { table }) end, "read%-only")
  local exe = program()
  t.raises(function() exe:run({ fm.zeros { 4, 2 } }, 0, 0, { table }) end, "read%-only")
  t.raises(function() exe:run({ fm.zeros { 4, 2 } }, 0, 0, {}) end, "a list of 1 tensors")
end)

t.done()
