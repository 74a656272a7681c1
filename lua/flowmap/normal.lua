--- The normal distribution function, which Lua's mathematics lacks.
-- @module flowmap.normal

local M = {}

-- Upper tail P(Z > z) for z >= 0. Below 3 by the series Phi(z) - 1/2 = phi(z) (z + z^3/3 + z^5/15
-- + ...) (Marsaglia 2004); above by the continued fraction phi(z) / (z + 1/(z + 2/(z + 3/...))).
local function tail(z)
  if z == math.huge then return 0 end
  local density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
  if z < 3 then
    local term, sum, k = z, z, 1
    while math.abs(term) > 1e-17 * sum do
      k = k + 2
      term = term * z * z / k
      sum = sum + term
    end
    return 0.5 - density * sum
  end
  local fraction = z
  for k = 120, 1, -1 do fraction = z + k / fraction end
  return density / fraction
end

--- P(a < Z < b) of a standard normal variate; tails keep their relative accuracy.
-- @tparam number a
-- @tparam number b
-- @treturn number
function M.between(a, b)
  if a > b then return 0 end
  if b <= 0 then a, b = -b, -a end
  if a >= 0 then return tail(a) - tail(b) end
  return 1 - tail(-a) - tail(b)
end

return M
