--- Inductive moment matching: the semigroup in distribution. In groups of M samples that share s, u
-- and t, the discrepancy of the points x = X_{s,t}(I_s) and y = sg(X_{u,t}(I_s + (u-s) dI_s)):
--
--     L(s,t) = w(s) / M^2 sum over i, j of k(x_i, x_j) + k(y_i, y_j) - 2 k(x_i, y_j)
--     k(x,y) = exp(-|x - y| / ((t-s) sigma d)),   d the number of values of a sample
--
-- The noise ratio (1-u)/u is less than that of s by 160/N, unless that leads beyond t.
-- @module flowmap.methods.imm

return {
  family = "semigroup", stops = { "convex" }, velocity = "sample", args = { g = 0.5 },
  compare = "groups", kernel = "laplace", particles = 4, weight = "elbo_slope",
  times = "noise_ratio", levels = 32768, eta = 0.0,
  title = "Inductive moment matching (IMM)", cite = "Zhou, Ermon, Song 2025, arXiv 2503.07565",
  differs = "a smaller group where 4 does not divide a micro-batch; no least gap between s and u; "
    .. "constants as in others' transcriptions for CIFAR-10",
}
