-- Paired comparisons and the number of seeds: known values, and by simulation the coverage of
-- intervals, the level of tests and the family-wise error of Holm's procedure.

local t = require "harness"
local draws = require "flowmap.measure.draws"
local paired = require "flowmap.measure.paired"
local power = require "flowmap.measure.power"

-- The share of `count` simulated studies for which `study(normal, uniform)` is true.
local function share(count, stream, study)
  local normal, uniform = draws.normal(7, stream), draws.uniform(7, stream)
  local hits = 0
  for _ = 1, count do
    if study(normal, uniform) then hits = hits + 1 end
  end
  return hits / count
end

local function within(value, low, high, what)
  t.eq(value >= low and value <= high, true, ("%s: %.4f, expected %g to %g"):format(what, value,
    low, high))
end

t.test("sign-flip p of small examples by hand", function()
  t.near(paired.sign_flip { 1, 2, 3 }, 2 / 8, 1e-15)
  t.near(paired.sign_flip { 1, 2, -3 }, 1, 1e-15) -- the sum is 0
  t.near(paired.sign_flip { -1, 2, 3 }, 4 / 8, 1e-15) -- sums of size 4 or more: +-6, +-4
  t.near(paired.sign_flip { 0.1, 0.2, 0.3, -0.1 }, 6 / 16, 1e-15) -- ties despite rounding
  t.near(paired.sign_flip { 5 }, 1, 1e-15)
  t.near(paired.sign_flip { 0, 0, 0 }, 1, 1e-15)
  -- Darwin's fifteen pairs of maize plants, in eighths of an inch: Fisher found 1,726 of the 32,768
  -- patterns at least as extreme (The Design of Experiments, section 21).
  local darwin = { 49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48 }
  t.near(paired.sign_flip(darwin), 1726 / 32768, 1e-15)
end)

t.test("the smallest p that n seeds reach", function()
  for n = 1, 16 do
    local d = {}
    for i = 1, n do d[i] = i end
    t.near(paired.sign_flip(d), paired.smallest_p(n), 1e-15, "n = " .. n)
  end
  t.near(paired.smallest_p(3), 0.25, 1e-15)
  t.near(paired.smallest_p(40), 1e-5, 1e-15)
end)

t.test("counts of sorted halves equal those of all patterns", function()
  local normal = draws.normal(3, "halves")
  for n = 1, 11 do
    local d, observed, hits = {}, 0, 0
    for i = 1, n do d[i] = math.floor(8 * normal()) / 4 + (i == 1 and 1 or 0) end -- many ties
    for _, value in ipairs(d) do observed = observed + value end
    for pattern = 0, (1 << n) - 1 do
      local sum = 0
      for i, value in ipairs(d) do sum = sum + (pattern >> (i - 1) & 1 == 0 and value or -value) end
      if math.abs(sum) >= math.abs(observed) then hits = hits + 1 end
    end
    t.near(paired.sign_flip(d), hits / 2 ^ n, 1e-15, "n = " .. n)
  end
end)

t.test("beyond 32 differences p is counted, the same each time, near the exact one", function()
  local darwin = { 49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48 }
  local d = { table.unpack(darwin) }
  for i = 16, 30 do d[i] = 0 end -- zeros change no sum
  local p, count = paired.sign_flip(d)
  t.near(p, 1726 / 32768, 1e-15)
  t.eq(count, nil)
  for i = 31, 40 do d[i] = 0 end
  p, count = paired.sign_flip(d)
  t.eq(count, 99999)
  t.near(p, 1726 / 32768, 3e-3)
  t.eq(paired.sign_flip(d), p)
end)

t.test("Holm's adjusted values", function()
  local function near(found, expected)
    for i = 1, #expected do t.near(found[i], expected[i], 1e-12, "p " .. i) end
  end
  near(paired.holm { 0.01, 0.04, 0.03, 0.005 }, { 0.03, 0.06, 0.06, 0.02 })
  near(paired.holm { 0.5, 0.6 }, { 1, 1 })
  near(paired.holm { 0.02 }, { 0.02 })
  t.eq(paired.holm {}, {})
end)

