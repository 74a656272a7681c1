--- Before the first step of a run: everything that the training, the evaluation and the rendering
-- will need is tried on few samples, so that nothing fails hours later. User's own functions are
-- called and what they return is checked; laws are compared with their samples.
-- @module flowmap.runs.rehearse

local effect = require "flowmap.experiment.effect"
local errors = require "flowmap.base.errors"
local evaluate = require "flowmap.measure.evaluate"
local fm = require "flowmap"
local interpolants = require "flowmap.interpolants"
local law = require "flowmap.measure.law"
local returned = require "flowmap.base.returned"
local sampler = require "flowmap.sampler"
local source = require "flowmap.runs.source"
local step = require "flowmap.step"

local M = {}

-- ------------------------------------------------------------------ times and interpolants

-- 0 <= s <= t <= 1 for many draws.
local function check_times(job)
  local u = fm.uniform({ 4096, 2 }, { seed = 1, stream = "rehearsal of times" })
  local a, c = fm.slice(u, 2, 1, 1), fm.slice(u, 2, 2, 1)
  local s, t = job.times(a, c)
  local who = ("the law of times '%s'"):format(job.cfg.times)
  for k = 1, 2 do
    returned.tensor(({ s, t })[k], who, a.shape, a.dtype, "s and t, each one per sample")
  end
  s, t = s:flat(), t:flat()
  for i = 1, #s do
    if not (0 <= s[i] and s[i] <= t[i] and t[i] <= 1) then
      errors.usage("%s drew s = %.6g, t = %.6g; expected 0 <= s <= t <= 1", who, s[i], t[i])
    end
  end
end

-- Whether a number lies within a distance of another; one that is not finite does not.
local function near(x, expected, bound) return x == x and math.abs(x - expected) <= bound end

local POINTS = 1024 -- times at which an interpolant is looked at

local ENDS = { alpha = { 1, 0 }, beta = { 0, 1 } }

-- A coefficient at times, and its derivative as the training takes it.
local function coefficient(f, times)
  return fm.jvp(f, times, fm.ones(times.shape, times.dtype))
end

-- alpha from 1 to 0, beta from 0 to 1, and derivatives that are those of the values.
local function check_coefficient(it, name, who)
  local f = it[name]
  local function at(values) return fm.reshape(fm.tensor(values, "float64"), { #values, 1 }) end
  local who_name = ("%s: %s"):format(who, name)
  local ends = returned.tensor(f(at { 0, 1 }), who_name, { 2, 1 }, "float64"):flat()
  for k, expected in ipairs(ENDS[name]) do
    if not near(ends[k], expected, 1e-6) then
      errors.usage("%s(%d) is %.6g, expected %d: alpha goes from 1 to 0 and beta from 0 to 1",
        who_name, k - 1, ends[k], expected)
    end
  end
  local h, inner, below, above = 1e-6, {}, {}, {}
  for k = 1, POINTS do
    inner[k] = (k - 0.5) / POINTS
    below[k], above[k] = inner[k] - h, inner[k] + h
  end
  local _, slope = coefficient(f, at(inner))
  slope, below, above = slope:flat(), f(at(below)):flat(), f(at(above)):flat()
  local sum = 0
  for k, t in ipairs(inner) do
    local expected = (above[k] - below[k]) / (2 * h)
    sum = sum + slope[k] / POINTS
    if not near(slope[k], expected, 1e-4 * (1 + math.abs(expected))) then
      errors.usage("%s has the derivative %.6g at t = %.4f, but its values rise by %.6g there; the "
        .. "velocity of the interpolant would be wrong", who_name, slope[k], t, expected)
    end
  end
  if not near(sum, ENDS[name][2] - ENDS[name][1], 0.02) then -- the midpoint rule
    errors.usage("%s jumps: its derivative adds up to %.4g over [0, 1], expected %d", who_name, sum,
      ENDS[name][2] - ENDS[name][1])
  end
end

--- Check an interpolant: its ends, and that its derivative is that of its values.
-- @tparam table it { alpha =, beta = }
-- @tparam string name
function M.interpolant(it, name)
  local who = ("the interpolant '%s'"):format(name)
  check_coefficient(it, "alpha", who)
  check_coefficient(it, "beta", who)
  local one = fm.full({ 1, 1 }, 0.5)
  interpolants.at(it, one, one, one)
end

-- ------------------------------------------------------------------ all

--- Try everything that a run will need.
-- @tparam table job see flowmap.job
-- @tparam table resolved the settings that it was made from
function M.check(job, resolved)
  local cfg = job.cfg
  check_times(job)
  M.interpolant(job.interpolant, cfg.interpolant)
  if not job.set.shape then law.check(job.set, cfg.data) end
  job.program:prepared(cfg.batch)
  if not step.trains(job, job.shared) then
    errors.usage("the loss '%s' has no gradient: every way from it to the network's parameters is "
      .. "stopped (stop is %s)", cfg.method, cfg.stop)
  end
  sampler.rehearse(job, job.params)
  local row = evaluate.rehearse(job)
  source.peek "flowmap.experiment.render_list".results(job.experiment, cfg, row, job.set)
  effect.settle(resolved, job.read)
end

return M
