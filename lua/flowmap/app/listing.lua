--- The command `runs`: all runs below a folder as a table, with the settings in which they differ,
-- one of their results, their processor time and their state.
-- @module flowmap.app.listing

local cache = require "flowmap.runs.cache"
local columns = require "flowmap.app.columns"
local core = require "flowmap.core"
local current = require "flowmap.runs.current"
local errors = require "flowmap.base.errors"
local experiment = require "flowmap.experiment"
local escape = require "flowmap.base.escape"
local json = require "flowmap.base.json"
local lfs = require "lfs"
local look = require "flowmap.runs.look"
local results = require "flowmap.report.results"
local settings = require "flowmap.experiment.settings"
local stats = require "flowmap.measure.stats"
local text = require "flowmap.base.text"
local tree = require "flowmap.tree"

local M = {}

local NOT_COMPARED = { experiment = true, profile = true, method = true, seed = true }
local LONGEST = 300 -- bytes of a setting's value, of a reason

-- ------------------------------------------------------------------ one run

-- The settings of a run as texts, as it was given them rather than as it completed them. A seed in
-- the path of its teacher is its own.
local function settings_of(it)
  local own = "seed" .. (it.config and it.config.seed or "")
  local out = {}
  for key, value in pairs(it.inputs or {}) do
    local name = key:match "^setting (.*)$"
    if name then out[name] = value end
  end
  for key, value in pairs(not it.inputs and it.config or {}) do out[key] = settings.text(value) end
  for key, value in pairs(out) do
    out[key] = not NOT_COMPARED[key] and cache.counts(key)
      and text.line(value:gsub(own .. "%f[%D]", "seed*"), LONGEST) or nil
  end
  return out
end

-- The row of the results at N; that of a sampler that chose its steps stands for any.
local function row_at(it, N)
  for _, row in ipairs(it.eval and it.eval.rows or {}) do
    if row.N == N or it.config.sampler == "dopri5" then return row end
  end
end

local function value_of(it, metric, N)
  local value = (row_at(it, N) or {})[metric]
  return type(value) == "number" and value or nil
end

