-- Distances of feature vectors and of patches against closed forms and sums in plain loops.

local t = require "harness"
local fm = require "flowmap"

local frechet, sliced = fm.frechet, fm.sliced

local function matrix(rows) return fm.tensor(rows, "float64") end

local function normal(shape, stream)
  return fm.normal(shape, { seed = 11, stream = stream, dtype = "float64" })
end

local function moments(mean, cov)
  return { n = 1000, mean = matrix(mean), cov = matrix(cov) }
end

local function largest(x) return fm.max_reduce(fm.abs(x)):item() end

-- A rotation in d dimensions: the vectors of a random symmetric matrix.
local function rotation(d)
  local a = normal({ d, d }, "rotation")
  local _, q = fm.eigh(a + fm.transpose(a, { 2, 1 }))
  return q
end

local function conjugate(q, s) return fm.matmul(fm.matmul(q, s, true), q) end

local function diagonal(values)
  local rows = {}
  for i, v in ipairs(values) do
    rows[i] = {}
    for j = 1, #values do rows[i][j] = i == j and v or 0 end
  end
  return rows
end

-- ------------------------------------------------------------------ the core's part

t.test("eigenvalues of a matrix computed by hand", function()
  local w, v = fm.eigh(matrix { { 2, 1 }, { 1, 2 } })
  t.near(w:get(1), 1, 1e-15)
  t.near(w:get(2), 3, 1e-15)
  t.near(math.abs(v:get(1, 1) + v:get(1, 2)), 0, 1e-15, "(1, -1) has the eigenvalue 1")
  t.near(v:get(2, 1) - v:get(2, 2), 0, 1e-15, "(1, 1) has the eigenvalue 3")
end)

t.test("a = v' diag(w) v, v orthogonal, w ascending", function()
  for _, d in ipairs { 1, 5, 64, 150 } do -- dsyevd divides from 26 on
    local a = normal({ d, d }, "a")
    a = a + fm.transpose(a, { 2, 1 })
    local w, v = fm.eigh(a)
    local back = fm.matmul(v, fm.reshape(w, { d, 1 }) * v, true)
    t.near(largest(back - a) / largest(a), 0, 1e-13)
    local unit = matrix(diagonal(fm.ones({ d }):flat()))
    t.near(largest(fm.matmul(v, v, false, true) - unit), 0, 1e-13)
    for k = 2, d do t.eq(w:get(k) >= w:get(k - 1), true) end
  end
  t.eq(fm.eigh(fm.zeros({ 0, 0 }, "float64")).shape, { 0 })
end)

t.test("eigh refuses anything but a symmetric float64 matrix", function()
  t.raises(function() fm.eigh(matrix { { 1, 2 }, { 3, 4 } }) end, "differs from its transpose by 1")
  t.raises(function() fm.eigh(matrix { { 1, 2, 3 }, { 3, 4, 5 } }) end, "expected a square")
  t.raises(function() fm.eigh(fm.tensor { { 1 } }) end, "float32 %(1, 1%) found")
  t.raises(function() fm.eigh(matrix { { 0 / 0 } }) end, "value 1 of the matrix is not finite")
end)

t.test("rows are sorted", function()
  for _, dtype in ipairs { "float32", "float64" } do
    local x = fm.normal({ 5, 99 }, { seed = 2, stream = "sort", dtype = dtype })
    local expected = x:totable()
    for _, row in ipairs(expected) do table.sort(row) end
    t.eq(fm.sort(x):totable(), expected)
  end
  t.raises(function() fm.sort(fm.tensor { 1, 0 / 0 }) end, "NaN")
  t.raises(function() fm.sort(fm.zeros {}) end, "float32 %(%) found, expected .* rank 1 or more")
  t.raises(function() fm.sort(fm.full({ 9 }, 7, "uint8")) end, "uint8 %(9%) found")
end)

-- ------------------------------------------------------------------ moments

