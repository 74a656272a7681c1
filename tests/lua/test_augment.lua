-- Ingredients of image training: transformations of the images, dropout in both terms. Their random
-- numbers are their own, so that a run with one is paired with the run without it.

local t = require "harness"
local fm = require "flowmap"
local augment = require "flowmap.augment"
local nets = require "flowmap.nets"
local step = require "flowmap.step"
local tree = require "flowmap.tree"

local F64 = "float64"

local function uniform(shape, stream, seed)
  return fm.uniform(shape, { seed = seed or 1, stream = stream, dtype = F64 })
end

-- Parameters of n images: 0 except for those given.
local function parameters(n, given)
  local it = {}
  for key in ("mirror upside scale angle stretch axis right down"):gmatch "%a+" do
    it[key] = fm.full({ n, 1 }, given and given[key] or 0, F64)
  end
  return it
end

local x = uniform({ 3, 6, 6, 2 }, "images")

local function transformed(given) return augment.transformed(x, parameters(3, given)) end

-- Whether y has at (i, j) what x has at from(i, j), for all pixels inside.
local function check(y, from, bound)
  for i = 1, 6 do
    for j = 1, 6 do
      local a, b = from(i, j)
      if a >= 1 and a <= 6 and b >= 1 and b <= 6 then
        t.near(y:get(2, i, j, 1), x:get(2, a, b, 1), bound or 0, i .. ", " .. j)
      end
    end
  end
end

t.test("images that are left alone keep their bits, and so do mirrored pixels", function()
  t.eq(fm.sha256(fm.bytes(transformed {})), fm.sha256(fm.bytes(x)))
  check(transformed { mirror = 1 }, function(i, j) return i, 7 - j end)
  check(transformed { upside = 1 }, function(i, j) return 7 - i, j end)
end)

t.test("translation, rotation, scale and stretching", function()
  check(transformed { right = 1 / (6 * 0.125) }, function(i, j) return i, j - 1 end, 1e-12)
  check(transformed { down = 2 / (6 * 0.125) }, function(i, j) return i - 2, j end, 1e-12)
  check(transformed { down = -1 / (6 * 0.125) }, -- reflected at the last row
    function(i, j) return math.min(i + 1, 11 - i), j end, 1e-12)
  check(transformed { angle = math.pi / 2 }, function(i, j) return j, 7 - i end, 1e-12)
  local third = math.log(3, 2) / 0.2 -- in the middle of an odd side a pixel stays where it is
  local odd = uniform({ 1, 7, 7, 1 }, "odd")
  local function at(given, i, j)
    return augment.transformed(odd, parameters(1, given)):get(1, i, j, 1)
  end
  t.near(at({ scale = third }, 7, 1), odd:get(1, 5, 3, 1), 1e-12)
  t.near(at({ stretch = third }, 5, 1), odd:get(1, 7, 3, 1), 1e-12)
  t.near(at({ stretch = third }, 4, 1), odd:get(1, 4, 3, 1), 1e-12)
  t.near(at({ stretch = third, axis = math.pi / 2 }, 1, 4), odd:get(1, 3, 4, 1), 1e-12)
end)

-- The pixel of image k from which (i, j) is taken, by a product of matrices as in the publication.
local function source(it, k, i, j, side)
  local function v(name) return it[name]:get(k, 1) end
  local G = { { 1, 0, 0 }, { 0, 1, 0 } }
  local function times(a, b, c, d, e, f)
    for _, r in ipairs(G) do
      r[1], r[2], r[3] = r[1] * a + r[2] * d, r[1] * b + r[2] * e, r[1] * c + r[2] * f + r[3]
    end
  end
  local function rotate(angle)
    local c, s = math.cos(angle), math.sin(angle)
    times(c, -s, 0, s, c, 0)
  end
  times(1 - 2 * v "mirror", 0, 0, 0, 1, 0)
  times(1, 0, 0, 0, 1 - 2 * v "upside", 0)
  local s, a = 2 ^ (0.2 * v "scale"), 2 ^ (0.2 * v "stretch")
  times(1 / s, 0, 0, 0, 1 / s, 0)
  rotate(v "angle")
  rotate(-v "axis")
  times(1 / a, 0, 0, 0, a, 0)
  rotate(v "axis")
  times(1, 0, -v "right" * side / 8, 0, 1, -v "down" * side / 8)
  local c = (side - 1) / 2
  local p, q = j - 1 - c, i - 1 - c
  return G[2][1] * p + G[2][2] * q + G[2][3] + c, G[1][1] * p + G[1][2] * q + G[1][3] + c
end

local function reflect(u, last)
  while u < 0 or u > last do u = u < 0 and -u or 2 * last - u end
  return u
end

t.test("places just below a reflection are in the image; so is all of one pixel", function()
  local ramp = fm.reshape(fm.arange(64), { 1, 8, 8, 1 })
  local row = fm.broadcast(fm.tensor { { 13.9999990463 } }, { 1, 64 }) -- 14 - 2^-20: back at row 0
  local column = fm.zeros { 1, 64 }
  for _, value in ipairs(augment.warp(ramp, row, column):flat()) do t.near(value, 0, 1e-4) end
  for _, value in ipairs(augment.warp(ramp, column, row):flat()) do t.near(value, 0, 1e-4) end
  local one = fm.full({ 2, 1, 1, 3 }, 0.5)
  t.eq(augment.warp(one, fm.tensor { { 0.3 }, { -2 } }, fm.zeros { 2, 1 }):flat(), one:flat())
end)

