-- The exact bench in float64: the true map has no error, and a wrong map the error it was given.

local t = require "harness"
local fm = require "flowmap"

local data, exact, map_error, bounds = fm.data, fm.exact, fm.map_error, fm.bounds
local linear = fm.interpolants.linear

local function bench_of(name, intervals)
  local set = data.find(name)
  return map_error.new { set = set, interpolant = linear, sigma = set.sd, points = 128,
    intervals = intervals or 4, dtype = "float64" }, set
end

-- The true map of a Gaussian, and the same with c added to every coordinate of v_{s,t}.
local function maps(set, c)
  local v = exact.gaussian(set.mixture, set.sd)
  return map_error.of_formula(v), map_error.of_formula(function(s, e, x) return v(s, e, x) + c end)
end

local NO = { w = fm.zeros({ 1 }, "float64") } -- a formula has no parameters

t.test("the true map has neither error nor residuals, and its bounds are 0", function()
  for _, name in ipairs { "normal1", "normal2" } do
    local bench, set = bench_of(name)
    local found, cells = bench:measure(maps(set, 0), NO)
    for _, field in ipairs { "error", "worst", "lagrangian", "eulerian", "semigroup",
      "diagonal" } do
      t.near(found[field], 0, 1e-18, name .. " " .. field)
    end
    t.near(found.bound_lsd, 0, 1e-7, name)
    t.near(found.bound_esd, 0, 1e-8, name)
    t.eq(cells.shape, { 5, 5 })
    local ends = bench:ends(maps(set, 0), NO, 3)
    t.near(ends.error, 0, 1e-18)
    t.near(ends.w2, 0, 1e-9)
    t.near(ends.energy, 0, 1e-6)
  end
end)

t.test("consistency sampling returns to a time between with fresh noise", function()
  local X = require("flowmap.map").new(function(_, _, x) return fm.full(x.shape, 3, "float64") end)
  local x0, z = fm.tensor({ { 1 }, { 2 } }, "float64"), fm.tensor({ { 10 }, { 20 } }, "float64")
  local how = { interpolant = linear, noise = function(i) return i * z end }
  local function samples(N) return fm.sampler.consistency(X, x0, N, how) end
  t.near(samples(1):get(2, 1), 2 + 3, 1e-12)
  t.near(samples(2):get(2, 1), 0.5 * 20 + 0.5 * 5 + 0.5 * 3, 1e-12)
  local first = 2 / 3 * 10 + 1 / 3 * 4 + 2 / 3 * 3
  t.near(samples(3):get(1, 1), 1 / 3 * 20 + 2 / 3 * first + 1 / 3 * 3, 1e-12)
  local bench, set = bench_of("normal2", 8)
  t.eq(bench:ends(maps(set, 0), NO, 3, "consistency").energy < 0.05, true)
  t.eq(bench:ends(maps(set, 0), NO, 3, "consistency").error > 0.1, true, "another coupling")
end)

t.test("samplers that draw noise between steps are compared uncoupled", function()
  local _, set = bench_of("normal2", 8)
  local function draw(stream) return fm.normal({ 3000, 2 }, { seed = 1, stream = stream }) end
  local context = { set = set, interpolant = linear, map = maps(set, 0), params = NO, N = 2,
    cfg = { sampler = "consistency", sigma = set.sd }, data = function() return draw "data" end }
  local samples = draw "samples" + 0.5
  local function energy() return map_error.metrics.law.measure(samples, context).energy end
  t.near(energy(), fm.metrics.energy(samples, draw "data"), 1e-12)
  context.N = 1
  t.near(energy(), 0, 1e-6, "one step has no noise")
  context.N, context.cfg.sampler = 2, "map"
  t.near(energy(), 0, 1e-6)
end)