t.test("mean and covariance against their definition", function()
  local n, d = 700, 3
  local x = normal({ n, d }, "moments") + matrix { 1e6, -3, 0 } -- far from 0 in one coordinate
  local rows, it = x:totable(), frechet.moments_of(x)
  t.eq(it.n, n)
  local mean = { 0, 0, 0 }
  for _, row in ipairs(rows) do
    for j = 1, d do mean[j] = mean[j] + row[j] / n end
  end
  for j = 1, d do
    t.near(it.mean:get(j), mean[j], 1e-8)
    for k = 1, d do
      local sum = 0
      for _, row in ipairs(rows) do sum = sum + (row[j] - mean[j]) * (row[k] - mean[k]) end
      t.near(it.cov:get(j, k), sum / (n - 1), 1e-8)
    end
  end
end)

t.test("moments have the same bits for every batch size", function()
  local x = fm.cast(normal({ 1111, 20 }, "batches"), "float32")
  local whole = frechet.moments_of(x)
  for _, batch in ipairs { 1, 7, 256, 300, 1000 } do
    local it = frechet.moments(20)
    for at = 1, 1111, batch do it:add(fm.slice(x, 1, at, math.min(batch, 1112 - at))) end
    local part = it:finish()
    t.eq(part.n, 1111)
    t.eq(part.mean:bytes() == whole.mean:bytes(), true)
    t.eq(part.cov:bytes() == whole.cov:bytes(), true)
  end
end)

t.test("moments refuse wrong shapes, numbers and too few samples", function()
  local it = frechet.moments(2)
  t.raises(function() it:add(fm.zeros { 4, 3 }) end, "expected %(n, 2%)")
  t.raises(function() it:add(fm.tensor { { 0, 1 / 0 } }) end, "not finite")
  it:add(fm.zeros { 1, 2 })
  t.raises(function() it:finish() end, "1 samples found")
end)

-- ------------------------------------------------------------------ Frechet distance

t.test("diagonal covariances: |m|^2 + sum (sqrt a - sqrt b)^2", function()
  local a = moments({ 1, 2, 3 }, diagonal { 4, 9, 0.25 })
  local b = moments({ 1, 0, 3.5 }, diagonal { 1, 16, 0 })
  t.near(frechet.distance(a, b), 4 + 0.25 + 1 + 1 + 0.25, 1e-12)
  t.near(frechet.distance(a, a), 0, 1e-12)
end)

-- For 2 x 2: Tr (S1 S2)^{1/2} = sqrt(Tr(S1 S2) + 2 sqrt(det S1 det S2)), by Cayley and Hamilton.
local function closed_form(s, r)
  local product = 0
  for i = 1, 2 do
    for j = 1, 2 do product = product + s[i][j] * r[j][i] end
  end
  local function det(m) return m[1][1] * m[2][2] - m[1][2] * m[2][1] end
  local root = math.sqrt(product + 2 * math.sqrt(det(s) * det(r)))
  return s[1][1] + s[2][2] + r[1][1] + r[2][2] - 2 * root
end

local S = { { 2, 0.7 }, { 0.7, 1 } }
local R = { { 0.5, -0.3 }, { -0.3, 3 } }

t.test("covariances that do not commute, 2 x 2", function()
  local product = fm.matmul(matrix(S), matrix(R))
  t.eq(math.abs(product:get(1, 2) - product:get(2, 1)) > 0.1, true, "S R is not symmetric")
  local d = frechet.distance(moments({ 0, 1 }, S), moments({ 1, 1 }, R))
  t.near(d, 1 + closed_form(S, R), 1e-12)
  t.near(frechet.distance(moments({ 1, 1 }, R), moments({ 0, 1 }, S)), d, 1e-12, "symmetric")
end)

