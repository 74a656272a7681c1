-- Parts of the book that come from one place: source text, links to chapters, the checklist from
-- manifests, the glossary of ARCHITECTURE.md and the citation of CITATION.cff.

local t = require "harness"
local caption = require "flowmap.report.caption"
local chapters = require "flowmap.experiment.chapters"
local checklist = require "flowmap.report.checklist"
local contexts = require "flowmap.report.context"
local document = require "flowmap.report.document"
local files = require "flowmap.base.files"
local inserts = require "flowmap.report.inserts"
local made_run = require "made_run"
local results = require "flowmap.report.results"
local sandbox = require "sandbox"

local root = sandbox.root

local function lacks(text, part) t.eq(text:find(part, 1, true), nil, part) end

t.test("the source of a function is that of its file, from its head to its end", function()
  local path = "lua/flowmap/residuals.lua"
  local whole = files.read(files.installed(path))
  for _, name in ipairs { "M.lagrangian", "M.eulerian", "M.semigroup", "by_way", "M.diagonal" } do
    local text = inserts.source(path, name)
    t.has(whole, text .. "\n")
    t.eq(text:gsub("^local ", ""):match "^function " ~= nil, true, name)
    t.eq(text:match "end$", "end", name)
    t.eq(select(2, text:gsub("\nend", "")) <= 1, true, name)
  end
  t.has(inserts.source("lua/flowmap/methods/lsd.lua", "return"), 'family = "lagrangian"')
  t.raises(function() inserts.source(path, "M.none") end, "has no function 'M.none'")
end)

local SOURCE = [[
local function one(a) return a end

local function two(a)
  if a then
    return a
  end
end
]]

t.test("a function of one line ends there, and one function does not run into the next", function()
  results.write_file(root .. "/a.lua", SOURCE)
  local installed = files.installed
  files.installed = function(path) return path end
  local one, two = inserts.source(root .. "/a.lua", "one"),
    inserts.source(root .. "/a.lua", "two")
  files.installed = installed
  t.eq(one, "local function one(a) return a end")
  t.eq(two, SOURCE:match "\n(local function two.*end)\n$")
end)

local function made(profile, it)
  made_run.finished(("%s/results/checkerboard/%s/lsd-seed%d"):format(root, profile, it.seed), {
    rows = { { N = 1, kl = 1 } }, metrics = {}, config = { method = "lsd", seed = it.seed },
    manifest = { finished = it.finished, isa = it.isa } })
end

made("long", { seed = 1, finished = "2026-01-02T00:00:00Z", isa = "avx2" })
made("long", { seed = 2, finished = "2026-01-04T00:00:00Z", isa = "scalar" })
made("smoke", { seed = 1, finished = "2026-01-02T00:00:00Z", isa = "avx2" })

local function context(profile)
  return contexts.new(nil, { profile = profile, results = root .. "/results",
    output = root .. "/build" }, "a.md")
end

t.test("the checklist is filled from manifests", function()
  local text = checklist.text(context "long", "")
  t.has(text, "2 runs that ended and 0 runs that diverged, in 1 experiment; seeds of each: 2.")
  t.has(text, "instruction sets avx2, scalar")
  t.has(text, "For the runs of this page: less than 5 minutes")
  t.has(text, "\\./flowmap reproduce \\-\\-profile long")
  t.has(text, "No\\. The classifier")
  t.has(checklist.text(context "long", "runs"), "| Checkerboard | 1, 2 | 1,234,567 | abc |")
  t.raises(function() checklist.text(context "long", "x") end, "expected nothing or runs")
  t.raises(function() checklist.text(context "laptop", "") end, "no runs of any chapter")
end)

t.test("results are dated by their manifests; a rehearsal states neither date nor times", function()
  t.eq(checklist.dates(context "long"), "2026-01-02 to 2026-01-04")
  lacks(checklist.dates(context "smoke"), "2026")
  local text = checklist.text(context "smoke", "") .. checklist.text(context "smoke", "runs")
  lacks(text, "minutes")
  lacks(text, "MiB")
end)

-- A set of runs with the given seeds and numbers of samples, of which the last diverged.
local function set_of(seeds, seen)
  local runs = {}
  for i, seed in ipairs(seeds) do
    local fields = { seed = seed, profile = "long", samples_seen = seen[i],
      rows = { { N = 1, samples = 1000 } } }
    runs[i] = { field = function(_, _, path) return fields[path] end }
  end
  return { runs = runs, diverged = { table.remove(runs) } }
