--- Eulerian self-distillation:
--
--     L(s,t) = | d/ds X_{s,t}(I_s) + A |^2,   A = grad X_{s,t}(I_s) . v_{s,s}(I_s)
--
-- stop-gradient `full`: A is sg. `convex`: only v_{s,s} is sg. `none`: no sg.
-- With `teacher` (a frozen map) its velocity stands in for v: map distillation
-- (Boffi et al. 2024, arXiv 2406.07507).
-- Boffi, Albergo, Vanden-Eijnden 2025 (arXiv 2505.18825), Eulerian characterisation.
-- @module flowmap.losses.esd

local losses = require "flowmap.losses"

local function esd(a)
  local X = a.map
  local _, d_s = X:ds(a.s, a.t, a.x)
  local b = losses.stop_if(a.stop, (a.teacher or X):b(a.s, a.x), "convex")
  local _, advection = X:dx(a.s, a.t, a.x, b)
  return losses.norm2(d_s + losses.stop_if(a.stop, advection, "full"))
end

return { loss = esd, stops = { "full", "convex", "none" }, teacher = true }
