--- Lagrangian self-distillation:
--
--     L(s,t) = | d/dt X_{s,t}(I_s) - T |^2,   T = v_{t,t}(X_{s,t}(I_s))
--
-- stop-gradient `convex`: T (with its argument) is sg. `none`: no sg.
-- With `teacher` (a frozen map) its velocity stands in for v: map distillation
-- (Boffi et al. 2024, arXiv 2406.07507).
-- @module flowmap.methods.lsd

return {
  family = "lagrangian", stops = { "convex", "none" },
  title = "Lagrangian self-distillation (LSD)",
  cite = "Boffi, Albergo, Vanden-Eijnden 2025, arXiv 2505.18825, Lagrangian characterisation",
}
