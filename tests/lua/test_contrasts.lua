-- Tables of effects, methods over a design, spread and cost, from synthetic runs.

local t = require "harness"
local design = require "flowmap.design"
local made_run = require "made_run"
local contrasts = require "flowmap.report.contrasts"
local power = require "flowmap.measure.power"
local results = require "flowmap.report.results"
local sandbox = require "sandbox"
local tables = require "flowmap.report.table"
local weave = require "flowmap.report.weave"

-- Runs below a folder: `cells(method, seed)` lists their settings, and value(config) is the KL at
-- N = 1, or nil for a run that diverged.
local function made(name, methods, seeds, cells, value)
  local root = ("%s/%s/smoke"):format(sandbox.root, name)
  for _, method in ipairs(methods) do
    for seed = 1, seeds do
      for k, config in ipairs(cells(method, seed)) do
        config.method, config.seed, config.experiment, config.steps = method, seed, name, 100
        local dir, kl = ("%s/%s-%d-seed%d"):format(root, method, k, seed), value(config)
        local it = { config = config, metrics = { { step = 1, samples = 64, off = 1 } } }
        if kl then
          it.rows, it.manifest = { { N = 1, kl = kl } }, { cpu_s = method == "lsd" and 2 or 3 }
          made_run.finished(dir, it)
        else
          it.step = 7
          made_run.diverged(dir, it)
        end
      end
    end
  end
  return results.open(root)
end

-- ------------------------------------------------------------------ a full factorial

local FACTORS = { { name = "p", low = { p = 0 } }, { name = "times", low = { times = "uniform" } } }

local function factorial()
  local out = {}
  for i, row in ipairs(design.factorial(2)) do
    out[i] = { eta = 0.75, p = row[1] > 0 and 1 or 0, times = row[2] > 0 and "long" or "uniform" }
  end
  return out
end

-- p halves the KL of LSD and doubles that of PSD-M; times does nothing; seeds differ by a factor.
local function halved(config)
  local wobble = 1 + 0.01 * ((config.seed * (config.times == "long" and 3 or 5)) % 7)
  if config.p == 0 then return config.seed * wobble end
  return config.seed * wobble * (config.method == "lsd" and 0.5 or 2)
end

local SPEC = { metric = "kl", N = 1, title = "Effects", factors = FACTORS, order = 2 }

t.test("effects of a factorial: log ratio, p after Holm within the column, verdict", function()
  local set = made("factorial", { "lsd", "psd-m" }, 7, factorial, halved)
  local description = tables.effects(set, SPEC)
  local text = tables.markdown(description):gsub("\u{a0}", " ")
  for _, part in ipairs { "| effect |  | LSD | PSD-M | all methods |",
    "| p alone | log ratio | -0.693 ± 0.000 | 0.693 ± 0.000 | 0.000 ± 0.000 |",
    "| p | log ratio | -0.693 ± 0.000 |",
    "|  | p | 0.094 |" } do
    t.eq(text:find(part, 1, true) ~= nil, true, part .. "\n" .. text)
  end
  local notes = table.concat(description.notes, "\n")
  for _, part in ipairs { "Means over 7 seeds; p is the two-sided sign-flip p of one value per "
    .. "seed after Holm over the 6 rows of a column. The smallest p that 7 seeds allow is "
    .. "0.016, after Holm 0.094: nothing can be shown at level 0.05 with fewer than 8 seeds.",
    "At level 0.05 no difference is shown." } do
    t.eq(notes:find(part, 1, true) ~= nil, true, part .. "\n" .. notes)
  end
end)

