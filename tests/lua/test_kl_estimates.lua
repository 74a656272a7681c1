-- Estimates of KL by other grids, fewer samples and nearest neighbours.

local t = require "harness"
local data = require "flowmap.data"
local fm = require "flowmap"
local kl = require "flowmap.measure.kl_estimates"
local metrics = require "flowmap.measure.metrics"
local neighbours = require "flowmap.measure.neighbours"

local function normal(n, seed, scale) return fm.normal({ n, 2 }, { seed = seed }) * (scale or 1) end

t.test("the k-th nearest point is that of a sorted list of all distances", function()
  local x, y = normal(7, 1), normal(9, 2)
  local a, b = x:flat(), y:flat()
  for _, k in ipairs { 1, 2, 5, 9 } do
    local found = neighbours.kth(x, y, k):flat()
    for i = 1, 7 do
      local all = {}
      for j = 1, 9 do
        all[j] = (a[2 * i - 1] - b[2 * j - 1]) ^ 2 + (a[2 * i] - b[2 * j]) ^ 2
      end
      table.sort(all)
      t.near(found[i], all[k], 1e-12)
    end
  end
end)

t.test("neighbours: two Gaussians have their divergence in closed form", function()
  for _, scale in ipairs { 1, 1.5, 2 } do
    local exact = 2 * math.log(scale) - 1 + 1 / scale ^ 2
    t.near(kl.knn(normal(4096, 1), normal(4096, 2, scale)), exact, 0.06)
  end
end)

t.test("neighbours: the estimate by hand, of unequal numbers of points", function()
  local function line(...) -- on a line and, with the same distances, in the plane
    local rows = {}
    for i, value in ipairs { ... } do rows[i] = { value, 0 } end
    return fm.tensor(rows, "float64")
  end
  local x, y = line(0, 1, 3), line(-3, 0.5, 2, 7, 40)
  -- the nearest other points of x are 1, 1, 2 away, the nearest of y 0.5, 0.5, 1
  t.near(kl.knn(x, y, 1), 2 / 3 * 3 * math.log(0.5) + math.log(5 / 2), 1e-12)
  -- the second nearest: 3, 2, 3 and 2, 1, 2.5
  t.near(kl.knn(x, y, 2), 2 / 3 * math.log(2 / 3 * 1 / 2 * 2.5 / 3) + math.log(5 / 2), 1e-12)
end)

t.test("neighbours: points that coincide do not make the estimate infinite", function()
  local x = normal(64, 1)
  local value = kl.knn(fm.concat({ x, x, x, x, x, x, x }, 1), x)
  t.eq(value - value, 0.0)
end)

t.test("neighbours: as many points as a sixteenth of the samples, at least 64", function()
  local set = data.find "normal1"
  for count, points in pairs { [100] = 64, [2048] = 128 } do
    t.eq(kl.new(set, 8, data.draw(set, count, 1)).points.shape, { points, 1 })
  end
end)

t.test("every estimate is that of its grid and its number of samples, and has its floor", function()
  local set = data.find "checkerboard"
  local x, truth = data.draw(set, 30000, 5) * 1.1, data.draw(set, 30000, 7919)
  local row = {}
  kl.new(set, 64, truth):add(x, row)
  local function of(bins, count, y)
    local few = fm.slice(y or x, 1, 1, count)
    return metrics.kl(metrics.masses(set, bins), metrics.histogram(few, bins, set))
  end
  t.near(row.kl_by_grid32, of(32, 30000), 1e-12)
  t.near(row.kl_by_grid128, of(128, 30000), 1e-12)
  t.near(row.kl_by_n25k, of(64, 25000), 1e-12)
  t.near(row.kl_by_n100k, of(64, 30000), 1e-12)
  t.near(row.kl_by_n25k_floor, of(64, 25000, truth), 1e-12)
  for _, name in ipairs { "grid32", "grid128", "n25k", "n100k", "knn" } do
    t.eq(row[("kl_by_%s_floor"):format(name)] < row["kl_by_" .. name], true, name)
  end
end)

t.done()
