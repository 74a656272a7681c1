--- Tables: one description is written as CSV, Markdown and LaTeX.
--
--     { title = "KL on the checkerboard",     -- caption
--       heads = { "method", "source" },       -- names of the leading text columns
--       columns = { "N = 1", "N = 2" },       -- names of the value columns
--       format = "%.4f",                      -- of every value
--       rows = { { heads = { "LSD", "ours" }, cells = { summary, summary } },
--                { heads = { "LSD", "published" }, cells = { 0.0864, 0.0765 }, theirs = true } },
--       widths = { 2, 1, 1 },                 -- optional: relative, where a line exceeds the page
--       notes = { "profile laptop; seeds 1, 2; ..." } }   -- provenance, printed below
--
-- A cell is a stats.summary (mean and 95 % interval), another mean with the ends of its interval
-- (low, high), a number, { text =, mean = for the CSV }, or nil. A cell without a finite value is
-- printed as "diverged", with the step where the training ended, or "–". `theirs` marks published
-- rows, which are set in italics; a row or a summary may have a `format` of its own.
-- All texts are plain; each writer escapes them for its language.
-- @module flowmap.report.table

local aggregate = require "flowmap.report.aggregate"
local axes = require "flowmap.report.axis"
local comparison = require "flowmap.report.comparison"
local contrasts = require "flowmap.report.contrasts"
local errors = require "flowmap.base.errors"
local escape = require "flowmap.base.escape"
local measured = require "flowmap.report.measured"
local repeats = require "flowmap.report.repeats"
local results = require "flowmap.report.results"
local switch = require "flowmap.report.switch"

local M = {}

-- ------------------------------------------------------------------ descriptions

-- The floor uses the same true samples in every run, so it is a number rather than a mean over
-- seeds.
local function floors(set, metric, steps)
  local cells = measured.summaries(set, metric, steps)
  for i, cell in ipairs(cells) do
    if cell.mean and cell.min == cell.max then cells[i] = cell.mean end
  end
  return cells
end

-- The null models of metrics of images (flowmap.measure.feature_metrics): what the field of a value
-- ends in, and the name in tables.
local NULLS = { { "_floor", "true images" }, { "_gaussian", "one Gaussian" } }

