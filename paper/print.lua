-- A pandoc filter for the PDF, behind that of the page: figures are taken as PNG; graphs of what a
-- chapter is made from are left out, since a table says the same; provenance and origins are set
-- small, and an origin names the folder of its runs alone. A heading and the caption of a table
-- stay on the page of what follows, and the last row of a table on the page of the row before it.

local pandoc = pandoc -- luacheck: globals pandoc

local function latex(text) return pandoc.RawBlock("latex", text) end

local function small(div)
  local blocks = pandoc.List { latex "\\begingroup\\footnotesize\\color{gray}" }
  blocks:extend(div.content)
  blocks:insert(latex "\\par\\endgroup\\medskip")
  return blocks
end

-- What must not stand at the foot of a page: some lines below it have to fit.
local function kept(block, lines)
  return { latex(("\\needroom{%d\\baselineskip}"):format(lines)), block }
end

local function header(element) return kept(element, 9) end

local function div(element)
  if element.classes:includes "graphs" then return {} end
  if element.classes:includes "caption" then return kept(element, 7) end
  local is_small = element.classes:includes "provenance" or element.classes:includes "origin"
  return is_small and small(element) or nil
end

local function span(element) return element.classes:includes "each" and {} or nil end

local function image(element)
  element.src = element.src:gsub("%.svg$", ".png")
  return element
end

-- LuaLaTeX gets a formula as it was typed, which may hold commands that read files and run code.
-- pandoc converts those of mathematics alone; its warning about another one is an error, and then
-- LuaLaTeX does not run. It passes over labels, and over characters that are written as ^^ and a
-- number.
local function formula(element)
  for _, pattern in ipairs { "%^%^", "\\tag%s*%*?%s*{[^}]*\\", "\\label%s*{[^}]*\\" } do
    if element.text:find(pattern) then
      error(("the formula $%s$ holds ^^ or a command in a label"):format(element.text), 0)
    end
  end
  assert(pandoc.write, "the PDF needs pandoc 2.17 or newer")
  pandoc.write(pandoc.Pandoc { pandoc.Plain { element } }, "html", { html_math_method = "mathml" })
end

-- ------------------------------------------------------------------ widths of columns

local LINE = 112  -- letters of a table that is as wide as the text
local GAP = 2     -- between columns
local SIZE = 8    -- points of the letters of a table; fewer where a row without breaks is longer
local SHORT = 18  -- letters of a cell that is not broken: a value with its interval

-- The longest line and the longest word of a cell, in letters; those of code are wide.
local function extent(blocks)
  local text = pandoc.utils.stringify(blocks)
  local wide, longest = 1, 0
  pandoc.walk_block(pandoc.Div(blocks), { Code = function() wide = 1.2 end })
  for word in text:gmatch "[^%s/_]+" do longest = math.max(longest, utf8.len(word) or #word) end
  local length = utf8.len(text) or #text
  return wide * length, wide * (length <= SHORT and length or longest)
end

-- Names in tables may be broken behind an underscore.
local function name(element)
  if not element.text:find "_." then return nil end
  local parts = pandoc.List {}
  for part in element.text:gmatch "[^_]*_?" do
    if #parts > 0 and part ~= "" then parts:insert(pandoc.RawInline("latex", "\\allowbreak{}")) end
    if part ~= "" then parts:insert(pandoc.Str(part)) end
  end
  return parts
end

-- Keep the last row of a table from standing alone on a page. longtable wants the command at the
-- very beginning of the row.
local function keep_last_row(element)
  local body = element.bodies[#element.bodies]
  local cell = body and #body.body > 1 and body.body[#body.body].cells[1]
  local contents = cell and cell.contents
  if not contents or #contents == 0 or contents[1].tag ~= "Plain" then return end
  contents[1].content:insert(1, pandoc.RawInline("latex", "\\nopagebreak{}"))
  cell.contents = contents
end

-- Give the columns of a wide table the widths that their contents need, so that no word is broken;
-- pandoc makes them equal. A table that fits into the line as it is has no widths.
local function fit(element)
  local simple = pandoc.utils.to_simple_table(element)
  local rows = { simple.headers, table.unpack(simple.rows) }
  local full, least, sum, needed = {}, {}, 0, 0
  for k = 1, #element.colspecs do
    full[k], least[k] = 1, 1
    for _, row in ipairs(rows) do
      local line, word = extent(row[k] or {})
      full[k], least[k] = math.max(full[k], line), math.max(least[k], word)
    end
    sum, needed = sum + full[k] + GAP, needed + least[k] + GAP
  end
  local specs = element.colspecs
  -- What is left beside the longest words goes to columns in proportion to the root of their text.
  local weight = 0
  for k = 1, #specs do weight = weight + math.sqrt(full[k] - least[k]) end
  for k, spec in ipairs(specs) do
    local share = weight > 0 and math.sqrt(full[k] - least[k]) / weight or 0
    local width = least[k] + GAP + math.max(0, LINE - needed) * share
    specs[k] = { spec[1], sum > LINE and width / math.max(LINE, needed) or nil }
  end
  element.colspecs = specs
  element = element:walk { Str = name }
  keep_last_row(element)
  if needed <= LINE then return element end
  return { latex(("\\begingroup\\narrowtables{%.1f}"):format(SIZE * LINE / needed)), element,
    latex "\\endgroup" }
end

return { { Table = fit, Div = div, Span = span, Image = image, Header = header, Math = formula } }
