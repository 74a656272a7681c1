--- Consistency training in continuous time, towards t = 1:
--
--     L(s) = | v_{s,1}(I_s) - sg(dI_s + (1-s) (d/ds v_{s,1} + grad v_{s,1} . dI_s)) |^2
-- @module flowmap.methods.ct-continuous

return {
  family = "eulerian", stops = { "target" }, velocity = "sample",
  times = "logit_normal_to_one", times_mean = { 0.41, 0 }, times_sd = { 2, 1 },
  eta = 0.0, sampler = "consistency",
  title = "Consistency training, continuous", cite = "Song et al. 2023, arXiv 2303.01469",
  differs = "a residual in v, without metric, and the law of times of iCT",
}
