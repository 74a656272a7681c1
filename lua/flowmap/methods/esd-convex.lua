--- Eulerian self-distillation with the stop-gradient on the velocity alone:
--
--     L(s,t) = | d/ds X_{s,t}(I_s) + grad X_{s,t}(I_s) . sg(v_{s,s}(I_s)) |^2
--
-- A method name of its own, so that a study can hold both forms of ESD at once.
-- @module flowmap.methods.esd-convex

return {
  family = "eulerian", stops = { "convex" },
  title = "Eulerian self-distillation, stop-gradient on the velocity alone (ESD convex)",
  cite = "Boffi, Albergo, Vanden-Eijnden 2025, arXiv 2505.18825, Eulerian characterisation",
  differs = "the publication stops the gradient through all of grad X . v: esd",
}
