--- Consistency trajectory models: both ways to t are compared once a held map takes them to 1:
--
--     L(s,t) = | Z_{t,1}(X_{s,t}(I_s)) - sg(Z_{t,1}(Y_{u,t}(I_s + (u-s) w))) |^2
--
-- w is the mean velocity of a step of Heun's method, with a teacher's velocity, from s to u; Y is
-- the EMA, Z the current map, held fixed. The diagonal term is on the same samples.
-- @module flowmap.methods.ctm

return {
  family = "semigroup", stops = { "convex" }, velocity = "teacher", solver = "heun",
  compare = "end", target = "ema", target_decay = 0.999, args = { g = "uniform" },
  both_terms = true,
  taught_by = "fm", start = "teacher",
  title = "Consistency trajectory models (CTM)", cite = "Kim et al. 2024, arXiv 2310.02279",
  differs = "no adversarial and no perceptual term, both terms with weight 1; uniform times; one "
    .. "step of the solver in s, not up to 17 in the noise level",
}
