-- A filter that pandoc runs on the page: it knows this project's own marks and lets nothing else
-- into the page than text, links, images of the page's own and mathematics. What comes from result
-- files is escaped before (flowmap.escape); this is the second door.

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

-- A paragraph of nothing but a displayed formula scrolls inside its own box.
local function paragraph(it)
  for _, inline in ipairs(it.content) do
    local formula = inline.t == "Math" and tostring(inline.mathtype) == "DisplayMath"
    if not (formula or inline.t == "Space" or inline.t == "SoftBreak") then return nil end
  end
  return #it.content > 0 and boxed("formula", it) or nil
end

local function nothing() return {} end

return {
  { RawBlock = nothing, RawInline = nothing },
  {
    Div = function(div) return div.classes:includes "fold" and fold(div) or nil end,
    Table = function(it) return boxed("table", it) end,
    Link = link, Image = image, Para = paragraph,
  },
}
