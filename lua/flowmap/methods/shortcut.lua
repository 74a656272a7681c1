--- Shortcut models: PSD-M on a dyadic grid, with the EMA as target Y:
--
--     L(s,t) = | v_{s,t}(I_s) - sg(T) |^2
--     T      = (Y.v_{s,u}(I_s) + Y.v_{u,t}(Y_{s,u}(I_s))) / 2,   u = (s + t) / 2
-- @module flowmap.methods.shortcut

return {
  family = "semigroup", stops = { "convex" }, target = "ema", target_decay = 0.999,
  times = "dyadic", times_diagonal = "grid", args = { g = 0.5 }, eta = 0.875,
  title = "Shortcut models", cite = "Frans, Hafner, Levine, Abbeel 2025, arXiv 2410.12557",
  differs = "flow matching has t - s = 0, not 1/128; targets are not clipped",
}