t.test("sentences about an effect, also from prose", function()
  local set = made("sentences", { "lsd", "psd-m" }, 8, factorial, halved)
  local out = contrasts.factors(set, SPEC)
  t.eq(contrasts.sentence(out, "p", "LSD"), "p (LSD): lower, ratio 0.50, 95 % interval 0.50 to "
    .. "0.50, p = 0.047 after Holm over 6, 8 paired seeds")
  local none = contrasts.sentence(out, "times", "lsd", "%.1f")
  t.eq(none:find "^times %(LSD%): no difference shown, ratio 1.0, 95 %% interval" ~= nil, true,
    none)
  t.raises(function() contrasts.sentence(out, "q", "LSD") end, "there is no row 'q'")
  sandbox.write("sentences.lua", [[
-- Does p help? {{effect main | p | LSD %.3f}}.

return { name = "sentences", settings = { data = "gaussians" }, profiles = { smoke = {} },
  render = { { kind = "effects", name = "main", metric = "kl", N = 1, title = "Effects", order = 2,
    factors = { { name = "p", low = { p = 0 } },
      { name = "times", low = { times = "uniform" } } } } } }
]])
  local text = weave.chapter(sandbox.root .. "/sentences.lua", { profile = "smoke",
    results = sandbox.root })
  t.eq(text:gsub("\\", ""):find("p (LSD): lower, ratio 0.500, 95 % interval", 1, true) ~= nil, true,
    text)
end)

t.test("a diverged run takes its seed out of its method's effects and of the mean", function()
  local set = made("lost", { "lsd", "psd-m" }, 8, factorial, function(config)
    local kl = halved(config)
    return not (config.method == "psd-m" and config.seed == 3 and config.p == 1) and kl or nil
  end)
  local out = contrasts.factors(set, SPEC)
  t.eq({ out.cells[1][1].n, out.cells[2][1].n, out.cells[3][1].n }, { 8, 7, 7 })
  local notes = table.concat(tables.effects(set, SPEC).notes, "\n")
  t.eq(notes:find("diverged or is missing: PSD-M: up to 1; all methods: up to 1.", 1, true) ~= nil,
    true, notes)
  t.eq(notes:find("Diverged: PSD-M, seed 3, at step 7 of 100;", 1, true) ~= nil, true, notes)
  set = made("nothing", { "lsd", "psd-m" }, 2, factorial, function(config)
    return config.method == "lsd" and halved(config) or nil
  end)
  out = contrasts.factors(set, SPEC)
  local lost = out.cells[2][1]
  t.eq({ out.columns[2], lost.lost, lost.missing }, { "PSD-M", "diverged", 2 })
  set = made("allost", { "lsd", "psd-m" }, 2, factorial, function(config)
    return (config.method == "lsd" or config.p == 0) and halved(config) or nil
  end)
  out = contrasts.factors(set, SPEC)
  t.eq(contrasts.sentence(out, "p", "PSD-M"),
    "p (PSD-M): not estimated, because runs diverged or are too few")
  t.eq(tables.markdown(tables.effects(set, SPEC)):find("| diverged |", 1, true) ~= nil, true)
end)

t.test("two runs in one cell are refused", function()
  local set = made("twice", { "lsd" }, 2, function()
    local cells = factorial()
    cells[5] = { eta = 0.5, p = 0, times = "uniform" }
    return cells
  end, halved)
  t.raises(function() contrasts.factors(set, SPEC) end,
    "lsd%-1%-seed1 and .*lsd%-5%-seed1 are in one cell: method LSD, seed 1")
end)

t.test("half of a factorial has no effects: its cells are no pairs of mirror images", function()
  local set = made("partly", { "lsd" }, 6, function()
    return { table.unpack(factorial(), 1, 2) }
  end, halved)
  local out = contrasts.factors(set, SPEC)
  t.eq({ out.complete, out.cells[1][1].lost, out.cells[1][1].missing }, { false, "–", 6 })
  local text = tables.markdown(tables.effects(set, SPEC))
  t.eq(text:find("Nothing could be estimated: runs diverged or are too few.", 1, true) ~= nil, true,
    text)
end)

