--- Where the numbers of a table come from, in words.
-- @module flowmap.report.provenance

local files = require "flowmap.base.files"
local record = require "flowmap.runs.record"
local settings = require "flowmap.experiment.settings"
local tree = require "flowmap.tree"

local M = {}

--- A whole number with its digits in groups: 12,345.
-- @tparam number v
-- @treturn string
function M.grouped(v)
  return (("%d"):format(v):reverse():gsub("%d%d%d", "%0,"):reverse():gsub("^(-?),", "%1"))
end

-- A value as text. Seeds stand in lists, in which commas within a number would be ambiguous.
local function value_text(v, path)
  if math.type(v) == "integer" and path ~= "seed" then return M.grouped(v) end
  return settings.text(v)
end

local MOST_LISTED = 4 -- numbers of samples

-- The distinct values of a field as text; of many different numbers of samples the range.
local function listed(set, path, file)
  local seen = {}
  for _, run in ipairs(set.runs) do seen[run:field(file or "manifest", path)] = true end
  local texts = tree.keys(seen)
  for i, v in ipairs(texts) do texts[i] = value_text(v, path) end
  if path == "samples_seen" and #texts > MOST_LISTED then
    return ("%s to %s"):format(texts[1], texts[#texts])
  end
  return table.concat(texts, " or ")
end

-- The manifest field that names the data: the title or, in older runs without one, the name.
local function title_field(set)
  for _, run in ipairs(set.runs) do
    if not (run.manifest.dataset or {}).title then return "dataset.name" end
  end
  return "dataset.title"
end

-- A note on a run that continued on another machine or version; nil if there is none.
local function moved(run)
  local history, parts = run:field("manifest", "history"), {}
  for k = 2, #history do
    for _, key in ipairs { "isa", "blas", "version", "fingerprint" } do
      local was, is = tostring(history[k - 1][key]), tostring(history[k][key])
      if was ~= is then
        parts[#parts + 1] = ("%s %s instead of %s from step %d on"):format(key, is, was,
          history[k].step)
      end
    end
  end
  if #parts > 0 then return run:id() .. " with " .. table.concat(parts, ", ") end
end

-- The seconds that a run took: by the clock, and of processors if that was recorded.
local function spent(run)
  local it = run.manifest
  if not it then -- it diverged
    local path = run.dir .. "/history.jsonl"
    local lines = record.lines("history", files.read_if_there(path) or "", path)
    it = lines[#lines] or {}
  end
  return it.wall_s or 0, it.cpu_s
end

local BRIEF = 5 -- minutes

local function duration(seconds)
  local minutes = seconds / 60
  if minutes < BRIEF then return ("less than %d minutes"):format(BRIEF) end
  if minutes < 300 then return ("%.0f minutes"):format(minutes) end
  return ("%.1f hours"):format(minutes / 60)
end

--- The time of all runs of a set, in words: processor time and, of runs that did not record it,
-- time by the clock. Short times vary most from one machine to the next, so they are not stated
-- exactly; a page of quick runs has the same bytes each time.
-- @tparam Set set
-- @treturn string such as "224 minutes of processor time"
function M.cost(set)
  local wall, cpu, count, without = 0, 0, 0, 0
  for _, runs in ipairs { set.runs, set.diverged } do
    for _, run in ipairs(runs) do
      local seconds, processor = spent(run)
      count, cpu = count + 1, cpu + (processor or 0)
      if not processor then wall, without = wall + seconds, without + 1 end
    end
  end
  if without == 0 then return duration(cpu) .. " of processor time" end
  if without == count then
    return duration(wall) .. " of running time; their processor time was not recorded"
  end
  return ("%s of processor time and, for %d run%s that did not record it, %s of running time")
    :format(duration(cpu), without, without == 1 and "" or "s", duration(wall))
end

--- The provenance of a set's numbers in one sentence; every part is required.
-- @tparam Set set see flowmap.report.results
-- @treturn string
function M.words(set)
  local parts = {
    "profile " .. listed(set, "profile"),
    "seeds " .. listed(set, "seed"):gsub(" or ", ", "),
    listed(set, "samples_seen") .. " samples seen",
    "diagonal fraction " .. listed(set, "eta", "config"),
    "checkpoint rule: " .. listed(set, "checkpoint_rule"),
    "EMA " .. listed(set, "ema"),
    ("data %s (%s)"):format(listed(set, title_field(set)),
      listed(set, "dataset.hash"):gsub("%w+", function(hash) return hash:sub(1, 12) end)),
    "instruction set " .. listed(set, "isa"),
    "revision " .. listed(set, "revision"),
    ("%d run%s, %s"):format(#set.runs, #set.runs == 1 and "" or "s", M.cost(set)),
    set:signature(),
  }
  for _, run in ipairs(set.runs) do
    parts[#parts + 1] = moved(run)
    local accept = run.accepted and require "flowmap.runs.accept"
    for _, words in ipairs(accept and accept.words(run.accepted) or {}) do
      parts[#parts + 1] = run:id() .. " " .. words
    end
  end
  return table.concat(parts, "; ")
end

return M
