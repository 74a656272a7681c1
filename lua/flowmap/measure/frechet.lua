--- Distances between two sets of feature vectors: the Frechet distance between normal distributions
-- with their moments (Dowson, Landau 1982; for images: Heusel et al. 2017) and the kernel distance
-- KID (Binkowski et al. 2018).
-- @module flowmap.measure.frechet

local fm = require "flowmap"
local errors = require "flowmap.base.errors"
local stats = require "flowmap.measure.stats"

local M = {}

local BLOCK = 256 -- rows summed together

-- ------------------------------------------------------------------ moments

local Moments = {}
Moments.__index = Moments

--- Create an accumulator of mean and covariance in float64. Rows are summed in blocks of 256 in
-- order of arrival, whatever batches they come in, so the bits do not depend on the batches. The
-- sums are of x - c, where c is the mean of the first block: far from 0, uncentred squares would
-- lose the significant digits.
-- @tparam integer dim dimension of a feature vector
-- @treturn Moments with `add(x)`, x: (n, dim), and `finish()`
function M.moments(dim)
  return setmetatable({ dim = dim, n = 0 }, Moments)
end

local function add_block(self, block)
  local x = fm.cast(block, "float64")
  if not self.centre then
    self.centre = fm.mean(x, 1, true)
    self.sum = fm.zeros({ 1, self.dim }, "float64")
    self.squares = fm.zeros({ self.dim, self.dim }, "float64")
  end
  x = x - self.centre
  self.n = self.n + x.shape[1]
  self.sum = self.sum + fm.sum(x, 1, true)
  self.squares = self.squares + fm.matmul(x, x, true)
end

--- Add rows.
-- @tparam tensor x (n, dim), float32 or float64
function Moments:add(x)
  if #x.shape ~= 2 or x.shape[2] ~= self.dim then
    errors.usage("moments: features of the shape (%s) found, expected (n, %d)",
      table.concat(x.shape, ", "), self.dim)
  end
  if not x:finite() then errors.numeric "moments: a feature is not finite" end
  local rows = self.rest and fm.concat({ self.rest, x }, 1) or x
  local n, at = rows.shape[1], 1
  while n - at + 1 >= BLOCK do
    add_block(self, fm.slice(rows, 1, at, BLOCK))
    at = at + BLOCK
  end
  self.rest = at <= n and fm.slice(rows, 1, at, n - at + 1) or nil
end

--- Mean and unbiased covariance of all rows.
-- @treturn table { n =, mean = (dim), cov = (dim, dim) }, float64
function Moments:finish()
  if self.rest then add_block(self, self.rest) end
  self.rest = nil
  local n, d = self.n, self.dim
  if n < 2 then errors.usage("moments: %d samples found, expected at least 2", n) end
  local cov = (self.squares - fm.matmul(self.sum, self.sum, true) / n) / (n - 1)
  return { n = n, mean = fm.reshape(self.centre + self.sum / n, { d }),
    cov = (cov + fm.transpose(cov, { 2, 1 })) / 2 }
end

--- Moments of a complete set of rows.
-- @tparam tensor x (n, dim)
-- @treturn table as `finish`
function M.moments_of(x)
  local moments = M.moments(x.shape[2])
  moments:add(x)
  return moments:finish()
end

-- ------------------------------------------------------------------ Frechet distance

local function identity(d)
  local k = fm.arange(d, "float64")
  return fm.eq(fm.reshape(k, { d, 1 }), fm.reshape(k, { 1, d }))
end

local function trace(a) return fm.sum(a * identity(a.shape[1])):item() end

-- Square roots of eigenvalues; rounding can make those of a singular matrix slightly negative.
local function roots(values) return fm.sqrt(fm.maximum(values, 0)) end

local function square_root(s)
  local values, vectors = fm.eigh(s)
  local rows = fm.reshape(roots(values), { s.shape[1], 1 }) * vectors
  return fm.matmul(vectors, rows, true)
end

local function check(a, b)
  local d, e = a.mean.shape[1], b.mean.shape[1]
  if d ~= e then
    errors.usage("frechet: features of dimension %d and %d cannot be compared", d, e)
  end
  for _, moments in ipairs { a, b } do
    if moments.n < d then
      errors.usage("frechet: %d samples found, but the features have dimension %d: expected at "
        .. "least as many samples; with fewer the covariance is singular and the distance is "
        .. "meaningless", moments.n, d)
    end
  end
  return d
