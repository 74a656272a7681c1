-- The setting precision = "bfloat16": the affected products, their errors, bits and the note.

local t = require "harness"
local fm = require "flowmap"
local sandbox = require "sandbox"

local experiment, trainer = fm.experiment, fm.trainer

local board = experiment.load "experiments/checkerboard.lua"

local function resolve(set)
  local all = { width = 32, depth = 3, batch = 96, micro = 16, steps = 6, precision = "bfloat16" }
  for key, value in pairs(set or {}) do all[key] = value end
  return experiment.resolve(board, { profile = "smoke", set = all })
end

-- The product a b as computed by a program with this precision.
local function product(a, b, precision, ta, tb)
  local shared = { a = a, b = b }
  local program = fm.program(function(input)
    return { sum = { y = fm.matmul(input.a, input.b, ta, tb) } }
  end, { shared = shared, precision = precision })
  return program:run({ shared = shared, batch = 1 }).sum.y
end

local function noise(shape, stream)
  return fm.normal(shape, { seed = 3, stream = stream, dtype = "float32" })
end

-- Integers from -128 to 127 are bfloat16 numbers.
local function integers(shape, stream)
  return fm.floor(256 * fm.uniform(shape, { seed = 3, stream = stream, dtype = "float32" })) - 128
end

-- Check that two tensors are equal; the message does not list them.
local function same(x, y)
  t.eq(x.shape, y.shape)
  t.eq(fm.max_reduce(fm.abs(x - y)):item(), 0.0, "largest difference")
end

local function distance(x, y)
  return math.sqrt((fm.sum(fm.square(x - y)) / fm.sum(fm.square(y))):item())
end

t.test("products of small integers are exact", function()
  for _, it in ipairs { { { 37, 65 }, { 65, 40 } }, { { 65, 37 }, { 65, 40 }, true },
    { { 37, 65 }, { 40, 65 }, false, true }, { { 2, 9, 8 }, { 2, 8, 11 } } } do
    local a, b = integers(it[1], "a"), integers(it[2], "b")
    same(product(a, b, "bfloat16", it[3], it[4]), fm.matmul(a, b, it[3], it[4]))
  end
end)

t.test("others differ by rounding to 8 bits, and only in programs that ask for it", function()
  local a, b = noise({ 64, 100 }, "a"), noise({ 100, 48 }, "b")
  local exact = fm.matmul(a, b)
  -- two operands, each off by at most 2^-8 and 0.4 2^-8 in the mean square
  local off = distance(product(a, b, "bfloat16"), exact)
  t.eq(off > 1e-3 and off < 2^-8, true, off)
  same(product(a, b, "float32"), exact)
  same(product(a, b), exact)
end)

t.test("narrow products and float64 are unchanged", function()
  for _, it in ipairs { { { 64, 4 }, { 4, 48 } }, { { 64, 48 }, { 48, 2 } } } do
    for _, dtype in ipairs { "float32", "float64" } do
      local a, b = fm.cast(noise(it[1], "a"), dtype), fm.cast(noise(it[2], "b"), dtype)
      same(product(a, b, "bfloat16"), fm.matmul(a, b))
    end
  end
  local a = fm.cast(noise({ 32, 32 }, "a"), "float64")
  same(product(a, a, "bfloat16"), fm.matmul(a, a))
  t.raises(function() resolve { dtype = "float64" } end,
    "precision bfloat16 needs dtype float32, found float64")
  t.raises(function() resolve { precision = "float16" } end,
    "precision must be one of float32, bfloat16, found float16")
end)

-- Gradients of the first step, in one precision, as a list of tensors.
local function gradients(method, precision)
  local set = { width = 128, depth = 5, batch = 512, micro = 128, precision = precision }
  local cfg = experiment.resolve(board, { profile = "smoke", method = method, set = set })
  local job, list = trainer.new(board, cfg), {}
  local out = job.program:run { shared = job.shared, batch = cfg.batch, seed = 1, step = 0 }
  fm.tree.each(function(g) list[#list + 1] = g end, out.sum.grads)
  return list
end

for _, method in ipairs { "lsd", "esd", "psd-m" } do
  t.test(method .. ": the gradient points where the float32 gradient does", function()
    local dot, of_a, of_b, off = 0, 0, 0, 0
    local exact = gradients(method, "float32")
    for k, a in ipairs(gradients(method, "bfloat16")) do
      local b = exact[k]
      dot, off = dot + fm.sum(a * b):item(), off + fm.sum(fm.square(a - b)):item()
      of_a, of_b = of_a + fm.sum(fm.square(a)):item(), of_b + fm.sum(fm.square(b)):item()
    end
    local cosine, size = dot / math.sqrt(of_a * of_b), math.sqrt(off / of_b)
    t.eq(cosine > 0.9999, true, cosine)
    t.eq(size < 1e-2 and size > 1e-5, true, size)
  end)
end

-- The bits of a job's weights.
local function bits(job)
  local parts = {}
  fm.tree.each(function(w, name) parts[#parts + 1] = name .. fm.bytes(w) end, job.params)
  return fm.sha256(table.concat(parts))
end

local function trained(set, steps)
  local job = trainer.new(board, resolve(set))
  for _ = 1, steps do trainer.step(job) end
  return job
end

t.test("1, 2 and 4 threads give the same bits", function()
  local found = {}
  for _, threads in ipairs { 1, 2, 4 } do
    fm.set_threads(threads)
    found[#found + 1] = bits(trained({}, 4))
  end
  t.eq(found[2], found[1])
  t.eq(found[3], found[1])
  t.eq(bits(trained({ precision = "float32" }, 4)) ~= found[1], true, "another precision")
end)

t.test("a resumed run ends bit-identical", function()
  local path = sandbox.path "checkpoint.safetensors"
  fm.checkpoint.save(path, trained({}, 3), { step = 3 })
  local resumed = trainer.new(board, resolve(), fm.checkpoint.load(path))
  for _ = 1, 3 do trainer.step(resumed) end
  t.eq(bits(resumed), bits(trained({}, 6)))
end)

t.test("without the instruction one note is printed", function()
  local dir = sandbox.path "run"
  for _, precision in ipairs { "bfloat16", "float32" } do
    local _, text = sandbox.flowmap(("run %s/experiments/checkerboard.lua --profile "
      .. "smoke --set width=16 --set steps=2 --set batch=32 --set nfe=1 --set eval_samples=2000 "
      .. "--set precision=%s --out %s"):format(sandbox.here, precision, dir), "FM_ISA=avx2")
    local _, notes = text:gsub("note: bfloat16 products are emulated here", "")
    t.eq(notes, precision == "bfloat16" and 1 or 0, precision)
    local manifest = fm.json.read(dir .. "/manifest.json")
    t.eq(manifest.precision, precision)
    t.eq(manifest.bfloat16, precision == "bfloat16" and "emulated" or nil)
  end
end)

t.done()