-- Forty blocks of 2 x 2, no two alike, in a rotated frame.
local function blocks(scale)
  local rows, sum = { diagonal(fm.zeros({ 80 }):flat()), diagonal(fm.zeros({ 80 }):flat()) }, 0
  for k = 0, 39 do
    local s = { { 2 + k, 0.7 }, { 0.7, 1 } }
    local r = { { 0.5, -0.3 }, { -0.3, 3 + 0.1 * k } }
    for i = 1, 2 do
      for j = 1, 2 do
        rows[1][2 * k + i][2 * k + j] = scale * s[i][j]
        rows[2][2 * k + i][2 * k + j] = scale * r[i][j]
      end
    end
    sum = sum + closed_form(s, r)
  end
  return matrix(rows[1]), matrix(rows[2]), scale * sum
end

t.test("rotations change nothing, scaling by c multiplies by c^2", function()
  local q, zero = rotation(80), fm.zeros({ 80 }, "float64")
  for _, scale in ipairs { 1, 1e-6 } do
    local s, r, expected = blocks(scale)
    for _, it in ipairs { { s, r }, { conjugate(q, s), conjugate(q, r) } } do
      local d = frechet.distance({ n = 80, mean = zero, cov = it[1] },
        { n = 80, mean = zero, cov = it[2] })
      t.near(d / expected, 1, 1e-11)
    end
  end
end)

t.test("the offset applies only under the root", function()
  local a, b = moments({ 0 }, { { 0 } }), moments({ 0 }, { { 4 } })
  t.near(frechet.distance(a, b, 1e-6), 4 - 2 * math.sqrt(1e-6 * (4 + 1e-6)), 1e-12)
end)

t.test("samples of two normal laws", function()
  local n = 40000
  local function draw(root, shift, stream)
    return fm.matmul(normal({ n, 2 }, stream), matrix(root)) + matrix(shift)
  end
  -- x = z A has the covariance A' A
  local a, b = { { 1, 0.5 }, { 0, 2 } }, { { 0.3, 0 }, { 1, 1 } }
  local s, r = { { 1, 0.5 }, { 0.5, 4.25 } }, { { 1.09, 1 }, { 1, 1 } }
  local d = frechet.distance(frechet.moments_of(draw(a, { 0, 1 }, "p")),
    frechet.moments_of(draw(b, { 2, 1 }, "q")))
  t.near(d, 4 + closed_form(s, r), 0.08)
end)

t.test("fewer samples than dimensions are refused", function()
  local x = normal({ 5, 6 }, "few")
  local it = frechet.moments_of(x)
  t.raises(function() frechet.distance(it, it) end, "5 samples found, but the features have dim")
  local two = moments({ 0, 0 }, S)
  t.raises(function() frechet.distance(two, moments({ 0 }, { { 1 } })) end, "dimension 2 and 1")
end)

-- ------------------------------------------------------------------ KID

t.test("KID's sum against loops over all pairs", function()
  local x, y = normal({ 6, 3 }, "kx"), normal({ 6, 3 }, "ky")
  local function mean(a, b, skip)
    local sum, count = 0, 0
    for i, u in ipairs(a:totable()) do
      for j, v in ipairs(b:totable()) do
        if not (skip and i == j) then
          local dot = 0
          for k = 1, 3 do dot = dot + u[k] * v[k] end
          sum, count = sum + (dot / 3 + 1) ^ 3, count + 1
        end
      end
    end
    return sum / count
  end
  local expected = mean(x, x, true) + mean(y, y, true) - 2 * mean(x, y)
  t.near(frechet.mmd2(x, y), expected, 1e-12)
end)

t.test("the mean of KID is 0 for equal laws, and its interval covers 0", function()
  local it = frechet.kid(normal({ 20000, 4 }, "k1"), normal({ 20000, 4 }, "k2"), 20)
  t.eq({ it.subsets, it.size }, { 1000, 20 })
  -- A biased estimate, with the pairs i = j, would be off by about 2 E k(x,x) / 20 > 1.
  t.near(it.mean, 0, 2 * it.half)
  t.eq(it.half < 0.05, true)
end)

