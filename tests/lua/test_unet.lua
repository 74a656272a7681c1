-- The EDM2 flow-map U-Net: parameter counts, start, forced weight normalisation, and golden values
-- of an independent implementation (tests/golden/make_unet.py); training and sampling of images.

local t = require "harness"
local fm = require "flowmap"
local losses = require "flowmap.losses"
local nets = require "flowmap.nets"
local renew = require "flowmap.renew"
local step = require "flowmap.step"
local trainer = require "flowmap.trainer"
local tree = require "flowmap.tree"
local sandbox = require "sandbox"

local F64, F32 = "float64", "float32"
local here = arg[0]:match "^(.*)/lua/[^/]*$" or "tests"

local function build(set)
  local cfg = { net = "edm2", shape = { 32, 32, 3 }, sigma = 0.5, model_channels = 8,
    mult = { 1, 2 }, num_blocks = 1, attention = { 16 }, classes = 0 }
  for key, value in pairs(set) do cfg[key] = value end
  return nets.build(cfg), cfg
end

local function square(side) return { side, side, 3 } end

-- Largest difference of two tensors, relative to the largest value of the second.
local function difference(found, expected)
  t.eq(found.shape, expected.shape)
  local size = fm.max_reduce(fm.abs(expected)):item()
  return fm.max_reduce(fm.abs(fm.cast(found, F64) - fm.cast(expected, F64))):item() / size
end

-- ---------------------------------------------------------------------- counts, start, renewal

t.test("parameter counts are those of the reference", function()
  local function count(set)
    local trace = fm.trace() -- a traced value has a shape, but takes no memory
    return tree.count(build(set).init(function(shape) return trace:full(shape, 0) end))
  end
  t.eq(count { model_channels = 128, mult = { 2, 2, 2 }, num_blocks = 4 }, 54673314, "CIFAR-10")
  t.eq(count { model_channels = 128, mult = { 1, 2, 3, 4 }, num_blocks = 3, attention = { 16, 8 },
    shape = square(64) }, 124264485, "64x64")
  t.eq(count { model_channels = 32, mult = { 2, 2, 2 }, num_blocks = 2 }, 2150486, "small")
end)

t.test("initially v = 0, and w(s,t) is of order one", function()
  local net = build { shape = square(8), attention = { 8 } }
  local params = net.init(nets.rng(1, F32))
  net.renew(params)
  local s = fm.uniform({ 64 }, { seed = 1, stream = "s" })
  local time = fm.uniform({ 64 }, { seed = 1, stream = "t" })
  local x = fm.normal({ 64, 8, 8, 3 }, { seed = 1, stream = "x" })
  local v = net.v(params, s, time, x)
  t.eq(v.shape, { 64, 8, 8, 3 })
  t.eq(fm.max_reduce(fm.abs(v)):item(), 0.0)
  local w = net.weight(params, s, time)
  t.eq(w.shape, { 64 })
  t.near(fm.mean(fm.square(w)):item(), 1, 0.7)
end)

t.test("with a gain, the output has the magnitude of the data", function()
  local net = build { shape = square(16), model_channels = 64, attention = { 16 } }
  local params = net.init(nets.rng(3, F32))
  params.out_gain = fm.tensor(1)
  local n = 4
  local x = 0.5 * fm.normal({ n, 16, 16, 3 }, { seed = 1, stream = "x" })
  local v = net.v(params, fm.full({ n }, 0.3), fm.full({ n }, 0.8), x)
  t.near(math.log(math.sqrt(fm.mean(fm.square(v)):item()) / 0.5), 0, math.log(3))
end)

t.test("renewed weights have unit RMS per output; gains stay; renewal is idempotent", function()
  local net = build { classes = 3 }
  local params = net.init(nets.rng(1, F64))
  params.out_gain = fm.tensor(0.7, F64)
  params.enc["32x32_conv"] = params.enc["32x32_conv"] * 3
  net.renew(params)
  tree.each(function(w, name)
    if #w.shape == 0 then return end
    local axes = {}
    for k = 2, #w.shape do axes[k - 1] = k end
    local off = fm.max_reduce(fm.abs(fm.mean(fm.square(w), axes) - 1)):item()
    t.near(off, 0, 1e-3, name) -- the denominator's 1e-4, felt by weights of few values
  end, params)
  t.eq(params.out_gain:item(), 0.7)
  local function renewed_again(bound)
    local was = tree.map(function(w) return w * 1 end, params)
    net.renew(params)
    tree.each(function(w, name)
      local now = params
      for part in name:gmatch "[^.]+" do now = now[part] end
      if #w.shape > 0 then t.near(difference(now, w), 0, bound, name) end
    end, was)
  end
  renewed_again(3e-4)
  renewed_again(1e-7) -- its fixed point is RMS = 1 - 1e-4, and it contracts 10^4 times
  renewed_again(1e-11)
end)

