--- Means and 95 % intervals over seeds. With few values the intervals use Student's t distribution.
-- @module flowmap.measure.stats

local stats = {}

-- P(|T| <= t) for Student's T with `df` degrees of freedom, as a function of the angle
-- a = atan(t / sqrt(df)): finite sums for whole df (Abramowitz and Stegun 26.7.3 and 26.7.4).
local function central_mass(a, df)
  local s, c = math.sin(a), math.cos(a)
  if df % 2 == 0 then
    local term, sum = 1, 1
    for k = 2, df - 2, 2 do
      term = term * c * c * (k - 1) / k
      sum = sum + term
    end
    return s * sum
  end
  local term, sum = c, df > 1 and c or 0
  for k = 3, df - 2, 2 do
    term = term * c * c * (k - 1) / k
    sum = sum + term
  end
  return 2 / math.pi * (a + s * sum)
end

--- The t with P(|T| <= t) = mass, by bisection on the angle (exact to double precision).
-- @tparam integer df degrees of freedom, at least 1
-- @tparam number mass central probability in (0, 1), default 0.95
-- @treturn number
function stats.t_quantile(df, mass)
  assert(math.type(df) == "integer" and df >= 1, "t_quantile: df must be a whole number >= 1")
  local low, high = 0, math.pi / 2
  for _ = 1, 60 do
    local mid = (low + high) / 2
    if central_mass(mid, df) < (mass or 0.95) then low = mid else high = mid end
  end
  return math.tan((low + high) / 2) * math.sqrt(df)
end

--- The two-sided p of a t statistic.
-- @tparam number t
-- @tparam integer df degrees of freedom, at least 1
-- @treturn number
function stats.t_p(t, df)
  return math.max(0, 1 - central_mass(math.atan(math.abs(t) / math.sqrt(df)), df))
end

--- The mean, sample standard deviation and half width of the 95 % interval of the mean.
-- One value has no interval: `sd` and `half` are then nil, never 0.
-- @tparam {number,...} values at least one, one per seed
-- @treturn table {n=, mean=, sd=, half=, min=, max=, values=}
function stats.summary(values)
  local n = #values
  assert(n > 0, "summary: no values")
  local sum = 0
  for _, v in ipairs(values) do sum = sum + v end
  local mean, squares = sum / n, 0
  for _, v in ipairs(values) do squares = squares + (v - mean) ^ 2 end
  local out = { n = n, mean = mean, min = math.min(table.unpack(values)),
    max = math.max(table.unpack(values)), values = values }
  if n > 1 then
    out.sd = math.sqrt(squares / (n - 1))
    out.half = stats.t_quantile(n - 1) * out.sd / math.sqrt(n)
  end
  return out
end

--- The q-quantile of a list, by linear interpolation between order statistics.
-- @tparam {number,...} values at least one; the list is not modified
-- @tparam number q in [0, 1]
-- @treturn number
function stats.quantile(values, q)
  local sorted = table.move(values, 1, #values, 1, {})
  table.sort(sorted)
  local at = 1 + q * (#sorted - 1)
  local low = math.floor(at)
  local high = math.min(low + 1, #sorted)
  return sorted[low] + (at - low) * (sorted[high] - sorted[low])
end

return stats
