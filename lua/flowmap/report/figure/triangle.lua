--- A schematic of the method.
-- @module flowmap.report.figure.triangle

local gnuplot = require "flowmap.report.gnuplot"

local M = {}

-- Points, arrows and text are gnuplot labels and arrows in the coordinates (s, t).
local function point(s, t, colour, shape, word, offset)
  return ("set label %s at %g,%g %s tc lt %d point pt %d ps 0.9 lc %d\n"):format(
    word or '""', s, t, offset or "", colour, shape, colour)
end

local function arrow(s, t, to_s, to_t, colour, style)
  return ("set arrow from %g,%g to %g,%g %s lc %d\n"):format(s, t, to_s, to_t, style, colour)
end

local DOTTED, MOTION = "nohead dt 3 lw 1.5", "head filled size screen 0.012,20 lw 2"

local schematic = {
  { title = "what a batch is drawn from", draw = function(eta)
    return ("set label \"off-diagonal, s < t:\\nself-distillation,\\na fraction 1 − η\" "
      .. "at 0.05,0.78 left\nset label \"diagonal, s = t:\\nflow matching,\\n"
      .. "a fraction %s\" at 0.97,0.42 right tc lt 7\n"):format(
      eta and ("η = %g"):format(eta) or "η")
  end },
  { title = "what an objective compares at (s, t)", draw = function()
    local s, u, t = 0.22, 0.42, 0.7
    return arrow(s, t, t, t, 6, DOTTED) .. arrow(s, t, s, t + 0.17, 6, MOTION)
      .. point(t, t, 6, 7, '"LSD: vₜₜ"', "left offset 0.8,-0.4")
      .. 'set label "∂ₜ" at 0.14,0.83 center tc lt 6\n'
      .. arrow(s, t, s, s, 7, DOTTED) .. arrow(s, t, s - 0.17, t, 7, MOTION)
      .. point(s, s, 7, 5, '"ESD: vₛₛ"', "left offset 0.8,-0.4")
      .. 'set label "∂ₛ" at 0.08,0.64 center tc lt 7\n'
      .. point(s, u, 4, 9, '"(s,u)"', "right offset -1.2,0") .. point(u, t, 4, 9)
      .. 'set label "(u,t)" at 0.42,0.77 center tc lt 4\nset label "PSD" at 0.31,0.56 center '
      .. "tc lt 4\n" .. point(s, t, 1, 7)
  end },
  { title = "what N sampling steps use", draw = function()
    local out = {}
    for i, N in ipairs { 1, 2, 4, 8 } do
      local colour, shape = ({ 6, 7, 4, 8 })[i], ({ 7, 5, 9, 11 })[i]
      for k = 0, N - 1 do out[#out + 1] = point(k / N, (k + 1) / N, colour, shape) end
      out[#out + 1] = point(0.68, 0.46 - 0.1 * i, colour, shape, ('"N = %d"'):format(N),
        "left offset 1,0")
    end
    return table.concat(out)
  end },
}

--- Draw the triangle of time pairs s <= t: the split of a batch into diagonal and off-diagonal
-- parts, what each objective compares, and the pairs that sampling uses. It needs no results.
-- @tparam string dir
-- @tparam string name
-- @tparam ?table spec {eta= the diagonal fraction to print}
-- @treturn {string,...} the paths
function M.triangle(dir, name, spec)
  local size, gap, left, top = 270, 62, 50, 44
  local width, height = left + #schematic * (size + gap) - gap + 30, top + size + 52
  local script = { "set xlabel \"s\" offset 0,0.4\nset ylabel \"t\" offset 2.2,0 norotate\n"
    .. "set xrange [0:1]\nset yrange [0:1]\nset xtics 1\nset ytics 1\nunset key\n"
    .. "set object 1 polygon from 0,0 to 0,1 to 1,1 to 0,0 fc rgb \"#e8f1f8\" fs solid "
    .. "noborder behind\n" }
  for i, panel in ipairs(schematic) do
    script[#script + 1] = gnuplot.margins(width, height, left + (i - 1) * (size + gap), top, size,
      size) .. "unset label\nunset arrow\nset title " .. gnuplot.text(panel.title) .. "\n"
      .. panel.draw(spec and spec.eta) .. "plot x with lines lw 3 lc 7\n"
  end
  return gnuplot.render(dir, name, { width = width, height = height,
    script = table.concat(script) })
end

return M
