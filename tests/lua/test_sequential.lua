-- Sequential seeds: published boundaries, the expression of --until, and by simulation the coverage
-- of the interval at which the rule stops and its false positives.

local t = require "harness"
local draws = require "flowmap.measure.draws"
local sequential = require "flowmap.measure.sequential"

local FIFTHS = { 0.2, 0.4, 0.6, 0.8, 1 }

t.test("boundaries agree with published ones, five looks at level 0.05", function()
  -- Spending functions of Lan and DeMets (1983), as in tables of group-sequential software
  local function pocock(time) return 0.05 * math.log(1 + (math.exp(1) - 1) * time) end
  local found = sequential.boundaries(FIFTHS, sequential.spent)
  for k, z in ipairs { 4.877, 3.357, 2.680, 2.290, 2.031 } do
    t.near(found[k], z, 6e-4, "O'Brien and Fleming, look " .. k)
  end
  found = sequential.boundaries(FIFTHS, pocock)
  for k, z in ipairs { 2.438, 2.427, 2.410, 2.397, 2.386 } do
    t.near(found[k], z, 6e-4, "Pocock, look " .. k)
  end
  t.near(sequential.boundaries({ 1 }, sequential.spent)[1], 1.959964, 1e-6)
  t.near(sequential.spent(1), 0.05, 1e-12)
end)

t.test("looks, and what they say", function()
  local rule = sequential.rule { first = 3, by = 2, cap = 8, half = 0.5 }
  t.eq(rule.looks, { 3, 5, 7, 8 })
  local look = rule:look { 1, 1.1, 0.9 }
  t.eq({ look.stop, look.next, look.shown }, { nil, 5, false }) -- an early look is cautious
  local five = rule:look { 1, 1.1, 0.9, 1, 1 }
  t.eq({ five.stop, five.next, five.shown }, { "width", nil, true })
  t.eq(rule:words(five, "a - b"),
    "a - b = 1 ± 0.15 (5 seeds, sequential 95 % interval): ± 0.5 is reached")
  local eight = rule:look { 9, -9, 9, -9, 9, -9, 9, -8 }
  t.eq({ eight.stop, eight.shown }, { "cap", false })
  t.eq(rule:words(eight, "a - b"):match "± 0.5 .*",
    "± 0.5 is not reached; 8 seeds are the cap; no difference shown")
  t.eq(rule:words(look, "a - b"):match "± 0.5 .*", "± 0.5 is not reached; next look at 5 seeds")
  local strict = sequential.rule { cap = 4, half = 1e-9 }
  t.eq(strict:look({ 10, 10.0001, 10 }).shown, false) -- nothing is shown before the rule stops
  t.raises(function() rule:look { 1, 2, 3, 4 } end, "4 values are no look")
  t.raises(function() sequential.rule { first = 1, cap = 3, half = 1 } end, "at least 2 to begin")
end)

t.test("the expression of --until", function()
  local it = sequential.parse "kl.LSD.N1 - kl.PSD-M.N16 +- 0.005"
  t.eq(it, { a = { metric = "kl", method = "LSD", N = 1 }, half = 0.005,
    b = { metric = "kl", method = "PSD-M", N = 16 }, name = "kl.LSD.N1 - kl.PSD-M.N16" })
  t.eq(sequential.parse "fd_cnn.PSD-M.N2 ± 1e-2",
    { a = { metric = "fd_cnn", method = "PSD-M", N = 2 }, half = 0.01, name = "fd_cnn.PSD-M.N2" })
  for text, why in pairs {
    ["kl.LSD.N1 - kl.ESD.N1"] = "has no half width", ["kl.LSD.N1 +- 0"] = "has no half width",
    ["kl.LSD.N1 +- -1"] = "has no half width", ["kl.LSD.N1 +- inf"] = "has no half width",
    ["kl.LSD.N1-kl.ESD.N1 +- 1"] = "does not name a result",
    ["kl.LSD +- 1"] = "'kl.LSD' in 'kl.LSD %+%- 1' does not name a result",
    ["kl.LSD.N0 +- 1"] = "does not name a result", ["+- 1"] = "does not name a result",
    ["kl.LSD.N1 - +- 1"] = "does not name a result",
  } do
    t.eq(t.raises(function() sequential.parse(text) end, why).code, "usage", text)
  end
end)

-- Follow the rule to its end on simulated values around 0: did the last interval hold 0, did all?
local function follow(rule, draw)
  local values, always = {}, true
  for n = 1, rule.cap do
    values[n] = draw()
    if rule.levels[n] then
      local look = rule:look(values)
      always = always and math.abs(look.mean) <= look.half
      if look.stop then return not look.shown, always end
    end
  end
end

t.test("coverage where the rule stops, by width and at the cap", function()
  for cap, half in pairs { [10] = 1, [12] = 0.65, [8] = 0.1 } do
    local it = { cap = cap, half = half }
    local rule, normal = sequential.rule(it), draws.normal(7, "sequential")
    local held, always, count = 0, 0, 1000
    for _ = 1, count do
      local last, all = follow(rule, normal)
      held, always = held + (last and 1 or 0), always + (all and 1 or 0)
    end
    local text = ("cap %d, half %g: %.3f, all looks %.3f"):format(it.cap, it.half, held / count,
      always / count)
    t.eq(held / count >= 0.95 and held / count < 1 and always / count >= 0.93, true, text)
  end
end)

t.done()