t.test("the composition is the published one", function()
  local n, side = 12, 6
  local images = uniform({ n, side, side, 1 }, "images")
  local z = fm.normal({ n, 4 }, { seed = 1, stream = "z", dtype = F64 })
  local it = augment.parameters(uniform({ n, 9 }, "u"), z, 1)
  local y = augment.transformed(images, it)
  local function pixel(k, r, c)
    return images:get(k, math.min(r, side - 1) + 1, math.min(c, side - 1) + 1, 1)
  end
  for k = 1, n do
    for i = 1, side do
      for j = 1, side do
        local r, c = source(it, k, i, j, side)
        r, c = reflect(r, side - 1), reflect(c, side - 1)
        local r0, c0 = math.floor(r), math.floor(c)
        local a, b = r - r0, c - c0
        t.near(y:get(k, i, j, 1), (1 - a) * ((1 - b) * pixel(k, r0, c0) + b * pixel(k, r0, c0 + 1))
          + a * ((1 - b) * pixel(k, r0 + 1, c0) + b * pixel(k, r0 + 1, c0 + 1)), 1e-9)
      end
    end
  end
end)

t.test("angles cover the whole turn; half of the axes are horizontal", function()
  local u = {}
  for k, value in ipairs { 0, 0.125, 0.25, 0.4375, 0.5, 0.75 } do
    u[k] = { 0, 0, 0, 0, 0, value, 0, value, 0 }
  end
  local it = augment.parameters(fm.tensor(u, F64), fm.ones({ 6, 4 }, F64), 1)
  for k, turns in ipairs { -1, -0.75, -0.5, -0.125, 0, 0.5 } do
    t.near(it.angle:get(k, 1), turns * math.pi, 1e-12)
  end
  for k, turns in ipairs { -1, -0.5, 0, 0.75, 0, 0 } do
    t.near(it.axis:get(k, 1), turns * math.pi, 1e-12)
  end
end)

t.test("each transformation has its probability, and labels of untouched images are 0", function()
  local n, p = 4000, 0.12
  local u, z = uniform({ n, 9 }, "u"), fm.normal({ n, 4 }, { seed = 2, stream = "z", dtype = F64 })
  local labels = augment.labels_of(augment.parameters(u, z, p))
  t.eq(labels.shape, { n, augment.labels })
  local share = { 0.5, p / 2, p, p, p, p, p / 2, p, p } -- a horizontal axis has the sine 0
  for k = 1, augment.labels do
    local column = fm.slice(labels, 2, k, 1)
    local found = 1 - fm.mean(fm.eq(column, 0)):item()
    t.near(found, share[k], 4 * math.sqrt(share[k] / n), "label " .. k)
  end
  local untouched = augment.labels_of(augment.parameters(u, z, 0))
  t.eq(fm.max_reduce(fm.abs(fm.slice(untouched, 2, 2, 8))):item(), 0.0)
end)

