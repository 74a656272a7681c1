--- One published experiment beside our runs of it, as far as there are any: an experiment without
-- runs, a method without runs and a number of steps that was not evaluated are no errors here but
-- "not attempted". Everything else that is missing or damaged is an error, as everywhere.
-- @module flowmap.report.attempt

local chapters = require "flowmap.experiment.chapters"
local errors = require "flowmap.base.errors"
local experiments = require "flowmap.experiment"
local files = require "flowmap.base.files"
local measured = require "flowmap.report.measured"
local provenance = require "flowmap.report.provenance"
local published = require "flowmap.experiment.published"

local M = {}

--- Why an experiment has no results.
M.NO_RUNS = "no runs in this set"

-- Our measures that stand beside a published one, the same measure first; and their names.
local MEASURES = { kl = { "kl" }, fid = { "fid", "fd_cnn" } }
local NAMES = { kl = "KL(data || model)", fid = "FID", fd_cnn = "FD-cnn" }
local ESTIMATORS = {
  fid = "FID in the features of Inception-v3",
  fd_cnn = "FD-cnn in the features of a classifier trained by this suite",
}

--- The name of a measure in tables.
-- @tparam string metric
-- @treturn string
function M.name_of(metric) return NAMES[metric] or metric end

--- The runs of an experiment.
-- @tparam Context context see flowmap.report.context
-- @tparam string name of the experiment
-- @treturn ?Set nil: there is no finished run
function M.runs(context, name)
  local folder = context:folder(name, "runs")
  for _, run in ipairs(files.folders(folder)) do
    if files.exists(("%s/%s/manifest.json"):format(folder, run)) then return context:set(name) end
  end
end

--- Whether all finished runs of a set were evaluated at N steps.
-- @tparam Set set
-- @tparam integer N
-- @tparam[opt] string metric that must be among the results
-- @treturn boolean
function M.evaluated(set, N, metric)
  for _, run in ipairs(set.runs) do
    local row = run:row(N)
    if not row or metric and row[metric] == nil then return false end
  end
  return true
end

-- "kl.LSD.N1[eta=0.5]" -> "kl", "LSD", 1
local function parts_of(name)
  local metric, method, N = name:match "^([%w_]+)%.([%w-]+)%.N(%d+)"
  return metric, method, math.tointeger(tonumber(N))
end

--- Why there are no runs of the methods that some names state; nil if there are.
-- @tparam Context context
-- @tparam string experiment
-- @tparam string ... names such as "kl.LSD.N1"; others name no method
-- @treturn ?string
function M.without(context, experiment, ...)
  local set = M.runs(context, experiment)
  if not set then return M.NO_RUNS end
  local known = {}
  for _, method in ipairs(set:traced_methods()) do known[method] = true end
  for _, name in ipairs { ... } do
    local _, method = parts_of(name)
    if method and not known[method] then return ("no runs of %s in this set"):format(method) end
  end
end

--- Why the results that two names state are not there; nil if they are.
-- @tparam Context context
-- @tparam string experiment
-- @tparam string ... names such as "kl.LSD.N1"
-- @treturn ?string
function M.absent(context, experiment, ...)
  local why = M.without(context, experiment, ...)
  if why then return why end
  local set = M.runs(context, experiment)
  for _, name in ipairs { ... } do
    local metric, method, N = parts_of(name)
    if method and not M.evaluated(set:select { method = method }, N, metric) then
      return ("%s of %s at N = %s was not measured"):format(metric, method, N)
    end
  end
end

--- The chapter of an experiment.
-- @tparam string name
-- @treturn table the experiment
function M.experiment(name)
  for _, path in ipairs(chapters.experiments()) do
    if path:match "([^/]+)%.lua$" == name then
      return experiments.load(files.installed(path))
    end
  end
  errors.data("there is no chapter '%s'", name)
end

