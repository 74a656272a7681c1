-- What the core refuses although its shapes fit: memory that two arguments share, entries of lists
-- that are no tensors, numbers that would repeat. Nothing is half done after a refusal.

local t = require "harness"
local core = require "flowmap.core"
local files = require "flowmap.base.files"
local fm = require "flowmap"
local nn = require "flowmap.nn"
local sandbox = require "sandbox"

local work = sandbox.root

t.test("a key beside the entries of a list is refused, whose value would be dropped", function()
  local list = "expected a number or a table of numbers"
  for words, f in pairs {
    ["tensor: the table is a table with the key 3, " .. list] = function()
      fm.tensor { [1] = 1, [3] = 3 }
    end,
    ["tensor: a table in it is a table with the key 'n', " .. list] = function()
      fm.tensor { { 1 }, { 2, n = 1 } }
    end,
    ["full: argument 1 is a table with the key 'x', expected a shape"] = function()
      fm.zeros { 2, x = 3 }
    end,
    ["concat: argument 1 is a table with the key 0, expected a list of tensors"] = function()
      fm.concat({ [0] = fm.ones(1), fm.ones(1) }, 1)
    end,
    ["optimiser: ema is a table with the key 1.5, expected a list of decays"] = function()
      core.optim({ ema = { 0.9, [1.5] = 0.9 } }, { fm.ones(1) })
    end,
  } do
    t.raises(f, words)
  end
  t.eq(fm.tensor({ {}, {} }).shape, { 2, 0 })
end)

t.test("an entry of a list that is no tensor is named by its place", function()
  local w = fm.ones { 2 }
  local optim = core.optim({}, { w })
  local trace = core.trace()
  local x = trace:input("shared", { 2 })
  trace:output(x * 2, "sum")
  local exe = core.exe({ trace }, { 1 }, { 0, 1 })
  for pattern, f in pairs {
    ["update: entry 1 of argument 2 is the string 'x', expected a tensor"] = function()
      optim:update({ "x" }, 1)
    end,
    ["optim: entry 2 of argument 2 is missing, expected a tensor"] = function()
      core.optim({}, { w, nil, w })
    end,
    ["jvp: entry 1 of argument 4 is 3, expected a tensor"] = function()
      trace:jvp({ x }, { x }, { 3 })
    end,
    ["run: entry 1 of argument 2 is true, expected a tensor"] = function() exe:run { true } end,
    ["run: entry 1 of argument 5 is a table, expected a tensor"] = function()
      exe:run({ w }, 0, 0, { {} })
    end,
    ["update: entry 1 of argument 2 is being traced and has no numbers yet"] = function()
      optim:update({ x }, 1)
    end,
    ["save_safetensors: 'a' is the string 'x', expected a tensor"] = function()
      core.save_safetensors(work .. "/x", { a = "x" }, {}, false)
    end,
    ["save_safetensors: a name is 1, expected a string"] = function()
      core.save_safetensors(work .. "/x", { w }, {}, false)
    end,
    ["save_safetensors: the metadata 'a' is 3, expected a string"] = function()
      core.save_safetensors(work .. "/x", {}, { a = 3 }, false)
    end,
    ["optimiser: b1 is the string '0.5', expected a number"] = function()
      core.optim({ b1 = "0.5" }, { w })
    end,
    ["optimiser: ema is 0.9, expected a list of decays"] = function()
      core.optim({ ema = 0.9 }, { w })
    end,
    ["pack: shape is missing, expected one such as {32, 32, 3}"] = function()
      core.pack(work .. "/x", { count = 1 })
    end,
    ["pack: text is 5, expected a string"] = function()
      core.pack(work .. "/x", { count = 1, shape = { 1, 1, 3 }, text = 5 })
    end,
    ["program: trace 2 is 3, expected an open trace"] = function()
      core.exe({ trace, 3 }, { 1 }, { 0, 1 })
    end,
    ["concat: an empty list found, expected one tensor or more"] = function() fm.concat({}, 1) end,
    ["tensor: a table in it is a table with a metatable, expected"] = function()
      fm.tensor { { 1 }, setmetatable({ 2 }, { __len = function() return 1 end }) }
    end,
    ["ranks_copy: argument 1 is true, expected a string or a tensor"] = function()
      core.ranks_copy(true)
    end,
    ["cannot list the folder /none?[31m: "] = function() core.folder_names "/none\27[31m" end,
  } do t.raises(f, pattern:gsub("%p", "%%%0")) end
end)

