--- The three residuals of a flow map. Every published method is a row of coordinates (a file of
-- flowmap.methods) that one of them reads:
--
--     Lagrangian  d/dt X_{s,t}(x) - w_t(X_{s,t}(x))
--     Eulerian    d/ds X_{s,t}(x) + grad X_{s,t}(x) . w_s(x)  =  -(v_{s,t}(x) - T),
--                 T = w_s(x) + (t-s) (d/ds v_{s,t}(x) + grad v_{s,t}(x) . w_s(x))
--     semigroup   v_{s,t}(x) - ((1-g) w_{s,u}(x) + g v_{u,t}(x + (u-s) w_{s,u}(x))),
--                 u = g s + (1-g) t
--
-- w is the network's own velocity, that of the sample, dI, or a teacher's. All three vanish on the
-- flow map of w (Boffi, Albergo, Vanden-Eijnden 2025, arXiv 2505.18825); for the semigroup this
-- holds if w_{s,u} is the map's own step, and up to O(u-s) if it is a step of an ODE solver.
-- @module flowmap.residuals

local fm = require "flowmap"
local column = require("flowmap.interpolants").column
local errors = require "flowmap.base.errors"
local groups = require "flowmap.groups"

local M = {}

--- |r|^2, summed over all but the first axis: (n, ...) -> (n)
-- @param r residuals
-- @treturn tensor
function M.norm2(r)
  local axes = {}
  for i = 2, #r.shape do axes[i - 1] = i end
  return fm.sum(fm.square(r), axes)
end

-- ------------------------------------------------------------------ stop-gradients

-- The loss being evaluated: { name =, stops = its declared choices or nil }.
local current

-- A choice that the loss does not declare would never stop a gradient.
local function check_declared(name)
  for _, declared in ipairs(current.stops) do
    if declared == name then return end
  end
  errors.usage("the loss '%s' stops a gradient at '%s', which is none of its stops: %s",
    current.name, tostring(name), table.concat(current.stops, ", "))
end

--- Stop the gradient through x if the choice is among those listed. Without a choice (the loss
-- declares none, or is called directly) the gradient is always stopped.
-- @tparam ?string choice the loss's `stop`
-- @param x a tensor
-- @param ... the choices at which the gradient stops
-- @treturn tensor
function M.stop_if(choice, x, ...)
  local stop = choice == nil or choice == "default"
  for _, name in ipairs { ... } do
    if current and current.stops then check_declared(name) end
    stop = stop or name == choice
  end
  return stop and fm.stop(x) or x
end

--- Evaluate a loss while `stop_if` checks its choices.
-- @tparam string name of the loss, for sentences
-- @tparam ?{string,...} stops the choices that it declares
-- @tparam function loss
-- @tparam table a its argument
-- @return all that the loss returned
function M.declared(name, stops, loss, a)
  local outer = current
  current = { name = name, stops = stops }
  local results = table.pack(errors.pcall(loss, a))
  current = outer
  if not results[1] then error(results[2], 0) end
  return table.unpack(results, 2, results.n)
end

--- The stop-gradients of each family. `convex`: the target and its arguments are constants
-- (Eulerian: only the velocity is). `full`: the product grad X . w is. `target`: all of T.
M.stops = {
  diagonal = { "none" },
  lagrangian = { "convex", "none" },
  eulerian = { "full", "convex", "none", "target" },
  semigroup = { "convex", "none" },
}

-- ------------------------------------------------------------------ the velocity

-- The map that targets read: that of other weights, if the run has some, else the trained one.
local function read_by_target(a) return a.target or a.map end

-- w_s(x), from the source that the method names.
local function velocity(a, source, time, x)
  if source == "sample" then return a.dx end -- at s alone
  if source == "teacher" and not a.teacher then
    errors.usage "the velocity is the teacher's, but there is none; set teacher to a checkpoint"
  end
  return (a.teacher or read_by_target(a)):b(time, x)
end

-- ------------------------------------------------------------------ the residuals

