-- The equalities between published methods, and what separates those that are not equal: values
-- and gradients of a small network in float64. Each comparison is also made with a planted error,
-- which it must see.

local t = require "harness"
local fm = require "flowmap"
local residuals = require "flowmap.residuals"
local tree = require "flowmap.tree"

local F64, BOUND = "float64", 1e-10
local losses, Map, norm2, stop = fm.losses, fm.map, residuals.norm2, fm.stop
local column = fm.interpolants.column

-- ------------------------------------------------------------------ one set of draws

local n = 12
local function uniform(columns, stream)
  return fm.uniform({ n, columns }, { seed = 5, stream = stream, dtype = F64 })
end

local one, two = uniform(1, "one"), uniform(1, "two")
local s, time = fm.minimum(one, two) * 0.9 + 0.03, fm.maximum(one, two) * 0.9 + 0.06
local x0, x1, noise = 2 * uniform(2, "x0") - 1, 2 * uniform(2, "x1") - 1, uniform(2, "noise") - 0.5
local x, dx = fm.interpolants.at(fm.interpolants.linear, s, x0, x1)
local unit = fm.ones({ n, 1 }, F64)

local net = require "flowmap.nets.mlp" { dim = 2, sigma = 0.6, width = 8, depth = 2, features = 0 }
local function weights(seed)
  local params = net.init(fm.nets.rng(seed, F64))
  return tree.map(function(w) -- biases too shall not be zero
    return w + 0.1 * fm.uniform(w.shape, { seed = seed, stream = "shift", dtype = F64 })
  end, params)
end
local params, other = weights(1), weights(2)

local function map_of(p) return Map.new(function(...) return net.v(p, ...) end) end
local Y = map_of(other) -- a frozen map: teacher, or other weights

-- The argument of a loss, with some fields changed.
local function argument(X, more)
  local a = { map = X, s = s, t = time, x = x, dx = dx, x0 = x0, x1 = x1 }
  for key, value in pairs(more or {}) do a[key] = value end
  return a
end

-- ------------------------------------------------------------------ comparison

