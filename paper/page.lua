-- A pandoc filter for the page. It handles this project's own markup and admits only text, links,
-- local images and mathematics. Text from result files is already escaped
-- (flowmap.base.escape); this filter is the second line of defence.

local pandoc = pandoc -- luacheck: globals pandoc
local FORMAT = FORMAT -- luacheck: globals FORMAT

-- Folded code: a div of class "fold", written by flowmap.report.weave.
local function fold(div)
  local summary = ("<summary>Code, %d lines</summary>"):format(tonumber(div.attributes.lines) or 0)
  local blocks = pandoc.List { pandoc.RawBlock("html", '<details class="code">\n' .. summary) }
  blocks:extend(div.content)
  blocks:insert(pandoc.RawBlock("html", "</details>"))
  return blocks
end

-- Where a figure or table comes from: a div of class "origin", written by flowmap.report.origin.
local function origin(div)
  return { pandoc.RawBlock("html", '<details class="origin">\n<summary>How it was made</summary>'),
    pandoc.Div(div.content, pandoc.Attr("", { "origin" })), pandoc.RawBlock("html", "</details>") }
end

-- The focus lets keys scroll a box that is too narrow for its contents.
local function boxed(class, block)
  return pandoc.Div({ block }, pandoc.Attr("", { class }, { tabindex = "0" }))
end

local function scheme(target)
  return target:gsub("[%c%s]", ""):match "^(%a[%w+.-]*):"
end

local known = { http = true, https = true, mailto = true }

-- A link leads to a web page or to a place in this page; any other becomes plain text.
local function link(element)
  local target = scheme(element.target)
  if target and not known[target:lower()] then return pandoc.Span(element.content) end
  return nil
end

-- The size of a figure that gnuplot drew as PNG, with two pixels for each of the page.
local function size_of(path)
  local file = io.open(path, "rb")
  local head = file and file:read(24)
  if file then file:close() end
  if not head or #head < 24 then return nil end
  local width, height = string.unpack(">I4I4", head, 17)
  return tostring(width // 2), tostring(height // 2)
end

-- Only local SVG and PNG images are embedded in the page; any other is replaced by its caption. PNG
-- files are left to pandoc; flowmap.report.page embeds the SVG files that are named here.
local function image(element)
  local src = element.src
  local ending = src:lower():match "%.svg$" or src:lower():match "%.png$"
  if scheme(src) or src:find "^//" or not ending then return pandoc.Span(element.caption) end
  element.attributes.loading = "lazy" -- browsers load all images before they print
  if ending == ".svg" and FORMAT:find "html" then
    element.src = "data:,svg:" .. src:gsub("[^%w%%._~/+-]", function(c)
      return ("%%%02X"):format(c:byte())
    end)
  elseif FORMAT:find "html" then
    element.attributes.width, element.attributes.height = size_of(src)
  end
  return element
end

local function is_space(inline) return inline.t == "Space" or inline.t == "SoftBreak" end

-- Displayed formulas leave their paragraph, so that each scrolls in a box of its own where it is
-- too wide.
local function paragraph(element)
  local blocks, open, formulas = pandoc.List {}, pandoc.List {}, 0
  local function close()
    while #open > 0 and is_space(open[1]) do open:remove(1) end
    if #open > 0 then blocks:insert(pandoc.Para(open)) end
    open = pandoc.List {}
  end
  for _, inline in ipairs(element.content) do
    if inline.t == "Math" and tostring(inline.mathtype):find "DisplayMath" then
      close()
      blocks:insert(boxed("formula", pandoc.Plain { inline }))
      formulas = formulas + 1
    elseif inline.t == "Span" and inline.classes:includes "eqno" and #open == 0 and #blocks > 0 then
      blocks[#blocks].content[1].content:insert(inline) -- the number of the formula before it
    else
      open:insert(inline)
    end
  end
  close()
  return formulas > 0 and blocks or nil
end

-- A table scrolls in a box of its own; its caption stays above the box.
local function table_box(element)
  local caption = element.caption.long
  element.caption = { long = {} }
  local box = boxed("table", element)
  if #caption == 0 then return box end
  return { pandoc.Div(caption, pandoc.Attr("", { "caption" })), box }
end

local function nothing() return {} end

-- An element keeps its name and classes; other attributes (style, onclick) are dropped.
local function plain(element)
  element.attributes = {}
  return element
end

return {
  { RawBlock = nothing, RawInline = nothing },
  { Div = function(div)
    if div.classes:includes "origin" then return origin(div) end
    return div.classes:includes "fold" and fold(div) or plain(div)
  end },
  { Span = plain, Header = plain, Code = plain, CodeBlock = plain, Link = plain, Image = plain,
    Table = plain },
  {
    Table = table_box, Link = link, Image = image, Para = paragraph, Plain = paragraph,
  },
}
