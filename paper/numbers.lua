-- A pandoc filter that numbers what prose refers to, chapter by chapter: equations with a label,
-- `$$...$$ {#eq:lsd}`; figures and tables, which the weaver names after the render entries that
-- make them, fig:EXPERIMENT:NAME and tab:EXPERIMENT:NAME; and sections, sec:IDENTIFIER. A
-- reference, `@eq:lsd`, becomes a link with the number. In the page it carries a preview: the
-- formula, or the caption of the figure or table. A reference to nothing stops pandoc. A plain link
-- to a section of a chapter that is not woven becomes its text.

local pandoc = pandoc -- luacheck: globals pandoc
local FORMAT = FORMAT -- luacheck: globals FORMAT

local WORDS = { eq = "Equation", fig = "Figure", tab = "Table", sec = "Section" }
local in_latex = FORMAT:find "latex" ~= nil

local targets = {} -- id -> { text =, preview = inlines or nil }
local counts = {}  -- of the chapter, by kind
local heads = {}   -- number of the section at each level
local places = {}  -- identifiers of all sections

local function numbered(kind)
  counts[kind] = (counts[kind] or 0) + 1
  local chapter = heads[1]
  return chapter and ("%d.%d"):format(chapter, counts[kind]) or tostring(counts[kind])
end

-- The number of something with this id; the first of several keeps the id.
local function number(kind, id, preview)
  local n = numbered(kind)
  local text = kind == "eq" and ("(%s)"):format(n) or n
  if not targets[id] then
    targets[id] = { text = ("%s\u{a0}%s"):format(WORDS[kind], text), preview = preview }
    return n, id
  end
  return n, ""
end

local function header(element)
  places[element.identifier] = true
  if element.classes:includes "unnumbered" then return end
  local level = element.level
  heads[level] = (heads[level] or 0) + 1
  for deeper = level + 1, 6 do heads[deeper] = nil end
  if level == 1 then counts = {} end
  local parts = {}
  for k = 1, level do parts[k] = tostring(heads[k] or 0) end
  targets["sec:" .. element.identifier] = { text = ("%s\u{a0}%s"):format(level == 1 and "Chapter"
    or WORDS.sec, table.concat(parts, ".")) }
end

-- "Figure 2.1. " before a caption.
local function labelled(kind, n, caption)
  local name = pandoc.Str(("%s\u{a0}%s."):format(WORDS[kind], n))
  local inlines = pandoc.List { pandoc.Strong { name }, pandoc.Space() }
  inlines:extend(caption)
  return inlines
end

local function is_display(inline)
  return inline and inline.t == "Math" and tostring(inline.mathtype):find "DisplayMath" ~= nil
end

-- The place of a label behind element k of a list, its name, and the punctuation that follows it.
local function label_after(content, k)
  for at = k + 1, math.min(k + 2, #content) do
    local inline = content[at]
    if inline.t == "Str" then
      local name, rest = inline.text:match "^{#(eq:[%w_-]+)}(%p?)$"
      if name then return at, name, rest end
      return nil
    end
  end
end

-- Number the labelled formulas of a paragraph.
local function equations(element)
  local content, out, k = element.content, pandoc.List {}, 1
  while k <= #content do
    local at, id, rest = nil, nil, nil
    if is_display(content[k]) then at, id, rest = label_after(content, k) end
    out:insert(content[k])
    if at then
      local n, own = number("eq", id, { pandoc.Math("InlineMath", content[k].text) })
      if in_latex then
        out[#out] = pandoc.Span({ pandoc.Math("DisplayMath", ("%s \\tag{%s}"):format(
          content[k].text, n)) }, pandoc.Attr(own))
      else
        out:insert(pandoc.Span({ pandoc.Str(("(%s)"):format(n)) }, pandoc.Attr(own, { "eqno" })))
      end
      if rest ~= "" then out:insert(pandoc.Str(rest)) end
      k = at
    end
    k = k + 1
  end
  element.content = out
  return element
end

local function figure(element)
  local image = element.content[1]
  local n, own = number("fig", image.identifier, image.caption)
  image.identifier, image.caption = own, labelled("fig", n, image.caption)
  return element
end

local function tables(div)
  local n, own
  local content = div.content
  for _, block in ipairs(content) do
    local caption = block.t == "Table" and block.caption.long
    if caption and caption[1] and not n then
      n, own = number("tab", div.identifier, caption[1].content)
      caption[1].content = labelled("tab", n, caption[1].content)
      block.caption.long = caption
    end
  end
  if own == "" then div.identifier = "" end
  div.content = content
  return div
end

local visit

local function each(blocks)
  local out = pandoc.List {}
  for k, block in ipairs(blocks) do out[k] = visit(block) end
  return out
end

local function is_figure(element)
  local first = element.content[1]
  return #element.content == 1 and first.t == "Image" and first.identifier:find "^fig:" ~= nil
end

function visit(block)
  if block.t == "Header" then
    header(block)
  elseif block.t == "Para" or block.t == "Plain" then
    return is_figure(block) and figure(block) or equations(block)
  elseif block.t == "Div" then
    if block.identifier:find "^tab:" then return tables(block) end
    block.content = each(block.content)
  elseif block.t == "BlockQuote" then
    block.content = each(block.content)
  elseif block.t == "BulletList" or block.t == "OrderedList" then
    local items = block.content
    for k, item in ipairs(items) do items[k] = each(item) end
    block.content = items
  end
  return block
end

-- ------------------------------------------------------------------ references

local function is_reference(id) return WORDS[id:match "^(%a+):" or ""] ~= nil end

local function link(id)
  local target = targets[id]
  if not target then
    error(("there is no %s that is named '%s'"):format(WORDS[id:match "^%a+"]:lower(), id), 0)
  end
  local content = pandoc.List { pandoc.Str(target.text) }
  if target.preview and not in_latex then
    content:insert(pandoc.Span(target.preview, pandoc.Attr("", { "preview" })))
  end
  local place = id:find "^sec:" and id:sub(5) or id
  return pandoc.Link(content, "#" .. place, "", pandoc.Attr("", { "ref" }))
end

-- `@eq:lsd`, or `[@eq:lsd; @eq:esd]`; citations of publications are left alone.
local function cite(element)
  local out = pandoc.List {}
  for _, citation in ipairs(element.citations) do
    if not is_reference(citation.id) then return nil end
    if #out > 0 then out:extend { pandoc.Str ",", pandoc.Space() } end
    out:insert(link(citation.id))
  end
  return out
end

local function plain_link(element)
  local place = element.target:match "^#(.+)$"
  if not place or element.classes:includes "ref" or places[place] then return nil end
  return pandoc.Span(element.content)
end

return {
  { Pandoc = function(doc)
    doc.blocks = each(doc.blocks)
    return doc
  end },
  { Cite = cite, Link = plain_link },
}
