-- The losses are zero on a flow map in closed form, and their gradients follow the stop-gradients.

local t = require "harness"
local fm = require "flowmap"

local F64 = "float64"
local losses, Map = fm.losses, fm.map

-- x0 ~ N(0, a^2), x1 ~ N(m, c^2), linear interpolant: X_{s,t}(x) = m_t + sd_t/sd_s (x - m_s) with
-- m_t = t m, sd_t^2 = (1-t)^2 a^2 + t^2 c^2. Divided by t - s by hand, v is regular at s = t.
local a, c, m = 0.7, 0.3, 1.5

local function sd(time) return fm.sqrt(fm.square((1 - time) * a) + fm.square(time * c)) end

local function v(s, time, x)
  local slope = (c * c * (time + s) - a * a * (2 - time - s)) / (sd(s) * (sd(time) + sd(s)))
  return m + slope * (x - s * m)
end

local gaussian = Map.new(v)

local function uniform(shape, stream)
  return fm.uniform(shape, { seed = 3, stream = stream, dtype = F64 })
end

local n = 64
local one, two = uniform({ n, 1 }, "one"), uniform({ n, 1 }, "two")
local s, time = fm.minimum(one, two), fm.maximum(one, two)
local x = 3 * uniform({ n, 2 }, "x") - 1

local function largest(values) return fm.max_reduce(fm.abs(values)):item() end

t.test("the closed form is a flow map", function() -- [eq:map] [eq:semigroup]
  local u = fm.cast(s * 0.3 + time * 0.7, F64)
  local direct, by_way = gaussian(s, time, x), gaussian(u, time, gaussian(s, u, x))
  t.near(largest(direct - by_way), 0, 1e-12)
  local there = time * m + sd(time) / sd(s) * (x - s * m)
  t.near(largest(direct - there), 0, 1e-12)
end)

-- A solver's step in place of the map's own leaves a residual of the order of its length.
local function is_exact(row)
  return not row or row.family ~= "semigroup" or (row.velocity or "self") == "self"
end

for _, method in ipairs(losses.names()) do
  local loss = losses.find(method)
  for _, stop in ipairs(is_exact(loss.row) and loss.choices or {}) do
    -- [eq:lagrangian] [eq:eulerian] [eq:semigroup]
    t.test(method .. " " .. stop .. " has residual 0 on it", function()
      local args = { map = gaussian, s = s, t = time, x = x, stop = stop, teacher = gaussian,
        dx = gaussian:b(s, x) }
      for name, value in pairs(loss.args) do
        args[name] = value == "uniform" and uniform({ n, 1 }, name) or value
      end
      local L = loss.loss(args)
      t.eq(L.shape, { n })
      t.near(math.sqrt(largest(L)), 0, 1e-10)
    end)
  end
end

-- ---------------------------------------------------------------------- shapes of data

-- Samples of the shape (4, 4, 4, 3): a time of the shape (4, 1) would broadcast along the width of
-- the image, which equals the number of samples, and no shape would disagree.
local images = { 4, 4, 4, 3 }

-- No flow map, so that no residual vanishes; elementwise in x.
local crooked = Map.new(function(from, to, at) return fm.sin(at + from * 2) * (to + 1) end)

local function losses_of(method, own, stop, shape)
  local loss = losses.find(method, own)
  local one4, two4 = uniform({ 4, 1 }, "one"), uniform({ 4, 1 }, "two")
  local args = { map = crooked, s = fm.minimum(one4, two4), t = fm.maximum(one4, two4),
    stop = stop, teacher = crooked }
  for _, name in ipairs { "x", "dx", "x0", "x1" } do
    args[name] = fm.reshape(uniform({ 4, 48 }, name), shape)
  end
  for name, value in pairs(loss.args) do
    args[name] = value == "uniform" and uniform({ 4, 1 }, name) or value
  end
  return loss.loss(args)
end

local template = fm.experiment.load "experiments/template.lua"
local owners = { { losses.names() }, { fm.tree.keys(template.losses), template.losses } }

for _, it in ipairs(owners) do
  for _, method in ipairs(it[1]) do
    for _, stop in ipairs(losses.find(method, it[2]).stops) do
      t.test(method .. " " .. stop .. " of images is that of the same numbers as points", function()
        local flat = losses_of(method, it[2], stop, { 4, 48 })
        t.near(largest(losses_of(method, it[2], stop, images) / flat - 1), 0, 1e-12)
      end)
    end
  end
