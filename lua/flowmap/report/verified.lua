--- Published runs that later sources made again with the same bits: the file verified.jsonl beside
-- the profiles of paper/results, a line per run, written by `verify --keep`.
--
-- A line holds what the second run was made from, as the difference from the inputs of the
-- published one. From it the graph tells sources that changed from results that would change.
-- @module flowmap.report.verified

local core = require "flowmap.core"
local files = require "flowmap.base.files"
local json = require "flowmap.base.json"
local record = require "flowmap.runs.record"
local tree = require "flowmap.tree"

local M = {}

-- Settings are compared when a run is verified, and name other folders; so does the checkpoint of a
-- teacher, which holds its own settings.
local function is_source(key)
  return not (key:find "^setting " or key == "teacher" or key == "start")
end

local function path_in(dir) return dir .. "/verified.jsonl" end

--- The lines of a folder of published sets, by the id of the published run. The file is written as
-- a whole, so a last line without a newline is not an interrupted write: an editor has left it out.
-- @tparam string dir e.g. "paper/results"
-- @treturn table empty if the folder holds none
function M.read(dir)
  local path, known = path_in(dir), {}
  local text = (files.read_if_there(path) or ""):gsub("[^\n]$", "%0\n")
  for _, line in ipairs((record.lines("verified", text, path))) do
    known[line.id] = line
  end
  return known
end

--- The inputs of a run when it was made the second time.
-- @tparam table line of verified.jsonl
-- @tparam table inputs those of the published run
-- @treturn table
function M.inputs(line, inputs)
  local again = {}
  for key, value in pairs(inputs) do again[key] = value end
  for _, key in ipairs(line.gone) do again[key] = nil end
  for key, value in pairs(line.changed) do again[key] = value end
  return again
end

--- A line for a run that gave the same bits again.
-- @tparam Run was the published run
-- @tparam Run now the same run, made again
-- @tparam string set "PROFILE/EXPERIMENT"
-- @tparam string revision of the sources that made it
-- @treturn table
function M.line(was, now, set, revision)
  local before, after = record.need(was.dir, "inputs"), record.need(now.dir, "inputs")
  local changed, gone = {}, {}
  for key, value in pairs(after) do
    if is_source(key) and before[key] ~= value then changed[key] = value end
  end
  for _, key in ipairs(tree.keys(before)) do
    if is_source(key) and after[key] == nil then gone[#gone + 1] = key end
  end
  return { id = was:id(), run = ("%s/%s"):format(set, was.dir:match "[^/]+$"),
    revision = revision, changed = changed, gone = gone }
end

-- Wait for other processes that add lines, until the returned value is closed.
local function hold(dir)
  local name = path_in(dir) .. ".lock"
  local lock
  repeat lock = core.lock(name) until lock -- which waits for a while
  return setmetatable({}, { __close = function()
    os.remove(name) -- before another process gets the lock
    lock:release()
  end })
end

--- Add lines to those of a folder, or replace those of the same runs.
-- @tparam string dir
-- @tparam {table,...} lines see `line`
-- @treturn string the file's path
function M.keep(dir, lines)
  local _ <close> = hold(dir)
  local known, out = M.read(dir), {}
  for _, line in ipairs(lines) do known[line.id] = line end
  for _, id in ipairs(tree.keys(known)) do out[#out + 1] = json.encode(known[id]) .. "\n" end
  core.write_file(path_in(dir), table.concat(out))
  return path_in(dir)
end

return M
