--- One run's folder at a glance: what the run is, how far it is, what it has cost. Folders are read
-- as they are found: damaged, foreign, or changing meanwhile; whatever is wrong is a sentence.
-- @module flowmap.runs.look

local Progress = require "flowmap.base.progress"
local core = require "flowmap.core"
local errors = require "flowmap.base.errors"
local files = require "flowmap.base.files"
local folder = require "flowmap.runs.folder"
local json = require "flowmap.base.json"
local lfs = require "lfs"
local record = require "flowmap.runs.record"
local regular = require "flowmap.base.regular"

local M = {}

local TAIL = 16384 -- bytes read from the end of a journal; its lines have a few hundred

-- ------------------------------------------------------------------ finding folders

local RECORDS = { ".flowmap", "config.json", "inputs.json", "manifest.json", "diverged.json" }
local RENDERED = { tables = true, figures = true, drafts = true }
local DEEPEST = 4 -- paper/results/PROFILE/EXPERIMENT/runs/RUN

local function holds(dir, name) return files.mode(dir .. "/" .. name) ~= nil end

local function holds_record(dir)
  for _, name in ipairs(RECORDS) do
    if holds(dir, name) then return true end
  end
  return false
end

-- Whether a folder is a run's. One that may not be looked into counts, as an unreadable one: it
-- must neither hide the others nor be left out without a word.
local function is_run(dir)
  local ok, is = pcall(holds_record, dir)
  if not ok and errors.of_memory(tostring(is)) then error(is, 0) end
  return not ok or is
end

local function holds_files(dir)
  for _, name in ipairs(core.folder_names(dir)) do
    if lfs.attributes(dir .. "/" .. name, "mode") ~= "directory" then return true end
  end
  return false
end

-- Call f with a folder; nil for one that may not be read, or that is renamed meanwhile.
local function try(f, dir)
  local ok, found = pcall(f, dir)
  if not ok and errors.of_memory(tostring(found)) then error(found, 0) end
  return ok and found or nil
end

-- What tells a folder from all others, whatever path leads to it.
local function identity(dir)
  local is = lfs.attributes(dir)
  return is and ("%d %d"):format(is.dev, is.ino)
end

-- A folder and those above it, as a set. A link to one of them leads around in a circle, perhaps
-- through the whole disk.
local function above(dir)
  local set, id = {}, identity(dir)
  while id and not set[id] do
    set[id], dir = true, dir .. "/.."
    id = identity(dir)
  end
  return set
end

