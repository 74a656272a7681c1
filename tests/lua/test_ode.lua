-- ODE solvers and samplers: orders, the adaptive solver against the exact map, evaluations counted.

local t = require "harness"
local fm = require "flowmap"
local sandbox = require "sandbox"

local exact, mixture, ode, sampler = fm.exact, fm.mixture, fm.ode, fm.sampler
local linear = fm.interpolants.linear

local set = fm.data.find "modes2"
local law, sigma = set.mixture, 0.5
local velocity = mixture.velocity(law, linear, sigma)

local function base(n, dtype)
  return sigma * fm.cast(fm.normal({ n, 2 }, { seed = 3, stream = "ode" }), dtype or "float64")
end

local function furthest(x, y) return t.furthest(x:flat(), y:flat()) end

local function constant(value) return fm.full({ 1, 1 }, value, "float64") end

-- From time 0 to 0.5 in N equal steps. (The modes are narrow: later the velocity is stiff.)
local function solved(step, x, N)
  for i = 0, N - 1 do x = step(velocity, constant(i / N / 2), x, 0.5 / N) end
  return x
end

local function fifth(b, time, x, h)
  return (ode.dormand_prince(b, time, x, h, b(time, x)))
end

t.test("orders of convergence on the exact velocity of a mixture", function()
  local x = base(64)
  local truth = exact.flow(law, linear, sigma)(0, 0.5, x)
  for name, it in pairs { euler = { ode.euler, 1, 128 }, heun = { ode.heun, 2, 64 },
    dopri5 = { fifth, 5, 16 } } do
    local step, order, N = table.unpack(it)
    local slope = math.log(furthest(solved(step, x, N), truth)
      / furthest(solved(step, x, 2 * N), truth), 2)
    t.near(slope, order, 0.06 * order, name)
  end
end)

t.test("the estimate of the error is that of order 4: it falls with h^5", function()
  local x, at = base(64), constant(0.3)
  local function estimate(h)
    local e = select(3, ode.dormand_prince(velocity, at, x, h, velocity(at, x)))
    return furthest(e, 0 * e)
  end
  t.near(math.log(estimate(0.02) / estimate(0.01), 2), 5, 0.2)
end)

-- A job whose network is the exact velocity; it counts its calls, which are traced once.
local function job_of(set_of_cfg, dtype)
  local cfg = { shape = { 2 }, dim = 2, sigma = sigma, dtype = dtype or "float64", classes = 0,
    micro = 64, sampler = "dopri5", rtol = 1e-6, atol = 1e-6 }
  for key, value in pairs(set_of_cfg or {}) do cfg[key] = value end
  return fm.job.new { cfg = cfg, net = { v = function(_, s, _, x) return velocity(s, x) end } }
end

local function drawn(job, count, N)
  local draw, cost = sampler.generator(job, {}, N or 1)
  return draw(count, 7), cost
end

local function noise(job, count)
  return sampler.generator(job, {}, 1, function(_, x) return x end)(count, 7)
end

t.test("dopri5 is the exact map to its tolerance, with as many evaluations as it needs", function()
  local truth, last
  for _, tolerance in ipairs { 1e-4, 1e-6, 1e-8 } do
    local job = job_of { rtol = tolerance, atol = tolerance }
    truth = truth or exact.flow(law, linear, sigma, 128)(0, 1, noise(job, 200))
    local x, cost = drawn(job, 200)
    t.eq(furthest(x, truth) < 50 * tolerance, true, furthest(x, truth) / tolerance)
    t.eq(cost.nfe > (last or 2), true)
    last = cost.nfe
  end
end)

