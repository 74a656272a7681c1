--- Easy consistency tuning, towards t = 1, from the noise level sigma to a lower one at u:
--
--     L(s) = pseudo-Huber of X_{s,1}(I_s) - sg(X_{u,1}(I_s + (u-s) dI_s)), times 1/sigma^2 + 4
--     sigma_u = sigma max(0, 1 - q^-k (1 + 8 / (1 + e^sigma)))
--
-- with q = 2 and k = 1, ..., 8 during training.
-- @module flowmap.methods.ect

return {
  family = "semigroup", stops = { "convex" }, velocity = "sample", form = "map",
  times = "noise_share", times_mean = { 0.41, 0 }, times_sd = { 2, 1 }, args = { g = 0.5 },
  curriculum = "shrinking", curriculum_span = { 0.5, 1 / 256 }, factor = "snr_plus",
  p = 0.5, c = 0.06, eta = 0.0, sampler = "consistency",
  title = "Easy consistency tuning (ECT)", cite = "Geng et al. 2024, arXiv 2406.14548",
  differs = "c is 0.06, where the authors' code has 0 as its default; no pretrained start",
}
