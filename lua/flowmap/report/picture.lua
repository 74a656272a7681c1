--- Pictures in the page. A figure is embedded as text, without what gnuplot writes but no reader
-- sees: browsers then load the page about twice as fast as with base64 of the whole file. Samples
-- inside a figure keep the edges of their pixels.
-- @module flowmap.report.picture

local results = require "flowmap.report.results"

local M = {}

-- Coordinates to a tenth of a pixel.
local function rounded(text)
  return (text:gsub("%d+%.%d%d+", function(number)
    return (("%.1f"):format(tonumber(number)):gsub("%.0$", ""))
  end))
end

local function path_data(text)
  return (rounded(text):gsub("%s*([MLZz])%s*", "%1"):gsub("^%s+", ""):gsub("%s+$", ""))
end

local function colour(red, green, blue)
  return ("#%02x%02x%02x"):format(tonumber(red), tonumber(green), tonumber(blue))
end

-- Remove marks and filters that nothing uses. A mark may be made of another one, so repeat.
local function without_unused(text)
  local count
  repeat
    count = 0
    text = text:gsub("<(%l+) [^<>]*id='(gpPt%d+)'[^<>]*/>", function(_, id)
      if text:find(("#%s'"):format(id), 1, true) then return nil end
      count = count + 1
      return ""
    end)
  until count == 0
  return (text:gsub("<filter id='(%w+)'.-</filter>", function(id)
    return not text:find("url(#" .. id, 1, true) and "" or nil
  end))
end

local function without_empty_groups(text)
  local count
  repeat text, count = text:gsub("<g[^<>]*></g>", "") until count == 0
  return text
end

-- Double quotes of attributes would have to be escaped in the page.
local function single_quoted(text)
  return (text:gsub("<%a[^<>]*>", function(tag) return tag:gsub('="([^"\']*)"', "='%1'") end))
end

--- The same picture in fewer bytes; only a file by gnuplot is changed.
-- @tparam string svg
-- @treturn string
function M.compact(svg)
  if not svg:find("Produced by GNUPLOT", 1, true) then return svg end
  local text = svg:gsub("<%?xml.-%?>", ""):gsub("<desc>.-</desc>", "")
  text = text:gsub("<title>[Gg]nuplot.-</title>", ""):gsub('<g id="gnuplot_[%w_]+"%s*>', "<g>")
  text = text:gsub(' stroke%-linecap="butt" stroke%-linejoin="miter"', "")
  text = text:gsub("rgb%(%s*(%d+),%s*(%d+),%s*(%d+)%)", colour)
  text = text:gsub("%f[%w]d='([^']*)'", function(data) return "d='" .. path_data(data) .. "'" end)
  text = text:gsub("%f[%w]translate%([^()]*%)", rounded)
  text = text:gsub("<image ", "<image style='image-rendering:pixelated' ")
  text = without_unused(text):gsub("%s+", " "):gsub("> <", "><"):gsub("^ ", "")
  return single_quoted(without_empty_groups(text))
end

local escapes = { ["%"] = "%25", ["#"] = "%23", ['"'] = "%22", ["&"] = "&amp;", ["\n"] = "%0A",
  ["\r"] = "%0D", ["\t"] = "%09" }

--- Attributes of an image element that shows an SVG file: the file as a data URI, and its size, so
-- that the text below keeps its place while the browser waits with the picture.
-- @tparam string path
-- @treturn string src="..." width="..." height="..."
function M.attributes(path)
  local text = M.compact(results.read_file(path))
  local source = "data:image/svg+xml;charset=utf-8," .. text:gsub('[%%#"&\n\r\t]', escapes)
  local head = text:match "<svg[^<>]*>" or ""
  local width, height = head:match "%swidth=['\"](%d+)['\"]", head:match "%sheight=['\"](%d+)['\"]"
  if not (width and height) then return ('src="%s"'):format(source) end
  return ('src="%s" width="%s" height="%s"'):format(source, width, height)
end

return M
