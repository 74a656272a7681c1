-- Data sets against their exact laws, and the metrics against closed forms.

local t = require "harness"
local fm = require "flowmap"

local metrics, data = fm.metrics, fm.data
local board, gaussians = data.find "checkerboard", data.find "gaussians"

t.test("exact masses add up to 1", function()
  for _, set in ipairs { board, gaussians } do
    local sum = 0
    for _, p in ipairs(metrics.masses(set, 64)) do sum = sum + p end
    t.near(sum, 1, 1e-12)
  end
  local p = metrics.masses(board, 64)
  t.near(p[1], 1 / 2048, 1e-15, "lower left cell: filled")
  t.near(p[17], 0, 1e-15, "one square to the right: empty")
  t.near(p[4097], 0, 1e-12, "outside")
end)

t.test("the normal distribution function", function()
  local normal = require "flowmap.normal"
  t.near(normal.between(-1.959963984540054, 1.959963984540054), 0.95, 1e-14)
  t.near(normal.between(-math.huge, 0), 0.5, 1e-15)
  t.near(normal.between(6, math.huge) / 9.865876450376981e-10, 1, 1e-10)
  t.near(normal.between(2, 4), normal.between(-4, -2), 1e-16)
  t.near(normal.between(2.999999, 3.000001), 2e-6 * math.exp(-4.5) / math.sqrt(2 * math.pi), 1e-14)
end)

t.test("draws lie in the support and have the stated standard deviation", function()
  local x = data.draw(board, 100000, 5)
  t.eq(metrics.outside(x, board), 0.0)
  t.near(data.sd(x), board.sd, 3e-3)
  x = data.draw(gaussians, 100000, 5)
  t.near(data.sd(x), gaussians.sd, 3e-3)
  t.near(metrics.outside(x, gaussians), math.exp(-8), 2e-4)
end)

t.test("draws fill the cells according to the masses (chi-squared)", function()
  for _, set in ipairs { board, gaussians } do
    local n, chi, cells = 200000, 0, 0
    local count = metrics.histogram(data.draw(set, n, 9), 8)
    for k, p in ipairs(metrics.masses(set, 8)) do
      if p * n > 5 then
        chi, cells = chi + (count[k] - n * p) ^ 2 / (n * p), cells + 1
      elseif p == 0 then
        t.eq(count[k], 0)
      end
    end
    -- mean cells - 1, sd sqrt(2 (cells - 1))
    t.near(chi, cells - 1, 5 * math.sqrt(2 * cells))
  end
end)

-- The mass of the spirals in a box by the midpoint rule over angle and width, from the formula at
-- the head of lua/flowmap/data/spirals.lua.
local function spirals_mass(x0, x1, y0, y1)
  local angles, widths, hits = 3000, 100, 0
  for i = 1, angles do
    local a = (i - 0.5) / angles * 3 * math.pi
    local c, s = math.cos(a), math.sin(a)
    for k = 1, widths do
      local r = 0.15 + 0.25 / math.pi * a + 0.1 * ((k - 0.5) / widths - 0.5)
      for sign = -1, 1, 2 do
        local x, y = sign * r * c, sign * r * s
        if x >= x0 and x < x1 and y >= y0 and y < y1 then hits = hits + 1 end
      end
    end
  end
  return hits / (2 * angles * widths)
end

t.test("two spirals: masses, support and standard deviation", function()
  local set, sum = data.find "spirals", 0
  for _, p in ipairs(metrics.masses(set, 32)) do sum = sum + p end
  t.near(sum, 1, 1e-7)
  t.near(set.mass(-2, 2, -2, 2), 1, 1e-7)
  for _, box in ipairs { { -0.1, 0.3, 0.2, 0.45 }, { -1, 0, -1, 0 }, { 0.61, 0.67, 0.1, 0.9 },
    { -0.08, 0.09, -0.07, 0.08 } } do
    t.near(set.mass(table.unpack(box)), spirals_mass(table.unpack(box)), 1e-4)
    local x0, x1, y0, y1 = table.unpack(box)
    t.near(set.mass(x0, x1, y0, y1), set.mass(-x1, -x0, -y1, -y0), 1e-15, "symmetric")
  end
  local x = data.draw(set, 100000, 5)
  t.near(metrics.outside(x, set), 0, 1e-4)
  t.near(data.sd(x), set.sd, 3e-3)
  t.eq({ set.inside(0.15, 0), set.inside(0, 0), set.inside(-0.15, 0) }, { true, false, true })
  fm.law.check(set, "spirals")
end)

