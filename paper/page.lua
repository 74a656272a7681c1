-- A filter that pandoc runs on the page: it knows this project's own marks and lets nothing else
-- into the page than text, links, images of the page's own and mathematics. What comes from result
-- files is escaped before (flowmap.base.escape); this is the second door.

local pandoc = pandoc -- luacheck: globals pandoc

-- Folded code: a div of class "fold" that weave writes.
local function fold(div)
  local summary = ("<summary>Code, %d lines</summary>"):format(tonumber(div.attributes.lines) or 0)
  local blocks = pandoc.List { pandoc.RawBlock("html", '<details class="code">\n' .. summary) }
  blocks:extend(div.content)
  blocks:insert(pandoc.RawBlock("html", "</details>"))
  return blocks
end

local function boxed(class, block)
  return pandoc.Div({ block }, pandoc.Attr("", { class }))
end

local function scheme(target)
  return target:gsub("[%c%s]", ""):match "^(%a[%w+.-]*):"
end

local known = { http = true, https = true, mailto = true }

-- A link leads to a page of the web or to a place in this one.
local function link(it)
  local target = scheme(it.target)
  if target and not known[target:lower()] then return pandoc.Span(it.content) end
  return nil
end

-- An image is a local picture, and becomes a part of the page.
local function image(it)
  local picture = it.src:lower():find "%.svg$" or it.src:lower():find "%.png$"
  if scheme(it.src) or it.src:find "^//" or not picture then return pandoc.Span(it.caption) end
  return nil
end

local function is_space(inline) return inline.t == "Space" or inline.t == "SoftBreak" end

-- Displayed formulas leave their paragraph: each scrolls inside its own box, where it is too wide.
local function paragraph(it)
  local blocks, open, formulas = pandoc.List {}, pandoc.List {}, 0
  local function close()
    while #open > 0 and is_space(open[1]) do open:remove(1) end
    if #open > 0 then blocks:insert(pandoc.Para(open)) end
    open = pandoc.List {}
  end
  for _, inline in ipairs(it.content) do
    if inline.t == "Math" and tostring(inline.mathtype):find "DisplayMath" then
      close()
      blocks:insert(boxed("formula", pandoc.Plain { inline }))
      formulas = formulas + 1
    else
      open:insert(inline)
    end
  end
  close()
  return formulas > 0 and blocks or nil
end

-- A table scrolls inside its own box, its caption stays above.
local function table_box(it)
  local caption = it.caption.long
  it.caption = { long = {} }
  local box = boxed("table", it)
  if #caption == 0 then return box end
  return { pandoc.Div(caption, pandoc.Attr("", { "caption" })), box }
end

local function nothing() return {} end

-- An element keeps its name and classes; other attributes (style, onclick) are dropped.
local function plain(it)
  it.attributes = {}
  return it
end

return {
  { RawBlock = nothing, RawInline = nothing },
  { Div = function(div) return div.classes:includes "fold" and fold(div) or plain(div) end },
  { Span = plain, Header = plain, Code = plain, CodeBlock = plain, Link = plain, Image = plain,
    Table = plain },
  {
    Table = table_box, Link = link, Image = image, Para = paragraph, Plain = paragraph,
  },
}
