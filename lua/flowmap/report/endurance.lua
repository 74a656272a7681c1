--- What `make soak` tried and what was lost, in print: {{endurance}} in prose, on a line of its
-- own.
-- @module flowmap.report.endurance

local errors = require "flowmap.base.errors"
local files = require "flowmap.base.files"
local inserted = require "flowmap.report.insert_table"
local json = require "flowmap.base.json"
local provenance = require "flowmap.report.provenance"
local schema = require "flowmap.runs.schema"
local tree = require "flowmap.tree"

local M = {}

local PATH = "paper/results/soak.json"

-- The parts in the order of the table, in words.
local WORDS = {
  { "alloc", "an allocation fails, or it and all that follow" },
  { "calls", "a system call fails, is done by halves, or is the process's last" },
  { "kills", "SIGKILL at a random moment, then completed" },
  { "flips", "a bit of a checkpoint, a pack or a record is flipped" },
  { "fuzz", "a reader is given a fuzzer's bytes" },
  { "threads", "a program under ThreadSanitizer" },
  { "pairs", "two commands at once in one folder" },
  { "places", "a command in adverse surroundings" },
  { "steps", "a step of one long training with flat memory" },
}

-- The sum of a part over all sessions, its seeds and its last revision.
local function sum(entries)
  local points, seeds = 0, {}
  for _, it in ipairs(entries) do points, seeds[it.seed] = points + it.points, true end
  local last = entries[#entries]
  return { points = points, seeds = tree.keys(seeds), revision = last.revision, date = last.date }
end

local function losses_of(part, losses)
  local all, open = 0, 0
  for _, it in ipairs(losses) do
    if it.part == part then
      all, open = all + 1, open + (it.mended and 0 or 1)
    end
  end
  return all, open
end

-- Check what may have been edited: each part must be in the table, and each loss in its part.
local function check(found, path)
  local words = {}
  schema.check("soak", found, path)
  for _, it in ipairs(WORDS) do words[it[1]] = true end
  for part in pairs(found.parts) do
    if not words[part] then errors.data("%s: there is no part '%s' of make soak", path, part) end
  end
  for _, it in ipairs(found.losses) do
    if not found.parts[it.part] then
      errors.data("%s: the loss at '%s' is of the part '%s', which has no points", path, it.point,
        it.part)
    end
  end
end

--- The rows of the table.
-- @tparam table found the contents of soak.json
-- @treturn {table,...} { heads =, cells = }
function M.rows(found)
  local rows = {}
  for _, it in ipairs(WORDS) do
    local entries = found.parts[it[1]]
    if entries then
      local s = sum(entries)
      local all, open = losses_of(it[1], found.losses)
      for i, seed in ipairs(s.seeds) do s.seeds[i] = tostring(seed) end
      rows[#rows + 1] = { cells = {}, heads = { it[2], provenance.grouped(s.points), tostring(all),
        tostring(open), table.concat(s.seeds, ", "), s.revision, s.date } }
    end
  end
  return rows
end

--- The text of {{endurance}}.
-- @tparam Context context see flowmap.report.context
-- @treturn string Markdown
function M.text(context)
  local text = files.read_if_there(files.installed(PATH))
  if not text then return "\n`make soak` has not been run.\n" end
  local found, why = json.decode(text)
  if type(found) ~= "table" then
    errors.data("%s is not a JSON object%s", PATH, why and ": " .. why or "")
  end
  check(found, PATH)
  return inserted.block(context, "endurance", "soak", { title = "Endurance: what is done to the "
    .. "program, how often, how many faults were found, and how many of these are not mended.",
    heads = { "trial", "points", "faults", "open", "seeds", "last revision", "date" },
    columns = {}, rows = M.rows(found), format = "%s", widths = { 20, 7, 4, 4, 4, 8, 6 },
    notes = { "Written by make soak, all sessions together." } }, "tests/soak/soak.lua")
end

return M
