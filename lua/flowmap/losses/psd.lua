--- Progressive self-distillation, the semigroup property written in v, with u = g s + (1-g) t:
--
--     L(s,t) = | v_{s,t}(I_s) - T |^2,   T = (1-g) v_{s,u}(I_s) + g v_{u,t}(X_{s,u}(I_s))
--
-- psd-m: g = 1/2, the midpoint. psd-u: g ~ U[0,1].
-- stop-gradient `convex`: T is sg. `none`: no sg.
-- Boffi, Albergo, Vanden-Eijnden 2025 (arXiv 2505.18825), semigroup characterisation.
-- @module flowmap.losses.psd

local losses = require "flowmap.losses"
local column = require("flowmap.interpolants").column

local function psd(a)
  local X, s, t, x, g = a.map, a.s, a.t, a.x, a.g
  local u = g * s + (1 - g) * t
  local w = type(g) == "number" and g or column(g, x)
  local target = (1 - w) * X.v(s, u, x) + w * X.v(u, t, X(s, u, x))
  return losses.norm2(X.v(s, t, x) - losses.stop_if(a.stop, target, "convex"))
end

return { loss = psd, stops = { "convex", "none" }, variants = {
  m = { g = 0.5 },
  u = { g = "uniform" },
} }
