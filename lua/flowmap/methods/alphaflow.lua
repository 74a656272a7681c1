--- Alpha-Flow: the semigroup whose first part, of length a (t-s), is an Euler step of dI_s:
--
--     L(s,t) = a R_p(| v_{s,t}(I_s) - sg(a dI_s + (1-a) v_{u,t}(I_s + (u-s) dI_s)) |^2)
--
-- with u = s + a (t-s) and g = 1 - a. a falls from 1 (a regression of v_{s,t} on dI_s, "trajectory
-- flow matching") to 0. At 0 the residual is its limit, that of MeanFlow, and the factor is 1.
-- @module flowmap.methods.alphaflow

return {
  family = "semigroup", stops = { "convex" }, velocity = "sample", args = { g = 0.9 },
  limit = "eulerian", factor = "first_part", curriculum = "sigmoid", curriculum_span = { 0, 1 },
  times = "logit_normal", times_mean = { 0.4, 0.4 }, times_sd = { 1, 1 },
  times_diagonal = "logit_normal",
  p = 1, c = 0.1, p_diagonal = true, eta = 0.5,
  title = "Alpha-Flow", cite = "Zhang et al. 2025, arXiv 2510.20771",
  differs = "c is that of MeanFlow, where the authors' c^2 is 0.001 per value; eta is that of "
    .. "their training without guidance (with it, 0.25 or 0.5); targets are not clipped; no "
    .. "guidance",
}