--- The distinct values of a field of the manifests (or configs), as text. Seeds stand in lists, in
-- which commas within a number would be ambiguous.
-- @tparam Set set
-- @tparam string file "manifest" or "config"
-- @tparam string path
-- @treturn string
function M.listed(set, file, path)
  local seen, texts = {}, {}
  for _, run in ipairs(set.runs) do
    local value = file == "config" and run:text_of(path) or run:field(file, path)
    local is_long = path ~= "seed" and math.type(value) == "integer" and value >= 10000
    if is_long then value = provenance.grouped(value) end
    value = tostring(value)
    if not seen[value] then texts[#texts + 1], seen[value] = value, true end
  end
  if path == "seed" then
    table.sort(texts, function(a, b) return tonumber(a) < tonumber(b) end)
  end
  return table.concat(texts, ", ")
end

-- The measure of ours that stands beside the published one.
local function measure(set, metric)
  for _, ours in ipairs(MEASURES[metric]) do
    if measured.known(set, ours) then return ours end
  end
  errors.data("%s: no run has one of the measures %s", set.root,
    table.concat(MEASURES[metric], ", "))
end

local function estimator(set, metric)
  if ESTIMATORS[metric] then return ESTIMATORS[metric] end
  local bins = set:first():field("config", "bins")
  return ("%d × %d cells and one outside them"):format(bins, bins)
end

local Attempt = {}
Attempt.__index = Attempt

--- A published experiment and our runs of it.
-- @tparam Context context
-- @tparam string name of the experiment
-- @treturn Attempt { name =, values = published values by method and N, reference = see
--   paper/published.lua, metric = of the paper, set = our runs or nil, ours = our measure }
function M.of(context, name)
  local theirs = published.read()[name]
  if not (theirs and theirs.reference) then
    errors.data("there are no published values of '%s' in paper/published.lua", tostring(name))
  end
  local it = setmetatable({ name = name, reference = theirs.reference,
    metric = theirs.reference.metric, values = theirs[theirs.reference.metric] }, Attempt)
  it.set = M.runs(context, name)
  it.ours = it.set and measure(it.set, it.metric)
  it.has = {}
  for _, method in ipairs(it.set and it.set:traced_methods() or {}) do it.has[method] = true end
  return it
end

--- The published numbers of steps, in order.
-- @treturn {integer,...}
function Attempt:steps() return self.reference.settings.nfe end

--- Samples that the paper's trainings saw.
-- @treturn integer
function Attempt:budget() return self.reference.settings.batch * self.reference.settings.steps end

--- The runs of a method that were evaluated at N steps.
-- @tparam string method
-- @tparam integer N
-- @treturn ?Set
-- @treturn ?string why there are none
function Attempt:part(method, N)
  if not self.set then return nil, M.NO_RUNS end
  if not self.has[method] then return nil, ("no runs of %s in this set"):format(method) end
  local part = self.set:select { method = method }
  if not M.evaluated(part, N) then return nil, "this number of steps was not evaluated" end
  return part
end

--- Our value of a method at N steps, see flowmap.report.measured.
-- @tparam string method
-- @tparam integer N
-- @tparam[opt] string suffix "_best": over checkpoints, where that was recorded
-- @treturn ?table a summary
-- @treturn ?string why there is none
function Attempt:value(method, N, suffix)
  local part, why = self:part(method, N)
  if not part then return nil, why end
  return measured.summary(part, self.ours .. (suffix or ""), N)
end

--- Whether the best of several checkpoints was recorded beside the last.
-- @treturn boolean
function Attempt:has_best()
  return self.set ~= nil and measured.known(self.set, self.ours .. "_best")
end

-- The number of samples that were judged, if all runs share it.
local function judged(set)
  local samples
  for _, run in ipairs(set.runs) do
    for _, row in ipairs(run:field("eval", "rows")) do
      if samples and samples ~= row.samples then return nil end
      samples = row.samples
    end
  end
  return samples
end

--- How a value of the paper and one of ours were obtained, for flowmap.report.verdict.
-- @tparam string method
-- @tparam string rule of the checkpoint of ours: "last" or "best"
-- @treturn table the paper's { estimator =, rule =, data =, eval_samples =, eta = }
-- @treturn table ours
function Attempt:conditions(method, rule)
  local reference, set, metric = self.reference, self.set, self.metric
  local theirs = { estimator = reference.estimator[metric], rule = reference.rule[metric],
    data = reference.data, eval_samples = reference.eval_samples[metric],
    eta = reference.eta[method] or reference.settings.eta }
  local part = set:select { method = method }
  local first = part.runs[1] or part.diverged[1]
  return theirs, { estimator = estimator(set, self.ours), rule = rule,
    data = M.listed(set, "manifest", "dataset.title"), eval_samples = judged(set),
    eta = first:field("config", "eta") }
end

--- Our estimator in words.
-- @treturn string
function Attempt:estimator() return estimator(self.set, self.ours) end

--- The number of samples judged for each value, in words.
-- @treturn string
function Attempt:judged()
  local samples = judged(self.set)
  return samples and provenance.grouped(samples) or "different numbers"
end

return M
