--- The records of a run: the one writer and the one reader of config.json, inputs.json, eval.json,
-- manifest.json, diverged.json and of the lines of metrics.jsonl and history.jsonl.
--
-- Fields and their ranges are declared in flowmap.runs.schema. A JSON record ends with the SHA-256
-- of its own text, so that every changed byte is noticed; manifest.json (or diverged.json) holds
-- the SHA-256 of every other file of the run.
-- @module flowmap.runs.record

local core = require "flowmap.core"
local errors = require "flowmap.base.errors"
local files = require "flowmap.base.files"
local json = require "flowmap.base.json"
local lfs = require "lfs"
local schema = require "flowmap.runs.schema"
local text = require "flowmap.base.text"
local tree = require "flowmap.tree"

local M = {}

-- ------------------------------------------------------------------ sealed JSON

local SEAL = ',\n  "sha256": "%s"\n}\n'
local SEALED = '^(.*),\n  "sha256": "(%x+)"\n}\n$'

--- The text of an object that ends with its own checksum.
-- @tparam table value with at least one field, none of them `sha256`
-- @treturn string
function M.seal(value)
  local body = json.encode(value, ""):match "^({.*)\n}$"
  if not body or value.sha256 then errors.usage "only an object with fields can be sealed" end
  return body .. SEAL:format(core.sha256(body))
end

--- The object of a sealed text, or an error that names the file.
-- @tparam string sealed
-- @tparam string path
-- @treturn table
function M.unseal(sealed, path)
  local body, expected = sealed:match(SEALED)
  if not body then
    errors.data("%s is damaged: it does not end with its checksum (field sha256)", path)
  elseif core.sha256(body) ~= expected then
    errors.data("%s is damaged or was edited: its text does not have the checksum at its end", path)
  end
  local value, why = json.decode(body .. "\n}")
  if type(value) ~= "table" then errors.data("%s is not a JSON object: %s", path, why) end
  return value
end

--- The path of a record.
-- @tparam string dir
-- @tparam string kind
-- @treturn string
function M.path(dir, kind) return ("%s/%s.json"):format(dir, kind) end

--- Write a record atomically.
-- @tparam string dir
-- @tparam string kind
-- @tparam table value
function M.write(dir, kind, value)
  local path = M.path(dir, kind)
  core.write_file(path, M.seal(schema.check(kind, value, path)))
end

--- Read a record. If it is absent the result is nil; an unreadable or damaged one is an error.
-- @tparam string dir
-- @tparam string kind
-- @treturn table or nil
function M.read(dir, kind)
  local path = M.path(dir, kind)
  local found = files.read_if_there(path)
  return found and schema.check(kind, M.unseal(found, path), path)
end

--- Read a record that must be there.
-- @tparam string dir
-- @tparam string kind
-- @treturn table
function M.need(dir, kind)
  return M.read(dir, kind) or errors.data("there is no %s", M.path(dir, kind))
end

--- The lines of a JSON Lines file. A last line without newline is an interrupted write and is
-- left out.
-- @tparam string kind
-- @tparam string contents
-- @tparam string path for the sentence
-- @treturn {table,...} values
-- @treturn {string,...} their texts, with newlines
function M.lines(kind, contents, path)
  local values, texts, decoder = {}, {}, json.decoder()
  for line in contents:gmatch "([^\n]*)\n" do
    local value, why = json.decode(line, decoder)
    local where = ("%s, line %d"):format(path, #values + 1)
    if type(value) ~= "table" then
      errors.data("%s is not a JSON object: %s", where, why or text.line(line, 100))
    end
    values[#values + 1], texts[#texts + 1] = schema.check(kind, value, where), line .. "\n"
  end
  return values, texts
end

-- ------------------------------------------------------------------ checksums of a run

local ENDS = { manifest = true, diverged = true, accepted = true }

-- Files that come and go: temporary ones, the checkpoint before the last, the mark, and the states
-- for an audit, which the chain of hashes vouches for.
local function passing(name)
  return name:find "^%." or name:find "%.tmp%.%d+%.%d+" or name:find "%.prev$"
    or name:find "^state%-%d+%.safetensors$"
    or ENDS[name:match "^(%w+)%.json$"]
end

--- The checksums of all files of a run.
-- @tparam string dir
-- @tparam[opt] function wanted of a name: whether it counts
-- @treturn table name -> SHA-256
function M.checksums(dir, wanted)
  local out = {}
  for _, name in ipairs(core.folder_names(dir)) do
    if not passing(name) and files.mode(dir .. "/" .. name) == "file"
      and (not wanted or wanted(name)) then
      out[name] = core.sha256_file(dir .. "/" .. name)
    end
  end
  return out
end

local SETTLED = 3 -- seconds after which a change of a file shows in its times

--- Path -> { look = what the file looked like when its checksum was made, sum = that checksum,
-- used = whether this process asked for it }; flowmap.runs.sums keeps them between processes.
M.known = {}

-- The checksum of a file. A file unchanged since this process read it is not read again, unless
-- `again` says so: weaving a page reads a thousand files three times. A file is called damaged only
-- after it was read: what another process kept may itself be damaged.
local function checksum(path, again)
  if again then M.known[path] = nil end
  local it = lfs.attributes(path) or {}
  local look = ("%s %s %s %s"):format(it.ino, it.size, it.modification, it.change)
  local known = M.known[path]
  if known and known.look == look then
    known.used = true
    return known.sum
  end
  local sum = core.sha256_file(path)
  local settled = it.change and os.time() - math.max(it.change, it.modification) > SETTLED
  M.known[path] = settled and { look = look, sum = sum, used = true } or nil
  return sum
end

--- Check that the files of a run are the same as when it ended.
-- @tparam string dir
-- @tparam table sums name -> SHA-256
function M.verify(dir, sums)
  for _, name in ipairs(tree.keys(sums)) do
    local path = dir .. "/" .. name
    if name:find "/" then errors.data("%s: the record of its files names '%s'", dir, name) end
    if not files.exists(path) then
      errors.data("%s is missing: the run had it when it ended", path)
    elseif checksum(path) ~= sums[name] and checksum(path, true) ~= sums[name] then
      errors.data("%s is damaged or was changed: it does not have the checksum that was recorded "
        .. "when the run ended", path)
    end
  end
end

-- Files that depend on the clock or the machine and so do not identify a result.
local CLOCK = { ["history.jsonl"] = true }

--- Identify a run by its inputs and its results: equal bits have equal ids.
-- @tparam string inputs_hash
-- @tparam table sums name -> SHA-256
-- @treturn string 12 hex digits
function M.id(inputs_hash, sums)
  local parts = { inputs_hash }
  for _, name in ipairs(tree.keys(sums)) do
    if not CLOCK[name] then parts[#parts + 1] = name .. " " .. sums[name] end
  end
  return core.sha256(table.concat(parts, "\n")):sub(1, 12)
end

return M
