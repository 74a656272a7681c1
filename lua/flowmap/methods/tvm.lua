--- Terminal velocity matching: LSD whose target velocity is that of the EMA, Y:
--
--     L(s,t) = | d/dt X_{s,t}(I_s) - sg(Y.v_{t,t}(X_{s,t}(I_s))) |^2
--
-- and the diagonal term on the same samples, at a time of its own.
-- @module flowmap.methods.tvm

return {
  family = "lagrangian", stops = { "convex" }, target = "ema", target_decay = 0.99,
  times = "gap_normal", times_mean = { -0.8, 0.4 }, times_sd = { 1, 1 },
  both_terms = true, times_diagonal = "logit_normal",
  title = "Terminal velocity matching (TVM)", cite = "Zhou et al. 2025, arXiv 2511.19797",
  differs = "a time t below the gap is raised to it, not drawn from a truncated law; no guidance",
}
