--- Distributions of the times (s, t) of the off-diagonal term; s <= t, except in `both_orders`.
-- Each takes two columns of independent U[0,1] draws, (n, 1), and returns s and t, (n, 1), whatever
-- the shape of the data; losses are given them in the form that broadcasts against their data.
-- A law may also return u, a time between them through which a method then passes. The third
-- argument is the run's settings.
-- @module flowmap.times

local fm = require "flowmap"
local registry = require "flowmap.base.registry"
local tree = require "flowmap.tree"

local M = {}

--- s and t are the smaller and the larger draw: uniform on the triangle.
function M.uniform(a, b)
  return fm.minimum(a, b), fm.maximum(a, b) -- [eq:times]
end

--- Consistency models: every point is mapped to the end of its trajectory.
function M.to_one(a)
  return a, fm.ones(a.shape, a.dtype)
end

--- One-step generators: every trajectory starts at the base.
function M.from_zero(_, b)
  return fm.zeros(b.shape, b.dtype), b
end

--- Shortcut models: step sizes h = 1, 1/2, ..., 1/64, equally likely, and s a multiple of h. Their
-- halves end at 1/128, the step of flow matching.
function M.dyadic(a, b)
  local h = fm.exp(fm.floor(a * 7) * -math.log(2))
  local s = fm.floor(b / h) * h
  return s, fm.minimum(s + h, 1)
end

--- Progressive distillation: the steps [i/N, (i+1)/N] of a student with N = student_steps, equally
-- likely.
function M.steps(a, _, cfg)
  local N = cfg and cfg.student_steps or 1
  local i = fm.floor(a * N)
  return i / N, (i + 1) / N
end

-- A step [k/N, (k+1)/N] of the sampler, from a draw of U[0,1]: its start and its length. N is one
-- of the first `many` powers of two, equally likely.
local function sampler_step(a, many)
  local level = fm.floor(a * many)
  local h = fm.exp(level * -math.log(2))
  return fm.floor((a * many - level) / h) * h, h
end

-- Half of the draws from the first distribution, half from the second.
local function halves(first, second)
  return function(a, c)
    local s1, t1 = first(a * 2, c)
    local s2, t2 = second(fm.maximum(a * 2 - 1, 0), c)
    local low = fm.lt(a, 0.5)
    return fm.where(low, s1, s2), fm.where(low, t1, t2)
  end
end

-- Whole steps of the sampler.
local function whole(many)
  return function(a)
    local s, h = sampler_step(a, many)
    return s, fm.minimum(s + h, 1)
  end
end

-- Steps of the sampler with N = 1 and 2: from the start to a time within, or from it to the end.
local one_or_two = whole(2)

local function starts(a, c)
  local s, t = one_or_two(a)
  return s, fm.minimum(s + (t - s) * c, t)
end

local function ends(a, c)
  local s, t = one_or_two(a)
  return fm.minimum(s + (t - s) * c, t), t
end

-- Steps of the sampler: a third whole, a third from the start to a time within, a third from there
-- to the end. Each of the three characterisations can be learned from these alone.
local function parts(a, c)
  local start, h = sampler_step(a, 5)
  local kind = fm.floor(c * 3)
  local within = c * 3 - kind
  local zero, one = fm.zeros(c.shape, c.dtype), fm.ones(c.shape, c.dtype)
  local s = start + h * fm.where(fm.lt(kind, 1.5), zero, within)
  return s, fm.minimum(start + h * fm.where(fm.eq(kind, 1), within, one), 1)
end

--- Half uniform, half whole steps of the sampler with N = 1, 2, 4, 8, 16. Uniform draws are rarely
-- near (0, 1), the corner of the triangle on which a one-step sample depends.
M.half_steps = halves(M.uniform, whole(5))

--- Half uniform, half parts of those steps: whole, from their start, or to their end.
M.half_parts = halves(M.uniform, parts)

--- Half uniform, half whole steps of the sampler with N = 1, 2 and 4: the long ones only.
M.half_long = halves(M.uniform, whole(3))

--- Half uniform, half parts of the steps with N = 1 and 2 that share their start (half_starts) or
-- their end (half_ends). The Lagrangian property relates only maps from the same s, the Eulerian
-- property only maps to the same t; samples of one and two steps depend on no others.
M.half_starts = halves(M.uniform, starts)
M.half_ends = halves(M.uniform, ends)

-- ------------------------------------------------------------------ normal laws

-- Two independent standard normals from two uniforms (Box, Muller 1958).
local function normals(a, c)
  local radius = fm.sqrt(-2 * fm.log(1 - a))
  return radius * fm.cos(2 * math.pi * c), radius * fm.sin(2 * math.pi * c)
end

-- Two logit-normal variates. The settings times_mean and times_sd hold the parameters of both.
local function logit_normals(a, c, cfg)
  local mean, sd = cfg and cfg.times_mean or { 0, 0 }, cfg and cfg.times_sd or { 1, 1 }
  local first, second = normals(a, c)
  return fm.sigmoid(mean[1] + sd[1] * first), fm.sigmoid(mean[2] + sd[2] * second)
end

--- MeanFlow: two logit-normal variates, sorted.
function M.logit_normal(a, c, cfg)
  local first, second = logit_normals(a, c, cfg)
  return fm.minimum(first, second), fm.maximum(first, second)
end

--- Continuous consistency models: s logit-normal, t = 1.
function M.logit_normal_to_one(a, c, cfg)
  return logit_normals(a, c, cfg), fm.ones(a.shape, a.dtype)
end

-- The arc tangent of y > 0: two steps of a method of third order.
local function arctangent(y)
  local x = math.pi / 2 * y / (1 + y)
  for _ = 1, 2 do
    local sin, cos = fm.sin(x), fm.cos(x)
    x = x + (y * cos - sin) / (cos + y * sin)
  end
  return x