t.test("a tensor is no other value", function()
  local x = fm.ones { 2 }
  t.eq({ x == 1, x == io.stdout, x ~= nil, x == x }, { false, false, true, true })
end)

t.test("names of PyTorch, JAX and NumPy lead to functions that there are", function()
  for _, name in ipairs { "amax", "astype", "backward", "clamp", "concatenate", "detach", "dot",
    "expand", "flatten", "jit", "mm", "numpy", "permute", "rand", "randn", "relu", "squeeze",
    "stop_gradient", "take", "to", "tolist", "unsqueeze", "stack", "clone", "gt", "ge", "no_grad",
    "zeros_like", "einsum", "tile", "cond", "swish" } do
    t.eq(type(fm[core.counterpart(name)]), "function", name)
  end
  t.eq(core.counterpart "sin", nil)
end)

t.test("functions of the suite over the core's refuse what they would not do", function()
  local x = fm.ones { 2, 3 }
  local params = { ["a.b"] = fm.ones { 1 }, a = { b = fm.zeros { 1 } } }
  local opt = fm.optimiser { params = { fm.ones { 2 } }, ema = { 0.9 } }
  for pattern, f in pairs {
    ["split: the sizes have the sum 2, but axis 2 has 3 entries"] = function()
      fm.split(x, { 1, 1 }, -1)
    end,
    ["split: a nil found, expected a list of sizes"] = function() fm.split(x) end,
    ["fm.randn: no such function or module; did you mean normal?"] = function() fm.randn() end,
    ["tensor: no field or method 'detach' found; did you mean stop?"] = function() x:detach() end,
    ["concat: axis 9 found, expected 1 to 2 or -1 to -2"] = function() fm.concat({ x }, 9) end,
    ["concat: axis 8 found, expected 1 to 2"] = function()
      fm.grad(function(p) return fm.sum(fm.concat({ p }, 8)) end)(x)
    end,
    ["concat: entry 1 of the list is 3, expected a tensor"] = function() fm.concat({ 3 }, 1) end,
    ["sum: axis 1 is listed twice"] = function() fm.sum(x, { 1, -2 }) end,
    ["mean: the axes have the key 'axis', expected a list"] = function()
      fm.mean(x, { axis = 1 })
    end,
    ["conv: a number found, expected a tensor"] = function() fm.conv(x, 2) end,
    ["broadcast: a number found, expected a tensor"] = function() fm.broadcast(1, { 2 }) end,
    ["program: the rows input 'x' is a number, expected the shape of a row"] = function()
      fm.program(function() end, { rows = { x = 2 } })
    end,
    ["program: run: a nil found, expected a table of options"] = function()
      fm.program(function() end, {}):run()
    end,
    ["split: eta is 2, expected a number from 0 to 1"] = function()
      fm.program(function(_, b) return { sum = b:split(2) } end, {}):run { batch = 4 }
    end,
    ["dropout: a number found, expected a tensor of at most the 4 rows"] = function()
      fm.program(function(_, b) return { sum = b:dropout(3, 0.5, "x") } end, {}):run { batch = 4 }
    end,
    ["micro-batch: normal is called with a colon, as x:normal(...), found a table in place"] =
      function()
        fm.program(function(_, b) return { sum = fm.sum(b.normal({ 2 }, "x")) } end, {}):run {
          batch = 4 }
      end,
    ["optimiser: update is called with a colon, as x:update(...), found nothing in place"] =
      function() local _ = opt.update() end,
    ["tensor: a float32 tensor found, expected numbers to make a float64 one"] = function()
      fm.tensor(x, "float64")
    end,
    ["arange: value 257 is 256, expected a whole number from 0 to 255"] = function()
      fm.arange(300, "uint8")
    end,
    ["the operator < or <= found between tensors, expected fm.lt"] = function()
      return x > 1, x <= x
    end,
    ["the operator == or ~= found between tensors, expected fm.eq"] = function()
      return x == fm.copy(x)
    end,
    ["the operator == or ~= found"] = function() -- also while a program is traced
      fm.grad(function(y) return y ~= y * 2 and fm.sum(y) end)(x)
    end,
    ["the operator .. found, expected tostring(x) or x:item()"] = function()
      return "loss " .. fm.sum(x)
    end,
    ["an assignment to a tensor's entry or field found"] = function() x[1] = 5 end,
    ["an assignment to a tensor's entry"] = function() x.shape = { 6 } end,
    ["the operator // or % found, expected fm.floor"] = function() return x % 2, 2 // x end,
    ["transpose: axis 0 found at position 2, expected 1 to 2 or -1 to -2"] = function()
      fm.transpose(x, { 1, 0 })
    end,
    ["transpose: axis 1 found at position 2, expected each axis of 1 to 2 once"] = function()
      fm.transpose(x, { -2, 1 })
    end,
    ["slice: a scalar found, which has no axes"] = function() fm.rows(fm.tensor(1), 1, 1) end,
    ["time_code: dimension nil found"] = function() nn.time_code(x) end,
    ["attention: 0 heads found"] = function() nn.attention(fm.ones { 1, 2, 2, 6 }, 0) end,
    ["arange: 16777218 numbers found, but float32 holds all whole numbers only up to"] = function()
      fm.arange(16777218)
    end,
    ["mixture: the weights have the sum 1.5, expected 1"] = function()
      fm.mixture.data { weights = { 1, 0.5 }, means = { { 0 }, { 1 } }, sds = { { 1 }, { 1 } } }
    end,
    ["mixture: weights must be a list of numbers above 0"] = function()
      fm.mixture.data { weights = { 1.5, -0.5 }, means = { { 0 }, { 1 } }, sds = { { 1 }, { 1 } } }
    end,
    ["mixture: means of component 2 must be a list of finite numbers, one for each"] = function()
      fm.mixture.data { weights = { 0.5, 0.5 }, means = { { 0 }, { 1, 2 } }, sds = { {}, {} } }
    end,
    ["mixture: sds must be a list with an entry for each of the 1 components"] = function()
      fm.mixture.data { weights = { 1 }, means = { { 0 } } }
    end,
    ["optimiser: there is no average 0; it keeps 1"] = function() opt:ema(0) end,
    ["optimiser: two parameters have the name 'a.b'"] = function()
      fm.optimiser { params = params }
    end,
    ["optimiser: ema is 0.9, expected a list of decays"] = function()
      fm.optimiser { params = { fm.ones { 2 } }, ema = 0.9 }
    end,
  } do t.raises(f, pattern:gsub("%p", "%%%0")) end
  fm.concat({ x }, 1):copy_from(fm.zeros { 2, 3 })
  t.eq(x:flat(), { 1, 1, 1, 1, 1, 1 }, "concat of one tensor is a copy")
end)

