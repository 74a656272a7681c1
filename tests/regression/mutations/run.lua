--- Does the gate notice? Plants every fault of list.lua in a copy of the sources, builds it, runs
-- the gate there against the committed baselines, and writes which tier caught what to table.csv.
--
--     ./flowmap lua tests/regression/mutations/run.lua [NAME...]
--
-- NAME: words from the names of faults; only these are planted, other rows of the table are kept.
-- @module run

package.path = "tests/regression/mutations/?.lua;" .. package.path

local copy = require "copy"
local core = require "flowmap.core"
local csv = require "flowmap.report.csv"
local errors = require "flowmap.base.errors"
local escape = require "flowmap.base.escape"
local files = require "flowmap.base.files"
local fm = require "flowmap"
local list = require "list"

local TABLE = "tests/regression/mutations/table.csv"
local HEAD = "fault,file,caught by,cases with other bits,first,quality"

-- Replace the one occurrence of a text.
local function plant(folder, fault)
  local _, file, old, new = table.unpack(fault)
  local path = folder .. "/" .. file
  local text = assert(files.read(path))
  local first, last = text:find(old, 1, true)
  if not first or text:find(old, last + 1, true) then
    errors.data("%s does not hold the text of the fault '%s' exactly once", file, fault[1])
  end
  fm.write_file(path, text:sub(1, first - 1) .. new .. text:sub(last + 1))
end

-- ------------------------------------------------------------------ the table

local ORDER = { "shadow", "quality", "memory", "speed" }
local WORDS = { shadow = "2 (shadow)", quality = "3 (quality)" }

-- The tiers that failed, which caught the fault.
local function caught(failed)
  local words = {}
  for _, tier in ipairs(ORDER) do
    if failed[tier] then words[#words + 1] = WORDS[tier] or tier end
  end
  return #words > 0 and table.concat(words, " and ") or "nothing: rounding passes"
end

-- Failed cases are ordered by the step at which they first differ; failed times by their change.
local function step_of(it)
  return tonumber(it.text:match "of step (%d+)") or it.change and 1e9 - it.change or math.huge
end

-- A row of the table from the gate's results.
local function row_of(fault, results)
  local failed, other, cases, first, worst = {}, 0, 0, nil, nil
  for _, it in ipairs(results) do
    local is_case = it.tier == "bits" or it.tier == "shadow"
    if is_case then cases = cases + 1 end
    if it.tier == "shadow" then other = other + 1 end
    if it.verdict == "fail" then
      failed[it.tier] = true
      if not first or step_of(it) < step_of(first) then first = it end
    end
    if it.tier == "quality" and it.T and (not worst or it.T > worst.T) then worst = it end
  end
  local text = first and ("%s: %s"):format(first.name, first.text:gsub("; if that is meant.*", ""))
  local quality = worst and ("%s: %s"):format(worst.name, worst.text) or ""
  return { fault[1], fault[2], caught(failed), ("%d of %d"):format(other, cases), text or "",
    quality }
end

local function line_of(row)
  local fields = {}
  for i, value in ipairs(row) do fields[i] = escape.csv(value) end
  return table.concat(fields, ",")
end

-- The lines of the table by the name of the fault.
local function read_table()
  local lines = {}
  for line in (files.read_if_there(TABLE) or ""):gmatch "[^\n]+" do
    lines[csv.rows(HEAD .. "\n" .. line)[1].fault] = line
  end
  return lines
end

local function write_table(lines)
  local out = { HEAD }
  for _, fault in ipairs(list) do out[#out + 1] = lines[fault[1]] end
  fm.write_file(TABLE, table.concat(out, "\n") .. "\n")
end

-- ------------------------------------------------------------------ the run

-- Run the gate on the copy; returns its results.
local function gate(folder, options)
  local out = folder .. "/out"
  copy.run(folder, ("./flowmap lua tests/regression/gate.lua -- %s --out %s"):format(options,
    files.quote(out)))
  local path = out .. "/results.json"
  if not files.exists(path) then
    errors.data("the gate ended without results: %s", copy.log(folder))
  end
  local results = fm.json.read(path)
  os.remove(path)
  return results
end

local function try(folder, fault)
  plant(folder, fault)
  local is_c = fault[2]:find "^core/" ~= nil
  if is_c and copy.build(folder, "all") ~= 0 then
    errors.data("the copy does not build: %s", copy.log(folder))
  end
  local row = row_of(fault, gate(folder, fault[5]))
  copy.restore(folder, fault[2], is_c)
  return row
end

-- Whether a fault is among those that were named.
local function wanted(fault, names)
  for _, name in ipairs(names) do
    if fault[1]:find(name, 1, true) then return true end
  end
  return #names == 0
end

local function main(names)
  local folder, guard <close> = core.private_folder() -- luacheck: ignore guard
  copy.make(folder)
  for _, fault in ipairs(list) do
    if wanted(fault, names) then
      local row = try(folder, fault)
      local lines = read_table()
      lines[fault[1]] = line_of(row)
      write_table(lines)
      print(("%-36s %s; other bits in %s cases"):format(row[1], row[3], row[4]))
    end
  end
end

main { ... }
