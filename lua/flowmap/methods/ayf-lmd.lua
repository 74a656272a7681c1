--- Align your flow, Lagrangian, with the velocity b of a teacher:
--
--     L(s,t) = | d/dt X_{s,t}(I_s) - sg(b_t(X_{s,t}(I_s))) |^2
-- @module flowmap.methods.ayf-lmd

return {
  family = "lagrangian", stops = { "convex" }, velocity = "teacher",
  times = "gap", times_mean = { -0.8, 0 }, times_sd = { 1, 1 }, eta = 0.0,
  taught_by = "fm", start = "teacher",
  title = "Align your flow, Lagrangian (AYF-LMD)",
  cite = "Sabour, Fidler, Kreis 2025, arXiv 2506.14603",
  differs = "no autoguidance",
}
