-- Paired differences below a table, on synthetic runs.

local t = require "harness"
local made_run = require "made_run"
local render_list = require "flowmap.experiment.render_list"
local results = require "flowmap.report.results"
local sandbox = require "sandbox"
local tables = require "flowmap.report.table"
local weave = require "flowmap.report.weave"

-- A set with kl = value(method, seed) at N = 1 and a tenth of it at N = 4.
local function made(name, methods, seeds, value)
  local root = ("%s/%s"):format(sandbox.root, name)
  for _, method in ipairs(methods) do
    for seed = 1, seeds do
      local kl = value(method, seed)
      if kl then
        made_run.finished(("%s/%s-seed%d"):format(root, method, seed), {
          config = { method = method, seed = seed, eta = 0.75 }, metrics = { { step = 1,
            samples = 64, off = 1 } }, rows = { { N = 1, kl = kl, energy = 2 * kl },
            { N = 4, kl = kl / 10, energy = kl / 5 } } })
      end
    end
  end
  return results.open(root)
end

local function compare(set, more)
  local spec = { metric = "kl", title = "KL", paired = true }
  for key, value in pairs(more or {}) do spec[key] = value end
  return tables.compare(set, spec)
end

local METHODS = { "lsd", "esd", "psd-m" }
local LEVEL = { lsd = 0.1, esd = 0.2 }
local WAVE = { 0, 1, -1, 2, -2, 0.5, -0.5, 1 }

-- LSD and ESD share what a seed does; PSD-M has the level of LSD, on its own way.
local function kl_of(method, seed)
  if method == "psd-m" then return 0.1 + 0.01 * WAVE[9 - seed] end
  return LEVEL[method] + 0.01 * WAVE[seed] + (method == "esd" and 0.001 * (seed % 3) or 0)
end

t.test("differences, p after Holm, and what the data support", function()
  local description = compare(made("eight", METHODS, 8, kl_of))
  local text = tables.markdown(description):gsub("\u{a0}", " ")
  t.eq(text:find("| ESD minus LSD | difference | 0.1011 ± 0.0007 | 0.0101 ± 0.0001 |", 1, true)
    ~= nil, true, text)
  -- four differences, of which two have p = 2 / 256
  t.eq(text:find("|  | p | 0.031 | 0.031 |", 1, true) ~= nil, true, text)
  t.eq(text:find("| PSD-M minus LSD | difference |", 1, true) ~= nil, true, text)
  local notes = table.concat(description.notes, "\n")
  for _, part in ipairs {
    "paired over 8 seeds that both sides share. p is the two-sided sign-flip p (exact) after "
      .. "Holm over the 4 differences of this table. The smallest p that these seeds allow is "
      .. "0.0078, after Holm 0.031.",
    "At level 0.05. Above LSD: ESD at N = 1, 4. No difference from LSD shown: PSD-M at N = 1, 4.",
    "Pairing: the correlation of both sides over seeds is -0.",
    "takes 15 paired seeds, or 22 in a family of 4."
  } do
    t.eq(notes:find(part, 1, true) ~= nil, true, part .. "\n" .. notes)
  end
  local csv = tables.csv(description)
  t.eq(csv:find("\nESD minus LSD,p,N = 1,0.03125,,\n", 1, true) ~= nil, true, csv)
  t.eq(csv:find "\nESD minus LSD,difference,N = 1,0.101%d+,0.000%d+,8\n" ~= nil, true, csv)
end)

t.test("with few seeds nothing can be shown, and the note says how many it takes", function()
  local notes = table.concat(compare(made("two", METHODS, 2, kl_of)).notes, "\n")
  t.eq(notes:find("allow is 0.50, after Holm 1.00: no difference can be shown at level 0.05 with "
    .. "fewer than 8 seeds.", 1, true) ~= nil, true, notes)
  t.eq(notes:find("No difference from LSD shown: ESD at N = 1, 4; PSD-M at N = 1, 4.", 1, true)
    ~= nil, true, notes)
  t.eq(notes:find("Pairing:", 1, true), nil)
end)

t.test("p counts after Holm, and a diverged run leaves no difference", function()
  local set = made("seven", METHODS, 7, kl_of) -- p = 2 / 128, after Holm over four 0.0625
  local notes = table.concat(compare(set).notes, "\n")
  t.eq(notes:find("No difference from LSD shown: ESD at N = 1, 4;", 1, true) ~= nil, true, notes)
  made_run.diverged(set.root .. "/esd-seed8", { config = { method = "esd", seed = 8, steps = 9,
    eta = 0.75 }, step = 5, metrics = { { step = 4, samples = 64, off = 1 } } })
  local text = tables.markdown(compare(results.open(set.root)))
  t.eq(text:find("| ESD minus LSD | difference | diverged | diverged |", 1, true) ~= nil, true,
    text)
end)

