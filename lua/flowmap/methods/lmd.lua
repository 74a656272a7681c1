--- Lagrangian map distillation:
--
--     L(s,t) = | d/dt X_{s,t}(I_s) - b_t(X_{s,t}(I_s)) |^2
--
-- b is the velocity of a frozen teacher; the gradient passes through its argument.
-- @module flowmap.methods.lmd

return {
  family = "lagrangian", stops = { "none", "convex" }, velocity = "teacher",
  taught_by = "fm", eta = 0.0,
  title = "Lagrangian map distillation (LMD)",
  cite = "Boffi, Albergo, Vanden-Eijnden 2024, arXiv 2406.07507",
}
