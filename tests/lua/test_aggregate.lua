-- Ratios to a reference method and aggregates over laws and numbers of steps, on synthetic runs;
-- by simulation, the coverage of the intervals in these tables.

local t = require "harness"
local aggregate = require "flowmap.report.aggregate"
local bootstrap = require "flowmap.measure.bootstrap"
local draws = require "flowmap.measure.draws"
local made_run = require "made_run"
local measured = require "flowmap.report.measured"
local paired = require "flowmap.measure.paired"
local render_list = require "flowmap.experiment.render_list"
local results = require "flowmap.report.results"
local sandbox = require "sandbox"
local stats = require "flowmap.measure.stats"
local tables = require "flowmap.report.table"

-- Runs with kl = value(method, seed, data) at N = 1 and half of it at N = 4; nil: it diverged.
local function made(name, methods, seeds, value)
  local root = ("%s/%s"):format(sandbox.root, name)
  for _, data in ipairs { "modes", "board" } do
    for _, method in ipairs(methods) do
      for seed = 1, seeds do
        local kl, dir = value(method, seed, data), ("%s/%s-%s-%d"):format(root, data, method, seed)
        local config = { method = method, seed = seed, data = data, eta = 0.75, steps = 9 }
        local metrics = { { step = 1, samples = 64, off = 1 } }
        if kl then
          made_run.finished(dir, { config = config, metrics = metrics,
            rows = { { N = 1, kl = kl }, { N = 4, kl = kl / 2 } } })
        else
          made_run.diverged(dir, { config = config, metrics = metrics, step = 5 })
        end
      end
    end
  end
  return results.open(root)
end

local LEVEL = { lsd = 1, esd = 2, ["psd-m"] = 1 }

-- ESD is twice LSD, up to 1 %; PSD-M is LSD with the seeds in another order.
local function kl_of(method, seed, data)
  local of = method == "psd-m" and 9 - seed or seed
  local noise = method == "esd" and 1 + 0.01 * (seed % 2) or 1
  return (data == "board" and 10 or 1) * LEVEL[method] * (1 + 0.1 * of) * noise
end

local set = made("eight", { "lsd", "esd", "psd-m" }, 8, kl_of)

t.test("results stand beside their ratios, one family of questions", function()
  local it = aggregate.relative(set:select { data = "modes" }, { metrics = { "kl", "kl" },
    steps = { 1, 4 }, columns = { "KL", "KL at 4" }, title = "both", format = "%.1f" })
  local text = tables.markdown(it):gsub("\u{a0}", " ")
  t.has(text, "| method | KL | KL / LSD | KL at 4 | KL at 4 / LSD |")
  t.has(text, "| LSD | 1.5 ± 0.2 | – | 0.7 ± 0.1 | – |")
  t.has(text, "| ESD | 2.9 ± 0.4 | 2.01 [2.00, 2.02] | 1.5 ± 0.2 | 2.01 [2.00, 2.02] |")
  local notes = table.concat(it.notes, "\n")
  t.has(notes, "Ratios are paired over 8 seeds that both sides share. p is the two-sided sign-flip "
    .. "p (exact) after Holm over the 4 ratios of this table.")
  t.has(notes, "At level 0.05. Above LSD: ESD: KL, KL at 4. No difference from LSD shown: PSD-M")
  local csv = tables.csv(it)
  t.has(csv, "\nmethod,column,value,half95,n,low95,high95\n")
  t.eq(csv:find "\nESD,KL / LSD,2.00%d+,,8,2.00%d+,2.01%d+\n" ~= nil, true, csv)
end)

