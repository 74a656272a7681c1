--- Easy consistency tuning, towards t = 1, with u = s + (1-s) / 50:
--
--     L(s) = pseudo-Huber of X_{s,1}(I_s) - sg(X_{u,1}(I_s + (u-s) dI_s))
-- @module flowmap.methods.ect

return {
  family = "semigroup", stops = { "convex" }, velocity = "sample", form = "map",
  times = "logit_normal_to_one", times_mean = { 0.41, 0 }, times_sd = { 2, 1 },
  args = { g = 0.98 }, p = 0.5, c = 0.06, eta = 0.0,
  title = "Easy consistency tuning (ECT)", cite = "Geng et al. 2024, arXiv 2406.14548",
  differs = "u by a constant fraction, no pretrained start; at least one diagonal sample",
}
