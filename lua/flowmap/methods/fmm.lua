--- Flow map matching, on the way back from y = X_{s,t}(I_s), for s < t and for s > t:
--
--     L(s,t) = | d/ds X_{t,s}(y) - dI_s |^2 + | X_{t,s}(y) - I_s |^2
-- @module flowmap.methods.fmm

return {
  family = "lagrangian", stops = { "none" }, velocity = "sample", trip = "return",
  times = "square", eta = 0.0,
  title = "Flow map matching (FMM)",
  cite = "Boffi, Albergo, Vanden-Eijnden 2024, arXiv 2406.07507",
}
