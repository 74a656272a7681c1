--- How far a trained flow map is from the true one, on data whose law is a Gaussian mixture.
--
-- Base points x_0 are carried along the exact flow, so that x_t = X_{s,t}(x_s), and x_s has the law
-- of I_s. At all pairs of a grid of times the trained map X is compared with the true one, and with
-- itself by the three characterisations of a flow map (means of squares, summed over coordinates):
--
--     error        E|X_{s,t}(x_s) - x_t|^2
--     lagrangian   E|d/dt X_{s,t}(x_s) - v_{t,t}(X_{s,t}(x_s))|^2
--     eulerian     E|d/ds X_{s,t}(x_s) + grad X_{s,t}(x_s) . v_{s,s}(x_s)|^2
--     semigroup    E|X_{u,t}(X_{s,u}(x_s)) - X_{s,t}(x_s)|^2,    u = (s + t) / 2
--     diagonal     E|v_{t,t}(x_t) - b_t(x_t)|^2
--
-- Each is a mean over the pairs s < t of the grid (`diagonal`: over its times), relative to the
-- variance of the data, E|x_1 - E x_1|^2; so 1 is the error of a map that is as bad as a constant.
-- @module flowmap.measure.map_error

local Map = require "flowmap.map"
local bounds = require "flowmap.measure.bounds"
local errors = require "flowmap.base.errors"
local exact = require "flowmap.exact"
local fm = require "flowmap"
local metrics = require "flowmap.measure.metrics"
local mixture = require "flowmap.mixture"
local sampler = require "flowmap.sampler"

local M = {}

local POINTS, INTERVALS = 2048, 12
local SEED = 15485863 -- of the base points, the same in all runs
local DIRECTIONS = 256
local RESIDUALS = { "error", "lagrangian", "eulerian", "semigroup" }

local Bench = {}
Bench.__index = Bench

-- Sum of squares, in float64.
local function total(r) return fm.cast(fm.sum(fm.square(r)), "float64") end

-- A shared time, (1, 1), as the column of a micro-batch.
local function column(time, n) return fm.broadcast(time, { n, 1 }) end

--- The true flow on a grid of times.
-- @tparam table spec { set = a data set with `mixture`, interpolant =, sigma = of the base,
--   points = 2048, intervals = 12, dtype = "float32" }
-- @treturn Bench
function M.new(spec)
  local law, d, n = spec.set.mixture, spec.set.dim, spec.points or POINTS
  local self = setmetatable({ d = d, n = n, dtype = spec.dtype or "float32", times = {}, b = {},
    x = {}, variance = d * spec.set.sd ^ 2, interpolant = spec.interpolant,
    sigma = spec.sigma }, Bench)
  local intervals = spec.intervals or INTERVALS
  for i = 0, intervals do self.times[i + 1] = i / intervals end
  local noise = fm.normal({ n, d }, { seed = SEED, stream = "exact bench" })
  local flow = exact.flow(law, spec.interpolant, spec.sigma)
  local path = exact.path(flow, self.times, spec.sigma * fm.cast(noise, "float64"))
  local velocity = mixture.velocity(law, spec.interpolant, spec.sigma)
  for i, x in ipairs(path) do
    local b = velocity(fm.full({ 1, 1 }, self.times[i], "float64"), x)
    self.x[i], self.b[i] = fm.cast(x, self.dtype), fm.cast(b, self.dtype)
  end
  return self
end

--- A program of two times and of points; `f(X, s, t, rows)` returns its results.
-- @tparam function map map(params) -> Map
-- @tparam table params
-- @tparam {string,...} names of the rows, each (n, d)
-- @tparam function f f(X, s, t, rows, batch)
-- @treturn function run(s, t, rows) with numbers s and t
function Bench:program(map, params, names, f)
  local zero, rows = fm.zeros({ 1, 1 }, self.dtype), {}
  for _, name in ipairs(names) do rows[name] = { self.d, dtype = self.dtype } end
  local program = fm.program(function(input, batch)
    return f(map(input.params), column(input.s, batch.n), column(input.t, batch.n), batch.rows,
      batch)
  end, { shared = { params = params, s = zero, t = zero }, rows = rows, micro = 256 })
  return function(s, t, given)
    local _, first = next(given)
    return program:run { rows = given, batch = first.shape[1], shared = { params = params,
      s = fm.full({ 1, 1 }, s, self.dtype), t = fm.full({ 1, 1 }, t, self.dtype) } }
  end
