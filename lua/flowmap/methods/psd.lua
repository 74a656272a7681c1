--- Progressive self-distillation, the semigroup property written in v, with u = g s + (1-g) t:
--
--     L(s,t) = | v_{s,t}(I_s) - T |^2,   T = (1-g) v_{s,u}(I_s) + g v_{u,t}(X_{s,u}(I_s))
--
-- psd-m: g = 1/2, the midpoint. psd-u: g ~ U[0,1].
-- stop-gradient `convex`: T is sg. `none`: no sg.
-- @module flowmap.methods.psd

return {
  family = "semigroup", stops = { "convex", "none" },
  variants = { m = { g = 0.5 }, u = { g = "uniform" } },
  title = "Progressive self-distillation (PSD)",
  cite = "Boffi, Albergo, Vanden-Eijnden 2025, arXiv 2505.18825, semigroup characterisation",
}