t.test("a diverged run leaves no ratio; one seed has no interval", function()
  local lost = made("lost", { "lsd", "esd", "psd-m" }, 3, function(method, seed, data)
    if method == "esd" and (seed == 2 or data == "modes") then return nil end
    return kl_of(method, seed, data)
  end)
  local spec = { metrics = { "kl" }, steps = { 1 }, columns = { "KL" }, title = "t" }
  local text = tables.markdown(aggregate.relative(lost:select { data = "board" }, spec))
  t.has(text, "| ESD | diverged (1 of 3) | diverged (1 of 3) |")
  text = tables.markdown(aggregate.relative(lost:select { data = "modes" }, spec))
  t.has(text, "| ESD | diverged | diverged |")
  text = tables.markdown(aggregate.relative(set:select { data = "modes", seed = 1 }, spec))
  t.has(text, "| ESD | 2.2220 | 2.02 |")
  t.has(text, "(n = 1 seed)")
end)

t.test("aggregates over laws and numbers of steps", function()
  local spec = { metric = "kl", over = { "data" }, title = "over all" }
  local it = aggregate.aggregate(set, spec)
  t.eq(it.rows[1].heads, { "ESD" })
  local iqm, better = table.unpack(it.rows[1].cells)
  t.near(iqm.mean, 2 * math.sqrt(1.01), 1e-12) -- half of the ratios are 2, half 2.02
  t.eq(iqm.low >= 2 - 1e-9 and iqm.low < iqm.mean and iqm.high > iqm.mean, true)
  t.eq({ better.n, better.mean < 0.05 }, { 16, true })
  iqm, better = table.unpack(it.rows[2].cells)
  t.near(iqm.mean, 1, 1e-12)
  t.near(better.mean, 0.5, 1e-12)
  t.eq({ better.low < 0.5, better.high > 0.5 }, { true, true })
  local text = tables.markdown(it)
  t.has(text, "| PSD-M | 1.00 [0")
  t.has(text, "Over 2 laws (board; modes) and N = 1, 4.")
  t.raises(function()
    aggregate.aggregate(set, { metric = "kl", over = { "eta" }, title = "t" })
  end, "two runs of .* with the seed 1: add a setting to over")
  t.raises(function()
    aggregate.aggregate(set, { metric = "kl", over = { "data" }, title = "t", against = "lsdd" })
  end, "no method 'lsdd' to compare with; known: ESD, LSD")
end)