end

-- The four sums of squares at a pair of times; rows x at time s, y at time t.
local function residuals(X, s, t, rows)
  local x, u = rows.x, 0.5 * (s + t)
  local moved, d_t = X:dt(s, t, x)
  local _, d_s = X:ds(s, t, x)
  local _, advection = X:dx(s, t, x, X:b(s, x))
  return { sum = { error = total(moved - rows.y), lagrangian = total(d_t - X:b(t, moved)),
    eulerian = total(d_s + advection), semigroup = total(X(u, t, X(s, u, x)) - moved) } }
end

--- Compare at all pairs of times.
-- @tparam function map map(params) -> Map
-- @tparam table params
-- @treturn table NAME -> { [i] = { [j] = mean square } } for i <= j, not divided by the variance;
--   diagonal -> { [i] = mean square }
function Bench:compare(map, params)
  local at, out = self:program(map, params, { "x", "y" }, residuals), { diagonal = {} }
  local diagonal = self:program(map, params, { "x", "b" }, function(X, _, t, rows)
    return { sum = { d = total(X:b(t, rows.x) - rows.b) } }
  end)
  for _, name in ipairs(RESIDUALS) do out[name] = {} end
  for i, s in ipairs(self.times) do
    for _, name in ipairs(RESIDUALS) do out[name][i] = {} end
    for j = i, #self.times do
      local sums = at(s, self.times[j], { x = self.x[i], y = self.x[j] }).sum
      for _, name in ipairs(RESIDUALS) do out[name][i][j] = sums[name]:item() / self.n end
    end
    out.diagonal[i] = diagonal(s, s, { x = self.x[i], b = self.b[i] }).sum.d:item() / self.n
  end
  return out
end

-- Mean and maximum over the pairs s < t.
local function over_triangle(values)
  local sum, most, count = 0, 0, 0
  for i, row in ipairs(values) do
    for j = i + 1, #values do
      sum, most, count = sum + row[j], math.max(most, row[j]), count + 1
    end
  end
  return sum / count, most
end