--- The residual of flow matching, on the diagonal s = t alone.
-- @tparam table a the argument of a loss, see flowmap.losses
-- @treturn tensor (n, ...)
function M.diagonal(a) return a.map:b(a.s, a.x) - a.dx end

--- The Lagrangian residual. With `trip` = "return" (Boffi et al. 2024) it is taken at the end of a
-- trip to t, y = X_{s,t}(x), along the way back, where the sample gives velocity and place:
-- d/ds X_{t,s}(y) - dI_s, and X_{t,s}(y) - I_s beside it.
-- @tparam table a the argument of a loss, see flowmap.losses
-- @tparam table how the coordinates: velocity =, trip =
-- @treturn tensor (n, ...)
function M.lagrangian(a, how)
  local X = a.map
  if how.trip == "return" then
    local back, d_s = X:dt(a.t, a.s, X(a.s, a.t, a.x))
    return fm.concat({ d_s - a.dx, back - a.x }, -1)
  end
  if how.velocity == "sample" then
    errors.usage "the velocity of a sample is known at I_s alone, not at X_{s,t}(I_s)"
  end
  local moved, d_t = X:dt(a.s, a.t, a.x)
  -- [eq:lagrangian] [eq:lsd]
  return d_t - M.stop_if(a.stop, velocity(a, how.velocity, a.t, moved), "convex")
end

-- v_{s,t}(x), and d/ds v + grad v . w
local function along(X, a, w)
  return fm.jvp(function(at) return X.v(at.s, a.t, at.x) end, { s = a.s, x = a.x },
    { s = fm.ones(a.s.shape, a.s.dtype), x = w })
end

-- v - sg(T). `tangent` names the direction of the derivative, if it is not w itself.
local function to_target(a, how, w)
  local X, Y = a.map, read_by_target(a)
  local direction = how.tangent and velocity(a, how.tangent, a.s, a.x) or w
  local v, D = along(Y, a, fm.stop(direction))
  if Y ~= X then v = X.v(a.s, a.t, a.x) end
  local warm = a.fed and a.fed.tangent -- from 0 to 1 in the first steps
  if warm then D = warm * D end
  return v - fm.stop(w + column(a.t - a.s, a.x) * D)
end

-- Whether the whole advection term is a target, which may then read other weights.
local function stops_all(stop) return stop == nil or stop == "default" or stop == "full" end

--- The Eulerian residual; with stop `target` in the form v - sg(T), which is minus the same.
-- @tparam table a the argument of a loss, see flowmap.losses
-- @tparam table how the coordinates: velocity =, tangent =
-- @treturn tensor (n, ...)
function M.eulerian(a, how)
  local X = a.map
  if a.stop == "target" then return to_target(a, how, velocity(a, how.velocity, a.s, a.x)) end
  local _, d_s = X:ds(a.s, a.t, a.x)
  local w = M.stop_if(a.stop, velocity(a, how.velocity, a.s, a.x), "convex") -- [eq:esd-convex]
  local of = stops_all(a.stop) and read_by_target(a) or X
  local _, advection = of:dx(a.s, a.t, a.x, w)
  return d_s + M.stop_if(a.stop, advection, "full") -- [eq:eulerian] [eq:esd]
end

-- One step of an ODE solver from s to u, as a mean velocity.
local function solved(a, how, u)
  local w = velocity(a, how.velocity, a.s, a.x)
  if how.solver ~= "heun" then return w end
  return 0.5 * (w + velocity(a, how.velocity, u, a.x + column(u - a.s, a.x) * w))
end

-- The time u: as the law of times drew it, or by g.
local function between(a) return a.u or a.g * a.s + (1 - a.g) * a.t end

-- The mean velocity from s to t by way of u.
local function by_way(a, how)
  local Y, s, t, x, g = read_by_target(a), a.s, a.t, a.x, a.g
  local u = between(a)
  if a.u then g = (t - u) / fm.maximum(t - s, 1e-12) end
  local w = type(g) == "number" and g or column(g, x)
  -- [eq:semigroup]
  if how.velocity == "self" then return (1 - w) * Y.v(s, u, x) + w * Y.v(u, t, Y(s, u, x)) end
  local first = solved(a, how, u)
  return (1 - w) * first + w * Y.v(u, t, x + column(u - s, x) * first)
