--- Eulerian self-distillation:
--
--     L(s,t) = | d/ds X_{s,t}(I_s) + A |^2,   A = grad X_{s,t}(I_s) . v_{s,s}(I_s)
--
-- stop-gradient `full`: A is sg. `convex`: only v_{s,s} is sg. `none`: no sg.
-- With `teacher` (a frozen map) its velocity stands in for v: map distillation
-- (Boffi et al. 2024, arXiv 2406.07507).
-- @module flowmap.methods.esd

return {
  family = "eulerian", stops = { "full", "convex", "none" },
  title = "Eulerian self-distillation (ESD)",
  cite = "Boffi, Albergo, Vanden-Eijnden 2025, arXiv 2505.18825, Eulerian characterisation",
}
