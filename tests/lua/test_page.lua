-- The page that pandoc, the filter and the style make of Markdown; and that the suite's own files
-- are found from any folder. (The layout was checked in a browser at three widths; this test keeps
-- its prerequisites.)

local t = require "harness"
local browser = require "browser"
local core = require "flowmap.core"
local files = require "flowmap.base.files"
local fm = require "flowmap"
local made_run = require "made_run"
local page = require "flowmap.report.page"
local results = require "flowmap.report.results"
local tables = require "flowmap.report.table"
local figure = require "flowmap.report.figure"
local sandbox = require "sandbox"

local root = sandbox.root

local function count(text, pattern) return select(2, text:gsub(pattern, "")) end

local function write(markdown)
  results.write_file(root .. "/a.md", markdown)
  results.write_file(root .. "/references.json", "[]")
  page.write(root .. "/a.md", root .. "/a.html", { title = "T <b> & U", subtitle = "s",
    bibliography = root .. "/references.json", style = files.installed "paper/style.css" })
  return results.read_file(root .. "/a.html")
end

local source = [[
# One

A text $x^2$ with a formula inside its paragraph
$$\dot I_t = \frac{a}{b}$$
and more, $\dot x$.

- an item with one: $$\hat y = 1$$

| a | b |
|:--|--:|
| 1 | 2.2e-04 ± 6.8e-05 |
| 2 | -0.88 (-1.17 to -0.58) |
| 3 | diverged at 2,163 |

: A caption.

[web](https://example.org) [script](javascript:alert(1)) [script](JavaScript&colon;alert(1))
[data](data:text/html;base64,AAAA) [file](file:///etc/passwd) [place](#one)

![a](http://example.invalid/a.png) ![b](//example.invalid/b.png) ![c](/etc/passwd)

<svg onload=alert(1)> <iframe src="x"></iframe> `<b>`{=html}

```{=html}
<script>alert(1)</script>
```

::: origin
Made by hand [each]{.each}.
:::

::: {.provenance onclick="alert(1)"}
A note, [span]{.a onclick="alert(1)" style="x"}, `code`{onclick="alert(1)"}.
:::

## Head {#head onclick="alert(1)"}

::::::: {.fold lines="3"}
```lua
local x = 1
```
:::::::
]]

t.test("formulas and tables scroll in their own boxes; the font of formulas is embedded", function()
  sandbox.needs "pandoc"
  local html = write(source)
  t.eq(count(html, '<div class="formula" tabindex="0">%s*<math display="block"'), 2)
  t.eq(count(html, 'display="block"'), 2)
  t.eq(count(html, '<div class="table" tabindex="0">%s*<table'), 1)
  t.eq(count(html, '<td class="number">'), 2, "numbers that no line break divides")
  t.eq(html:find('<div class="caption">%s*<?p?>?A caption%.') ~= nil, true)
  t.eq(html:find "<details class=\"code\">%s*<summary>Code, 3 lines</summary>" ~= nil, true)
  local origin = html:match '<details class="origin">%s*<summary>[^<]+</summary>(.-)</details>'
  t.eq(origin:find '<div class="origin">%s*<p>Made by hand <span class="each">each' ~= nil, true)
  local css = files.read(files.installed "paper/style.css")
  t.eq(css:match "math[^{};]*{[^}]*overflow", nil, "a formula itself has no scrollbar")
  t.eq(css:match "%.formula {[^}]*overflow%-y: hidden" ~= nil, true)
  t.eq(count(html, '<mo stretchy="false" accent="true">˙</mo>'), 2, "dots above letters")
  local font = files.exists "/usr/share/fonts/truetype/dejavu/DejaVuMathTeXGyre.ttf"
  local data = html:match 'font%-family: "Page Math"[^}]*url%(["\']?data:[^,]*;base64,([%w+/=]+)'
    or html:match 'font%-family:"?Page Math"?[^}]*url%(["\']?data:[^,]*;base64,([%w+/=]+)'
  t.eq(data ~= nil, font, "the font")
  t.eq(html:find 'src="http' or html:find 'url%(%p?http' or html:find '<link', nil, "fetched")
  t.eq(#html < 1200000, true, "size " .. #html)
  t.eq(count(html, "<section[^>]*>"), 2, "each is laid out when it comes near")
  t.eq(css:find "\nsection { content%-visibility: auto;" ~= nil, true)
  t.eq({ count(html, "<nav"), count(html, '<details class="contents">') }, { 2, 1 })
  t.eq(count(html, '<div class="sourceCode" tabindex="0"'), 1)
  t.eq(html:find '<a href="#cb' or html:find 'class="op"', nil, "links of lines of code")
end)

t.test("the page runs nothing, loads nothing, and declares both to the browser", function()
  sandbox.needs "pandoc"
  local html = write(source)
  local policy = html:match '<meta http%-equiv="Content%-Security%-Policy" content="([^"]*)"'
  policy = policy:gsub("&#39;", "'")
  t.eq(policy:find("script-src 'none'", 1, true) ~= nil, true)
  t.eq(policy:find("default-src 'none'", 1, true) ~= nil, true)
  t.eq(html:find "<meta http%-equiv" < html:find "<style", true, "the policy comes first")
  local body = html:match "<body.*$"
  for _, bad in ipairs { "<script", "<svg", "<iframe", "href=\"[jJ]ava", "href=\"data:",
    "href=\"file:", "<img", "<b>" } do
    t.eq(body:find(bad), nil, bad)
  end
  for attributes in body:gmatch "<%w+([^>]*)>" do
    t.eq(attributes:find "%son%w+=", nil, attributes)
  end
  t.eq(count(body, 'href="https://example.org"'), 1)
  t.eq(count(body, 'href="#one"') >= 1, true)
  t.eq(html:find("<title>T &lt;b&gt; &amp; U</title>", 1, true) ~= nil, true)
end)

t.test("in print, captions stay with their tables, and wide tables have smaller letters", function()
  sandbox.needs "pandoc"
  local cell = ("1234.50000\u{a0}±\u{a0}6789.00000 | "):rep(7)
  local wide = "| a |" .. (" b |"):rep(7) .. "\n|" .. ("--:|"):rep(8) .. "\n| c | " .. cell
  results.write_file(root .. "/b.md",
    "# One\n\n" .. wide .. "\n\n: Wide.\n\n| a |\n|--:|\n| 1 |\n| 2 |\n| 3 |\n")
  local code, tex = sandbox.run(("pandoc b.md --to=latex --lua-filter=%s --lua-filter=%s"):format(
    files.installed "paper/page.lua", files.installed "paper/print.lua"))
  t.eq(code, 0, tex)
  t.eq(tex:find "^\\needroom{9\\baselineskip}%s.-\\section{One}" ~= nil, true, tex)
  t.eq(tex:find "\\needroom{7\\baselineskip}\n\nWide%." ~= nil, true, tex)
  t.eq({ count(tex, "\\narrowtables{5%.0}"), count(tex, "\\begin{longtable}") }, { 1, 2 }, tex)
  t.eq(tex:find("\n1 \\\\\n2 \\\\\n\\nopagebreak{}3 \\\\\n", 1, true) ~= nil, true, tex)
  t.eq(count(tex, "\\nopagebreak"), 1, "a table of one row has no row before the last one")
end)

t.test("in print, a formula holds nothing but mathematics", function()
  sandbox.needs "pandoc"
  local line = ("pandoc f.md --to=latex --fail-if-warnings --lua-filter=%s --lua-filter=%s"):format(
    files.installed "paper/page.lua", files.installed "paper/print.lua")
  for formula, expected in pairs { ["\\alpha^2 \\tag{3}"] = 0, ["\\directlua{x}"] = 3,
    ["\\text{\\input{x}}"] = 3, ["a^^5cdirectlua{x}"] = 83,
    ["a \\tag{\\input x}"] = 83, ["a \\label{\\input x}"] = 83 } do
    results.write_file(root .. "/f.md", "A $$ " .. formula .. " $$ and $" .. formula .. "$.\n")
    local code, tex = sandbox.run(line)
    t.eq({ formula, code }, { formula, expected }, tex)
  end
end)

local numbered = [[
# First

As @sec:second, @fig:own:b and [@eq:a; @tab:own:t] say.
$$ a = 1 $$ {#eq:a}

$$ unlabelled $$

- in a list $$ b = 2 $$ {#eq:b}

![A caption.](<%s>){#fig:own:b}

# Second

$$ c = 3 $$ {#eq:c}

:::::: {#tab:own:t}

| a | b |
|:--|--:|
| 1 | 2 |

: A title.

::: provenance
A note.
:::

::::::

Compare @eq:b with @eq:c.
]]

t.test("equations, figures and tables are numbered by chapter; references lead there", function()
  sandbox.needs "pandoc"
  results.write_file(root .. "/b.svg", '<svg xmlns="http://www.w3.org/2000/svg" width="9" '
    .. 'height="9"><path d="M0 0h9"/></svg>')
  local html = write(numbered:format(root .. "/b.svg"))
  t.eq(count(html, '<img src="data:image/svg%+xml;charset=utf%-8,<svg[^"]*<path[^"]*" '
    .. 'width="9" height="9"[^<>]*loading="lazy"'), 1)
  local function reference(place, text)
    local link = ('href="#%s"%%s+class="ref">%s'):format(place, text)
    t.eq(count(html, link) > 0, true, place .. " " .. text)
  end
  reference("second", "Chapter\u{a0}2")
  reference("fig:own:b", "Figure\u{a0}1%.1")
  reference("eq:a", "Equation\u{a0}%(1%.1%)")
  reference("eq:b", "Equation\u{a0}%(1%.2%)")
  reference("eq:c", "Equation\u{a0}%(2%.1%)")
  reference("tab:own:t", "Table\u{a0}2%.1")
  t.eq(count(html, 'id="eq:a"%s+class="eqno">%(1%.1%)'), 1)
  t.eq(count(html, "<strong>Figure\u{a0}1%.1%.</strong> A caption"), 1)
  t.eq(count(html, "<strong>Table\u{a0}2%.1%.</strong> A title"), 1)
  t.eq(count(html, 'class="preview"'), 5)
  t.eq(count(html, 'class="eqno"'), 3, "a formula without a label has no number")
  for _, id in ipairs { "eq:a", "eq:b", "eq:c", "fig:own:b", "tab:own:t", "second" } do
    t.eq(count(html, 'id="' .. id .. '"'), 1, id)
  end
  for _, dangling in ipairs { "@eq:d", "@fig:own:c", "@tab:other:t", "@sec:third" } do
    local text = numbered:format(root .. "/b.svg") .. "\nSee " .. dangling .. ".\n"
    t.raises(function() write(text) end,
      "there is no %a+ that is named '" .. dangling:sub(2) .. "'$")
  end
end)

t.test("the suite's files are found from another folder", function()
  local code = [[local b = require('flowmap.experiment.chapters').book() local n = 0
    for _, p in ipairs(b.chapters) do assert(io.open(p), p):close() n = n + 1 end
    assert(io.open(b.bibliography)):close() assert(io.open(b.style)):close()
    assert(require('flowmap.experiment.published').read().checkerboard) io.write(n, ' ', b.output)]]
  local _, text = sandbox.lua(code)
  local book = require("flowmap.experiment.chapters").book()
  t.eq(text, ("%d paper/build"):format(#book.chapters))
end)

-- ------------------------------------------------------------------ values that are not finite

local function run(seed, rows)
  made_run.finished(("%s/r/lsd-seed%d"):format(root, seed), { config = { method = "lsd",
    seed = seed, eta = 0.5, stop = "none" }, metrics = { { step = 1, samples = 64, loss = 1,
    off = 1 } }, rows = rows })
end

t.test("values that diverged or are missing are shown as such in tables and left out of figures",
  function()
    run(1, { { N = 1, kl = 1 }, { N = 2, kl = 2 }, { N = 4 }, { N = 8, kl = 3 } })
    run(2, { { N = 1, kl = 1 }, { N = 2, kl = 4 }, { N = 4 }, { N = 8 } })
    local set = results.open(root .. "/r")
    set.runs[2].eval.rows[1].kl = 1 / 0 -- what 1e999 in a record would be
    local description = tables.compare(set, { metric = "kl", title = "t", steps = { 1, 2, 4, 8 } })
    local cells = tables.markdown(description):match "\n| LSD | ours |([^\n]*)"
    t.eq(cells:find(" diverged %(1 of 2%) | 3.0000[^|]*| – | – %(1 of 2%) |") ~= nil, true, cells)
    t.eq(tables.latex(description):find "diverged %(1 of 2%)" ~= nil, true)
    local csv = tables.csv(description)
    t.eq(csv:find("\nLSD,ours,N = 1,nan,,2\n", 1, true) ~= nil, true, csv)
    t.eq(csv:find "N = 4", nil)
    description.rows[1].cells = { 0 / 0, 1 / 0, { mean = 0 / 0, n = 2, half = 0 / 0 } }
    t.eq(tables.markdown(description):find "| diverged | diverged | diverged | – |" ~= nil, true)
    t.raises(function() tables.compare(set, { metric = "klx", title = "t" }) end, "no number 'klx'")
    sandbox.needs "gnuplot"
    t.eq(#figure.against_steps(root, "steps", set, { metric = "kl", label = "KL",
      steps = { 1, 2, 4, 8 } }), 5)
    t.eq(#figure.against_setting(root, "setting", set, { metric = "kl", N = 4, x = "eta",
      series = "stop", label = "KL" }), 5)
  end)

t.test("in print a tall figure stays on its page; what leaves its page is an error", function()
  sandbox.needs "pandoc"
  if not sandbox.has "lualatex" then return print "lualatex is not installed: not tested" end
  fm.save_png(root .. "/tall.png", fm.zeros { 1500, 100, 3 })
  results.write_file(root .. "/references.json", "[]")
  local function print_with(caption)
    results.write_file(root .. "/tall.md", ("# One\n\nText.\n\n![%s](<%s/tall.png>)\n"):format(
      caption, root))
    page.printing(root .. "/tall.md", root .. "/tall.pdf", { title = "T", subtitle = "s",
      bibliography = root .. "/references.json" })()
  end
  print_with "A caption."
  t.eq(files.exists(root .. "/tall.pdf"), true)
  t.raises(function() print_with(("word "):rep(400)) end, "Overfull .vbox")
end)

t.test("a chapter's page has a name of its own, never the book's", function()
  sandbox.needs "pandoc"
  for name, stem in pairs { notes = "notes", ["x.mp4"] = "x", [".md"] = ".md",
    ["flow-maps.md"] = "flow-maps-chapter" } do
    sandbox.write(name, "# Notes\n")
    local code, out = sandbox.flowmap("paper " .. name)
    t.eq({ code, out }, { 0, ("written: paper/build/%s.html\n"):format(stem) })
  end
end)

t.test("a link of the contents leads to its section, however long those before it are", function()
  if not sandbox.has "chromium" then
    return t.skip("links in a browser", "chromium is not installed")
  end
  local parts = { "<!doctype html><style>", files.read "paper/style.css", "</style><main>" }
  for k = 1, 30 do
    parts[#parts + 1] = ([[<section><h1>%d</h1><section><div style="height: %dpx"></div></section>
      <section id="s%d"><h2>Here</h2></section></section>]]):format(k, 300 * (k % 7), k)
  end
  results.write_file(root .. "/long.html", table.concat(parts) .. "<a href='#s20'>20</a></main>")
  local it <close> = browser.start(sandbox.mkdir "chromium")
  it:open("file://" .. root .. "/long.html", 1280, 700)
  it:value "document.querySelector('a').click()"
  t.near(it:value "0 + document.querySelector('#s20').getBoundingClientRect().top", 0, 1)
end)

t.test("a chapter is not overwritten by the page that is woven from it", function()
  local text = "# Mine\n\n2 + 2\n"
  sandbox.write("paper/build/mine.md", text)
  local code, out = sandbox.flowmap "paper paper/build/mine.md"
  t.eq({ code, out:find "paper/build/mine.md would be overwritten" ~= nil }, { 2, true }, out)
  t.eq(sandbox.read "paper/build/mine.md", text)
end)

t.test("the folder of a typesetting that holds something else is left as it is", function()
  sandbox.needs "lualatex"
  sandbox.write("x.latex/book.aux", "")
  sandbox.write("x.latex/notes.txt", "mine")
  local function refused(words)
    local err = t.raises(function() page.printing("x.md", root .. "/x.pdf", {}) end, words)
    t.eq(err.code, "usage")
  end
  refused "x.latex/notes.txt is not a file of an interrupted typesetting"
  t.eq(files.below(root .. "/x.latex"), { "book.aux", "notes.txt" })
  os.remove(root .. "/x.latex/notes.txt")
  local lock = core.lock(root .. "/x.latex/lock")
  refused "x.latex is in use: another process makes this PDF"
  lock:release()
end)

t.done()
