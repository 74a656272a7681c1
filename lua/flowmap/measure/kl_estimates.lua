--- The same samples, other estimates of KL(data || model): how much a value depends on the
-- estimator rather than on the model.
--
-- `grid32`, `grid128`: another number of cells, see flowmap.measure.metrics; `n25k`, `n100k`: the
-- grid of the run with the first so many samples; `knn`: by nearest neighbours, without a grid,
-- from n points x_i of the data and n samples y_j (Wang, Kulkarni, Verdu 2009),
--
--     KL ~ d/n sum_i log(nu_k(x_i) / rho_k(x_i)) + log(n / (n-1))
--
-- where n is a sixteenth of the samples and at most 8192, rho_k is the distance to the k-th
-- nearest of the other points of the data, and nu_k that to the k-th nearest sample. NAME_floor is
-- the value for true samples in place of the model's.
-- @module flowmap.measure.kl_estimates

local data = require "flowmap.data"
local fm = require "flowmap"
local metrics = require "flowmap.measure.metrics"
local neighbours = require "flowmap.measure.neighbours"
local tree = require "flowmap.tree"

local M = {}

local GRIDS = { grid32 = 32, grid128 = 128 }             -- cells per axis
local FEW = { n25k = 25000, n100k = 100000 }             -- samples
local POINTS, LEAST, NEIGHBOURS = 8192, 64, 5            -- of knn
local SEED = 32452843                                    -- of knn's data, other than the floor's

local function first_rows(x, count) return fm.slice(x, 1, 1, math.min(count, x.shape[1])) end

--- KL(p || q) by nearest neighbours. Points that coincide have no distance and are left out.
-- @param x points of p, (n, d)
-- @param y points of q, (m, d)
-- @tparam[opt=5] integer k neighbours
-- @treturn number
function M.knn(x, y, k)
  k = k or NEIGHBOURS
  local n, m, d = x.shape[1], y.shape[1], x.shape[2]
  local rho = neighbours.balls(x, { k })["k" .. k]:flat()
  local nu = neighbours.kth(x, y, k):flat()
  local sum, count = 0, 0
  for i = 1, n do
    if rho[i] > 0 and nu[i] > 0 then
      sum, count = sum + 0.5 * math.log(nu[i] / rho[i]), count + 1 -- squared distances
    end
  end
  return d * sum / math.max(1, count) + math.log(m / (n - 1))
end

-- All estimates from samples, by name; in the same order on all ranks, which share each of them.
local function estimates(x, of)
  local found = {}
  for _, name in ipairs(tree.keys(GRIDS)) do
    local bins = GRIDS[name]
    found[name] = metrics.kl(of.masses[bins], metrics.histogram(x, bins, of.set))
  end
  for _, name in ipairs(tree.keys(FEW)) do
    local few = metrics.histogram(first_rows(x, FEW[name]), of.bins, of.set)
    found[name] = metrics.kl(of.masses[of.bins], few)
  end
  found.knn = M.knn(of.points, first_rows(x, of.points.shape[1]))
  return found
end

local Estimator = {}
Estimator.__index = Estimator

--- The parts that do not depend on the model: masses of the grids, points of the data, floors.
-- @tparam table set a data set with `mass`, of dimension 1 or 2
-- @tparam integer bins of the run's own grid
-- @param truth true samples, as many as there will be of the model
-- @treturn Estimator
function M.new(set, bins, truth)
  local count = math.min(POINTS, math.max(LEAST, truth.shape[1] // 16))
  local self = setmetatable({ set = set, bins = bins, masses = {},
    points = data.draw(set, count, SEED) }, Estimator)
  for _, b in ipairs { bins, GRIDS.grid32, GRIDS.grid128 } do
    self.masses[b] = metrics.masses(set, b)
  end
  self.floors = estimates(truth, self)
  return self
end

--- Add the estimates kl_by_NAME and kl_by_NAME_floor to a row of results.
-- @param x samples, (n, d)
-- @tparam table row
function Estimator:add(x, row)
  for name, value in pairs(estimates(x, self)) do
    row["kl_by_" .. name] = value
    row["kl_by_" .. name .. "_floor"] = self.floors[name]
  end
end

return M
