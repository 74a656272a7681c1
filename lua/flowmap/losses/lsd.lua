--- Lagrangian self-distillation:
--
--     L(s,t) = | d/dt X_{s,t}(I_s) - T |^2,   T = v_{t,t}(X_{s,t}(I_s))
--
-- stop-gradient `convex`: T (with its argument) is sg. `none`: no sg.
-- With `teacher` (a frozen map) its velocity stands in for v: map distillation
-- (Boffi et al. 2024, arXiv 2406.07507).
-- Boffi, Albergo, Vanden-Eijnden 2025 (arXiv 2505.18825), Lagrangian characterisation.
-- @module flowmap.losses.lsd

local losses = require "flowmap.losses"

local function lsd(a)
  local X = a.map
  local moved, d_t = X:dt(a.s, a.t, a.x)
  local target = losses.stop_if(a.stop, (a.teacher or X):b(a.t, moved), "convex")
  return losses.norm2(d_t - target)
end

return { loss = lsd, stops = { "convex", "none" }, teacher = true }
