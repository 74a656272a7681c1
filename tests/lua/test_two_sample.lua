-- Two-sample tests against counts by hand and closed forms; the extrapolated Frechet distance
-- against normal laws with a known distance.

local t = require "harness"
local fm = require "flowmap"

local limit, normal, tails, two_sample = fm.frechet_limit, require "flowmap.normal", fm.tails,
  fm.two_sample

local function draw(n, d, stream)
  return fm.normal({ n, d }, { seed = 4, stream = stream, dtype = "float64" })
end

local function column(values)
  local rows = {}
  for i, v in ipairs(values) do rows[i] = { v } end
  return fm.tensor(rows, "float64")
end

-- ------------------------------------------------------------------ classifier

t.test("logistic regression has no gradient left", function()
  -- Three in four of the rows at 1 are of class 1, and one in four of those at -1. With the ridge
  -- 0.01 n on the slope w, the derivative of the penalised likelihood is
  -- n (3/4 - sigmoid(w) - 0.01 w).
  local x = column { 1, 1, 1, 1, -1, -1, -1, -1 }
  local score = two_sample.logistic(x, column { 1, 1, 1, 0, 0, 0, 0, 1 })
  local w = score(column { 1 }):item()
  t.near(0.75 - 1 / (1 + math.exp(-w)) - 0.01 * w, 0, 1e-10)
  t.near(score(column { -3 }):item(), -3 * w, 1e-9)
end)

t.test("two normal laws: the area under the ROC curve is Phi(shift / sqrt 2)", function()
  local x, y = draw(6000, 3, "x") + fm.tensor({ { 0.5, 0, 0 } }, "float64"), draw(6000, 3, "y")
  local it = two_sample.classify(x, y)
  local area = normal.between(-math.huge, 0.5 / math.sqrt(2))
  t.eq(it.n, 3000)
  t.near(it.value, area, 0.025)
  t.eq(it.low < area and area < it.high and it.low < it.value and it.value < it.high, true)
  t.near(it.p / tails.binomial(math.floor(it.value * 3000 + 0.5), 3000, 0.5), 1, 1e-12)
  t.eq(it.p < 1e-10, true)
end)

t.test("for one law the share is 1/2 and the p-value uniform", function()
  local sum, small, trials = 0, 0, 120
  for k = 1, trials do
    local it = two_sample.classify(draw(60, 4, "a" .. k), draw(60, 4, "b" .. k))
    sum, small = sum + it.value / trials, small + (it.p <= 0.2 and 1 or 0)
  end
  t.near(sum, 0.5, 3.5 * 0.5 / math.sqrt(trials * 30))
  local least = 0
  while tails.binomial(least, 30, 0.5) > 0.2 do least = least + 1 end
  local mass = tails.binomial(least, 30, 0.5) -- P(p <= 0.2)
  t.near(small / trials, mass, 3.5 * math.sqrt(mass * (1 - mass) / trials))
end)

t.test("a count of successes", function()
  local it = two_sample.share(8, 10)
  t.eq({ it.value, it.n }, { 0.8, 10 })
  t.near(it.p, 56 / 1024, 1e-15)
  t.raises(function() two_sample.classify(draw(8, 2, "x"), draw(9, 2, "y")) end, "8 and 9 points")
end)

-- ------------------------------------------------------------------ labels

