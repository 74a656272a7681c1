-- Nearest neighbours against values by hand, the authors' package (tests/golden/make_prdc.py) and
-- means that hold for every law; exact tails against closed forms.

local t = require "harness"
local fm = require "flowmap"

local neighbours, tails = fm.neighbours, fm.tails

local here = arg[0]:match "^(.*)/lua/[^/]*$" or "tests"

local function column(values)
  local rows = {}
  for i, v in ipairs(values) do rows[i] = { v } end
  return fm.tensor(rows, "float64")
end

local function prdc(real, fake, k)
  return neighbours.prdc(neighbours.balls(real, { k }), neighbours.balls(fake, { k }), k)
end

local function values(it) return { it.precision, it.recall, it.density, it.coverage } end

-- ------------------------------------------------------------------ neighbours

t.test("three real points and two samples on a line, by hand", function()
  -- Radii of 0, 1, 3: 1, 1, 2. The sample 0.5 lies in the first two balls, 10 in none; the samples'
  -- own balls have the radius 9.5, and that of 0.5 contains every real point.
  local it = prdc(column { 0, 1, 3 }, column { 0.5, 10 }, 1)
  t.eq(values(it), { 0.5, 1.0, 1.0, 2 / 3 })
  t.eq(it.inside:flat(), { 2.0, 0.0 })
  -- Balls are closed: 4 lies on the border of that around 2.
  t.eq(values(prdc(column { 0, 2 }, column { 4, 100 }, 1)), { 0.5, 1.0, 0.5, 0.5 })
end)

t.test("golden values of the package prdc", function()
  local G = fm.load_safetensors(here .. "/golden/prdc.safetensors")
  local real, fake = neighbours.balls(G.real, { 1, 3, 5 }), neighbours.balls(G.fake, { 1, 3, 5 })
  for _, k in ipairs { 1, 3, 5 } do
    local found = values(neighbours.prdc(real, fake, k))
    for i, expected in ipairs(G["k" .. k]:flat()) do t.near(found[i], expected, 1e-14) end
  end
  local mixed = neighbours.prdc(real, fake, 3, 5)
  t.near(mixed.recall, G.k3:get(2), 1e-14)
  t.near(mixed.density, G.k5:get(3), 1e-14)
  t.near(mixed.coverage, G.k5:get(4), 1e-14)
end)

t.test("identical sets give 1, disjoint ones 0", function()
  local x = fm.normal({ 300, 8 }, { seed = 1, stream = "x" })
  local same, apart = prdc(x, x, 3), prdc(x, x + 100, 3)
  t.eq({ same.precision, same.recall, same.coverage }, { 1.0, 1.0, 1.0 })
  t.eq(values(apart), { 0.0, 0.0, 0.0, 0.0 })
end)

t.test("density and coverage of two sets of one law have means that no law changes", function()
  local n, m = 1200, 800
  local function cloud(count, stream)
    return fm.uniform({ count, 2 }, { seed = 2, stream = stream, dtype = "float64" })
  end
  local x, y = cloud(n, "real"), cloud(m, "fake")
  for _, change in ipairs { function(z) return z end, fm.exp } do
    local real = neighbours.balls(change(x), { 1, 5 })
    local fake = neighbours.balls(change(y), { 1, 5 })
    for _, k in ipairs { 1, 5 } do
      local it, missed = neighbours.prdc(real, fake, k), 1
      for i = 1, k do missed = missed * (n - i) / (m + n - i) end
      t.near(it.density, 1, 0.1, "density")
      t.near(it.coverage, 1 - missed, 0.04, "coverage")
    end
  end
end)

t.test("equal distances count as often as they occur", function()
  local it = neighbours.balls(column { 0, 0, 0, 5 }, { 1, 2, 3 })
  t.eq(it.k1:flat(), { 0.0, 0.0, 0.0, 25.0 })
  t.eq(it.k2:flat(), { 0.0, 0.0, 0.0, 25.0 })
  t.eq(it.k3:flat(), { 25.0, 25.0, 25.0, 25.0 })
end)