t.test("coverage of the interval of KID with a hundred subsets", function()
  local covered, trials = 0, 100
  for k = 1, trials do
    local it = frechet.kid(normal({ 800, 1 }, "x" .. k), normal({ 800, 1 }, "y" .. k), 8)
    if math.abs(it.mean) <= it.half then covered = covered + 1 end
  end
  t.eq(covered >= 93 and covered <= 97, true, covered .. " % of the intervals hold 0")
end)

t.test("coverage of the interval of KID with ten subsets, equal laws and others", function()
  for _, shift in ipairs { 0, 0.3 } do
    local found, mean, covered, trials = {}, 0, 0, 300
    for k = 1, trials do
      local function features(name)
        return normal({ 200, 32 }, ("%s %g %d"):format(name, shift, k))
      end
      found[k] = frechet.kid(features "few x", features "few y" + shift, 20)
      mean = mean + found[k].mean / trials
    end
    for _, it in ipairs(found) do
      if math.abs(it.mean - (shift > 0 and mean or 0)) <= it.half then covered = covered + 1 end
    end
    local percent = 100 * covered / trials
    t.eq(percent >= 92 and percent <= 97, true, ("%.1f %% at a shift of %g"):format(percent, shift))
  end
end)

t.test("KID sees a shift, by as much as the moments say", function()
  -- One dimension, N(0,1) and N(m,1): the cubic kernel compares the first three moments,
  -- 3 (m)^2 + 3 (m^2)^2 + (m^3 + 3m)^2.
  local m = 0.5
  local expected = 3 * m ^ 2 + 3 * m ^ 4 + (m ^ 3 + 3 * m) ^ 2
  local it = frechet.kid(normal({ 40000, 1 }, "k3"), normal({ 40000, 1 }, "k4") + m, 200)
  t.near(it.mean, expected, 2 * it.half)
  t.eq(it.half < 0.5, true)
  t.raises(function() frechet.kid(normal({ 19, 1 }, "a"), normal({ 99, 1 }, "b")) end, "19 samples")
end)

-- ------------------------------------------------------------------ sliced Wasserstein

t.test("a shift by v is |v . theta| on every line; in the mean |v| E|theta_1|", function()
  local d, n = 6, 500
  local x = normal({ n, d }, "sw")
  local v = matrix { { 3, 0, 0, -4, 0, 0 } }
  -- E|theta_1| on the sphere: Gamma(3) / (sqrt(pi) Gamma(3.5)) for d = 6
  local gamma = 15 / 8 * math.sqrt(math.pi)
  local expected = 5 * 2 / (math.sqrt(math.pi) * gamma)
  t.near(sliced.distance(x, x + v, 4000), expected, 0.05)
  t.near(sliced.distance(x, x), 0, 0)
  local turned = fm.gather(x, fm.cast(n - 1 - fm.arange(n), "float64"))
  t.near(sliced.distance(turned, x + v), sliced.distance(x, x + v), 1e-12, "order of the points")
  t.near(sliced.distance(x * 2, (x + v) * 2) / sliced.distance(x, x + v), 2, 1e-12)
  t.raises(function() sliced.distance(x, fm.slice(x, 1, 1, 7)) end, "equal shape")
end)

t.test("in one dimension it is the Wasserstein-1 distance", function()
  local x = matrix { { 0 }, { 10 }, { 1 } }
  local y = matrix { { 2 }, { 0 }, { 9 } } -- sorted 0 1 10 and 0 2 9
  t.near(sliced.distance(x, y), 2 / 3, 1e-15)
end)

