-- The graph of what chapters are made from: states, reasons, and a picture that holds any name.

local t = require "harness"
local files = require "flowmap.base.files"
local graph = require "flowmap.report.graph"
local sandbox = require "sandbox"

local EXPERIMENT = [[
-- # Tiny <b>&amp;
--
-- Prose.

return {
  name = "tiny", methods = { "lsd", "fm" }, seeds = 1,
  settings = { data = "gaussians", width = 8, depth = 1, nfe = { 1 }, lr = 0.01 },
  profiles = { smoke = { steps = 2, batch = 16, micro = 16, ema = { 0.9 }, bins = 4,
    eval_samples = 100, kl_estimates = false } },
  render = {
    { kind = "compare", name = "both", title = "KL", metric = "kl" },
    { kind = "compare", name = "one", title = "KL", metric = "kl", where = { method = "lsd" } },
    { kind = "traces", name = "traces" },
  },
}
]]

local path = sandbox.write("tiny.lua", EXPERIMENT)
local GRAPH = ("graph %s --profile smoke --out graph.svg"):format(files.quote(path))

local function made(options)
  local code, text = sandbox.flowmap(GRAPH .. (options or ""))
  t.eq(code, 0, text)
  return text, sandbox.read "graph.svg"
end

-- The boxes of a picture: state, first line, second line.
local function boxes_of(svg)
  local list = {}
  for state, inner in svg:gmatch '<g class="(%l+)">(.-)</g>' do
    local first, second = inner:match "<text [^>]*>(.-)</text>.-<text [^>]*>(.-)</text>"
    list[#list + 1] = ("%s: %s, %s"):format(state, first, second)
  end
  return table.concat(list, "\n")
end

t.test("no results is a sentence", function()
  local code, text = sandbox.flowmap(GRAPH)
  t.eq(code, 3)
  t.has(text, "there are no results of the profile smoke")
  code, text = sandbox.flowmap(GRAPH .. ".png")
  t.eq(code, 2)
  t.has(text, "expected the name of an SVG file")
end)

t.test("sources, runs by method, tables and figures, all up to date", function()
  local code, said = sandbox.flowmap(("reproduce %s --profile smoke"):format(files.quote(path)))
  t.eq(code, 0, said)
  local text, svg = made()
  t.has(text, "LSD: 1 run; FM: 1 run")
  t.has(text, "up to date")
  local boxes = boxes_of(svg)
  for _, words in ipairs { "current: tiny.lua, experiment", "current: gaussians, data",
    "current: LSD, 1 run", "current: FM, 1 run", "current: both, table, up to date",
    "current: traces, figure, up to date", "current: tiny, chapter, up to date" } do
    t.has(boxes, words)
  end
  t.eq(boxes:find "stale", nil)
  -- 3 sources to 2 methods; 2 + 1 + 2 to tables and figures, these to the chapter
  t.eq(select(2, svg:gsub('<path class="current"', "")), 6 + 5 + 3)
  t.has(svg, "Tiny &lt;b&gt;&amp;amp;")
  t.eq(select(2, made()), svg, "the same bytes again")
  t.eq(sandbox.exists "paper", false)
  code, said = sandbox.flowmap(("graph %s --profile smoke"):format(files.quote(path)))
  t.eq({ code, sandbox.read "paper/build/graph.svg" }, { 0, svg }, said)
end)

t.test("a change shows in the runs that it concerns, and in what shows them", function()
  sandbox.write("tiny.lua", (EXPERIMENT:gsub('seeds = 1,', 'seeds = 1, by_method = nil,')
    :gsub("lr = 0.01", "lr = 0.02")))
  local text, svg = made()
  t.has(text, "LSD: 1 run, out of date; FM: 1 run, out of date")
  t.has(text, "out of date: lr changed from 0.01 to 0.02")
  local boxes = boxes_of(svg)
  t.has(boxes, "stale: lr changed from 0.01 to 0…, why out of date")
  t.has(boxes, "stale: LSD, 1 run, out of date")
  t.has(boxes, "stale: one, table, out of date")
  t.has(boxes, "stale: tiny, chapter, out of date")
  t.has(svg, "lr changed from 0.01 to 0.02</title>")
end)

t.test("the page shows table and picture, each with its values and how it was made", function()
  sandbox.needs "pandoc"
  sandbox.write("page.md", "# Page\n\n{{graph}}\n\nSee @fig:graph:tiny, @tab:graph:chapters.\n")
  local lister = "package.loaded['flowmap.experiment.chapters'].experiments = function() return { '"
    .. path .. "' } end "
  local code, text = sandbox.lua("require 'flowmap.experiment.chapters' " .. lister
    .. "require('flowmap.report.weave').run { chapters = { 'page.md' }, profile = 'smoke' }")
  t.eq(code, 0, text)
  local markdown = sandbox.read "paper/build/page.md"
  for _, line in ipairs { "Table chapters. Command: `./flowmap graph --profile smoke`. "
    .. "Data: [graph\\.csv](<graph.csv>)", "Figure graph-tiny. Command: `./flowmap graph "
    .. path .. " --profile smoke`. Data: [graph-tiny\\.csv](<graph-tiny.csv>)" } do
    t.has(markdown, line)
  end
  local csv = sandbox.read "paper/build/graph-tiny.csv"
  t.eq(csv, sandbox.read "paper/build/graph.csv")
  t.has(csv, '\ntiny,data,gaussians,current,\n')
  t.has(csv, '\ntiny,table,one,unknown,LSD\n')
end)

-- Whether every "<" begins or ends one of the picture's elements, and these are nested.
local function check_nesting(svg)
  local open = {}
  for close, name, rest in svg:gmatch "<(/?)(%w*)([^<]*)" do
    t.eq(({ svg = 1, title = 1, style = 1, path = 1, g = 1, rect = 1, text = 1 })[name], 1, name)
    if close == "/" then
      t.eq(table.remove(open), name)
    elseif not rest:find "^[^>]*/>" then
      open[#open + 1] = name
    end
  end
  t.eq(#open, 0)
  t.eq(svg:gsub("&%l+;", ""):gsub("&#39;", ""):find("&", 1, true), nil)
end

t.test("hostile names stay text", function()
  local evil = "</text></svg><script>alert(1)</script>\"'&\27\xff"
  local group = { method = evil, count = 2, stale = 1, unknown = 1, reasons = { evil, evil } }
  local chapter = { name = evil, title = evil, path = "x/" .. evil, modules = 1, data = { evil },
    groups = { group }, changes = { evil, evil, evil, evil, evil, evil },
    entries = { { name = evil, sort = "figure", groups = { group } } } }
  local svg = graph.svg { chapter, chapter }
  check_nesting(svg)
  t.eq(utf8.len(svg) ~= nil, true)
  t.eq(svg:find("<script", 1, true), nil)
  t.has(svg, "3 further changes")
  t.eq(graph.rows({ chapter })[1][2], evil .. ": 2 runs, 1 out of date, 1 not comparable")
end)

t.test("an unknown state and other numerics are not called out of date", function()
  local rows = graph.rows { { name = "a", groups = { { method = "LSD", count = 3, numerics = 3,
    reasons = { "the numerics changed: instruction set avx2 -> avx512" } } }, entries = {},
    changes = {} } }
  t.eq(rows[1], { "a", "LSD: 3 runs, of other numerics", "", "of other numerics: the numerics "
    .. "changed: instruction set avx2 -> avx512" })
end)

t.done()
