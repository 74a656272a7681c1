--- Flow matching, the diagonal term s = t:
--
--     L(t) = | v_{t,t}(I_t) - dI_t |^2
--
-- Boffi, Albergo, Vanden-Eijnden 2025 (arXiv 2505.18825), tangent condition.
-- @module flowmap.losses.diagonal

local losses = require "flowmap.losses"

--- |v_{t,t}(I_t) - dI_t|^2, one value per sample.
-- @tparam table a the argument table of losses: see flowmap.losses
-- @treturn tensor (n)
local function diagonal(a)
  return losses.norm2(a.map:b(a.t, a.x) - a.dx) -- [eq:diagonal]
end

return { loss = diagonal, stops = { "default" } }
