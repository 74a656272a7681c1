--- Progressive distillation: the student's step is two steps of the student before, Y:
--
--     L(s,t) = (1-s)^2 max(1, SNR) | v_{s,t}(I_s) - T |^2
--     T      = (Y.v_{s,u}(I_s) + Y.v_{u,t}(Y_{s,u}(I_s))) / 2
--
-- with u the midpoint and SNR = (s / ((1-s) sigma))^2; sigma is the base's standard deviation.
-- A student makes N steps from i/N to (i+1)/N. It starts from the weights of its teacher, the
-- student of 2N steps; the teacher of the first is flow matching with steps of Euler's method.
-- @module flowmap.methods.pd

return {
  family = "semigroup", stops = { "convex" }, target = "frozen", args = { g = 0.5 },
  weight = "truncated_snr", times = "steps", eta = 0.0,
  taught_by = "fm", halves = true, start = "teacher",
  title = "Progressive distillation (PD)", cite = "Salimans, Ho 2022, arXiv 2202.00512",
  differs = "the interpolant is linear, where theirs is trigonometric: DDIM is then Euler's method",
}
