-- How figures are embedded in the page: smaller, but the same picture.

local t = require "harness"
local picture = require "flowmap.report.picture"
local sandbox = require "sandbox"

local drawn = [[
<?xml version="1.0" encoding="utf-8"  standalone="no"?>
<svg
 width="90" height="50"
 xmlns="http://www.w3.org/2000/svg"
>
<title>Gnuplot</title>
<desc>Produced by GNUPLOT 5.4 patchlevel 4 </desc>
<defs>
	<path id='gpPt1' stroke-width='0.222' d='M-1,0 h2'/>
	<circle id='gpPt5' stroke-width='0.222' cx='0' cy='0' r='1'/>
	<use xlink:href='#gpPt5' id='gpPt6' fill='currentColor'/>
	<use xlink:href='#gpPt1' id='gpPt8' fill='currentColor'/>
	<filter id='textbox'>
	  <feFlood flood-color='#FFFFFF'/>
	</filter>
</defs>
<g fill="none" stroke-linecap="butt" stroke-linejoin="miter">
<g fill="none">
</g>
</g>
<g id="gnuplot_plot_1a" ><title>gnuplot_plot_1a</title>
<path stroke='rgb(  0, 114, 178)'  d='M88.00,232.54 L357.99,232.96
		L-1.04,2 Z '/>
<use xlink:href='#gpPt6' transform='translate(98.951,91.34) scale(1.35)'/>
<text>50 % of "a" &amp; b, 12.345</text>
<image x='1' xlink:href='data:image/png;base64,AAAA'/>
</g>
</svg>
]]

t.test("what draws is kept, what does not is dropped, numbers are rounded to 0.1 px", function()
  t.eq(picture.compact(drawn), "<svg width='90' height='50' xmlns='http://www.w3.org/2000/svg' >"
    .. "<defs><circle id='gpPt5' stroke-width='0.222' cx='0' cy='0' r='1'/>"
    .. "<use xlink:href='#gpPt5' id='gpPt6' fill='currentColor'/></defs>"
    .. "<g><path stroke='#0072b2' d='M88,232.5L358,233L-1,2Z'/>"
    .. "<use xlink:href='#gpPt6' transform='translate(99,91.3) scale(1.35)'/>"
    .. '<text>50 % of "a" &amp; b, 12.345</text>'
    .. "<image style='image-rendering:pixelated' x='1' xlink:href='data:image/png;base64,AAAA'/>"
    .. "</g></svg> ")
  local other = drawn:gsub("GNUPLOT", "another")
  t.eq(picture.compact(other), other)
end)

t.test("the attributes hold the whole picture, whatever its text is, and its size", function()
  sandbox.write("a.svg", drawn)
  local text = picture.attributes(sandbox.root .. "/a.svg")
  local source, rest = text:match '^src="data:image/svg%+xml;charset=utf%-8,([^"]*)"(.*)$'
  t.eq(rest, ' width="90" height="50"')
  t.eq(source:find "#", nil, "it would begin a fragment")
  source = source:gsub("&amp;", "&"):gsub("%%(%x%x)", function(code)
    return string.char(tonumber(code, 16))
  end)
  t.eq(source, picture.compact(drawn))
  sandbox.write("b.svg", "<svg>\n</svg>")
  t.eq(picture.attributes(sandbox.root .. "/b.svg"),
    'src="data:image/svg+xml;charset=utf-8,<svg>%0A</svg>"')
end)

t.done()