t.test("effects of a factorial in which one cell diverged in every seed", function()
  local set = made("corner", { "lsd", "psd-m" }, 8, factorial, function(config)
    local corner = config.p == 1 and config.times == "long"
    return not (corner and config.method == "lsd") and halved(config) or nil
  end)
  local out = contrasts.factors(set, SPEC)
  local shown = {}
  for i, row in ipairs(out.rows) do
    for j in ipairs(out.columns) do
      shown[j] = (shown[j] or "") .. (out.cells[j][i].mean and row .. "; " or "")
    end
  end
  t.eq(out.columns, { "LSD", "PSD-M", "all methods" })
  t.eq(shown, { "p alone; times alone; ",
    "p alone; times alone; all together; p; times; p x times; ", "p alone; times alone; " })
  local text = tables.markdown(tables.effects(set, SPEC))
  t.eq(text:find("diverged or is missing: LSD: up to 8; all methods: up to 8.", 1, true) ~= nil,
    true, text)
end)

t.test("a figure of effects against the number of steps", function()
  local figure = require "flowmap.report.figure"
  local set = made("drawn", { "lsd", "psd-m" }, 3, factorial, halved)
  figure.effects_by_steps(sandbox.root, "drawn", set, { metric = "kl", steps = { 1 },
    factors = FACTORS, label = "ratio", shown = { "p alone", "all together" } })
  local data = require("flowmap.base.files").read(sandbox.root .. "/drawn.dat")
  t.eq(data:find "p alone, LSD: N, ratio, low, high\n[%d.]+ 0.5 0.5 0.5\n" ~= nil, true, data)
end)

t.test("factors and parts are checked when the experiment is loaded", function()
  local own = require "own_experiment"
  local function refused(entry, pattern)
    own.refused("render = { { " .. entry .. " } }", pattern)
  end
  local head = "kind = 'effects', name = 'a', metric = 'kl', N = 1, title = 'T', factors = "
  refused(head .. "{ { name = 'p' } }", "factor 1 must be { name =, low = { key = value } }")
  refused(head .. "{ { name = 'p', low = {}, high = {} } }", "factor 1 must be")
  refused(head .. "{ { name = 'p', low = { q = 0 } } }", "factor 1: unknown setting 'q'")
  refused("kind = 'ratios', name = 'a', metric = 'kl', title = 'T', against = 'LSD', factors = {}, "
    .. "parts = { { 'all' } }", "part 1 must be settings { key = value }, found a nil")
  refused("kind = 'ratios', name = 'a', metric = 'kl', title = 'T', against = 'LSD', factors = {}, "
    .. "parts = { 3 }", "part 1 must be { label, { key = value } }")
end)

-- ------------------------------------------------------------------ a fraction

local ROWS, NAMES = design.plackett_burman(12, 6), { "a", "b", "c", "d", "e", "f" }
local SIX = {}
for j, name in ipairs(NAMES) do SIX[j] = { name = name, high = { [name] = 1 } } end

local function mirrors(_, seed)
  local out = {}
  for k, row in ipairs { ROWS[seed], design.mirror(ROWS[seed]) } do
    out[k] = { eta = 0.75, part = k }
    for j, name in ipairs(NAMES) do out[k][name] = row[j] > 0 and 1 or 0 end
  end
  return out
end

-- Factor a multiplies by 3; ESD is 1.5 times LSD, and 2 times where b is high.
local function tripled(config)
  local kl = (config.a == 1 and 3 or 1) * (config.c + config.d == 2 and 5 or 1)
  kl = kl * (1 + 0.02 * ((config.seed * 5 + config.part) % 3))
  return kl * (config.method == "lsd" and 1 or config.b == 1 and 2 or 1.5)
end

