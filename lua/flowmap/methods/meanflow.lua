--- MeanFlow, the Eulerian residual as a regression of the mean velocity:
--
--     L(s,t) = | v_{s,t}(I_s) - sg(dI_s + (t-s) (d/ds v_{s,t} + grad v_{s,t} . dI_s)) |^2
--
-- with the weight sg(L + c^2)^-p on all samples.
-- @module flowmap.methods.meanflow

return {
  family = "eulerian", stops = { "target" }, velocity = "sample",
  times = "logit_normal", times_mean = { 0.4, 0.4 }, times_sd = { 1, 1 }, times_diagonal = "start",
  p = 1, c = 0.1, p_diagonal = true, eta = 0.75,
  title = "MeanFlow",
  cite = "Geng, Deng, Bai, Kolter, He 2025, arXiv 2505.13447", differs = "no guidance",
}
