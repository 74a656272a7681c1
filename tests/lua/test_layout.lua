-- The layout of a batch on several devices: counts, times, losses, and a training with it.

local t = require "harness"
local fm = require "flowmap"

local experiment, layout = fm.experiment, fm.layout

-- The layout row by row: of a batch [drawn on the diagonal | drawn off it], each device enters the
-- first rows of its part in the diagonal term.
local function row_by_row(eta, batch, devices)
  local part = batch // devices
  local drawn = math.max(1, math.floor(eta * batch + 1e-9))
  local entering = math.max(1, math.floor(eta * part + 1e-9))
  local counts = { diagonal = 0, from_off = 0, from_diagonal = 0 }
  for row = 0, batch - 1 do
    local on, enters = row < drawn, row % part < entering
    if enters then counts.diagonal = counts.diagonal + 1 end
    if enters and not on then counts.from_off = counts.from_off + 1 end
    if on and not enters then counts.from_diagonal = counts.from_diagonal + 1 end
  end
  return counts
end

t.test("four devices: 6.25 % train the map, 18.75 % are off-diagonal at s = t", function()
  for _, batch in ipairs { 256, 512 } do
    local counts = layout.counts(0.75, batch, 4)
    t.eq(counts.diagonal / batch, 0.75)
    t.eq(counts.from_diagonal / batch, 0.1875)
    t.eq((batch - counts.diagonal - counts.from_diagonal) / batch, 0.0625)
    t.eq(counts.from_off / counts.diagonal, 0.25)
  end
end)

t.test("counts are those of the batch row by row, in one micro-batch or many", function()
  for _, devices in ipairs { 1, 2, 3, 4, 8 } do
    for _, eta in ipairs { 0, 0.25, 0.5, 0.6, 0.75, 0.9, 1 } do
      for _, part in ipairs { 1, 2, 5, 8, 128 } do
        local batch = part * devices
        local where = ("%d devices, eta %g, batch %d"):format(devices, eta, batch)
        local expected = row_by_row(eta, batch, devices)
        t.eq(layout.counts(eta, batch, devices), expected, where)
        for _, micro in ipairs { 1, 3, 8, 64 } do
          local sum, row = { diagonal = 0, from_off = 0, from_diagonal = 0 }, 0
          while row < batch do
            local last = math.min(batch, row + micro)
            local counts = layout.rows(eta, batch, devices, row, last)
            local off = last - row - counts.diagonal
            t.eq(off >= counts.from_diagonal and counts.diagonal >= counts.from_off, true, where)
            for name in pairs(sum) do sum[name] = sum[name] + counts[name] end
            row = last
          end
          t.eq(sum, expected, where)
        end
      end
    end
  end
end)

t.test("without settings, on one device, no row crosses", function()
  t.eq(layout.counts(0.75, 10), { diagonal = 7, from_off = 0, from_diagonal = 0 })
  t.eq(fm.step.diagonal_count { eta = 0.75, batch = 256, devices = 4 }, 192)
  t.eq(fm.step.diagonal_count { eta = 0, batch = 256, devices = 8 }, 8)
end)

-- ------------------------------------------------------------------ times

local board = experiment.load "experiments/checkerboard.lua"

local function resolve(set, method)
  return experiment.resolve(board, { profile = "smoke", method = method, set = set })
end

local function draws(n, dtype)
  local function draw(stream, columns)
    return fm.uniform({ n, columns }, { seed = 3, stream = stream, dtype = dtype })
  end
  return { x0 = draw("x0", 2), x1 = draw("x1", 2), a = draw("a", 1), c = draw("c", 1) }
end

-- The times that both terms of a batch get: lists t of the diagonal, s and t of the other.
local function times_of(eta, n, devices)
  local counts = layout.counts(eta, n, devices)
  local job = fm.job.parts(board, resolve({ dtype = "float64" }, "lsd"))
  local diagonal, s, time
  job.net = { v = function(_, first, second, x)
    t.eq(first:flat(), second:flat())
    diagonal = diagonal or second:flat()
    return x * 0
  end }
  job.loss = { args = {}, loss = function(a)
    s, time = a.s:flat(), a.t:flat()
    return fm.reshape(a.s * 0, { a.x.shape[1] })
  end }
  fm.step.losses(job, {}, draws(n, "float64"), counts.diagonal, n, counts)
  return diagonal, s, time, counts
end

local function mean(list, f)
  local sum = 0
  for _, value in ipairs(list) do sum = sum + f(value) end
  return sum / #list
end

