-- Comparison of runs made again with other numerics, on synthetic runs.

local t = require "harness"
local agreement = require "flowmap.report.agreement"
local made_run = require "made_run"
local results = require "flowmap.report.results"
local sandbox = require "sandbox"

-- All runs of the methods, seeds 1 to 4: kl = value(method, seed), or diverged.
local function made(name, methods, value)
  local root = sandbox.root .. "/" .. name
  for _, method in ipairs(methods) do
    for seed = 1, 4 do
      local kl, dir = value(method, seed), ("%s/%s-seed%d"):format(root, method, seed)
      local it = { config = { method = method, seed = seed, eta = 0.75, steps = 9 },
        metrics = { { step = 1, samples = 64, off = 1 } }, step = 5 }
      if kl then
        it.rows = { { N = 1, kl = kl, kl_floor = 0.125 * (1 + 1e-9 * #name) } }
        made_run.finished(dir, it)
      else
        made_run.diverged(dir, it)
      end
    end
  end
  local set = results.open(root)
  return table.move(set.diverged, 1, #set.diverged, #set.runs + 1, set.runs)
end

local function kl_of(method, seed)
  if method == "esd" and seed < 3 then return nil end
  return 1 + 0.1 * ((3 * seed + #method) % 4)
end

local METHODS = { "lsd", "esd", "psd-m" }
local published = made("published", METHODS, kl_of)

t.test("values within the spread of the seeds agree, floors up to rounding", function()
  local differ, agree, open = agreement.intervals(published,
    made("again", METHODS, function(method, seed) return kl_of(method, seed % 4 + 1) end))
  t.eq({ #differ, agree, open }, { 0, 6, 0 })
end)

t.test("a floor that no seed changes may move by little of its measure's spread", function()
  local function floors(by)
    local again = made("floors", METHODS, kl_of)
    for _, run in ipairs(again) do
      for _, row in ipairs(run.manifest and run.eval.rows or {}) do
        row.kl_floor = row.kl_floor + by
      end
    end
    return (#agreement.intervals(published, again))
  end
  local spread = 0.1 * math.sqrt(5 / 3) -- of kl: 0, 1, 2, 3 tenths in any order
  t.eq({ floors(1e-3 * spread), floors(0.5 * spread), floors(-0.5 * spread) }, { 0, 3, 3 })
end)

t.test("another mean differs", function()
  local differ, agree = agreement.intervals(published, made("worse", METHODS,
    function(method, seed) return method == "lsd" and 3 or kl_of(method, seed) end))
  t.eq({ #differ, agree, differ[1].run, differ[1].what }, { 1, 5, "lsd", "N = 1, kl" })
end)

t.test("the interval is Student's, of the pooled spread, at the level of one cell", function()
  local was = made("was", { "lsd", "esd" }, function(method, seed)
    return math.exp((method == "lsd" and 0 or 2) + 0.1 * (seed % 2))
  end)
  -- Logarithms with the squares 4 (0.05)^2 about the mean, of two cells with 3 degrees of freedom
  -- each; one run of LSD made again has two cells, kl and its floor, of 97.5 % each.
  local half = 2.968686684 * math.sqrt(8 * 0.05 ^ 2 / 6) * math.sqrt(1 / 4 + 1)
  for k, share in ipairs { -1.001, -0.999, 0.999, 1.001 } do
    local now = made("now" .. k, { "lsd" }, function(_, seed)
      return seed == 1 and math.exp(0.05 + share * half) or nil
    end)
    local found = {}
    for _, run in ipairs(now) do found[#found + 1] = run.manifest and run or nil end
    local differ, agree = agreement.intervals(was, found)
    t.eq({ #found, #differ, agree }, { 1, math.abs(share) > 1 and 1 or 0,
      math.abs(share) > 1 and 1 or 2 }, share)
    if differ[1] then t.near(differ[1].now, math.exp(0.05 + share * half), 1e-9) end
  end
end)

t.test("a cell whose runs all diverged differs from one in which none did", function()
  local differ = agreement.intervals(published, made("exploded", METHODS,
    function(method, seed) return method ~= "psd-m" and kl_of(method, seed) or nil end))
  t.eq(#differ, 1)
  t.eq(agreement.line(differ[1]),
    "psd-m, end: published 0 of 4 diverged, made again 4 of 4 diverged")
  differ = agreement.intervals(made("lost", { "lsd", "esd" },
    function(method, seed) return method == "lsd" and kl_of(method, seed) or nil end), published)
  t.eq(#differ, 0, "some of ESD diverged here, too")
  local some = made("one", { "lsd" }, function() return nil end)
  t.eq(#agreement.intervals(published, { some[1] }), 1)
  local one = made("single", { "lsd" }, kl_of)
  local faults, _, open = agreement.intervals({ one[1] }, { some[1] })
  t.eq({ #faults, open }, { 0, 1 }, "one seed")
end)

t.done()
