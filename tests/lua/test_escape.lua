-- One list of hostile texts against every language that the suite writes: gnuplot (really run),
-- a shell (really run), Markdown and HTML and LaTeX (read back by pandoc), CSV, JSON, file names.
-- Any title or label from a foreign file arrives as text and does nothing.

local t = require "harness"
local escape = require "flowmap.base.escape"
local figure = require "flowmap.report.figure"
local files = require "flowmap.base.files"
local gnuplot = require "flowmap.report.gnuplot"
local json = require "flowmap.base.json"
local lfs = require "lfs"
local made_run = require "made_run"
local results = require "flowmap.report.results"
local tables = require "flowmap.report.table"
local weave = require "flowmap.report.weave"
local sandbox = require "sandbox"

local root = sandbox.root

local hostile = {
  "`touch PWNED`", "$(touch PWNED)", "'; touch PWNED; '", '"`touch PWNED`"',
  "' . `touch PWNED` . '", "'`touch PWNED`", "''`touch PWNED`''", "'\"`touch PWNED`\"'",
  "x'; system 'touch PWNED'; #", "a\nsystem 'touch PWNED'", "a\r\n!touch PWNED", "| touch PWNED",
  "< touch PWNED", "@HOME @GPFUN_x", "{/=99 big} x^2_3 ~a{.8b} &{x} %g %d \\n \\\\ \\U+0041",
  "<svg onload=alert(1)>", "</style><script>alert(1)</script>", "<img src=x onerror=alert(1)>",
  "&lt;b&gt; &amp; &#x3c;b>", "<!-- x", "]]>", "[x](javascript:alert(1))", "<javascript:alert(1)>",
  "![x](http://example.invalid/x.png)", "![x](/etc/passwd)", "```{=html}\n<b>x</b>\n```",
  "`<b>x</b>`{=html}", "| a | b", "$x$ and $$y$$", "\\input{/etc/passwd}", "\\write18{touch PWNED}",
  "% no comment", "[opt] x", "* x", "=1+1", "+1", "-1+2", "@SUM(1)", "\t=1", 'a,"b";c', ",=1+1",
  "# head", "1. item", "(2) item", "- item", "> quote", "    code", "---", "::: div", ": x",
  "[^1]: note", "Table: x", "~~~", "a -- b ... 'c'", "_x_ *y* ~z~ a_b", "../../etc/passwd", "-rf",
  ".hidden", "bad\xff\xfe utf8", "\u{202E}reversed", "a\u{2028}line", ("x"):rep(300), "%s%n",
  "ünïcödé ✓ ± – −", "a\\", "{{kl.LSD.N1}}", "\27[31mred\27[0m\7", "con", "a/b", "a:b", "^[x] @ref",
  "![x](figure:none)", "@tab:none",
}

-- The visible form of a text, with white space as in HTML.
local function seen(text)
  return (escape.line(text):gsub("%s+", " "):gsub("^ ", ""):gsub(" $", ""))
end

local function untouched(dir)
  for name in lfs.dir(dir) do
    if name:find "PWNED" then error("a text was run as a command in " .. dir, 2) end
  end
end

local function output(command)
  return select(2, sandbox.run(("{ %s\n} 2>errors"):format(command)))
end

t.test("a shell returns the same word", function()
  for _, text in ipairs(hostile) do
    t.eq(output("printf %s " .. escape.shell(text)), text)
  end
  t.raises(function() escape.shell "a\0b" end, "zero byte")
  untouched(root)
end)

t.test("any input gives one line of valid UTF-8", function()
  for _, text in ipairs(hostile) do
    local line = escape.line(text)
    t.eq(utf8.len(line) ~= nil and not line:find "[%c]", true, text)
  end
  t.eq(escape.line "a\xffb\xc3", "a\u{FFFD}b\u{FFFD}")
  t.eq(escape.line "a\u{202E}b\u{2028}c\u{85}d\0e", "ab c d e")
  t.eq(escape.short(("é"):rep(9), 5), "éééé…")
end)

