--- Checks that a law of times and an interpolant have the properties they must have. A wrong one
-- would raise no error by itself but would falsify every number of a run.
-- @module flowmap.measure.path

local fm = require "flowmap"
local errors = require "flowmap.base.errors"
local interpolants = require "flowmap.interpolants"
local laws = require "flowmap.times"
local returned = require "flowmap.base.returned"

local M = {}

local ROUNDED = 1e-5 -- by how much a time u may leave [s, t], by rounding

-- Check that the time u, if a law draws one, lies between s and t.
local function check_between(u, s, t, who)
  for i, value in ipairs(u:flat()) do
    if not (s[i] - ROUNDED <= value and value <= t[i] + ROUNDED) then
      errors.usage("%s drew u = %.6g for s = %.6g, t = %.6g; expected s <= u <= t", who, value,
        s[i], t[i])
    end
  end
end

--- Check a law of times: 0 <= s <= t <= 1 for many draws, and s <= u <= t if it draws u as well.
-- @tparam function times see flowmap.times
-- @tparam string name
-- @tparam[opt] table cfg the run's settings
function M.check_times(times, name, cfg)
  local u = fm.uniform({ 4096, 2 }, { seed = 1, stream = "rehearsal of times" })
  local a, c = fm.slice(u, 2, 1, 1), fm.slice(u, 2, 2, 1)
  local s, t, between = times(a, c, cfg)
  local who = ("the law of times '%s'"):format(name)
  for k = 1, between == nil and 2 or 3 do
    returned.tensor(({ s, t, between })[k], who, a.shape, a.dtype, "s and t, each one per sample")
  end
  if times == laws.square then return end -- which draws s > t on purpose
  s, t = s:flat(), t:flat()
  for i = 1, #s do
    if not (0 <= s[i] and s[i] <= t[i] and t[i] <= 1) then
      errors.usage("%s drew s = %.6g, t = %.6g; expected 0 <= s <= t <= 1", who, s[i], t[i])
    end
  end
  if between ~= nil then check_between(between, s, t, who) end
end

-- Whether x is finite and within `bound` of the expected value.
local function near(x, expected, bound) return x == x and math.abs(x - expected) <= bound end

local POINTS = 1024 -- times at which an interpolant is checked

local ENDS = { alpha = { 1, 0 }, beta = { 0, 1 } }

-- A coefficient at the given times, and its derivative, computed as in training.
local function coefficient(f, times)
  return fm.jvp(f, times, fm.ones(times.shape, times.dtype))
end

-- Check that a coefficient has the right ends (alpha from 1 to 0, beta from 0 to 1) and that its
-- derivative agrees with its values.
local function check_coefficient(it, name, who)
  local f = it[name]
  local function at(values) return fm.reshape(fm.tensor(values, "float64"), { #values, 1 }) end
  local who_name = ("%s: %s"):format(who, name)
  local ends = returned.one(who_name, f(at { 0, 1 }))
  ends = returned.tensor(ends, who_name, { 2, 1 }, "float64"):flat()
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

--- Check an interpolant: its ends, and the agreement of its derivative with its values.
-- @tparam table it { alpha =, beta = }
-- @tparam string name
function M.check_interpolant(it, name)
  local who = ("the interpolant '%s'"):format(name)
  check_coefficient(it, "alpha", who)
  check_coefficient(it, "beta", who)
  local one = fm.full({ 1, 1 }, 0.5)
  interpolants.at(it, one, one, one)
end

return M
