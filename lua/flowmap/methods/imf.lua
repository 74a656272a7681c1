--- Improved MeanFlow: a regression on dI, whose derivative is along the network's own velocity:
--
--     L(s,t) = | v_{s,t}(I_s) - dI_s - (t-s) sg(d/ds v_{s,t} + grad v_{s,t} . v_{s,s}(I_s)) |^2
--
-- with the weight sg(L + c^2)^-p on all samples.
-- @module flowmap.methods.imf

return {
  family = "eulerian", stops = { "target" }, velocity = "sample", tangent = "self",
  times = "logit_normal", times_mean = { 0.4, 0.4 }, times_sd = { 1, 1 }, times_diagonal = "start",
  p = 1, c = 0.1, p_diagonal = true, eta = 0.5,
  title = "Improved MeanFlow (iMF)", cite = "Geng et al. 2025, arXiv 2512.02012",
  differs = "the velocity is the network's own v_{s,s}, not that of a second head; no guidance",
}
