--- Checks that the properties a data set declares of its law agree with its samples: `sd`, `mass`,
-- `inside` and `range` are compared with many draws. A transposed `mass` or a wrong `sd` would
-- raise no error by itself but would falsify every number of a run.
-- @module flowmap.measure.law

local data = require "flowmap.data"
local errors = require "flowmap.base.errors"
local fm = require "flowmap"
local metrics = require "flowmap.measure.metrics"
local returned = require "flowmap.base.returned"

local M = {}

local DRAWS, SEED = 65536, 7919
local BINS = { 64, 8 }   -- per axis, in one and two dimensions
local FAR = 6            -- standard deviations of a count, or of chi-squared, taken for a mistake
local STRAY = 0.05       -- greatest fraction of samples outside the support or the grid
local TORN = 0.01        -- greatest sum of the differences between the masses of two grids
local SD_ERROR = 0.1     -- greatest relative error of sd

local function check_sd(set, x, who)
  local measured = data.sd(x)
  if math.abs(measured / set.sd - 1) > SD_ERROR then
    errors.usage("%s: sd is %.4g, but %d draws have the standard deviation %.4g", who, set.sd,
      DRAWS, measured)
  end
end

-- Check that `inside` returns true or false and accepts the samples.
local function check_inside(set, x, who)
  local first = fm.slice(x, 1, 1, 1):flat()
  local answer = set.inside(table.unpack(first, 1, set.dim))
  if type(answer) ~= "boolean" then
    errors.usage("%s: inside returned %s, expected true or false", who, returned.describe(answer))
  end
  local stray = metrics.outside(x, set)
  if stray > STRAY then
    errors.usage("%s: inside says that %.0f %% of the set's own samples are outside its support",
      who, 100 * stray)
  end
end

-- The corners of a cell; cells are numbered from 1.
local function box_of(set, bins, cell)
  local low, high = table.unpack(set.range or { -1, 1 })
  local h, i, j = (high - low) / bins, (cell - 1) % bins, (cell - 1) // bins
  local box = { i * h + low, (i + 1) * h + low }
  if set.dim == 2 then box[3], box[4] = j * h + low, (j + 1) * h + low end
  return box
end

local function cell_text(set, bins, cell)
  if cell == bins ^ set.dim + 1 then return "outside the grid" end
  local box = box_of(set, bins, cell)
  local text = ("in [%g, %g]"):format(box[1], box[2])
  return set.dim == 2 and text .. (" x [%g, %g]"):format(box[3], box[4]) or text
end

-- Where `mass` is 0, `inside` must not be true everywhere in the cell.
local function check_empty(set, bins, cell, who)
  if not set.inside or cell > bins ^ set.dim then return end
  local box, hits, tries = box_of(set, bins, cell), 0, 0
  for _, u in ipairs { 0.25, 0.5, 0.75 } do
    for _, v in ipairs(set.dim == 2 and { 0.25, 0.5, 0.75 } or { 0 }) do
      local x = box[1] + u * (box[2] - box[1])
      local y = set.dim == 2 and box[3] + v * (box[4] - box[3]) or nil
      tries = tries + 1
      if set.inside(x, y) then hits = hits + 1 end
    end
  end
  if hits == tries then
    errors.usage("%s: mass is 0 %s, but inside says that the support is there", who,
      cell_text(set, bins, cell))
  end
end

-- Compare the count of a cell with its mass. Returns the cell's contribution to chi-squared, or nil
-- if its expected count is too small.
local function check_cell(p, count, n, where, who)
  local expected = p * n
  local deviation = math.sqrt(math.max(expected * (1 - p), 1))
  if math.abs(count - expected) > FAR * deviation + 0.002 * expected + 2 then
    errors.usage("%s: mass gives the probability %.4g %s, but %.4g of %d draws are there", who, p,
      where, count / n, n)
  end
  return expected >= 5 and (count - expected) ^ 2 / expected or nil
end

local function check_mass(set, x, who)
  local bins, n = BINS[set.dim], x.shape[1]
  local p, rest = metrics.masses(set, bins)
  if rest < -1e-3 then
    errors.usage("%s: the masses of the %d cells of the grid add up to %.4f, expected at most 1",
      who, #p - 1, 1 - rest)
  end
  local count, chi, cells = metrics.histogram(x, bins, set), 0, 0
  for cell, mass in ipairs(p) do
    local part = check_cell(mass, count[cell], n, cell_text(set, bins, cell), who)
    if part then chi, cells = chi + part, cells + 1 end
    if mass == 0 then check_empty(set, bins, cell, who) end
  end
  local freedom = math.max(1, cells - 1)
  if chi > freedom + FAR * math.sqrt(2 * freedom) + 0.05 * freedom then
    errors.usage("%s: mass does not agree with the samples: chi-squared of %d draws in %d cells is "
      .. "%.0f, expected about %d", who, n, cells, chi, freedom)
  end
  if count[#p] > STRAY * n then
    errors.usage("%s: %.0f %% of the samples are outside the grid of KL, [%g, %g] in each "
      .. "coordinate; declare range = { low, high }", who, 100 * count[#p] / n,
      table.unpack(set.range or { -1, 1 }))
  end
end

-- The greatest common divisor.
local function gcd(a, b) return b == 0 and a or gcd(b, a % b) end

-- The cell of a coarse grid that contains a cell of a finer grid.
local function coarser(cell, bins, by, few)
  return (cell - 1) // bins // by * few + (cell - 1) % bins // by + 1
end

--- Check that the masses of a run's grid add up to those of the coarse grid that `check` compared
-- with samples.
-- @tparam table set
-- @tparam string name
-- @tparam {number,...} masses what metrics.masses returned
-- @tparam integer bins
function M.check_grid(set, name, masses, bins)
  local few = gcd(bins, BINS[set.dim])
  local coarse, sums, apart = metrics.masses(set, few), {}, 0
  for cell = 1, #coarse do sums[cell] = 0 end
  for cell = 1, #masses - 1 do
    local at = coarser(cell, bins, bins // few, few)
    sums[at] = sums[at] + masses[cell]
  end
  sums[#coarse] = masses[#masses]
  for cell, mass in ipairs(coarse) do apart = apart + math.abs(mass - sums[cell]) end
  if apart > TORN then
    errors.usage("the data set '%s': the masses of %d bins per axis, added up to %d, differ by "
      .. "%.4f from the masses of %d: mass is not the probability of a box", name, bins, few, apart,
      few)
  end
end

--- Compare the properties that a data set of points declares with its samples.
-- @tparam table set
-- @tparam string name
function M.check(set, name)
  local who = ("the data set '%s'"):format(name)
  local x = data.draw(set, DRAWS, SEED)
  if not x:finite() then errors.usage("%s drew a number that is not finite", who) end
  if set.sd then check_sd(set, x, who) end
  if set.inside then check_inside(set, x, who) end
  if set.mass then check_mass(set, x, who) end
end

return M