end

--- Simplified consistency models: the angle pi/2 (1-s) of the interpolant `trig` has a log-normal
-- tangent; t = 1.
function M.angle_normal(a, c, cfg)
  local mean, sd = cfg and cfg.times_mean[1] or 0, cfg and cfg.times_sd[1] or 1
  local angle = arctangent(fm.exp(mean + sd * normals(a, c)))
  return 1 - angle * (2 / math.pi), fm.ones(a.shape, a.dtype)
end

--- Align your flow: the gap t - s is logit-normal, t uniform between it and 1.
function M.gap(a, c, cfg)
  local coarse = fm.floor(c * 4096) -- the upper bits of c give the gap, the lower ones t
  local gap = logit_normals(a, coarse / 4096, cfg)
  local t = gap + (1 - gap) * (c * 4096 - coarse)
  return fm.maximum(t - gap, 0), t
end

--- Terminal velocity matching: the gap t - s and t are logit-normal, where t is at least the gap.
function M.gap_normal(a, c, cfg)
  local gap, t = logit_normals(a, c, cfg)
  t = fm.maximum(t, gap)
  return t - gap, t
end

--- The whole square: s > t as often as s < t.
function M.square(a, c) return a, c end

local LOWEST, HIGHEST, RHO, DEVIATION = 0.002, 80, 7, 0.5 -- sigma's bounds; of the data

-- The time of noise level k of 0, ..., many - 1, from most to least noise (Karras et al. 2022).
local function level(k, many)
  local low, high = LOWEST ^ (1 / RHO), HIGHEST ^ (1 / RHO)
  return DEVIATION / (DEVIATION + fm.pow(high + k * ((low - high) / (many - 1)), RHO))
end

--- Consistency models in steps: s on a grid of noise levels, t = 1; the third value is the next
-- level u. The last step ends at 1.
function M.noise_levels(a, _, cfg)
  local many = cfg and cfg.levels or 18
  local k = fm.floor(a * (many - 1))
  local one = fm.ones(a.shape, a.dtype)
  return level(k, many), one, fm.where(fm.lt(k, many - 2), level(k + 1, many), one)
end

local function noise_of(s) return DEVIATION * (1 - s) / s end
local function time_of(sigma) return DEVIATION / (DEVIATION + sigma) end

--- Improved consistency models: as noise_levels, but the step is that of the grid within which a
-- log-normal noise level lies; the few that lie outside of the grid take its first or last step.
function M.noise_levels_normal(a, c, cfg)
  local many = cfg and cfg.levels or 18
  local low, high = LOWEST ^ (1 / RHO), HIGHEST ^ (1 / RHO)
  local sigma = noise_of((logit_normals(a, c, cfg)))
  local place = (fm.pow(sigma, 1 / RHO) - high) * (1 / (low - high)) * (many - 1)
  local k = fm.maximum(fm.minimum(fm.floor(place), many - 2), 0)
  local one = fm.ones(a.shape, a.dtype)
  return level(k, many), one, fm.where(fm.lt(k, many - 2), level(k + 1, many), one)
end

--- Easy consistency tuning: s logit-normal, t = 1, and u where the noise level sigma is lower by
-- the part `share` (1 + 8 / (1 + e^sigma)) of it, at most the whole.
function M.noise_share(a, c, cfg)
  local s = logit_normals(a, c, cfg)
  local sigma = noise_of(s)
  local part = (1 + 8 * fm.sigmoid(-1 * sigma)) * (cfg and cfg.share or 0.25)
  return s, fm.ones(a.shape, a.dtype), time_of(sigma * fm.maximum(1 - part, 0))
end

local MOST, RATIO = 0.994, 160 -- of inductive moment matching: noise part 1 - s, and (1-s)/s

--- Inductive moment matching: s uniform from 0.006 to 1, t from s to 1, and u where the noise ratio
-- (1-u)/u is lower than that of s by 160/N, N = `levels`, but not beyond t.
function M.noise_ratio(a, c, cfg)
  local s = 1 - MOST * a
  local t = s + (1 - s) * c
  local ratio = (1 - s) / s - RATIO / (cfg and cfg.levels or 32768)
  return s, t, fm.minimum(1 / (1 + fm.maximum(ratio, 0)), t)
end

--- Names of the distributions.
M.names = tree.keys(M)

--- The laws that draw s > t as well.
M.both_orders = { square = true }

--- The laws that read the settings times_mean and times_sd, `levels`, and `share`.
M.with_moments = { logit_normal = true, logit_normal_to_one = true, gap = true, gap_normal = true,
  noise_levels_normal = true, noise_share = true, angle_normal = true }
M.with_levels = { noise_levels = true, noise_levels_normal = true, noise_ratio = true }
M.with_share = { noise_share = true }

--- The laws that read student_steps.
M.with_students = { steps = true }

--- The times of the diagonal term: functions (a, c, cfg, law of (s,t)) -> t. `start`: the law's s,
-- as where some rows of a batch have t replaced by s. `logit_normal`: the law's second variate.
-- `grid`: multiples of 1/128, as in shortcut models.
M.diagonal = {
  uniform = function(a) return a end,
  grid = function(a) return fm.floor(a * 128) / 128 end,
  start = function(a, c, cfg, law) return (law(a, c, cfg)) end,
  logit_normal = function(a, c, cfg) return select(2, logit_normals(a, c, cfg)) end,
}

-- Those of an experiment are such functions as well, (a, c, cfg) -> s, t [, u].
registry.of_module(M, { what = "law of times", field = "times", plain = "function",
  needs = { "new" } })

return M
