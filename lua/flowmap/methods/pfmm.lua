--- Progressive flow map matching, with a frozen map Y and the midpoint u = (s + t) / 2:
--
--     L(s,t) = | X_{s,t}(I_s) - Y_{u,t}(Y_{s,u}(I_s)) |^2
-- @module flowmap.methods.pfmm

return {
  family = "semigroup", stops = { "convex" }, target = "frozen", form = "map", args = { g = 0.5 },
  taught_by = "fmm", eta = 0.0,
  title = "Progressive flow map matching (PFMM)",
  cite = "Boffi, Albergo, Vanden-Eijnden 2024, arXiv 2406.07507",
}