t.test("averages follow renewed weights: e = d e' + (1-d) w*", function()
  local net = build { shape = square(8), attention = {} }
  local params = net.init(nets.rng(1, F64))
  local opt = fm.optimiser { kind = "adamw", params = params, b1 = 0.9, b2 = 0.999, eps = 1e-8,
    weight_decay = 0, clip = 0, ema = { 0.9, 0.5 } }
  local was = tree.map(function(w) return w * 1 end, opt:ema(2))
  opt:update(tree.map(function(w) return fm.full(w.shape, 0.1, F64) end, params), 0.05, 1)
  net.renew(params, { { decay = 0.9, params = opt:ema(1) }, { decay = 0.5, params = opt:ema(2) } })
  local e, w, e0 = opt:ema(2).out_conv, params.out_conv, was.out_conv
  t.near(difference(e, 0.5 * e0 + 0.5 * w), 0, 1e-14)
  t.near(opt:ema(2).out_gain:item(), 0.5 * params.out_gain:item(), 1e-15)
end)

t.test("a weight is renewed in parts, its averages with it", function()
  for _, shape in ipairs { { 6, 3, 3, 8000 }, { 5, 70000 }, { 2, 200000 }, { 3, 27 } } do
    local function normal(seed) return fm.normal(shape, { seed = seed, dtype = F64 }) end
    local w0, e0 = normal(1), normal(2)
    local w, e = w0 * 1, e0 * 1
    renew.of(function(x) return 3 * x end)({ w = w }, { { decay = 0.75, params = { w = e } } })
    t.eq(difference(w, 3 * w0), 0)
    t.near(difference(e, e0 + 0.5 * w0), 0, 1e-15)
  end
end)

t.test("images of a wrong shape are refused", function()
  t.raises(function() build { shape = { 6, 6, 3 }, mult = { 1, 1, 1 } } end,
    "side is a multiple of 4 %(3 levels%); these data have the shape %(6, 6, 3%)")
  t.raises(function() build { shape = { 2 } } end, "square images")
end)

t.test("a network with classes asks for labels", function()
  local net = build { shape = square(8), classes = 2, attention = {} }
  local params = net.init(nets.rng(1, F32))
  local one = fm.ones { 1 }
  t.raises(function() net.v(params, one, one, fm.zeros { 1, 8, 8, 3 }) end, "has 2 classes")
end)

-- ---------------------------------------------------------------------- golden values

