--- Comparison of two methods that were run with the same seeds. Runs of one seed share initial
-- weights, data and times, so what a seed does to both of them cancels in the difference.
--
-- Values are tables seed -> number; seeds that only one side has are left out.
-- @module flowmap.measure.paired

local draws = require "flowmap.measure.draws"
local stats = require "flowmap.measure.stats"

local M = {}

-- Up to this number of differences all sign patterns are counted; beyond it, DRAWS random ones.
local ENUMERATED, DRAWS = 32, 99999

--- The values of both sides at the seeds they share, in the order of the seeds.
-- @tparam {[integer]=number} a
-- @tparam {[integer]=number} b
-- @treturn {number,...} of a
-- @treturn {number,...} of b
-- @treturn {integer,...} the seeds
function M.match(a, b)
  local seeds, x, y = {}, {}, {}
  for seed in pairs(a) do
    if b[seed] ~= nil then seeds[#seeds + 1] = seed end
  end
  table.sort(seeds)
  for i, seed in ipairs(seeds) do x[i], y[i] = a[seed], b[seed] end
  return x, y, seeds
end

-- ------------------------------------------------------------------ the sign-flip test

-- Sums over all sign patterns of d whose first sign is +. The others are their negatives.
local function signed_sums(d)
  local sums = { d[1] }
  for k = 2, #d do
    for i = 1, #sums do
      local sum = sums[i]
      sums[i], sums[#sums + 1] = sum + d[k], sum - d[k]
    end
  end
  return sums
end

-- The number of sign patterns of d, with its first sign +, whose sum is at least `bound` in size,
-- and of all such patterns. The sums of the halves of d are sorted, so that their pairs need not be
-- tried one by one.
local function count_signed(d, bound)
  local half = (#d + 1) // 2
  local first, rest = signed_sums { table.unpack(d, 1, half) },
    signed_sums { 0, table.unpack(d, half + 1) }
  table.sort(first)
  table.sort(rest)
  -- As the sum grows, fewer sums of `rest` are at most -bound - sum, more at least bound - sum.
  local hits, below, above, n = 0, #rest, #rest, #rest
  for _, sum in ipairs(first) do
    while below > 0 and rest[below] > -bound - sum do below = below - 1 end
    while above > 0 and rest[above] >= bound - sum do above = above - 1 end
    hits = hits + below + n - above
  end
  return hits, #first * n
end

-- The sum of d under random signs; every uniform number gives 32 of them.
local function random_sum(d, uniform)
  local sum, bits = 0, 0
  for i, value in ipairs(d) do
    if i % 32 == 1 then bits = math.floor(uniform() * 2 ^ 32) end
    sum = bits & 1 == 0 and sum + value or sum - value
    bits = bits >> 1
  end
  return sum
end

--- The two-sided sign-flip (permutation) test of the hypothesis that the differences are symmetric
-- about 0: p is the share of sign patterns with a sum of at least the observed size (Fisher 1935,
-- The Design of Experiments, section 21). For up to 32 differences all 2^n patterns count. For
-- more, 99,999 random ones are, and p = (1 + hits) / (1 + patterns), which keeps the level of the
-- test (Phipson and Smyth 2010, doi 10.2202/1544-6115.1585).
-- @tparam {number,...} d differences, at least one
-- @treturn number p
-- @treturn ?integer the number of random patterns; nil if p is exact
function M.sign_flip(d)
  assert(#d > 0, "sign_flip: no differences")
  local observed, size = 0, 0
  for _, value in ipairs(d) do observed, size = observed + value, size + math.abs(value) end
  local bound = math.abs(observed) - 1e-12 * size -- rounding must not break ties
  if bound <= 0 then return 1 end
  if #d <= ENUMERATED then
    local hits, patterns = count_signed(d, bound)
    return hits / patterns
  end
  local hits, uniform = 0, draws.uniform(1, "sign flips")
  for _ = 1, DRAWS do
    if math.abs(random_sum(d, uniform)) >= bound then hits = hits + 1 end
  end
  return (1 + hits) / (1 + DRAWS), DRAWS
end

--- The smallest p that the test can give with n differences: all of one sign.
-- @tparam integer n
-- @treturn number
function M.smallest_p(n)
  return n <= ENUMERATED and 2.0 ^ (1 - n) or math.max(2.0 ^ (1 - n), 1 / (1 + DRAWS))
end

--- p values of one family of questions, adjusted so that the probability of one or more false
-- positives in it is at most the level (Holm 1979, A simple sequentially rejective procedure).
-- @tparam {number,...} ps
-- @treturn {number,...} adjusted values in the same order, at most 1
function M.holm(ps)
  local order, out, top = {}, {}, 0
  for i in ipairs(ps) do order[i] = i end
  table.sort(order, function(i, j)
    if ps[i] ~= ps[j] then return ps[i] < ps[j] end
    return i < j
  end)
  for rank, i in ipairs(order) do
    top = math.max(top, math.min(1, (#ps - rank + 1) * ps[i]))
    out[i] = top
  end
  return out
end

-- ------------------------------------------------------------------ differences

-- The correlation of two lists, and the variance of independent differences over that of the
-- paired ones; nil where a variance is 0.
local function correlation(x, y)
  local sx, sy = stats.summary(x), stats.summary(y)
  local cross = 0
  for i = 1, #x do cross = cross + (x[i] - sx.mean) * (y[i] - sy.mean) end
  cross = cross / (#x - 1)
  local both, vd = sx.sd ^ 2 + sy.sd ^ 2, sx.sd ^ 2 + sy.sd ^ 2 - 2 * cross
  local r = sx.sd > 0 and sy.sd > 0 and cross / (sx.sd * sy.sd) or nil
  return r, vd > 1e-12 * both and both / vd or nil -- a smaller vd is rounding error
end

--- The difference a - b over shared seeds: mean and 95 % t interval, p and what pairing gained.
-- `correlation` is that of the two methods over seeds; `gain` is the variance that a difference of
-- independent runs would have, over the variance of the paired difference: how many times more
-- seeds an unpaired comparison needs. Both are nil where they are undefined.
-- @tparam {[integer]=number} a finite values by seed
-- @tparam {[integer]=number} b
-- @treturn ?table {n=, mean=, sd=, half=, values=, min=, max= (see stats.summary), seeds=, p=,
--   draws= (nil if p is exact), smallest= (the smallest p that n allows), correlation=, gain=};
--   nil if no seed is shared
function M.difference(a, b)
  local x, y, seeds = M.match(a, b)
  if #seeds == 0 then return nil end
  local d = {}
  for i = 1, #x do d[i] = x[i] - y[i] end
  local out = stats.summary(d)
  out.seeds, out.smallest = seeds, M.smallest_p(#d)
  out.p, out.draws = M.sign_flip(d)
  if #d > 1 then out.correlation, out.gain = correlation(x, y) end
  return out
end

--- The ratio a / b over shared seeds: geometric mean, 95 % interval and p, from the logarithms.
-- @tparam {[integer]=number} a positive values by seed
-- @tparam {[integer]=number} b positive values by seed
-- @treturn ?table {n=, ratio=, low=, high= (nil for one seed), p=, smallest=}; nil if no seed is
--   shared, or a value is not positive
-- @treturn ?boolean whether a value is not positive
function M.ratio(a, b)
  local logs = { {}, {} }
  for side, values in ipairs { a, b } do
    for seed, value in pairs(values) do
      if value ~= value or value <= 0 then return nil, true end
      logs[side][seed] = math.log(value)
    end
  end
  local it = M.difference(logs[1], logs[2])
  if not it then return nil, false end
  local out = { n = it.n, ratio = math.exp(it.mean), p = it.p, smallest = it.smallest }
  if it.half then
    out.low, out.high = math.exp(it.mean - it.half), math.exp(it.mean + it.half)
  end
  return out
end

-- ------------------------------------------------------------------ words

--- A p value as text with two significant digits, never rounded to 0.
-- @tparam number p
-- @treturn string
function M.p_text(p)
  return p >= 0.1 and ("%.2f"):format(p) or p >= 1e-4 and ("%.2g"):format(p)
    or ("%.0e"):format(p)
end

--- A comparison as a sentence. Where the data do not support a difference it says so.
-- @tparam table it what `difference` or `ratio` returns
-- @tparam table how {a=, b= (names), p= (adjusted; default it.p), alpha= (default 0.05),
--   format= (default "%.4g")}
-- @treturn string without a full stop
function M.words(it, how)
  local format, alpha, p = how.format or "%.4g", how.alpha or 0.05, how.p or it.p
  local low, high = it.low, it.high
  if it.half then low, high = it.mean - it.half, it.mean + it.half end
  local value = it.ratio and "ratio " .. format:format(it.ratio)
    or "difference " .. format:format(it.mean)
  local interval = low and (", 95 %% interval %s to %s"):format(format:format(low),
    format:format(high)) or ""
  local facts = ("%s%s, p = %s, %d paired seed%s"):format(value, interval, M.p_text(p), it.n,
    it.n == 1 and "" or "s")
  if p <= alpha then
    local is_below = (it.mean or math.log(it.ratio)) < 0
    return ("%s is %s %s: %s"):format(how.a, is_below and "below" or "above", how.b, facts)
  end
  local why = it.smallest > alpha
    and (", which cannot give p below %s"):format(M.p_text(it.smallest)) or ""
  return ("no difference shown between %s and %s: %s%s"):format(how.a, how.b, facts, why)
end

return M
