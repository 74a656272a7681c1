--- Designs of two-level factors: full factorials and orthogonal fractions, and what they confound.
-- A design is a list of rows, one per cell, with -1 (low) or 1 (high) for each factor.
-- @module flowmap.design

local M = {}

--- All 2^k rows; the first factor changes fastest.
-- @tparam integer k factors
-- @treturn {{integer,...},...}
function M.factorial(k)
  local rows = {}
  for cell = 0, (1 << k) - 1 do
    local row = {}
    for j = 1, k do row[j] = (cell >> (j - 1)) & 1 == 1 and 1 or -1 end
    rows[cell + 1] = row
  end
  return rows
end

-- The first rows of the cyclic designs (Plackett and Burman 1946, Biometrika 33, 305-325).
local FIRST = {
  [8] = "+++-+--",
  [12] = "++-+++---+-",
  [20] = "++--++++-+-+----++-",
  [24] = "+++++-+-++--++--+-+----",
}

--- Plackett and Burman's orthogonal design: the cyclic shifts of one row, and a row of low levels.
-- Every factor is high in half of the rows, and every two factors take all four combinations
-- equally often.
-- @tparam integer n rows: 8, 12, 20 or 24
-- @tparam integer k factors, at most n - 1
-- @treturn {{integer,...},...} n rows; the last is low in every factor
function M.plackett_burman(n, k)
  local first, rows = assert(FIRST[n], "plackett_burman: 8, 12, 20 or 24 rows expected"), {}
  assert(k < n, "plackett_burman: fewer factors than rows expected")
  for i = 0, n - 1 do
    local row = {}
    for j = 0, k - 1 do
      local at = (j - i) % (n - 1) + 1
      row[j + 1] = i < n - 1 and first:sub(at, at) == "+" and 1 or -1
    end
    rows[i + 1] = row
  end
  return rows
end

--- The row with every level reversed.
-- @tparam {integer,...} row
-- @treturn {integer,...}
function M.mirror(row)
  local out = {}
  for j, level in ipairs(row) do out[j] = -level end
  return out
end

--- A design and the mirror images of its rows (fold-over). No main effect is then confounded with
-- an interaction of two factors, and in pairs of mirror images such interactions cancel.
-- @tparam {{integer,...},...} rows
-- @treturn {{integer,...},...} twice as many rows: each row is followed by its mirror image
function M.fold_over(rows)
  local out = {}
  for _, row in ipairs(rows) do
    out[#out + 1] = row
    out[#out + 1] = M.mirror(row)
  end
  return out
end

-- ------------------------------------------------------------------ confounding

--- The mean over the rows of the product of some factors: 0 if they are balanced.
-- @tparam {{integer,...},...} rows
-- @tparam {integer,...} factors
-- @treturn number from -1 to 1
function M.word(rows, factors)
  local sum = 0
  for _, row in ipairs(rows) do
    local product = 1
    for _, j in ipairs(factors) do product = product * row[j] end
    sum = sum + product
  end
  return sum / #rows
end

-- Visit all sets of `size` out of k factors, in order, until `visit` returns true.
local function each_set(k, size, visit)
  local function choose(chosen, from)
    if #chosen == size then return visit(chosen) end
    for j = from, k do
      chosen[#chosen + 1] = j
      if choose(chosen, j + 1) then return true end
      chosen[#chosen] = nil
    end
  end
  return choose({}, 1)
end

--- The resolution: the size of the smallest set of factors whose product is not balanced. At 3,
-- main effects are confounded with interactions of two factors; at 4, only such interactions are
-- with one another.
-- @tparam {{integer,...},...} rows
-- @treturn ?integer nil for a full factorial
function M.resolution(rows)
  local k = #rows[1]
  for size = 1, k do
    local found = each_set(k, size, function(set) return M.word(rows, set) ~= 0 end)
    if found then return size end
  end
end

--- Pairs of two-factor interactions that are confounded with one another.
-- @tparam {{integer,...},...} rows
-- @treturn {table,...} { { i, j }, { k, l }, correlation }
function M.aliases(rows)
  local out = {}
  each_set(#rows[1], 4, function(set)
    local correlation, a, b, c, d = M.word(rows, set), table.unpack(set)
    if correlation ~= 0 then
      for _, pairing in ipairs { { a, b, c, d }, { a, c, b, d }, { a, d, b, c } } do
        local i, j, k, l = table.unpack(pairing)
        out[#out + 1] = { { i, j }, { k, l }, correlation }
      end
    end
  end)
  return out
end

--- The settings of a cell.
-- @tparam {{table,table},...} levels of each factor: the settings of its low and high level
-- @tparam {integer,...} row
-- @tparam[opt] table more settings of the cell
-- @treturn table settings by key
function M.point(levels, row, more)
  local point = {}
  for key, value in pairs(more or {}) do point[key] = value end
  for j, of in ipairs(levels) do
    for key, value in pairs(of[row[j] < 0 and 1 or 2]) do point[key] = value end
  end
  return point
end

return M