t.test("another reference; seeds of one side; values that are not finite", function()
  local set = made("odd", METHODS, 4, function(method, seed)
    return not (method == "esd" and seed == 4) and kl_of(method, seed)
  end)
  for _, run in ipairs(set.runs) do
    if run:method() == "PSD-M" then run.eval.rows[1].kl = 0 / 0 end
  end
  local description = compare(set, { against = "esd" })
  local text = tables.markdown(description):gsub("\u{a0}", " ")
  t.eq(text:find("| LSD minus ESD | difference | -0.1010 ±", 1, true) ~= nil, true, text)
  t.eq(text:find("| PSD-M minus ESD | difference | diverged |", 1, true) ~= nil, true, text)
  t.eq(table.concat(description.notes):find("paired over 3 seeds", 1, true) ~= nil, true)
  t.raises(function() compare(set, { against = "ESDD" }) end, "no method 'ESDD' to compare with")
end)

t.test("each method against the one before it", function()
  local description = compare(made("rungs", METHODS, 8, kl_of), { against = "previous" })
  local text = tables.markdown(description):gsub("\u{a0}", " ")
  t.eq(text:find("| ESD minus LSD | difference | 0.1011 ± 0.0007 |", 1, true) ~= nil, true, text)
  t.eq(text:find("| PSD-M minus ESD | difference | -0.10", 1, true) ~= nil, true, text)
  local notes = table.concat(description.notes, "\n")
  t.eq(notes:find("Above the method before: ESD at N = 1, 4. Below the method before: PSD-M at",
    1, true) ~= nil, true, notes)
end)

t.test("one method has no differences; tables without `paired` are as before", function()
  local set = made("one", { "lsd" }, 3, kl_of)
  t.eq(tables.markdown(compare(set)), tables.markdown(compare(set, { paired = false })))
end)

-- A chapter of one line of prose.
local function weave_line(line)
  sandbox.write("claims.md", line)
  return (weave.chapter(sandbox.root .. "/claims.md", { profile = "smoke",
    results = sandbox.root .. "/results" }):gsub("\\(%p)", "%1"))
end

t.test("claims in prose are judged, as one family", function()
  made("results/board/smoke", METHODS, 8, kl_of)
  local text = weave_line "{{claim a: board/kl.LSD.N1 < kl.ESD.N1}}"
  t.eq(text, "supported (difference -0.101, 95 % interval -0.102 to -0.1, p = 0.0078, "
    .. "8 paired seeds)\n\n")
  t.eq(weave_line "{{claim a: board/kl.LSD.N1 > kl.ESD.N1}}":match "^%a+", "contradicted")
  t.eq(weave_line "{{claim a: board/kl.PSD-M.N4 < kl.LSD.N4}}":match "^[%a ]+", "not shown ")
  -- 2 / 256 is shown alone, and not as one of seven
  local claims = {}
  for k = 1, 7 do claims[k] = ("{{claim c%d: board/kl.LSD.N1 < kl.ESD.N1}}"):format(k) end
  text = weave_line(table.concat(claims, " "))
  t.eq(select(2, text:gsub("not shown %(.-p = 0.055 after Holm over 7 claims, 8 paired seeds, too "
    .. "few to show any difference", "")), 7, text)
  for k = 1, 7 do claims[k] = "{{claim c: board/kl.LSD.N1 < kl.ESD.N1}}" end -- one claim, repeated
  t.eq(select(2, weave_line(table.concat(claims, " ")):gsub("supported", "")), 7)
  t.raises(function() weave_line "{{claim a: board/kl.LSD.N1 = kl.ESD.N1}}" end,
    "claims.md:1: .*a claim is written NAME: A < B")
  for _, two in ipairs { "claim a: board/kl.LSD.N1 < other/kl.ESD.N1",
    "ratio board/kl.LSD.N1 other/kl.ESD.N1" } do
    t.raises(function() weave_line(("{{%s}}"):format(two)) end, "are of two experiments")
  end
  t.raises(function()
    weave_line "{{claim a: board/kl.LSD.N1 < kl.ESD.N1}} {{claim a: board/kl.LSD.N1 > kl.ESD.N1}}"
  end, "two claims have the name 'a'")
end)

