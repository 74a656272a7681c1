--- Consistency training on a grid of noise levels, from s to the next level u, towards t = 1:
--
--     L(s) = | X_{s,1}(I_s) - sg(X_{u,1}(I_s + (u-s) dI_s)) |^2
-- @module flowmap.methods.ct

return {
  family = "semigroup", stops = { "convex" }, velocity = "sample", form = "map",
  target = "ema", target_decay = 0.95, times = "noise_levels", args = { g = 0.5 }, eta = 0.0,
  title = "Consistency training (CT)", cite = "Song et al. 2023, arXiv 2303.01469",
  differs = "square distance, a constant number of levels, at least one diagonal sample",
}
