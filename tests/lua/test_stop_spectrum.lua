-- The linear model of Eulerian self-distillation: for which turn of a mode which stop-gradient is
-- unstable.

local t = require "harness"
local spectrum = require "flowmap.measure.stop_spectrum"

local growth, threshold = spectrum.growth, spectrum.threshold

-- Complex numbers as { re, im }.
local function mul(a, b) return { a[1] * b[1] - a[2] * b[2], a[1] * b[2] + a[2] * b[1] } end
local function div(a, b)
  local size = b[1] ^ 2 + b[2] ^ 2
  return { (a[1] * b[1] + a[2] * b[2]) / size, (a[2] * b[1] - a[1] * b[2]) / size }
end
local function cosh(x) return (math.exp(x) + math.exp(-x)) / 2 end
local function sinh(x) return (math.exp(x) - math.exp(-x)) / 2 end

-- In the metric of the map the eigenvalues of `full` solve -u'' + i K u' = lambda u, u(0) = 0,
-- u'(1) = i K u(1): lambda = z^2 - K^2 / 4 with z cos z - i K/2 sin z = 0. By Newton's method.
local function eigenvalue(K)
  local z = { math.pi / 2, 0 }
  for k = 0, 400 do -- follow the root from K = 0
    local half = { 0, -math.min(1, k / 300) * K / 2 }
    local cos = { math.cos(z[1]) * cosh(z[2]), -math.sin(z[1]) * sinh(z[2]) }
    local sin = { math.sin(z[1]) * cosh(z[2]), math.cos(z[1]) * sinh(z[2]) }
    local a, b, c, d = mul(z, cos), mul(half, sin), mul(z, sin), mul(half, cos)
    local step = div({ a[1] + b[1], a[2] + b[2] }, { cos[1] - c[1] + d[1], cos[2] - c[2] + d[2] })
    z = { z[1] - step[1], z[2] - step[2] }
  end
  return mul(z, z)[1] - K * K / 4
end

t.test("in the metric of the map, growth is that of the closed form", function()
  for _, K in ipairs { 1, 3, 5, 8, 14 } do
    t.near(growth { stop = "full", metric = "map", turn = K }, -eigenvalue(K), 1e-5, "K = " .. K)
  end
end)

t.test("full is unstable from a turn of 4.0 in the metric of the map, 7.4 in that of v", function()
  local map = threshold { stop = "full", metric = "map" }
  t.near(eigenvalue(map), 0, 1e-3)
  t.near(map, 4.0066, 1e-3)
  -- 200 linear finite elements, eigenvalues by LAPACK
  t.near(threshold { stop = "full" }, 7.3545, 2e-3)
  t.near(threshold { stop = "full", size = 16 }, 7.3545, 2e-3)
end)

t.test("no metric makes full unstable up to a turn of pi", function()
  t.near(spectrum.safe_turn(), math.pi, 1e-10)
end)

t.test("in the norm of the slope full has no threshold: all growth ends", function()
  for _, K in ipairs { 4, 8, 16 } do
    t.eq(growth { stop = "full", metric = "slope", turn = K } < 0, true, "K = " .. K)
  end
  t.eq(threshold { stop = "full", metric = "slope" }, nil)
end)

t.test("none and target decay at every turn; for target the turn does not matter", function()
  for _, K in ipairs { 0, 4, 10, 20 } do
    t.near(growth { stop = "target", turn = K }, -1, 1e-4)
    for _, metric in ipairs { "velocity", "map" } do
      t.eq(growth { stop = "none", metric = metric, turn = K } < -0.3, true)
    end
  end
  t.eq(threshold { stop = "none" }, nil)
end)

t.test("a slow average of the target raises the threshold of full, a fast one lowers it", function()
  local fast, slow = threshold { stop = "full", average = 1 },
    threshold { stop = "full", average = 0.01 }
  t.eq(fast < 7.3 and slow > 15, true)
end)

t.test("the chapter's figure shows these thresholds", function()
  local chapter = require("flowmap.experiment").load "experiments/eulerian.lua"
  local function crossing(curve) -- where it first exceeds 0
    for i, row in ipairs(curve.rows) do
      if row[2] > 0 then return curve.rows[i - 1] and curve.rows[i - 1][1] or 0 end
    end
  end
  local found = {}
  for _, panel in ipairs(chapter.figures.growth().panels) do
    for _, curve in ipairs(panel.series) do found[curve.label] = crossing(curve) or "never" end
  end
  t.eq({ found["full, norm of v"], found["full, norm of the map"], found["none, convex"],
    found.target, found["rate 0.01"] }, { 7.0, 4.0, "never", "never", "never" })
end)

-- A run of the chapter whose residual was `before`, and exceeded the bound at step `at`; 0: never,
-- or from the start.
local function made(seed, before, at)
  local run = {}
  function run.field(_, _, key) return key == "seed" and seed or "checkerboard" end
  function run.value(_, name)
    if name == "continued_before" then return before end
    return name:find "_at$" and at or 1
  end
  return run
end

t.test("a seed that exploded before the intervention is counted, from the start", function()
  local chapter = require("flowmap.experiment").load "experiments/eulerian.lua"
  local function exploded(...)
    return chapter.figures.intervention.draw { runs = { ... } }.rows[1].cells[2].text
  end
  t.eq(exploded(made(1, 0.1, 0), made(2, 0.2, 0)), "none")
  t.eq(exploded(made(1, 0.1, 0), made(2, 0.2, 40)), "1 of 2, from step 40")
  t.eq(exploded(made(1, 1e26, 0), made(2, 0.2, 40)), "2 of 2, from the start")
  t.eq(exploded(made(1, 1e26, 0), made(2, 0.2, 0)), "1 of 2, from the start")
end)

t.done()
