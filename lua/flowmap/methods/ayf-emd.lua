--- Align your flow, Eulerian: MeanFlow's target with the velocity b of a teacher:
--
--     L(s,t) = | v_{s,t}(I_s) - sg(b_s + (t-s) (d/ds v_{s,t} + grad v_{s,t} . b_s)) |^2
--
-- passed through the pseudo-Huber loss, where the publication normalises the tangent. The
-- derivative's part rises from 0 in the first fortieth of training.
-- @module flowmap.methods.ayf-emd

return {
  family = "eulerian", stops = { "target" }, velocity = "teacher",
  times = "gap", times_mean = { -0.8, 0 }, times_sd = { 1, 1 }, p = 0.5, c = 0.1, eta = 0.0,
  tangent_warmup = 0.025,
  taught_by = "fm", start = "teacher",
  title = "Align your flow, Eulerian (AYF-EMD)",
  cite = "Sabour, Fidler, Kreis 2025, arXiv 2506.14603",
  differs = "no autoguidance; others' transcriptions of Algorithm 1 end the warm-up at 0.99 and do "
    .. "not agree on the law's constants; no training code of the authors was found",
}