t.test("chi-squared of labels by hand", function()
  -- 3, 1, 0 of the first set and 1, 3, 0 of the second: every cell is off by 1 from 2.
  local a = fm.tensor { { 2, 1, 0 }, { 2, 1, 0 }, { 5, 1, 0 }, { 0, 1, 0 } }
  local b = fm.tensor { { 2, 1, 0 }, { 0, 1, 0 }, { 0, 3, 0 }, { 0, 1, 0 } }
  local it = two_sample.labels(a, b)
  t.eq({ it.df, it.n, it.m }, { 1, 4, 4 })
  t.near(it.value, 2, 1e-14)
  t.near(it.p, 2 * normal.between(math.sqrt(2), math.huge), 1e-12)
  it = two_sample.labels(fm.concat({ a, a }, 1), a)
  t.near(it.value, 0, 0, "the same shares at another number")
  t.eq(it.p, 1.0)
  it = two_sample.labels(fm.slice(a, 1, 1, 1), fm.slice(b, 1, 1, 1))
  t.eq({ it.value, it.p }, { 0.0, 1.0 }, "one class alone")
  -- 2 and 6 in ten of ten, 8 and 4: (2 - 4)^2 / 4 and (8 - 6)^2 / 6, on both sides
  local function counts(k)
    return fm.reshape(fm.concat({ fm.lt(fm.reshape(fm.arange(10), { 10, 1 }), k) - 0.5,
      fm.zeros { 10, 1 } }, 2), { 10, 2 })
  end
  t.near(two_sample.labels(counts(2), counts(6)).value, 2 * (4 / 4 + 4 / 6), 1e-12)
  -- 2 and 8 of 10 beside 12 and 8 of 20: 14 / 3 and 16 / 3 expected of 10, twice that of 20
  it = two_sample.labels(counts(2), fm.concat({ counts(6), counts(6) }, 1))
  t.near(it.value, (8 / 3) ^ 2 * (3 / 14 + 3 / 28 + 3 / 16 + 3 / 32), 1e-12)
end)

-- ------------------------------------------------------------------ memorisation

t.test("memorisation by hand", function()
  -- Nearest points: 0, 0 (training), 5 (test), 10 (training). The pair (0, 5) has 2 and 1 samples,
  -- the pair (10, 100) one and none: both must stand as they do for three, one case in four.
  local it = two_sample.memory(column { 1, 2, 4.9, 11 }, column { 0, 10 }, column { 5, 100 })
  t.eq({ it.value, it.n, it.m }, { 0.75, 4, 2 })
  t.near(it.p, 0.25, 1e-15)
  it = two_sample.memory(column { 1, 2 }, column { 0, 9 }, column { 5, 8 })
  t.near(it.p, 0.5, 1e-15, "two samples near one point are one coin, not two")
end)

t.test("copies of training points are found, equal distances are not", function()
  local train, test = draw(50, 3, "train"), draw(50, 3, "test")
  local it = two_sample.memory(train, train, test)
  t.eq(it.value, 1.0)
  t.near(it.p * 2 ^ 50, 1, 1e-12)
  it = two_sample.memory(train, train, train)
  t.eq({ it.value, it.p }, { 0.0, 1.0 })
  t.raises(function() two_sample.memory(train, train, draw(9, 3, "x")) end, "50 training and 9")
end)

t.test("without memorisation the p-value is uniform, though samples share neighbours", function()
  local small, wrong, trials = 0, 0, 150
  for k = 1, trials do
    local function points(n, stream) return draw(n, 2, stream .. k) end
    local it = two_sample.memory(points(200, "sample"), points(10, "train"), points(10, "test"))
    if it.p <= 0.1 then small = small + 1 end
    if two_sample.share(it.value * 200, 200).p <= 0.1 then wrong = wrong + 1 end
  end
  t.near(small / trials, 0.1, 3.5 * math.sqrt(0.1 * 0.9 / trials))
  t.eq(wrong / trials > 0.15, true, "a binomial takes the samples for independent")
end)

-- ------------------------------------------------------------------ extrapolated distance