t.test("random numbers have streams that nothing else reads", function()
  local streams = {}
  local function draw(kind)
    return function(_, shape, stream)
      streams[#streams + 1] = stream
      return fm[kind]({ 3, shape[1] }, { seed = 1, stream = stream, dtype = F64 })
    end
  end
  for _, name in ipairs { "flip", "edm" } do
    augment.apply(x, { uniform = draw "uniform", normal = draw "normal" },
      { augment = name, augment_p = 0.5 })
  end
  t.eq(streams, { "augment", "augment", "augment, normal" })
end)

-- ------------------------------------------------------------------ steps

local side = 8
local bytes = {}
for k = 1, 40 * side * side * 3 do bytes[k] = string.char(k * 2654435761 >> 13 & 255) end
local set = { shape = { side, side, 3 }, sd = 0.5, count = 40,
  table = fm.from_bytes(table.concat(bytes), { 40, side, side, 3 }) }

local own = { name = "own", path = "tests", methods = { "probe" }, profiles = { smoke = {} },
  data = { noise = set }, losses = {} }

local function job_with(more, method)
  local all = { data = "noise", net = "edm2", model_channels = 4, mult = { 1, 1 }, num_blocks = 1,
    attention = {}, batch = 16, micro = 8, steps = 2, eta = 0.5, dropout = 0.25, ema = { 0.5 } }
  for key, value in pairs(more or {}) do all[key] = value end
  local job = fm.job.parts(own, fm.experiment.resolve(own, { profile = "smoke",
    method = method or "probe", set = all }))
  fm.job.open_images(job)
  return job
end

-- The losses of each sample of a step; the first of every four micro-batch rows are diagonal.
local function losses_with(more, method)
  local job = job_with(more, method)
  job.net.weight = nil
  local params = job.net.init(nets.rng(1, "float32"))
  tree.each(function(w) if #w.shape == 0 then w:copy_from(fm.tensor(0.5)) end end, params)
  local shared = { params = params, data = job.data }
  local out = step.program(job, shared):run { shared = shared, batch = 16, seed = 3 }
  local on, off = {}, {}
  for k, value in ipairs(out.rows.loss:flat()) do
    local list = (k - 1) % 8 < 4 and on or off
    list[#list + 1] = value
  end
  return on, off
end

local function sum(values) return fm.sum(values, { 2, 3, 4 }) end

t.test("an ingredient changes no other random number, and no weight at the start", function()
  function own.losses.probe(a) -- all that is drawn, except the image
    return sum(a.x0 + a.s + 2 * a.t) + 0 * sum(a.map:b(a.t, a.x))
  end
  local _, plain = losses_with()
  for _, more in ipairs { { augment = "flip" }, { augment = "edm", augment_p = 0.5 },
    { dropout_off = true } } do
    local _, found = losses_with(more)
    t.eq(found, plain, tree.keys(more)[1])
  end
  local params = job_with({ augment = "edm" }).net.init(nets.rng(7, "float32"))
  t.eq(params.emb_augment.shape, { 4, augment.labels })
  params.emb_augment = nil
  local function bits(weights)
    local by_name = {}
    tree.each(function(w, name) by_name[name] = fm.sha256(fm.bytes(w)) end, weights)
    return by_name
  end
  t.eq(bits(params), bits(job_with().net.init(nets.rng(7, "float32"))))
end)

t.test("the network reads the labels; 0 is the same as none", function()
  local net = job_with({ augment = "edm" }).net
  local params = net.init(nets.rng(1, "float32"))
  tree.each(function(w) if #w.shape == 0 then w:copy_from(fm.tensor(0.5)) end end, params)
  local time, image = fm.full({ 2, 1 }, 0.5), fm.uniform({ 2, 8, 8, 3 }, { seed = 1 })
  local function bits(labels)
    return fm.sha256(fm.bytes(net.v(params, time, time, image, labels and { augment = labels })))
  end
  t.eq(bits(fm.zeros { 2, augment.labels }), bits())
  t.eq(bits(fm.ones { 2, augment.labels }) == bits(), false)
end)

t.test("flip shows a half of the images mirrored, edm with labels", function()
  function own.losses.probe(a) return sum(a.x1) + 0 * sum(a.map:b(a.t, a.x)) end
  local _, plain = losses_with()
  local _, flipped = losses_with { augment = "flip" }
  for k, value in ipairs(plain) do t.near(flipped[k], value, 1e-3) end -- the same values, moved
  function own.losses.probe(a)
    return sum(fm.slice(a.x1, 3, 1, 4)) + 0 * sum(a.map:b(a.t, a.x))
  end
  local _, left = losses_with()
  local _, mixed = losses_with { augment = "flip" }
  local moved = 0
  for k, value in ipairs(left) do moved = moved + (mixed[k] == value and 0 or 1) end
  t.eq(moved > 0 and moved < 8, true, moved)
  function own.losses.probe(a)
    local told = a.augment and fm.sum(fm.square(a.augment), 2) or 0 * fm.sum(a.x, { 2, 3, 4 })
    return told + 0 * sum(a.map:b(a.t, a.x))
  end
  local _, none = losses_with { augment = "flip" }
  local _, told = losses_with { augment = "edm", augment_p = 1.0 }
  for k = 1, 8 do t.eq({ none[k] == 0, told[k] > 0 }, { true, true }) end
end)

t.test("dropout in both terms: one mask per layer, the diagonal keeps its own", function()
  for _, method in ipairs { "lsd", "esd", "psd-m", "tvm" } do
    local more = method == "tvm" and { target = "current", both_terms = false } or {}
    local on, off = losses_with(more, method)
    more.dropout_off = true
    local on_too, off_too = losses_with(more, method)
    t.eq(on_too, on, method)
    for k = 1, 8 do t.eq(off_too[k] == off[k], false, method) end
  end
  function own.losses.probe(a) -- two evaluations of one map
    local X = a.map
    return sum(fm.square(X(a.s, a.t, a.x) - X(a.s, 1 * a.t, 1 * a.x)))
  end
  local _, off = losses_with { dropout_off = true }
  for k = 1, 8 do t.eq(off[k], 0.0) end
end)

t.test("settings without effect are refused", function()
  local function refused(more, words, of)
    local it = fm.experiment.load(("experiments/%s.lua"):format(of or "cifar10"))
    t.raises(function()
      fm.experiment.resolve(it, { profile = "smoke", method = "lsd", set = more })
    end, words)
  end
  refused({ augment_p = 0.2 }, "augment_p has no effect: augment is none")
  refused({ dropout = 0.0, dropout_off = true }, "dropout_off has no effect: dropout is 0")
  refused({ eta = 1.0, dropout_off = true }, "dropout_off has no effect: eta is 1")
  refused({ augment = "edm3" }, "augment must be one of none, flip, edm")
  refused({ augment = "flip" }, "augment has no effect: the data are points", "checkerboard")
end)

t.done()
