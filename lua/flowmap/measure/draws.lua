--- Random numbers for statistics: Monte Carlo tests, bootstraps, and simulations of both. They come
-- from the core's counter-based generator and are keyed by seed and stream, so an interval or a p
-- that is computed again is the same number.
-- @module flowmap.measure.draws

local fm = require "flowmap"

local M = {}

local BLOCK = 4096

local function generator(make, seed, stream)
  local block, at, step = {}, BLOCK, 0
  return function()
    if at == BLOCK then
      block = make({ BLOCK }, { seed = seed, stream = stream, step = step,
        dtype = "float64" }):flat()
      at, step = 0, step + 1
    end
    at = at + 1
    return block[at]
  end
end

--- A generator of uniform numbers in [0, 1).
-- @tparam integer seed
-- @tparam string stream
-- @treturn function each call returns the next number
function M.uniform(seed, stream) return generator(fm.uniform, seed, stream) end

--- A generator of standard normal numbers.
-- @tparam integer seed
-- @tparam string stream
-- @treturn function each call returns the next number
function M.normal(seed, stream) return generator(fm.normal, seed, stream) end

return M
