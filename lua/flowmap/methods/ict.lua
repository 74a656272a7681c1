--- Improved consistency training on a grid of N noise levels sigma, from s to the next level u,
-- towards t = 1, without an EMA:
--
--     L(s) = pseudo-Huber of X_{s,1}(I_s) - sg(X_{u,1}(I_s + (u-s) dI_s)), over sigma_s - sigma_u
--
-- N - 1 doubles from 10 to 1280 during training.
-- @module flowmap.methods.ict

return {
  family = "semigroup", stops = { "convex" }, velocity = "sample", form = "map",
  times = "noise_levels_normal", times_mean = { 0.41, 0 }, times_sd = { 2, 1 }, args = { g = 0.5 },
  curriculum = "doubling", curriculum_span = { 10, 1280 }, factor = "inverse_noise_step",
  p = 0.5, c = 0.03, eta = 0.0, sampler = "consistency",
  title = "Improved consistency training (iCT)", cite = "Song, Dhariwal 2024, arXiv 2310.14189",
  differs = "c is that of CIFAR-10, 0.00054 sqrt(3072)",
}