local function walk(dir, depth, found, others)
  local names = try(files.folders, dir) or {}
  if holds(dir, "set.json") then names = holds(dir, "runs") and { "runs" } or {} end
  local inner, circle = 0, #names > 0 and above(dir)
  for _, name in ipairs(names) do
    local path = dir .. "/" .. name
    if name:find "%-outdated$" or RENDERED[name] or circle[identity(path)] then
      inner = inner + 1
    elseif is_run(path) then
      found[#found + 1], inner = path, inner + 1
    elseif depth < DEEPEST then
      inner = inner + 1
      walk(path, depth + 1, found, others)
    end
  end
  if inner == 0 and depth > 0 and try(holds_files, dir) then others[#others + 1] = dir end
end

--- All runs below a folder: `results`, or one of published sets. Runs put aside are left out.
-- @tparam string root
-- @treturn {string,...} folders of runs, sorted
-- @treturn {string,...} folders with files that are no run's
function M.find(root)
  local found, others = {}, {}
  walk(root, 0, found, others)
  return found, others
end

-- ------------------------------------------------------------------ progress

-- The last complete line of a file that may be appended to meanwhile, as a table.
local function last_line(path)
  local file <close> = not regular.fault(path) and io.open(path, "rb") or nil
  local size = file and file:seek "end"
  if not size or size == 0 then return nil end
  file:seek("set", math.max(0, size - TAIL))
  local text = file:read "a" or ""
  local line = text:match "([^\n]*)\n[^\n]*$"
  local value = line and json.decode(line)
  return type(value) == "table" and value or nil
end

local function step_of(line)
  local step = line and math.tointeger(line.step)
  return step and step >= 0 and step or 0
end

-- Whether a process is writing to the folder. The lock is held for an instant; a run that starts
-- meanwhile waits for it.
local function is_busy(dir)
  if folder.state(dir) ~= "ours" then return false end
  local lock = core.lock(dir .. "/.flowmap")
  if lock then lock:release() end
  return lock == nil
end

local function cpu_of(dir)
  local spent = last_line(dir .. "/history.jsonl")
  return spent and tonumber(spent.cpu_s), spent
end

-- Complete what is known of a run that has not ended; false if it has ended meanwhile.
local function unfinished(it)
  local saved
  it.cpu_s, saved = cpu_of(it.dir)
  if is_busy(it.dir) then
    it.state, it.step = "running", step_of(last_line(it.dir .. "/metrics.jsonl"))
  elseif holds(it.dir, "manifest.json") or holds(it.dir, "diverged.json") then
    return false
  else
    it.state = "interrupted"
    it.step = holds(it.dir, "checkpoint.safetensors") and step_of(saved) or 0
  end
  return true
end

-- ------------------------------------------------------------------ one run

local function verify(dir, sums)
  local here = {}
  for name, sum in pairs(sums) do
    local weights = not name:find "%.jsonl?$" and not holds(dir, name)
    if not (weights and not holds(dir, ".flowmap")) then here[name] = sum end -- a published copy
  end
  record.verify(dir, here)
end

local function read(it, how)
  local dir = it.dir
  it.config = record.read(dir, "config")
  it.inputs = record.read(dir, "inputs")
  it.manifest, it.diverged = record.read(dir, "manifest"), record.read(dir, "diverged")
  it.accepted = record.read(dir, "accepted")
  it.steps = it.config and it.config.steps
  local ended = it.manifest or it.diverged
  if ended and how.verify then verify(dir, ended.files) end
  if it.manifest then
    it.eval = record.need(dir, "eval")
    it.state, it.cpu_s, it.step = "finished", it.manifest.cpu_s, it.manifest.steps
  elseif it.diverged then
    it.state, it.step, it.cpu_s = "diverged", it.diverged.step, cpu_of(dir)
  elseif not unfinished(it) then
    return read(it, how)
  end
  if not it.config and ended then errors.data("%s/config.json is missing", dir) end
  if not (it.config or it.state == "running") then
    errors.data("%s has no config.json: %s", dir, folder.state(dir) == "ours"
      and "its run ended before its first step" or "it holds no mark of a flowmap run")
  end
end

--- Look at a run's folder. Checksums of its files are compared on request only.
-- @tparam string dir
-- @tparam[opt] table how { verify = boolean }
-- @treturn table { dir =, state = "finished", "running", "interrupted", "diverged" or "unreadable",
--   fault = a sentence if unreadable, config, inputs, manifest, diverged, eval, accepted = its
--   records as far as they exist, step = steps made, steps = in all, cpu_s = processor seconds }
function M.run(dir, how)
  local it = { dir = dir }
  local ok, err = errors.pcall(read, it, how or {})
  if not ok then
    if type(err) == "table" and err.code ~= "data" and err.code ~= "usage" then error(err, 0) end
    it.state, it.fault = "unreadable", select(2, errors.explain(err))
  end
  return it
end

--- Processor time as text: "0.085 s", "3:05", "-" if it is not known.
-- @tparam ?number seconds
-- @treturn string
function M.duration(seconds)
  if not seconds then return "-" end
  return seconds < 10 and ("%.2g s"):format(seconds) or Progress.duration(seconds)
end

--- The state of a run in words: "running, 40 %", "diverged at 1200".
-- @tparam table it what `run` returned
-- @treturn string
function M.words(it)
  if it.state == "running" then
    if it.steps and it.step >= it.steps then return "evaluating" end
    return it.steps and ("running, %d %%"):format(100 * it.step // it.steps) or "starting"
  elseif it.state == "interrupted" or it.state == "diverged" then
    return ("%s at %d"):format(it.state, it.step)
  end
  return it.state
end

return M
