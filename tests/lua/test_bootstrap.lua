-- Interquartile mean and probability of improvement: values by hand, and by simulation the coverage
-- of their intervals with few runs per stratum.

local t = require "harness"
local bootstrap = require "flowmap.measure.bootstrap"
local draws = require "flowmap.measure.draws"
local normal = require "flowmap.normal"

t.test("interquartile means by hand", function()
  local iqm = bootstrap.interquartile_mean
  t.near(iqm { 100, 2, 3, -50 }, 2.5, 1e-15)
  t.near(iqm { 1, 2, 3, 4, 5, 6, 7, 1000 }, 4.5, 1e-15)
  t.near(iqm { 7 }, 7, 1e-15)
  t.near(iqm { 1, 2, 6 }, (0.25 * 1 + 2 + 0.25 * 6) / 1.5, 1e-15)
  t.near(iqm { 1, 2, 3, 4, 50 }, (0.75 * 2 + 3 + 0.75 * 4) / 2.5, 1e-15)
  local values = { 3, 1, 2 }
  iqm(values)
  t.eq(values, { 3, 1, 2 })
end)

t.test("probabilities of improvement by hand", function()
  local it = bootstrap.improvement({ { { 1, 2 }, { 3, 3 } } }, 50)
  t.near(it.value, (1 + 1 + 0 + 0.5) / 4, 1e-15) -- 1 < 2, 1 < 3, 3 > 2, 3 = 3
  it = bootstrap.improvement({ { { { 1, 9 }, { 2, 8 } }, { { 1, 9 }, { 2, 8 } } } }, 50)
  t.near(it.value, 0.5, 1e-15) -- the first value always smaller, the second never
  it = bootstrap.improvement({ { { 1, 5 }, { 2, 6 } }, { { 0, 1 }, { 0, 1 } } }, 50)
  t.eq({ it.value, it.low }, { 1.0 }) -- every pair agrees: the bootstrap has no interval
end)

t.test("an interval is the same each time; a stratum of one run is refused", function()
  local strata = { { 1, 2, 4, 7 }, { 2, 3, 9 } }
  local a, b = bootstrap.iqm(strata), bootstrap.iqm(strata)
  t.eq(a, b)
  t.eq({ a.runs, a.resamples, a.low < a.value, a.value < a.high }, { 7, 2000, true, true })
  t.raises(function() bootstrap.iqm { { 1, 2 }, { 3 } } end, "stratum 2 has fewer than two runs")
end)

t.test("the ends are percentiles at Student's quantile, sum(n - 1) degrees of freedom", function()
  for _, it in ipairs { { { { 1, 2, 3 }, { 1, 2, 3, 4 } }, 2.570581836 }, -- 5 degrees of freedom
    { { { 1, 2 } }, 12.70620474 } } do
    local strata, quantile = table.unpack(it)
    local k = 0
    local found = bootstrap.interval(strata, function() -- the draws 1, 2, ..., 999
      k = k + 1
      return k
    end, 999)
    local tail = normal.between(quantile, math.huge)
    t.near(found.low, math.max(1, 1000 * tail), 1e-6)
    t.near(found.high, math.min(999, 1000 * (1 - tail)), 1e-6)
    t.eq({ found.value, found.resamples }, { 1000, 999 })
  end
end)

-- How often each run is missing from 2,000 resamples of four.
local function missing(of_pairs)
  local absent, whole = { 0, 0, 0, 0 }, 0
  bootstrap.interval({ { 1, 2, 3, 4 } }, function(strata)
    local seen, count = {}, 0
    for _, run in ipairs(strata[1]) do
      count, seen[run] = count + (seen[run] and 0 or 1), true
    end
    t.eq(#strata[1], 4)
    if count == 4 then whole = whole + 1 end
    for run = 1, 4 do absent[run] = absent[run] + (seen[run] and 0 or 1) end
    return 0
  end, 2000, of_pairs)
  return absent, whole
end

t.test("each resample leaves out one run, each as often; of pairs, none", function()
  local absent, whole = missing(false)
  t.eq(whole, 1, "the value itself is that of all runs")
  for run = 1, 4 do -- left out, or among the other three and not drawn: 1/4 + 3/4 (2/3)^4
    t.near(absent[run] / 2000, 1 / 4 + 3 / 4 * (2 / 3) ^ 4, 0.04, "run " .. run)
  end
  absent, whole = missing(true)
  t.near(whole / 2000, 24 / 256, 0.03)
  for run = 1, 4 do t.near(absent[run] / 2000, (3 / 4) ^ 4, 0.04, "run " .. run) end
end)

t.test("infinite values: an end is infinite, never no number", function()
  local inf = math.huge
  local it = bootstrap.iqm { { 0.1, inf, inf, 0.3 } } -- half of the middle half
  t.eq({ it.value, it.high }, { inf, inf })
  t.eq(it.low >= 0.1 and it.low <= 0.3, true, tostring(it.low))
  it = bootstrap.iqm { { 0.1, 0.2, inf, 0.3 }, { 0.1, 0.2, 0.3, inf } } -- outside of it
  t.near(it.value, 0.25, 1e-15)
  t.eq({ it.low < 0.25, it.high }, { true, inf })
  it = bootstrap.iqm { { 0.1, -inf, -inf, 0.3 } }
  t.eq({ it.value, it.low }, { -inf, -inf })
  it = bootstrap.iqm { { 0.1, inf, -inf, 0.3 } } -- resamples may have no mean
  t.eq({ it.value, it.low, it.high, it.resamples }, { 0.2, -inf, inf, 2000 })
end)

-- The share of simulated sets of strata whose interval holds the truth.
local function coverage(count, stream, truth, make, interval)
  local z, hits = draws.normal(7, stream), 0
  for _ = 1, count do
    local it = interval(make(z), 199)
    if it.low and it.low <= truth and truth <= it.high then hits = hits + 1 end
  end
  return hits / count
end

local function within(value, what)
  t.eq(value >= 0.93 and value <= 0.97, true, ("%s: %.4f"):format(what, value))
end

t.test("coverage of the interquartile mean, runs of one value", function()
  within(coverage(240, "scalars", 0, function(z)
    local strata = {}
    for k = 1, 4 do strata[k] = { z(), z(), z(), z() } end
    return strata
  end, bootstrap.iqm), "4 strata of 4 runs")
end)

t.test("coverage of the interquartile mean, runs of several correlated values", function()
  within(coverage(240, "lists", 0, function(z)
    local runs = {}
    for i = 1, 8 do
      local common = z()
      runs[i] = { common + 0.5 * z(), common + 0.5 * z(), common + 0.5 * z() }
    end
    return { runs }
  end, bootstrap.iqm), "8 runs of 3 values")
end)

t.test("coverage of the probability of improvement, paired seeds", function()
  within(coverage(240, "improvement", normal.between(-math.huge, 0.5 / math.sqrt(2)), function(z)
    local strata = {}
    for k = 1, 5 do
      strata[k] = {}
      for i = 1, 4 do
        local common = 0.5 * z()
        strata[k][i] = { common + math.sqrt(0.75) * z(), 0.5 + common + math.sqrt(0.75) * z() }
      end
    end
    return strata
  end, bootstrap.improvement), "5 strata of 4 pairs")
end)

t.done()
