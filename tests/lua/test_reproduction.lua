-- The reproduction report: published values beside ours, from sets that lack runs, methods and
-- steps.

local t = require "harness"
local contexts = require "flowmap.report.context"
local files = require "flowmap.base.files"
local made_run = require "made_run"
local reproduction = require "flowmap.report.reproduction"
local sandbox = require "sandbox"
local weave = require "flowmap.report.weave"

local root = sandbox.root

local RATE = { lsd = 0.10, ["psd-m"] = 0.30 } -- KL at one step

local function made(base, method, seeds, rows)
  for seed = 1, seeds do
    local own = {}
    for i, row in ipairs(rows) do
      own[i] = { N = row.N, kl = row.kl * (1 + 0.01 * (seed % 3)), fd_cnn = row.fd_cnn }
    end
    made_run.finished(("%s/%s-seed%d"):format(base, method, seed), { rows = own, metrics = {},
      config = { method = method, seed = seed, eta = 0.75, bins = 64 } })
  end
end

local base = root .. "/results/checkerboard/smoke"
for method, kl in pairs(RATE) do
  made(base, method, 10, { { N = 1, kl = kl }, { N = 2, kl = 0.2 } })
end

local function text(words)
  return reproduction.text(contexts.new(nil, { profile = "smoke", results = root .. "/results",
    output = root .. "/build" }, "a.md"), words)
end

local function row(words, start)
  for line in text(words):gmatch "[^\n]+" do
    if line:sub(1, #start) == start then return line end
  end
end

t.test("values: published and ours in columns of their own, verdicts with reasons", function()
  local values = text "values checkerboard"
  t.has(values, "| method | N | verdict | published KL(data \\|\\| model) | ours, KL(data")
  t.has(row("values checkerboard", "| LSD |"), "not comparable (a) | 0.0864 | 0.1010")
  t.has(values, "\\(a\\) the paper does not state its estimator")
  t.eq(row("values checkerboard", "| ESD |"), "| ESD | 1 | not attempted (c) | 0.0983 | – |")
  t.has(values, "\\(c\\) no runs of ESD in this set.")
  t.has(values, "\\(b\\) this number of steps was not evaluated.")
  t.has(values, "](<reproduction-values-checkerboard.csv>)")
  local csv = files.read(root .. "/build/reproduction-values-checkerboard.csv")
  t.has(csv, "\nLSD,1,not comparable (a),0.0864,0.101,0.00")
  t.has(csv, "\nESD,1,not attempted (c),0.0983,,\n")
end)

t.test("orders: shown, and not attempted where a method has no runs", function()
  local line = row("orders checkerboard", "| LSD, PSD-M |")
  t.eq(line:match "\\< supported" ~= nil, true, line)
  t.eq(select(2, row("orders checkerboard", "| LSD, ESD |"):gsub("not attempted", "")), 5)
end)

t.test("an experiment without runs is not attempted, and no error", function()
  t.eq({ text "conditions afhq", text "orders afhq" }, { "", "" })
  t.has(text "values afhq", "Not attempted: there are no runs")
  t.has(row("values afhq", "| *LSD* "), "| *11.19* | *7.78* |")
end)

t.test("all verdicts are counted", function()
  t.has(text "tally", "65 published values (4 not comparable, 61 not attempted)")
  t.has(text "tally", " the 75 orders of two methods that follow from them (1 supported, ")
end)

t.test("the profile paper has the published settings, except one diagonal fraction", function()
  local settings = text "settings"
  t.has(settings, "| Checkerboard | none | 19 |")
  t.has(settings, "| CIFAR-10 | eta of LSD: published 0.9, ours 0.75 |")
  t.has(settings, "| CelebA-64 | none |")
  t.has(settings, "| AFHQ-64 | none |")
end)

local function woven(source)
  require("flowmap.report.results").write_file(root .. "/a.md", source)
  return weave.chapter(root .. "/a.md", { profile = "smoke", results = root .. "/results" })
end

t.test("a claim that may lack its runs says so; one that may not is an error", function()
  t.has(woven "{{claim? a: checkerboard/kl.LSD.N1 < kl.PSD-M.N1}}", "supported (difference -0.2")
  t.has(woven "{{claim? a: checkerboard/kl.LSD.N1 < kl.ESD.N1}}",
    "not attempted (no runs of ESD in this set)")
  t.has(woven "{{claim? a: checkerboard/kl.LSD.N4 < kl.PSD-M.N4}}",
    "not attempted (kl of LSD at N = 4 was not measured)")
  t.has(woven "{{claim? a: afhq/kl.LSD.N4 < kl.PSD-M.N4}}", "not attempted (no runs in this set)")
  t.raises(function() woven "{{claim a: checkerboard/kl.LSD.N1 < kl.ESD.N1}}" end,
    "no finished run with method = ESD")
end)

t.test("a comparison or an effect that may lack its runs says so", function()
  local absent = "not attempted (no runs in this set)"
  t.has(woven "{{ratio? checkerboard/kl.LSD.N1 kl.PSD-M.N1 %.2f}}", "LSD is below PSD-M: ratio 0.")
  t.has(woven "{{difference? checkerboard/kl.LSD.N1 kl.PSD-M.N1 %.2f}}", "difference -0.2")
  t.has(woven "{{ratio? checkerboard/kl.LSD.N1 kl.ESD.N1}}", "not attempted (no runs of ESD in")
  t.has(woven "{{ratio? afhq/kl.LSD.N1 kl.PSD-M.N1 %.2f}}", absent)
  t.has(woven "{{difference? afhq/kl.LSD.N1 kl.PSD-M.N1}}", absent)
  t.has(woven "{{effect? ablations/effects-N1 | eta | all methods}}",
    "eta (all methods): " .. absent)
  t.raises(function() woven "{{ratio afhq/kl.LSD.N1 kl.PSD-M.N1}}" end, "afhq")
end)

t.done()