end

-- Where g is 1 and the step from s to u is empty, the limit of the target for u -> s: that of the
-- Eulerian residual.
local function with_limit(a, how, target)
  local w = velocity(a, how.velocity, a.s, a.x)
  local _, D = along(read_by_target(a), a, fm.stop(w))
  local empty = column(1 - fm.lt(a.g, 1), a.x)
  return target + empty * (w + column(a.t - a.s, a.x) * D - target)
end

-- The points X_{s,t}(x), and the same by way of u, which may be a target.
local function points(a, target)
  local there = a.x + column(a.t - a.s, a.x) * target
  return a.map(a.s, a.t, a.x), M.stop_if(a.stop, there, "convex")
end

--- The semigroup residual. `form` = "map" multiplies it by t - s, which makes it a difference of
-- points; with `compare` = "end" both points are carried on to time 1 by the held map first. With
-- `limit` a draw g = 1 gives the residual v - T of the Eulerian family. With `compare` = "groups"
-- both points are returned, which are particles of two distributions.
-- @tparam table a the argument of a loss, see flowmap.losses; g, or u itself, (n, 1)
-- @tparam table how the coordinates: velocity =, solver =, form =, compare =, limit =
-- @treturn tensor (n, ...)
-- @treturn ?tensor (n, ...)
function M.semigroup(a, how)
  local X, s, t, x = a.map, a.s, a.t, a.x
  local target = by_way(a, how)
  if how.limit and fm.is_tensor(a.g) then target = with_limit(a, how, target) end
  if how.compare == "groups" then return points(a, target) end
  if how.compare == "end" then
    local one, Z = fm.ones(t.shape, t.dtype), a.held or read_by_target(a)
    local there = x + column(t - s, x) * target
    return Z(t, one, X(s, t, x)) - M.stop_if(a.stop, Z(t, one, there), "convex")
  end
  local r = X.v(s, t, x) - M.stop_if(a.stop, target, "convex") -- [eq:psd]
  return how.form == "map" and column(t - s, x) * r or r
end

-- ------------------------------------------------------------------ weights

-- (2/pi) (1-s) cot(pi/2 (1-s)): from time to the angle of `trig` (Lu, Song 2025, arXiv 2410.11081).
local function angle(a)
  local tau = math.pi / 2 * fm.maximum(1 - a.s, 1e-6)
  return (2 / math.pi) ^ 2 * tau * fm.cos(tau) / fm.sin(tau)
end

-- (1-s)^2 max(1, SNR), with the ratio SNR of signal to noise (Salimans, Ho 2022, arXiv 2202.00512).
local function truncated_snr(a)
  local sigma = a.cfg and a.cfg.sigma or 1
  return fm.maximum(fm.square(1 - a.s), fm.square(a.s / sigma))
end

local DEVIATION = 0.5 -- of the data, where noise levels are counted as in Karras et al. 2022

-- sigma of a time on the linear interpolant.
local function noise(s) return DEVIATION * (1 - s) / s end

-- 1 over the step in sigma (Song, Dhariwal 2024, arXiv 2310.14189).
local function inverse_noise_step(a) return 1 / (noise(a.s) - noise(between(a))) end

-- 1/sigma^2 + 1/deviation^2 (Karras et al. 2022, arXiv 2206.00364; Geng et al. 2024).
local function snr_plus(a) return 1 / fm.square(noise(a.s)) + 1 / DEVIATION ^ 2 end

-- The part of the step from s to u, 1 - g, and 1 where that is empty (Zhang et al. 2025, arXiv
-- 2510.20771).
local function first_part(a)
  if type(a.g) == "number" then return 1 - a.g end
  return fm.where(fm.lt(a.g, 1), 1 - a.g, 1)
end

-- Half the slope of the log-SNR in s, which is 2/(s (1-s)), times sigmoid(5 - log-SNR) and
-- s/(s^2 + (1-s)^2) (Zhou, Ermon, Song 2025, arXiv 2503.07565, a = 1, b = 5).
local function elbo_slope(a)
  local s, r = a.s, fm.maximum(1 - a.s, 1e-6)
  return fm.sigmoid(5 - 2 * fm.log(s / r)) / (r * (fm.square(s) + fm.square(r)))