-- The solver by hand for a single sample, counting the evaluations one by one.
local function by_hand(x, tolerance)
  local count = 0
  local function b(at, y)
    count = count + 1
    return velocity(constant(at), y)
  end
  local function rms(y) return math.sqrt(fm.mean(fm.square(y)):item()) end
  local at, first = 0, b(0, x)
  local scale = tolerance + tolerance * fm.abs(x)
  local d0, d1 = rms(x / scale), rms(first / scale)
  local trial = 0.01 * d0 / d1
  local d2 = rms((b(trial, x + trial * first) - first) / scale) / trial
  local h = math.min(100 * trial, (0.01 / math.max(d1, d2)) ^ 0.2, 1)
  local before, may_grow = 1e-4, true
  while at < 1 do
    local ends = h >= 1 - at
    h = math.min(h, 1 - at)
    local y, k, e = ode.dormand_prince(b, at, x, h, first)
    e = rms(e / (tolerance + tolerance * fm.maximum(fm.abs(x), fm.abs(y))))
    local factor = 0.9 * e ^ -0.17
    if e <= 1 then
      at, x, first = ends and 1 or at + h, y, k
      h = h * math.min(math.max(factor * before ^ 0.04, 0.2), may_grow and 10 or 1)
      before, may_grow = math.max(e, 1e-4), true
    else
      h, may_grow = h * math.max(factor, 0.2), false
    end
  end
  return x, count
end

t.test("evaluations are counted one by one: six per attempt, two at the start", function()
  for _, tolerance in ipairs { 1e-5, 1e-7 } do
    local job, sum, most = job_of { rtol = tolerance, atol = tolerance }, 0, 0
    local x, cost = drawn(job, 12)
    local start = noise(job, 12)
    for i = 1, 12 do
      local y, count = by_hand(start:rows(i, 1), tolerance)
      t.near(y:get(1, 1), x:get(i, 1), 1e-12)
      t.eq((count - 2) % 6, 0)
      sum, most = sum + count, math.max(most, count)
    end
    t.near(cost.nfe, sum / 12, 1e-9)
    t.eq(cost.most, most)
  end
end)

