--- Reads run folders. Tables, figures and prose obtain numbers only through this module.
--
-- A run is a folder with config.json, manifest.json, eval.json, metrics.jsonl and samples; a set is
-- all runs below one folder (results/EXPERIMENT/PROFILE) or a selection of them. A missing file or
-- field raises an error that names it; there are no default values.
-- @module flowmap.report.results

local core = require "flowmap.core"
local errors = require "flowmap.base.errors"
local files = require "flowmap.base.files"
local folder = require "flowmap.runs.folder"
local json = require "flowmap.base.json"
local lfs = require "lfs"
local npy = require "flowmap.npy"
local provenance = require "flowmap.report.provenance"
local record = require "flowmap.runs.record"
local settings = require "flowmap.experiment.settings"
local stats = require "flowmap.measure.stats"
local tree = require "flowmap.tree"

local fail = errors.data

local results = {}

--- The order of methods, as in the paper's tables; other methods follow by name.
results.methods = { "LSD", "ESD", "PSD-M", "PSD-U" }

-- ------------------------------------------------------------------ files

--- Read a file, or raise an error.
-- @tparam string path
-- @treturn string
function results.read_file(path)
  local bytes, why = files.read(path)
  if not bytes then fail("cannot read %s", why or path) end
  return bytes
end

--- Write a file completely or not at all (a temporary file, then a rename); creates its folder.
-- @tparam string path
-- @tparam string text
function results.write_file(path, text)
  files.mkdir(path:match "^(.*)/" or ".")
  core.write_file(path, text)
end

-- Look up "a.b.c" in nested tables; nil if a part is missing.
local function follow(t, path)
  for key in path:gmatch("[^.]+") do
    if type(t) ~= "table" then return nil end
    t = t[key]
  end
  return t
end

--- See flowmap.npy and flowmap.report.provenance.
results.load_npy, results.grouped = npy.load, provenance.grouped

-- ------------------------------------------------------------------ one run

local Run = {}
Run.__index = Run

-- Check that the records of a folder belong to one run and are unchanged since it ended. For
-- `copied` records, only the files that are present are checked.
local function check(dir, ended, copied)
  local inputs = record.need(dir, "inputs")
  if ended.inputs_hash and ended.inputs_hash ~= core.sha256(json.encode(inputs)) then
    fail("%s: manifest.json and inputs.json belong to different runs (their hashes differ)", dir)
  end
  local sums = {}
  for name, sum in pairs(ended.files) do
    if not copied or files.exists(dir .. "/" .. name) then sums[name] = sum end
  end
  record.verify(dir, sums)
end

--- Read the folder of a finished run and verify the checksum of each file.
-- @tparam string dir
-- @tparam[opt] boolean copied whether the folder holds copies of records, some of which may be
--   absent
-- @treturn Run {dir=, config=, manifest=, eval=}
function results.run(dir, copied)
  local manifest = record.need(dir, "manifest")
  check(dir, manifest, copied)
  return setmetatable({ dir = dir, config = record.need(dir, "config"), manifest = manifest,
    eval = record.need(dir, "eval"), accepted = record.read(dir, "accepted") }, Run)
end

--- A field of one of the run's JSON files, "a.b" for nested ones.
-- @tparam string file "config", "manifest" or "eval"
-- @tparam string path
-- @return value
function Run:field(file, path)
  local value = follow(self[file], path)
  if value == nil then
    fail("%s/%s.json has no field '%s'%s", self.dir, file, path,
      errors.near(path, tree.keys(self[file])))
  end
  return value
end

--- A setting of the run; a list becomes text.
-- @tparam string key
-- @treturn string|number|boolean
function Run:text_of(key)
  local value = self:field("config", key)
  return type(value) == "table" and settings.text(value) or value
end

--- The run's id, a hash of its inputs and results; see flowmap.runs.record.
-- @treturn string
function Run:id()
  if self.manifest then return self:field("manifest", "id") end
  return record.id(core.sha256(json.encode(record.need(self.dir, "inputs"))), self.diverged.files)
end

--- The method's name as printed: in upper case, unless it already contains capitals.
-- @treturn string
function Run:method()
  local name = tostring(self:field("config", "method"))
  return name:find "%u" and name or name:upper()
end