end

--- Weights that a row may name: function(a) -> number or (n, 1). Its `weight` is that of the
-- squared residual L, its `factor` that of R_p(L).
M.weights = { angle = angle, truncated_snr = truncated_snr, first_part = first_part,
  inverse_noise_step = inverse_noise_step, snr_plus = snr_plus, elbo_slope = elbo_slope }

--- The named weight times L, (n).
-- @tparam ?string name one of `weights`; nil: 1
-- @tparam table a the argument of a loss, see flowmap.losses
-- @param L (n)
-- @treturn tensor
function M.weighted(name, a, L)
  if not name then return L end
  local weight = M.weights[name](a)
  return type(weight) == "number" and weight * L or fm.reshape(weight, { #L }) * L
end

-- ------------------------------------------------------------------ kernels

local NEAREST = 1e-8 -- distance, below which the Laplace kernel is flat

-- exp(-|d| / ((t-s) sigma D)), D values per sample.
local function laplace(a, d, first)
  local n = d.shape[1]
  local scale = fm.maximum(fm.slice(a.t - a.s, 1, first, n), 1e-6)
    * ((a.cfg and a.cfg.sigma or 1) * groups.width(d))
  local length = fm.sqrt(fm.maximum(M.norm2(d), NEAREST ^ 2))
  return fm.exp(-1 * length / fm.reshape(scale, { n }))
end

-- -|d|^2, by which a group of one particle is a squared residual: L = 2 |x - y|^2.
local function square(_, d) return -1 * M.norm2(d) end

--- Kernels that a row may name: function(a, x - y of the pairs, their first row) -> (rows)
M.kernels = { laplace = laplace, square = square }

-- The loss of a residual, or of two points in each group.
local function loss_of(how, a, r, other)
  if not other then return M.norm2(r) end
  local kernel = M.kernels[how.kernel or "laplace"]
  return groups.discrepancy(r, other, a.cfg and a.cfg.particles or how.particles or 4,
    function(d, first) return kernel(a, d, first) end)
end

-- ------------------------------------------------------------------ a row as a loss

-- The coordinates that settings may change.
local CHANGEABLE = { "velocity" }

-- The row with what the settings say.
local function coordinates(row, cfg)
  local how = setmetatable({ velocity = row.velocity or "self" }, { __index = row })
  for _, key in ipairs(cfg and CHANGEABLE or {}) do how[key] = cfg[key] or how[key] end
  return how
end

--- The loss of a method that is given as data.
-- @tparam table row see flowmap.methods
-- @treturn function (a) -> one value per sample, (n)
function M.loss(row)
  local residual = M[row.family]
  return function(a)
    local how = coordinates(row, a.cfg)
    return M.weighted(row.weight, a, loss_of(how, a, residual(a, how)))
  end
end

--- An even function of the residual that limits the influence of large ones, from L = |r|^2:
--
--     R_p(L) = c^2 ((1 + L/c^2)^{1-p} - 1) / (1-p),    R_1(L) = c^2 log(1 + L/c^2)
--
-- Its gradient is (1 + L/c^2)^{-p} times that of L: up to the factor c^{2p} that of the weight
-- sg(L + c^2)^{-p} L of Geng et al. 2025 (arXiv 2505.13447). p = 0: L itself. p = 1/2: twice c
-- times the pseudo-Huber loss sqrt(L + c^2) - c. p = 1: Cauchy's (Black and Anandan 1996).
-- @param L squared residuals, (n)
-- @tparam number p from 0 to 1
-- @tparam number c scale of the residuals, above 0 where p > 0
-- @treturn tensor
function M.bounded(L, p, c)
  if p == 0 then return L end
  if p == 1 then return fm.log(L / (c * c) + 1) * (c * c) end
  return (fm.pow(L / (c * c) + 1, 1 - p) - 1) * (c * c / (1 - p))
end

return M
