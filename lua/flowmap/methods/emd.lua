--- Eulerian map distillation:
--
--     L(s,t) = | d/ds X_{s,t}(I_s) + grad X_{s,t}(I_s) . b_s(I_s) |^2
--
-- b is the velocity of a frozen teacher.
-- @module flowmap.methods.emd

return {
  family = "eulerian", stops = { "none", "target" }, velocity = "teacher",
  taught_by = "fm", eta = 0.0,
  title = "Eulerian map distillation (EMD)",
  cite = "Boffi, Albergo, Vanden-Eijnden 2024, arXiv 2406.07507",
}
