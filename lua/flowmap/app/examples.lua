--- Examples of the functions in `fm`, for `fm.help` and the reference. A line
-- "EXPRESSION --> VALUE" states a value, written as `shown` writes it; any other line is a
-- statement. The lines of an example share global variables; a test runs all of them.
-- @module flowmap.app.examples

local core = require "flowmap.core"

local M = {}

--- The examples by name.
M.text = {
  copy = [[
fm.copy(fm.tensor { 1, 2 }) --> { 1, 2 }]],
  stop = [[
fm.grad(function(x) return fm.sum(x * fm.stop(x)) end)(fm.tensor { 3 }) --> { 3 }]],
  affine = [[
fm.affine(fm.tensor { 1, 2 }, 10, 1) --> { 11, 21 }]],
  add = [[
fm.add(fm.tensor { 1, 2 }, fm.tensor { 10, 20 }) --> { 11, 22 }]],
  sub = [[
fm.sub(fm.tensor { 1, 2 }, fm.tensor { 10, 20 }) --> { -9, -18 }]],
  mul = [[
fm.mul(fm.tensor { 1, 2 }, fm.tensor { 10, 20 }) --> { 10, 40 }]],
  div = [[
fm.div(fm.tensor { 1, 2 }, fm.tensor { 4, 4 }) --> { 0.25, 0.5 }]],
  square = [[
fm.square(fm.tensor { -3, 2 }) --> { 9, 4 }]],
  recip = [[
fm.recip(fm.tensor { 4, -2 }) --> { 0.25, -0.5 }]],
  exp = [[
fm.exp(fm.tensor { 0, 1 }) --> { 1, 2.7183 }]],
  log = [[
fm.log(fm.tensor { 1, 10 }) --> { 0, 2.3026 }]],
  sqrt = [[
fm.sqrt(fm.tensor { 9, 2 }) --> { 3, 1.4142 }]],
  rsqrt = [[
fm.rsqrt(fm.tensor { 4, 16 }) --> { 0.5, 0.25 }]],
  tanh = [[
fm.tanh(fm.tensor { 0, 1 }) --> { 0, 0.76159 }]],
  sin = [[
fm.sin(fm.tensor { 0, 1 }) --> { 0, 0.84147 }]],
  cos = [[
fm.cos(fm.tensor { 0, 1 }) --> { 1, 0.5403 }]],
  sigmoid = [[
fm.sigmoid(fm.tensor { 0, 2 }) --> { 0.5, 0.8808 }]],
  pow = [[
fm.pow(fm.tensor { 4, 8 }, 1.5) --> { 8, 22.627 }]],
  lt = [[
fm.lt(fm.tensor { 1, 2, 3 }, fm.tensor { 2, 2, 2 }) --> { 1, 0, 0 }]],
  le = [[
fm.le(fm.tensor { 1, 2, 3 }, fm.tensor { 2, 2, 2 }) --> { 1, 1, 0 }]],
  eq = [[
fm.eq(fm.tensor { 1, 2, 3 }, fm.tensor { 2, 2, 2 }) --> { 0, 1, 0 }]],
  where = [[
fm.where(fm.tensor { 1, 0 }, fm.tensor { 5, 6 }, fm.tensor { 7, 8 }) --> { 5, 8 }]],
  maximum = [[
fm.maximum(fm.tensor { 1, 5 }, fm.tensor { 3, 3 }) --> { 3, 5 }]],
  minimum = [[
fm.minimum(fm.tensor { 1, 5 }, fm.tensor { 3, 3 }) --> { 1, 3 }]],
  abs = [[
fm.abs(fm.tensor { -1, 2 }) --> { 1, 2 }]],
  sign = [[
fm.sign(fm.tensor { -4, 0, 2 }) --> { -1, 0, 1 }]],
  floor = [[
fm.floor(fm.tensor { -1.5, 2.5 }) --> { -2, 2 }]],
  clip = [[
fm.clip(fm.tensor { -2, 0.5, 3 }, -1, 1) --> { -1, 0.5, 1 }]],
  clip_d = [[
fm.clip_d(fm.tensor { -2, 0.5, 3 }, fm.ones { 3 }, -1, 1) --> { 0, 1, 0 }]],
  gelu = [[
fm.gelu(fm.tensor { -1, 0, 1 }) --> { -0.15881, 0, 0.84119 }]],
  silu = [[
fm.silu(fm.tensor { -1, 0, 1 }) --> { -0.26894, 0, 0.73106 }
fm.silu(fm.tensor { 0 }, 1) --> { 0.5 }]],
  reshape = [[
fm.reshape(fm.arange(6), { 2, 3 }) --> { { 0, 1, 2 }, { 3, 4, 5 } }]],
  transpose = [[
fm.transpose(fm.tensor { { 1, 2 }, { 3, 4 } }, { 2, 1 }) --> { { 1, 3 }, { 2, 4 } }]],
  slice = [[
fm.slice(fm.arange(5), 1, 2, 3) --> { 1, 2, 3 }]],
  pad = [[
fm.pad(fm.ones { 2 }, 1, 2, 5) --> { 0, 1, 1, 0, 0 }]],
  concat = [[
fm.concat({ fm.ones { 1, 2 }, fm.zeros { 1, 2 } }, 1) --> { { 1, 1 }, { 0, 0 } }]],
  broadcast = [[
fm.broadcast(fm.tensor { { 1 }, { 2 } }, { 2, 3 }) --> { { 1, 1, 1 }, { 2, 2, 2 } }]],
  sum_to = [[
fm.sum_to(fm.tensor { { 1, 2 }, { 3, 4 } }, { 2, 1 }) --> { { 3 }, { 7 } }]],
  max_to = [[
fm.max_to(fm.tensor { { 1, 2 }, { 3, 4 } }, { 1, 2 }) --> { { 3, 4 } }]],
  gather = [[
fm.gather(fm.tensor { { 1, 2 }, { 3, 4 } }, fm.tensor { 1, 0 }) --> { { 3, 4 }, { 1, 2 } }]],
  scatter = [[
rows, numbers = fm.tensor { { 1 }, { 2 }, { 3 } }, fm.tensor { 1, 0, 1 }
fm.scatter(rows, numbers, 3) --> { { 2 }, { 4 }, { 0 } }]],
  pixels = [[
fm.pixels(fm.tensor({ { 0, 255 } }, "uint8"), fm.tensor { 0 }) --> { { -1, 1 } }]],
  assignment = [[
fm.assignment(fm.tensor { { 3, 1 }, { 1, 2 } }) --> { 1, 0 }]],
  cast = [[
fm.cast(fm.tensor { 1, 2 }, "float64").dtype --> "float64"]],
  matmul = [[
fm.matmul(fm.tensor { { 1, 2 } }, fm.tensor { { 3 }, { 4 } }) --> { { 11 } }
fm.matmul(fm.tensor { { 1, 2 } }, fm.tensor { { 3, 4 } }, false, true) --> { { 11 } }]],
  softmax = [[
fm.softmax(fm.tensor { { 0, 1 } }) --> { { 0.26894, 0.73106 } }]],
  softmax_d = [[
fm.softmax_d(fm.tensor { { 0.5, 0.5 } }, fm.tensor { { 1, 0 } }) --> { { 0.25, -0.25 } }]],
  conv = [[
x, w = fm.ones { 1, 3, 3, 1 }, fm.ones { 1, 3, 3, 1 }
fm.conv(x, w):reshape { 3, 3 } --> { { 4, 6, 4 }, { 6, 9, 6 }, { 4, 6, 4 } }]],
  conv_x = [[
fm.conv_x(fm.ones { 1, 2, 2, 1 }, fm.ones { 1, 1, 1, 4 }).shape --> { 1, 2, 2, 4 }]],
  conv_w = [[
fm.conv_w(fm.ones { 1, 3, 3, 2 }, fm.ones { 1, 3, 3, 4 }).shape --> { 4, 3, 3, 2 }]],
  normalize = [[
fm.normalize(fm.tensor { { 3, 4 } }, 1e-9) --> { { 0.84853, 1.1314 } }]],
  normalize_d = [[
fm.normalize_d(fm.tensor { { 1, 1 } }, fm.tensor { { 1, 0 } }, 1e-9) --> { { 0.5, -0.5 } }]],
  normalize_dd = [[
x, d, e = fm.tensor { { 1, 1 } }, fm.tensor { { 1, 0 } }, fm.tensor { { 0, 1 } }
fm.normalize_dd(x, d, e, 1e-9) --> { { 0.25, 0.25 } }]],
  downsample = [[
fm.downsample(fm.arange(4):reshape { 1, 2, 2, 1 }):reshape { 1 } --> { 1.5 }]],
  upsample = [[
fm.upsample(fm.ones { 1, 1, 2, 1 }).shape --> { 1, 2, 4, 1 }]],
  mix = [[
fm.mix(fm.tensor { 1, 2 }, fm.tensor { 10, 20 }, 0.5, 0.1) --> { 1.5, 3 }]],
  mix_cat = [[
fm.mix_cat(fm.tensor { { 1 } }, fm.tensor { { 10 } }, 2, 0.5) --> { { 2, 5 } }]],
  max_pool = [[
fm.max_pool(fm.arange(4):reshape { 1, 2, 2, 1 }, 2):reshape { 1 } --> { 3 }]],
  max_pick = [[
fm.max_pick(fm.arange(4):reshape { 1, 2, 2, 1 }, fm.full({ 1, 2, 2, 1 }, 7), 2):flat() --> { 7 }]],
  max_put = [[
x, d = fm.arange(4):reshape { 1, 2, 2, 1 }, fm.ones { 1, 1, 1, 1 }
fm.max_put(x, d, 2):flat() --> { 0, 0, 0, 1 }]],
  avg_pool = [[
fm.avg_pool(fm.arange(4):reshape { 1, 2, 2, 1 }, 2):flat() --> { 1.5 }]],
  avg_unpool = [[
fm.avg_unpool(fm.ones { 1, 1, 1, 1 }, 2, 2, 0, false, 2, 2):flat() --> { 0.25, 0.25, 0.25, 0.25 }]],
  resize_bilinear = [[
x = fm.arange(2):reshape { 1, 1, 2, 1 }
fm.resize_bilinear(x, 1, 4, true):flat() --> { 0, 0.25, 0.75, 1 }]],
  resize_bilinear_t = [[
fm.resize_bilinear_t(fm.ones { 1, 1, 4, 1 }, 1, 2, true):flat() --> { 2, 2 }]],
  arange = [[
fm.arange(4) --> { 0, 1, 2, 3 }]],
  bytes = [[
#fm.bytes(fm.ones { 3 }) --> 12]],
  copy_from = [[
x = fm.zeros { 2 }
fm.copy_from(x, fm.tensor { 1, 2 })
x --> { 1, 2 }]],
  eigh = [[
values, vectors = fm.eigh(fm.tensor({ { 2, 0 }, { 0, 1 } }, "float64"))
values --> { 1, 2 }]],
  finite = [[
fm.finite(fm.tensor { 1, 2 }) --> true
select(2, fm.finite(fm.tensor { 1, 1 / 0 })) --> 2]],
  flat = [[
fm.flat(fm.tensor { { 1, 2 }, { 3, 4 } }) --> { 1, 2, 3, 4 }]],
  from_bytes = [[
fm.from_bytes("AB", { 2 }) --> { 65, 66 }]],
  full = [[
fm.full({ 2, 2 }, 7) --> { { 7, 7 }, { 7, 7 } }]],
  get = [[
fm.get(fm.tensor { { 1, 2 }, { 3, 4 } }, 2, 1) --> 3]],
  gradcheck = [[
fm.gradcheck("tanh")[1].ok --> true]],
  info = [[
fm.info().version:find "^%d" ~= nil --> true]],
  is_tensor = [[
fm.is_tensor(fm.ones { 1 }) --> true
fm.is_tensor { 1 } --> false]],
  item = [[
fm.item(fm.tensor(3)) --> 3]],
  load_npy = [[
fm.save_npy("x.npy", fm.arange(3))
fm.load_npy "x.npy" --> { 0, 1, 2 }]],
  save_npy = [[
fm.save_npy("x.npy", fm.ones { 2, 2 })
fm.load_npy("x.npy").shape --> { 2, 2 }]],
  load_image = [[
fm.save_png("white.png", fm.full({ 1, 2, 3 }, 1))
fm.load_image("white.png").shape --> { 1, 2, 3 }
fm.load_image("white.png"):flat()[1] --> 255]],
  save_png = [[
fm.save_png("black.png", fm.full({ 4, 4, 3 }, -1))
fm.load_image("black.png"):flat()[1] --> 0]],
  load_safetensors = [[
fm.save_safetensors("net.safetensors", { w = fm.ones { 2 } }, { step = "3" })
tensors, about = fm.load_safetensors "net.safetensors"
tensors.w --> { 1, 1 }
about.step --> "3"]],
  save_safetensors = [[
fm.save_safetensors("net.safetensors", { w = fm.ones { 2 } })
fm.load_safetensors("net.safetensors").w --> { 1, 1 }]],
  neg = [[
fm.neg(fm.tensor { 1, -2 }) --> { -1, 2 }]],
  normal = [[
fm.normal({ 1000 }, { seed = 1 }):mean():item() < 0.1 --> true]],
  ops = [[
#fm.ops() > 60 --> true]],
  set_threads = [[
fm.set_threads(2)
fm.info().threads --> 2]],
  sort = [[
fm.sort(fm.tensor { { 3, 1, 2 } }) --> { { 1, 2, 3 } }]],
  tensor = [[
fm.tensor { { 1, 2 }, { 3, 4 } } --> { { 1, 2 }, { 3, 4 } }
fm.tensor({ 1, 2 }, "float64").dtype --> "float64"]],
  tostring = [[
fm.tostring(fm.ones { 2 }) --> "float32 (2) {1.0, 1.0}"]],
  totable = [[
fm.totable(fm.zeros { 2, 2 }) --> { { 0, 0 }, { 0, 0 } }]],
  uniform = [[
fm.uniform({ 3 }, { seed = 1, step = 2 }).shape --> { 3 }]],
  view = [[
fm.view(fm.tensor { { 1 }, { 2 }, { 3 } }, 2, 2) --> { { 2 }, { 3 } }]],
  sum = [[
fm.sum(fm.tensor { { 1, 2 }, { 3, 4 } }) --> 10
fm.sum(fm.tensor { { 1, 2 }, { 3, 4 } }, 1) --> { 4, 6 }
fm.sum(fm.tensor { { 1, 2 }, { 3, 4 } }, -1, true) --> { { 3 }, { 7 } }]],
  mean = [[
fm.mean(fm.tensor { { 1, 2 }, { 3, 4 } }, -1) --> { 1.5, 3.5 }]],
  max_reduce = [[
fm.max_reduce(fm.tensor { { 1, 2 }, { 3, 4 } }, 1) --> { 3, 4 }]],
  zeros = [[
fm.zeros { 2 } --> { 0, 0 }]],
  ones = [[
fm.ones({ 2 }, "float64") --> { 1, 1 }]],
  rows = [[
fm.rows(fm.arange(5), 2, 3) --> { 1, 2, 3 }]],
  jvp = [[
y, dy = fm.jvp(fm.square, fm.tensor { 3 }, fm.tensor { 1 })
dy --> { 6 }]],
  vjp = [[
y, dx = fm.vjp(fm.square, fm.tensor { 3 }, fm.tensor { 1 })
dx --> { 6 }]],
  grad = [[
fm.grad(function(x) return fm.sum(x * x) end)(fm.tensor { 1, 2 }) --> { 2, 4 }]],
  value_and_grad = [[
value, gradient = fm.value_and_grad(function(x) return fm.sum(x * x) end)(fm.tensor { 1, 2 })
value --> 5
gradient --> { 2, 4 }]],
  show = [[
fm.show(fm.exp, fm.ones { 2 }):find("exp", 1, true) ~= nil --> true]],
  optimiser = [[
w = { fm.tensor { 1 } }
o = fm.optimiser { kind = "adamw", params = w }
o:update({ fm.tensor { 1 } }, 0.1)
w[1] --> { 0.9 }]],
  split = [[
a, b = fm.split(fm.arange(5), { 2, 3 })
b --> { 2, 3, 4 }]],
  program = [[
p = fm.program(function(_, b) return { sum = { fm.sum(b.rows.x) } } end, { rows = { x = { 2 } } })
p:run({ batch = 3, rows = { x = fm.ones { 3, 2 } } }).sum[1] --> 6]],
}

--- A value as the examples state it: tensors as their numbers, numbers to five digits.
-- @param value
-- @treturn string
function M.shown(value)
  if core.is_tensor(value) then value = #value.shape == 0 and value:item() or value:totable() end
  if type(value) == "number" then
    return (value == math.floor(value) and "%.0f" or "%.5g"):format(value + 0.0) -- no -0
  elseif type(value) == "table" then
    local list = {}
    for k, inner in ipairs(value) do list[k] = M.shown(inner) end
    return "{ " .. table.concat(list, ", ") .. " }"
  end
  return type(value) == "string" and ("%q"):format(value) or tostring(value)
end

--- Run an example.
-- @tparam string text
-- @tparam string name of the function, for messages
-- @treturn {table,...} for each stated value { line =, expected =, found = }, both as text
function M.run(text, name)
  local env = setmetatable({ fm = require "flowmap" }, { __index = _G })
  local list = {}
  for line in text:gmatch "[^\n]+" do
    local expression, expected = line:match "^(.-) %-%-> (.*)$"
    local code = expression and "return " .. expression or line
    local chunk = assert(load(code, "=" .. name, "t", env))
    local value = chunk()
    if expression then
      list[#list + 1] = { line = line, expected = expected, found = M.shown(value) }
    end
  end
  return list
end

return M