--- The numbers of a trained map.
-- @tparam function map map(params) -> Map
-- @tparam table params
-- @treturn table field -> number: the five above, worst (the largest error of a pair), and those of
--   flowmap.measure.bounds
-- @treturn tensor relative errors, (times, times), row s and column t; NaN at s > t
function Bench:measure(map, params)
  local found = self:compare(map, params)
  local numbers, cells = bounds.measure(self, map, params, found), {}
  for _, name in ipairs(RESIDUALS) do
    local mean, most = over_triangle(found[name])
    numbers[name] = mean / self.variance
    if name == "error" then numbers.worst = most / self.variance end
  end
  local sum = 0
  for _, value in ipairs(found.diagonal) do sum = sum + value end
  numbers.diagonal = sum / #found.diagonal / self.variance
  for i, row in ipairs(found.error) do
    for j = 1, #self.times do cells[#cells + 1] = j >= i and row[j] / self.variance or 0 / 0 end
  end
  return numbers, fm.reshape(fm.tensor(cells), { #self.times, #self.times })
end

-- Unit directions, (count, d): the axes, and random ones.
local function directions(d, dtype)
  local v = fm.normal({ DIRECTIONS, d }, { seed = 1, stream = "exact bench directions" })
  local axes = {}
  for k = 1, d * d do axes[k] = (k - 1) % (d + 1) == 0 and 1 or 0 end
  v = fm.cast(v / fm.sqrt(fm.sum(fm.square(v), 2, true)), dtype)
  return fm.concat({ fm.reshape(fm.tensor(axes, dtype), { d, d }), v }, 1)
end

--- The greatest Wasserstein-2 distance of projections on a line: a lower bound of the distance of
-- the points themselves, and equal to it in one dimension.
-- @param x (n, d)
-- @param y (n, d)
-- @treturn number
function M.projected_distance(x, y)
  local v = directions(x.shape[2], x.dtype)
  local off = fm.sort(fm.matmul(v, x, false, true)) - fm.sort(fm.matmul(v, y, false, true))
  local squares = fm.mean(fm.square(off), { 2 }):flat()
  return math.sqrt(math.max(table.unpack(squares)))
end

--- The energy distance of two laws from coupled pairs (x_i, y_i), without the pairs i = j, so that
-- its mean is that of flowmap.measure.metrics.energy. Where x_i and y_i are close, most of the
-- sampling noise cancels.
-- @param x (n, d)
-- @param y (n, d)
-- @treturn number may be negative near 0
function M.coupled_energy(x, y)
  local n, distance = x.shape[1], metrics.mean_distance
  x, y = fm.cast(x, "float32"), fm.cast(y, "float32")
  local own = fm.sum(fm.sqrt(fm.sum(fm.square(x - y), { 2 }))):item()
  local across = (n * n * distance(x, y) - own) / (n * (n - 1))
  return 2 * across - distance(x) - distance(y)
end

--- The samples of N steps against the true ends of the trajectories of the same base points.
-- @tparam function map map(params) -> Map
-- @tparam table params
-- @tparam integer N
-- @tparam[opt="map"] string name one of sampler.named
-- @treturn table { error = E|X^N(x_0) - x_1|^2 relative to the variance: the square of an upper
--   bound of the Wasserstein-2 distance of the laws, w2 = a lower bound of that distance, relative
--   to the root of the variance, energy = the energy distance of the laws }
function Bench:ends(map, params, N, name)
  local run = self:program(map, params, { "x" }, function(X, _, _, rows, batch)
    local how = { interpolant = self.interpolant }
    function how.noise(i)
      return self.sigma * fm.cast(batch:normal({ self.d }, "step " .. i), self.dtype)
    end
    return { rows = { x = sampler.named[name or "map"](X, rows.x, N, how) } }
  end)
  local x, y = run(0, 1, { x = self.x[1] }).rows.x, self.x[#self.x]
  return { error = total(x - y):item() / self.n / self.variance,
    w2 = M.projected_distance(x, y) / math.sqrt(self.variance), energy = M.coupled_energy(x, y) }
end

-- ------------------------------------------------------------------ as metrics of an experiment

local kept = setmetatable({}, { __mode = "k" }) -- context -> { bench =, params =, numbers = }

-- The bench of a run, with as many points as there are samples, at most POINTS.
local function bench_of(samples, context)
  local n, cfg = math.min(POINTS, samples.shape[1]), context.cfg
  local it = kept[context]
  if it and it.bench.n == n then return it end
  if not context.set.mixture then
    errors.usage("the data set '%s' has no `mixture`: its flow map is not known", cfg.data)
  end
  it = { bench = M.new { set = context.set, interpolant = context.interpolant, sigma = cfg.sigma,
    points = n } }
  kept[context] = it
  return it
end

local UNCOUPLED = 16384 -- points of each side, where pairs are not close

-- The energy distance of samples whose sampler draws noise between its steps. Coupling to the ends
-- of trajectories cancels nothing there, so more points take its place: those of the data are the
-- same in all runs.
local function uncoupled_energy(samples, context)
  local n = math.min(UNCOUPLED, samples.shape[1])
  return metrics.energy(fm.cast(fm.slice(samples, 1, 1, n), "float32"),
    fm.cast(fm.slice(context.data(samples.shape[1]), 1, 1, n), "float32"))
end

local function measure_law(samples, context)
  local cfg = context.cfg
  local it = bench_of(samples, context).bench:ends(context.map, context.params, context.N,
    cfg.sampler)
  if cfg.sampler == "consistency" and context.N > 1 then
    it.energy = uncoupled_energy(samples, context)
  end
  return it
end

--- Metrics for the field `metrics` of an experiment, see flowmap.measure.measures. `map` gives the
-- numbers of Bench:measure, equal for all N, and keeps the errors in `map-error.npy`; `law` gives
-- those of Bench:ends.
M.metrics = {
  map = { head = "map", format = "%.2e", measure = function(samples, context)
    local it = bench_of(samples, context)
    if it.params ~= context.params then
      local numbers, cells = it.bench:measure(context.map, context.params)
      it.params, it.numbers = context.params, numbers
      context.keep("map-error", cells)
    end
    return it.numbers
  end },
  law = { head = "law", format = "%.2e", measure = measure_law },
}

--- The flow map of a formula v(s, t, x), in the form that the functions above take.
-- @tparam function v
-- @treturn function
function M.of_formula(v) return function() return Map.new(v) end end

return M
