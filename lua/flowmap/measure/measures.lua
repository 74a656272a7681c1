--- An experiment's own metrics, measured beside those of the judges (see flowmap.measure.judges). A
-- metric is
--
--     function(samples, context) ... end   -- a number, or a table name -> number
--
-- `samples` are the model's, (n, ...), and read-only, as are all tensors of `context`, which holds
--
--     N     the number of steps            cfg   the run's settings
--     set   the data set                   data  function(count) -> as many true samples, the
--                                                same at each call
--     map   function(params) -> the flow map of the network, see flowmap.map
--     params  its weights                  interpolant  see flowmap.interpolants
--     keep  function(name, tensor): writes NAME.npy into the run's folder, for figures; nothing is
--           written while a run is rehearsed, or of an earlier checkpoint
--     keeps  whether it does: an expensive metric may do less where nothing is kept
--
-- or a table { measure = that function, head = "in tables", format = "%.4f", options = {},
-- new = function(cfg) ... end }. The values are stored in the rows of eval.json under the metric's
-- name or, for a table of numbers, NAME_KEY. Tables and figures find them there, and a run prints
-- them.
-- @module flowmap.measure.measures

local Map = require "flowmap.map"
local data = require "flowmap.data"
local errors = require "flowmap.base.errors"
local escape = require "flowmap.base.escape"
local fm = require "flowmap"
local read_only = require "flowmap.read_only"
local registry = require "flowmap.base.registry"
local returned = require "flowmap.base.returned"
local tree = require "flowmap.tree"

local M = {}

local DATA_SEED = 7919 -- of the true samples, the same for all runs

local GIVEN = "one that all metrics are given" -- why a tensor is read-only

local function check_format(part, where)
  if part.format and not part.format:find "^%%%.?%d*[efg]$" then
    errors.usage("%s: format must be that of one number, such as %%.4f, found '%s'", where,
      part.format)
  end
end

--- The registry of experiments' own metrics. Those of the judges are always measured.
M.registry = registry.new { what = "metric", field = "metrics", plain = "function",
  table_fields = { measure = "function", head = "string", format = "string" },
  needs = { "measure" }, check_one = check_format, built = function() return {} end }

--- The names of the metrics that the setting `metrics` selects.
-- @tparam {string,...} wanted "all", "none" or names
-- @tparam[opt] table own metrics of an experiment
-- @treturn {string,...} names as registered
function M.names_of(wanted, own)
  if #wanted == 1 and wanted[1] == "all" then return M.registry:names(own) end
  if #wanted == 1 and wanted[1] == "none" then return {} end
  local names = {}
  for i, name in ipairs(wanted) do names[i] = M.registry:name(name, own) end
  return names
end

-- A function that returns true samples and keeps those of its last call.
local function true_samples(set)
  local kept
  return function(count)
    if not (kept and kept.shape[1] == count) then
      if set.shape then
        kept = data.images(set, set.table, fm.arange(math.min(count, set.count)))
      else
        kept = data.draw(set, count, DATA_SEED)
      end
      read_only.hold(GIVEN, kept)
    end
    return kept
  end
end

local Measures = {}
Measures.__index = Measures

-- The context that metrics get besides the samples. `dir` is nil while nothing may be written.
local function context_of(job)
  local context = { cfg = job.view, set = job.set, data = true_samples(job.set),
    interpolant = job.interpolant }
  function context.map(params) return Map.of(job.net, params) end
  function context.keep(name, x)
    returned.tensor(x, "the tensor that a metric keeps", x.shape)
    if context.dir then fm.save_npy(("%s/%s.npy"):format(context.dir, escape.filename(name)), x) end
  end
  return context
end

--- The metrics of a run.
-- @tparam table job see flowmap.job: view, set, net, interpolant, experiment
-- @treturn Measures a list
function M.new(job)
  local own, cfg = job.experiment.metrics, job.view
  local self = setmetatable({ columns = {}, context = context_of(job) }, Measures)
  for i, name in ipairs(cfg.metrics or {}) do
    local it = M.registry:find(name, own)
    local made = M.registry:make(it, name, cfg)
    local form = type(it) == "table" and it or {}
    self[i] = { name = name, measure = type(made) == "table" and made.measure or made,
      head = form.head, format = form.format or "%.4g" }
  end
  return self
end

-- The values that a metric returned, field -> number.
local function values_of(it, ...)
  local who = ("the metric '%s'"):format(it.name)
  local found = returned.one(who, ...)
  if type(found) ~= "table" then return { [it.name] = returned.number(found, who) } end
  local fields = {}
  for key, value in pairs(found) do
    if not tostring(key):find "^[%w_]+$" then
      errors.usage("%s named a number '%s', expected letters, digits and _", who, tostring(key))
    end
    local field = ("%s_%s"):format(it.name, key)
    fields[field] = returned.number(value, ("%s, %s,"):format(who, key))
  end
  if not next(fields) then errors.usage("%s returned a table without numbers", who) end
  return fields
end

-- Call a metric. Its errors are marked, because a failing metric says nothing about the training.
local function measured(it, x, context)
  local ok, found = errors.pcall(function()
    local given = {} -- a table of its own, so that no metric changes what the next one is given
    for key, value in pairs(context) do given[key] = value end
    local fields, before = values_of(it, it.measure(x, given)), it.fields
    it.fields = tree.keys(fields)
    local words, were = table.concat(it.fields, ", "), table.concat(before or it.fields, ", ")
    if words ~= were then
      errors.usage("the metric '%s' returned %s at N = %d, but %s before", it.name, words,
        context.N, were)
    end
    return fields
  end)
  if ok then return found end
  if type(found) == "table" then found.of_metric = true end
  return error(found, 0)
end

--- Add the values of all metrics to a row of results, and their columns.
-- @tparam table row
-- @param x samples
-- @tparam integer N
-- @tparam table params the weights that the samples are drawn with
-- @tparam[opt] string dir the folder for what metrics keep
function Measures:add(row, x, N, params, dir)
  self.columns = {}
  local _ <close> = read_only.hold(GIVEN, { x, params, self.context.set.points })
  self.context.N, self.context.params, self.context.dir = N, params, dir
  self.context.keeps = dir ~= nil
  for _, it in ipairs(self) do
    local fields = measured(it, x, self.context)
    for _, field in ipairs(tree.keys(fields)) do
      if row[field] ~= nil then
        errors.usage("the metric '%s' has the name of an existing value: %s", it.name,
          field)
      end
      row[field] = fields[field]
      local head = it.head or it.name
      self.columns[#self.columns + 1] = { field, field == it.name and head
        or head .. field:sub(#it.name + 1):gsub("_", " "), it.format }
    end
  end
end

return M
