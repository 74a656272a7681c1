--- Convert Markdown to a single self-contained HTML page, and to a PDF, with pandoc.
-- @module flowmap.report.page

local core = require "flowmap.core"
local errors = require "flowmap.base.errors"
local escape = require "flowmap.base.escape"
local files = require "flowmap.base.files"
local picture = require "flowmap.report.picture"
local results = require "flowmap.report.results"

local M = {}

-- The option that embeds images and style; pandoc renamed it.
local function embed_option()
  local pipe <close> = files.pipe("pandoc", "LC_ALL=C.UTF-8 pandoc --version 2>&1")
  local major, minor = pipe:read("a"):match("^pandoc%S* (%d+)%.(%d+)")
  if not major then errors.data("pandoc is not installed; it is needed to weave the page") end
  local version = tonumber(major) * 1000 + tonumber(minor)
  return version >= 2019 and "--embed-resources" or "--self-contained"
end

-- Restricted Markdown: no raw HTML, no LaTeX except mathematics, no metadata.
local reader = "markdown+tex_math_dollars-raw_html-raw_tex-raw_attribute-native_divs-native_spans"
  .. "-markdown_in_html_blocks-yaml_metadata_block-pandoc_title_block-latex_macros"

-- DejaVu Math TeX Gyre (Debian: fonts-dejavu-extra), under the Bitstream Vera licence, which the
-- font's own tables include. Formulas need a font with an OpenType MATH table, and few readers'
-- computers have one.
M.math_font = "/usr/share/fonts/truetype/dejavu/DejaVuMathTeXGyre.ttf"

-- Latin, Greek, diacritics, arrows, operators, brackets and mathematical alphabets.
local math_letters = "20-7E,A0-FF,2C6-2DC,300-36F,370-3FF,2010-2044,2070-209F,2102-214F,2190-2193,"
  .. "21A6,21D0-21D4,2200-22FF,2308-230B,23DE,23DF,27E8-27EB,1D400-1D467,1D49C-1D4CF,1D538-1D56B,"
  .. "1D6A8-1D71B"

-- Write a style sheet with the font and return its path. The font is reduced to the letters above
-- if hb-subset (Debian: libharfbuzz-bin) is available, otherwise it is embedded whole. If the font
-- is missing, warn the user and return nil.
local function math_style(stem)
  local font = files.read(M.math_font)
  if not font then
    io.stderr:write("the page's formulas will use the reader's fonts: ", M.math_font,
      " is missing (package fonts-dejavu-extra)\n")
    return nil
  end
  local path = stem .. ".math.ttf"
  local part = ("%s.tmp.%d"):format(path, core.pid()) -- two commands may write one page
  local subset = ("hb-subset --name-IDs='*' --unicodes=%s --output-file=%s %s 2>/dev/null"):format(
    math_letters, escape.shell(part), escape.shell(M.math_font))
  if not (os.execute(subset) and os.rename(part, path)) then results.write_file(path, font) end
  results.write_file(stem .. ".math.css", ('@font-face { font-family: "Page Math"; '
    .. 'src: url("%s"); }\n'):format(path:match "[^/]*$"))
  return stem .. ".math.css"
end

-- Accents over letters. pandoc writes combining characters, which are misplaced and stretched when
-- drawn alone; MathML expects the spacing characters.
local accents = { ["\u{0307}"] = "\u{02D9}", ["\u{0308}"] = "\u{00A8}", ["\u{0302}"] = "\u{02C6}",
  ["\u{0303}"] = "\u{02DC}" }

local function spacing_accents(html)
  return (html:gsub('<mo accent="true">([^<]*)</mo>', function(mark)
    return accents[mark] and ('<mo stretchy="false" accent="true">%s</mo>'):format(accents[mark])
  end))
end

-- Figures and code scroll on a phone; the focus lets keys do it. pandoc gives them no attributes.
local function focusable(html)
  html = html:gsub('<div class="sourceCode"', '%0 tabindex="0"')
  return (html:gsub("<figure>", '<figure tabindex="0">'))
end

-- Cells of numbers, perhaps with an interval, which browsers would break at each minus and each ±.
local function whole_numbers(html)
  return (html:gsub('<td style="text%-align: right;">([^<]*)</td>', function(text)
    local rest = text:gsub("%f[%a]to%f[%A]", ""):gsub("%f[%a]inf%f[%A]", "")
    rest = rest:gsub("%de[-+]%d", "")
    if not text:find "%d" or rest:find "[^%s\u{a0}%d.,:()%[%]±–+%-]" then return nil end
    return ('<td class="number">%s</td>'):format(text)
  end))
end

-- The filter names each SVG file, percent-encoded, where its picture belongs.
local function embedded_pictures(html)
  return (html:gsub('src="data:,svg:([^"]*)"', function(path)
    path = path:gsub("%%(%x%x)", function(code) return string.char(tonumber(code, 16)) end)
    return picture.attributes(path)
  end))
end

-- Code without the element and the link that pandoc makes of each line and the element of each
-- operator: a third of all elements of the book, which no reader would miss.
local function plain_code(html)
  html = html:gsub('<span class="op">([^<]*)</span>', "%1")
  return (html:gsub('<span id="cb%d+%-%d+"><a href="#cb%d+%-%d+" aria%-hidden="true" '
    .. 'tabindex="%-1"></a>([^\n]*)</span>', "%1"))
end

local function command_of(words)
  local quoted = {}
  for i, word in ipairs(words) do quoted[i] = files.quote(word) end
  return "LC_ALL=C.UTF-8 " .. table.concat(quoted, " ")
end