end

t.test("captions state profile, seeds, samples and trainings that diverged", function()
  t.eq(caption.words(set_of({ 11, 12, 13, 14 }, { 5000, 5000, 5000 })), "Profile long; seeds 11 "
    .. "to 14; 5,000 training samples; 1,000 samples judged; 1 of 4 trainings diverged.")
  t.eq(caption.words(set_of({ 1, 3, 4 }, { 10, 2000 })), "Profile long; seeds 1, 3, 4; 10 to 2,000 "
    .. "training samples; 1,000 samples judged; 1 of 3 trainings diverged.")
  for entry, words in pairs { [{ kind = "density" }] = "seeds 1 to 3, of which the lowest is shown",
    [{ kind = "density", seed = 2 }] = "seed 2", [{ kind = "traces" }] = "seeds 1 to 3" } do
    t.has(caption.words(set_of({ 1, 2, 3 }, { 10, 10 }), entry),
      ("; %s; 10 training"):format(words))
  end
  t.eq(caption.words(set_of({ 7 }, {})), "Profile long; seed 7; 1 of 1 trainings diverged.")
end)

t.test("the note on intervals is a sentence, where cells have such intervals", function()
  local note = "(mean ± half of the 95 % Student-t interval over n = 8 seeds)"
  t.eq(caption.with_sentence("KL at N = 1. " .. note, "| 1.0\u{a0}±\u{a0}0.1 |"),
    "KL at N = 1. Mean ± half of the 95 % Student-t interval over n = 8 seeds")
  t.eq(caption.with_sentence("Effects " .. note, "| 1.0 (0.9 to 1.1) |"), "Effects")
  t.eq(caption.with_sentence("KL. (n = 1 seed)", "| 1.0 |"), "KL")
  t.eq(caption.with_sentence("KL (floor).", "| 1.0 ± 0.1 |"), "KL (floor).")
end)

t.test("the glossary is that of ARCHITECTURE.md, word for word", function()
  local text = document.glossary()
  local section = files.read(sandbox.here .. "/ARCHITECTURE.md"):match "## Glossary\n(.*)$"
  local count = 0
  for line in section:gmatch "[^\n]+" do
    if line:find "^| " then
      t.has(text, line .. "\n")
      count = count + 1
    end
  end
  t.eq(count > 20, true)
end)

t.test("the citation has all fields of CITATION.cff", function()
  local text, cff = document.citation(), files.read(sandbox.here .. "/CITATION.cff")
  t.has(text, "note      = {Version " .. cff:match "\nversion: ([^\n]+)")
  t.has(text, "Boffi, Nicholas M. and Albergo, Michael S. and Vanden-Eijnden, Eric")
  t.has(text, "year      = {2025}")
  lacks(text, "nil")
end)

t.test("a chapter without runs is named, and one with runs is a link to its heading", function()
  local see = inserts.known.see
  t.eq(see(context "long", "checkerboard"), "[The checkerboard](#the-checkerboard)")
  t.eq(see(context "long", "devices"), "*A batch on several devices* (not part of this set)")
end)

t.test("every link between chapters leads to a section of the book", function()
  local text, places, count = {}, {}, 0
  for i, path in ipairs(chapters.book().chapters) do
    text[i] = files.read(path):gsub("\n%-%- ", "\n")
    for heading in ("\n" .. text[i]):gmatch "\n%-?%-? ?#+ ([^\n]+)" do
      places[inserts.identifier(heading:gsub(" {.unnumbered}$", ""))] = true
    end
  end
  for place in table.concat(text, "\n"):gmatch "%]%(#([^)]+)%)" do
    t.eq(places[place], true, place)
    count = count + 1
  end
  t.eq(count > 5, true)
end)

t.test("values of a table of the page: a column of intervals only where there are some", function()
  local csv = require("flowmap.report.insert_table").csv { title = "T", heads = { "run" },
    columns = { "x", "y" }, rows = { { heads = { "a" }, cells = { 1, { mean = 2, half = 0.5 } } },
      { heads = { "b" }, cells = { 3 } } } }
  t.eq(csv, '# T\nrun,x,y,"y, half of the 95 % interval"\na,1,2,0.5\nb,3,,\n')
end)

t.done()
