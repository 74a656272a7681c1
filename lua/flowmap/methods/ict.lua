--- Improved consistency training, towards t = 1, with u = s + (1-s) / 20 and no EMA:
--
--     L(s) = pseudo-Huber of X_{s,1}(I_s) - sg(X_{u,1}(I_s + (u-s) dI_s))
-- @module flowmap.methods.ict

return {
  family = "semigroup", stops = { "convex" }, velocity = "sample", form = "map",
  times = "logit_normal_to_one", times_mean = { 0.41, 0 }, times_sd = { 2, 1 },
  args = { g = 0.95 }, p = 0.5, c = 0.03, eta = 0.0,
  title = "Improved consistency training (iCT)", cite = "Song, Dhariwal 2024, arXiv 2310.14189",
  differs = "u by a constant fraction, not a grid that is refined; at least one diagonal sample",
}