t.test("sliced Wasserstein-2 of shifts, scales, and one dimension", function()
  local d, n = 6, 500
  local x = normal({ n, d }, "sw2")
  local v = matrix { { 3, 0, 0, -4, 0, 0 } }
  t.near(sliced.distance2(x, x + v, 4000), 5 / math.sqrt(d), 0.05, "|v|^2 E theta_1^2 = |v|^2 / d")
  t.near(sliced.distance2(x, x), 0, 0)
  -- On a line with direction theta the root mean square of x . theta; over directions |x|^2 / d.
  local spread = math.sqrt(fm.sum(fm.square(x)):item() / (n * d))
  t.near(sliced.distance2(x, x * 3, 4000) / spread, 2, 0.05)
  t.near(sliced.distance2(matrix { { 0 }, { 10 }, { 1 } }, matrix { { 2 }, { 0 }, { 9 } }),
    math.sqrt(2 / 3), 1e-15)
end)

t.test("the upsampled levels of the pyramid add up to the image", function()
  local x = normal({ 2, 64, 64, 3 }, "pyramid")
  local levels = sliced.pyramid(x)
  t.eq(#levels, 3)
  local function up(y)
    local n, h, w, c = table.unpack(y.shape)
    y = fm.broadcast(fm.reshape(y, { n, h, 1, w, 1, c }), { n, h, 2, w, 2, c })
    return fm.reshape(y, { n, 2 * h, 2 * w, c })
  end
  t.near(largest(levels[1] + up(levels[2] + up(levels[3])) - x), 0, 1e-14)
  t.eq(levels[3].shape, { 2, 16, 16, 3 })
  -- each 2 x 2 block of a difference has the mean 0
  local blocks_of = fm.reshape(levels[1], { 2, 32, 2, 32, 2, 3 })
  t.near(largest(fm.mean(blocks_of, { 3, 5 })), 0, 1e-15)
end)

-- Images (n, 16, 16, 3) whose values are 1000 image + 16 row + column, + 0.25 in the last channel.
local function numbered(first, count)
  local cell = fm.reshape(fm.arange(256), { 1, 16, 16, 1 })
  local image = fm.reshape(fm.arange(count) + first, { count, 1, 1, 1 }) * 1000
  return image + cell + fm.reshape(fm.tensor { 0, 0, 0.25 }, { 1, 1, 1, 3 })
end

t.test("patches are 7 x 7 windows of their own image, inside it", function()
  local cloud = sliced.patches(numbered, 300)[1]
  t.eq(cloud.shape, { 2400, 147 })
  local seen = {}
  for k, row in ipairs(cloud:totable()) do
    local corner = row[1] - 1000 * ((k - 1) // 8)
    seen[corner] = true
    t.eq(corner >= 0 and corner // 16 <= 9 and corner % 16 <= 9, true, "corner")
    for i = 0, 6 do
      for j = 0, 6 do
        local at = 3 * (7 * i + j)
        t.eq(row[at + 1], row[1] + 16 * i + j)
        t.eq(row[at + 3], row[1] + 16 * i + j + 0.25)
      end
    end
  end
  local corners = 0
  for _ in pairs(seen) do corners = corners + 1 end
  t.eq(corners, 100, "2400 draws meet every one of 10 x 10 corners")
end)

t.test("patches detect a wrong colour and a blur, and almost nothing for equal laws", function()
  local function images(stream, change)
    return function(first, count)
      local x = fm.normal({ count, 32, 32, 3 }, { seed = 1, stream = stream, row0 = first })
      return change and change(x) or x
    end
  end
  local reference = sliced.patches(images "real", 128)
  local function to(stream, change)
    return sliced.between(sliced.patches(images(stream, change), 128), reference)
  end
  local floor, levels = to "other"
  t.eq(#levels, 2)
  t.eq(floor < 0.08, true)
  t.eq(to("other", function(x) return x + 0.5 end) > 4 * floor, true, "colour")
  t.eq(to("other", function(x) return x * 0.5 end) > 4 * floor, true, "contrast")
  t.near(sliced.between(reference, reference), 0, 0)
end)

t.done()
