--- Grids of images, drawn only from result files: one panel per method, whose rows are numbers of
-- steps and whose columns share a base sample, and a panel of real images beside them. The pixels
-- are written to NAME.METHOD.png, which can be viewed separately; gnuplot places and labels them.
-- @module flowmap.report.figure.grid

local fm = require "flowmap"
local escape = require "flowmap.base.escape"
local gnuplot = require "flowmap.report.gnuplot"
local sheet = require "flowmap.report.sheet"

local M = {}

local COLUMNS, REAL_ROWS = 8, 5
local SIDE, GAP = 40, 2 -- of an image and between images, in pixels of the figure

-- The first images of a file, (count, H, W, 3).
local function images(path, count)
  return fm.rows(fm.load_npy(path), 1, count)
end

-- The samples of one run: for each N a row of the first eight.
local function rows_of(run, steps)
  local rows = {}
  for i, N in ipairs(steps) do
    rows[i] = images(("%s/samples-N%d.npy"):format(run.dir, N), COLUMNS)
  end
  return fm.concat(rows, 1)
end

local style = [[
unset tics
unset border
unset key
set xrange [*:*] noextend
set yrange [*:*] noextend
]]

-- Append a panel at (x, y): the picture, its title and a label at each row.
local function panel(f, x, y, picture, title, labels)
  local rows = #labels
  local w, h = COLUMNS * (SIDE + GAP), rows * (SIDE + GAP)
  local out = { gnuplot.margins(f.width, f.height, x, y, w, h), "unset label\n",
    ("set title %s offset 0,-0.6\n"):format(gnuplot.text(title)) }
  for i, label in ipairs(labels) do
    out[#out + 1] = ("set label %s at screen %.5f,%.5f right\n"):format(gnuplot.text(label),
      (x - 8) / f.width, 1 - (y + (i - 0.5) * (SIDE + GAP)) / f.height)
  end
  out[#out + 1] = ("plot %s binary filetype=png with rgbimage\n"):format(
    escape.gnuplot(picture))
  f.script[#f.script + 1] = table.concat(out)
end

--- Draw samples of every method beside real images: one row per N, eight columns of the same base
-- samples.
-- @tparam string dir
-- @tparam string name
-- @tparam Set set
-- @tparam table spec { steps =, seed = (of the run; default: the lowest) }
-- @treturn {string,...} the paths
function M.grids(dir, name, set, spec)
  set = set:stepped()
  local methods = set:methods()
  local across, down = COLUMNS * (SIDE + GAP) + 70, #spec.steps * (SIDE + GAP) + 44
  local columns = #methods > 1 and 2 or 1
  local height = math.max(math.ceil(#methods / columns) * down, REAL_ROWS * (SIDE + GAP) + 44)
  local f = { width = 24 + across * (columns + 1), height = height + 10, script = { style } }
  local paths = {}
  local function place(x, y, label, pixels, title, labels)
    local picture = ("%s.%s.png"):format(name, escape.filename(label))
    sheet.write(dir .. "/" .. picture, pixels, COLUMNS)
    paths[#paths + 1] = dir .. "/" .. picture
    panel(f, x, y, picture, title, labels)
  end
  local first, blank, steps = set:first(), {}, {}
  for i = 1, REAL_ROWS do blank[i] = "" end
  for i, N in ipairs(spec.steps) do steps[i] = "N = " .. N end
  place(20, 34, "data", images(first.dir .. "/data.npy", COLUMNS * REAL_ROWS),
    "data: " .. first:field("manifest", "dataset.title"), blank)
  for k, method in ipairs(methods) do
    local own = set:select { method = method }
    local run = spec.seed and own:select({ seed = spec.seed }).runs[1] or own:first()
    place(across + 50 + (k - 1) % columns * across, 34 + (k - 1) // columns * down,
      method, rows_of(run, spec.steps), method, steps)
  end
  local made = gnuplot.render(dir, name, { width = f.width, height = f.height,
    script = table.concat(f.script) })
  return table.move(paths, 1, #paths, #made + 1, made)
end

return M