t.test("the energy distance of coupled points leaves out the pairs i = j", function()
  local x = fm.tensor({ { 0, 1 }, { 2, 0 }, { -1, 3 }, { 0.5, 0.5 } }, "float64")
  local y = fm.tensor({ { 0.1, 1 }, { 2, 0.3 }, { -1, 2 }, { 1.5, 0 } }, "float64")
  local function mean(a, b)
    local sum = 0
    for i = 1, 4 do
      for j = 1, 4 do
        local d = math.sqrt((a:get(i, 1) - b:get(j, 1)) ^ 2 + (a:get(i, 2) - b:get(j, 2)) ^ 2)
        sum = sum + (i ~= j and d or 0)
      end
    end
    return sum / 12
  end
  t.near(map_error.coupled_energy(x, y), 2 * mean(x, y) - mean(x, x) - mean(y, y), 1e-6)
end)

t.test("a shifted velocity gives the error (t - s)^2 |c|^2", function()
  local c = 0.1
  for _, name in ipairs { "normal1", "normal2", "normal16" } do
    local bench, set = bench_of(name)
    local _, wrong = maps(set, c)
    local found, cells = bench:measure(wrong, NO)
    local square = set.dim * c * c / bench.variance
    -- the ten pairs of five times: four gaps of 1/4, three of 1/2, two of 3/4, one of 1
    t.near(found.error, square * (4 / 16 + 3 / 4 + 2 * 9 / 16 + 1) / 10, 1e-9, name)
    t.near(found.worst, square, 1e-9, name)
    t.near(found.diagonal, square, 1e-9, name)
    t.eq(found.semigroup > 1e-9, true, name)
    local values = cells:flat()
    t.near(values[5], square, 1e-6, "row s = 0, column t = 1")
    t.eq(values[21] ~= values[21], true, "nothing at s > t")
  end
end)