-- The recorded values of the null models of a metric at the given steps: { { name, cells }, ... }.
local function null_cells(set, metric, steps)
  local first, out = set:select { method = set:methods()[1] }, {}
  local recorded = set:first():field("eval", "rows")[1]
  for _, model in ipairs(NULLS) do
    local field = metric .. model[1]
    if recorded[field] ~= nil then out[#out + 1] = { model[2], floors(first, field, steps) } end
  end
  return out
end

-- The published values of one method at the given steps; nil where the paper has none.
local function their_cells(values, steps)
  local cells = {}
  for i, N in ipairs(steps) do cells[i] = values[N] end
  return cells
end

local function add_differences(t, set, spec, steps)
  local rows, notes = comparison.paired(set,
    { metric = spec.metric, steps = steps, against = spec.against })
  table.move(rows, 1, #rows, #t.rows + 1, t.rows)
  table.move(notes, 1, #notes, #t.notes + 1, t.notes)
end

-- The rows of a method: of the last checkpoint, and of the best.
local function add_ours(t, set, spec, steps, best)
  local method = set:traced_methods()[1]
  t.rows[#t.rows + 1] = { heads = { method, best and "ours, last" or "ours" },
    cells = measured.summaries(set, spec.metric, steps) }
  if best then
    t.rows[#t.rows + 1] = { heads = { method, "ours, best" },
      cells = measured.summaries(set, spec.metric .. "_best", steps) }
  end
end

-- The row of a method whose sampler chose its steps, with its value in a column of its own.
local function add_adaptive(t, set, spec, count, used)
  t.columns[count + 1] = "adaptive"
  t.rows[#t.rows + 1] = { heads = { set:methods()[1], ("ours, %.1f evaluations"):format(used) },
    cells = { [count + 1] = measured.summary(set, spec.metric, "adaptive") } }
end

-- The rows of no method: the estimator's floor and the null models.
local function add_references(t, set, spec, steps)
  if spec.floor then
    local some = set:stepped()
    local first = some:select { method = some:methods()[1] }
    t.rows[#t.rows + 1] = { heads = { "true samples", "estimator's floor" },
      cells = floors(first, spec.floor, steps) }
  end
  for _, model in ipairs(spec.nulls and null_cells(set, spec.metric, steps) or {}) do
    t.rows[#t.rows + 1] = { heads = { "null model", model[1] }, cells = model[2] }
  end
end

--- A table of one metric against the number of steps, with the published values of every method.
-- @tparam Set set runs of one configuration per method
-- @tparam table spec {metric=, title=, steps= (default: all), format="%.4f", published= (by method,
--   then N; optional), source= (label of the published rows), floor= (optional metric that does
--   not depend on the model, such as "kl_floor"), nulls= (add rows for the null models of a metric
--   of images, where they were measured), best= (add rows for the best of several
--   checkpoints, METRIC_best: see flowmap.measure.evaluate), paired= (add differences over shared
--   seeds: see flowmap.report.comparison), against= (the method that these are taken from; default
--   the first), notes= (optional further lines)}
-- @treturn table a description
function M.compare(set, spec)
  local steps = spec.steps or set:steps()
  local counts = spec.best and set:distinct "checkpoints" or {}
  local best = #counts > 0 and counts[#counts] > 1
  local t = { title = spec.title, heads = { "method", "source" }, columns = {}, rows = {},
    format = spec.format or "%.4f", notes = measured.provenance(set) }
  for i, N in ipairs(steps) do t.columns[i] = "N = " .. N end
  for _, method in ipairs(set:traced_methods()) do
    local ours = set:select { method = method }
    local used = measured.evaluations(ours)
    if used then
      add_adaptive(t, ours, spec, #steps, used)
    else
      add_ours(t, ours, spec, steps, best)
    end
    local theirs = spec.published and spec.published[method]
    if theirs then
      t.rows[#t.rows + 1] = { heads = { method, spec.source or "published" },
        cells = their_cells(theirs, steps), theirs = true }
    end
  end
  add_references(t, set, spec, steps)
  if spec.paired then add_differences(t, set, spec, steps) end
  if spec.published then
    t.notes[#t.notes + 1] = "Published values were obtained by the paper's authors with the "
      .. "paper's settings and checkpoint rule; they are quoted here, not reproduced."
  end
  if best then
    t.notes[#t.notes + 1] = ("Last: the last checkpoint. Best: the lowest value among %s "
      .. "checkpoints, chosen separately for each N, as in the paper's own table."):format(
      table.concat(counts, " or "))
  end
  table.move(spec.notes or {}, 1, #(spec.notes or {}), #t.notes + 1, t.notes)
  return t
end

--- A table of all metrics at one number of steps, beside the null models that were measured.
-- @tparam Set set runs of one configuration per method
-- @tparam table spec {N=, title=, metrics= (fields of the results, default: all columns), notes=}
-- @treturn table a description: a row per metric, a column per method and null model
function M.metrics(set, spec)
  local methods, steps = set:methods(), { spec.N }
  local columns = table.move(methods, 1, #methods, 1, {})
  local t = { title = spec.title, heads = { "metric" }, columns = columns, rows = {},
    format = "%.4f", notes = measured.provenance(set) }
  local wanted, across = {}, { [NULLS[1][2]] = #methods + 1, [NULLS[2][2]] = #methods + 2 }
  for name, k in pairs(across) do columns[k] = name end
  for _, field in ipairs(spec.metrics or {}) do wanted[field] = true end
  for _, column in ipairs(set:first():field("eval", "columns")) do
    local field, head, format = table.unpack(column)
    if wanted[field] or not spec.metrics then
      local row = { heads = { head }, cells = {}, format = format }
      for k, method in ipairs(methods) do
        row.cells[k] = measured.summary(set:select { method = method }, field, spec.N)
      end
      for _, model in ipairs(null_cells(set, field, steps)) do
        row.cells[across[model[1]]] = model[2][1]
      end
      t.rows[#t.rows + 1] = row
    end
  end
  table.move(spec.notes or {}, 1, #(spec.notes or {}), #t.notes + 1, t.notes)
  return t
end

-- The rows of a table over a grid of settings: `cells(part)` for every combination that has runs.
local function over_grid(set, spec, columns, cells)
  local t = { title = spec.title, heads = spec.rows, columns = columns, rows = {},
    format = spec.format or "%.4f", notes = measured.provenance(set) }
  measured.each_combination(set, spec.rows, function(part, heads)
    t.rows[#t.rows + 1] = { heads = heads, cells = cells(part) }
  end)
  table.move(spec.notes or {}, 1, #(spec.notes or {}), #t.notes + 1, t.notes)
  return t
end

--- A table of one metric at one number of steps over a grid of settings (an ablation).
-- @tparam Set set
-- @tparam table spec {metric=, N=, rows= config fields down the side, such as
--   {"method", "stop"}, column= config field across, such as "eta", title=, format=, notes=}
-- @treturn table a description; combinations without a run stay empty
function M.grid(set, spec)
  local across, columns = set:distinct(spec.column), {}
  for i, value in ipairs(across) do columns[i] = ("%s = %s"):format(spec.column, value) end
  return over_grid(set, spec, columns, function(part)
    local cells, present = {}, {}
    for _, value in ipairs(part:distinct(spec.column)) do present[value] = true end
    for i, value in ipairs(across) do
      if present[value] then
        cells[i] = measured.summary(part:select { [spec.column] = value }, spec.metric, spec.N)
      end
    end
    return cells
  end)
end

-- The methods from the smallest mean to the largest, by column: "N: A < B < C".
local function order_notes(t)
  local notes = {}
  for i, column in ipairs(t.columns) do
    local known = {}
    for _, row in ipairs(t.rows) do
      local cell = row.cells[i]
      if type(cell) == "table" and cell.mean and axes.finite(cell.mean) then
        known[#known + 1] = { row.heads[1], cell.mean }
      end
    end
    table.sort(known, function(a, b) return a[2] < b[2] end)
    for k, it in ipairs(known) do known[k] = it[1] end
    notes[i] = ("%s: %s"):format(column, table.concat(known, " < "))
  end
  return "Order of the means. " .. table.concat(notes, "; ") .. "."
end

--- A table of several metrics at one number of steps over a grid of settings.
-- @tparam Set set
-- @tparam table spec {metrics= fields of the results, one column each, columns= their names, N=,
--   rows= config fields down the side, title=, format=, floors= (add a row of METRIC_floor, the
--   values of true samples), order= (add the order of the rows in each column, by their first
--   head), notes=}
-- @treturn table a description; a metric that no run of a row has stays empty
function M.several(set, spec)
  local t = over_grid(set, spec, spec.columns, function(part)
    local cells = {}
    for i, metric in ipairs(spec.metrics) do
      if #part.diverged > 0 or measured.known(part, metric) or not measured.known(set, metric) then
        cells[i] = measured.summary(part, metric, spec.N)
      end
    end
    return cells
  end)
  if spec.order then table.insert(t.notes, 1, order_notes(t)) end
  if spec.floors then
    local cells, first = {}, set:select { method = set:methods()[1] }
    for i, metric in ipairs(spec.metrics) do
      cells[i] = floors(first, metric .. "_floor", { spec.N })[1]
    end
    t.rows[#t.rows + 1] = { heads = { "true samples" }, cells = cells }
  end
  return t
end

--- A table of one setting switched.
M.switch = switch.describe

-- A table of the parts { heads =, columns =, rows =, notes = }.
local function assembled(set, spec, parts)
  local t = { title = spec.title, heads = parts.heads, columns = parts.columns, rows = parts.rows,
    format = spec.format or parts.format or "%.3f", notes = measured.provenance(set) }
  for _, notes in ipairs { parts.notes, spec.notes or {} } do
    table.move(notes, 1, #notes, #t.notes + 1, t.notes)
  end
  return t
end

local function of_effects(set, spec, found)
  return assembled(set, spec, { heads = { "effect", "" }, columns = found.columns,
    rows = contrasts.rows(found), notes = contrasts.notes(found) })
end

--- A table of the effects of two-level factors: log ratios and their p.
-- @tparam Set set
-- @tparam table spec see flowmap.report.contrasts.factors; title=, format=, notes=
-- @treturn table a description
function M.effects(set, spec) return of_effects(set, spec, contrasts.factors(set, spec)) end

--- A table of methods against a reference over the cells of a design: log ratios and their p.
-- @tparam Set set
-- @tparam table spec see flowmap.report.contrasts.methods; title=, format=, notes=
-- @treturn table a description
function M.ratios(set, spec) return of_effects(set, spec, contrasts.methods(set, spec)) end

--- A table of the spread from seed to seed, see flowmap.report.repeats.
-- @tparam Set set
-- @tparam table spec
-- @treturn table a description
function M.spread(set, spec) return assembled(set, spec, repeats.spread(set, spec)) end

--- A table of the processor time of training, see flowmap.report.repeats.
-- @tparam Set set
-- @tparam table spec
-- @treturn table a description
function M.cost(set, spec) return assembled(set, spec, repeats.cost(set, spec)) end

--- Results beside their ratios to those of a reference method, and aggregates of such ratios.
M.relative, M.aggregate = aggregate.relative, aggregate.aggregate

-- ------------------------------------------------------------------ formats

-- Visit the numbers of seeds behind all means of a table.
local function each_count(t, visit)
  for _, row in ipairs(t.rows) do
    for _, cell in pairs(row.cells) do
      if type(cell) == "table" and cell.n and not cell.lost then visit(cell.n) end
    end
  end
end

-- Whether every mean of a table is that of one seed; the caption then says so, not each cell.
local function of_one_seed(t)
  local most = 0
  each_count(t, function(n) most = math.max(most, n) end)
  return most == 1
end

-- A cell as text: "0.0712 +- 0.0031" with the plus-minus sign of the output language. `alone` is
-- what follows a mean of one seed.
local function cell_text(t, cell, how, format, alone)
  if type(cell) == "number" then cell = { mean = cell, plain = true } end
  if type(cell) == "table" and cell.text then return how.escape(cell.text) end
  if type(cell) ~= "table" or not (cell.lost or type(cell.mean) == "number") then
    errors.usage("table '%s': a cell is a %s, expected a summary or a number", t.title, type(cell))
  end
  if cell.lost then
    local some = cell.count < cell.n and (" (%d of %d)"):format(cell.count, cell.n) or ""
    return (cell.lost == "–" and how.empty or cell.lost) .. some
  end
  if not axes.finite(cell.mean) then return "diverged" end
  format = cell.format or format
  local mean = format:format(cell.mean)
  if cell.plain then return mean end
  if cell.low and cell.high then
    return ("%s [%s, %s]"):format(mean, format:format(cell.low), format:format(cell.high))
  end
  if not axes.finite(cell.half) then return mean .. (cell.n == 1 and alone or "") end
  return mean .. how.plus_minus .. format:format(cell.half)
end

-- Heads and cells of every row as text of one output language, `how` = { escape=, plus_minus=,
-- empty=, theirs= (marks the text of a published row) }. Repeated heads are left blank.
local function text_rows(t, how)
  local out, above, alone = {}, {}, of_one_seed(t) and "" or " (n = 1)"
  for i, row in ipairs(t.rows) do
    local line, fresh = {}, false
    local mark = row.theirs and how.theirs or function(text) return text end
    for j, head in ipairs(row.heads) do
      fresh = fresh or above[j] ~= head or j == #row.heads
      line[j] = fresh and head ~= "" and mark(how.escape(head)) or ""
      above[j] = head
    end
    for j = 1, #t.columns do
      local cell = row.cells[j]
      line[#row.heads + j] = cell ~= nil
        and mark(cell_text(t, cell, how, row.format or t.format, alone)) or how.empty
    end
    out[i] = line
  end
  return out
end

-- The names of all columns, escaped.
local function head_texts(t, escaped)
  local heads = {}
  for _, head in ipairs(t.heads) do heads[#heads + 1] = escaped(head) end
  for _, head in ipairs(t.columns) do heads[#heads + 1] = escaped(head) end
  return heads
end

-- The no-break spaces keep a value and its interval on one line.
local markdown_style = { escape = escape.markdown, plus_minus = "\u{a0}±\u{a0}", empty = "–",
  theirs = function(text) return "*" .. text .. "*" end }

--- A Markdown pipe table with caption and notes.
-- @tparam table t a description
-- @treturn string
function M.markdown(t)
  local rules, notes = {}, {}
  for i = 1, #t.heads + #t.columns do
    local dashes = ("-"):rep(t.widths and t.widths[i] or 2)
    rules[i] = i <= #t.heads and ":" .. dashes or dashes .. ":"
  end
  local lines = { "| " .. table.concat(head_texts(t, escape.markdown), " | ") .. " |",
    "|" .. table.concat(rules, "|") .. "|" }
  for _, row in ipairs(text_rows(t, markdown_style)) do
    lines[#lines + 1] = "| " .. table.concat(row, " | ") .. " |"
  end
  for i, note in ipairs(t.notes) do notes[i] = escape.markdown(note) end
  lines[#lines + 1] = "\n: " .. escape.markdown(t.title .. M.interval_note(t)) .. "\n"
  lines[#lines + 1] = "::: provenance"
  lines[#lines + 1] = table.concat(notes, "\n\n") .. "\n:::\n"
  return table.concat(lines, "\n")
end

--- A note that explains the plus-minus sign in a table and states the number of seeds.
-- @tparam table t a description
-- @treturn string for the end of the caption; "" if no cell is a mean over seeds
function M.interval_note(t)
  if of_one_seed(t) then return " (n = 1 seed)" end
  local low, high
  for _, row in ipairs(t.rows) do
    for _, cell in pairs(row.cells) do
      if type(cell) == "table" and cell.half then
        low, high = math.min(low or cell.n, cell.n), math.max(high or cell.n, cell.n)
      end
    end
  end
  if not low then return "" end
  local n = low == high and tostring(low) or low .. " to " .. high
  return (" (mean ± half of the 95 %% Student-t interval over n = %s seeds)"):format(n)
end

local latex_style = { escape = escape.latex, plus_minus = " $\\pm$ ", empty = "--",
  theirs = function(text) return "\\textit{" .. text .. "}" end }

--- A LaTeX table environment (package booktabs).
-- @tparam table t a description
-- @treturn string
function M.latex(t)
  local lines = { "\\begin{table}", "\\centering",
    "\\caption{" .. escape.latex(t.title .. M.interval_note(t)) .. "}",
    "\\begin{tabular}{" .. ("l"):rep(#t.heads) .. ("r"):rep(#t.columns) .. "}", "\\toprule",
    table.concat(head_texts(t, escape.latex), " & ") .. " \\\\", "\\midrule" }
  for _, row in ipairs(text_rows(t, latex_style)) do
    lines[#lines + 1] = table.concat(row, " & ") .. " \\\\"
  end
  lines[#lines + 1] = "\\bottomrule\n\\end{tabular}"
  for _, note in ipairs(t.notes) do
    lines[#lines + 1] = "\\par\\footnotesize " .. escape.latex(note)
  end
  lines[#lines + 1] = "\\end{table}\n"
  return table.concat(lines, "\n")
end

-- A number in a CSV file, with nine digits; "" for nil.
local function csv_number(v)
  if v == nil then return "" end
  if v ~= v then return "nan" end
  return ("%.9g"):format(v)
end

-- Whether a cell of the table has an interval that is given by its ends.
local function has_ends(t)
  for _, row in ipairs(t.rows) do
    for _, cell in pairs(row.cells) do
      if type(cell) == "table" and cell.low then return true end
    end
  end
  return false
end

--- Tidy CSV: one value per line (heads, column, value, half of the interval, n and, where a table
-- has such intervals, their ends) with nine digits. A diverged value is nan. The notes are leading
-- lines that start with `#`.
-- @tparam table t a description
-- @treturn string
function M.csv(t)
  local lines, names, ends = {}, {}, has_ends(t)
  for _, note in ipairs(t.notes) do lines[#lines + 1] = escape.csv_comment(note) end
  for i, head in ipairs(t.heads) do names[i] = escape.csv(head) end
  lines[#lines + 1] = table.concat(names, ",") .. ",column,value,half95,n"
    .. (ends and ",low95,high95" or "")
  for _, row in ipairs(t.rows) do
    local heads = {}
    for i, head in ipairs(row.heads) do heads[i] = escape.csv(head) end
    for i, column in ipairs(t.columns) do
      local cell = row.cells[i]
      if type(cell) == "number" then cell = { mean = cell, n = "" } end
      if cell and cell.lost ~= "–" then
        lines[#lines + 1] = ("%s,%s,%s,%s,%s"):format(table.concat(heads, ","),
          escape.csv(column), csv_number(cell.mean or 0 / 0), csv_number(cell.half), cell.n or "")
          .. (ends and ("," .. csv_number(cell.low) .. "," .. csv_number(cell.high)) or "")
      end
    end
  end
  return table.concat(lines, "\n") .. "\n"
end

--- Write DIR/NAME.csv, .md and .tex.
-- @tparam string dir created if missing
-- @tparam string name
-- @tparam table t a description
-- @treturn {string,...} the paths
function M.write(dir, name, t)
  local paths = {}
  for i, kind in ipairs { { "csv", M.csv }, { "md", M.markdown }, { "tex", M.latex } } do
    paths[i] = ("%s/%s.%s"):format(dir, name, kind[1])
    results.write_file(paths[i], kind[2](t))
  end
  return paths
end

return M