-- Run pandoc; what it complains of is an error.
local function pandoc(words, markdown)
  local pipe <close> = files.pipe("pandoc", command_of(words) .. " 2>&1")
  local output = pipe:read("a")
  if not pipe:close() then
    os.remove(words.output)
    output = output:match "^Error running filter [^\n]*:\n(.-)\nstack traceback:" or output
    errors.data("pandoc failed on %s: %s", markdown, output:gsub("%s+", " "))
  end
end

-- The name of a style sheet for pandoc, which writes it into an attribute of HTML as it is and then
-- reads it as a URI.
local function sheet(path)
  return "--css=" .. path:gsub("[%%\"&<>#?]", function(c) return ("%%%02X"):format(c:byte()) end)
end

-- The arguments that page and PDF share.
local function arguments(markdown, output, book)
  return { "pandoc", "--from=" .. reader, "--standalone", "--toc", "--toc-depth=2",
    "--data-dir=" .. files.installed "paper", -- not the user's, which may hold templates and code
    "--lua-filter=" .. files.installed "paper/numbers.lua",
    "--lua-filter=" .. files.installed "paper/page.lua", "--number-sections", "--citeproc",
    "--fail-if-warnings", "--bibliography=" .. book.bibliography,
    "--metadata=title=" .. book.title, "--metadata=subtitle=" .. book.subtitle,
    "--metadata=lang=en", "--metadata=link-citations=true", "--output=" .. output, markdown,
    output = output }
end

local function add(words, more) table.move(more, 1, #more, #words + 1, words) end

--- Convert Markdown to one HTML file that needs no network: mathematics becomes MathML; images,
-- style and the font of formulas are embedded. Browsers lay out a section and decode its images
-- when it is near the window, so that a book of hundreds of pages opens at once. A pandoc warning
-- (a formula or citation that it cannot resolve) is an error.
-- @tparam string markdown path of the source
-- @tparam string html path of the page
-- @tparam table book {title=, subtitle=, bibliography=, style=}
function M.write(markdown, html, book)
  local temporary = ("%s.tmp.%d"):format(html, core.pid())
  local words = arguments(markdown, temporary, book)
  local font = math_style(html:gsub("%.html$", ""))
  if font then table.insert(words, 2, sheet(font)) end
  add(words, { "--to=html5", embed_option(), "--mathml", "--columns=400", "--wrap=none",
    "--template=" .. files.installed "paper/page.html", sheet(book.style),
    "--section-divs" })
  pandoc(words, markdown)
  local text = plain_code(results.read_file(temporary))
  results.write_file(html, embedded_pictures(focusable(whole_numbers(spacing_accents(text)))))
  os.remove(temporary)
end

-- LuaLaTeX runs twice, first without images and output, for the contents. Their pages have numbers
-- of their own (paper/print.tex), so no number changes after that; should one, it runs once more. A
-- letter that the fonts lack is an error, like the warnings of pandoc, and so is a page that its
-- text or a figure leaves by ten points or more. The first word of the script is the folder of its
-- files.
local typeset = [[
run() {
  LC_ALL=C.UTF-8 lualatex -no-shell-escape -interaction=nonstopmode -halt-on-error \
    -output-directory="$0" "$@" "$0/book.tex" > "$0/output" 2>&1 && return
  echo "lualatex failed:"
  grep -A 6 '^!' "$0/output" || tail -n 20 "$0/output"
  exit 1
}
run -draftmode
cp "$0/book.aux" "$0/book.first"
run
cmp -s "$0/book.aux" "$0/book.first" || run
! grep -e '^Missing character' -e '^Overfull .vbox ([0-9]\{2,\}[.]' "$0/book.log"
]]

local OF_TEX = { lock = true, output = true, ["texput.log"] = true, ["missfont.log"] = true }

-- Take the folder of a typesetting. What an interrupted one left is removed, and nothing else.
local function take(folder)
  files.mkdir(folder)
  local names = files.below(folder)
  for _, name in ipairs(names) do
    if not (OF_TEX[name] or name:find "^book%.%w+$") then
      errors.usage("%s/%s is not a file of an interrupted typesetting; move it away first", folder,
        name)
    end
  end
  local lock = core.lock(folder .. "/lock")
  if not lock then errors.usage("%s is in use: another process makes this PDF", folder) end
  for _, name in ipairs(names) do
    if name ~= "lock" then os.remove(folder .. "/" .. name) end
  end
  return lock
end

--- Convert Markdown to a PDF by LuaLaTeX, if it is installed. TeX runs no other program. The work
-- goes on while the caller makes the page.
-- @tparam string markdown path of the source
-- @tparam string pdf path
-- @tparam table book {title=, subtitle=, bibliography=}
-- @treturn ?function waits for the end; nil: LuaLaTeX is not installed
function M.printing(markdown, pdf, book)
  if not os.execute "command -v lualatex > /dev/null 2>&1" then return nil end
  local folder = pdf:gsub("%.pdf$", ".latex")
  local lock = take(folder)
  local words = arguments(markdown, folder .. "/book.tex", book)
  add(words, { "--to=latex", "--lua-filter=" .. files.installed "paper/print.lua",
    "--include-in-header=" .. files.installed "paper/print.tex",
    "--variable=geometry:margin=2.2cm", "--variable=fontsize:10pt", "--variable=colorlinks" })
  local pipe = files.pipe("pandoc", ("{ %s && sh -c %s %s; } 2>&1"):format(command_of(words),
    files.quote(typeset), files.quote(folder)))
  return function()
    local output = pipe:read("a")
    if not pipe:close() then
      errors.data("the PDF of %s failed: %s", markdown, escape.short(output, 2000))
    end
    assert(os.rename(folder .. "/book.pdf", pdf))
    files.remove_tree(folder)
    lock:release()
  end
end

return M
