-- The gate: its short form, its statistics, its reports, and that an experiment joins by one line.

package.path = "tests/regression/?.lua;" .. package.path

local t = require "harness"
local fm = require "flowmap"
local gate = require "gate"
local core = require "flowmap.core"
local probe = require "probe"
local quality = require "quality"
local reports = require "reports"
local sandbox = require "sandbox"
local speed = require "speed"
local store = require "store"
local studies = require "studies"
local tiers = require "tiers"

local stored = store.read()

-- ------------------------------------------------------------------ the short form

core.set_threads(1)
for _, it in ipairs(gate.cases(stored, { short = true })) do
  if it.verdict == "new" then
    t.skip(("no baseline of %s"):format(it.name), "make regress-update WHY=\"...\" measures one")
  else
    t.test(("%s is trained as before"):format(it.name), function()
      t.eq(it.verdict == "same" or it.verdict == "rounding", true, it.text)
      t.eq(it.memory, nil)
    end)
  end
end

-- A method of the suite without a baseline.
local without = {}
for _, name in ipairs(fm.tree.keys(probe.names(studies.list))) do
  if not stored.shadow[name] then without[#without + 1] = name end
end
if #without > 0 then
  t.skip("no baseline of " .. table.concat(without, ", "),
    "make regress-update WHY=\"...\" measures one")
end

t.test("every stored case, and its bits on every instruction set, belong to a study", function()
  local known = probe.names(studies.list)
  for name in pairs(stored.shadow) do t.eq(known[name], true, name) end
  for numerics, hashes in pairs(stored.bits) do
    for name in pairs(hashes) do t.eq(known[name], true, numerics .. ": " .. name) end
  end
end)

t.test("every renewal has its reason", function()
  for line in io.lines(store.folder .. "/reasons.jsonl") do
    local it = fm.json.decode(line)
    t.eq(#it.why >= 10 and it.date:find "^%d+%-%d+%-%d+$" == 1, true, line)
  end
  for _, why in ipairs { "", "  ", "\n", "because" } do
    t.raises(function() store.reason(why) end, "baselines are renewed for a reason alone")
  end
  t.raises(store.reason, "make regress%-update")
  t.eq(store.reason " a  new\nschedule ", "a new schedule")
end)

-- ------------------------------------------------------------------ tiers 1 and 2

local SHADOW = { loss = { 1, 2 }, norm = { 0.5, 0.25 }, samples = { 1, 1 }, bytes = 1000 }

local function found(change)
  local it = { bits = "a b", loss = { 1, 2 }, norm = { 0.5, 0.25 }, samples = { 1, 1 },
    bytes = 1000 }
  for key, value in pairs(change or {}) do it[key] = value end
  return it
end

t.test("equal bits, rounding, another course, a new case", function()
  local function verdict(change, bits, shadow, tolerance)
    local it = tiers.compare(found(change), bits, shadow, tolerance)
    return it.verdict, it.text
  end
  t.eq(verdict({}, "a b", SHADOW), "same")
  t.eq(verdict({ loss = { 1, 2.0001 } }, "c b", SHADOW), "rounding")
  local _, text = verdict({ loss = { 1, 2.0004 } }, "c b", SHADOW)
  t.eq(text, "other bits; the loss of step 2 differs by 2.0e-04")
  t.eq(verdict({ norm = { 0.5, 0.2499 } }, "c b", SHADOW), "changed")
  t.eq(verdict({ norm = { 0.5, 0.2499 } }, "c b", SHADOW, 1e-2), "rounding")
  _, text = verdict({ loss = { 1, 3 }, norm = { 0.6, 0.25 } }, "c b", SHADOW)
  t.eq(text, "other bits; the gradient norm of step 1 differs by 2.0e-01")
  t.eq(verdict({ samples = { 1, 1.1 } }, "c b", SHADOW), "changed")
  t.eq(verdict({ loss = { 1, 0 / 0 } }, "c b", SHADOW), "changed")
  t.eq(verdict({ loss = { 1 } }, "c b", SHADOW), "changed")
  t.eq(verdict({}, nil, SHADOW), "rounding")
  t.eq(verdict({}, nil, nil), "new")
end)

t.test("memory may grow by 2 %", function()
  t.eq(tiers.compare(found { bytes = 1020 }, "a b", SHADOW).memory, nil)
  t.eq(tiers.compare(found { bytes = 1021 }, "a b", SHADOW).memory,
    "memory of the step grew from 1000 to 1021 bytes, by 2.1 %")
end)

-- ------------------------------------------------------------------ tier 3

-- Stored runs of independent normal logs: methods share a part of the seed's deviation.
local function normals(random)
  return function()
    return math.sqrt(-2 * math.log(1 - random())) * math.cos(2 * math.pi * random())
  end
end

local METHODS = { "one", "two", "three" }

local function draw(normal, shift)
  local runs, shared = {}, normal()
  for _, method in ipairs(METHODS) do
    runs[method] = { logs = { 0.1 * (0.5 * shared + normal()) + (shift or 0) } }
  end
  return runs
end

-- The share of alarms over many banks, each with new seeds; and of those that a shift is found.
local function alarms(count, shift)
  math.randomseed(5)
  local normal, hits = normals(math.random), 0
  local made = {}
  for _ = 1, count do
    local bank = { methods = METHODS, runs = {} }
    for k = 1, quality.STORED do bank.runs[k] = draw(normal) end
    made[1] = made[1] or quality.questions { study = bank }
    for _, question in ipairs(made[1]) do quality.measure(question, bank.runs) end
    local by = type(shift) == "function" and shift(made[1]) or shift
    local _, alarm = quality.decide(made[1], function() return draw(normal, by) end, bank.runs)
    hits = hits + (alarm and 1 or 0)
  end
  return hits / count
end

t.test("of runs that have not changed, at most 1 in 200 raises an alarm", function()
  local share = alarms(3000, 0)
  t.eq(share <= 1 / 200 + 3 * math.sqrt(0.005 / 3000), true, ("%.4f"):format(share))
  t.eq(share > 0, true) -- the limits are not out of reach
end)

t.test("the stated smallest loss is found with 90 % power", function()
  local share = alarms(300, function(questions) return math.log(1 + questions[1].smallest) end)
  t.eq(share >= 0.85, true, ("%.3f"):format(share))
end)

t.test("samples to a quality are interpolated between the points of a curve", function()
  local run = { curve = { 1, 0.5, 0.4 }, batch = 10 }
  t.near(quality.reached(run, 0.75, 100), 150, 1e-9)
  t.eq(quality.reached(run, 2, 100), 100)
  t.eq(quality.reached(run, 0.3, 100), nil)
  t.near(quality.reached({ curve = { math.huge, 0.5 }, batch = 10 }, 0.75, 100), 200, 1e-9)
end)

-- ------------------------------------------------------------------ speed

t.test("slower are two of three repeats, by more than 2 % and more than they differ", function()
  local one = { 1, 1, 1.001 }
  t.eq(speed.compare({ 1.03, 1.031, 1.0 }, one), false) -- they differ by 3.1 %
  t.eq(type(speed.is_busy()), "boolean")
  t.eq(speed.compare({ 1.03, 1.031, 1.035 }, one), true)
  t.eq(speed.compare({ 1.019, 1.0195, 1.02 }, one), false)
  t.eq(speed.compare({ 1.6, 1.5, 1.2 }, one), true)
  t.eq(speed.compare({ 0.9, 1.0, 1.3 }, one), false)
  t.eq(speed.compare({ 1.03, 1.031, 1.035 }, { 1, 0.95, 1.01 }), false) -- when stored, by 6 %
end)

-- ------------------------------------------------------------------ reports

local RESULTS = {
  { tier = "bits", name = "a", verdict = "pass", text = "the same bits", seconds = 0.25 },
  { tier = "shadow", name = "b # 1", verdict = "fail", text = "<&\"' \\ #\n1 ]]>" },
  { tier = "speed", name = "c", verdict = "skip", text = "none # stored" },
}

t.test("JUnit XML is well formed, whatever the texts hold", function()
  local xml = reports.junit(RESULTS)
  t.eq(xml:find('<testsuites tests="3" failures="1" skipped="1" time="0.250">', 1, true) ~= nil,
    true, xml)
  t.eq(xml:find('<failure message="&lt;&amp;&quot;&#39; \\ # 1 ]]&gt;"/>', 1, true) ~= nil, true,
    xml)
  if sandbox.has "python3" then
    sandbox.write("junit.xml", xml)
    local code, out = sandbox.run [[python3 -c '
import xml.etree.ElementTree as e
r = e.parse("junit.xml").getroot()
print(len(list(r.iter("testcase"))), r.find(".//failure").get("message"))']]
    t.eq(code, 0, out)
    t.eq(out, "3 <&\"' \\ # 1 ]]>\n")
  end
end)

t.test("TAP has a plan, and # begins a directive only where it is one", function()
  t.eq(reports.tap(RESULTS), "TAP version 13\n1..3\nok 1 - bits: a\n# the same bits\n"
    .. "not ok 2 - shadow: b \\# 1\n# <&\"' \\ # 1 ]]>\n"
    .. "ok 3 - speed: c # SKIP none \\# stored\n")
end)

-- ------------------------------------------------------------------ the program

for _, name in ipairs { "gate", "probe", "quality", "renewal", "reports", "speed", "store", "tiers",
  "discs" } do
  sandbox.write(("tests/regression/%s.lua"):format(name),
    sandbox.read(("%s/tests/regression/%s.lua"):format(sandbox.here, name)))
end
sandbox.write("mine.lua", [[
return { name = "mine", methods = { "lsd" },
  settings = { data = "gaussians", width = 8, depth = 1 },
  profiles = { smoke = { batch = 32, micro = 32, lr = 1e-2, ema = { 0.9 } } } }
]])

local function run_gate(options)
  return sandbox.flowmap("lua tests/regression/gate.lua -- --native --no-speed " .. (options or ""))
end

t.test("an experiment joins by one line; a change fails until there is a reason for it", function()
  sandbox.write("tests/regression/studies.lua",
    'return { list = { { experiment = "mine.lua", steps = 20, quality = { steps = 20 } },\n'
    .. '{ experiment = "mine.lua", name = "other", isas = { "none" }, quality = false } } }\n')
  local code, out = run_gate "--judge minr" -- nothing is trained before this is noticed
  t.eq({ code, out:gsub("^.-unknown", "unknown") }, { 2,
    "unknown study of --judge 'minr'; did you mean mine?\n", 1 }, out)
  code, out = run_gate()
  t.eq(code, 0, out)
  t.eq(out:find "0 passed, 0 failed, 1 skipped" ~= nil, true, out)
  code, out = run_gate '--update ""'
  t.eq(code, 2, out)
  code, out = run_gate '--update "an experiment of my own"'
  t.eq(code, 0, out)
  code, out = run_gate()
  t.eq(code, 0, out)
  t.eq(out:find "1 with the same bits, 0 rounded otherwise, 0 changed, 0 new" ~= nil, true, out)
  local bits_json, shadow_json = store.folder .. "/bits.json", store.folder .. "/shadow.json"
  local shadow = fm.json.decode(sandbox.read(shadow_json))
  local bits = fm.json.decode(sandbox.read(bits_json))
  local elsewhere = { ["mine/lsd"] = "a b", ["other/lsd"] = "c d", ["gone/lsd"] = "e f" }
  sandbox.write(bits_json, fm.json.encode { ["elsewhere none"] = elsewhere })
  shadow["other/lsd"], shadow["gone/lsd"] = shadow["mine/lsd"], shadow["mine/lsd"]
  sandbox.write(shadow_json, fm.json.encode(shadow))
  code, out = run_gate '--update "a machine of another kind"'
  t.eq(code, 0, out)
  shadow["gone/lsd"], elsewhere["gone/lsd"], bits["elsewhere none"] = nil, nil, elsewhere
  t.eq(fm.json.decode(sandbox.read(shadow_json)), shadow)
  t.eq(fm.json.decode(sandbox.read(bits_json)), bits)
  sandbox.write("mine.lua", (sandbox.read "mine.lua":gsub("lr = 1e%-2", "lr = 2e-2")))
  code, out = run_gate()
  t.eq(code, 1, out)
  t.eq(out:find "FAIL shadow: mine/lsd on %w+: other bits; the loss of step 2 differs by" ~= nil,
    true, out)
  t.eq(out:find "quality: mine: the distance to the data changed by" ~= nil, true, out)
  t.eq(out:find "samples: mine/lsd: distance by 4 steps: [%d.]+ at the end" ~= nil, true, out)
  t.eq(sandbox.read "build/regress/results.tap":find "not ok 1 %- shadow: mine/lsd" ~= nil, true)
  t.eq(sandbox.read "build/regress/junit.xml":find "<failure message=" ~= nil, true)
  code, out = run_gate "--accept-changed"
  t.eq(code, 0, out)
end)

t.test("a loss of quality fails, whatever is accepted", function()
  sandbox.write("mine.lua", (sandbox.read "mine.lua":gsub("width = 8", "sigma = 4, width = 8")))
  local code, out = run_gate "--accept-changed"
  t.eq(code, 1, out)
  t.eq(out:find "FAIL quality: mine: the distance to the data changed by %+" ~= nil, true, out)
end)

t.test("a training that diverges fails, and the results are written", function()
  sandbox.write("mine.lua", (sandbox.read "mine.lua":gsub("lr = 2e%-2", "clip = 0, lr = 900")))
  local code, out = run_gate "--accept-changed"
  t.eq(code, 1, out)
  t.eq(out:find "FAIL quality: mine: the distance to the data changed by %+inf" ~= nil, true, out)
  local list = fm.json.decode(sandbox.read "build/regress/results.json")
  t.eq({ list[#list - 1].name, list[#list - 1].verdict }, { "mine/lsd", "fail" })
end)

t.test("a damaged baseline is an error, not one that is missing", function()
  local path = store.folder .. "/shadow.json"
  sandbox.write(path, (sandbox.read(path):gsub("^{", "{ <<<<<<< ours")))
  local code, out = run_gate()
  t.eq(code, 3, out)
  t.eq(out:find "shadow.json is not a JSON object" ~= nil, true, out)
end)

t.done()
