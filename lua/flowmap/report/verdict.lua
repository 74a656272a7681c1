--- Verdicts of the reproduction report: how a result of ours relates to a published one.
--
-- A published value is compared with ours only if both measure the same thing; everything that
-- forbids the comparison is a reason in the list `reasons`. Smaller values are better.
-- @module flowmap.report.verdict

local axes = require "flowmap.report.axis"

local M = {}

--- The verdicts on values, and on the order of two methods or a sentence of the paper.
M.on_values = { "within", "better", "worse", "not comparable", "not attempted" }
M.on_claims = { "supported", "contradicted", "not shown", "not attempted" }

--- The verdict on a published value.
-- @tparam number theirs the published value
-- @tparam ?table ours a summary over seeds (see flowmap.measure.stats), or { lost = text } where
--   trainings diverged; nil: not measured
-- @tparam {string,...} reasons why the values measure different things; empty: they do not
-- @tparam ?string absent why `ours` is nil
-- @treturn table { word = one of `on_values`, why = text or nil }
function M.value(theirs, ours, reasons, absent)
  if not ours then return { word = "not attempted", why = absent } end
  if ours.lost then return { word = "worse", why = ours.lost } end
  if not axes.finite(ours.mean) then return { word = "worse", why = "diverged" } end
  if #reasons > 0 then
    return { word = "not comparable", why = table.concat(reasons, "; ") }
  end
  if not ours.half then
    return { word = "not comparable", why = "one seed gives no interval" }
  end
  if math.abs(theirs - ours.mean) <= ours.half then return { word = "within" } end
  return { word = ours.mean < theirs and "better" or "worse" }
end

--- The verdict on a setting or a count, which either is the published one or is not.
-- @tparam string theirs
-- @tparam ?string ours nil: there is none
-- @treturn string
function M.equal(theirs, ours)
  if not ours then return "not attempted" end
  return theirs == ours and "equal" or "different"
end

local function same(a, b) return not a or not b or a == b end

--- The reasons for which a published value and ours measure different things.
-- @tparam table theirs { estimator =, rule = (nil: not stated), data =, eval_samples =, eta = }
-- @tparam table ours { estimator =, rule =, data =, eval_samples =, eta = } of our runs
-- @treturn {string,...} sentences without a full stop
function M.reasons(theirs, ours)
  local out = {}
  if not theirs.estimator then
    out[#out + 1] = "the paper does not state its estimator, on which the value depends"
  elseif theirs.estimator ~= ours.estimator then
    out[#out + 1] = ("another measure: published is %s, ours %s"):format(theirs.estimator,
      ours.estimator)
  end
  if not same(theirs.data, ours.data) then
    out[#out + 1] = ("other data: published for %s, ours for %s"):format(theirs.data, ours.data)
  end
  if not same(theirs.eval_samples, ours.eval_samples) then
    out[#out + 1] = ("other numbers of samples judged: published %d, ours %d"):format(
      theirs.eval_samples, ours.eval_samples)
  end
  if not same(theirs.rule, ours.rule) then
    out[#out + 1] = ("other checkpoints: published the %s, ours the %s"):format(theirs.rule,
      ours.rule)
  end
  if not same(theirs.eta, ours.eta) then
    out[#out + 1] = ("other diagonal fractions: published %g, ours %g"):format(theirs.eta, ours.eta)
  end
  return out
end

--- The verdict on an order "A is below B" (see flowmap.report.claims).
-- @tparam boolean below whether A is below B in the paper
-- @tparam number difference ours, A - B
-- @tparam number p after Holm's adjustment
-- @tparam number alpha level
-- @treturn string one of `on_claims`
function M.order(below, difference, p, alpha)
  if p > alpha or difference == 0 then return "not shown" end
  return (difference < 0) == below and "supported" or "contradicted"
end

return M
