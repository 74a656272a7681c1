--- The command `plan`: how long a training step takes on 1 to 1,024 ranks of a machine that a file
-- describes, as a table, JSON or CSV.
-- @module flowmap.app.plan.command

local errors = require "flowmap.base.errors"
local escape = require "flowmap.base.escape"
local json = require "flowmap.base.json"
local machines = require "flowmap.app.plan.machine"
local simulate = require "flowmap.app.plan.simulate"
local works = require "flowmap.app.plan.work"

local M = {}

--- Numbers of ranks: powers of two up to 1,024, and those that are asked for.
-- @tparam ?{integer,...} more
-- @treturn {integer,...} ascending
function M.counts(more)
  local list, seen = {}, {}
  local function add(n)
    if not seen[n] then list[#list + 1], seen[n] = n, true end
  end
  for k = 0, 10 do add(1 << k) end
  for _, n in ipairs(more or {}) do add(n) end
  table.sort(list)
  return list
end

-- The work with as many busy cores as a number of ranks has, planned once for each.
local function timer(costs, machine)
  local known = {}
  return function(ranks, each)
    local active = simulate.active(machine, each and each * ranks or #costs.which, ranks)
    known[active] = known[active] or works.timed(costs, machine, active)
    return known[active]
  end
end

--- The rows of the table.
-- @tparam table costs see flowmap.app.plan.work
-- @tparam table machine
-- @tparam {integer,...} counts of ranks
-- @treturn {table,...} { ranks, nodes, micros, compute_s, exposed_s, update_s, step_s, strong, weak
--   = efficiencies, hours = of the whole profile, price = of that, sent_mb = of a rank in a step }
function M.rows(costs, machine, counts)
  local timed, rows = timer(costs, machine), {}
  local one, each = simulate.step(timed(1), machine, 1).seconds, simulate.full(machine, costs.leaf)
  local full = simulate.step(timed(1, each), machine, 1, each).seconds
  for _, ranks in ipairs(counts) do
    local it = simulate.step(timed(ranks), machine, ranks)
    local weak = simulate.step(timed(ranks, each), machine, ranks, each)
    local nodes = -(-ranks // machine.ranks)
    local hours = it.seconds * costs.steps_of_profile / 3600
    rows[#rows + 1] = {
      ranks = ranks, nodes = nodes, micros = it.micros, compute_s = it.compute,
      exposed_s = it.exposed, update_s = it.update, step_s = it.seconds,
      strong = one / (ranks * it.seconds), weak = full / weak.seconds, hours = hours,
      price = machine.price and machine.price * nodes * hours or nil, sent_mb = it.sent / 1e6,
    }
  end
  return rows
end

-- ------------------------------------------------------------------ printing

local COLUMNS = {
  { "ranks", "ranks", "%6d" }, { "nodes", "nodes", "%6d" }, { "micros", "micro", "%6d" },
  { "compute_s", "compute s", "%10.4g" }, { "exposed_s", "exchange s", "%10.4g" },
  { "update_s", "update s", "%9.4g" }, { "step_s", "step s", "%9.4g" },
  { "strong", "strong %", "%8.1f", 100 }, { "weak", "weak %", "%7.1f", 100 },
  { "hours", "hours", "%9.4g" }, { "price", "price", "%9.4g" },
  { "sent_mb", "MB sent", "%8.4g" },
}

-- Decimal points are dots in every locale.
local function number(format, x) return (format:format(x):gsub(",", ".")) end

local function print_table(say, rows)
  local heads = {}
  for k, column in ipairs(COLUMNS) do
    heads[k] = ("%" .. column[3]:match "%d+" .. "s"):format(column[2])
  end
  say(table.concat(heads, " "))
  for _, row in ipairs(rows) do
    local cells = {}
    for k, column in ipairs(COLUMNS) do
      local value = row[column[1]]
      cells[k] = value and number(column[3], value * (column[4] or 1))
        or ("%" .. column[3]:match "%d+" .. "s"):format "-"
    end
    say(table.concat(cells, " "))
  end
end

--- The rows as lines of CSV.
-- @tparam string experiment
-- @tparam string machine
-- @tparam {table,...} rows see `rows`
-- @treturn {string,...} the first one has the names of the columns
function M.csv(experiment, machine, rows)
  local heads = { "experiment", "machine" }
  for _, column in ipairs(COLUMNS) do heads[#heads + 1] = column[1] end
  local lines = { table.concat(heads, ",") }
  for _, row in ipairs(rows) do
    local cells = { escape.csv(experiment), escape.csv(machine) }
    for _, column in ipairs(COLUMNS) do
      local value = row[column[1]]
      cells[#cells + 1] = value and number(math.type(value) == "integer" and "%d" or "%.6g", value)
        or ""
    end
    lines[#lines + 1] = table.concat(cells, ",")
  end
  return lines
end

local function counted(n, word) return ("%d %s%s"):format(n, word, n == 1 and "" or "s") end

-- Say what limits the number of ranks.
local function remarks(say, costs, machine)
  local cores = machine.cores // machine.ranks
  local most = math.max(1, #costs.which // math.max(cores, costs.leaf))
  say("micro-batches of the batch of %d samples: %d, in leaves of %d; more than %s with %s each "
    .. "leave cores idle", costs.batch, #costs.which, costs.leaf, counted(most, "rank"),
    counted(cores, "core"))
  say("strong: all ranks share the batch; weak: each rank has as many micro-batches as cores, in "
    .. "whole leaves: %d; exchange: what the backward pass does not hide",
    simulate.full(machine, costs.leaf))
end

--- The command.
-- @tparam table args
-- @tparam table experiment
-- @tparam table cfg
-- @tparam {table,...} stages
function M.run(args, experiment, cfg, stages)
  if args.json and args.csv then errors.usage "--json and --csv exclude each other" end
  local machine = machines.read(args.machine)
  local costs = works.costs(experiment, cfg, stages)
  local rows = M.rows(costs, machine, M.counts(args.ranks))
  local about = { experiment = experiment.name, profile = cfg.profile, method = cfg.method,
    machine = machine.name, batch = costs.batch, steps = costs.steps_of_profile, rows = rows }
  local function say(format, ...)
    io.stdout:write(select("#", ...) > 0 and format:format(...) or format, "\n")
  end
  if args.json then return say(json.encode(about)) end
  if args.csv then
    return say("%s", table.concat(M.csv(about.experiment, about.machine, rows), "\n"))
  end
  say("%s, profile %s, %s on %s: %d steps", about.experiment, about.profile, about.method,
    machine.name, about.steps)
  print_table(say, rows)
  remarks(say, costs, machine)
end

return M