t.test("comparisons in prose", function()
  made("results/board/smoke", METHODS, 8, kl_of)
  sandbox.write("board.md", "{{board/kl.LSD.N1 %.2f}}\n{{difference board/kl.ESD.N1 kl.LSD.N1 "
    .. "%.3f}}.\n{{ratio board/kl.PSD-M.N4 kl.LSD.N4 eta=0.75 %.2f}}.\n")
  local text = weave.chapter(sandbox.root .. "/board.md", { profile = "smoke",
    results = sandbox.root .. "/results" }):gsub("\\(%p)", "%1")
  t.eq(text, "0.10\nESD is above LSD: difference 0.101, 95 % interval 0.100 to 0.102, "
    .. "p = 0.0078, 8 paired seeds.\nno difference shown between PSD-M and LSD: ratio 1.00, "
    .. "95 % interval 0.81 to 1.23, p = 1.00, 8 paired seeds.\n\n")
  local function fails(inside, why)
    sandbox.write("bad.md", inside)
    t.raises(function()
      weave.chapter(sandbox.root .. "/bad.md", { profile = "smoke",
        results = sandbox.root .. "/results" })
    end, why)
  end
  t.eq(weave_line("{{ratio board/kl.LSD.N1 kl.LSD.N4}}"):match "^[^:]+",
    "LSD at N = 1 is above LSD at N = 4")
  t.eq(weave_line("{{ratio board/kl.LSD.N1 energy.LSD.N1}}"):match "^[^:]+",
    "kl of LSD is below energy of LSD")
  made("results/level/smoke", METHODS, 3, function(method, seed)
    return method == "esd" and seed - 2 or 1
  end)
  t.eq(weave_line "{{ratio level/kl.ESD.N1 kl.LSD.N1}}", "no difference shown between ESD and LSD: "
    .. "a value is not positive and has no ratio\n\n")
  fails("{{difference board/kl.ESD.N1}}", "expected the names of two results")
  fails("{{ratio board/kl.ESD.N1 kl.LSD}}", "'kl.LSD' does not name a result")
  fails("{{ratio board/kl.ESD.N1 kl.LSD.N1 eta=0.5}}", "no finished run with eta = 0.5")
  fails("{{ratio board/kl.ESD.N1 kl.LSD.N3}}", "no row for N = 3")
end)

-- ------------------------------------------------------------------ one setting switched

-- LSD gains 0.02 from four devices, PSD-M nothing.
local function switched(name, seeds, devices)
  local root = ("%s/%s"):format(sandbox.root, name)
  for _, method in ipairs { "lsd", "psd-m" } do
    for _, count in ipairs(devices) do
      for seed = 1, seeds do
        local change = method == "lsd" and -0.005 * count + 0.001 * (seed % 3)
          or 0.01 * WAVE[1 + (seed + count) % 8]
        local kl = 0.1 + 0.01 * WAVE[seed] + (count > 1 and change or 0)
        made_run.finished(("%s/%s-%d-%d"):format(root, method, count, seed), {
          config = { method = method, seed = seed, devices = count, eta = 0.75 },
          metrics = { { step = 1, samples = 64, off = 1 } }, rows = { { N = 1, kl = kl } } })
      end
    end
  end
  return results.open(root)
end

local function switch(set, more)
  local spec = { metric = "kl", title = "KL", switch = "devices", rows = { "method" } }
  for key, value in pairs(more or {}) do spec[key] = value end
  return tables.switch(set, spec)
end

t.test("a setting switched: values, paired differences, p after Holm, notes", function()
  local description = switch(switched("switched", 8, { 1, 4 }))
  local text = tables.markdown(description):gsub("\u{a0}", " ")
  for _, line in ipairs { "| method | devices | N = 1 |", "| LSD | 1 | 0.1012 ±",
    "|  | 4 | 0.0824 ±", "|  | 4 minus 1 | -0.0189 ± 0.0007 |", "|  | p | 0.016 |",
    "| PSD-M | 1 | 0.1012 ±" } do
    t.eq(text:find(line, 1, true) ~= nil, true, line .. "\n" .. text)
  end
  local notes = table.concat(description.notes, "\n")
  t.eq(notes:find("Below devices = 1: LSD at N = 1. No difference from devices = 1 shown: PSD-M at "
    .. "N = 1.", 1, true) ~= nil, true, notes)
end)

