-- Velocities and flow maps of Gaussian mixtures in float64, against closed forms.

local t = require "harness"
local fm = require "flowmap"

local normal = require "flowmap.normal"

local Map, data, exact, mixture = fm.map, fm.data, fm.exact, fm.mixture
local linear, trig = fm.interpolants.linear, fm.interpolants.trig

-- As an experiment gives one of its own: two functions of a tensor of times, and no derivatives.
local own = { alpha = function(time) return 1 - time * time * (3 - 2 * time) end,
  beta = function(time) return time * time * (3 - 2 * time) end }

local NAMES = { "normal1", "normal2", "normal16", "modes1", "modes2", "modes16" }

-- Base samples, (n, d).
local function base(n, d, sigma, seed)
  return sigma * fm.cast(fm.normal({ n, d }, { seed = seed or 1, stream = "test" }), "float64")
end

local function column(n, value) return fm.full({ n, 1 }, value, "float64") end

local function furthest(x, y) return t.furthest(x:flat(), y:flat()) end

t.test("draws have the moments and masses that the law states", function()
  for _, name in ipairs(NAMES) do
    local set = data.find(name)
    fm.law.check(set, name)
    local x = data.draw(set, 100000, 3, "float64")
    local mean = fm.mean(x, 1):flat()
    for i = 1, set.dim do
      local expected = 0
      for k, w in ipairs(set.mixture.weights) do
        expected = expected + w * set.mixture.means[k][i]
      end
      t.near(mean[i], expected, 0.02, name)
    end
  end
end)

-- [eq:velocity]
t.test("the velocity is E[dI | I] : regression on functions of I leaves nothing", function()
  for _, interpolant in ipairs { linear, trig, own } do
    for _, name in ipairs { "normal2", "modes1", "modes2" } do
      local set, n = data.find(name), 200000
      local b = mixture.velocity(set.mixture, interpolant, set.sd)
      local time = column(n, 0.6)
      local x1 = data.draw(set, n, 4, "float64")
      local I, dI = fm.interpolants.at(interpolant, time, base(n, set.dim, set.sd), x1)
      local rest = dI - b(time, I)
      for _, f in ipairs { fm.ones(I.shape, "float64"), I, fm.sin(3 * I), fm.tanh(5 * I) } do
        t.near(fm.mean(rest * f):item(), 0, 0.01, name)
      end
    end
  end
end)

-- [eq:velocity]
t.test("the velocity solves the continuity equation of the law of I_t, in one dimension", function()
  local law, sigma, h = data.find("modes1").mixture, 0.6, 1e-5
  for _, interpolant in ipairs { linear, trig, own } do
    local b = mixture.velocity(law, interpolant, sigma)
    local function flux(time, x) -- probability below x
      local here, p = mixture.at(law, interpolant, sigma, time), 0
      for k, w in ipairs(here.weights) do
        p = p + w * normal.between(-math.huge, (x - here.means[k][1]) / here.sds[k][1])
      end
      return p
    end
    for _, x in ipairs { -1, -0.2, 0.4, 0.8 } do
      local density = (flux(0.7, x + h) - flux(0.7, x - h)) / (2 * h)
      local rate = (flux(0.7 + h, x) - flux(0.7 - h, x)) / (2 * h)
      local velocity = b(column(1, 0.7), column(1, x)):item()
      t.near(rate, -density * velocity, 1e-8)
    end
  end
end)

t.test("integrated maps of Gaussians agree with the closed form", function()
  for _, name in ipairs { "normal1", "normal2", "normal16" } do
    local set = data.find(name)
    local flow = exact.flow(set.mixture, linear, set.sd)
    local X = Map.new(exact.gaussian(set.mixture, set.sd))
    local x = base(64, set.dim, set.sd)
    for _, pair in ipairs { { 0, 1 }, { 0.3, 0.8 }, { 1, 0 } } do
      local s, e = pair[1], pair[2]
      t.near(furthest(flow(s, e, x), X(column(64, s), column(64, e), x)), 0, 1e-10, name)
    end
  end
end)

t.test("integrated maps on the line agree with the map of quantiles", function()
  local law, sigma, n = data.find("modes1").mixture, data.find("modes1").sd, 64
  local x = base(n, 1, sigma)
  for _, interpolant in ipairs { linear, trig, own } do
    local flow = exact.flow(law, interpolant, sigma)
    for _, pair in ipairs { { 0, 1 }, { 0.2, 0.9 }, { 0.7, 0.1 } } do
      local y, from = flow(pair[1], pair[2], x):flat(), x:flat()
      for i = 1, n do
        local expected = exact.by_quantile(law, interpolant, sigma, pair[1], pair[2], from[i])
        t.near(y[i], expected, 1e-9)
      end
    end
  end
end)

t.test("a mixture along one axis of 16 moves that coordinate by quantiles, the others linearly",
  function()
    local law = { weights = { 0.4, 0.6 }, means = { {}, {} }, sds = { {}, {} } }
    for i = 1, 16 do
      for k = 1, 2 do
        law.means[k][i] = i == 1 and (k == 1 and -0.6 or 0.5) or 0.1
        law.sds[k][i] = i == 1 and 0.2 or 0.3
      end
    end
    local x = base(16, 16, 0.5)
    local from, y = x:flat(), exact.flow(law, linear, 0.5)(0, 1, x):flat()
    local line = { weights = law.weights, means = { { -0.6 }, { 0.5 } },
      sds = { { 0.2 }, { 0.2 } } }
    for i = 0, 15 do
      local first = exact.by_quantile(line, linear, 0.5, 0, 1, from[16 * i + 1])
      t.near(y[16 * i + 1], first, 1e-9)
      for j = 2, 16 do t.near(y[16 * i + j], 0.1 + 0.3 / 0.5 * from[16 * i + j], 1e-10) end
    end
  end)

t.test("the integrator has order 8", function()
  local function b(time, x) return -2 * time * fm.square(x) end -- x = 1 / (1 + t^2)
  local function wrong(steps)
    local x = column(1, 1)
    for k = 0, steps - 1 do
      x = fm.ode.extrapolated(b, column(1, k / steps), x, column(1, 1 / steps))
    end
    return math.abs(x:item() - 0.5)
  end
  local order = math.log(wrong(4) / wrong(8), 2)
  t.near(order, 8, 0.7, "order")
end)

t.test("half the step changes the map by less than 1e-9", function()
  for _, name in ipairs { "modes1", "modes2", "modes16" } do
    local set = data.find(name)
    local x = base(256, set.dim, set.sd, 2)
    local one = exact.flow(set.mixture, linear, set.sd)(0, 1, x)
    local two = exact.flow(set.mixture, linear, set.sd, 128)(0, 1, x)
    t.near(furthest(one, two), 0, 1e-9, name)
  end
end)

t.test("X_{t,s} after X_{s,t} is the identity", function()
  for _, name in ipairs(NAMES) do
    local set = data.find(name)
    local flow = exact.flow(set.mixture, linear, set.sd)
    local x = base(256, set.dim, set.sd)
    t.near(furthest(flow(1, 0, flow(0, 1, x)), x), 0, 1e-8, name)
    t.near(furthest(flow(0.7, 0.2, flow(0.2, 0.7, x)), x), 0, 1e-9, name)
  end
end)

t.done()
