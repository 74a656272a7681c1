--- The baselines: what is stored, and why.
--
--     bits.json     "ISA BLAS" -> case -> "STATE SAMPLES", hashes
--     shadow.json   case -> loss, norm, samples, bytes
--     quality.json  study -> methods, runs = list over the stored seeds
--     speed.json    processor -> what is timed -> three ratios to the calibration kernel
--     reasons.jsonl one line per renewal: date, why, cases, effects on quality
-- @module store

local fm = require "flowmap"
local errors = require "flowmap.base.errors"
local files = require "flowmap.base.files"

local M = { folder = "tests/regression/baseline" }

local NAMES = { "bits", "shadow", "quality", "speed" }

local function path_of(name) return ("%s/%s.json"):format(M.folder, name) end

-- One baseline; empty if there is none. A damaged one is no lack of one: every case would be new,
-- and nothing could fail.
local function read(name)
  local path = path_of(name)
  if not files.exists(path) then return {} end
  local all, why = fm.json.read(path)
  if type(all) == "table" then return all end
  errors.data("%s is not a JSON object: %s", path, why or type(all))
end

--- Read all.
-- @treturn table { bits =, shadow =, quality =, speed = }; empty tables where there is none
function M.read()
  local out = {}
  for _, name in ipairs(NAMES) do out[name] = read(name) end
  return out
end

--- The reason of a renewal, checked.
-- @tparam ?string why
-- @treturn string
function M.reason(why)
  why = why and why:gsub("%s+", " "):gsub("^ ", ""):gsub(" $", "") or ""
  if #why < 10 then
    errors.usage "baselines are renewed for a reason alone: make regress-update WHY=\"...\""
  end
  return why
end

--- Replace one entry of a baseline that may be written elsewhere meanwhile.
-- @tparam string name one of those above
-- @tparam string key
-- @param value nil: remove it
function M.set(name, key, value)
  local all = read(name)
  all[key] = value
  fm.write_file(path_of(name), fm.json.encode(all, "") .. "\n")
end

--- Write all, and the reason.
-- @tparam table all as `read` returns
-- @tparam table line of reasons.jsonl, with `why`
function M.write(all, line)
  line.why = M.reason(line.why)
  files.mkdir(M.folder)
  for _, name in ipairs(NAMES) do
    fm.write_file(path_of(name), fm.json.encode(all[name], "") .. "\n")
  end
  line.date = os.date "!%Y-%m-%d"
  local path = M.folder .. "/reasons.jsonl"
  fm.write_file(path, (files.read_if_there(path) or "") .. fm.json.encode(line) .. "\n")
end

return M