t.test("a diverged run is the worst; a law without a method leaves no aggregate", function()
  local lost = made("worst", { "lsd", "esd" }, 4, function(method, seed, data)
    return not (method == "esd" and seed == 4) and kl_of(method, seed, data) or nil
  end)
  local spec = { metric = "kl", over = { "data" }, title = "t" }
  local it = aggregate.aggregate(lost, spec)
  t.has(tables.markdown(it), "| ESD | 2.02 [2.00, inf] | 0.00 |")
  it = aggregate.aggregate(lost, { metric = "kl", over = { "data" }, title = "t", against = "ESD" })
  t.eq(it.rows[1].cells[2].mean > 0.9, true)
  it = aggregate.aggregate(made("alone", { "lsd", "esd" }, 1, kl_of), spec)
  t.eq({ it.rows[1].cells[1].n, it.rows[1].cells[1].low }, { 1 })
  local part = results.open(set.root)
  local kept = {}
  for _, run in ipairs(part.runs) do
    local wanted = run:method() ~= "ESD" or run:field("config", "data") == "board"
    kept[#kept + 1] = wanted and run or nil
  end
  part.runs = kept
  local without = aggregate.aggregate(part, spec)
  t.eq(without.rows[1].cells[1].lost, "–")
  t.has(table.concat(without.notes, "\n"), "–: no ratio, because a value is not positive")
end)

t.test("two runs that diverged with one seed are equal", function()
  local both = made("both", { "lsd", "esd" }, 4, function(method, seed, data)
    return seed ~= 4 and kl_of(method, seed, data) or nil
  end)
  local it = aggregate.aggregate(both, { metric = "kl", over = { "data" }, title = "t" })
  -- of the ratios 2.02, 2, 2.02 and 1 of either law the middle half is one 2 and one 2.02
  t.near(it.rows[1].cells[1].mean, 2 * math.sqrt(1.01), 1e-12)
end)

t.test("a value that one run lacks leaves no mean, a number of steps that it lacks no column",
  function()
    local root = sandbox.root .. "/part"
    for seed = 1, 2 do
      local rows = { { N = 1, kl = seed, own = seed == 1 and 5 or nil }, { N = 4, kl = seed } }
      if seed == 2 then table.insert(rows, 2, { N = 2, kl = seed }) end
      made_run.finished(("%s/lsd-seed%d"):format(root, seed), { config = { method = "lsd",
        seed = seed }, metrics = { { step = 1, samples = 64, off = 1 } }, rows = rows })
    end
    local part = results.open(root)
    t.eq(part:steps(), { 1, 4 })
    t.eq(measured.summary(part, "own", 1), { lost = "–", count = 1, n = 2 })
    t.eq(measured.summary(part, "kl", 1).mean, 1.5)
    t.eq(measured.summary(part, "kl", 2), { lost = "–", count = 1, n = 2 })
  end)

t.test("the fields of a render entry", function()
  local function list(kind, more, grid)
    local entry = { kind = kind, name = "a", title = "t" }
    for key, value in pairs(more) do entry[key] = value end
    render_list.list({ render = { entry }, grid = grid, profiles = {} }, "x.lua", {})
  end
  local grid = { data = { "a", "b" } }
  list("aggregate", { metric = "kl", over = { "data" } }, grid)
  list("relative", { metrics = { "kl" }, steps = { 1 }, columns = { "KL" } })
  t.raises(function() list("aggregate", { metric = "kl", over = {} }, grid) end,
    "the runs differ in data")
  t.raises(function() list("aggregate", { metric = "kl", over = { "dat" } }) end,
    "over: setting 'dat'; did you mean data")
  t.raises(function()
    list("relative", { metrics = { "kl" }, steps = { 1, 4 }, columns = { "KL" } })
  end, "1 metrics have 2 numbers of steps")
end)

-- ------------------------------------------------------------------ by simulation

local function covers(value, what)
  t.eq(value >= 0.93 and value <= 0.97, true, ("%s: %.4f"):format(what, value))
end

t.test("coverage of the t interval of a mean", function()
  for _, n in ipairs { 2, 5 } do
    local normal, hits, count = draws.normal(7, "mean " .. n), 0, 2000
    for _ = 1, count do
      local values = {}
      for i = 1, n do values[i] = 3 + normal() end
      local it = stats.summary(values)
      if math.abs(it.mean - 3) <= it.half then hits = hits + 1 end
    end
    covers(hits / count, "n = " .. n)
  end
end)

t.test("coverage of the interval of a ratio with four seeds", function()
  local normal, hits, count = draws.normal(7, "ratio of four"), 0, 2000
  for _ = 1, count do
    local a, b = {}, {}
    for seed = 1, 4 do
      local common = 0.3 * normal()
      a[seed], b[seed] = 2 * math.exp(common + 0.2 * normal()), math.exp(common + 0.2 * normal())
    end
    local it = paired.ratio(a, b)
    if it.low <= 2 and 2 <= it.high then hits = hits + 1 end
  end
  covers(hits / count, "ratio")
end)

-- Four laws with their own ratio, around 2, and four seeds of two dependent numbers of steps.
t.test("coverage of the interquartile mean of logarithms of ratios over laws and steps", function()
  local normal, hits, count = draws.normal(7, "laws"), 0, 240
  for _ = 1, count do
    local strata = {}
    for k = 1, 4 do
      strata[k] = {}
      for i = 1, 4 do
        local common = math.log(2) + 0.2 * normal()
        strata[k][i] = { common + 0.1 * normal(), common + 0.1 * normal() }
      end
    end
    local it = bootstrap.iqm(strata, 199)
    if it.low <= math.log(2) and math.log(2) <= it.high then hits = hits + 1 end
  end
  covers(hits / count, "interquartile mean")
end)

t.done()