end

t.test("a loss is given times and draws that broadcast against its data", function()
  for _, shape in ipairs { { 4, 48 }, images, { 4, 2, 2, 4, 3 } } do
    local given
    local own = { mine = { loss = function(it) given = it; return losses.norm2(it.x * it.g) end,
      args = { g = "uniform" } } }
    losses_of("mine", own, nil, shape)
    local wanted = { 4 }
    for k = 2, #shape do wanted[k] = 1 end
    t.eq({ given.s.shape, given.t.shape, given.g.shape }, { wanted, wanted, wanted })
    t.eq({ given.x.shape, given.x0.shape }, { shape, shape })
  end
end)

t.test("an argument that a direct call leaves out is named", function()
  local function refused(name, args, pattern)
    args.map, args.x = gaussian, args.x or x
    t.eq(t.raises(function() losses[name](args) end, pattern).code, "usage")
  end
  refused("lsd", { s = s }, "^the loss 'lsd' reads a%.t, which is missing from its argument")
  refused("lsd", { s = s, t = time, x = 1 }, "reads a%.x, which is missing")
  refused("diagonal", { t = time }, "^the loss 'diagonal' reads a%.dx, which is missing")
  refused("lsd", { s = 0, t = time },
    "^the loss 'lsd': a%.s is a number, expected a tensor %(64, 1%), one time per sample")
  refused("esd", { s = s, t = fm.ones({ 1, 1 }, F64) }, "a%.t is a tensor %(1, 1%) of float64")
end)

t.test("a map takes its times as (n), (n, 1) or in the rank of the data", function()
  local at = uniform(images, "x")
  local function moved(shape)
    local from, to = fm.full(shape, 0.25, F64), fm.full(shape, 0.75, F64)
    local there, d_t = crooked:dt(from, to, at)
    local _, d_s = crooked:ds(from, to, at)
    return fm.concat({ crooked(from, to, at), crooked:b(to, at), there, d_t, d_s,
      (select(2, crooked:dx(from, to, at, at))) }, 1)
  end
  local wanted = moved { 4, 1, 1, 1 }
  for _, shape in ipairs { { 4 }, { 4, 1 } } do
    t.eq(largest(moved(shape) - wanted), 0.0)
  end
end)

t.test("losses sum over dimensions and keep samples apart", function()
  local r = fm.tensor({ { 1, 2 }, { 3, 4 } }, F64)
  t.eq(losses.norm2(r):flat(), { 5.0, 25.0 })
end)

t.test("the diagonal velocity is E[dI | I]", function() -- [eq:tangent]
  -- regression of dI on I over many draws: slope Cov(dI, I) / Var(I) in closed form
  local at = 0.4
  local slope = (c * c * at - a * a * (1 - at)) / ((1 - at) ^ 2 * a * a + at ^ 2 * c * c)
  local here = fm.full({ n, 1 }, at, F64)
  local difference = gaussian:b(here, x) - (m + slope * (x - at * m))
  t.near(largest(difference), 0, 1e-12)
end)

t.test("interpolants and their velocities", function() -- [eq:interpolant]
  local x0, x1 = uniform({ n, 2 }, "x0"), uniform({ n, 2 }, "x1")
  local I, dI = fm.interpolants.at(fm.interpolants.linear, time, x0, x1)
  t.near(largest(I - ((1 - time) * x0 + time * x1)), 0, 1e-15)
  t.near(largest(dI - (x1 - x0)), 0, 1e-15)
  local angle = time * (math.pi / 2)
  I, dI = fm.interpolants.at(fm.interpolants.trig, time, x0, x1)
  t.near(largest(I - (fm.cos(angle) * x0 + fm.sin(angle) * x1)), 0, 1e-15)
  t.near(largest(dI - math.pi / 2 * (fm.cos(angle) * x1 - fm.sin(angle) * x0)), 0, 1e-14)
end)