t.test("small distances far from the origin are exact", function()
  local x = fm.tensor({ { 1000.0, 3 }, { 1000.0078125, 3 }, { 1001, 3 } }, "float32")
  local d, index = neighbours.nearest(x, fm.tensor { { 1000.015625, 3 }, { 1002, 3 } })
  t.eq(index:flat(), { 0.0, 0.0, 0.0 })
  t.near(d:get(1), 0.015625 ^ 2, 1e-9)
  t.near(d:get(2), 0.0078125 ^ 2, 1e-9)
end)

t.test("the nearest point, and the last of several", function()
  local d, index = neighbours.nearest(column { 0.4, 3, 9 }, column { 0, 1, 5, 5 })
  t.eq(index:flat(), { 0.0, 3.0, 3.0 })
  t.near(d:get(3), 16, 1e-12)
end)

t.test("too few points are refused", function()
  t.raises(function() neighbours.balls(column { 1, 2, 3 }, { 3 }) end,
    "3 points found, expected more than the number of neighbours, 3")
end)

-- ------------------------------------------------------------------ exact tails

t.test("tails of the binomial", function()
  t.near(tails.binomial(8, 10, 0.5), 56 / 1024, 1e-15)
  t.eq({ tails.binomial(0, 10, 0.5), tails.binomial(11, 10, 0.5) }, { 1.0, 0.0 })
  t.near(tails.binomial(3, 4, 0.25), 13 / 256, 1e-15)
  t.near(tails.binomial(1, 4, 0.25), 1 - 81 / 256, 1e-15)
  t.near(tails.binomial(2500, 5000, 0.5) + tails.binomial(2501, 5000, 0.5), 1, 1e-12)
  t.near(tails.binomial(60, 60, 0.5) * 2 ^ 60, 1, 1e-11, "small tails keep their digits")
end)

t.test("the interval of Clopper and Pearson", function()
  local low, high = tails.proportion(0, 10)
  t.eq(low, 0.0)
  t.near(high, 1 - 0.025 ^ 0.1, 1e-14)
  low, high = tails.proportion(10, 10)
  t.near(low, 0.025 ^ 0.1, 1e-14)
  t.eq(high, 1.0)
  low, high = tails.proportion(5, 10)
  t.near(low, 0.18708602844739855, 1e-13)
  t.near(high, 1 - low, 1e-13)
end)

t.test("tails of chi-squared: closed forms for 1, 2, 4 degrees of freedom", function()
  local normal = require "flowmap.normal"
  for _, x in ipairs { 0.1, 1, 3, 7.5, 20, 80 } do
    t.near(tails.chi_squared(x, 2) / math.exp(-x / 2), 1, 1e-12)
    t.near(tails.chi_squared(x, 4) / (math.exp(-x / 2) * (1 + x / 2)), 1, 1e-12)
    t.near(tails.chi_squared(x, 1) / (2 * normal.between(math.sqrt(x), math.huge)), 1, 1e-11)
  end
  t.eq(tails.chi_squared(0, 9), 1.0)
end)

t.test("sums of exchanged pairs", function()
  t.near(tails.exchange({ 2, 1 }, 2), 0.5, 1e-15) -- the sums 0, 1, 2, 3 are equally probable
  t.near(tails.exchange({ 2, 0, 1 }, 3), 0.25, 1e-15)
  t.eq({ tails.exchange({}, 0), tails.exchange({ 1 }, 2), tails.exchange({ 3 }, -1) },
    { 1.0, 0.0, 1.0 })
  local ones = {}
  for k = 1, 40 do ones[k] = 1 end
  for _, s in ipairs { 1, 20, 33 } do
    t.near(tails.exchange(ones, s), tails.binomial(s, 40, 0.5), 1e-14)
  end
end)

t.done()
