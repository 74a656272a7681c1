-- Pairs of base and data samples by optimal transport within a micro-batch.

local t = require "harness"
local fm = require "flowmap"

local coupling, experiment, trainer = fm.coupling, fm.experiment, fm.trainer
local board = experiment.load "experiments/checkerboard.lua"

local function normal(shape, stream)
  return fm.normal(shape, { seed = 2, stream = stream, dtype = "float64" })
end

local function sum_of_distances(x0, x1) return fm.sum(fm.square(x1 - x0)):item() end

local function sorted_rows(x, n)
  local rows, values = {}, x:flat()
  for i = 1, n do rows[i] = table.concat(values, " ", (i - 1) * (#values // n) + 1,
    i * (#values // n)) end
  table.sort(rows)
  return rows
end

-- The least sum over all orders of the rows of x0 from k on.
local function least(x0, x1, n)
  local cost, best = {}, math.huge
  for i = 1, n do
    cost[i] = {}
    for j = 1, n do cost[i][j] = sum_of_distances(x0:rows(j, 1), x1:rows(i, 1)) end
  end
  local function try(i, taken, sum)
    if i > n then best = math.min(best, sum) end
    for j = 1, n do
      if i <= n and not taken[j] then
        taken[j] = true
        try(i + 1, taken, sum + cost[i][j])
        taken[j] = nil
      end
    end
  end
  try(1, {}, 0)
  return best
end

t.test("points and images: the least sum of squared distances, of the same samples", function()
  for _, shape in ipairs { { 5, 2 }, { 5, 4, 3, 2 } } do
    local x0, x1 = normal(shape, "x0"), normal(shape, "x1")
    local paired = coupling.pair("ot", x0, x1)
    t.eq(paired.shape, shape)
    t.near(sum_of_distances(paired, x1), least(x0, x1, 5), 1e-10)
    t.eq(sorted_rows(paired, 5), sorted_rows(x0, 5))
    t.eq(fm.bytes(coupling.pair("independent", x0, x1)), fm.bytes(x0))
  end
  local x0, x1 = normal({ 64, 2 }, "x0"), normal({ 64, 2 }, "x1")
  local paired = coupling.pair("ot", x0, x1)
  t.eq(sum_of_distances(paired, x1) < 0.5 * sum_of_distances(x0, x1), true)
  t.eq(sorted_rows(paired, 64), sorted_rows(x0, 64))
end)

t.test("one Gaussian to another, far away: the pairs are a translation", function()
  local x0 = normal({ 16, 3 }, "x0")
  local order = fm.tensor({ 3, 1, 0, 2, 7, 6, 5, 4, 15, 8, 10, 9, 11, 14, 13, 12 }, "float64")
  local x1 = fm.gather(x0, order) + 100
  t.near(sum_of_distances(coupling.pair("ot", x0, x1) + 100, x1), 0, 1e-18)
end)

t.test("data keep their places and labels; training has the same bits for any threads", function()
  local set = { width = 16, depth = 2, batch = 96, micro = 32, steps = 6 }
  local function job(name)
    set.coupling = name
    return trainer.new(board, experiment.resolve(board, { profile = "smoke", method = "lsd",
      set = set }))
  end
  local function drawn(name)
    local it = job(name)
    local out = fm.program(function(input, b)
      local all = fm.step.draw(it, input, b)
      return { rows = { x0 = all.x0, x1 = all.x1, a = all.a } }
    end, { shared = it.shared, rows = {}, micro = 32 }):run { shared = it.shared, batch = 96,
      seed = 1, step = 0 }
    return out.rows
  end
  local one, two = drawn "independent", drawn "ot"
  t.eq(fm.bytes(one.x1), fm.bytes(two.x1))
  t.eq(fm.bytes(one.a), fm.bytes(two.a))
  for first = 1, 96, 32 do -- within each micro-batch
    local was, is = one.x0:rows(first, 32), two.x0:rows(first, 32)
    t.eq(sorted_rows(was, 32), sorted_rows(is, 32))
    t.eq(fm.bytes(is), fm.bytes(coupling.pair("ot", was, one.x1:rows(first, 32))))
    t.eq(fm.bytes(is) == fm.bytes(was), false)
  end
  local found = {}
  for k, threads in ipairs { 1, 2, 4 } do
    fm.set_threads(threads)
    local it = job "ot"
    for _ = 1, 3 do trainer.step(it) end
    found[k] = fm.bytes(it.params[1].w)
  end
  t.eq({ found[2], found[3] }, { found[1], found[1] })
end)

t.test("a student's teacher has its pairs", function()
  local cfg, stages = experiment.staged(board, { profile = "smoke", method = "lmd",
    set = { coupling = "ot" } })
  t.eq({ cfg.coupling, stages[1].cfg.coupling }, { "ot", "ot" })
end)

t.done()