t.test("a difference over shared seeds, its correlation and gain", function()
  local a = { [1] = 3, [2] = 5, [4] = 7, [9] = 100 }
  local b = { [1] = 1, [2] = 2, [4] = 3, [8] = 100 }
  local it = paired.difference(a, b)
  t.eq(it.seeds, { 1, 2, 4 })
  t.near(it.mean, 3, 1e-15)
  t.near(it.half, 4.302652729 / math.sqrt(3), 1e-8)
  t.near(it.correlation, 1, 1e-12)
  t.near(it.gain, 5, 1e-12) -- (4 + 1) / 1
  t.near(it.p, 0.25, 1e-15)
  t.eq(paired.difference({ [1] = 1 }, { [2] = 1 }), nil)
  t.eq(paired.difference({ 1, 2 }, { 0, 1 }).gain, nil) -- differences without variance
  local ratio = paired.ratio({ 2, 8 }, { 1, 1 })
  t.near(ratio.ratio, 4, 1e-12)
  t.near(math.log(ratio.high / ratio.low) / 2, 12.7062047 * math.log(2), 1e-6)
  t.eq(paired.ratio({ 2, -8 }, { 1, 1 }), nil)
end)

t.test("words say what is shown, and when nothing is", function()
  local it = paired.difference({ 1, 1.1, 0.9 }, { 2, 2.2, 2.1 })
  t.eq(paired.words(it, { a = "LSD", b = "ESD", format = "%.2f" }),
    "no difference shown between LSD and ESD: difference -1.10, 95 % interval -1.35 to -0.85, "
    .. "p = 0.25, 3 paired seeds, which cannot give p below 0.25")
  local a, b = {}, {}
  for i = 1, 8 do a[i], b[i] = 1 + 0.01 * i, 2 - 0.01 * i end
  t.eq(paired.words(paired.difference(a, b), { a = "LSD", b = "ESD", format = "%.2f" }),
    "LSD is below ESD: difference -0.91, 95 % interval -0.95 to -0.87, p = 0.0078, 8 paired seeds")
  t.eq(paired.words(paired.difference(a, b), { a = "x", b = "y", p = 0.06 }):sub(1, 19),
    "no difference shown")
  t.eq(paired.words(paired.ratio(a, b), { a = "x", b = "y", format = "%.1f" }),
    "x is below y: ratio 0.5, 95 % interval 0.5 to 0.6, p = 0.0078, 8 paired seeds")
  it = paired.difference({ 1, 1, 4 }, { 2, 2, 3 })
  t.eq(paired.words(it, { a = "x", b = "y", alpha = 0.25 }):match "p = .*",
    "p = 1.00, 3 paired seeds", "three seeds can give 0.25")
  t.eq({ paired.p_text(0.25), paired.p_text(0.00195), paired.p_text(1e-5) },
    { "0.25", "0.0019", "1e-05" })
end)

-- ------------------------------------------------------------------ by simulation

-- Two methods with a common part of each seed and lognormal spread of 5 %.
local function study(normal, n, shift)
  local a, b = {}, {}
  for seed = 1, n do
    local common = 0.05 * normal()
    a[seed] = math.exp(shift + common + 0.02 * normal())
    b[seed] = math.exp(common + 0.02 * normal())
  end
  return a, b
end

t.test("coverage of the t interval of differences and ratios", function()
  for _, n in ipairs { 3, 10 } do
    within(share(2000, "t " .. n, function(normal)
      local it = paired.difference(study(normal, n, 0))
      return math.abs(it.mean) <= it.half
    end), 0.935, 0.965, "difference, n = " .. n)
  end
  within(share(2000, "ratio", function(normal)
    local it = paired.ratio(study(normal, 5, 0.1))
    return it.low <= math.exp(0.1) and math.exp(0.1) <= it.high
  end), 0.935, 0.965, "ratio")
end)

