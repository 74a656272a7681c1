--- How many seeds a comparison needs: the power of Student's t test, and the number of runs at
-- which a stated relative difference is found with a stated probability.
-- @module flowmap.measure.power

local normal = require "flowmap.normal"
local paired = require "flowmap.measure.paired"
local stats = require "flowmap.measure.stats"

local M = {}

--- The z with P(|Z| <= z) = mass for a standard normal Z, by bisection.
-- @tparam number mass central probability in (0, 1)
-- @treturn number
function M.normal_quantile(mass)
  local low, high = 0, 40
  for _ = 1, 60 do
    local mid = (low + high) / 2
    -- The tail keeps its accuracy where the mass is close to 1.
    if 2 * normal.between(mid, math.huge) > 1 - mass then low = mid else high = mid end
  end
  return (low + high) / 2
end

-- ln Gamma(df / 2), from Gamma(1) = 1, Gamma(1/2) = sqrt(pi) and Gamma(x + 1) = x Gamma(x).
local function log_gamma_half(df)
  local log = df % 2 == 1 and 0.5 * math.log(math.pi) or 0
  for k = 2 - df % 2, df - 2, 2 do log = log + math.log(k / 2) end
  return log
end

--- The power of the two-sided t test: P(|T| > t) for Student's T with noncentrality `delta`. It is
-- the mean, over the distribution of the estimated standard deviation s, of the probability that a
-- normal variate exceeds t s; Simpson's rule over s = sqrt(chi^2 / df).
-- @tparam integer df degrees of freedom
-- @tparam number delta mean of the estimate in units of its standard error
-- @tparam[opt=0.05] number alpha level
-- @treturn number
function M.t_power(df, delta, alpha)
  local t = stats.t_quantile(df, 1 - (alpha or 0.05))
  local log_norm = math.log(2) + df / 2 * math.log(df / 2) - log_gamma_half(df)
  local wide = 12 / math.sqrt(2 * df)
  local low, high, parts = math.max(0, 1 - wide), 1 + wide, 600
  local step, sum = (high - low) / parts, 0
  for k = 0, parts do
    local s = low + k * step
    -- The density of s; at s = 0 it vanishes except for df = 1.
    local density = s > 0 and math.exp(log_norm + (df - 1) * math.log(s) - df * s * s / 2)
      or df == 1 and math.exp(log_norm) or 0
    local beyond = normal.between(t * s - delta, math.huge)
      + normal.between(-math.huge, -t * s - delta)
    sum = sum + (k % parts == 0 and 1 or k % 2 == 1 and 4 or 2) * density * beyond
  end
  return sum * step / 3
end

local CAP = 10000

--- The smallest number of seeds per method with which a two-sided t test at level `alpha` finds a
-- relative difference with probability `power`.
-- @tparam table it {difference= relative, such as 0.1, spread= relative standard deviation from run
--   to run, power= (default 0.8), alpha= (default 0.05), correlation= (nil: independent runs;
--   otherwise paired seeds with that correlation), questions= (number in one family: the level is
--   alpha / questions; default 1)}
-- @treturn ?integer nil beyond 10,000
-- @treturn number the power with that number of seeds
function M.seeds(it)
  assert(it.difference > 0 and it.spread >= 0, "seeds: difference > 0 and spread >= 0 expected")
  local alpha, wanted = (it.alpha or 0.05) / (it.questions or 1), it.power or 0.8
  local sd = it.spread * math.sqrt(2 * (1 - (it.correlation or 0)))
  local function reached(n)
    if it.correlation and paired.smallest_p(n) > alpha then return 0 end -- no p is small enough
    if sd == 0 then return 1 end
    return M.t_power(it.correlation and n - 1 or 2 * n - 2,
      it.difference / sd * math.sqrt(n), alpha)
  end
  local low, high = 1, 2
  while reached(high) < wanted do
    if high >= CAP then return nil, 0 end
    low, high = high, math.min(2 * high, CAP)
  end
  while high - low > 1 do
    local mid = (low + high) // 2
    if reached(mid) < wanted then low = mid else high = mid end
  end
  return high, reached(high)
end

--- The calculation as a sentence.
-- @tparam table it see `seeds`
-- @treturn string without a full stop
function M.words(it)
  local n, power = M.seeds(it)
  local question = ("a difference of %g %% at a run-to-run spread of %g %%"):format(
    100 * it.difference, 100 * it.spread)
  local level = ("at level %g"):format(it.alpha or 0.05)
  if (it.questions or 1) > 1 then
    level = level .. (" over a family of %d questions"):format(it.questions)
  end
  local how = it.correlation and ("paired, correlation %g"):format(it.correlation) or "unpaired"
  if not n then
    return ("%s needs more than %d seeds per method (%s)"):format(question, CAP, how)
  end
  return ("%s needs %d seeds per method (%s, two-sided test %s, power %.0f %%)"):format(question, n,
    how, level, 100 * power)
end

return M