local function numbers_of(text)
  local list = {}
  for n in text:gmatch "[^,]+" do list[#list + 1] = math.tointeger(tonumber(n)) end
  return list
end

local function load(name)
  local G, meta = fm.load_safetensors(("%s/golden/unet-%s.safetensors"):format(here, name))
  local net, cfg = build { shape = square(tonumber(meta.resolution)), sigma = tonumber(meta.sigma),
    model_channels = math.tointeger(tonumber(meta.model_channels)), mult = numbers_of(meta.mult),
    num_blocks = math.tointeger(tonumber(meta.num_blocks)), attention = numbers_of(meta.attention),
    classes = math.tointeger(tonumber(meta.classes)) }
  cfg.eta, cfg.rate = tonumber(meta.eta), tonumber(meta.dropout)
  cfg.interpolant, cfg.times, cfg.stop, cfg.off_weight = "linear", "uniform", "default", 1
  cfg.robust = 0
  return G, net, cfg
end

-- frac(k^2 phi) for k from a hash of the name on, [0, 1): the numbers that the golden values are
-- made from (make_unet.py), in operations that IEEE arithmetic fixes to the last bit.
local function numbers(name, shape)
  local h, count = 2166136261, 1
  for c in name:gmatch "." do h = ((h ~ c:byte()) * 16777619) & 0xffffffff end
  for _, n in ipairs(shape) do count = count * n end
  local k = fm.arange(count, F64) + (h & 0xfffff)
  local x = fm.square(k) * 0.6180339887498949
  return fm.reshape(x - fm.floor(x), shape)
end

local function parameters(net, dtype)
  local trace = fm.trace()
  local like = net.init(function(shape) return trace:full(shape, 0) end)
  return tree.map(function(w, name)
    local u = numbers(name, w.shape)
    return fm.cast(#w.shape == 0 and u + 0.5 or (u - 0.5) * 3, dtype)
  end, like)
end

local function near(found, expected, bound, what)
  t.near(difference(found, expected), 0, bound, what)
end

-- float64: both sides err by rounding alone. float32: see golden/README.md; measured are 2e-6 for
-- the gradients of tensors, and 4e-4 for those of gains, each one sum of terms that cancel.
local BOUND = { [F64] = 1e-10, [F32] = 3e-5 }
local GAIN = { [F64] = 1e-10, [F32] = 1e-3 }

local function rows_of(G, dtype)
  local it = {}
  for _, key in ipairs { "x0", "x1", "a", "c", "label", "dx" } do
    it[key] = fm.cast(G[key], dtype)
  end
  it.s, it.t = fm.minimum(it.a, it.c), fm.maximum(it.a, it.c)
  return it
end

local function check_network(name, dtype)
  local G, net, cfg = load(name)
  local p, it, bound = parameters(net, dtype), rows_of(G, dtype), BOUND[dtype]
  local extra = cfg.classes > 0 and { labels = it.label } or nil
  local one = fm.ones(it.s.shape, dtype)
  local v, ds = fm.jvp(function(s) return net.v(p, s, it.t, it.x0, extra) end, it.s, one)
  local _, dt = fm.jvp(function(time) return net.v(p, it.s, time, it.x0, extra) end, it.t, one)
  local _, dv = fm.jvp(function(x) return net.v(p, it.s, it.t, x, extra) end, it.x0, it.dx)
  near(net.v(p, it.s, it.t, it.x0, extra), G.v, bound, "v")
  near(v, G.v, bound, "v")
  near(net.weight(p, it.s, it.t), G.w, bound, "w")
  near(ds, G.ds, bound, "d/ds v")
  near(dt, G.dt, bound, "d/dt v")
  near(dv, G.dv, bound, "grad v dx")
end

-- Three projections of every gradient, and its norm, in the golden order.
local function check_gradients(grads, expected, dtype)
  local k = 0
  tree.each(function(g, name)
    k = k + 1
    g = fm.cast(g, F64)
    local norm, bound = expected:get(k, 4), (name:find "gain" and GAIN or BOUND)[dtype]
    t.near(math.sqrt(fm.sum(fm.square(g)):item()), norm, bound * norm, name .. ", norm")
    for j = 1, 3 do
      local u = numbers(name .. " " .. j, g.shape) - 0.5
      local length = math.sqrt(fm.sum(fm.square(u)):item())
      t.near(fm.sum(g * u):item(), expected:get(k, j), bound * norm * length, name)
    end
  end, grads)
  t.eq(k, expected.shape[1])
end

local function check_batch(name, method, dtype)
  local G, net, cfg = load(name)
  local p, it, n = parameters(net, dtype), rows_of(G, dtype), #G.a
  local loss = losses.find(method)
  cfg.stop = loss.stops[1]
  local job = fm.job.new { net = net, cfg = cfg, loss = loss,
    times = fm.times[cfg.times], interpolant = fm.interpolants[cfg.interpolant] }
  local draws = { x0 = it.x0, x1 = it.x1, a = fm.reshape(it.a, { n, 1 }),
    c = fm.reshape(it.c, { n, 1 }), labels = cfg.classes > 0 and it.label or nil, g = loss.args.g }
  local seen = 0
  function draws.dropout(x, layer)
    seen = seen + 1
    local keep = fm.le(fm.full(x.shape, cfg.rate, F64), numbers("mask " .. layer, x.shape))
    return x * fm.cast(keep / (1 - cfg.rate), dtype)
  end
  local nd = math.floor(cfg.eta * n)
  local each
  local total, grads = fm.value_and_grad(function(params)
    local on, off = step.losses(job, params, draws, nd, n)
    each = fm.concat({ on, off }, 1)
    return fm.mean(each)
  end)(p)
  t.eq(seen > 0, true)
  near(total, fm.mean(G[method .. ".loss"]), BOUND[dtype], "mean loss")
  check_gradients(grads, G[method .. ".grad"], dtype)
end

for _, name in ipairs { "small", "heads", "levels" } do
  for _, dtype in ipairs { F64, F32 } do
    t.test(("%s: v, w and derivatives (%s)"):format(name, dtype), function()
      check_network(name, dtype)
    end)
    for _, method in ipairs { "lsd", "esd", "psd-m" } do
      t.test(("%s: batch of %s, with dropout on its diagonal (%s)"):format(name, method, dtype),
        function() check_batch(name, method, dtype) end)
    end
  end
end

-- ---------------------------------------------------------------------- training on images

-- Stripes whose colour and direction are those of their class.
local stripes = { shape = square(8), sd = 0.5, classes = 3 }

function stripes.sample(b)
  local n, labels = b.n, fm.reshape(fm.floor(3 * b:uniform({ 1 }, "class")), { b.n })
  local phase = fm.reshape(b:uniform({ 1 }, "phase"), { n, 1, 1, 1 }) * (2 * math.pi)
  local class = fm.reshape(labels, { n, 1, 1, 1 })
  local across = fm.reshape(fm.arange(8), { 1, 8, 1, 1 }) * class
    + fm.reshape(fm.arange(8), { 1, 1, 8, 1 })
  local colour = fm.reshape(fm.arange(3), { 1, 1, 1, 3 })
  return fm.sin(fm.broadcast(across + phase, { n, 8, 8, 3 }) + colour) * 0.7, labels
end

local painting = { name = "painting", path = "tests", methods = { "lsd" },
  profiles = { smoke = {} }, data = { stripes = stripes } }

local function resolve(set, method)
  local all = { data = "stripes", net = "edm2", model_channels = 8, mult = { 1, 2 }, num_blocks = 1,
    attention = { 4 }, classes = 3, batch = 8, micro = 2, steps = 4, clip = 1, lr = 1e-2,
    ema = { 0.9, 0.99 }, dropout = 0.13, label_dropout = 0.1 }
  for key, value in pairs(set or {}) do all[key] = value end
  return fm.experiment.resolve(painting, { profile = "smoke", method = method, set = all })
end

local function bits(job)
  local parts = {}
  local function add(tensor, name) parts[#parts + 1] = name .. fm.bytes(tensor) end
  tree.each(add, job.params)
  tree.each(add, job.opt:state())
  return fm.sha256(table.concat(parts))
end

for _, method in ipairs { "esd", "lsd", "psd-m", "psd-u", "meanflow", "tvm" } do
  t.test(method .. " on images: 1, 2 and 4 threads give the same bits", function()
    local found = {}
    for _, threads in ipairs { 1, 2, 4 } do
      fm.set_threads(threads)
      local job = trainer.new(painting, resolve({}, method))
      for _ = 1, 3 do trainer.step(job) end
      found[#found + 1] = bits(job)
    end
    t.eq(found[2], found[1])
    t.eq(found[3], found[1])
  end)
end

t.test("a resumed image run ends bit-identical", function()
  local path, cfg = sandbox.path "checkpoint.safetensors", resolve()
  local job = trainer.new(painting, cfg)
  for k = 1, 4 do
    if k == 3 then fm.checkpoint.save(path, job, { step = 2 }) end
    trainer.step(job)
  end
  local resumed = trainer.new(painting, cfg, fm.checkpoint.load(path))
  for _ = 3, 4 do trainer.step(resumed) end
  t.eq(bits(resumed), bits(job))
end)

t.test("a checkpoint made before a setting existed has its default", function()
  local cfg = resolve { classes = 0 }
  cfg.classes, cfg.guidance = nil, nil
  t.eq(fm.job.parts(painting, cfg).cfg.classes, 0)
end)

t.test("a step leaves the weights renewed", function()
  local job = trainer.new(painting, resolve { optimiser = "adamw", lr = 0.3 })
  trainer.step(job) -- each weight moves by 0.3
  local w = job.params.dec["8x8_block0"].conv_res1
  local off = fm.max_reduce(fm.abs(fm.mean(fm.square(w), { 2, 3, 4 }) - 1)):item()
  t.near(off, 0, 1e-3)
end)

-- Parameters whose gains are not 0, so that v is not.
local function awake(job)
  local params = job.net.init(nets.rng(1, F32))
  tree.each(function(w) if #w.shape == 0 then w:copy_from(fm.tensor(0.5)) end end, params)
  return params
end

-- The losses of a step with other settings.
local function losses_with(set, classes_of)
  local job = fm.job.parts(painting, resolve(set))
  local params = awake(job)
  if classes_of then -- other labels for the same images
    job.set = setmetatable({ sample = function(b)
      local x, labels = stripes.sample(b)
      return x, classes_of(labels)
    end }, { __index = stripes })
  end
  local shared = { params = params }
  return step.program(job, shared):run { shared = shared, batch = 8, seed = 1 }.rows.loss:flat()
end

t.test("dropout acts only in the diagonal term", function()
  local with = losses_with { micro = 8, dropout = 0.5 }
  local without = losses_with { micro = 8, dropout = 0 }
  for k = 1, 8 do t.eq(with[k] == without[k], k > 6, "sample " .. k) end
end)

t.test("labels matter, unless they are dropped", function()
  local function turned(labels) return 2 - labels end
  local plain = losses_with { label_dropout = 0 }
  t.eq(plain[1] == losses_with({ label_dropout = 0 }, turned)[1], false)
  local dropped = losses_with { label_dropout = 1 }
  t.eq(losses_with({ label_dropout = 1 }, turned), dropped)
  t.eq(losses_with({ label_dropout = 0 }, function(labels) return labels * 0 - 1 end), dropped)
end)

t.test("a table of bytes: images and their labels are gathered together, as numbers in [-1, 1]",
  function()
    local bytes, of = {}, {}
    for k = 0, 4 do -- image k has the value 50 k everywhere, its label is 2 for odd k
      for i = 1, 192 do bytes[192 * k + i] = 50 * k end
      of[k + 1] = k % 2 * 2
    end
    local set = { shape = square(8), sd = 0.5, classes = 3, count = 5,
      table = fm.reshape(fm.tensor(bytes, "uint8"), { 5, 8, 8, 3 }), labels = fm.tensor(of) }
    local own = { name = "bytes", path = "tests", methods = { "probe" }, profiles = { smoke = {} },
      data = { stripes = set }, losses = {} }
    local cfg = resolve { eta = 0, batch = 64, micro = 64, label_dropout = 0, dropout = 0 }
    cfg.method = "probe"
    local function run(size)
      cfg.dataset_size = size
      function own.losses.probe(a) -- image number + label / 10, by sample
        return fm.reshape(fm.slice(fm.reshape(a.x1, { a.x1.shape[1], 192 }), 2, 7, 1),
          { a.x1.shape[1] }) * 127.5 + 127.5 + a.labels / 10
      end
      local job = fm.job.parts(own, cfg)
      fm.job.open_images(job)
      job.net.weight = nil
      local shared = { params = awake(job), data = job.data, labels = job.labels }
      local loss = step.program(job, shared):run { shared = shared, batch = 64, seed = 3 }.rows.loss
      local seen = {}
      for i, value in ipairs(loss:flat()) do
        if i > 1 then seen[("%.1f"):format(value)] = true end -- the first is diagonal
      end
      return seen
    end
    t.eq(run(0), { ["0.0"] = true, ["50.2"] = true, ["100.0"] = true, ["150.2"] = true,
      ["200.0"] = true })
    t.eq(run(2), { ["0.0"] = true, ["50.2"] = true })
  end)

t.test("classes absent from the data are refused", function()
  t.raises(function() trainer.new(painting, resolve { classes = 4 }) end,
    "classes is 4, but the data set 'stripes' has 3 classes")
end)

t.test("guidance: v_null + scale (v_class - v_null); sample k is of class k mod classes", function()
  local job = fm.job.parts(painting, resolve { guidance = 2.5, micro = 4 })
  local params = awake(job)
  local x = fm.sampler.generator(job, params, 1)(6, 5)
  t.eq(x.shape, { 6, 8, 8, 3 })
  local x0 = fm.sampler.generator(job, params, 1, function(_, noise) return noise end)(6, 5)
  local zero, one = fm.zeros { 6 }, fm.ones { 6 }
  local function v(labels) return job.net.v(params, zero, one, x0, { labels = labels }) end
  local null, class = v(one * -1), v(fm.tensor { 0, 1, 2, 0, 1, 2 })
  t.near(difference(x, x0 + null + 2.5 * (class - null)), 0, 1e-5)
  t.eq(difference(class, null) > 0.01, true)
  local whole = {}
  fm.sampler.generator(job, params, 1)(6, 5, nil, function(piece, first)
    whole[#whole + 1], whole.first = piece, first
  end)
  t.eq(fm.bytes(whole[1]) == fm.bytes(x), true)
  t.eq(whole.first, 0)
end)

t.test("the loss falls on images", function()
  local job = trainer.new(painting, resolve { batch = 16, micro = 8, steps = 60, dropout = 0,
    optimiser = "adamw", schedule = "constant" })
  local first, last = 0, 0
  for k = 1, 60 do
    local it = trainer.step(job)
    if k <= 5 then first = first + it.terms.diagonal end
    if k > 55 then last = last + it.terms.diagonal end
  end
  t.eq(last < 0.8 * first, true, ("from %g to %g"):format(first, last))
end)

t.done()