t.test("the sign-flip test keeps its level, whatever the spread of the differences", function()
  for _, n in ipairs { 6, 9 } do
    within(share(2000, "level " .. n, function(normal)
      local d = {}
      for i = 1, n do d[i] = normal() ^ 3 * i end -- heavy tails, unequal variances
      return paired.sign_flip(d) <= 0.05
    end), 0.02, 0.055, "n = " .. n) -- expected 2/64 and 24/512
  end
end)

t.test("Holm keeps the family-wise error with true and false hypotheses", function()
  local m, n, wrong, raw = 5, 9, 0, 0
  local normal, count = draws.normal(7, "holm"), 1000
  for _ = 1, count do
    local ps, common = {}, {}
    for i = 1, n do common[i] = normal() end -- the questions share seeds
    for k = 1, m do
      local d = {}
      for i = 1, n do d[i] = (k == 1 and 3 or 0) + 0.5 * common[i] + normal() end
      ps[k] = paired.sign_flip(d)
    end
    local adjusted = paired.holm(ps)
    local function any(list)
      for k = 2, m do
        if list[k] <= 0.05 then return 1 end
      end
      return 0
    end
    wrong, raw = wrong + any(adjusted), raw + any(ps)
  end
  within(wrong / count, 0.01, 0.055, "with Holm")
  within(raw / count, 0.1, 0.3, "without")
end)

-- ------------------------------------------------------------------ the number of seeds

t.test("normal quantiles and the power of the t test agree with published values", function()
  t.near(power.normal_quantile(0.95), 1.959963984540, 1e-10)
  t.near(power.normal_quantile(0.99), 2.575829303549, 1e-10)
  -- R's power.t.test(n = 20, delta = 1, sd = 1) and (power = 0.90, delta = 1): n = 22.02110
  t.near(power.t_power(38, math.sqrt(10)), 0.8689528, 1e-6)
  t.eq(power.t_power(42, math.sqrt(11)) < 0.9, true)
  t.eq(power.t_power(44, math.sqrt(11.5)) > 0.9, true)
  for _, df in ipairs { 1, 2, 3, 10, 101 } do -- without an effect the power is the level
    t.near(power.t_power(df, 0), 0.05, 1e-6, "df = " .. df)
  end
end)

t.test("seeds for a relative difference", function()
  t.eq(power.seeds { difference = 0.1, spread = 0.1 }, 17) -- textbook: 17 per group at d = 1
  t.eq(power.seeds { difference = 0.1, spread = 0.1, power = 0.9 }, 23)
  t.eq(power.seeds { difference = 0.5, spread = 0.01, correlation = 0.9 }, 6) -- p <= 0.05
  t.eq(power.seeds { difference = 0.5, spread = 0.01, correlation = 0.9, questions = 15 }, 10)
  t.eq(power.seeds { difference = 0.5, spread = 0.001, correlation = 0, alpha = 0.25 }, 3)
  t.eq(power.seeds { difference = 1e-4, spread = 1 }, nil)
  t.eq(power.words { difference = 0.1, spread = 0.056 }, "a difference of 10 % at a run-to-run "
    .. "spread of 5.6 % needs 7 seeds per method (unpaired, two-sided test at level 0.05, power "
    .. "87 %)")
end)

t.test("the promised power is found by simulation", function()
  local n, promised = power.seeds { difference = 0.1, spread = 0.1, correlation = 0.5 }
  local found = share(2000, "power", function(normal)
    local a, b = {}, {}
    for i = 1, n do
      local common = normal()
      a[i] = 1.1 + 0.1 * math.sqrt(0.5) * (common + normal())
      b[i] = 1 + 0.1 * math.sqrt(0.5) * (common + normal())
    end
    local it = paired.difference(a, b)
    return math.abs(it.mean) > it.half
  end)
  t.near(found, promised, 0.02)
end)

t.done()
