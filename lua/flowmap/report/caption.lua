--- Additions of the page to the captions of tables and figures, so that they stand alone: profile,
-- seeds, training samples and samples judged of the runs behind them.
-- @module flowmap.report.caption

local escape = require "flowmap.base.escape"
local origin = require "flowmap.report.origin"
local provenance = require "flowmap.report.provenance"
local tree = require "flowmap.tree"

local M = {}

-- "seed 1", "seeds 1, 3", "seeds 11 to 20"
local function seeds_text(seeds)
  if #seeds == 1 then return "seed " .. seeds[1] end
  local last = seeds[#seeds]
  if #seeds > 2 and last - seeds[1] == #seeds - 1 then
    return ("seeds %d to %d"):format(seeds[1], last)
  end
  return "seeds " .. table.concat(seeds, ", ")
end

-- "12,345" or, of different numbers, "12 to 12,345"
local function range_text(numbers)
  local low, high = provenance.grouped(numbers[1]), provenance.grouped(numbers[#numbers])
  return low == high and low or ("%s to %s"):format(low, high)
end

-- The kinds of figures that show one run of each method.
local LOWEST = { density = true, grids = true, heat = true }

-- The seeds of a figure. Where it shows one run of each method: the seed that its entry names, or
-- the lowest.
local function shown_seeds(seeds, entry)
  local one = entry and LOWEST[entry.kind]
  if one and entry.seed then return seeds_text { entry.seed } end
  return seeds_text(seeds) .. (one and #seeds > 1 and ", of which the lowest is shown" or "")
end

--- The runs behind a table or figure in one sentence.
-- @tparam Set set
-- @tparam ?table entry of the render list
-- @treturn string "Profile long; seeds 11 to 20; 20,480,000 training samples; ..."
function M.words(set, entry)
  local seeds, seen, judged, profiles = {}, {}, {}, {}
  for _, runs in ipairs { set.runs, set.diverged } do
    for _, run in ipairs(runs) do
      seeds[run:field("config", "seed")] = true
      profiles[run:field("config", "profile")] = true
    end
  end
  for _, run in ipairs(set.runs) do
    seen[run:field("manifest", "samples_seen")] = true
    for _, row in ipairs(run:field("eval", "rows")) do
      if row.samples then judged[row.samples] = true end
    end
  end
  local parts = { "Profile " .. table.concat(tree.keys(profiles), ", "),
    shown_seeds(tree.keys(seeds), entry) }
  for _, it in ipairs { { seen, " training samples" }, { judged, " samples judged" } } do
    if next(it[1]) then parts[#parts + 1] = range_text(tree.keys(it[1])) .. it[2] end
  end
  if #set.diverged > 0 then
    parts[#parts + 1] = ("%d of %d trainings diverged"):format(#set.diverged,
      #set.diverged + #set.runs)
  end
  return table.concat(parts, "; ") .. "."
end

local function added(context, experiment, name, sort)
  local set, entry = origin.runs(context, experiment, name, sort)
  return set and escape.markdown(M.words(set, entry))
end

--- A caption whose note on intervals (flowmap.report.table) is a sentence of its own. It has none
-- if no cell is written as mean ± half, or for one seed, which the sentence on runs names.
-- @tparam string caption Markdown
-- @tparam string rows the table as Markdown
-- @treturn string
function M.with_sentence(caption, rows)
  local title, note = caption:match "^(.-)%.? %((mean ± half [^()]*)%)$"
  if not title then return (caption:gsub("%.? %(n = 1 seed%)$", "")) end
  local has_halves = rows:find("±", 1, true)
  return has_halves and ("%s. M%s"):format(title, note:sub(2)) or title
end

-- A table whose caption was changed by f(caption, rows).
local function with_caption(text, f)
  return (text:gsub("()\n: ([^\n]*)", function(from, caption)
    return "\n: " .. f(caption, text:sub(1, from))
  end, 1))
end

--- A table that the book makes: only its note on intervals changes.
-- @tparam string text the table as Markdown
-- @treturn string
function M.made(text)
  return with_caption(text, function(caption, rows)
    caption = M.with_sentence(caption, rows)
    return caption .. (caption:find "[.)]$" and "" or ".")
  end)
end

--- A table with the completed caption.
-- @tparam Context context see flowmap.report.context
-- @tparam string experiment its name
-- @tparam string name of the render entry
-- @tparam string text the table as Markdown
-- @treturn string
function M.table(context, experiment, name, text)
  local words = added(context, experiment, name, "table")
  if not words then return text end
  return with_caption(text, function(caption, rows)
    caption = M.with_sentence(caption, rows)
    return ("%s%s %s"):format(caption, caption:find "%.$" and "" or ".", words)
  end)
end

--- The addition to the caption of a figure.
-- @treturn string " Profile ..." or ""
function M.figure(context, experiment, name)
  local words = added(context, experiment, name, "figure")
  return words and " " .. words or ""
end

return M
