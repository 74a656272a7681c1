--- Effects of two-level factors on the results of designed sets of runs, within seeds: runs of one
-- seed share initial weights, data and times, so what a seed does to all of them cancels.
--
-- A cell is { seed =, row = { -1 or 1 per factor }, value = nil where the run was lost }.
-- @module flowmap.measure.effects

local paired = require "flowmap.measure.paired"
local stats = require "flowmap.measure.stats"
local tree = require "flowmap.tree"

local M = {}

-- ------------------------------------------------------------------ effects and their signs

-- An effect is a name, a function of a row, and the number of cells that it needs: the mean over
-- the cells of sign 1, less that over the cells of sign -1.

local function product(set)
  return function(row)
    local sign = 1
    for _, j in ipairs(set) do sign = sign * row[j] end
    return sign
  end
end

-- 1 where exactly the factors of `high` are high, -1 where none is.
local function against_none(high)
  return function(row)
    local all, none = true, true
    for j, level in ipairs(row) do
      if (level > 0) ~= (high[j] == true) then all = false end
      if level > 0 then none = false end
    end
    return all and 1 or none and -1 or 0
  end
end

--- Each factor alone, and all together, against the cell in which all are low.
-- @tparam {string,...} names of the factors
-- @treturn {table,...} effects { name =, sign =, needs = 2 }
function M.alone(names)
  local out, every = {}, {}
  for j, name in ipairs(names) do
    out[j] = { name = name .. " alone", sign = against_none { [j] = true }, needs = 2 }
    every[j] = true
  end
  out[#out + 1] = { name = "all together", sign = against_none(every), needs = 2 }
  return out
end

--- Main effects, and interactions of up to `order` factors: averages over the levels of the others.
-- @tparam {string,...} names of the factors
-- @tparam[opt=1] integer order
-- @treturn {table,...} effects { name =, sign =, factors =, needs = all cells }, the main effects
--   first
function M.factorial(names, order)
  local out, set = {}, {}
  local function choose(size, from)
    if #set == size then
      local words, factors = {}, table.move(set, 1, size, 1, {})
      for i, j in ipairs(factors) do words[i] = names[j] end
      out[#out + 1] = { name = table.concat(words, " x "), sign = product(factors),
        factors = factors, needs = 1 << #names }
      return
    end
    for j = from, #names do
      set[#set + 1] = j
      choose(size, j + 1)
      set[#set] = nil
    end
  end
  for size = 1, order or 1 do choose(size, 1) end
  return out
end

-- ------------------------------------------------------------------ one value per seed

--- An effect within each seed: { seed = value }, without the seeds of which a cell was lost or is
-- missing. That holds also where every seed lacks the same cell: the means of what is left would
-- confound the effect with others.
-- @tparam {table,...} cells
-- @tparam table effect
-- @treturn table seed -> number
-- @treturn integer the number of seeds left out
-- @treturn boolean whether a cell of one of them was lost
function M.contrasts(cells, effect)
  local sums, any_lost = {}, false
  for _, cell in ipairs(cells) do
    local sign = effect.sign(cell.row)
    local of = sums[cell.seed] or { n = 0, [-1] = { n = 0, sum = 0 }, [1] = { n = 0, sum = 0 } }
    sums[cell.seed] = of
    if sign ~= 0 and cell.value then
      of.n, of[sign].n, of[sign].sum = of.n + 1, of[sign].n + 1, of[sign].sum + cell.value
    end
    any_lost = any_lost or sign ~= 0 and not cell.value
  end
  local values, lost = {}, 0
  for seed, of in pairs(sums) do
    if of.n == effect.needs then
      values[seed] = of[1].sum / of[1].n - of[-1].sum / of[-1].n
    else
      lost = lost + 1
    end
  end
  return values, lost, any_lost
end

--- Mean, 95 % t interval and sign-flip p of one value per seed.
-- @tparam table values seed -> number
-- @treturn ?table see stats.summary, with p=, draws= and smallest= as in paired.difference; nil
--   without values
function M.of_seeds(values)
  local list = {}
  for i, seed in ipairs(tree.keys(values)) do list[i] = values[seed] end
  if #list == 0 then return nil end
  local out = stats.summary(list)
  out.p, out.draws = paired.sign_flip(list)
  out.smallest = paired.smallest_p(#list)
  return out
end

-- ------------------------------------------------------------------ pairs of mirror images

-- Whether every level of one row is the opposite of the other's.
local function are_mirrored(a, b)
  for j, level in ipairs(a) do
    if b[j] ~= -level then return false end
  end
  return true
end

--- The differences between mirror-image cells of each seed: { x = row, d = value at row minus value
-- at its mirror image }. Means, data sets and interactions of two factors cancel in them. A seed
-- whose cells are not one such pair is left out.
-- @tparam {table,...} cells two per seed
-- @treturn {table,...} pairs, in the order of the seeds
-- @treturn integer the number of seeds left out
function M.mirrored(cells)
  local of_seed, out, lost = {}, {}, 0
  for _, cell in ipairs(cells) do
    of_seed[cell.seed] = of_seed[cell.seed] or {}
    table.insert(of_seed[cell.seed], cell)
  end
  for _, seed in ipairs(tree.keys(of_seed)) do
    local a, b, more = table.unpack(of_seed[seed])
    if b and not more and are_mirrored(a.row, b.row) and a.value and b.value then
      out[#out + 1] = { x = a.row, d = a.value - b.value }
    else
      lost = lost + 1
    end
  end
  return out, lost
end

-- The inverse of a symmetric positive matrix by elimination; nil if it is singular.
local function inverse(a)
  local n, b = #a, {}
  for i = 1, n do
    b[i] = {}
    for j = 1, n do b[i][j] = i == j and 1 or 0 end
  end
  for i = 1, n do
    local pivot = a[i][i]
    if pivot < 1e-9 then return nil end
    for j = 1, n do a[i][j], b[i][j] = a[i][j] / pivot, b[i][j] / pivot end
    for r = 1, n do
      local f = r ~= i and a[r][i] or 0
      for j = 1, n do a[r][j], b[r][j] = a[r][j] - f * a[i][j], b[r][j] - f * b[i][j] end
    end
  end
  return b
end

-- Least squares: the estimates, the inverse of X'X, and the residual variance.
local function solve(pairs_of, k)
  local xx, xd = {}, {}
  for i = 1, k do
    xx[i], xd[i] = {}, 0
    for j = 1, k do
      xx[i][j] = 0
      for _, pair in ipairs(pairs_of) do xx[i][j] = xx[i][j] + pair.x[i] * pair.x[j] end
    end
    for _, pair in ipairs(pairs_of) do xd[i] = xd[i] + pair.x[i] * pair.d end
  end
  local inv, e, squares = inverse(xx), {}, 0
  if not inv then return nil end
  for i = 1, k do
    e[i] = 0
    for j = 1, k do e[i] = e[i] + inv[i][j] * xd[j] end
  end
  for _, pair in ipairs(pairs_of) do
    local rest = pair.d
    for i = 1, k do rest = rest - e[i] * pair.x[i] end
    squares = squares + rest * rest
  end
  return e, inv, squares / (#pairs_of - k)
end

--- Main effects of all factors together by least squares, d = sum of x_j e_j + noise, with t
-- intervals and t tests.
-- @tparam {table,...} pairs_of what `mirrored` returns
-- @treturn ?{table,...} per factor { mean =, half =, n =, sd = of the noise, df =, p = }; nil if
--   there are not more pairs than factors, or not enough different ones
function M.fit(pairs_of)
  local k = pairs_of[1] and #pairs_of[1].x or 0
  local df = #pairs_of - k
  if k == 0 or df < 1 then return nil end
  local e, inv, variance = solve(pairs_of, k)
  if not e then return nil end
  local out, quantile = {}, stats.t_quantile(df)
  for j = 1, k do
    local error_of = math.sqrt(variance * inv[j][j])
    out[j] = { mean = e[j], half = quantile * error_of, n = #pairs_of, sd = math.sqrt(variance),
      df = df, p = error_of > 0 and stats.t_p(e[j] / error_of, df) or e[j] == 0 and 1 or 0 }
  end
  return out
end

-- ------------------------------------------------------------------ spread

--- The standard deviation over seeds within a cell, pooled over the cells with two or more seeds.
-- @tparam {{number,...},...} groups the values of each cell
-- @treturn ?number nil without such a cell
-- @treturn integer degrees of freedom
function M.spread(groups)
  local squares, df = 0, 0
  for _, values in ipairs(groups) do
    if #values > 1 then
      local it = stats.summary(values)
      squares, df = squares + it.sd ^ 2 * (it.n - 1), df + it.n - 1
    end
  end
  return df > 0 and math.sqrt(squares / df) or nil, df
end

return M
