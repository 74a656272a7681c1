--- Two-sample tests with exact nulls: a classifier that tells two sets of feature vectors apart, a
-- comparison of labels, and a test of memorisation.
-- @module flowmap.measure.two_sample

local fm = require "flowmap"
local errors = require "flowmap.base.errors"
local neighbours = require "flowmap.measure.neighbours"
local tails = require "flowmap.measure.tails"

local M = {}

local ROUNDS = 100 -- of the logistic regression
local RIDGE = 1e-2 -- times the number of rows: weight of the squared coefficients

-- ------------------------------------------------------------------ classifier

-- The inverse of a positive definite matrix.
local function inverse(a)
  local values, vectors = fm.eigh(a)
  return fm.matmul(vectors, vectors / fm.reshape(values, { a.shape[1], 1 }), true)
end

-- Mean and scale of each column of x.
local function scale_of(x)
  local mean = fm.mean(x, 1, true)
  return mean, fm.sqrt(fm.mean(fm.square(x - mean), 1, true) + 1e-12)
end

--- Fit a logistic regression by a majorised Newton method, w += H^-1 gradient, where the matrix
-- H = X'X / 4 + ridge bounds the second derivative everywhere, so that each round improves the fit
-- (Boehning, Lindsay 1988).
-- @tparam tensor x (n, d), float64
-- @tparam tensor y classes 0 and 1, (n, 1)
-- @treturn function (m, d) -> scores (m, 1): ln of the odds of class 1
function M.logistic(x, y)
  local n, mean, scale = x.shape[1], scale_of(x)
  local function prepare(z)
    return fm.concat({ (z - mean) / scale, fm.ones({ z.shape[1], 1 }, "float64") }, 2)
  end
  local z = prepare(x)
  local d = z.shape[2]
  local k = fm.arange(d, "float64")
  local ridge = fm.eq(fm.reshape(k, { d, 1 }), fm.reshape(k, { 1, d })) * (RIDGE * n)
  local step = inverse(fm.matmul(z, z, true) / 4 + ridge)
  local w = fm.zeros({ d, 1 }, "float64")
  for _ = 1, ROUNDS do
    local gradient = fm.matmul(z, y - fm.sigmoid(fm.matmul(z, w)), true) - RIDGE * n * w
    w = w + fm.matmul(step, gradient)
  end
  return function(rows) return fm.matmul(prepare(rows), w) end
end

--- Classifier two-sample test (Lopez-Paz, Oquab 2017): a logistic regression learns from the first
-- half of both sets to tell them apart. Of the second halves, row k of x and row k of y are a pair;
-- `value` is the share of pairs in which the row of x gets the higher score, an unbiased estimate
-- of the area under the ROC curve. If both sets are independent draws of one law, the order of each
-- pair is a fair coin, so the number of such pairs is exactly binomial.
-- @tparam tensor x samples, (n, d)
-- @tparam tensor y real points, (n, d)
-- @treturn table { value =, low =, high = (95 % interval), p = P(as many or more | one law),
--   n = number of pairs }
function M.classify(x, y)
  local n = x.shape[1]
  if n < 4 or y.shape[1] ~= n then
    errors.usage("two-sample test: %d and %d points found, expected equal numbers of at least 4", n,
      y.shape[1])
  end
  x, y = fm.cast(x, "float64"), fm.cast(y, "float64")
  local half = n // 2
  local function first(z) return fm.slice(z, 1, 1, half) end
  local function second(z) return fm.slice(z, 1, half + 1, n - half) end
  local class = fm.concat({ fm.ones({ half, 1 }, "float64"), fm.zeros({ half, 1 }, "float64") }, 1)
  local score = M.logistic(fm.concat({ first(x), first(y) }, 1), class)
  local right = fm.sum(fm.lt(score(second(y)), score(second(x)))):item()
  return M.share(right, n - half)
end

--- A number of successes as a share, with the exact interval and the exact p-value of the null 1/2.
-- @tparam number count
-- @tparam integer n
-- @treturn table { value =, low =, high =, p =, n = }
function M.share(count, n)
  count = math.floor(count + 0.5)
  local low, high = tails.proportion(count, n)
  return { value = count / n, low = low, high = high, p = tails.binomial(count, n, 0.5), n = n }
end

-- ------------------------------------------------------------------ labels

-- The number of rows per class with the highest logit; of equal ones, the last.
local function label_counts(logits)
  local n, classes = logits.shape[1], logits.shape[2]
  local k = fm.reshape(fm.arange(classes, logits.dtype), { 1, classes })
  local best = fm.le(fm.max_reduce(logits, 2, true), logits)
  local label = fm.max_reduce(fm.where(best, k, -1), 2, true)
  return fm.sum(fm.eq(fm.broadcast(label, { n, classes }), k), 1):flat()
end

--- Chi-squared test of homogeneity: do two sets of points get the same labels equally often?
-- @tparam tensor x logits of the samples, (n, classes)
-- @tparam tensor y logits of the real points, (m, classes)
-- @treturn table { value = chi-squared, df = degrees of freedom, p =, n =, m = }
function M.labels(x, y)
  local a, b, n, m = label_counts(x), label_counts(y), x.shape[1], y.shape[1]
  local sum, used = 0, 0
  for k = 1, #a do
    local both = a[k] + b[k]
    if both > 0 then -- (n + m) (a m - b n)^2 / ((a + b) n m (n + m)), from both cells of the class
      sum, used = sum + (a[k] * m - b[k] * n) ^ 2 / (both * n * m), used + 1
    end
  end
  local df = math.max(used - 1, 1)
  return { value = sum, df = df, p = tails.chi_squared(sum, df), n = n, m = m }
end

-- ------------------------------------------------------------------ memorisation

--- Test of memorisation: the share of samples that are nearer to the training points than to as
-- many test points; 1/2 for a model that has learned the law alone. The samples are not independent
-- given both sets, because several can have the same nearest point, so the number of nearer samples
-- is not binomial. The p-value is exact all the same: without memorisation, training point k and
-- test point k may be exchanged, which changes the number by the difference of the numbers of
-- samples nearest to each. Equal distances count for the test points.
-- @tparam tensor x samples, (n, d)
-- @tparam tensor train (m, d)
-- @tparam tensor test (m, d)
-- @treturn table { value =, p = P(as many or more | no memorisation), n =, m = }
function M.memory(x, train, test)
  local n, m = x.shape[1], train.shape[1]
  if test.shape[1] ~= m then
    errors.usage("memorisation: %d training and %d test points found, expected equal numbers", m,
      test.shape[1])
  end
  local _, index = neighbours.nearest(x, fm.concat({ train, test }, 1)) -- the last, so of the test
  local count, nearer = {}, 0
  for k = 0, 2 * m - 1 do count[k] = 0 end
  for _, k in ipairs(index:flat()) do
    k = math.tointeger(k)
    count[k] = count[k] + 1
    if k < m then nearer = nearer + 1 end
  end
  local differences, least = {}, 0
  for k = 0, m - 1 do
    differences[k + 1] = math.abs(count[k] - count[k + m])
    least = least + math.min(count[k], count[k + m])
  end
  return { value = nearer / n, p = tails.exchange(differences, nearer - least), n = n, m = m }
end

return M
