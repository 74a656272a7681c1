-- Verdicts of the reproduction report: each of them is reached, and none by accident.

local t = require "harness"
local verdict = require "flowmap.report.verdict"

local function word(theirs, ours, reasons)
  return verdict.value(theirs, ours, reasons or {}).word
end

t.test("a published value lies in our interval, above it or below it", function()
  local ours = { mean = 0.10, half = 0.02, n = 3 }
  t.eq(word(0.10, ours), "within")
  t.eq(word(0.119, ours), "within")
  t.eq(word(0.081, ours), "within")
  t.eq(word(0.121, ours), "better")
  t.eq(word(0.079, ours), "worse")
  t.eq(word(1.5, { mean = 1, half = 0.5, n = 3 }), "within", "its end belongs to it")
end)

t.test("values that measure different things are not compared, however they lie", function()
  local ours = { mean = 0.10, half = 0.02, n = 3 }
  for _, theirs in ipairs { 0.05, 0.10, 0.20 } do
    local it = verdict.value(theirs, ours, { "a", "b" })
    t.eq({ it.word, it.why }, { "not comparable", "a; b" })
  end
  local one = verdict.value(0.10, { mean = 0.10, n = 1 }, {})
  t.eq({ one.word, one.why }, { "not comparable", "one seed gives no interval" })
end)

t.test("what has no runs was not attempted; a training that diverged is worse", function()
  local none = verdict.value(0.10, nil, {}, "no runs of ESD")
  t.eq({ none.word, none.why }, { "not attempted", "no runs of ESD" })
  local lost = verdict.value(0.10, { lost = "diverged at 12" }, { "another measure" })
  t.eq({ lost.word, lost.why }, { "worse", "diverged at 12" })
  t.eq(word(0.10, { mean = 0 / 0, n = 2 }), "worse")
  t.eq(word(0.10, { mean = math.huge, half = 0 / 0, n = 2 }, { "a" }), "worse")
end)

local theirs = { estimator = "FID", rule = "best", data = "CIFAR-10", eval_samples = 50000,
  eta = 0.75 }

local function with(field, value)
  local ours = {}
  for key, own in pairs(theirs) do ours[key] = own end
  ours[field] = value
  return verdict.reasons(theirs, ours)
end

t.test("every difference in how a value was obtained is a reason, and nothing else is", function()
  t.eq(with("rule", "best"), {})
  for field, other in pairs { estimator = "FD-cnn", rule = "last", data = "drawings",
    eval_samples = 1000, eta = 0.9 } do
    t.eq(#with(field, other), 1, field)
  end
  t.eq(with("estimator", "FD-cnn"), { "another measure: published is FID, ours FD-cnn" })
  t.eq(with("data", "drawings"), { "other data: published for CIFAR-10, ours for drawings" })
end)

t.test("an estimator that the paper does not state forbids any comparison", function()
  local reasons = verdict.reasons({ data = "checkerboard" },
    { estimator = "64 x 64 cells", rule = "last", data = "checkerboard", eval_samples = 10 })
  t.eq(reasons, { "the paper does not state its estimator, on which the value depends" })
end)

t.test("an order is supported or contradicted only at the level", function()
  t.eq(verdict.order(true, -1, 0.04, 0.05), "supported")
  t.eq(verdict.order(true, 1, 0.04, 0.05), "contradicted")
  t.eq(verdict.order(false, 1, 0.04, 0.05), "supported")
  t.eq(verdict.order(false, -1, 0.04, 0.05), "contradicted")
  t.eq(verdict.order(true, -1, 0.06, 0.05), "not shown")
  t.eq(verdict.order(true, 0, 0.01, 0.05), "not shown")
  t.eq(verdict.order(true, -1, 0.05, 0.05), "supported", "a p of the level itself")
end)

t.test("settings are equal, different or not there", function()
  t.eq(verdict.equal("512", "512"), "equal")
  t.eq(verdict.equal("512", "128"), "different")
  t.eq(verdict.equal("512", nil), "not attempted")
end)

t.done()
