--- Comparison of two sets of feature vectors by nearest neighbours: precision and recall
-- (Kynkaanniemi et al. 2019, equations 1 and 2), density and coverage (Naeem et al. 2020), and the
-- nearest point of a set.
--
-- Let B_k(x_i) be the closed ball around x_i that reaches to the k-th nearest of the other points
-- of its own set. For real points x_1 .. x_n and samples y_1 .. y_m
--
--     precision = share of the y_j in any B_k(x_i)
--     recall    = share of the x_i in any B_k(y_j)
--     density   = sum over all i and j of [y_j in B_k(x_i)], divided by k m
--     coverage  = share of the B_k(x_i) with any y_j
--
-- For two sets of one continuous law the mean of the density is 1 and that of the coverage is
-- 1 - ((n-1) .. (n-k)) / ((m+n-1) .. (m+n-k)), whatever the law. Squared distances are computed in
-- float64 from a matrix product, |x|^2 + |y|^2 - 2 x.y, block by block: in float32 the small ones
-- would be lost.
-- @module flowmap.measure.neighbours

local fm = require "flowmap"
local errors = require "flowmap.base.errors"

local M = {}

local FAR = 1e300  -- in place of a distance that does not count
local MICRO = 64   -- rows at a time

-- ------------------------------------------------------------------ distances in blocks

local function least(z) return -fm.max_reduce(-z, 2, true) end

local function column_of(z) return fm.reshape(z, { z.shape[1] }) end -- (n, 1) -> (n)

local function squares(x) return fm.sum(fm.square(x), 2, true) end

-- The inputs of a program that all rows share: the points that they are compared with.
local function shared_of(y, more)
  local m = y.shape[1]
  local shared = { y = y, yy = fm.reshape(squares(y), { 1, m }) }
  for name, row in pairs(more or {}) do shared[name] = fm.reshape(row, { 1, m }) end
  return shared
end

-- Run f(squared distances (b, m), shared, rows) on all rows of x, (n, d), against the points of
-- `shared`; `columns` are further inputs, one number per row of x.
local function compare(x, shared, columns, f)
  local rows, job = { x = { x.shape[2], dtype = "float64" } }, { x = x }
  for name, column in pairs(columns) do
    rows[name], job[name] = { 1, dtype = "float64" }, fm.reshape(column, { x.shape[1], 1 })
  end
  local program = fm.program(function(s, b)
    local d = squares(b.rows.x) + s.yy - 2 * fm.matmul(b.rows.x, s.y, false, true)
    return { rows = f(d, s, b.rows) }
  end, { shared = shared, rows = rows, micro = MICRO })
  return program:run { shared = shared, rows = job, batch = x.shape[1] }.rows
end

-- The k-th smallest value of each row for every k of a list. Equal values count as often as they
-- occur.
local function order_statistics(d, wanted)
  local found, value = {}, least(d)
  for k = 1, math.max(table.unpack(wanted)) do
    if k > 1 then
      local seen = fm.le(d, value)
      local next_value = least(fm.where(seen, FAR, d))
      value = fm.where(fm.lt(fm.sum(seen, 2, true), k), next_value, value)
    end
    for _, w in ipairs(wanted) do
      if w == k then found["k" .. k] = value end
    end
  end
  return found
end

local function numbers(n) return fm.arange(n, "float64") end

-- ------------------------------------------------------------------ precision to coverage

--- A set of points with the radii of its balls.
-- @tparam tensor x (n, d), float32 or float64
-- @tparam {integer,...} ks numbers of neighbours, each less than n
-- @treturn table { x = (n, d) in float64, kK = squared radii (n) for each K of ks }
function M.balls(x, ks)
  local n = x.shape[1]
  local most = math.max(table.unpack(ks))
  if n <= most then
    errors.usage("nearest neighbours: %d points found, expected more than the number of "
      .. "neighbours, %d", n, most)
  end
  x = fm.cast(x, "float64")
  local shared = shared_of(x, { number = numbers(n) })
  local radii = compare(x, shared, { own = numbers(n) }, function(d, s, rows)
    return order_statistics(fm.where(fm.eq(rows.own, s.number), FAR, d), ks)
  end)
  local balls = { x = x }
  for name, radius in pairs(radii) do balls[name] = column_of(radius) end
  return balls
end

-- Statistics of each row of x against balls around y: in how many it lies, and its least distance.
local function against(x, y, k)
  local shared = shared_of(y.x, { radius = y["k" .. k] })
  return compare(x, shared, {}, function(d, s)
    return { inside = fm.sum(fm.le(d, s.radius), 2), nearest = column_of(least(d)) }
  end)
end

--- Precision, recall, density and coverage of samples.
-- @tparam table real balls of the real points
-- @tparam table fake balls of the samples
-- @tparam integer k neighbours of precision and recall, one of those of `balls`
-- @tparam[opt=k] integer kd neighbours of density and coverage, likewise
-- @treturn table { n =, m =, precision =, recall =, density =, coverage =, inside = (m): for each
--   sample the number of balls, as density counts them, that contain it }
function M.prdc(real, fake, k, kd)
  kd = kd or k
  local n, m = real.x.shape[1], fake.x.shape[1]
  local of_fake = against(fake.x, real, k)
  local dense = kd == k and of_fake or against(fake.x, real, kd)
  local of_real = against(real.x, fake, k)
  local function share(condition) return fm.mean(condition):item() end
  return { n = n, m = m, precision = share(fm.lt(0, of_fake.inside)),
    recall = share(fm.lt(0, of_real.inside)), density = share(dense.inside) / kd,
    coverage = share(fm.le(of_real.nearest, real["k" .. kd])), inside = dense.inside }
end

-- ------------------------------------------------------------------ nearest points

--- Squared distance to the k-th nearest point of y for each row of x.
-- @tparam tensor x (n, d)
-- @tparam tensor y (m, d), m >= k
-- @tparam integer k
-- @treturn tensor (n), float64
function M.kth(x, y, k)
  x, y = fm.cast(x, "float64"), fm.cast(y, "float64")
  return column_of(compare(x, shared_of(y), {}, function(d)
    return order_statistics(d, { k })
  end)["k" .. k])
end

--- The nearest point of y for each row of x; of several equally near ones, the last.
-- @tparam tensor x (n, d)
-- @tparam tensor y (m, d)
-- @treturn tensor squared distances, (n), float64
-- @treturn tensor numbers from 0, (n), float64
function M.nearest(x, y)
  x, y = fm.cast(x, "float64"), fm.cast(y, "float64")
  local found = compare(x, shared_of(y, { number = numbers(y.shape[1]) }), {}, function(d, s)
    local near = least(d)
    local which = fm.max_reduce(fm.where(fm.le(d, near), s.number, -1), 2)
    return { near = column_of(near), which = which }
  end)
  return found.near, found.which
end

return M