t.test("a sample depends on no other of its batch, nor on the number of threads", function()
  local found = {}
  for i, threads in ipairs { 1, 2, 4 } do
    fm.set_threads(threads)
    found[i] = fm.bytes((drawn(job_of({ rtol = 1e-4, atol = 1e-4 }, "float32"), 700)))
  end
  t.eq(found[2], found[1])
  t.eq(found[3], found[1])
  local few = drawn(job_of({ rtol = 1e-4, atol = 1e-4 }, "float32"), 5)
  t.eq(fm.bytes(few), found[1]:sub(1, #fm.bytes(few)))
end)

t.test("N steps of Euler's method are DDIM, and cost N; Heun's cost 2 N", function()
  local job = job_of { sampler = "euler" }
  local x, cost = drawn(job, 50, 8)
  t.eq({ cost.nfe, cost.most }, { 8.0, 8 })
  local y = noise(job, 50)
  for i = 0, 7 do -- from a prediction of x1, as in test_methods
    local s, u = i / 8, (i + 1) / 8
    local x1 = y + (1 - s) * velocity(constant(s), y)
    local x0 = (y - s * x1) / (1 - s)
    y = (1 - u) * x0 + u * x1
  end
  t.eq(furthest(x, y) < 1e-12, true)
  local _, two = drawn(job_of { sampler = "heun" }, 50, 8)
  t.eq(two.nfe, 16.0)
end)

t.test("several pieces of a draw: other noise in each, classes in turn, each numbered", function()
  local job = job_of({ sampler = "map", classes = 3, guidance = 1 }, "float32")
  job.net = { v = function(_, _, _, x, extra)
    return x * 0 + fm.reshape(extra.labels, { x.shape[1], 1 })
  end }
  local function pieces(method)
    local found, count = {}, 0
    sampler.generator(job, {}, 1, method)(32768 + 5, 7, nil, function(piece, first)
      found[first], count = piece, count + 1
    end)
    t.eq({ count, found[32768].shape }, { 2, { 5, 2 } })
    return found[32768], found[0]
  end
  local last, first = pieces(function(_, x) return x end)
  t.eq(furthest(last, first:rows(1, 5)) > 0.1, true, "not the noise of the first piece")
  local class = (pieces() - last):flat()
  for k = 0, 4 do t.near(class[2 * k + 1], (32768 + k) % 3, 1e-5) end
end)

t.test("consistency sampling: noise of its own in every step", function()
  local job, n = job_of { sampler = "consistency" }, 4000
  job.interpolant, job.net = linear, { v = function(_, _, _, x) return x * 0 end } -- X(x) = x
  local z = { noise(job, n) }
  z[2] = 2 * drawn(job, n, 2) - z[1] -- (z_1 + z_0) / 2
  z[3] = 3 * drawn(job, n, 3) - (4 / 3 * z[2] + 2 / 3 * z[1]) -- z_2 / 3 + 2/3 (2 z_1 + z_0) / 3
  for i = 1, 3 do
    for j = 1, i do
      local covariance = fm.mean(z[i] * z[j]):item() / sigma ^ 2
      t.near(covariance, i == j and 1 or 0, 0.06, i .. " " .. j) -- a standard error is 0.011
    end
  end
end)

t.test("a velocity that is not finite ends with a sentence", function()
  local job = job_of()
  job.net = { v = function(_, s, _, x) return fm.log(0.5 - s) * x end }
  t.raises(function() drawn(job, 8) end, "dopri5: samples have not arrived after 1000 attempts")
  t.raises(function() drawn(job_of({ rtol = 1e-12, atol = 1e-12 }, "float32"), 8) end,
    "are too small for float32")
end)

t.test("a run with dopri5 has one row, at the evaluations that it used", function()
  sandbox.write("flow.lua", [[
    return { name = "flow", methods = { "fm" }, settings = { data = "gaussians", width = 16,
      depth = 2, nfe = { 1, 2 }, bins = 16 }, profiles = { smoke = { steps = 50, batch = 64,
      micro = 64, lr = 5e-3, ema = { 0.9 }, eval_samples = 2000 } } } ]])
  local code, out = sandbox.flowmap "run flow.lua --profile smoke --set sampler=dopri5 --out one"
  t.eq(code, 0, out)
  local rows = fm.json.read(sandbox.path "one/eval.json").rows
  t.eq(#rows, 1)
  t.eq(rows[1].nfe_used > 8 and rows[1].N == math.ceil(rows[1].nfe_used), true)
  code, out = sandbox.flowmap "sample one/checkpoint.safetensors --count 64 --out x.npy"
  t.eq(code, 0, out)
  t.eq(out:find "64 samples %(dopri5, %d+%.?%d* evaluations per sample%)" ~= nil, true, out)
  code, out = sandbox.flowmap("sample one/checkpoint.safetensors --count 64 --sampler heun "
    .. "--steps 4 --out x.npy")
  t.eq(code, 0, out)
  t.eq(out:find "%(heun, 8 evaluations per sample%)" ~= nil, true, out)
  code, out = sandbox.flowmap("sample one/checkpoint.safetensors --count 64 --steps 2 "
    .. "--sampler consistency --out x.npy")
  t.eq(code, 0, out)
  code, out = sandbox.flowmap "sample one/checkpoint.safetensors --rtol 2 --out x.npy"
  t.eq(code, 2, out)
  t.eq(out:find "%-%-rtol: rtol must be from 1e%-14 to 1, found 2" ~= nil, true, out)
end)

t.test("tables and figures place a sampler that chooses its steps at what it used", function()
  sandbox.write("both.lua", [[
    return { name = "both", methods = { "fm", "lsd" }, seeds = 1, settings = { data = "gaussians",
      width = 16, depth = 2, nfe = { 1, 2 }, bins = 16, sampler = "map" }, profiles = { smoke = {
      steps = 30, batch = 64, micro = 64, lr = 5e-3, ema = { 0.9 }, eval_samples = 1000,
      by_method = { fm = { sampler = "dopri5", rtol = 1e-3 } } } } } ]])
  local code, out = sandbox.flowmap "reproduce both.lua --profile smoke"
  t.eq(code, 0, out)
  local used = fm.json.read(sandbox.path "results/both/smoke/fm-seed1/eval.json").rows[1].nfe_used
  local text = sandbox.read "results/both/smoke/tables/kl.md"
  t.eq(text:find "| method | source | N = 1 | N = 2 | adaptive |" ~= nil, true, text)
  local row = ("| FM | ours, %.1f evaluations | – | – | %%d%%.%%d+ |"):format(used)
  t.eq(text:find((row:gsub("%%.", "%0", 0))) ~= nil, true, text)
  t.eq(text:find "| LSD | ours | %d%.%d+ | %d%.%d+ | – |" ~= nil, true, text)
  local points = sandbox.read "results/both/smoke/figures/kl.dat"
  t.eq(points:find(("\n%.5g"):format(used):sub(1, 6), 1, true) ~= nil, true, points)
end)

t.done()
