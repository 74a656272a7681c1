--- Progressive distillation: the student's step is two steps of the student before, Y:
--
--     L(s,t) = (1-s)^2 max(1, SNR) | v_{s,t}(I_s) - T |^2
--     T      = (Y.v_{s,u}(I_s) + Y.v_{u,t}(Y_{s,u}(I_s))) / 2
--
-- with u the midpoint and SNR = (s / ((1-s) sigma))^2; sigma is the base's standard deviation.
-- @module flowmap.methods.pd

return {
  family = "semigroup", stops = { "convex" }, target = "frozen", args = { g = 0.5 },
  weight = "truncated_snr", times = "dyadic", eta = 0.0,
  title = "Progressive distillation (PD)", cite = "Salimans, Ho 2022, arXiv 2202.00512",
  differs = "one round of all dyadic step sizes; at least one diagonal sample",
}