-- The values of f(X), one per sample, and the gradient of their sum, as one list of numbers.
local function evaluated(f)
  local list = f(map_of(params)):flat()
  local g = fm.grad(function(p) return fm.sum(f(map_of(p))) end)(params)
  local gradient = {}
  tree.each(function(w)
    for _, value in ipairs(w:flat()) do gradient[#gradient + 1] = value end
  end, g)
  return list, gradient
end

-- The largest difference of two lists, relative to the largest number.
local function distance(found, expected)
  local size = 0
  for _, value in ipairs(expected) do size = math.max(size, math.abs(value)) end
  return t.furthest(found, expected) / size
end

-- Two functions X -> (n) have equal values and gradients; a third one differs from the first in
-- both. `what` = "gradient" leaves out the values, "stop" says that the error is a stop-gradient,
-- which values do not see.
local function equal(name, f, g, planted, what)
  t.test(name, function()
    local value, gradient = evaluated(f)
    local value2, gradient2 = evaluated(g)
    local value3, gradient3 = evaluated(planted)
    t.near(distance(gradient, gradient2), 0, BOUND, "gradient")
    t.eq(distance(gradient, gradient3) > 1e-4, true, "the planted error is seen by the gradient")
    if what == "gradient" then return end
    t.near(distance(value, value2), 0, BOUND, "values")
    t.eq(distance(value, value3) > 1e-4, what ~= "stop", "the planted error is seen by the values")
  end)
end

local function dot(a, b) return fm.sum(a * b, { 2 }) end

-- d/ds v_{s,t}(x) + grad v . w, from two separate derivatives.
local function material(X, w)
  local _, d_s = fm.jvp(function(at) return X.v(at, time, x) end, s, unit)
  local _, d_x = fm.jvp(function(at) return X.v(s, time, at) end, x, w)
  return d_s + d_x
end

-- T_w = w + (t-s) (d/ds v + grad v . w); `share` of the derivative: a planted error
local function regression(X, w, share)
  return w + column(time - s, x) * (share or 1) * material(X, w)
end

local function esd(choice, velocity, more)
  return function(X)
    local a = argument(X, more)
    a.stop = choice
    return norm2(residuals.eulerian(a, { velocity = velocity or "self" }))
  end
end

-- ------------------------------------------------------------------ the equalities

do
  local q = uniform(2, "q") -- a fixed direction, so that the sign is compared as well
  local function form(X, share) return dot(regression(X, dx, share) - X.v(s, time, x), q) end
  equal("1. the Eulerian residual is -(v - T_w)", function(X)
    local a = argument(X, { stop = "none" })
    return dot(residuals.eulerian(a, { velocity = "sample" }), q)
  end, form, function(X) return form(X, 0.5) end)
end

local function meanflow(X) return losses.meanflow(argument(X)) end

equal("2. MeanFlow at p = 0 is ESD with stop target and the velocity dI", meanflow,
  function(X) return norm2(X.v(s, time, x) - stop(regression(X, dx))) end,
  function(X) return norm2(X.v(s, time, x) - regression(X, dx)) end, "stop")

equal("2. ... which one implementation writes as sg of T, and of the other weights",
  function(X) return losses.meanflow(argument(X, { target = Y })) end,
  function(X) return norm2(X.v(s, time, x) - stop(regression(Y, dx))) end, meanflow)

do
  -- dI = b + d and b - d, equally likely.
  local function at(X, sign)
    return losses.meanflow(argument(X, { dx = X:b(s, x) + sign * noise }))
  end
  local function both(X) return 0.5 * (at(X, 1) + at(X, -1)) end
  equal("2. its expected gradient is that of ESD with stop target and w = b", both, esd "target",
    function(X) return at(X, 1) end, "gradient")
  t.test("2. its value exceeds that of ESD by E|(1 + (t-s) grad v)(dI - b)|^2", function()
    local X = map_of(params)
    local _, g = fm.jvp(function(p) return X.v(s, time, p) end, x, noise)
    local excess = norm2(noise + column(time - s, x) * g):flat()
    local found = (both(X) - esd "target"(X)):flat()
    t.near(distance(found, excess), 0, BOUND)
    t.eq(distance(found, norm2(noise):flat()) > 1e-4, true, "the planted error is seen")
  end)
end

for _, p in ipairs { 1, 0.5, 0.25 } do
  local c = 0.3
  local function weighted(exponent)
    return function(X)
      local L = meanflow(X)
      return c ^ (2 * exponent) * stop(fm.pow(L + c * c, -exponent)) * L
    end
  end
  equal(("3. R_%g has the gradient of the weight c^2p sg(L + c^2)^-p"):format(p),
    function(X) return residuals.bounded(meanflow(X), p, c) end, weighted(p), weighted(p + 0.1),
    "gradient")
end

equal("3. R_{1/2} is twice c times pseudo-Huber",
  function(X) return residuals.bounded(meanflow(X), 0.5, 0.3) end,
  function(X) return 0.6 * (fm.sqrt(meanflow(X) + 0.09) - 0.3) end,
  function(X) return 0.3 * (fm.sqrt(meanflow(X) + 0.09) - 0.3) end)

equal("3. R_1 is Cauchy's", function(X) return residuals.bounded(meanflow(X), 1, 0.3) end,
  function(X) return 0.09 * fm.log(meanflow(X) / 0.09 + 1) end,
  function(X) return residuals.bounded(meanflow(X), 0.99, 0.3) end)

local function alphaflow(X, a) return losses.alphaflow(argument(X, { g = 1 - a })) end

do
  -- X, except that its velocity is dI for the step from s to u, which PSD asks for first: once for
  -- the velocity and once for the point.
  local function mixed(X)
    local asked = 0
    return Map.new(function(from, to, p)
      asked = asked + 1
      return asked <= 2 and dx or X.v(from, to, p)
    end)
  end
  local function psd(X, g) return losses.psd(argument(mixed(X), { g = g })) end
  equal("4. alpha-Flow is PSD with g = 1 - a and v_{s,u} := dI",
    function(X) return alphaflow(X, 0.3) end, function(X) return psd(X, 0.7) end,
    function(X) return psd(X, 0.3) end)
end

t.test("5. for a -> 0 alpha-Flow's gradient is MeanFlow's up to O(a)", function()
  local _, limit = evaluated(meanflow)
  local off = {}
  for k, a in ipairs { 1e-2, 1e-3, 1e-4 } do
    local _, g = evaluated(function(X) return alphaflow(X, a) / a end)
    off[k] = distance(g, limit)
  end
  t.near(off[1] / off[2], 10, 0.5)
  t.near(off[2] / off[3], 10, 0.5)
  local _, wrong = evaluated(esd("none", "sample"))
  t.eq(distance(wrong, limit) > 10 * off[1], true, "the planted error is seen")
end)

do
  local u = s + (1 - s) * (0.1 + 0.5 * uniform(1, "u"))
  local at_u = fm.interpolants.at(fm.interpolants.linear, u, x0, x1)
  local function original(X, from) return norm2(X(s, unit, x) - stop(X(from, unit, at_u))) end
  local function ct(X) return losses.ct(argument(X, { t = unit, u = u })) end
  equal("6. consistency training: both points of one interpolant", ct,
    function(X) return original(X, u) end, function(X) return original(X, s) end)
  equal("6. ... is alpha-Flow at t = 1, weighted by (1-s)^2", ct, function(X)
    local a = (u - s) / (1 - s)
    local L = losses.alphaflow(argument(X, { t = unit, g = 1 - a }))
    return fm.reshape(fm.square(1 - s), { n }) * L
  end, function(X) return losses.alphaflow(argument(X, { t = unit, g = 0.5 })) end)
end

do
  -- In the angle tau = pi/2 (1-s) on trig: f = cos(tau) x - sin(tau) F, the point at tau = 0, which
  -- defines F; L = |F - sg(F) - sg(cos(tau) df/dtau)|^2.
  local at, d_at = fm.interpolants.at(fm.interpolants.trig, s, x0, x1)
  local tau = math.pi / 2 * (1 - s)
  local function f(X, angle, p) return X(1 - angle * (2 / math.pi), unit, p) end
  local function sct(X, scale)
    local d_tau = fm.cos(tau) * x0 - fm.sin(tau) * x1
    local y, df = fm.jvp(function(p) return f(X, p.tau, p.x) end, { tau = tau, x = at },
      { tau = unit, x = d_tau })
    local F = (fm.cos(tau) * at - y) / fm.sin(tau)
    return norm2(F - stop(F) - stop(scale * fm.cos(tau) * df))
  end
  local function row(X)
    return losses.sct(argument(X, { x = at, dx = d_at, t = unit }))
  end
  equal("7. the gradient of sCT is that of its row", function(X) return sct(X, 1) end, row,
    function(X) return losses["ct-continuous"](argument(X, { x = at, dx = d_at, t = unit })) end,
    "gradient")
  t.test("7. its tangent is -(2/pi) cos(tau) times the Eulerian residual", function()
    local X = map_of(params)
    local a = argument(X, { x = at, dx = d_at, t = unit, stop = "none" })
    local r = residuals.eulerian(a, { velocity = "sample" })
    local g = norm2(-(2 / math.pi) * fm.cos(tau) * r):flat()
    t.near(distance(sct(X, 1):flat(), g), 0, BOUND)
    t.eq(distance(sct(X, 1.1):flat(), g) > 1e-4, true, "the planted error is seen")
  end)
end

do
  local from, to = fm.times.dyadic(one, two)
  local function original(X, d) -- the network as a function of x, time and step size d
    local function net_s(p, at, size) return X.v(at, at + size, p) end
    local first = net_s(x, from, d)
    local second = net_s(x + d * first, from + d, d)
    return norm2(net_s(x, from, to - from) - stop(0.5 * (first + second)))
  end
  equal("8. Shortcut with the current weights is PSD-M on the dyadic law",
    function(X) return losses.shortcut(argument(X, { s = from, t = to, g = 0.5 })) end,
    function(X) return original(X, 0.5 * (to - from)) end,
    function(X) return original(X, 0.4 * (to - from)) end)
end

do
  -- A DDIM step of the linear interpolant (alpha = s, sigma = 1 - s) from a prediction of x1.
  local function ddim(p, at, to, predicted)
    return to * predicted + (1 - to) / (1 - at) * (p - at * predicted)
  end
  local function predicted(X, at, to, p) return p + (1 - at) * X.v(at, to, p) end
  local function original(X, u)
    local z = ddim(x, s, u, predicted(Y, s, u, x))
    z = ddim(z, u, time, predicted(Y, u, time, z))
    local ratio = (1 - time) / (1 - s)
    local target = (z - ratio * x) / (time - ratio * s)
    local snr = fm.maximum(fm.square(s / (1 - s)), 1)
    return fm.reshape(snr, { n }) * norm2(predicted(X, s, time, x) - stop(target))
  end
  equal("9. progressive distillation is weighted PSD-M with a frozen target",
    function(X) return losses.pd(argument(X, { target = Y, g = 0.5 })) end,
    function(X) return original(X, 0.5 * (s + time)) end,
    function(X) return original(X, 0.4 * s + 0.6 * time) end)
  equal("14. a DDIM step is an Euler step",
    function(X) return norm2(ddim(x, s, time, predicted(X, s, time, x))) end,
    function(X) return norm2(x + (time - s) * X.v(s, time, x)) end,
    function(X) return norm2(x + s * X.v(s, time, x)) end)
end

equal("10. TVM whose average has no memory is LSD",
  function(X) return losses.tvm(argument(X, { target = map_of(params) })) end,
  function(X) return losses.lsd(argument(X)) end,
  function(X) return losses.lsd(argument(X, { stop = "none" })) end, "stop")

do
  local function direction(X, w) -- X . sg(d_s X + grad X . w), whose gradient is (t-s) r . grad v
    local r = residuals.eulerian(argument(X, { dx = w, stop = "none" }), { velocity = "sample" })
    return -2 * dot(X(s, time, x) / (time - s), stop(r))
  end
  equal("11. AYF-EMD, given as a direction, is MeanFlow with the teacher's velocity",
    function(X) return losses["ayf-emd"](argument(X, { teacher = Y })) end,
    function(X) return direction(X, Y:b(s, x)) end, function(X) return direction(X, dx) end,
    "gradient")
end

do
  local function original(X, u) return norm2(X(s, time, x) - stop(Y(u, time, Y(s, u, x)))) end
  local function frozen(X) return { target = Y, g = 0.5, stop = "convex", map = X } end
  equal("12. PFMM: a difference of points, with a frozen map",
    function(X) return losses.pfmm(argument(X, frozen(X))) end,
    function(X) return original(X, 0.5 * (s + time)) end,
    function(X) return original(X, 0.6 * s + 0.4 * time) end)
  equal("12. ... is PSD-M weighted by (t-s)^2",
    function(X) return losses.pfmm(argument(X, frozen(X))) end,
    function(X)
      return fm.reshape(fm.square(time - s), { n }) * losses.psd(argument(X, frozen(X)))
    end, function(X) return losses.psd(argument(X, frozen(X))) end)
end

do
  local function original(X, hold)
    local _, d_s = X:ds(s, time, x)
    local _, A = X:dx(s, time, x, dx)
    return norm2(d_s + hold(A))
  end
  equal("13. FMM's Eulerian loss with dI is ESD with stop full", esd("full", "sample"),
    function(X) return original(X, stop) end,
    function(X) return original(X, function(A) return A end) end, "stop")
end

do
  local u = s + (time - s) * (0.1 + 0.5 * uniform(1, "u"))
  local at_u = fm.interpolants.at(fm.interpolants.linear, u, x0, x1)
  local function imm(particles, kernel)
    local loss = residuals.loss { family = "semigroup", velocity = "sample", compare = "groups",
      kernel = kernel, particles = particles, args = { g = 0.5 } }
    return function(X) return loss(argument(X, { u = u, stop = "convex" })) end
  end
  local function training(X, from) -- consistency training, towards t
    return 2 * norm2(X(s, time, x) - stop(X(from, time, at_u)))
  end
  equal("15. IMM with one particle and k = -|.|^2 is consistency training towards t",
    imm(1, "square"), function(X) return training(X, u) end,
    function(X) return training(X, s) end)
  equal("15. ... and with two particles it is not", imm(1, "square"),
    function(X) return training(X, u) end, imm(2, "square"))
  -- the discrepancy as a double sum over the particles of each group: 5, 5 and 2 of 12
  local function double_sum(X, mixed)
    local a, b = X(s, time, x), stop(X(u, time, at_u))
    local scale = fm.reshape((time - s) * 2, { n })
    local rows, first = {}, 1
    local function k(p, q, i, j)
      local d = fm.slice(p, 1, i, 1) - fm.slice(q, 1, j, 1)
      return fm.exp(-1 * fm.sqrt(fm.maximum(norm2(d), 1e-16)) / fm.slice(scale, 1, i, 1))
    end
    for _, size in ipairs { 5, 5, 2 } do
      for i = first, first + size - 1 do
        local sum = 0
        for j = first, first + size - 1 do
          sum = sum + k(a, a, i, j) + k(b, b, i, j) - mixed * k(a, b, i, j)
        end
        rows[i] = sum * (1 / size)
      end
      first = first + size
    end
    return fm.concat(rows, 1)
  end
  equal("15. the discrepancy of groups is the double sum over their particles", imm(5, "laplace"),
    function(X) return double_sum(X, 2) end, function(X) return double_sum(X, 1) end)
end

do
  local Z, held = map_of(weights(3)), map_of(params) -- the average; the map held fixed
  local u = 0.5 * (s + time)
  local function step(method) -- from s to u with the teacher's velocity
    return method(function(at, p) return Y:b(at, p) end, s, x, u - s)
  end
  local function target(method) return stop(Z(u, time, step(method))) end
  local others = { teacher = Y, target = Z, held = held, g = 0.5 }
  local function cd(X, method) return norm2(X(s, time, x) - target(method)) end
  equal("16. CD: a step of Heun's method with the teacher, then the average's map",
    function(X) return losses.cd(argument(X, others)) end,
    function(X) return cd(X, fm.ode.heun) end, function(X) return cd(X, fm.ode.euler) end)
  local function ctm(X, method)
    return norm2(held(time, unit, X(s, time, x)) - stop(held(time, unit, target(method))))
  end
  equal("16. CTM: the same two points, compared at time 1",
    function(X) return losses.ctm(argument(X, others)) end,
    function(X) return ctm(X, fm.ode.heun) end, function(X) return ctm(X, fm.ode.euler) end)
end

t.test("17. weights in noise levels: iCT, ECT, IMM, PD and the angle", function()
  local function sigma(at) return 0.5 * (1 - at) / at end
  local function log_snr(at) return 2 * math.log(at / (1 - at)) end
  for _, at in ipairs { 0.05, 0.3, 0.6, 0.95 } do
    local later, h = at + 0.4 * (1 - at), 1e-6
    local a = { s = fm.tensor({ { at } }, F64), t = fm.ones({ 1, 1 }, F64), g = 0.3,
      u = fm.tensor({ { later } }, F64), cfg = { sigma = 0.3 } }
    local slope = (log_snr(at + h) - log_snr(at - h)) / (2 * h)
    for name, expected in pairs {
      inverse_noise_step = 1 / (sigma(at) - sigma(later)),
      snr_plus = (sigma(at) ^ 2 + 0.5 ^ 2) / (sigma(at) * 0.5) ^ 2,
      elbo_slope = 0.5 * slope / (1 + math.exp(log_snr(at) - 5)) * at / (at ^ 2 + (1 - at) ^ 2),
      truncated_snr = (1 - at) ^ 2 * math.max(1, (at / ((1 - at) * 0.3)) ^ 2),
      angle = 2 / math.pi * (1 - at) / math.tan(math.pi / 2 * (1 - at)),
    } do
      t.near(residuals.weights[name](a):item() / expected, 1, 1e-7, name .. " " .. at)
    end
    t.near(residuals.weights.first_part(a), 0.7, 1e-15)
    a.u = nil -- u by g: 0.3 s + 0.7 t
    t.near(residuals.weights.inverse_noise_step(a):item()
      * (sigma(at) - sigma(0.3 * at + 0.7)), 1, 1e-9)
  end
  t.eq(residuals.weights.first_part({ g = fm.tensor({ { 0.25 }, { 1 } }, F64) }):flat(),
    { 0.75, 1.0 })
end)

-- ------------------------------------------------------------------ what is not equal

do
  local function gap(X) -- the way through (t-s) d/ds v
    local r = residuals.eulerian(argument(X, { stop = "none" }), { velocity = "self" })
    local _, d_s = fm.jvp(function(at) return X.v(at, time, x) end, s, unit)
    return 2 * dot(stop(r), column(time - s, x) * d_s)
  end
  equal("ESD full and target differ by the gradient of (t-s) d/ds v",
    function(X) return esd "full"(X) - esd "target"(X) end, gap,
    function(X) return esd "convex"(X) - esd "target"(X) end, "gradient")
end

t.test("p > 0 moves the minimum away from the mean, unless the law is symmetric", function()
  -- dI is 1 with probability `share`, otherwise 0; the slope of E R_p(|v - dI|^2) at v = share
  local function slope(share, p)
    local v = fm.tensor({ share }, F64)
    return fm.grad(function(w)
      local function term(dI) return residuals.bounded(fm.square(w - dI), p, 0.1) end
      return fm.sum(share * term(1) + (1 - share) * term(0))
    end)(v):item()
  end
  t.near(slope(0.3, 0), 0, 1e-15)
  t.near(slope(0.5, 1), 0, 1e-15)
  for _, p in ipairs { 0.5, 1 } do t.eq(slope(0.3, p) > 1e-3, true) end -- it lies below
end)

t.done()
