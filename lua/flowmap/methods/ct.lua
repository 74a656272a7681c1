--- Consistency training on a grid of N noise levels, from s to the next level u, towards t = 1:
--
--     L(s) = | X_{s,1}(I_s) - sg(Y_{u,1}(I_s + (u-s) dI_s)) |^2
--
-- Y is the EMA of decay mu. N rises from 2 to 151 during training, mu = 0.9^(2 / (N-1)) with it:
-- the constants for CIFAR-10, in the form of the authors' code; the publication has N for N-1.
-- @module flowmap.methods.ct

return {
  family = "semigroup", stops = { "convex" }, velocity = "sample", form = "map",
  target = "ema", target_decay = 0.9, times = "noise_levels", args = { g = 0.5 },
  eta = 0.0, sampler = "consistency",
  curriculum = "root", curriculum_span = { 2, 150 },
  title = "Consistency training (CT)", cite = "Song et al. 2023, arXiv 2303.01469",
  differs = "square distance",
}