t.test("a .npy file that Lua reads cannot state a size whose bytes wrap around", function()
  local function load(shape)
    local head = "{'descr': '<f4', 'fortran_order': False, 'shape': " .. shape .. ", }"
    fm.write_file(work .. "/h.npy", "\x93NUMPY\1\0" .. string.pack("<s2", head))
    return require("flowmap.npy").load(work .. "/h.npy")
  end
  t.raises(function() load "(4611686018427387904, 4)" end, "holds 0 bytes of values, but its shape")
  t.raises(function() load "(99999999999999999999,)" end, "has a size of 99999999999999999999")
  t.eq({ load "(1000000, 0)" }, { {}, { 1000000, 0 } })
end)

t.test("outputs of a program share no memory with one another or with an input", function()
  local trace = core.trace()
  local x = trace:input("shared", { 4 })
  trace:output(fm.broadcast(fm.sum(x, { 1 }), { 4 }) + x, "sum")
  trace:output(x * 3, "sum")
  local exe = core.exe({ trace }, { 1 }, { 0, 1 })
  local both, given = fm.zeros { 8 }, fm.tensor { 1, 2, 3, 4 }
  t.raises(function() exe:run({ given }, 0, 0, { given, fm.zeros { 4 } }) end,
    "input 1 and output 1 share memory")
  t.raises(function() exe:run({ given }, 0, 0, { both:view(1, 4), both:view(4, 4) }) end,
    "outputs 1 and 2 share memory")
  exe:run({ given }, 0, 0, { both:view(1, 4), both:view(5, 4) })
  t.eq(both:flat(), { 11, 12, 13, 14, 3, 6, 9, 12 })
  local constant, again = fm.ones { 4 }, core.trace()
  again:output(again:input("shared", { 4 }) + constant, "sum")
  exe = core.exe({ again }, { 1 }, { 0, 1 })
  t.raises(function() exe:run({ given }, 0, 0, { constant }) end, "holds as a constant")
end)