-- The row of a run.
local function describe(dir, root, args, now)
  local it = look.run(dir, args)
  it.name = dir:match "[^/]+$"
  it.section = dir:sub(1, -#it.name - 2)
  it.experiment = it.config and it.config.experiment or dir:sub(#root + 2):match "^[^/]+"
  it.method = it.config and it.config.method or "?"
  it.seed = it.config and it.config.seed
  it.settings = settings_of(it)
  it.words = look.words(it)
  if it.state ~= "unreadable" then
    local changes = it.state ~= "running" and now:changes(it) or {}
    if #changes > 0 then
      it.outdated = text.line(changes[1]:match "^(.-):.*$" or changes[1], LONGEST)
        .. (#changes > 1 and (" and %d more"):format(#changes - 1) or "")
      it.words = (it.state == "finished" and "" or it.words .. ", ") .. "outdated: " .. it.outdated
    end
  end
  return it
end

-- ------------------------------------------------------------------ selection

local function names_of(args)
  local wanted, paths = {}, {}
  for _, name in ipairs(args.experiments) do
    if name:find "%.lua$" then paths[#paths + 1] = name end
    wanted[#wanted + 1] = experiment.name_of(name)
  end
  return wanted, paths
end

-- Whether an experiment's name is wanted; every wanted name must have runs.
local function selector(wanted)
  local found = {}
  for _, name in ipairs(wanted) do found[name] = false end
  return function(name)
    if found[name] ~= nil then found[name] = true end
    return #wanted == 0 or found[name] == true
  end, found
end

local function check_found(found, seen, root)
  for name, is in pairs(found) do
    if not is then
      errors.usage("runs: %s has no run of the experiment '%s'%s", root, name,
        next(seen) and errors.near(name, tree.keys(seen)) or "")
    end
  end
end

-- All wanted runs, sentences about folders that are none or cannot be read, and the number of the
-- latter.
local function gather(root, args)
  local dirs, others = look.find(root)
  local wanted, paths = names_of(args)
  local is_wanted, found = selector(wanted)
  local now, runs, faults, seen = current.new(paths), {}, {}, {}
  for _, dir in ipairs(dirs) do
    local it = describe(dir, root, args, now)
    seen[it.experiment] = true
    local profile = it.config and it.config.profile
    if is_wanted(it.experiment) and (not args.profile or profile == args.profile) then
      if it.fault then faults[#faults + 1] = it.fault else runs[#runs + 1] = it end
    end
  end
  local unreadable = #faults
  for _, dir in ipairs(#wanted == 0 and others or {}) do
    faults[#faults + 1] = ("%s holds files, but no run"):format(dir)
  end
  check_found(found, seen, root)
  return runs, faults, unreadable
end

-- ------------------------------------------------------------------ rows

-- Settings that differ among runs of one method.
local function varied(runs)
  local first, keys = {}, {}
  for _, it in ipairs(runs) do
    local other = first[it.method]
    first[it.method] = other or it
    for key, value in pairs(it.settings) do
      if other and other.settings[key] ~= value then keys[key] = true end
    end
    for key in pairs(other and other.settings or {}) do
      if it.settings[key] == nil then keys[key] = true end
    end
  end
  return tree.keys(keys)
end

local function words_of(it, keys)
  local words = {}
  for k, key in ipairs(keys) do
    local value = it.settings[key]
    words[k] = ("%s=%s"):format(key, value == nil and "?" or value == "" and "none" or value)
  end
  return table.concat(words, " ")
end

-- Runs that differ in their seeds alone, and are all outdated or all not, share a row. Two of one
-- seed, such as a run and its copy, do not: an interval would count that seed twice.
local function grouped(runs, keys, each)
  local rows, by_key = {}, {}
  for _, it in ipairs(runs) do
    local words = words_of(it, keys)
    local key = each and it.dir or table.concat({ it.method, words, it.outdated or "" }, "\n")
    while it.seed and by_key[key] and by_key[key].taken[it.seed] do key = key .. "\nagain" end
    if not by_key[key] then
      by_key[key] = { method = it.method, words = words, settings = it.settings, taken = {} }
      rows[#rows + 1] = by_key[key]
    end
    by_key[key].taken[it.seed or 0] = true
    table.insert(by_key[key], it)
  end
  return rows
end

-- "1-3,7"
local function ranges(numbers)
  table.sort(numbers)
  local parts, k = {}, 1
  while numbers[k] do
    local last = k
    while numbers[last + 1] and numbers[last + 1] <= numbers[last] + 1 do last = last + 1 end
    local from, to = numbers[k], numbers[last]
    parts[#parts + 1] = from == to and ("%d"):format(from)
      or ("%d%s%d"):format(from, to == from + 1 and "," or "-", to)
    k = last + 1
  end
  return table.concat(parts, ",")
end

-- "2 finished, running, 40 %"
local function states(row)
  local counts, order = {}, {}
  for _, it in ipairs(row) do
    if not counts[it.words] then order[#order + 1] = it.words end
    counts[it.words] = (counts[it.words] or 0) + 1
  end
  for k, words in ipairs(order) do
    if #order > 1 then order[k] = ("%d %s"):format(counts[words], words) end
  end
  return table.concat(order, "; ")
end

-- Complete a row: seeds, summary of the result, cost, state.
local function complete(row, metric, N)
  local values, seeds = {}, {}
  for _, it in ipairs(row) do
    values[#values + 1] = value_of(it, metric, N)
    seeds[#seeds + 1] = it.seed
    if it.cpu_s then row.cpu = (row.cpu or 0) + it.cpu_s end
  end
  row.seeds, row.first, row.state = ranges(seeds), seeds[1], states(row)
  row.summary = #values > 0 and stats.summary(values) or nil
end

-- ------------------------------------------------------------------ order

local function rank(method)
  for k, name in ipairs(results.methods) do
    if name:lower() == method:lower() then return ("%d"):format(k) end
  end
  return "9" .. method
end

local KEYS = {
  method = function(row) return rank(row.method) end,
  seeds = function(row) return row.first end,
  result = function(row) return row.summary and row.summary.mean end,
  cpu = function(row) return row.cpu end,
  state = function(row) return row.state end,
}

-- Whether a comes before b: numbers, then texts, then nothing.
local function before(a, b)
  local x, y = tonumber(a), tonumber(b)
  if x and y then return x < y end
  if (x == nil) ~= (y == nil) then return x ~= nil end
  return tostring(a or "\u{10FFFF}") < tostring(b or "\u{10FFFF}")
end

local function sort(rows, key)
  local of = KEYS[key or "method"] or function(row) return row.settings[key] end
  for k, row in ipairs(rows) do row.sorted, row.at = of(row), k end
  table.sort(rows, function(a, b)
    if a.sorted ~= b.sorted then return before(a.sorted, b.sorted) end
    return a.at < b.at
  end)
end

local function check_sort(key, runs)
  local known = {}
  for name in pairs(KEYS) do known[name] = true end
  for _, it in ipairs(runs) do
    for name in pairs(it.settings) do known[name] = true end
  end
  if key and not known[key] then errors.choice("key of --sort", key, tree.keys(known)) end
end

-- ------------------------------------------------------------------ sections

-- The result shown of a section's runs: metric, its head and format, N.
local function result_of(runs, args)
  for _, it in ipairs(runs) do
    if it.eval then
      local column = it.eval.columns[1]
      for _, other in ipairs(it.eval.columns) do
        if other[1] == args.metric then column = other end
      end
      local of = args.metric or column[1]
      return of, of == column[1] and column[2] or of, of == column[1] and column[3] or "%.4g",
        args.N or it.eval.rows[1].N
    end
  end
  return args.metric or "result", args.metric or "result", "%.4g", args.N or 1
end

-- Runs by the folder that they lie in, each with its rows.
local function sections(runs, args)
  local list, by_name = {}, {}
  for _, it in ipairs(runs) do
    if not by_name[it.section] then
      by_name[it.section] = { name = it.section, runs = {} }
      list[#list + 1] = by_name[it.section]
    end
    table.insert(by_name[it.section].runs, it)
  end
  for _, section in ipairs(list) do
    section.metric, section.head, section.format, section.N = result_of(section.runs, args)
    section.rows = grouped(section.runs, varied(section.runs), args.each)
    for _, row in ipairs(section.rows) do complete(row, section.metric, section.N) end
    sort(section.rows, args.sort)
  end
  return list
end

-- Check that some run has the result and the N that are asked for.
local function check_asked(list, args)
  local known, evaluated = {}, {}
  for _, section in ipairs(list) do
    for _, it in ipairs(section.runs) do
      for _, row in ipairs(it.eval and it.eval.rows or {}) do
        evaluated[row.N] = true
        for name, value in pairs(row) do
          if type(value) == "number" and name ~= "N" then known[name] = true end
        end
      end
    end
  end
  if args.metric and next(known) and not known[args.metric] then
    errors.choice("result of --metric", args.metric, tree.keys(known))
  elseif args.N and next(evaluated) and not evaluated[args.N] then
    errors.usage("--N: no run was evaluated at N = %d; known: %s", args.N,
      table.concat(tree.keys(evaluated), ", "))
  end
end

-- ------------------------------------------------------------------ printing

local function result_text(summary, format)
  if not summary then return "-" end
  local mean = format:format(summary.mean)
  return summary.half and ("%s ± %s"):format(mean, format:format(summary.half)) or mean
end

local function table_of(section, total)
  local lines = { { "method", "settings", "seeds", section.head, "cpu", "state" } }
  local cpu
  for _, row in ipairs(section.rows) do
    cpu = row.cpu and (cpu or 0) + row.cpu or cpu
    lines[#lines + 1] = { row.method, row.words, row.seeds,
      result_text(row.summary, section.format),
      look.duration(row.cpu), row.state }
  end
  local count = #section.runs
  local title = ("%s: %d run%s%s; %s at N = %d"):format(section.name, count,
    count == 1 and "" or "s", cpu and (", %s of processor time"):format(look.duration(cpu)) or "",
    section.head, section.N)
  return escape.line(title) .. "\n" .. columns.text(lines, { right = { [5] = true }, total = total,
      wraps = { [2] = true, [3] = true, [6] = true } })
end

local function csv_field(value)
  if math.type(value) == "float" then return json.encode(value) end
  return escape.csv(value == nil and "" or tostring(value))
end

local HEADS = { "folder", "experiment", "profile", "method", "settings", "seeds", "runs", "metric",
  "N", "n", "mean", "low", "high", "cpu_s", "state" }

local function csv_of(list, each)
  local lines = { table.concat(HEADS, ",") }
  for _, section in ipairs(list) do
    for _, row in ipairs(section.rows) do
      local it, summary = row[1], row.summary or {}
      local half = summary.half
      local values = { each and it.dir or section.name, it.experiment,
        it.config and it.config.profile, row.method, row.words, row.seeds, #row, section.metric,
        section.N, summary.n or 0, summary.mean, half and summary.mean - half,
        half and summary.mean + half, row.cpu, row.state }
      for k in ipairs(HEADS) do values[k] = csv_field(values[k]) end
      lines[#lines + 1] = table.concat(values, ",")
    end
  end
  return table.concat(lines, "\n") .. "\n"
end

--- The command.
-- @tparam table args experiments, profile, results, metric, N, sort, each, verify, csv
-- @treturn integer exit code: with `verify`, that of damaged data if a run is not as recorded
function M.run(args)
  local root = args.results:gsub("(.)/+$", "%1")
  if lfs.attributes(root, "mode") ~= "directory" then
    errors.data("runs: there is no folder %s; --results names another", root)
  end
  local runs, faults, unreadable = gather(root, args)
  check_sort(args.sort, runs)
  local list = sections(runs, args)
  check_asked(list, args)
  if args.csv then
    io.stdout:write(csv_of(list, args.each))
  else
    for k, section in ipairs(list) do
      io.stdout:write(k > 1 and "\n" or "", table_of(section, core.columns(1)))
    end
    if #list == 0 and #faults == 0 then io.stdout:write("there are no runs below ", root, "\n") end
  end
  for _, fault in ipairs(faults) do
    (args.csv and io.stderr or io.stdout):write(text.line(fault, 1000), "\n")
  end
  return args.verify and unreadable > 0 and errors.status.data or 0
end

return M
