-- The bias of flow matching with a robust loss: none on a Gaussian, and on a mixture the known one.

local t = require "harness"
local fm = require "flowmap"

local bias, mixture, linear = fm.robust_bias, fm.mixture, fm.interpolants.linear
local modes, gauss = fm.data.find "modes1", fm.data.find "normal1"

t.test("the conditional law of dI has the mean b and the right second moment", function()
  local law, sigma, time = modes.mixture, modes.sd, 0.6
  local b = mixture.velocity(law, linear, sigma)
  local second, n = 0, 20000 -- E[dI^2] by the tower rule, against E[dI^2] = sigma^2 + E[x1^2]
  local x = fm.cast(fm.normal({ n, 1 }, { seed = 1, stream = "test" }), "float64")
  local x1 = fm.data.draw(modes, n, 5, "float64")
  local I = fm.interpolants.at(linear, fm.full({ n, 1 }, time, "float64"), sigma * x, x1):flat()
  for k = 1, n, 20 do
    local here, mean = mixture.conditional(law, linear, sigma, time, I[k]), 0
    for j, w in ipairs(here.weights) do
      mean = mean + w * here.means[j][1]
      second = second + w * (here.means[j][1] ^ 2 + here.sds[j][1] ^ 2) * 20 / n
    end
    local point = fm.full({ 1, 1 }, I[k], "float64")
    t.near(mean, b(fm.full({ 1, 1 }, time, "float64"), point):item(), 1e-12)
  end
  t.near(second, sigma ^ 2 + fm.mean(fm.square(x1)):item(), 0.05)
end)

t.test("there is no bias on a Gaussian, nor for p = 0", function()
  for _, x in ipairs { -1, 0.2, 1.5 } do
    for _, p in ipairs { 0.5, 1 } do
      t.near(bias.at(gauss.mixture, linear, gauss.sd, 0.4, x, p, 0.1), 0, 1e-10)
    end
    t.eq(bias.at(modes.mixture, linear, modes.sd, 0.4, x, 0, 0.1), 0.0)
  end
end)

t.test("the centre is stationary, and on a mixture it is not the mean", function()
  local law = mixture.conditional(modes.mixture, linear, modes.sd, 0.4, -0.2)
  for _, p in ipairs { 0.5, 1 } do
    local v, force, norm = bias.centre(law, p, 0.1), 0, 0
    for k, w in ipairs(law.weights) do -- a Riemann sum, in other nodes
      for u = -7, 7, 0.001 do
        local r = v - (law.means[k][1] + law.sds[k][1] * u)
        local q = w * math.exp(-u * u / 2) * (r * r + 0.01) ^ -p
        force, norm = force + q * r, norm + q * math.abs(r)
      end
    end
    t.near(force / norm, 0, 1e-6, "p = " .. p)
    t.eq(math.abs(v - bias.centre(law, 0, 0.1)) > 0.02, true, "p = " .. p)
  end
end)

t.test("the mean square of the bias, relative to the variance of the data", function()
  local sigma, time, p, c = modes.sd, 0.4, 0.5, 0.1
  local sum, weight, here = 0, 0, mixture.at(modes.mixture, linear, sigma, time)
  for k, w in ipairs(here.weights) do
    for u = -3, 3, 0.4 do -- other nodes between the same ends
      local x, q = here.means[k][1] + here.sds[k][1] * u, w * math.exp(-u * u / 2)
      sum = sum + q * bias.at(modes.mixture, linear, sigma, time, x, p, c) ^ 2
      weight = weight + q
    end
  end
  local found = bias.mean_square(modes.mixture, linear, sigma, time, p, c)
  t.near(found / (sum / weight / modes.sd ^ 2), 1, 0.02)
end)

t.test("two far components of one width: Cauchy's centre is near the heavier one", function()
  local law = { weights = { 0.6, 0.4 }, means = { { 0 }, { 10 } }, sds = { { 0.01 }, { 0.01 } } }
  t.near(bias.centre(law, 0, 0.1), 4, 1e-9)
  -- 0.6 v / (v^2 + c^2) = 0.4 (10 - v) / ((10 - v)^2 + c^2), about v = c^2 0.4 / (0.6 10)
  t.near(bias.centre(law, 1, 0.1), 0.01 * 0.4 / 6, 1e-4)
end)

t.done()