t.test("another value as reference; three values; diverged runs", function()
  local set = switched("three", 4, { 1, 2, 4 })
  local text = tables.markdown(switch(set, { against = "4" })):gsub("\u{a0}", " ")
  t.eq(text:find("|  | 1 minus 4 | 0.01", 1, true) ~= nil, true, text)
  t.eq(text:find("shown: LSD, devices = 1 at N = 1; LSD, devices = 2 at", 1, true) ~= nil, true,
    text)
  t.raises(function() switch(set, { against = "3" }) end, "no run has devices = 3")
  made_run.diverged(set.root .. "/lsd-diverged", { config = { method = "lsd", seed = 9, steps = 9,
    devices = 2, eta = 0.75 }, step = 5, metrics = { { step = 4, samples = 64, off = 1 } } })
  text = tables.markdown(switch(results.open(set.root))):gsub("\u{a0}", " ")
  t.eq(text:find("|  | 2 | diverged at 5 (1 of 5) |", 1, true) ~= nil, true, text)
  t.eq(text:find("|  | 2 minus 1 | diverged |", 1, true) ~= nil, true, text)
  made_run.diverged(set.root .. "/psd-m-diverged", { config = { method = "psd-m", seed = 1,
    steps = 9, devices = 8, eta = 0.75 }, step = 7,
    metrics = { { step = 6, samples = 64, off = 1 } } })
  text = tables.markdown(switch(results.open(set.root))):gsub("\u{a0}", " ")
  made_run.finished(set.root .. "/esd-alone", { config = { method = "esd", seed = 1, devices = 1,
    eta = 0.75 }, metrics = { { step = 1, samples = 64, off = 1 } }, rows = { { N = 1, kl = 1 } } })
  t.eq(tables.markdown(switch(results.open(set.root))):find("ESD", 1, true), nil)
  for _, line in ipairs { "|  | 8 | diverged at 7 |", "|  | 8 minus 1 | diverged |" } do
    t.eq(text:find(line, 1, true) ~= nil, true, line .. text)
  end
end)

t.test("settings of one side in prose; diverged runs are a sentence", function()
  local set = switched("results/sides/smoke", 6, { 1, 4 })
  local function woven(inside)
    sandbox.write("sides.md", inside)
    return (weave.chapter(sandbox.root .. "/sides.md", { profile = "smoke",
      results = sandbox.root .. "/results" }):gsub("\\(%p)", "%1"))
  end
  local inside = "{{difference sides/kl.LSD.N1[devices=4] kl.LSD.N1[devices=1,eta=0.75] %.3f}}"
  t.eq(woven(inside), "LSD (devices = 4) is below LSD (devices = 1, eta = 0.75): difference "
    .. "-0.019, 95 % interval -0.020 to -0.018, p = 0.031, 6 paired seeds\n\n")
  local short = woven "{{difference sides/kl.LSD.N1[devices=4:1] eta=0.75 %.3f}}"
  t.eq(short, (woven(inside):gsub(", eta = 0.75", "")))
  t.eq(woven("{{ratio sides/kl.LSD.N1[devices=1:4] %.2f}}"):match "^LSD.- is",
    "LSD (devices = 1) is")
  t.raises(function() woven(inside:gsub("=1", "")) end, "'devices' in brackets; expected settings")
  t.raises(function() woven(inside:gsub("=4", "=5")) end, "no finished run with devices = 5")
  made_run.diverged(set.root .. "/lsd-diverged", { config = { method = "lsd", seed = 9, steps = 9,
    devices = 4, eta = 0.75 }, step = 5, metrics = { { step = 4, samples = 64, off = 1 } } })
  t.eq(woven(inside), "no difference shown between LSD (devices = 4) and LSD (devices = 1, "
    .. "eta = 0.75): runs of LSD (devices = 4) diverged\n\n")
  made_run.diverged(set.root .. "/esd-diverged", { config = { method = "esd", seed = 1, steps = 9,
    devices = 1, eta = 0.75 }, step = 5, metrics = { { step = 4, samples = 64, off = 1 } } })
  t.eq(woven "{{ratio sides/kl.ESD.N1 kl.LSD.N1[devices=1]}}", "no difference shown between ESD "
    .. "and LSD (devices = 1): runs of ESD diverged\n\n")
  t.raises(function() woven "{{ratio sides/kl.ESD.N1[devices=2] kl.LSD.N1[devices=1]}}" end,
    "no finished run with devices = 2, method = ESD")
end)

t.test("the fields of a render entry", function()
  local function list(more)
    local entry = { kind = "compare", name = "a", metric = "kl", title = "t" }
    for key, value in pairs(more) do entry[key] = value end
    render_list.list({ render = { entry } }, "x.lua", {})
  end
  list { paired = true, against = "ESD" }
  t.raises(function() list { paired = 1 } end, "paired must be a boolean")
  t.raises(function() list { pared = true } end, "unknown field 'pared'; did you mean paired")
end)

t.done()
