--- Files to which a run appends lines: metrics.jsonl, the trace of the training, and chain.jsonl,
-- the hashes of its states, whose bits depend only on the run's inputs; and history.jsonl, the only
-- file besides manifest.json that depends on the clock and the machine: when and where the run
-- started or continued, and how long it took.
-- @module flowmap.runs.journal

local core = require "flowmap.core"
local errors = require "flowmap.base.errors"
local files = require "flowmap.base.files"
local json = require "flowmap.base.json"
local record = require "flowmap.runs.record"
local schema = require "flowmap.runs.schema"

local Journal = {}
Journal.__index = Journal

local M = {}

local function open(kind, path, texts)
  core.write_file(path, table.concat(texts)) -- at once: a killed process must not lose them
  local file, why = io.open(path, "a")
  if not file then errors.data("cannot write %s", why) end
  return setmetatable({ kind = kind, path = path, file = file, texts = texts }, Journal)
end

--- Append a line. It is written to the file at once and reaches the disk by `sync`.
-- @tparam table value
function Journal:add(value)
  local line = json.encode(schema.check(self.kind, value, self.path)) .. "\n"
  local ok, why = self.file:write(line)
  if ok then ok, why = self.file:flush() end
  if not ok then errors.data("cannot write %s: %s", self.path, why) end
  self.texts[#self.texts + 1] = line
end

--- Flush the lines to the disk.
function Journal:sync() core.sync_file(self.path) end

--- The checksum of all lines.
-- @treturn string SHA-256 in hex
function Journal:hash() return core.sha256(table.concat(self.texts)) end

function Journal:close()
  if self.file then self.file:close() end
  self.file = nil
end

Journal.__close = Journal.close

-- Open a journal by steps. A continued run keeps the lines up to the checkpoint's step, which must
-- be those that were there when the checkpoint was written.
local function by_steps(kind, dir, done, hash)
  local path, kept, last = ("%s/%s.jsonl"):format(dir, kind), {}, nil
  if done > 0 then
    local contents, why = files.read(path)
    if not contents then errors.data("cannot read %s", why) end
    local values, texts = record.lines(kind, contents, path)
    for i, value in ipairs(values) do
      if value.step <= done then kept[#kept + 1], last = texts[i], value end
    end
    if core.sha256(table.concat(kept)) ~= hash then
      errors.data("%s is damaged: its lines up to step %d are not those that the checkpoint was "
        .. "written with", path, done)
    end
  end
  local self = open(kind, path, kept)
  self.last = last
  return self
end

--- Open metrics.jsonl.
-- @tparam string dir
-- @tparam integer done steps that were taken; 0: a new run
-- @tparam[opt] string hash of the lines up to `done`, from the checkpoint
-- @treturn Journal
function M.metrics(dir, done, hash) return by_steps("metrics", dir, done, hash) end

--- Open chain.jsonl, see flowmap.runs.chain. A run begun without one continues without what
-- preceded.
-- @tparam string dir
-- @tparam integer done
-- @tparam[opt] string hash
-- @treturn Journal with the last line kept in `last`
function M.chain(dir, done, hash) return by_steps("chain", dir, hash and done or 0, hash) end

--- Open history.jsonl; all of its lines are kept.
-- @tparam string dir
-- @tparam integer done steps that were taken; 0: a new run
-- @treturn Journal
-- @treturn table { wall_s =, cpu_s = } what the steps so far took: seconds, and seconds of
--   processors; without cpu_s if a part of them did not record it
-- @treturn {table,...} starts and resumptions so far, earliest first
function M.history(dir, done)
  local path = dir .. "/history.jsonl"
  local contents = ""
  if done > 0 then contents = files.read(path) end
  if not contents then errors.data("cannot read %s: it is part of the run's record", path) end
  local values, texts = record.lines("history", contents, path)
  local spent, starts = { wall_s = 0, cpu_s = 0 }, {}
  for _, value in ipairs(values) do
    if value.time then
      starts[#starts + 1] = value
    elseif value.step <= done then
      spent = value -- the last one counts: lines of lost steps were written before it
    end
  end
  return open("history", path, texts), { wall_s = spent.wall_s, cpu_s = spent.cpu_s }, starts
end

return M
