--- Groups of samples that share their times, and a distance between what two maps make of a group:
-- the maximum mean discrepancy (Gretton et al. 2012), on which inductive moment matching rests.
-- @module flowmap.groups

local fm = require "flowmap"

local M = {}

-- f(first row, rows, size of a group) for all full groups, then for the smaller one that is left
-- over, if any; the results are joined.
local function blocks(n, size, f)
  local whole, out = n // size * size, {}
  if whole > 0 then out[1] = f(1, whole, size) end
  if whole < n then out[#out + 1] = f(whole + 1, n - whole, n - whole) end
  return #out == 1 and out[1] or fm.concat(out, 1)
end

--- The number of values of a sample.
-- @param x (n, ...)
-- @treturn integer
function M.width(x)
  local count = 1
  for i = 2, #x.shape do count = count * x.shape[i] end
  return count
end

-- The rows of each group moved up by `shift`: (count, ...) -> (count, ...)
local function rolled(x, size, shift)
  if shift == 0 then return x end
  local flat = fm.reshape(x, { x.shape[1] // size, size, M.width(x) })
  return fm.reshape(fm.concat({ fm.slice(flat, 2, shift + 1, size - shift),
    fm.slice(flat, 2, 1, shift) }, 2), x.shape)
end

--- Values of which each sample takes that of the first one in its group.
-- @param x (n, 1)
-- @tparam integer size of a group; what is left over of n is a smaller group
-- @treturn tensor (n, 1)
function M.shared(x, size)
  return blocks(x.shape[1], size, function(first, count, of)
    local heads = fm.slice(fm.reshape(fm.slice(x, 1, first, count), { count // of, of }), 2, 1, 1)
    return fm.reshape(heads * fm.ones({ count // of, of }, x.dtype), { count, 1 })
  end)
end

--- The squared discrepancy of the particles x and y of each group, as one value per particle, whose
-- mean over the group it is:
--
--     (1/M) sum_j k(x_i, x_j) + k(y_i, y_j) - 2 k(x_i, y_j)
-- @param x (n, ...)
-- @param y (n, ...)
-- @tparam integer size M
-- @tparam function kernel (x - y of the pairs, first row) -> (rows)
-- @treturn tensor (n)
function M.discrepancy(x, y, size, kernel)
  return blocks(x.shape[1], size, function(first, count, of)
    local a, b = fm.slice(x, 1, first, count), fm.slice(y, 1, first, count)
    local sum
    for shift = 0, of - 1 do
      local a2, b2 = rolled(a, of, shift), rolled(b, of, shift)
      local k = kernel(a - a2, first) + kernel(b - b2, first) - 2 * kernel(a - b2, first)
      sum = sum and sum + k or k
    end
    return sum * (1 / of)
  end)
end

return M