t.test("a program is not run with constants that were overwritten since it was traced", function()
  local w, b = fm.tensor { { 1, 2 }, { 3, 4 } }, fm.tensor { 5, 6 } -- of b it keeps a larger copy
  local uses = { [w] = function(x) return fm.matmul(x, w) end, [b] = function(x) return x + b end }
  for constant, use in pairs(uses) do
    local job = { batch = 1, rows = { x = fm.ones { 1, 2 } } }
    local program = fm.program(function(_, batch) return { rows = use(batch.rows.x) } end,
      { rows = { x = { 2 } } })
    local first = program:run(job).rows:flat()
    t.eq(program:run(job).rows:flat(), first)
    constant:view(1, 1):copy_from(constant:view(2, 1))
    t.raises(function() program:run(job) end, "overwritten since it was traced")
  end
  local program = fm.program(function(_, batch) return { rows = uses[w](batch.rows.x) } end,
    { rows = { x = { 2 } } })
  program:run { batch = 1, rows = { x = fm.ones { 1, 2 } } }
  fm.optimiser({ params = { w } }):update({ w }, 0.1)
  t.raises(function() program:run { batch = 1, rows = { x = fm.ones { 1, 2 } } } end,
    "%(2, 2%) that the program holds as a constant")
end)

t.test("parameters of an optimiser share no memory", function()
  local w = fm.ones { 8 }
  t.raises(function() core.optim({}, { w, w }) end, "parameters 1 and 2 share memory")
  t.raises(function() core.optim({}, { w:view(1, 5), w:view(5, 4) }) end, "share memory")
  core.optim({}, { w:view(1, 4), w:view(5, 4) })
end)

t.test("a sample's number has 40 bits: no two samples have the same random numbers", function()
  local last = (1 << 40) - 2
  fm.uniform({ 2 }, { row0 = last })
  t.raises(function() fm.uniform({ 2 }, { row0 = last + 1 }) end,
    "uniform: row0 is 1099511627775, expected a whole number from 0 to 1099511627774")
  t.raises(function() fm.normal({ 2 }, { step = "1" }) end, "normal: step is the string '1'")
end)

t.test("indices, views and values are not taken for others", function()
  t.raises(function() fm.tensor({ 1, 2 }):get(1, 2) end, "get: 2 indices found, expected 1")
  t.raises(function() fm.full({}, 5):view(1, 0) end, "view: a scalar found")
  t.eq(1 / fm.full({ 1 }, -0.0):get(1), -math.huge)
end)

t.test("a picture of values that are no numbers is not written", function()
  t.raises(function() fm.save_png(work .. "/x.png", fm.full({ 2, 2, 3 }, 0 / 0)) end,
    "save_png: value 1 is %-?nan, expected finite numbers")
  t.eq(files.exists(work .. "/x.png"), false)
  t.raises(function() fm.save_png(work .. "/x.png", fm.zeros { 1, 70000, 3 }) end, "to 65535")
end)

t.test("an image that is refused is not counted as written", function()
  local p = core.pack(work .. "/a.pack", { count = 2, train = 1, classes = 2, shape = { 1, 1, 3 } })
  local image = fm.from_bytes("abc", { 1, 1, 1, 3 })
  p:put(0, image, "\0")
  t.raises(function() p:put(1, image, "\2") end, "label 2 found, expected 0 to 1")
  t.raises(function() p:put(1, image) end, "no labels found")
  t.raises(function() p:finish() end, "1 of 2 images are missing")
  p:put(1, image, "\1")
  p:finish()
end)

t.test("axes are counted backwards from -1 everywhere", function()
  local x = fm.reshape(fm.arange(6), { 1, 2, 3 })
  t.eq(fm.transpose(x, { -1, 1, -2 }):totable(), fm.transpose(x, { 3, 1, 2 }):totable())
  t.eq(fm.transpose(x, { -1, 1, -2 }):totable(), { { { 0, 3 } }, { { 1, 4 } }, { { 2, 5 } } })
  t.eq(fm.tensor(x, "float32") == x, true, "a tensor of the wanted type is itself")
end)