--- Whether the sampler chose its steps; such a run has one row, at the evaluations that it used.
-- @treturn boolean
function Run:is_adaptive() return self.config.sampler == "dopri5" end

--- The row of a run's results at N steps, or nil.
-- @tparam integer N; "adaptive": that of a run whose sampler chose its steps
-- @treturn ?table
function Run:row(N)
  for _, row in ipairs(self:field("eval", "rows")) do
    if row.N == N or N == "adaptive" and self:is_adaptive() then return row end
  end
end

--- One measured value at N steps.
-- @tparam string metric a column of eval.json's rows, such as "kl"
-- @tparam integer N or "adaptive", see `row`
-- @treturn number
function Run:value(metric, N)
  local row = self:row(N)
  if not row then fail("%s/eval.json has no row for N = %s", self.dir, N) end
  local value = follow(row, metric)
  if type(value) ~= "number" then
    fail("%s/eval.json has no number '%s' at N = %s; it has %s", self.dir, metric, N,
      table.concat(tree.keys(row), ", "))
  end
  return value
end

--- The training trace, one table per line of metrics.jsonl.
-- @treturn {table,...}
function Run:metrics()
  local path = self.dir .. "/metrics.jsonl"
  return (record.lines("metrics", results.read_file(path), path))
end

--- The processes that made the run, one after another: time, revision and machine of each.
-- @treturn {table,...} see the kind "history" of flowmap.runs.schema
function Run:segments()
  if self.manifest then return self.manifest.history end
  local path, starts = self.dir .. "/history.jsonl", {}
  for _, entry in ipairs((record.lines("history", results.read_file(path), path))) do
    if entry.time then starts[#starts + 1] = entry end
  end
  return starts
end

-- ------------------------------------------------------------------ a set of runs

local Set = {}
Set.__index = Set

local function new_set(root, runs, unfinished, diverged)
  return setmetatable({ root = root, runs = runs, unfinished = unfinished, diverged = diverged },
    Set)
end

--- A run that ended because its values ceased to be finite: its settings, trace and last step.
-- @tparam string dir
-- @tparam[opt] boolean copied see `run`
-- @treturn Run {dir=, config=, diverged=}
function results.diverged(dir, copied)
  local diverged = record.need(dir, "diverged")
  check(dir, diverged, copied)
  return setmetatable({ dir = dir, config = record.need(dir, "config"), diverged = diverged }, Run)
end

local function open(root, names, copied)
  local runs, unfinished, diverged = {}, {}, {}
  for _, name in ipairs(names) do
    local dir = root .. "/" .. name
    if files.exists(dir .. "/manifest.json") then
      runs[#runs + 1] = results.run(dir, copied)
    else
      unfinished[#unfinished + 1] = name
      if files.exists(dir .. "/diverged.json") then
        diverged[#diverged + 1] = results.diverged(dir, copied)
      end
    end
  end
  if #runs + #diverged == 0 then
    fail("there is no finished run at %s (one with manifest.json)", root)
  end
  return new_set(root, runs, unfinished, diverged)
end

--- All runs below a folder, sorted by name. Runs without manifest.json (interrupted or diverged)
-- are listed by name in `unfinished` and never contribute to a number; diverged runs are also in
-- `diverged`, for their traces.
-- @tparam string root results/EXPERIMENT/PROFILE
-- @treturn Set {root=, runs={Run,...}, unfinished={string,...}, diverged={Run,...}}
function results.open(root)
  if lfs.attributes(root, "mode") ~= "directory" then
    fail("there are no results at %s; run the experiment first", root)
  end
  local names = {}
  for _, name in ipairs(files.folders(root)) do
    if files.exists(root .. "/" .. name .. "/config.json") and folder.is_run(root .. "/" .. name)
    then
      names[#names + 1] = name
    end
  end
  return open(root, names)
end

--- All runs of the set, finished or diverged, sorted by folder.
-- @treturn {Run,...}
function Set:all()
  local list = table.move(self.diverged, 1, #self.diverged, #self.runs + 1,
    { table.unpack(self.runs) })
  table.sort(list, function(a, b) return a.dir < b.dir end)
  return list
end

--- Open a published set (see flowmap.app.publish), whose runs have neither samples nor weights.
-- @tparam string root
-- @treturn Set
function results.copies(root) return open(root, files.folders(root), true) end

-- Compare values as text, because selectors in prose are text: "1" selects 1. The same goes for
-- lists.
local function same(a, b)
  if type(a) == "table" then a = settings.text(a) end
  if type(b) == "table" then b = settings.text(b) end
  return a == b or tostring(a) == tostring(b) or tonumber(a) ~= nil and tonumber(a) == tonumber(b)
end

local function matches(run, where)
  for key, wanted in pairs(where) do
    if key == "method" then
      if run:method():upper() ~= tostring(wanted):upper() then return false end
    elseif not same(run:field("config", key), wanted) then
      return false
    end
  end
  return true
end

local function chosen(runs, where)
  local out = {}
  for _, run in ipairs(runs) do
    if matches(run, where) then out[#out + 1] = run end
  end
  return out
end

--- Select the runs whose config has the given values; an empty selection is an error. It may have
-- diverged runs alone.
-- @tparam table where config field -> value; `method` ignores case
-- @treturn Set
function Set:select(where)
  local runs, diverged = chosen(self.runs, where), chosen(self.diverged, where)
  if #runs + #diverged == 0 then
    local wanted = {}
    for _, key in ipairs(tree.keys(where)) do
      wanted[#wanted + 1] = ("%s = %s"):format(key, tostring(where[key]))
    end
    fail("%s has no finished run with %s", self.root, table.concat(wanted, ", "))
  end
  return new_set(self.root, runs, self.unfinished, diverged)
end

--- Whether all runs whose config has the given values diverged; false if there are none.
-- @tparam table where see `select`
-- @treturn boolean
function Set:all_diverged(where)
  return #chosen(self.runs, where) == 0 and #chosen(self.diverged, where) > 0
end

-- The finished runs; those that diverged, if none is finished.
local function ended(set) return #set.runs > 0 and set.runs or set.diverged end

--- The run with the lowest seed; one that diverged, if none is finished.
-- @treturn Run
function Set:first()
  local first = ended(self)[1]
  for _, run in ipairs(ended(self)) do
    if run:field("config", "seed") < first:field("config", "seed") then first = run end
  end
  return first
end

--- The distinct values of a config field over the runs, sorted; lists become text.
-- @tparam string key
-- @treturn {value,...}
function Set:distinct(key)
  local seen = {}
  for _, run in ipairs(self.runs) do seen[run:text_of(key)] = true end
  return tree.keys(seen)
end

--- The runs whose samplers make equal steps; all, if there are none.
-- @treturn Set
function Set:stepped()
  local runs = {}
  for _, run in ipairs(self.runs) do
    if not run:is_adaptive() then runs[#runs + 1] = run end
  end
  return #runs == 0 and self or new_set(self.root, runs, self.unfinished, self.diverged)
end

--- The numbers of steps at which every run was evaluated, except those that choose their steps. If
-- all runs diverged, the numbers at which they would have been.
-- @treturn {integer,...}
function Set:steps()
  local count, steps, runs = {}, {}, ended(self:stepped())
  for _, run in ipairs(runs) do
    for _, N in ipairs(run.diverged and run:field("config", "nfe") or {}) do
      count[N] = (count[N] or 0) + 1
    end
    for _, row in ipairs(run.diverged and {} or run:field("eval", "rows")) do
      count[row.N] = (count[row.N] or 0) + 1
    end
  end
  for _, N in ipairs(tree.keys(count)) do
    if count[N] == #runs then steps[#steps + 1] = N end
  end
  return steps
end

-- The methods of lists of runs, in the order of `results.methods`.
local function ordered(...)
  local seen, list = {}, {}
  for _, runs in ipairs { ... } do
    for _, run in ipairs(runs) do seen[run:method()] = true end
  end
  for _, name in ipairs(results.methods) do
    if seen[name] then list[#list + 1], seen[name] = name, nil end
  end
  return table.move(tree.keys(seen), 1, #tree.keys(seen), #list + 1, list)
end

--- The methods present, in the order of `results.methods`.
-- @treturn {string,...}
function Set:methods()
  return ordered(self.runs)
end

--- The methods that have a training trace, including those whose runs diverged.
-- @treturn {string,...}
function Set:traced_methods()
  return ordered(self.runs, self.diverged)
end

--- Mean and interval over seeds of one metric. All runs must share one configuration: two runs with
-- the same seed are an error, because that seed would count twice.
-- @tparam string metric
-- @tparam integer N
-- @treturn table see stats.summary
function Set:summary(metric, N)
  if #self.runs == 0 then
    fail("%s: all runs that were selected diverged, so '%s' has no value", self.root, metric)
  end
  local values, dir_of = {}, {}
  for _, run in ipairs(self.runs) do
    local seed = run:field("config", "seed")
    if dir_of[seed] then
      fail("%s and %s have the same seed %s: select one of them by its settings", dir_of[seed],
        run.dir, tostring(seed))
    end
    dir_of[seed] = run.dir
    values[#values + 1] = run:value(metric, N)
  end
  return stats.summary(values)
end

-- The value of a field that all runs of the set share.
local function common(set, file, path)
  local first = set.runs[1]:field(file, path)
  for _, run in ipairs(set.runs) do
    local other = run:field(file, path)
    if other ~= first then
      fail("'%s' is %s in %s/%s.json but %s in %s/%s.json: it has no single value", path,
        tostring(first), set.runs[1].dir, file, tostring(other), run.dir, file)
    end
  end
  return first
end

--- Look up a value by its name in prose: "METRIC.METHOD.N<steps>[.STATISTIC]", where STATISTIC is
-- mean (default), half, sd, min, max or n; or "config.METHOD.FIELD", "manifest.METHOD.FIELD".
-- @tparam string name such as "kl.LSD.N1" or "manifest.LSD.samples_seen"
-- @tparam ?table where further selection by config fields, such as {eta = 0.75}
-- @treturn number|string the value; in words where a training diverged
-- @treturn ?table for a mean, its summary
-- @treturn ?boolean whether a training diverged
function Set:lookup(name, where)
  local head, method, rest = name:match("^([%w_]+)%.([%w-]+)%.(.+)$")
  if not head then
    fail("'%s' does not name a result; expected METRIC.METHOD.N<steps>, such as kl.LSD.N1", name)
  end
  local set = self:select { method = method }
  if where and next(where) then set = set:select(where) end
  if head == "config" or head == "manifest" then return common(set, head, rest) end
  local N, statistic = rest:match("^N(%d+)%.?([%a]*)$")
  if not N then
    fail("'%s' names no number of steps; expected %s.%s.N<steps>", name, head, method)
  end
  if #set.diverged > 0 then return results.diverged_at(set.diverged), nil, true end
  local summary = set:summary(head, math.tointeger(tonumber(N)))
  if statistic == "" then return summary.mean, summary end
  local value = summary[statistic]
  if type(value) ~= "number" then
    fail("'%s' has no value '%s' over %d seed(s); known: mean, half, sd, min, max, n", name,
      statistic, summary.n)
  end
  return value
end

-- ------------------------------------------------------------------ provenance

--- The step at which a training diverged, or the range of several: "diverged at 12,345".
-- @tparam {Run,...} runs that diverged
-- @treturn string
function results.diverged_at(runs)
  local low, high = math.huge, 0
  for _, run in ipairs(runs) do
    low, high = math.min(low, run.diverged.step), math.max(high, run.diverged.step)
  end
  local first, last = results.grouped(low), results.grouped(high)
  return "diverged at " .. (first == last and first or first .. " to " .. last)
end

local FEW = 8

--- The ids of the set's runs, including diverged ones, sorted.
-- @treturn {string,...}
function Set:ids()
  local ids = {}
  for _, runs in ipairs { self.runs, self.diverged } do
    for _, run in ipairs(runs) do ids[#ids + 1] = run:id() end
  end
  table.sort(ids)
  return ids
end

--- The runs behind a table or figure in words: their ids or, for many runs, a hash of the ids.
-- @treturn string
function Set:signature()
  local ids = self:ids()
  if #ids <= FEW then return "run ids " .. table.concat(ids, ", ") end
  local hash = core.sha256(table.concat(ids, "\n"))
  return ("%d run ids with the hash %s"):format(#ids, hash:sub(1, 12))
end

--- The provenance of the set's numbers in one sentence; every part is required.
-- @treturn string
function Set:provenance() return provenance.words(self) end

return results