end

--- |mu1 - mu2|^2 + Tr(S1 + S2 - 2 (S1 S2)^{1/2}).
-- S1 S2 has the eigenvalues of the symmetric matrix S1^{1/2} S2 S1^{1/2}. This avoids the root of a
-- general matrix and imaginary parts.
-- @tparam table a { n =, mean =, cov = }, see `moments`
-- @tparam table b
-- @tparam[opt=0] number offset added to both diagonals under the root (the paper's protocol: 1e-6)
-- @treturn number not negative, except for rounding errors
function M.distance(a, b, offset)
  local d = check(a, b)
  local shift = identity(d) * (offset or 0)
  local root = square_root(a.cov + shift)
  local product = fm.matmul(fm.matmul(root, b.cov + shift), root)
  local values = fm.eigh((product + fm.transpose(product, { 2, 1 })) / 2)
  local between = fm.sum(fm.square(a.mean - b.mean)):item()
  return between + trace(a.cov) + trace(b.cov) - 2 * fm.sum(roots(values)):item()
end

-- ------------------------------------------------------------------ kernel distance

local function cube(x) return x * x * x end

-- A program that sums k(x_i, y_j) = (x_i . y_j / d + 1)^3 over all pairs, for y: (n, d). It takes a
-- few rows of x at a time, so that the full matrix of kernel values never exists.
local function kernel_program(n, d)
  return fm.program(function(shared, b)
    return { sum = fm.sum(cube(fm.matmul(b.rows.x, shared, false, true) / d + 1)) }
  end, { shared = fm.zeros({ n, d }, "float64"), rows = { x = { d, dtype = "float64" } },
    micro = 64 })
end

local function kernel_sum(program, x, y)
  return program:run { shared = y, rows = { x = x }, batch = x.shape[1] }.sum:item()
end

-- Mean of k(x_i, x_j) over i ~= j.
local function within(program, x)
  local n = x.shape[1]
  local diagonal = fm.sum(cube(fm.sum(fm.square(x), 2) / x.shape[2] + 1)):item()
  return (kernel_sum(program, x, x) - diagonal) / (n * (n - 1))
end

-- The estimate of `mmd2` for x and y with equal numbers of rows.
local function mmd2(program, x, y)
  return within(program, x) + within(program, y)
    - 2 * kernel_sum(program, x, y) / x.shape[1] ^ 2
end

--- The unbiased estimate of the squared maximum mean discrepancy with the cubic kernel. Its mean is
-- 0 for equal distributions, so it may be negative.
-- @tparam tensor x (n, d)
-- @tparam tensor y (n, d)
-- @treturn number
function M.mmd2(x, y)
  return mmd2(kernel_program(x.shape[1], x.shape[2]), fm.cast(x, "float64"), fm.cast(y, "float64"))
end

--- KID: the mean of `mmd2` over subsets. The subsets are disjoint and therefore independent, as the
-- Student-t interval requires. It also takes their values for normal: they are skewed, the more so
-- the fewer dimensions the features have, so that intervals of ten subsets lie too low. By
-- simulation they hold the true value in 94 % of cases with 64 and 16 dimensions, in 92 % with one;
-- intervals of a hundred subsets in 95 %.
-- @tparam tensor x features, (m, d)
-- @tparam tensor y features, (n, d)
-- @tparam[opt=1000] integer size of a subset; smaller if there would be fewer than ten subsets
-- @treturn table { mean =, half = half width of the 95 % interval, subsets =, size = }
function M.kid(x, y, size)
  local n = math.min(x.shape[1], y.shape[1])
  size = math.min(size or 1000, n // 10)
  if size < 2 then
    errors.usage("kid: %d samples found, expected at least 20: ten subsets of two", n)
  end
  local program, values = kernel_program(size, x.shape[2]), {}
  local function rows(z, k) return fm.cast(fm.slice(z, 1, (k - 1) * size + 1, size), "float64") end
  for k = 1, n // size do values[k] = mmd2(program, rows(x, k), rows(y, k)) end
  local summary = stats.summary(values)
  return { mean = summary.mean, half = summary.half, subsets = summary.n, size = size }
end

return M
