--- Whether a run made again agrees with the published one. With the same numerics every recorded
-- value must have the same bits; with others, the means over seeds are compared by an interval.
-- @module flowmap.report.agreement

local axes = require "flowmap.report.axis"
local files = require "flowmap.base.files"
local record = require "flowmap.runs.record"
local stats = require "flowmap.measure.stats"
local tree = require "flowmap.tree"

local M = {}

local LEVEL = 0.05     -- of one false alarm in all cells of a comparison
local ROUNDING = 1e-6  -- relative difference without meaning, also of what no seed changes
local FLOOR = 1e-2     -- of a measure's spread, that of a floor which no seed changes

local function name_of(run) return run.dir:match "[^/]+$" end

local function shown(value)
  return type(value) == "number" and ("%.17g"):format(value) or tostring(value)
end

--- A difference in one line.
-- @tparam table it { run =, what =, was =, now = }
-- @treturn string
function M.line(it)
  return ("%s, %s: published %s, made again %s"):format(it.run, it.what, shown(it.was),
    shown(it.now))
end

-- ------------------------------------------------------------------ printed tables

-- The cells of the rows of a Markdown table, without its head.
local function printed_cells(markdown)
  local rows = {}
  for line in markdown:gmatch "[^\n]+" do
    local row = {}
    for cell in line:match "^|(.*)$" and line:sub(2):gmatch "([^|]*)|" or function() end do
      row[#row + 1] = cell
    end
    if #row > 0 then rows[#rows + 1] = row end
  end
  return table.move(rows, 3, #rows, 1, {})
end

local NUMBER = "[-+]?%d+%.?%d*"

-- The first number of a cell and half of its last digit; nil for a cell without one.
local function rounded(cell)
  local digits = cell:match(NUMBER)
  if not digits then return nil end
  local exponent = cell:match(NUMBER .. "[eE]([-+]?%d+)")
  local scale = 10.0 ^ (tonumber(exponent) or 0)
  local decimals = #(digits:match "%.(%d*)$" or "")
  return tonumber(digits) * scale, 0.5001 * scale / 10 ^ decimals
end

--- Whether two Markdown tables have the same rows and, cell by cell, first numbers that are
-- roundings of one value: their formats may differ.
-- @tparam string a
-- @tparam string b
-- @treturn boolean
function M.same_printed(a, b)
  local rows, others = printed_cells(a), printed_cells(b)
  if #rows ~= #others then return false end
  for i, row in ipairs(rows) do
    if #row ~= #others[i] then return false end
    for k, cell in ipairs(row) do
      local x, dx = rounded(cell)
      local y, dy = rounded(others[i][k])
      if (x == nil) ~= (y == nil) then return false end
      if x and math.abs(x - y) > dx + dy then return false end
    end
  end
  return true
end

-- ------------------------------------------------------------------ the same numerics

-- The numerics of a run: of its manifest or, if it diverged, of its first start.
local function numerics(run)
  local at = run.manifest or run:segments()[1] or {}
  return ("%s %s %s"):format(at.fingerprint, at.isa, at.blas)
end

--- Whether two runs have the same numerics, so that they must have the same bits.
-- @tparam Run was
-- @tparam Run now
-- @treturn boolean
function M.comparable(was, now) return numerics(was) == numerics(now) end

-- The differences of two rows of values. What the published one lacks is new since, and no
-- difference.
local function compare_values(out, name, what, was, now)
  for _, key in ipairs(tree.keys(was)) do
    local a, b = was[key], now and now[key]
    local both_nan = a ~= a and b ~= b
    if type(a) ~= "table" and a ~= b and not both_nan then
      out[#out + 1] = { run = name, what = what .. ", " .. key, was = a, now = b }
    end
  end
end

-- The first line of a journal that differs in one of the published fields.
local function compare_journal(out, was, now, kind, fields)
  local before = files.read(("%s/%s.jsonl"):format(was.dir, kind))
  local after = files.read(("%s/%s.jsonl"):format(now.dir, kind))
  if not before then return end
  local a = record.lines(kind, before, was.dir)
  local b = record.lines(kind, after or "", now.dir)
  for i, line in ipairs(a) do
    local found, kept = {}, {}
    for key, value in pairs(line) do kept[key] = (not fields or fields[key]) and value or nil end
    compare_values(found, name_of(was), ("%s.jsonl, step %d"):format(kind, line.step), kept, b[i])
    if found[1] then
      out[#out + 1] = found[1]
      return
    end
  end
end

-- Arrays (samples, densities) are in no set; their checksums are.
local function compare_arrays(out, was, now)
  for _, name in ipairs(tree.keys(was.manifest.files)) do
    local a, b = was.manifest.files[name], now.manifest.files[name]
    if name:find "%.npy$" and a ~= b then
      out[#out + 1] = { run = name_of(was), what = "SHA-256 of " .. name, was = a:sub(1, 12),
        now = b and b:sub(1, 12) }
    end
  end
end

local function ending(run)
  return run.manifest and "a result" or "divergence at step " .. run.diverged.step
end

--- The differences between a published run and the same run made again with the same numerics.
-- @tparam Run was
-- @tparam Run now
-- @treturn {table,...} see `line`; values of the result first, then the first line of each journal
function M.bits(was, now)
  local out = {}
  if ending(was) ~= ending(now) then
    return { { run = name_of(was), what = "end", was = ending(was), now = ending(now) } }
  end
  for _, row in ipairs(was.manifest and was:field("eval", "rows") or {}) do
    compare_values(out, name_of(was), "N = " .. row.N, row, now:row(row.N))
  end
  compare_journal(out, was, now, "metrics")
  compare_journal(out, was, now, "chain", { step = true, state = true })
  if was.manifest then compare_arrays(out, was, now) end
  return out
end

-- ------------------------------------------------------------------ other numerics

-- Runs that differ in their seeds alone, by the name that they share; `diverged`: those that did,
-- else those that finished.
local function groups(runs, diverged)
  local out = {}
  for _, run in ipairs(runs) do
    if (run.manifest == nil) == (diverged == true) then
      local name = name_of(run):gsub("%-seed%d+$", "")
      out[name] = out[name] or {}
      table.insert(out[name], run)
    end
  end
  return out
end

-- The finite values of a metric at N.
local function values(runs, N, metric)
  local out = {}
  for _, run in ipairs(runs or {}) do
    local row = run:row(N)
    local value = row and row[metric]
    if type(value) == "number" and axes.finite(value) then out[#out + 1] = value end
  end
  return out
end

local function each(list, f)
  local out = {}
  for i, value in ipairs(list) do out[i] = f(value) end
  return out
end

-- The cells of one metric at one N: { name =, was = values, now = values }; logarithms, if all are
-- positive and they are not wanted raw.
local function cells_of(published, again, N, metric, raw)
  local cells, positive = {}, not raw
  for _, name in ipairs(tree.keys(published)) do
    local was, now = values(published[name], N, metric), values(again[name], N, metric)
    if #was > 0 then cells[#cells + 1] = { name = name, was = was, now = now } end
    for _, list in ipairs { was, now } do
      for _, value in ipairs(list) do positive = positive and value > 0 end
    end
  end
  for _, cell in ipairs(positive and cells or {}) do
    cell.was, cell.now = each(cell.was, math.log), each(cell.now, math.log)
  end
  return cells, positive
end

-- The standard deviation over seeds, pooled over cells, and its degrees of freedom.
local function pooled(cells)
  local squares, df = 0, 0
  for _, cell in ipairs(cells) do
    local it = stats.summary(cell.was)
    if it.n > 1 then squares, df = squares + (it.n - 1) * it.sd ^ 2, df + it.n - 1 end
  end
  return df > 0 and math.sqrt(squares / df) or nil, df
end

-- The metrics of every N of a set's runs, in order: { N, metric }.
local function columns(runs)
  local seen, out = {}, {}
  for _, run in ipairs(runs) do
    for _, row in ipairs(run.manifest and run:field("eval", "rows") or {}) do
      for _, metric in ipairs(tree.keys(row)) do
        local key = ("%d %s"):format(row.N, metric)
        if metric ~= "N" and metric ~= "samples" and not seen[key] then
          out[#out + 1], seen[key] = { row.N, metric }, true
        end
      end
    end
  end
  return out
end

-- The cells of a column with their spread. A floor is often the same for all seeds, and may be a
-- small difference of large numbers: it is compared on the scale of its measure.
local function column_of(was, now, N, metric)
  local cells, positive = cells_of(was, now, N, metric)
  local sd, df = pooled(cells)
  local measure = metric:match "^(.*)_floor$"
  if sd == 0 and measure then
    cells, positive = cells_of(was, now, N, metric, true)
    sd, df = pooled(cells_of(was, now, N, measure, true))
    sd = sd and FLOOR * sd
  end
  return cells, positive, sd, df
end

-- All cells that were made again, with their scale and the spread of their metric.
local function all_cells(published, again)
  local out, was, now = {}, groups(published), groups(again)
  for _, column in ipairs(columns(published)) do
    local cells, positive, sd, df = column_of(was, now, column[1], column[2])
    for _, cell in ipairs(cells) do
      cell.what = ("N = %d, %s"):format(column[1], column[2])
      cell.positive, cell.sd, cell.df = positive, sd, df
      if now[cell.name] then out[#out + 1] = cell end
    end
  end
  return out
end

-- The names of two groupings, sorted.
local function names_of(some, others)
  local all = {}
  for _, of in ipairs { some, others } do
    for name in pairs(of) do all[name] = true end
  end
  return tree.keys(all)
end

local function ending_of(finished, diverged)
  return ("%d of %d diverged"):format(#(diverged or {}), #(finished or diverged))
end

-- Whether a difference is at most that of rounding; a and b are logarithms where `positive`.
local function rounded_alike(a, b, positive)
  return math.abs(a - b) <= ROUNDING * (positive and 1 or math.max(math.abs(a), math.abs(b)))
end

-- The cells in which all runs of one side have a result and all of the other diverged: those with
-- several published runs, which differ, and the number of the others. When a single training
-- diverges depends on rounding.
local function other_ends(published, again)
  local was, was_lost = groups(published), groups(published, true)
  local now, now_lost = groups(again), groups(again, true)
  local out, open = {}, 0
  for _, name in ipairs(names_of(was, was_lost)) do
    local a, b, c, d = was[name], was_lost[name], now[name], now_lost[name]
    if a and not b and d and not c or b and not a and c and not d then
      if #(a or b) > 1 then
        out[#out + 1] = { run = name, what = "end", was = ending_of(a, b), now = ending_of(c, d) }
      else
        open = open + 1
      end
    end
  end
  return out, open
end

--- Compare the means of published runs with those of the same runs made with other numerics. The
-- spread from seed to seed is pooled over the published cells of a metric; the level is divided by
-- the number of cells, so that one false alarm in all of them has a probability below 5 %. Where
-- all runs of a cell diverged on one side and none on the other, the cell differs.
-- @tparam {Run,...} published diverged ones included
-- @tparam {Run,...} again likewise
-- @treturn {table,...} cells that differ, see `line`
-- @treturn integer number of cells that agree
-- @treturn integer number of cells that cannot be judged: one seed has no interval
function M.intervals(published, again)
  local list = all_cells(published, again)
  local differ, open = other_ends(published, again)
  local agree = 0
  for _, cell in ipairs(list) do
    local a, b = stats.summary(cell.was).mean, #cell.now > 0 and stats.summary(cell.now).mean
    local half = cell.sd and stats.t_quantile(cell.df, 1 - LEVEL / #list) * cell.sd
      * math.sqrt(1 / #cell.was + 1 / math.max(1, #cell.now))
    if b and (rounded_alike(a, b, cell.positive) or half and math.abs(a - b) <= half) then
      agree = agree + 1
    elseif b and not half then
      open = open + 1
    else
      local back = cell.positive and math.exp or function(x) return x end
      differ[#differ + 1] = { run = cell.name, what = cell.what, was = back(a),
        now = b and back(b) or nil }
    end
  end
  return differ, agree, open
end

return M