t.test("a sentence about a file with a long path includes the reason", function()
  local path = work
  for _ = 1, 5 do
    path = path .. "/" .. ("d"):rep(120)
    files.mkdir(path)
  end
  path = path .. "/x"
  core.write_file(path, ("x"):rep(20))
  t.raises(function() core.load_npy(path) end, "is not a .npy file of version 1.0, 2.0 or 3.0")
  t.raises(function() core.load_safetensors(path) end, "bytes in all")
  t.raises(function() core.save_safetensors(path, { a = fm.full({ 1 }, 0 / 0) }, {}, false) end,
    "nothing was written")
  t.raises(function() core.pack_look(work) end, "it is a folder, expected a file")
  for _ = 1, 10 do
    path = path:match "(.*)/" .. "/" .. ("d"):rep(120) .. "/x"
    files.mkdir(path:match "(.*)/")
  end
  fm.save_png(path, fm.zeros { 1, 1, 3 })
  t.eq(core.source(path:match "(.*)/"):names(), { "x" })
  t.raises(function() core.pack(path, { count = 1, train = 1, shape = { 5000, 1, 3 } }) end,
    "the height is 5000, expected 1 to 4096")
end)

t.test("an archive that could not be read may be read again", function()
  fm.save_png(work .. "/one.png", fm.zeros { 2, 2, 3 })
  assert(os.execute(("cd '%s' && tar cf a.tar one.png"):format(work)))
  local source = core.source(work .. "/a.tar")
  source:assign({ 0 }, { 0 })
  local p = core.pack(work .. "/b.pack", { count = 1, train = 1, shape = { 2, 2, 3 } })
  os.rename(work .. "/a.tar", work .. "/b.tar")
  t.raises(function() p:take(source, {}) end, "cannot read")
  os.rename(work .. "/b.tar", work .. "/a.tar")
  t.raises(function() p:take(source, { crop = 1 }) end, "a crop to 1 pixels found, expected")
  t.raises(function() p:take(source, { crop = 3 }) end,
    "2 x 2 pixels found, expected at least 3 x 3")
end)

t.test("a trace that has failed says so, whatever is asked of it", function()
  local trace = core.trace()
  local x = trace:input("shared", { 4 })
  trace:output(x * 2, "sum")
  t.raises(function() fm.reshape(x, { 3 }) end, "reshape")
  for name, f in pairs {
    exe = function() core.exe({ trace }, { 1 }, { 0, 1 }) end,
    text = function() core.program_text({ trace }, { 1 }, { 0, 1 }, nil, nil, "plan") end,
    jvp = function() trace:jvp({ x }, { x }, { x }) end,
    vjp = function() trace:vjp({ x }, { x }, { x }) end,
    output = function() trace:output(x, "sum") end,
    const = function() trace:const(fm.ones { 2 }) end,
    input = function() trace:input("shared", { 4 }) end,
    op = function() fm.exp(x) end,
  } do
    local err = t.raises(f, "this trace has failed before and cannot be continued")
    t.eq(err.code, "usage", name)
  end
end)

t.test("a program may stack more calls than an operation has operands", function()
  local trace, sum = core.trace(), nil
  local w, x = trace:input("shared", { 8, 8 }), trace:input("shared", { 3, 8 })
  for k = 1, 400 do
    local y = fm.tanh(fm.matmul(x * k, w))
    sum = sum and sum + y or y
  end
  trace:output(sum, "sum")
  local text = core.program_text({ trace }, { 1 }, { 0, 1 }, nil, nil, "stack")
  t.eq(text:find("f32[1200,8] = concat", 1, true) ~= nil, true)
end)

t.test("a program that a finaliser closes while its costs are read gives a sentence", function()
  for _ = 1, 40 do
    local trace = core.trace()
    local y = trace:input("shared", { 4 })
    for _ = 1, 20 do y = fm.sin(y) end
    trace:output(y, "sum")
    local exe = core.exe({ trace }, { 1 }, { 0, 1 })
    setmetatable({}, { __gc = function() exe:close() end })
    local ok, err = pcall(exe.costs, exe)
    t.eq(ok and "costs" or err.message, ok and "costs" or "this program has been closed")
  end
end)

t.done()
