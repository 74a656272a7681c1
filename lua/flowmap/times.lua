--- Distributions of the times (s, t), s <= t, of the off-diagonal term.
-- Each takes two columns of independent U[0,1] draws, (n, 1), and returns s and t.
-- @module flowmap.times

local fm = require "flowmap"

local M = {}

--- Names of the distributions.
M.names = { "uniform", "to_one", "from_zero", "dyadic" }

--- s and t are the smaller and the larger draw: uniform on the triangle.
function M.uniform(a, b)
  return fm.minimum(a, b), fm.maximum(a, b)
end

--- Consistency models: every point goes to the end of its trajectory.
function M.to_one(a)
  return a, fm.ones(a.shape, a.dtype)
end

--- One-step generators: every trajectory starts at the base.
function M.from_zero(_, b)
  return fm.zeros(b.shape, b.dtype), b
end

--- Shortcut models: step sizes h = 1, 1/2, ..., 1/128, each as likely, and s a multiple of h.
function M.dyadic(a, b)
  local h = fm.exp(fm.floor(a * 8) * -math.log(2))
  local s = fm.floor(b / h) * h
  return s, fm.minimum(s + h, 1)
end

return M
