--- Simplified continuous-time consistency distillation: sCT with a teacher's velocity b:
--
--     L(s) = w(s) | v_{s,1}(I_s) - sg(b_s + (1-s) (d/ds v_{s,1} + grad v_{s,1} . b_s)) |^2
--
-- with w = (2/pi) (1-s) cot(pi/2 (1-s)), which comes from the angle as time. The derivative's part
-- rises from 0 in the first fortieth of training, which is 10,000 of 400,000 steps.
-- @module flowmap.methods.scd

return {
  family = "eulerian", stops = { "target" }, velocity = "teacher", interpolant = "trig",
  times = "angle_normal", times_mean = { -0.31, 0 }, times_sd = { 1.4, 1 }, tangent_warmup = 0.025,
  weight = "angle", p = 0.5, c = 0.1, eta = 0.0, sampler = "consistency",
  taught_by = "fm", start = "teacher",
  title = "Simplified consistency distillation (sCD)", cite = "Lu, Song 2025, arXiv 2410.11081",
  differs = "pseudo-Huber for the normalised tangent, no learned weight; warm-up of the "
    .. "derivative of v, not of the angle's network",
}