t.test("effects of a fraction: least squares, resolution and confounding", function()
  local set = made("fraction", { "lsd", "esd" }, 12, mirrors, tripled)
  local spec = { metric = "kl", N = 1, title = "Effects", factors = SIX }
  local out = contrasts.factors(set, spec)
  t.eq({ out.complete, out.rows }, { false, NAMES })
  t.near(out.cells[1][1].mean, math.log(3), 0.05)
  t.near(out.cells[2][2].mean, math.log(2 / 1.5), 0.05, "b of ESD")
  local notes = table.concat(tables.effects(set, spec).notes, "\n")
  for _, part in ipairs { "within 12 seeds (6 degrees of freedom); p of the t test after Holm over "
    .. "the 6 effects of a column", "The design has 24 of the 2^6 cells and the resolution 4; 45 "
    .. "pairs of interactions are partly confounded." } do
    t.eq(notes:find(part, 1, true) ~= nil, true, part .. "\n" .. notes)
  end
end)

t.test("methods over the cells of a design, whole and in parts", function()
  local set = made("methods", { "lsd", "esd" }, 12, mirrors, tripled)
  local spec = { metric = "kl", steps = { 1 }, title = "Ratios", factors = SIX, against = "LSD",
    parts = { { "all", {} }, { "b low", { b = 0 } }, { "nowhere", { b = 7 } } } }
  local out = contrasts.methods(set, spec)
  t.near(out.cells[1][1].mean, (math.log(1.5) + math.log(2)) / 2, 1e-9)
  t.near(out.cells[2][1].mean, math.log(1.5), 1e-9)
  t.eq({ out.cells[1][1].n, out.cells[1][1].p }, { 12, 2 ^ -11 })
  t.eq(contrasts.sentence(out, "ESD / LSD, N = 1", "b low"):find("higher, ratio 1.50", 1, true)
    ~= nil, true)
  t.eq(tables.markdown(tables.ratios(set, spec)):find("ESD / LSD, N = 1", 1, true) ~= nil, true)
end)

-- ------------------------------------------------------------------ repeats

t.test("spread over seeds and seeds for 10 %; processor time", function()
  local set = made("repeats", { "lsd", "esd" }, 4, function() return { { eta = 0.5 },
    { eta = 0.75 } } end, function(config)
      return (config.eta + 1) * (config.seed % 2 == 0 and 1.1 or 1)
    end)
  local text = tables.markdown(tables.spread(set, { metric = "kl", steps = { 1 }, title = "Spread",
    questions = 4 }))
  -- sd of { 0, log 1.1, 0, log 1.1 } is log 1.1 / sqrt 3 = 5.5 %
  t.eq(text:find("| LSD | spread in % | 5.5 |", 1, true) ~= nil, true, text)
  t.eq(text:find("up to 6 degrees of freedom", 1, true) ~= nil, true, text)
  local n = power.seeds { difference = 0.1, spread = math.log(1.1) / math.sqrt(3), questions = 4 }
  t.eq(text:find(("|  | of 4 questions | %d |"):format(n), 1, true) ~= nil, true, text)
  t.eq(text:find("no spread without", 1, true), nil)
  text = tables.markdown(tables.spread(set:select { seed = 1 }, { metric = "kl", steps = { 1 },
    title = "Spread" }))
  t.eq(text:find("no spread without two runs of equal settings.", 1, true) ~= nil, true, text)
  text = tables.markdown(tables.cost(set, { title = "Cost", rows = { "method", "eta" },
    reference = { method = "LSD" } }))
  t.eq({ text:find "| ESD | 0\\.5 | – | – |" ~= nil,
    text:find "Not stated for a rehearsal" ~= nil }, { true, true }, text)
  for _, run in ipairs(set.runs) do
    run.config.profile = "laptop"
    run.manifest.cpu_s = run.manifest.cpu_s * ({ 1, 2, 3, 10 })[run.config.seed] -- median 2.5
  end
  text = tables.markdown(tables.cost(set, { title = "Cost", rows = { "method", "eta" },
    reference = { method = "LSD" } }))
  t.eq(text:find("| ESD | 0\\.5 | 75.00 | 1.50 |", 1, true) ~= nil, true, text)
end)

t.done()
