--- The output of `watch`: the lines of a frame, and plain lines where nothing is redrawn.
-- @module flowmap.app.live.view

local Progress = require "flowmap.base.progress"
local Status = require "flowmap.base.status"
local board = require "flowmap.app.live.board"
local look = require "flowmap.runs.look"
local provenance = require "flowmap.report.provenance"

local M = {}

local BAR = 24      -- columns of a bar
local TALLEST = 12  -- rows of the curve of a single run
local LEAST = 4     -- rows below which that curve is a single row

--- Whether the terminal shows block characters, by the locale's variables.
-- @treturn boolean
function M.unicode()
  for _, name in ipairs { "LC_ALL", "LC_CTYPE", "LANG" } do
    local value = os.getenv(name)
    if value and value ~= "" then return value:lower():find "utf%-?8" ~= nil end
  end
  return false
end

local function gib(bytes) return ("%.1f"):format(bytes / 2 ^ 30) end

--- The machine's load in words, from the longest text to the shortest.
-- @tparam table it what flowmap.app.live.machine reads
-- @treturn {string,...}
function M.machine(it)
  local busy = it.busy and ("%.0f %% of %d processors busy"):format(100 * it.busy, it.processors)
    or ("%d processors"):format(it.processors)
  local load = ("load %.1f"):format(it.load)
  local memory = ("%s of %s GiB of memory free"):format(gib(it.free), gib(it.memory))
  return { table.concat({ busy, load, memory }, ", "), busy .. ", " .. load, load }
end

-- ------------------------------------------------------------------ plain lines

--- A run in one line, for files and pipes.
-- @tparam Entry it
-- @treturn string
function M.line(it) return ("%s: %s"):format(it.name, it:progress()[1]) end

-- ------------------------------------------------------------------ a frame

local Frame = {}
Frame.__index = Frame

function Frame:add(...) self.lines[#self.lines + 1] = Status.fit({ ... }, self.width) end

-- Pictures are not measured like text: each of their characters takes one column.
function Frame:picture(text) self.lines[#self.lines + 1] = text end

function Frame:left() return self.height - #self.lines end

-- Columns of the bar, and the text beside it by its number, from the widest pair to the narrowest.
local PAIRS = { { BAR, 1 }, { BAR, 2 }, { BAR, 3 }, { BAR // 2, 3 }, { 0, 3 }, { BAR // 2, 4 },
  { 0, 4 }, { 0, 5 } }

local function add_progress(frame, it)
  local texts, list = it:progress(), {}
  local part = it.state == "running" and it.steps and it.step / it.steps
  for _, pair in ipairs(part and PAIRS or {}) do
    local width, text = pair[1], texts[pair[2]]
    list[#list + 1] = text and (width > 0 and Progress.bar(part, width) .. " " or "") .. text
  end
  table.move(texts, 1, #texts, #list + 1, list)
  frame:add(table.unpack(list))
end

local function add_running(frame, it)
  frame:add(it.name)
  add_progress(frame, it)
  local rows = it.curve:rows(math.min(frame.width, 2 * BAR), 1, it.steps, frame.unicode)
  if rows[1] then frame:picture(rows[1]) end
end

-- A run that has ended, in one line.
local function ended_text(it)
  local text = it:progress()[1]
  return text .. (it.cpu_s and (", %s of processor time"):format(look.duration(it.cpu_s)) or "")
end

-- The frame of many runs: running ones with their curves, then those that ended last.
local function add_all(frame, it)
  frame:add(it:summary() .. " below " .. it.root, it:summary())
  local shown = 0
  for _, entry in ipairs(it.entries) do
    local running = entry.state == "running"
    if frame:left() < (running and 5 or 2) then break end
    if running then
      frame:picture ""
      add_running(frame, entry)
    else
      if shown == 0 or it.entries[shown].state == "running" then frame:picture "" end
      frame:add(("%s: %s"):format(entry.name, ended_text(entry)), entry.name .. ": " .. entry.words)
    end
    shown = shown + 1
  end
  if shown < #it.entries then frame:add(("... and %d more"):format(#it.entries - shown)) end
end

local TERMS = { "diag", "off", "grad_norm", "lr" }

local function terms_of(line)
  local parts = {}
  for _, name in ipairs(TERMS) do
    if type(line[name]) == "number" then
      parts[#parts + 1] = ("%s %s"):format(name, board.loss(line[name]))
    end
  end
  return table.concat(parts, ", ")
end

local function add_pace(frame, it)
  local parts = {}
  if it.pace then parts[#parts + 1] = ("%.3g ms per step"):format(1000 * it.pace) end
  if it.cpu_s then parts[#parts + 1] = look.duration(it.cpu_s) .. " of processor time" end
  if it.samples then parts[#parts + 1] = provenance.grouped(it.samples) .. " samples seen" end
  if #parts > 0 then frame:add(table.concat(parts, ", "), parts[1]) end
end

-- The curve with its range and its steps.
local function add_curve(frame, it)
  local low, high = it.curve:range()
  local height = math.min(TALLEST, frame:left() - 4)
  if not low or height < 1 then return end
  if height < LEAST then height = 1 end
  frame:picture ""
  frame:add(("loss from %s to %s"):format(board.loss(low), board.loss(high)), "loss")
  for _, row in ipairs(it.curve:rows(frame.width, height, it.steps, frame.unicode)) do
    frame:picture(row)
  end
  frame:add(("steps 1 to %d"):format(it.steps or it.step or 0), "")
end

-- The frame of a single run.
local function add_one(frame, it)
  frame:add(it.name)
  add_progress(frame, it)
  add_pace(frame, it)
  if it.last then frame:add(terms_of(it.last), "") end
  add_curve(frame, it)
end

--- The lines of a frame.
-- @tparam Board it after `refresh`
-- @tparam ?table machine what flowmap.app.live.machine reads; nil: without its line
-- @tparam table size { width = columns, height = rows, unicode = boolean }
-- @treturn {string,...} at most `height` lines of at most `width` columns
function M.frame(it, machine, size)
  local frame = setmetatable({ lines = {}, width = math.max(1, size.width),
    height = math.max(1, size.height), unicode = size.unicode }, Frame)
  if it.run then add_one(frame, it.entries[1]) else add_all(frame, it) end
  if machine and frame:left() > 2 then frame:picture "" end
  if machine and frame:left() > 0 then
    local words = M.machine(machine)
    frame:add(words[1] .. "; Ctrl-C ends", table.unpack(words))
  end
  return table.move(frame.lines, 1, frame.height, 1, {})
end

return M