t.test("a file's name has a fixed alphabet, and different texts have different names", function()
  local names = {}
  for _, text in ipairs(hostile) do
    local name = escape.filename(text)
    t.eq(name:find "^[%w_][%w_.-]*$" ~= nil and #name <= 90, true, name)
    t.eq(names[name], nil, name)
    names[name] = true
  end
  t.eq(escape.filename "PSD-M", "PSD-M")
  t.eq(escape.filename "" ~= "", true)
end)

-- ------------------------------------------------------------------ gnuplot

local drawn = "svg title desc g rect path defs filter feFlood feComposite circle use text tspan"
  .. " polygon"

local function plain_svg(path)
  local words = {}
  local text = results.read_file(path)
  for content in text:gmatch "<text[^>]*>(.-)</text>" do
    content = content:gsub("<[^>]*>", ""):gsub("&lt;", "<"):gsub("&gt;", ">"):gsub("&amp;", "&")
    content = seen(content)
    words[content] = (words[content] or 0) + 1
  end
  -- Outside of its own tags there is no other: every `<` opens an element that gnuplot draws with.
  for tag in text:gmatch "<([^ >/?!]+)" do
    t.eq(drawn:find(tag, 1, true) ~= nil, true, "element " .. tag)
  end
  return words
end

t.test("gnuplot draws every text, character by character, and runs none", function()
  sandbox.needs "gnuplot"
  local panels = {}
  for i, text in ipairs(hostile) do
    panels[i] = { title = text, xlabel = text, ylabel = text, series = { { kind = "line",
      label = text, key = text, rows = { { 0, 0 }, { 1, 1 } }, colour = 1 } } }
  end
  local paths = gnuplot.panels(root .. "/fig", "hostile", { columns = 8, width = 300, height = 240,
    panels = panels })
  local words = plain_svg(paths[1])
  for _, text in ipairs(hostile) do
    local found = words[seen(escape.short(text, 200))] or 0
    t.eq(found >= (#text > 70 and 3 or 4), true, "title, two labels and key: " .. text)
  end
  untouched(root .. "/fig")
  untouched "."
end)

t.test("numbers and colours of a script are numbers and colours", function()
  t.raises(function() gnuplot.number "`touch PWNED`" end, "finite number")
  t.raises(function() gnuplot.number(0 / 0) end, "finite number")
  t.raises(function()
    gnuplot.panels(root, "x", { columns = 1, width = 90, height = 90, panels = { { series = {
      { kind = "line", label = "", rows = {}, colour = "red' ; system 'touch PWNED" } } } } })
  end, "colour")
  for _, name in ipairs { "../x", "a b", "`touch PWNED`", ".x", "-x", "" } do
    t.raises(function() gnuplot.render(root, name, { width = 9, height = 9, script = "" }) end,
      "figure's name")
  end
end)

-- ------------------------------------------------------------------ tables

local function description()
  local rows = {}
  for i, text in ipairs(hostile) do
    rows[i] = { heads = { text, "row " .. i }, cells = { 0.5, -0.25 }, theirs = i % 2 == 0 }
  end
  return { title = table.concat(hostile, " ", 1, 12), heads = { "<b>h</b>", "`h`" },
    columns = { "=1+1", "N = 1 | 2" }, format = "%.3f", rows = rows, notes = hostile }
end

-- Fields of one line of CSV (RFC 4180).
local function fields_of(line)
  local fields, at = {}, 1
  repeat
    local quoted, past
    if line:sub(at, at) == '"' then
      local last = at
      repeat
        last = line:find('"', last + 1, true)
        local twice = line:sub(last + 1, last + 1) == '"'
        if twice then last = last + 1 end
      until not twice
      quoted, past = line:sub(at + 1, last - 1):gsub('""', '"'), last + 1
    else
      quoted, past = line:match("^([^,]*)()", at)
    end
    fields[#fields + 1] = quoted
    at = past + 1
  until past > #line
  return fields
end

t.test("CSV preserves every text and contains no formula", function()
  local rows = {}
  for line in tables.csv(description()):gmatch "[^\n]+" do
    for i, field in ipairs(fields_of(line)) do
      local formula = field:find "^%s*[=+@-]" ~= nil and not tonumber(field)
      t.eq(formula, false, ("field %d of %s"):format(i, line))
    end
    if line:sub(1, 1) ~= "#" then rows[#rows + 1] = fields_of(line) end
  end
  t.eq(#rows, 1 + 2 * #hostile)
  for i, text in ipairs(hostile) do
    t.eq(#rows[2 * i], 6, text)
    t.eq(rows[2 * i][1]:gsub("^'(%s*[=+@-])", "%1"), escape.line(text))
    t.eq(rows[2 * i + 1][4], "-0.25")
  end
end)

-- LaTeX's quotation marks are curly, and pandoc does not know its bar.
local function without_marks(text)
  for _, mark in ipairs { "“", "”", "‘", "’", "`", "'", '"', "|" } do text = text:gsub(mark, "") end
  return text
end

-- Visible text as pandoc reads it from a language, with nothing but text in it.
local function read_back(from, text)
  results.write_file(root .. "/in", text)
  return output("LC_ALL=C.UTF-8 pandoc --wrap=none --columns=10000 --to=plain --from=" .. from
    .. " in"), output("LC_ALL=C.UTF-8 pandoc --to=native --from=" .. from .. " in")
end

local function squeezed(text) return (text:gsub("%s+", " ")) end

t.test("CSV is read back as it was written", function()
  local rows = require("flowmap.report.csv").rows
  for _, text in ipairs(hostile) do
    local line = escape.line(text)
    local expected = line:find "^%s*[=+@-]" and "'" .. line or line
    t.eq(rows("# x,y\na,b,c\n" .. ("%s,1,%s\n"):format(escape.csv(text), escape.csv(text))),
      { { a = expected, b = "1", c = expected } })
  end
  t.eq(rows 'a,b\n"no end,x\n"",\n', { { a = "no end,x" }, { a = "", b = "" } })
end)

t.test("Markdown and LaTeX show every text literally", function()
  sandbox.needs "pandoc"
  for language, write in pairs { markdown = escape.markdown, latex = escape.latex } do
    local parts = {}
    for i, text in ipairs(hostile) do parts[i] = ("%s\n\nEND%d"):format(write(text), i) end
    local plain, native = read_back(language, table.concat(parts, "\n\n"))
    local tex = language == "latex"
    plain = squeezed(tex and without_marks(plain) or plain)
    for i, text in ipairs(hostile) do
      local from = i == 1 and "" or ("END%d "):format(i - 1)
      text = tex and without_marks(seen(text)) or seen(text)
      local expected = squeezed(("%s%s END%d"):format(from, text, i))
      t.eq(plain:find(expected, 1, true) ~= nil, true, language .. ": " .. text)
    end
    for _, kind in ipairs { "RawInline", "RawBlock", "Link", "Image", "Code", "Math", "Header",
      "List", "Note", "Emph", "Quoted", "Cite", "Div", "Span" } do
      local sign = tex and (kind == "Math" or kind == "Span") -- plus-minus, braces
      t.eq(not sign and native:find("%f[%w]" .. kind) or nil, nil, language .. " holds a " .. kind)
    end
  end
end)

t.test("a table of hostile texts has its rows and columns in Markdown and LaTeX", function()
  sandbox.needs "pandoc"
  for language, text in pairs { markdown = tables.markdown(description()),
    latex = tables.latex(description()) } do
    local plain, native = read_back(language, text)
    local cells = select(2, native:gsub("%f[%w]Cell%f[%W]", ""))
    t.eq(cells, 4 * (1 + #hostile), language .. ": cells")
    for _, kind in ipairs { "RawInline", "RawBlock", "Link", "Image", "Math" } do
      local allowed = kind == "Math" and language == "latex" -- its plus-minus sign
      t.eq(allowed or not native:find("%f[%w]" .. kind), true, language .. ": " .. kind)
    end
    t.eq(plain:find("</style><script>alert(1)</script>", 1, true) ~= nil, true)
  end
end)

t.test("JSON preserves every text", function()
  for _, text in ipairs(hostile) do
    t.eq(json.decode(json.encode { text, [2] = "x" })[1], text)
  end
end)

-- ------------------------------------------------------------------ end to end

local function npy()
  local header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }"
  header = header .. (" "):rep(-(#header + 11) % 64) .. "\n"
  return "\x93NUMPY\1\0" .. string.pack("<s2ffff", header, 0, 0, 0.5, 0.5)
end

-- A run written by somebody else, with hostile text wherever its records allow text.
local function hostile_run(i, text)
  made_run.finished(("%s/results/door/smoke/run%d"):format(root, i), {
    config = { method = "lsd", seed = 1, eta = i, stop = text }, metrics = { { step = 1,
      samples = 1, loss = 1, off = 1 } }, rows = { { N = 1, kl = 0.5 } },
    manifest = { profile = text, method = text, checkpoint_rule = text, isa = text, revision = text,
      dataset = { name = text, title = text, size = 0, hash = ("0123456789abcdef"):rep(4) } },
    files = { ["data.npy"] = npy(), ["samples-N1.npy"] = npy() } })
end

-- Every tag in a page that hostile text could have introduced.
local function bad_tag(html)
  local body = html:match "<body.*$"
  for slash, name, attributes in body:gmatch "<(/?)([%w:]+)([^>]*)>" do
    local found = slash .. name:lower()
    if found:find "^script" or found == "svg" or found == "iframe" or found == "b"
      or attributes:find "%son%w+%s*=" or attributes:lower():find "javascript:"
      or (found == "img" and not attributes:find 'src="data:image/') then
      return "<" .. slash .. name .. attributes .. ">"
    end
  end
  return nil
end

t.test("foreign results are drawn, tabulated and woven, and none of it is run", function()
  sandbox.needs("gnuplot", "pandoc")
  for i, text in ipairs(hostile) do hostile_run(i, text) end
  local base = root .. "/results/door/smoke"
  local set = results.open(base)
  local paths = figure.against_setting(base .. "/figures", "s", set, { metric = "kl", N = 1,
    x = "eta", series = "stop", label = "KL" })
  local words = plain_svg(paths[1])
  t.eq(words["stop: <svg onload=alert(1)>"] ~= nil, true)
  tables.write(base .. "/tables", "g", tables.grid(set, { metric = "kl", N = 1, title = "x",
    rows = { "stop" }, column = "eta" }))
  local lines = { "# Door\n", "{{door/provenance}}\n", "{{table door/g}}\n",
    "![s](figure:door/s)\n",
    "[own](javascript:alert)\n", "<script>alert(2)</script>\n" }
  for i = 1, #hostile do
    lines[#lines + 1] = ("%d: {{door/manifest.LSD.dataset.title eta=%d}}\n"):format(i, i)
  end
  results.write_file(root .. "/door.md", table.concat(lines, "\n"))
  results.write_file(root .. "/references.json", "[]")
  local style = sandbox.write('a "quoted" 100%41 &amp; #x ?y <b>/style.css', ".hostile-folder {}")
  local page = weave.book({ title = "<svg onload=1>", subtitle = "%s", chapters = {
    root .. "/door.md" }, bibliography = root .. "/references.json", output = root .. "/build",
    style = style },
    { profile = "smoke", results = root .. "/results" })
  local html = results.read_file(page)
  t.eq(bad_tag(html), nil)
  t.eq(html:find("Content-Security-Policy", 1, true) ~= nil, true)
  t.eq(html:find "hostile%-folder" ~= nil, true, "a style sheet in a folder of any name")
  local plain = squeezed(output("LC_ALL=C.UTF-8 pandoc --wrap=none --from=html --to=plain "
    .. files.quote(page)))
  for i, text in ipairs(hostile) do
    t.eq(plain:find(("%d: %s"):format(i, seen(text)), 1, true) ~= nil, true, "page: " .. text)
  end
  for _, dir in ipairs { ".", root, base .. "/figures", root .. "/build" } do untouched(dir) end
end)

t.done()