t.test("an interpolant of one's own is two functions of times, also of those of images", function()
  local own = { alpha = function(at) return fm.exp(-at) * (1 - at) end,
    beta = function(at) return at * at end }
  for _, shape in ipairs { { n, 2 }, { n, 2, 3, 1 } } do
    local x0, x1 = uniform(shape, "x0"), uniform(shape, "x1")
    local at = fm.interpolants.column(time, x0)
    local _, dI = fm.interpolants.at(own, time, x0, x1)
    t.near(largest(dI - (fm.exp(-at) * (at - 2) * x0 + 2 * at * x1)), 0, 1e-14)
  end
end)

-- ---------------------------------------------------------------------- gradients

local net = require "flowmap.nets.mlp" { dim = 2, sigma = 0.6, width = 8, depth = 2, features = 0 }
local weights = net.init(fm.nets.rng(1, F64))

local function map_of(params)
  return Map.new(function(...) return net.v(params, ...) end)
end

local function value(loss, params, stop, teacher)
  local args = { map = map_of(params), s = s, t = time, x = x, stop = stop, g = 0.5 }
  args.teacher = teacher and map_of(teacher)
  return fm.sum(loss(args))
end

-- Central difference of f along one entry of a weight.
local function difference(f, layer, i, j)
  local h, w = 1e-5, weights[layer].w
  local function moved(step)
    local values = w:totable()
    values[i][j] = values[i][j] + step
    local params = { table.unpack(weights) }
    params[layer] = { w = fm.tensor(values, F64), b = weights[layer].b }
    return f(params):item()
  end
  return (moved(h) - moved(-h)) / (2 * h)
end

for _, method in ipairs { "lsd", "esd", "psd-m" } do
  t.test(method .. " without stop-gradient: gradient against central differences", function()
    local loss = losses.find(method).loss
    local function f(params) return value(loss, params, "none") end
    local g = fm.grad(f)(weights)
    for _, at in ipairs { { 1, 1, 3 }, { 1, 2, 5 }, { 2, 4, 4 }, { 3, 2, 1 } } do
      local layer, i, j = table.unpack(at)
      t.near(g[layer].w:get(i, j), difference(f, layer, i, j), 1e-6)
    end
  end)
end

t.test("lsd convex: the target is a constant", function() -- [eq:lsd]
  local loss = losses.find("lsd").loss
  local X = map_of(weights)
  local target = X:b(time, X(s, time, x))
  local function frozen(params)
    local _, d_t = map_of(params):dt(s, time, x)
    return fm.sum(losses.norm2(d_t - target))
  end
  local g = fm.grad(function(params) return value(loss, params, "convex") end)(weights)
  t.near(g[2].w:get(3, 4), difference(frozen, 2, 3, 4), 1e-6)
end)

t.test("esd full and convex: their targets are constants", function() -- [eq:esd] [eq:esd-convex]
  local loss = losses.find("esd").loss
  local X = map_of(weights)
  local b = X:b(s, x)
  local _, advection = X:dx(s, time, x, b)
  local function full(params)
    local _, d_s = map_of(params):ds(s, time, x)
    return fm.sum(losses.norm2(d_s + advection))
  end
  local function convex(params)
    local Y = map_of(params)
    local _, d_s = Y:ds(s, time, x)
    local _, A = Y:dx(s, time, x, b)
    return fm.sum(losses.norm2(d_s + A))
  end
  for name, frozen in pairs { full = full, convex = convex } do
    local g = fm.grad(function(params) return value(loss, params, name) end)(weights)
    t.near(g[1].w:get(3, 2), difference(frozen, 1, 3, 2), 1e-6, name)
  end
end)

t.test("psd convex: the bracket is a constant", function() -- [eq:psd]
  local loss = losses.find("psd-m").loss
  local X, u = map_of(weights), s * 0.5 + time * 0.5
  local bracket = 0.5 * X.v(s, u, x) + 0.5 * X.v(u, time, X(s, u, x))
  local function frozen(params)
    return fm.sum(losses.norm2(map_of(params).v(s, time, x) - bracket))
  end
  local g = fm.grad(function(params) return value(loss, params, "convex") end)(weights)
  t.near(g[2].w:get(1, 7), difference(frozen, 2, 1, 7), 1e-6)
end)

t.test("unknown methods are answered with similar names", function()
  t.raises(function() losses.find "lsdd" end, "unknown method 'lsdd'; did you mean lsd%?")
  t.raises(function() losses.find "psd" end, "did you mean psd%-m or psd%-u%?")
end)

t.done()
