--- The figure and the table of paper/scaling.md: the simulated training of the paper's four
-- profiles on machines of many nodes. Both are drawn from paper/scaling/scaling.csv, which
-- paper/scaling/plan.lua writes; nothing is measured or simulated while the page is woven.
-- @module flowmap.report.scaling

local csv = require "flowmap.report.csv"
local errors = require "flowmap.base.errors"
local escape = require "flowmap.base.escape"
local files = require "flowmap.base.files"
local gnuplot = require "flowmap.report.gnuplot"
local origin = require "flowmap.report.origin"
local results = require "flowmap.report.results"

local M = {}

local DATA, MAKER = "paper/scaling/scaling.csv", "paper/scaling/plan.lua"

--- The rows of a file that paper/scaling/plan.lua wrote.
-- @tparam string text
-- @treturn {table,...} by the names of the columns; numbers, except experiment and machine
function M.rows(text)
  local rows = csv.rows(text)
  for _, row in ipairs(rows) do
    for name, field in pairs(row) do row[name] = tonumber(field) or field end
    if type(row.ranks) ~= "number" then errors.data("%s: a line without ranks", DATA) end
  end
  return rows
end

-- Distinct values of a column, in order.
local function distinct(rows, name)
  local list, seen = {}, {}
  for _, row in ipairs(rows) do
    if not seen[row[name]] then
      list[#list + 1], seen[row[name]] = row[name], true
    end
  end
  return list
end

local function series(rows, machine, experiments, value)
  local list = {}
  for k, name in ipairs(experiments) do
    local points = {}
    for _, row in ipairs(rows) do
      if row.machine == machine and row.experiment == name then
        points[#points + 1] = { row.nodes, value(row) }
      end
    end
    list[k] = { kind = "linespoints", label = name, key = name, rows = points, colour = k,
      point = k }
  end
  return list
end

local NODES = { 1, 4, 16, 64, 256, 1024 }

-- The tens of percent below all efficiencies: no curve leaves its panel.
local function lowest(rows)
  local low = 0.9
  for _, row in ipairs(rows) do low = math.min(low, row.weak) end
  return 10 * math.floor(10 * low + 1e-9)
end

--- The panels of the figure.
-- @tparam {table,...} rows see `rows`
-- @treturn {table,...} see flowmap.report.gnuplot
function M.panels(rows)
  local list, experiments = {}, distinct(rows, "experiment")
  for _, machine in ipairs(distinct(rows, "machine")) do
    list[#list + 1] = { title = machine, xlabel = "nodes", ylabel = "days", xlog = true,
      ylog = true, xtics = NODES, series = series(rows, machine, experiments,
        function(row) return row.hours / 24 end) }
  end
  for _, machine in ipairs(distinct(rows, "machine")) do
    list[#list + 1] = { title = machine, xlabel = "nodes", ylabel = "weak efficiency, %",
      xlog = true, xtics = NODES, yrange = { lowest(rows), 100 },
      series = series(rows, machine, experiments, function(row) return 100 * row.weak end) }
  end
  return list
end

-- The last row whose step is at least a tenth shorter than that of half the nodes.
local function useful(rows, machine, experiment)
  local best
  for _, row in ipairs(rows) do
    if row.machine == machine and row.experiment == experiment then
      if best and row.step_s > 0.9 * best.step_s then return best end
      best = row
    end
  end
  return best
end

local function at(rows, machine, experiment, nodes)
  for _, row in ipairs(rows) do
    if row.machine == machine and row.experiment == experiment and row.nodes == nodes then
      return row
    end
  end
  errors.data("%s: no row of %d nodes", DATA, nodes)
end

--- The table, in Markdown.
-- @tparam {table,...} rows see `rows`
-- @treturn string
function M.table(rows)
  local out = { "| nodes | profile | useful nodes | days there | weak 16 | weak 64 |",
    "|:------|:--------|-----:|-----:|-----:|-----:|" }
  for _, machine in ipairs(distinct(rows, "machine")) do
    for _, name in ipairs(distinct(rows, "experiment")) do
      local best = useful(rows, machine, name)
      out[#out + 1] = ("| %s | %s | %d | %.3g | %.1f %% | %.1f %% |"):format(
        escape.markdown(machine), escape.markdown(name), best.nodes, best.hours / 24,
        100 * at(rows, machine, name, 16).weak, 100 * at(rows, machine, name, 64).weak)
    end
  end
  return table.concat(out, "\n")
end

local function made(context, what)
  return ("\n::: origin\n%s. Command: `./flowmap lua %s`. Data: %s. Script: %s. Runs: none. Cost: "
    .. "none.\n:::\n"):format(what, MAKER, origin.link(context, "scaling.csv",
    files.installed(DATA)), "lua/flowmap/report/scaling.lua")
end

--- The insert {{scaling}}: the figure and the table.
-- @tparam Context context
-- @treturn string Markdown
function M.text(context)
  local rows = M.rows(results.read_file(files.installed(DATA)))
  gnuplot.panels(context.output, "scaling", { columns = 2, width = 380, height = 250,
    panels = M.panels(rows) })
  return ("\n![Simulated training of the paper's four profiles. Above: days of the whole training "
    .. "if all nodes share the batch. Below: efficiency if every node has a micro-batch for each "
    .. "of its cores.](<%s>){#fig:scaling:scaling}\n%s\n:::::: {#tab:scaling:scaling}\n\n%s\n\n"
    .. ": Useful nodes: twice as many shorten the step by less than a tenth. Weak: efficiency on "
    .. "16 and 64 nodes if every node has a micro-batch for each core.\n::::::\n%s"):format(
    context.output .. "/scaling.svg", made(context, "Figure scaling"), M.table(rows),
    made(context, "Table scaling"))
end

return M
