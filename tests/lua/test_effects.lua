-- Effects of two-level factors: planted effects are found, and by simulation the level of the tests
-- and the coverage of the intervals.

local t = require "harness"
local design = require "flowmap.design"
local draws = require "flowmap.measure.draws"
local effects = require "flowmap.measure.effects"

local NAMES = { "p", "weight", "times" }

-- One number per cell and seed: the seed's own level, the planted effects, and noise.
local function study(rows_of, seeds, planted, noise)
  local cells = {}
  for seed = 1, seeds do
    for _, row in ipairs(rows_of(seed)) do
      local value = 3 * seed + noise()
      for _, it in ipairs(planted) do
        local sign = 1
        for _, j in ipairs(it.factors) do sign = sign * row[j] end
        value = value + it.size * sign / 2
      end
      cells[#cells + 1] = { seed = seed, row = row, value = value }
    end
  end
  return cells
end

local FULL = design.factorial(3)
local function full() return FULL end
local function nothing() return 0 end

-- The two cells of a seed in a folded-over fraction of six factors.
local ROWS = design.plackett_burman(12, 6)
local function mirrors(seed)
  local row = ROWS[(seed - 1) % #ROWS + 1]
  return { row, design.mirror(row) }
end

t.test("planted effects of a full factorial are found exactly", function()
  local cells = study(full, 4, { { factors = { 1 }, size = 0.5 },
    { factors = { 2, 3 }, size = -0.2 },
    { factors = { 1, 2, 3 }, size = 0.1 } }, nothing)
  local expected = { p = 0.5, ["weight x times"] = -0.2, ["p x weight x times"] = 0.1 }
  local names = {}
  for i, effect in ipairs(effects.factorial(NAMES, 3)) do
    names[i] = effect.name
    local it = effects.of_seeds(effects.contrasts(cells, effect))
    t.near(it.mean, expected[effect.name] or 0, 1e-12, effect.name)
    t.eq(it.n, 4)
  end
  t.eq(names, { "p", "weight", "times", "p x weight", "p x times", "weight x times",
    "p x weight x times" })
  -- alone: p against none: 0.5 - 0 (weight x times is the same) + 0.1 / 2 - (-0.1 / 2) = 0.6
  local alone = effects.alone(NAMES)
  t.near(effects.of_seeds(effects.contrasts(cells, alone[1])).mean, 0.6, 1e-12)
  t.near(effects.of_seeds(effects.contrasts(cells, alone[4])).mean, 0.6, 1e-12, "all together")
  t.eq({ alone[1].name, alone[4].name }, { "p alone", "all together" })
end)

t.test("a lost or missing cell takes its seed out of the effects that need it, no other", function()
  local cells = study(full, 4, { { factors = { 1 }, size = 0.5 } }, nothing)
  cells[1].value = nil -- seed 1, all low
  table.remove(cells, 2 * 8) -- seed 2, all high
  local values, lost = effects.contrasts(cells, effects.factorial(NAMES)[1])
  t.eq({ values[1], values[2], lost }, { nil, nil, 2 })
  t.near(values[3], 0.5, 1e-12)
  values, lost = effects.contrasts(cells, effects.alone(NAMES)[1])
  t.eq({ values[1], lost }, { nil, 1 })
  t.near(values[2], 0.5, 1e-12)
  t.eq(effects.of_seeds {}, nil)
end)

t.test("a cell that every seed lacks leaves no effect: what is left would confound it", function()
  for _, how in ipairs { "lost", "missing" } do
    local cells = study(full, 4, { { factors = { 1 }, size = 0.5 } }, nothing)
    for k = #cells, 1, -1 do
      if cells[k].row[1] < 0 and cells[k].row[2] > 0 and cells[k].row[3] > 0 then
        if how == "lost" then cells[k].value = nil else table.remove(cells, k) end
      end
    end
    for _, effect in ipairs(effects.factorial(NAMES, 3)) do
      local values, lost, diverged = effects.contrasts(cells, effect)
      t.eq({ next(values), lost, diverged }, { nil, 4, how == "lost" }, effect.name)
    end
    local values, lost = effects.contrasts(cells, effects.alone(NAMES)[1])
    t.eq({ values[1], lost }, { 0.5, 0 })
  end
end)

t.test("cells of a seed that are not one pair of mirror images are left out", function()
  local function two_of(...)
    local rows = { ... }
    return function() return rows end
  end
  local row = { 1, -1, 1 }
  local planted = { { factors = { 1 }, size = 0.5 } }
  t.eq({ #effects.mirrored(study(two_of(row, design.mirror(row)), 4, planted, nothing)) }, { 4 })
  for _, rows_of in ipairs { two_of(row, { -1, 1, 1 }), two_of(row), full } do
    local blocks, lost = effects.mirrored(study(rows_of, 4, planted, nothing))
    t.eq({ #blocks, lost }, { 0, 4 })
  end
end)

t.test("planted effects of a folded-over fraction are found, whatever interactions there are",
  function()
    local cells = study(mirrors, 12, { { factors = { 2 }, size = 0.5 },
      { factors = { 5 }, size = -0.3 }, { factors = { 1, 2 }, size = 9 } }, nothing)
    local blocks, lost = effects.mirrored(cells)
    t.eq({ #blocks, lost }, { 12, 0 })
    for j, it in ipairs(effects.fit(blocks)) do
      t.near(it.mean, ({ 0, 0.5, 0, 0, -0.3, 0 })[j], 1e-9)
      t.eq(it.df, 6)
    end
    cells[3].value = nil
    blocks, lost = effects.mirrored(cells)
    t.eq({ #blocks, lost }, { 11, 1 })
    t.near(effects.fit(blocks)[2].mean, 0.5, 1e-9, "not orthogonal any more")
    t.eq(effects.fit({ table.unpack(blocks, 1, 6) }), nil, "no degree of freedom is left")
  end)

-- The share of 1,000 studies without an effect of the first factor in which a test finds one at
-- level 0.05, and in which its interval contains 0. Other effects are there, and the noise is
-- skewed where `skewed`.
local function simulate(rows_of, seeds, skewed, estimate)
  local normal = draws.normal(11, "effects")
  local function noise()
    local z = normal()
    return skewed and math.exp(z) - math.exp(0.5) or z
  end
  local found, covered, count = 0, 0, 1000
  for _ = 1, count do
    local it = estimate(study(rows_of, seeds, { { factors = { 2 }, size = 2 },
      { factors = { 2, 3 }, size = 1 } }, noise))
    if it.p <= 0.05 then found = found + 1 end
    if math.abs(it.mean) <= it.half then covered = covered + 1 end
  end
  return found / count, covered / count
end

-- Three standard errors of a share near 0.05 from 1,000 studies are 0.02.
local function check_level(level, coverage, what)
  t.eq(level >= 0.02 and level <= 0.07, true, ("%s: level %.3f"):format(what, level))
  t.eq(coverage >= 0.93 and coverage <= 0.97, true, ("%s: coverage %.3f"):format(what, coverage))
end

t.test("level and coverage by simulation", function()
  local first = effects.factorial(NAMES)[1]
  for _, skewed in ipairs { false, true } do
    local what = skewed and "skewed" or "normal"
    local level, coverage = simulate(full, 7, skewed, function(cells)
      return effects.of_seeds(effects.contrasts(cells, first))
    end)
    check_level(level, coverage, "full factorial, " .. what)
    level, coverage = simulate(mirrors, 12, skewed, function(cells)
      return effects.fit(effects.mirrored(cells))[1]
    end)
    check_level(level, coverage, "fraction, " .. what)
  end
end)

t.test("the spread within cells", function()
  local sd, df = effects.spread { { 1, 3 }, { 10, 10, 13 }, { 5 } }
  t.near(sd, math.sqrt((2 + 6) / 3), 1e-12)
  t.eq(df, 3)
  t.eq(effects.spread { { 5 } }, nil)
end)

t.test("p of Student's t against tables", function()
  local stats = require "flowmap.measure.stats"
  t.near(stats.t_p(2.228138852, 10), 0.05, 1e-9)
  t.near(stats.t_p(-63.65674116, 1), 0.01, 1e-9)
  t.near(stats.t_p(0, 5), 1, 1e-15)
end)

t.done()