t.test("KL against its definition, computed by hand", function() -- [eq:kl]
  -- p = (1/2, 1/2, 0), counts (3, 0, 1): q = (3.5, 0.5, 1.5) / 5.5
  local expected = 0.5 * math.log(0.5 * 5.5 / 3.5) + 0.5 * math.log(0.5 * 5.5 / 0.5)
  t.near(metrics.kl({ 0.5, 0.5, 0 }, { 3, 0, 1 }), expected, 1e-15)
end)

t.test("KL of uniform samples on the square is log 2", function()
  -- a jittered grid: the same number of samples in every cell
  local values, bins, each = {}, 16, 100
  for i = 0, bins - 1 do
    for j = 0, bins - 1 do
      for _ = 1, each do
        values[#values + 1] = { (i + 0.5) / bins * 2 - 1, (j + 0.5) / bins * 2 - 1 }
      end
    end
  end
  local count = metrics.histogram(fm.tensor(values), bins)
  t.eq(count[1], each)
  t.eq(count[bins * bins + 1], 0)
  local n, cells = #values, bins * bins + 1
  local q = (each + 0.5) / (n + cells / 2)
  t.near(metrics.kl(metrics.masses(board, bins), count), math.log(2 / bins ^ 2 / q), 1e-12)
end)

t.test("the estimator's floor is about (cells - 1) / (2 n)", function()
  local n = 400000
  local count = metrics.histogram(data.draw(board, n, 11), 64)
  t.near(metrics.kl(metrics.masses(board, 64), count), 4096 / (2 * n), 6e-4)
end)

t.test("energy distance of shifted points", function() -- [eq:energy]
  local x, y = fm.tensor { { 0, 0 }, { 1, 0 } }, fm.tensor { { 0, 2 }, { 1, 2 } }
  -- E|X-Y| = (2 + 2 + 2 sqrt 5) / 4, E|X-X'| = E|Y-Y'| = 1
  t.near(metrics.energy(x, y), 2 * (4 + 2 * math.sqrt(5)) / 4 - 2, 1e-6)
  local one, two = data.draw(board, 4096, 1), data.draw(board, 4096, 2)
  t.near(metrics.energy(one, two), 0, 1e-3)
  t.eq(metrics.energy(one, data.draw(gaussians, 4096, 2)) > 0.01, true)
end)

-- Mean, and the Frobenius norm of the covariance, of points in space.
local function moments(x)
  local values, n = x:flat(), x.shape[1]
  local mean, square = { 0, 0, 0 }, 0
  for i = 0, 3 * n - 1 do mean[i % 3 + 1] = mean[i % 3 + 1] + values[i + 1] / n end
  for a = 1, 3 do
    for b = 1, 3 do
      local sum = 0
      for i = 0, 3 * n - 3, 3 do
        sum = sum + (values[i + a] - mean[a]) * (values[i + b] - mean[b]) / n
      end
      square = square + sum * sum
    end
  end
  return mean, math.sqrt(square)
end

t.test("the judge of points in space: errors of mean and covariance, floors", function()
  local set = { dim = 3, sd = 1, sample = function(b) return b:normal({ 3 }, "test") end }
  local judge, truth = require("flowmap.measure.judges.points").new(fm.job.new { set = set,
    cfg = { eval_samples = 2000, bins = 4, data = "mine" } })
  local mean, size = moments(truth)
  local row = judge:measure(truth * 2 + 0.5) -- the mean 2 m + 1/2, four times the covariance
  t.near(row.mean_error, math.sqrt((mean[1] + 0.5) ^ 2 + (mean[2] + 0.5) ^ 2
    + (mean[3] + 0.5) ^ 2), 1e-5)
  t.near(row.cov_error, 3 * size, 1e-5)
  local few = truth:rows(1, 1024) -- as many as are compared with other true samples
  local sliced = require "flowmap.measure.sliced"
  local function distance(x) return sliced.distance(x, judge.reference) end
  t.near(row.sw, distance(few * 2 + 0.5), 1e-6)
  t.near(row.sw_floor, distance(few), 1e-12)
  t.eq(distance(few) > 0.01, true, "these are no samples of the truth")
  t.near(row.energy_floor, metrics.energy(few, judge.reference), 1e-9)
end)

t.done()