t.test("the Lagrangian and Eulerian residuals of a shifted velocity, on the line", function()
  local c, bench, set = 0.1, bench_of "normal1"
  local _, wrong = maps(set, c)
  local found = bench:compare(wrong, NO)
  local D, base = set.mixture.sds[1][1] ^ 2, set.sd ^ 2
  for i, s in ipairs(bench.times) do
    for j = i, #bench.times do
      local e = bench.times[j]
      local V = { (1 - s) ^ 2 * base + s * s * D, (1 - e) ^ 2 * base + e * e * D }
      local slope = (e * D - (1 - e) * base) / V[2] -- of b_t
      t.near(found.lagrangian[i][j], ((e - s) * slope * c) ^ 2, 1e-12)
      -- -c + (X' - 0) c, X' = sqrt(V_t / V_s)
      t.near(found.eulerian[i][j], ((math.sqrt(V[2] / V[1]) - 1) * c) ^ 2, 1e-12)
    end
  end
end)

t.test("the residuals of a linear map, v(s, t, x) = a x, in closed form", function()
  local a, bench = -0.7, bench_of "normal2"
  local found = bench:compare(map_error.of_formula(function(_, _, x) return a * x end), NO)
  for i, s in ipairs(bench.times) do
    local square = fm.sum(fm.square(bench.x[i])):item() / bench.n
    for j = i, #bench.times do
      local ha = (bench.times[j] - s) * a
      t.near(found.lagrangian[i][j], ha ^ 2 * a ^ 2 * square, 1e-12) -- a x - a (1 + h a) x
      t.near(found.eulerian[i][j], ha ^ 2 * a ^ 2 * square, 1e-12)   -- -a x + (1 + h a) a x
      t.near(found.semigroup[i][j], ha ^ 4 / 16 * square, 1e-12) -- (1 + h a / 2)^2 - (1 + h a)
    end
  end
end)

t.test("the distance of the law of shifted samples lies between the printed bounds", function()
  local c = 0.1
  for _, name in ipairs { "normal1", "normal2" } do
    local bench, set = bench_of(name, 8)
    local _, wrong = maps(set, c)
    local found, ends = bench:measure(wrong, NO), bench:ends(wrong, NO, 1)
    local w2 = math.sqrt(set.dim) * c / math.sqrt(bench.variance)
    t.near(math.sqrt(ends.error), w2, 1e-9, name)
    t.eq(ends.w2 <= w2 + 1e-12, true, name)
    if set.dim == 1 then t.near(ends.w2, w2, 1e-9) end
    t.eq(found.bound_lsd >= w2 and found.bound_esd >= w2, true, name)
    t.eq(found.bound_esd < 20 * w2, true, "the Eulerian bound has no exponential")
  end
end)

t.test("the constants of the bounds, on the line", function()
  local bench, set = bench_of("normal1", 8)
  local found = bench:measure(maps(set, 0), NO)
  local D, base, slopes = set.mixture.sds[1][1] ^ 2, set.sd ^ 2, {}
  local V = function(s) return (1 - s) ^ 2 * base + s * s * D end
  local steepest = 0
  for i, s in ipairs(bench.times) do
    slopes[i] = math.abs(s * D - (1 - s) * base) / V(s)
    steepest = math.max(steepest, math.sqrt(D / V(s)))
  end
  t.near(found.lipschitz, bounds.integral(slopes), 1e-9)
  t.near(found.gradient, steepest, 1e-9)
end)

t.test("the bounds of a shifted velocity, on the line", function()
  local c, bench, set = 0.1, bench_of("normal1", 8)
  local _, wrong = maps(set, c)
  local found = bench:measure(wrong, NO)
  local D, base = set.mixture.sds[1][1] ^ 2, set.sd ^ 2
  local V = function(s) return (1 - s) ^ 2 * base + s * s * D end
  local slopes, forward, backward = {}, {}, {}
  for i, s in ipairs(bench.times) do
    local slope, G = (s * D - (1 - s) * base) / V(s), math.sqrt(D / V(s))
    slopes[i] = math.abs(slope)
    forward[i] = (s * slope * c) ^ 2 + c ^ 2 -- the Lagrangian residual of X_{0,s}, and e_s = c
    backward[i] = ((G - 1) * c) ^ 2 + (G * c) ^ 2 -- the Eulerian residual of X_{s,1}
  end
  t.near(found.bound_lsd, math.sqrt(2 * math.exp(1 + 2 * bounds.integral(slopes))
    * bounds.integral(forward) / bench.variance), 1e-7)
  t.near(found.bound_esd, math.sqrt(2 * bounds.integral(backward) / bench.variance), 1e-7)
  t.near(bounds.integral { 1, 5, 2 }, (0.5 * 1 + 5 + 0.5 * 2) / 2, 1e-15)
end)

t.test("a map that has exploded has finite bounds", function()
  local bench = bench_of("normal1", 2)
  local wild = map_error.of_formula(function(s, e, x) return 500 * x * (1 + s + e) end)
  local found = bench:measure(wild, NO)
  t.eq(found.bound_lsd, 1e30)
  t.eq(found.error > 1e4, true)
end)

t.test("the spectral norm", function()
  t.near(bounds.spectral_norm({ 3, 0, 4, 5 }, 0, 2), math.sqrt(45), 1e-5)
  t.near(bounds.spectral_norm({ 9, 9, 9, 9, 0, -2, 1, 0 }, 4, 2), 2, 1e-5)
  t.eq(bounds.spectral_norm({ 0, 0, 0, 0 }, 0, 2), 0)
end)

t.test("a projected distance is at most the distance, and equal to it along an axis", function()
  local x = fm.normal({ 500, 3 }, { seed = 1, stream = "test" })
  local y = x + fm.reshape(fm.tensor { 0, 0.3, 0 }, { 1, 3 })
  t.near(map_error.projected_distance(x, y), 0.3, 1e-6)
  local turned = fm.concat({ fm.slice(x, 2, 2, 1), fm.slice(x, 2, 1, 1), fm.slice(x, 2, 3, 1) }, 2)
  t.eq(map_error.projected_distance(x, turned) < 0.3, true)
end)

t.done()