-- With a share q of the diagonal rows at the larger of two uniform times: the mean 1/2 + q/6, and
-- 1 - t + q t (1 - t) of the rows above t. Tolerances are four standard errors.
local function check_times(eta, devices, q)
  local n = 1 << 16
  local diagonal, s, time, counts = times_of(eta, n, devices)
  local error4 = 4 / math.sqrt(#diagonal)
  t.near(mean(diagonal, function(x) return x end), 1 / 2 + q / 6, 0.29 * error4)
  for _, at in ipairs { 0.5, 0.9 } do
    local above = 1 - at + q * at * (1 - at)
    t.near(mean(diagonal, function(x) return x > at and 1 or 0 end), above,
      math.sqrt(above * (1 - above)) * error4)
  end
  local equal, gap = 0, 0
  for i = 1, #s do
    equal, gap = equal + (s[i] == time[i] and 1 or 0), gap + time[i] - s[i]
    t.eq(s[i] <= time[i], true)
  end
  t.eq(equal, counts.from_diagonal)
  if equal < #s then t.near(gap / (#s - equal), 1 / 3, 0.24 * 4 / math.sqrt(#s - equal)) end
end

t.test("times on one device: the paper's laws", function() check_times(0.75, 1, 0) end)

t.test("times on four devices: a quarter of the diagonal's are larger ones", function()
  check_times(0.75, 4, 1 / 4)
  local diagonal = times_of(0.75, 1 << 16, 4)
  t.near(mean(diagonal, function(x) return x end), 0.543, 0.004)
  t.near(mean(diagonal, function(x) return x > 0.9 and 1 or 0 end), 0.125, 0.006)
end)

t.test("times on two and eight devices, other fractions", function()
  check_times(0.75, 2, 1 / 6)
  check_times(0.75, 8, 1 / 4)
  check_times(0.5, 2, 1 / 2)
  check_times(0.25, 4, 3 / 4)
end)

-- ------------------------------------------------------------------ losses

t.test("rows that cross have the losses of their times", function()
  for _, method in ipairs { "lsd", "esd", "psd-m" } do
    local job = fm.job.parts(board, resolve({ dtype = "float64", stop = "convex" }, method))
    local params, it = job.net.init(fm.nets.rng(1, "float64")), draws(16, "float64")
    job.net.weight, it.g = nil, job.loss.args.g
    local crossed = { from_off = 3, from_diagonal = 2 }
    local diagonal, off = fm.step.losses(job, params, it, 10, 16, crossed)
    local plain, usual = fm.step.losses(job, params, it, 10, 16)
    it.a = fm.maximum(it.a, it.c)
    local later = fm.step.losses(job, params, it, 10, 16)
    for k = 1, 10 do t.near(diagonal:get(k), (k <= 7 and plain or later):get(k), 1e-13, method) end
    for k = 1, 6 do t.near(off:get(k), k <= 2 and 0 or usual:get(k), 1e-13, method) end
  end
end)

t.test("a law that also draws u: rows with s = t pass through it", function()
  local job = fm.job.parts(board, resolve({ dtype = "float64", times = "noise_levels" }, "ct"))
  local seen
  job.loss = { args = {}, loss = function(a)
    seen = a
    return fm.reshape(a.s * 0, { a.x.shape[1] })
  end }
  local it = draws(8, "float64")
  fm.step.losses(job, job.net.init(fm.nets.rng(1, "float64")), it, 4, 8,
    { from_off = 0, from_diagonal = 4 })
  for _, key in ipairs { "s", "t", "u" } do t.eq(seen[key]:flat(), it.a:rows(5, 4):flat(), key) end
end)

t.test("rows that cross keep the law that they were drawn by", function()
  local job = fm.job.parts(board, resolve({ dtype = "float64", times_diagonal = "grid" }, "lsd"))
  local on, off
  job.net = { v = function(_, _, time, x)
    on = on or time:flat()
    return x * 0
  end }
  job.loss = { args = {}, loss = function(a)
    off = a.s:flat()
    return fm.reshape(a.s * 0, { a.x.shape[1] })
  end }
  fm.step.losses(job, {}, draws(8, "float64"), 4, 8, { from_off = 1, from_diagonal = 3 })
  for k = 1, 4 do
    t.eq(on[k] * 128 % 1 == 0, k <= 3)
    t.eq(off[k] * 128 % 1 == 0, k <= 3)
  end
end)

-- ------------------------------------------------------------------ training

local tiny = { width = 16, depth = 2, batch = 96, micro = 16, steps = 6, devices = 4 }

local function weights(set, threads)
  fm.set_threads(threads)
  local job = fm.trainer.new(board, resolve(set, "psd-u"))
  for _ = 1, 3 do fm.trainer.step(job) end
  local parts = {}
  fm.tree.each(function(x) parts[#parts + 1] = fm.bytes(x) end, job.params)
  return fm.sha256(table.concat(parts)), job
end

t.test("a training on four devices: bits depend on the setting, not on threads", function()
  local one, job = weights(tiny, 1)
  t.eq(job.terms[1].rows, 72)
  t.eq(weights(tiny, 2), one)
  local single = {}
  for key, value in pairs(tiny) do single[key] = value end
  single.devices = 1
  t.eq(weights(single, 1) == one, false)
end)

t.test("micro-batches that differ only in the rows that cross are traced apart", function()
  local job = fm.trainer.new(board, resolve({ batch = 16, micro = 8, devices = 4 }, "psd-m"))
  local out = job.program:run { shared = job.shared, batch = 16, seed = 1, step = 0 }
  local zero = 0
  for _, loss in ipairs(out.rows.loss:flat()) do -- exp(-1) L + 1
    if math.abs(loss - 1) < 1e-6 then zero = zero + 1 end
  end
  t.eq(zero, layout.counts(0.75, 16, 4).from_diagonal)
end)

t.test("devices that do not fit the batch are a sentence", function()
  local function refused(set, pattern)
    t.eq(t.raises(function() resolve(set, "lsd") end, pattern).code, "usage")
  end
  refused({ batch = 98, devices = 4 },
    "devices is 4, but batch is 98, which cannot be cut into 4 equal parts")
  refused({ batch = 4, devices = 4 }, "leaves each device 1 of 4 samples: with eta = 0.75 all")
  refused({ devices = 0 }, "devices must be from 1 to 4096, found 0")
  refused({ devices = 4, eta = 1 }, "devices has no effect: eta is 1: all samples")
  t.raises(function() layout.counts(0.5, 10, 4) end, "10 samples cannot be cut into 4 equal parts")
end)

t.done()
