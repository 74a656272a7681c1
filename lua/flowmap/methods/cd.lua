--- Consistency distillation on a grid of noise levels, with a step of Heun's method:
--
--     L(s) = | X_{s,1}(I_s) - sg(Y_{u,1}(I_s + (u-s) w)) |^2
--     w    = (b_s(I_s) + b_u(I_s + (u-s) b_s(I_s))) / 2
--
-- b is the velocity of a frozen teacher, Y the EMA. 40 levels and the decay 0.95 are the authors'
-- for ImageNet 64x64; for CIFAR-10 they have 18 levels and no average. A step of Heun's method
-- depends on the variable that counts as time; one of Euler's, which is DDIM, does not.
-- @module flowmap.methods.cd

return {
  family = "semigroup", stops = { "convex" }, velocity = "teacher", solver = "heun", form = "map",
  target = "ema", target_decay = 0.95, times = "noise_levels", levels = 40, args = { g = 0.5 },
  eta = 0.0, sampler = "consistency",
  taught_by = "fm", start = "teacher",
  title = "Consistency distillation (CD)", cite = "Song et al. 2023, arXiv 2303.01469",
  differs = "square distance; the step of Heun's method is one in s, not in the noise level",
}
