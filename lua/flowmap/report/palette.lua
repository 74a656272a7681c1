--- Colours and point shapes of curves. Methods differ in both; our curves are filled and solid,
-- published ones open and dashed. Colours are indices into gnuplot's `podo`, whose yellow is too
-- pale for lines on white; a brown stands in its place.
-- @module flowmap.report.palette

local M = {}

--- Line type and point shapes per method: ours (filled) and published (open).
M.methods = {
  ["LSD"] = { colour = 6, filled = 7, open = 6 },
  ["ESD"] = { colour = 7, filled = 5, open = 4 },
  ["PSD-M"] = { colour = 4, filled = 9, open = 8 },
  ["PSD-U"] = { colour = 8, filled = 11, open = 10 },
  ["ESD-CONVEX"] = { colour = 1, filled = 13, open = 12 },
}

-- The other colours, for other methods and for curves that are not methods (values of a setting).
local other = {
  { colour = 1, filled = 7, open = 6 }, { colour = 2, filled = 5, open = 4 },
  { colour = 3, filled = 9, open = 8 }, { colour = "#806000", filled = 11, open = 10 },
}

--- The style of the i-th curve of a figure whose curves are not methods.
-- @tparam integer i
-- @treturn table { colour=, filled=, open= }
function M.curve(i)
  return other[(i - 1) % #other + 1]
end

--- The style of a method: its own, or the i-th of the others for a method the suite does not know.
-- @tparam string name
-- @tparam integer i position in the list of methods
-- @treturn table { colour=, filled=, open= }
function M.method(name, i)
  return M.methods[name] or M.curve(i)
end

return M
