-- A pandoc filter for the PDF, behind that of the page: figures are taken as PNG; graphs of what a
-- chapter is made from are left out, since a table says the same; provenance and origins are set
-- small, and an origin names the folder of its runs alone.

local pandoc = pandoc -- luacheck: globals pandoc

local function latex(text) return pandoc.RawBlock("latex", text) end

local function small(div)
  local blocks = pandoc.List { latex "\\begingroup\\footnotesize\\color{gray}" }
  blocks:extend(div.content)
  blocks:insert(latex "\\par\\endgroup\\medskip")
  return blocks
end

local function div(element)
  if element.classes:includes "graphs" then return {} end
  local is_small = element.classes:includes "provenance" or element.classes:includes "origin"
  return is_small and small(element) or nil
end

local function span(element) return element.classes:includes "each" and {} or nil end

local function image(element)
  element.src = element.src:gsub("%.svg$", ".png")
  return element
end

return { { Div = div, Span = span, Image = image } }