-- Simulated coverage: see flowmap.measure.frechet_limit. Here bounds are
-- three standard deviations from it.
t.test("the extrapolated Frechet distance covers the true one, the plain one does not", function()
  -- deviations 1 and 2 in 6 dimensions: 6 (2 - 1)^2
  for _, it in ipairs { { 1, 0, 30, 96, 100 }, { 2, 6, 100, 86, 99 } } do
    local covered, above, trials = 0, 0, it[3]
    for k = 1, trials do
      local x = draw(400, 6, ("x %d %d"):format(it[1], k))
      local y = draw(600, 6, ("y %d %d"):format(it[1], k)) * it[1]
      local found = limit.limit(x, y)
      if math.abs(found.value - it[2]) < found.half then covered = covered + 1 end
      local plain = fm.frechet.distance(fm.frechet.moments_of(x), fm.frechet.moments_of(y))
      if plain > it[2] then above = above + 1 end
    end
    local percent = 100 * covered / trials
    t.eq(percent >= it[4] and percent <= it[5], true, percent .. " % contain the true distance")
    if it[2] == 0 then t.eq(above, trials, "every plain estimate is too large") end
  end
end)

-- The squared distance on the line of the normal laws of two lists of numbers.
local function distance_of(x, y)
  local function law(list)
    local mean, square = 0, 0
    for _, v in ipairs(list) do mean = mean + v / #list end
    for _, v in ipairs(list) do square = square + (v - mean) ^ 2 end
    return mean, math.sqrt(square / (#list - 1))
  end
  local a, s = law(x)
  local b, r = law(y)
  return (a - b) ^ 2 + (s - r) ^ 2
end

-- The extrapolation by hand: 16 groups of four numbers, `without` one of them.
local function extrapolated(x, y, without)
  local points, mx, my = {}, 0, 0
  for _, size in ipairs { 16, 8, 4 } do
    local at, value, parts = 0, 0, 16 // size
    for first = 0, 15, size do
      local u, v = {}, {}
      for k = 4 * first + 1, 4 * (first + size) do
        if (k - 1) // 4 ~= without then u[#u + 1], v[#v + 1] = x[k], y[k] end
      end
      at, value = at + 4 / #u / parts, value + distance_of(u, v) / parts
    end
    points[#points + 1], mx, my = { at, value }, mx + at / 3, my + value / 3
  end
  local xx, xy = 0, 0
  for _, it in ipairs(points) do
    xx, xy = xx + (it[1] - mx) ^ 2, xy + (it[1] - mx) * (it[2] - my)
  end
  return my - mx * xy / xx
end

t.test("the extrapolated distance and its interval on the line, by hand", function()
  local x, y = draw(64, 1, "line x"), draw(64, 1, "line y") * 1.5 + 0.3
  local a, b, values, mean, square = x:flat(), y:flat(), {}, 0, 0
  for g = 0, 15 do
    values[g] = extrapolated(a, b, g)
    mean = mean + values[g] / 16
  end
  for g = 0, 15 do square = square + (values[g] - mean) ^ 2 end
  local found = limit.limit(x, y)
  t.near(found.value, extrapolated(a, b), 1e-9)
  t.near(found.half, 2.131449546 * math.sqrt(15 / 16 * square), 1e-8) -- 15 degrees of freedom
end)

t.test("a bias of c / n + c' / m is removed", function()
  local moments, bias, left = fm.frechet.moments_of, 0, 0
  for k = 1, 8 do
    local x, y = draw(800, 12, "x" .. k), draw(1600, 12, "y" .. k)
    bias = bias + fm.frechet.distance(moments(x), moments(y)) / 8
    left = left + limit.limit(x, y).value / 8
  end
  t.eq(math.abs(left) < 0.15 * bias, true, ("%g of %g"):format(left, bias))
end)

t.test("too few points for the smallest estimate are refused", function()
  t.eq(limit.least(6), 48)
  local few, enough = draw(47, 6, "few"), draw(57, 6, "enough")
  t.raises(function() limit.limit(few, enough) end, "47 and 57 points found, expected at least 48")
  t.raises(function() limit.limit(enough, few) end, "57 and 47 points found, expected at least 48")
  local it = limit.limit(enough, draw(64, 6, "more"))
  t.eq({ it.n, it.m }, { 48, 64 })
end)

t.done()
