--- Synthetic run folders with mark, records and checksums, for tests of the code that reads them.
-- @module made_run

local core = require "flowmap.core"
local files = require "flowmap.base.files"
local folder = require "flowmap.runs.folder"
local json = require "flowmap.base.json"
local record = require "flowmap.runs.record"

local M = {}

local HASH = ("0123456789abcdef"):rep(4)
local TIME = "2025-01-31T12:00:00Z"
local HERE = { step = 0, time = TIME, revision = "abc", version = "0.1.0", isa = "scalar",
  blas = "Generic", threads = 1 }

local function with(defaults, more)
  local out = {}
  for key, value in pairs(defaults) do out[key] = value end
  for key, value in pairs(more or {}) do out[key] = value end
  return out
end

local function lines(list)
  local texts = {}
  for i, it in ipairs(list) do texts[i] = json.encode(it) .. "\n" end
  return table.concat(texts)
end

-- The records written before the end of a run: settings, inputs, lines.
local function start(dir, it)
  files.mkdir(dir)
  local held <close> = folder.make(dir)
  assert(held)
  local config = with({ experiment = "made", profile = "smoke" }, it.config)
  record.write(dir, "config", config)
  record.write(dir, "inputs", it.inputs or { version = "0.1.0" })
  for i, line in ipairs(it.metrics) do
    it.metrics[i] = with({ diag = 1, lr = 0.1, loss = 1, grad_norm = 1 }, line)
  end
  core.write_file(dir .. "/metrics.jsonl", lines(it.metrics))
  core.write_file(dir .. "/history.jsonl", lines { HERE, { step = 1, wall_s = 1 } })
  for name, text in pairs(it.files or {}) do core.write_file(dir .. "/" .. name, text) end
  return config
end

--- A finished run.
-- @tparam string dir
-- @tparam table it config = { method =, seed =, ... }, rows = of eval.json, metrics = lines, and
--   perhaps inputs =, manifest = further or other fields, files = { name = text }
function M.finished(dir, it)
  local config = start(dir, it)
  for i, row in ipairs(it.rows) do it.rows[i] = with({ samples = 100 }, row) end
  record.write(dir, "eval", { rule = "last", ema = 0.999, rows = it.rows,
    columns = { { "kl", "KL", "%.4f" } } })
  local sums, inputs_hash = record.checksums(dir), core.sha256(json.encode(record.read(dir,
    "inputs")))
  record.write(dir, "manifest", with({ experiment = config.experiment, profile = "smoke",
    method = config.method, seed = config.seed, steps = 100, samples_seen = 1234567, wall_s = 90,
    dataset = { name = "board", title = "board", size = 0, hash = HASH }, revision = "abc",
    version = "0.1.0", isa = "scalar", blas = "Generic", precision = "float32", threads = 1,
    params = 10, inputs_hash = inputs_hash, checkpoint_rule = "last", ema = 0.999, started = TIME,
    finished = TIME, peak_bytes = 1, files = sums, id = record.id(inputs_hash, sums),
    history = { HERE } }, it.manifest))
end

--- A run that diverged after `it.step - 1` steps.
function M.diverged(dir, it)
  start(dir, it)
  record.write(dir, "diverged", { step = it.step, message = ("step %d: not finite"):format(it.step),
    files = record.checksums(dir) })
end

--- Change a record of a run and write it again with its checksum, as whoever wants to deceive does.
-- @tparam string dir
-- @tparam string kind of record: "config", "eval", "inputs" or "manifest"
-- @tparam function change
-- @treturn table the record
function M.edit(dir, kind, change)
  local value = record.read(dir, kind)
  value.sha256 = nil
  change(value)
  record.write(dir, kind, value)
  return value
end

return M
