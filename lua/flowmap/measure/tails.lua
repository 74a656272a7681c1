--- Exact p-values and intervals: tails of the binomial and the chi-squared distribution, the
-- interval of a proportion, and sums with random choices. None of them is a normal approximation.
-- @module flowmap.measure.tails

local M = {}

-- ln Gamma(x) for x > 0: Stirling's series (Abramowitz and Stegun 6.1.41) from 10 on, where eight
-- terms reach double precision; below 10 by Gamma(x + 1) = x Gamma(x).
local STIRLING = { 1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156,
  -3617 / 122400 }

local function log_gamma(x)
  local shift = 0
  while x < 10 do
    shift = shift + math.log(x)
    x = x + 1
  end
  local sum, power = 0, 1 / x
  for _, c in ipairs(STIRLING) do
    sum, power = sum + c * power, power / (x * x)
  end
  return (x - 0.5) * math.log(x) - x + 0.5 * math.log(2 * math.pi) + sum - shift
end

--- P(B >= k) for a binomial B of n trials with probability p. The smaller tail is summed, outwards
-- from its largest term, so that small tails keep their relative accuracy.
-- @tparam integer k
-- @tparam integer n number of trials
-- @tparam number p in [0, 1]
-- @treturn number
function M.binomial(k, n, p)
  if k <= 0 then return 1.0 end
  if k > n or p <= 0 then return 0.0 end
  if p >= 1 then return 1.0 end
  if k <= n * p then return 1 - M.binomial(n - k + 1, n, 1 - p) end
  local term = math.exp(log_gamma(n + 1) - log_gamma(k + 1) - log_gamma(n - k + 1)
    + k * math.log(p) + (n - k) * math.log(1 - p))
  local sum, odds = 0, p / (1 - p)
  for j = k, n do
    sum = sum + term
    term = term * (n - j) / (j + 1) * odds
    if term < 1e-17 * sum then break end
  end
  return sum
end

-- The p in [0, 1] at which an increasing function reaches a value.
local function solve(f, value)
  local low, high = 0.0, 1.0
  for _ = 1, 60 do
    local mid = (low + high) / 2
    if f(mid) < value then low = mid else high = mid end
  end
  return (low + high) / 2
end

--- The interval of Clopper and Pearson (1934) for a proportion: it contains the true one with a
-- probability of at least `level`, for every n.
-- @tparam integer k successes
-- @tparam integer n trials
-- @tparam[opt=0.95] number level
-- @treturn number lower end
-- @treturn number upper end
function M.proportion(k, n, level)
  local outside = (1 - (level or 0.95)) / 2
  local low = k == 0 and 0.0 or solve(function(p) return M.binomial(k, n, p) end, outside)
  local high = k == n and 1.0
    or solve(function(p) return M.binomial(k + 1, n, p) end, 1 - outside)
  return low, high
end

--- P(X >= x) for a chi-squared X: the regularised incomplete gamma function Q(df / 2, x / 2), by
-- the series of its complement below its mean and by Lentz's continued fraction above (Abramowitz
-- and Stegun 6.5.29 and 6.5.31).
-- @tparam number x at least 0
-- @tparam integer df degrees of freedom
-- @treturn number
function M.chi_squared(x, df)
  if x <= 0 then return 1.0 end
  local a, y = df / 2, x / 2
  local front = math.exp(a * math.log(y) - y - log_gamma(a))
  if y < a + 1 then
    local term, sum, k = 1 / a, 1 / a, a
    while term > 1e-17 * sum do
      k = k + 1
      term = term * y / k
      sum = sum + term
    end
    return 1 - front * sum
  end
  local b = y + 1 - a
  local c, d = 1e300, 1 / b
  local h = d
  for k = 1, 10000 do
    local an = -k * (k - a)
    b = b + 2
    d = 1 / (an * d + b)
    c = b + an / c
    h = h * d * c
    if math.abs(d * c - 1) < 1e-16 then break end
  end
  return front * h
end

--- P(S >= s) for S = sum_j d_j L_j, where each L_j is 0 or 1 with equal probability, independently:
-- the exact null of a test by exchanging the members of pairs. The distribution is computed by
-- convolution, with as many operations as pairs times possible sums.
-- @tparam {integer,...} d whole numbers of at least 0
-- @tparam integer s
-- @treturn number
function M.exchange(d, s)
  local mass, top = { [0] = 1.0 }, 0
  for _, step in ipairs(d) do
    if step > 0 then
      for k = top + 1, top + step do mass[k] = 0.0 end
      top = top + step
      for k = top, step, -1 do mass[k] = (mass[k] + mass[k - step]) / 2 end
      for k = 0, step - 1 do mass[k] = mass[k] / 2 end
    end
  end
  local sum = 0
  for k = top, math.max(s, 0), -1 do sum = sum + mass[k] end
  return math.min(sum, 1.0)
end

return M
