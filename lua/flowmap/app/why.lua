--- The command `why`: what a run is made from, what has changed since, and which tables and figures
-- show it.
-- @module flowmap.app.why

local accept = require "flowmap.runs.accept"
local columns = require "flowmap.app.columns"
local core = require "flowmap.core"
local current = require "flowmap.runs.current"
local errors = require "flowmap.base.errors"
local files = require "flowmap.base.files"
local folder = require "flowmap.runs.folder"
local look = require "flowmap.runs.look"
local numerics = require "flowmap.runs.numerics"
local provenance = require "flowmap.report.provenance"
local publish = require "flowmap.app.publish"
local record = require "flowmap.runs.record"
local render = require "flowmap.report.render"
local results = require "flowmap.report.results"
local settings = require "flowmap.experiment.settings"
local source = require "flowmap.runs.source"
local text = require "flowmap.base.text"
local tree = require "flowmap.tree"

local M = {}

local LONGEST = 4000 -- bytes of an entry

local Why = {}
Why.__index = Why

function Why:add(about, ...)
  local words = select("#", ...) > 1 and string.format(...) or ...
  self.rows[#self.rows + 1] = { about, text.line(words, LONGEST) }
end

-- ------------------------------------------------------------------ what it is made from

local function short(hash) return hash:sub(1, 12) end

-- "12.3 s of processor time, 0:20 in all"
local function cost(it)
  local wall = it.manifest and it.manifest.wall_s
  local cpu = it.cpu_s and look.duration(it.cpu_s) or "an unknown amount"
  return ("%s of processor time%s"):format(cpu, wall and (", %s in all"):format(look.duration(wall))
    or "")
end

function Why:made()
  local it, config = self.it, self.it.config
  self:add("run", "%s, profile %s, method %s, seed %d", config.experiment, config.profile,
    config.method, config.seed)
  self:add("state", "%s%s", look.words(it), it.diverged and ": " .. it.diverged.message or "")
  local made = it.manifest
  if made then
    self:add("id", made.id)
    self:add("when", "%s to %s", made.started, made.finished)
    self:add("trained", "%s steps, %s samples seen, %s parameters",
      provenance.grouped(made.steps), provenance.grouped(made.samples_seen),
      provenance.grouped(made.params))
  end
  self:add("cost", "%s%s", cost(it), made and (", %.0f MiB of memory"):format(made.peak_bytes
    / 2 ^ 20) or "")
end

-- Each start and continuation: when, from what revision, on what machine.
function Why:starts()
  local path = self.it.dir .. "/history.jsonl"
  for _, line in ipairs((record.lines("history", files.read_if_there(path) or "", path))) do
    if line.time then
      self:add(line.step == 0 and "revision" or "continued",
        "%s%s, version %s, on %s, BLAS kernel %s, %d thread%s",
        line.step == 0 and "" or ("at step %d on %s by "):format(line.step, line.time),
        line.revision, line.version, line.isa, line.blas, line.threads,
        line.threads == 1 and "" or "s")
    end
  end
end

-- The settings that are not the suite's defaults.
function Why:settings()
  local words, defaults = {}, 0
  for _, key in ipairs(tree.keys(self.it.inputs)) do
    local name = key:match "^setting (.*)$"
    local known = name and settings.by_key[name]
    if known and self.it.inputs[key] == settings.text(known.default) then
      defaults = defaults + 1
    elseif name then
      local value = self.it.inputs[key]
      words[#words + 1] = ("%s=%s"):format(name, value == "" and "none" or value)
    end
  end
  self:add("settings", "%s; %d others have their defaults", table.concat(words, " "), defaults)
end

function Why:data()
  local it = self.it
  local set = it.manifest and it.manifest.dataset
  if set then
    self:add("data", "%s%s%s, hash %s", set.title, set.size > 0 and (", the first %s"):format(
      provenance.grouped(set.size)) or "", set.count and (", %s images"):format(
      provenance.grouped(set.count)) or "", short(set.hash))
  else
    self:add("data", it.config.data or "unknown")
  end
  for _, key in ipairs { "teacher", "start" } do
    local path, hash = it.config[key], it.inputs[key]
    if hash then
      local here = files.read(path)
      self:add(key, "%s, SHA-256 %s, %s", path, short(hash), not here and "which is not here"
        or core.sha256(here) == hash and "unchanged" or "which has CHANGED since")
    end
  end
end

-- The files whose code or contents count, by kind; modules of the suite without "flowmap.".
function Why:sources()
  local modules, others, facts = {}, {}, {}
  for _, key in ipairs(tree.keys(self.it.inputs)) do
    local kind, name = key:match "^(%w+) (.*)$"
    if kind == "module" or kind == "suite" then
      modules[#modules + 1] = name:gsub("^flowmap%.", "")
    elseif key == "experiment" or kind == "file" then
      others[#others + 1] = name or key
    elseif kind and kind ~= "setting" then
      facts[#facts + 1] = key
    end
  end
  self:add("sources", "%d modules: %s", #modules, table.concat(modules, ", "))
  if #others > 0 then self:add("files", "%s", table.concat(others, ", ")) end
  if #facts > 0 then self:add("asked for", "%s", table.concat(facts, ", ")) end
  local parts = numerics.parts(self.it.inputs.fingerprint or "")
  self:add("numerics", "fingerprint %s on %s, BLAS kernel %s", short(parts.hash), parts.isa,
    parts.blas)
end

-- ------------------------------------------------------------------ what has changed

-- Whether the files of the run are those that it ended with.
function Why:intact()
  local ended = self.it.manifest or self.it.diverged
  if not ended then return end
  local wrong, absent, count = {}, 0, 0
  for _, name in ipairs(tree.keys(ended.files)) do
    local path = self.it.dir .. "/" .. name
    count = count + 1
    if name:find "/" or not files.exists(path) then
      absent = absent + 1
    elseif core.sha256_file(path) ~= ended.files[name] then
      wrong[#wrong + 1] = name
    end
  end
  self:add("integrity", "%s%s", #wrong == 0 and ("%d files have the checksums of the record")
    :format(count - absent) or "CHANGED since the run ended: " .. table.concat(wrong, ", "),
    absent > 0 and (", %d are not here"):format(absent) or "")
  self.damaged = #wrong > 0
end

function Why:changed(now)
  local it = self.it
  if it.accepted then
    for _, words in ipairs(accept.words(it.accepted)) do self:add("accepted", "%s", words) end
  end
  local changes, why = now:changes(it)
  if not changes then return self:add("changed", "unknown: %s", why) end
  if #changes == 0 then
    return self:add("changed", "nothing since%s: the run is up to date", it.accepted
      and ", except what was accepted" or "")
  end
  for k, change in ipairs(changes) do self:add(k == 1 and "changed" or "", "%s", change) end
end

-- ------------------------------------------------------------------ what shows it

local function holds(set, dir)
  for _, runs in ipairs { set.runs, set.diverged } do
    for _, run in ipairs(runs) do
      if source.absolute(run.dir) == dir then return true end
    end
  end
  return false
end

-- The tables and figures of its experiment whose runs include this one, if it lies among them.
local function shown_in(it, now)
  local exp = now:experiment(it.config)
  local above = source.absolute(it.dir):match "^(.*)/[^/]*$"
  local root = exp and exp.name .. "/" .. it.config.profile
  if not root or above:sub(-#root) ~= root then return {} end
  local set, names = results.open(above), {}
  for _, entry in ipairs(render.entries(exp, set)) do
    local ok, some = pcall(render.selected, entry, set)
    if ok and holds(some, source.absolute(it.dir)) then
      names[#names + 1] = ("%s (%s)"):format(entry.name, entry.kind)
    end
  end
  return names
end

-- The files of published sets that were made from the run.
local function published_in(id)
  local names = {}
  for _, profile in ipairs(files.folders(publish.base)) do
    for _, name in ipairs(files.folders(publish.base .. "/" .. profile)) do
      local dir = ("%s/%s/%s"):format(publish.base, profile, name)
      for path, file in pairs((record.read(dir, "set") or {}).files or {}) do
        for _, run in ipairs(file.runs) do
          if run == id and not path:find "^runs/" then names[#names + 1] = dir .. "/" .. path end
        end
      end
    end
  end
  table.sort(names)
  return names
end

function Why:used(now)
  for _, of in ipairs { { "shown in", shown_in, self.it, now },
    { "published", published_in, self.it.manifest and self.it.manifest.id } } do
    local ok, names = errors.pcall(of[2], of[3], of[4])
    if not ok then
      self:add(of[1], "unknown: %s", (select(2, errors.explain(names))))
    else
      self:add(of[1], "%s", #names == 0 and "nothing here" or table.concat(names, ", "))
    end
  end
end

-- ------------------------------------------------------------------ the command

--- The report on a run: its origin, changes since, and where it is shown.
-- @tparam string dir
-- @tparam[opt] table how { experiment = a file, if the run's is not one of the suite's, total =
--   columns of the terminal }
-- @treturn string
-- @treturn boolean whether a file of the run is not what it was when the run ended
function M.text(dir, how)
  how = how or {}
  local it = look.run(dir)
  if it.fault then errors.data("%s", it.fault) end
  if not it.config or not it.inputs then
    errors.data("%s has no inputs.json yet: its run is about to start", dir)
  end
  local self = setmetatable({ it = it, rows = {} }, Why)
  local now = current.new { how.experiment }
  self:made()
  self:starts()
  self:data()
  self:settings()
  self:sources()
  self:intact()
  self:changed(now)
  self:used(now)
  return columns.text(self.rows, { right = {}, wraps = { [2] = true }, total = how.total }),
    self.damaged == true
end

--- The command.
-- @tparam table args run = a folder, experiment = a file or nil
-- @treturn integer exit code
function M.run(args)
  local dir = folder.given(args.run)
  if not files.exists(dir .. "/config.json") then
    errors.usage("why: there is no run at %s (no config.json)", dir)
  end
  local words, damaged = M.text(dir, { experiment = args.experiment, total = core.columns(1) })
  io.stdout:write(words)
  return damaged and errors.status.data or 0
end

return M
