--- Published sets: the part of an experiment's runs at one profile that paper/results keeps.
--
-- A set is one folder, paper/results/PROFILE/EXPERIMENT, written completely or not at all:
--
--     set.json            revision and machine of the runs; each file's checksum and run ids
--     values.csv          every measured value of every run
--     NAME.csv, .md       the tables; NAME.png, .svg: the figures
--     runs/RUN/           the run's records: config, inputs, eval, manifest, metrics, history
--     stages/RUN/         the same of runs that taught others and are in no table
--
-- A set contains only runs that may share a table: all runs of the experiment, finished or
-- diverged, up to date, undamaged, and made from one clean revision on one kind of machine. The
-- same goes for their teachers.
-- @module flowmap.app.publish

local agreement = require "flowmap.report.agreement"
local cache = require "flowmap.runs.cache"
local chapters = require "flowmap.experiment.chapters"
local core = require "flowmap.core"
local errors = require "flowmap.base.errors"
local escape = require "flowmap.base.escape"
local experiment = require "flowmap.experiment"
local files = require "flowmap.base.files"
local folder = require "flowmap.runs.folder"
local json = require "flowmap.base.json"
local lfs = require "lfs"
local record = require "flowmap.runs.record"
local render = require "flowmap.report.render"
local results = require "flowmap.report.results"
local revision = require "flowmap.runs.revision"
local tree = require "flowmap.tree"

local M = {}

--- The folder of all published sets.
M.base = "paper/results"

local COPIED = { "config.json", "inputs.json", "eval.json", "manifest.json", "diverged.json",
  "metrics.jsonl", "chain.jsonl", "history.jsonl", "accepted.json" }
local LARGEST = 128 * 1024 -- of a figure's SVG and CSV; of clouds of points only the PNG is kept

-- ------------------------------------------------------------------ what may be published

local function base_name(path) return path:match "[^/]+$" end

-- The runs that taught those of a set and are in no table of it.
local function stages_of(set)
  local out, taken = {}, {}
  for _, run in ipairs(set:all()) do taken[run.dir] = true end
  local function add(run)
    local dir = run.config.teacher and run.config.teacher:match "^(.*)/checkpoint%.safetensors$"
    if dir and not taken[dir] and files.exists(dir .. "/manifest.json") then
      taken[dir] = true
      local stage = results.run(dir)
      add(stage)
      out[#out + 1] = stage
    end
  end
  for _, run in ipairs(set:all()) do add(run) end
  table.sort(out, function(a, b) return a.dir < b.dir end)
  return out
end

-- The seeds of the runs; every method and point of the grid must have those that it belongs to.
local function seeds_of(set)
  local seen = {}
  for _, run in ipairs(set:all()) do seen[run.config.seed] = true end
  return tree.keys(seen)
end

-- Find runs that are missing, unfinished or outdated, also among the teachers, and runs not of the
-- experiment.
local function check_current(exp, profile, set, problems)
  local planned, decided = {}, {}
  local function decide(run)
    if decided[run.dir] then return end
    decided[run.dir] = true
    local action, why = cache.decide(run.dir, cache.inputs(exp, run.cfg))
    if action ~= "reuse" and action ~= "diverged" then
      problems[#problems + 1] = ("%s is not current: %s"):format(base_name(run.dir), why)
    end
  end
  for _, run in ipairs(experiment.runs(exp, profile, seeds_of(set))) do
    planned[base_name(run.dir)] = true
    for _, stage in ipairs(run.stages) do decide(stage) end
    decide(run)
  end
  for _, run in ipairs(set:all()) do
    local name = base_name(run.dir)
    if not planned[name] then
      problems[#problems + 1] = name .. " is not one of the experiment's runs at this profile"
    end
  end
  for _, name in ipairs(set.unfinished) do
    if not planned[name] then problems[#problems + 1] = name .. " is not finished" end
  end
end

local SAME = { "revision", "version", "isa", "blas", "fingerprint" }

local function with_stages(set)
  local list, stages = set:all(), stages_of(set)
  return table.move(stages, 1, #stages, #list + 1, list)
end

-- The origin (revision, machine) that all parts of all runs share. Mixed origins and uncommitted
-- revisions are problems.
local function check_origin(set, problems)
  local first
  for _, run in ipairs(with_stages(set)) do
    for _, part in ipairs(run:segments()) do
      local name = base_name(run.dir)
      if part.revision == "unknown" or part.revision:find "%-dirty$" then
        problems[#problems + 1] = ("%s was made from the revision %s: commit first"):format(name,
          part.revision)
      end
      first = first or { name = name, of = part }
      for _, key in ipairs(SAME) do
        if part[key] ~= first.of[key] then
          problems[#problems + 1] = ("mixed: %s is %s in %s but %s in %s"):format(key,
            tostring(first.of[key]), first.name, tostring(part[key]), name)
        end
      end
    end
  end
  return first.of
end

local function refuse(root, problems)
  local shown, seen = {}, {}
  for _, problem in ipairs(problems) do
    if not seen[problem] then shown[#shown + 1], seen[problem] = problem, true end
  end
  local more = #shown > 4 and ("; and %d more"):format(#shown - 4) or ""
  errors.check("%s cannot be published: %s%s", root, table.concat(shown, "; ", 1,
    math.min(4, #shown)), more)
end

-- ------------------------------------------------------------------ what is written

--- Every measured value of every run, one per line.
-- @tparam Set set
-- @treturn string CSV
function M.values(set)
  local lines = { "run,id,method,seed,N,metric,value" }
  for _, run in ipairs(set.runs) do
    for _, row in ipairs(run:field("eval", "rows")) do
      for _, metric in ipairs(tree.keys(row)) do
        if metric ~= "N" and type(row[metric]) == "number" then
          lines[#lines + 1] = table.concat({ escape.csv(base_name(run.dir)), run:id(),
            escape.csv(run:method()), run.config.seed, row.N, escape.csv(metric),
            json.encode(row[metric]) }, ",")
        end
      end
    end
  end
  return table.concat(lines, "\n") .. "\n"
end

local SIGNED = { svg = "<!-- %s -->\n", figure = "# %s\n" } -- tables are signed by their notes

-- Move the tables and pictures of a render entry into the set, signed; omit scripts and data files.
local function collect(made, target, set, listed)
  local signature, ids = set:signature(), set:ids()
  for _, path in ipairs(made) do
    local name = base_name(path)
    local kind = name:find "%.figure%.csv$" and "figure" or name:match "%.(%w+)$"
    local text = results.read_file(path)
    local wanted = kind == "csv" or kind == "md" or kind == "png"
      or (kind == "svg" or kind == "figure") and #text <= LARGEST
    if wanted then
      if listed[name] then errors.usage("two entries of `render` write the file %s", name) end
      core.write_file(target .. "/" .. name, text .. (SIGNED[kind] or ""):format(signature))
      listed[name] = ids
    end
  end
end

local function copy_runs(runs, part, target, listed)
  for _, run in ipairs(runs) do
    local inside = part .. "/" .. base_name(run.dir)
    files.mkdir(target .. "/" .. inside)
    for _, name in ipairs(COPIED) do
      if files.exists(run.dir .. "/" .. name) then
        core.write_file(("%s/%s/%s"):format(target, inside, name),
          results.read_file(run.dir .. "/" .. name))
        listed[inside .. "/" .. name] = { run:id() }
      end
    end
  end
end

local function described(runs)
  local out = {}
  for i, run in ipairs(runs) do
    out[i] = { name = base_name(run.dir), id = run:id(), method = run:method(),
      seed = run.config.seed, diverged = run.diverged and run.diverged.step }
  end
  return out
end

local function describe(exp, profile, set, origin, target, listed)
  local sums, stages = {}, described(stages_of(set))
  for name, ids in pairs(listed) do
    sums[name] = { sha256 = core.sha256_file(target .. "/" .. name), runs = ids }
  end
  return { profile = profile, experiment = exp.name, published = os.date "!%Y-%m-%dT%H:%M:%SZ",
    renderer = revision.now(), revision = origin.revision, version = origin.version,
    isa = origin.isa, blas = origin.blas, fingerprint = origin.fingerprint,
    runs = described(set:all()), stages = #stages > 0 and stages or nil, files = sums }
end

local function write(exp, profile, set, origin, target)
  local listed, drafts = {}, target .. "/drafts"
  local drawn = setmetatable({ root = drafts }, { __index = set })
  for _, entry in ipairs(render.entries(exp, set)) do
    collect(render.entry(exp, entry, drawn), target, render.selected(entry, set), listed)
  end
  if files.exists(drafts) then files.remove_tree(drafts) end
  core.write_file(target .. "/values.csv", M.values(set))
  listed["values.csv"] = set:ids()
  copy_runs(set:all(), "runs", target, listed)
  copy_runs(stages_of(set), "stages", target, listed)
  record.write(target, "set", describe(exp, profile, set, origin, target, listed))
end

-- Refuse a folder that is not a published set, or holds more: all of it is replaced.
local function check_replaced(final)
  if lfs.symlinkattributes(final, "mode") == "link" then
    errors.usage("%s is a link: a set cannot be written in its place; move it away first", final)
  elseif not files.exists(final) then
    return
  elseif not files.exists(final .. "/set.json") then
    errors.usage("%s holds no published set; move it away first", final)
  end
  local index = record.need(final, "set")
  for _, name in ipairs(files.below(final)) do
    if name ~= "set.json" and not index.files[name] then
      errors.usage("%s/%s is not a file of the published set, which is replaced as a whole; move "
        .. "it away first", final, name)
    end
  end
end

-- Replace the old folder by the new one.
local function replace(target, final)
  local old = target .. ".old"
  local had = files.exists(final)
  local ok, why = not had or os.rename(final, old)
  if ok then ok, why = os.rename(target, final) end
  if not ok then
    if had and not files.exists(final) then os.rename(old, final) end
    errors.data("cannot publish %s: %s", final, why)
  end
  if had then files.remove_tree(old) end
end

-- Hold the place of a set until the returned value is closed, and clear away what a killed process
-- left there: the old set, if it was killed between the two renames of `replace`, or parts of one.
local function hold_place(final)
  local above, name = final:match "^(.*)/([^/]*)$"
  files.mkdir(above)
  local path = ("%s/.%s.lock"):format(above, name)
  local lock = core.lock(path)
  if not lock then errors.usage("%s is being published by another process", final) end
  for _, other in ipairs(core.folder_names(above)) do
    local left = above .. "/" .. other
    local ending = other:sub(1, #name + 2) == ("." .. name .. ".")
      and lfs.symlinkattributes(left, "mode") == "directory" and other:match("^%d+(.*)$", #name + 3)
    if ending == ".old" and not files.exists(final) then
      os.rename(left, final)
    elseif ending == ".old" or ending == "" then
      files.remove_tree(left)
    end
  end
  return setmetatable({}, { __close = function()
    os.remove(path) -- before another process gets the lock
    lock:release()
  end })
end

-- ------------------------------------------------------------------ one set

-- Lock the runs, so that no other process changes them.
local function hold(set)
  local held = {}
  for _, run in ipairs(with_stages(set)) do held[#held + 1] = folder.take(run.dir) end
  return setmetatable(held, { __close = function()
    for _, one in ipairs(held) do one:release() end
  end })
end

--- Publish the runs of an experiment at a profile.
-- @tparam table exp an experiment
-- @tparam string profile
-- @treturn string the set's folder
function M.set(exp, profile)
  local root = experiment.root(exp.name, profile)
  local final = ("%s/%s/%s"):format(M.base, profile, exp.name)
  check_replaced(final)
  local held <close> = hold(results.open(root))
  local set, problems = results.open(root), {} -- again, now that the runs are locked
  if #with_stages(set) ~= #held then
    errors.data("%s changed while it was being locked", root)
  end
  check_current(exp, profile, set, problems)
  local origin = check_origin(set, problems)
  if #problems > 0 then refuse(root, problems) end
  local _ <close> = hold_place(final)
  check_replaced(final) -- again: it may be there only now
  local target = ("%s/%s/.%s.%d"):format(M.base, profile, exp.name, core.pid())
  files.mkdir(target)
  local ok, err = pcall(write, exp, profile, set, origin, target)
  if ok then ok, err = pcall(replace, target, final) end
  if not ok then
    if files.exists(target) then files.remove_tree(target) end
    error(err, 0)
  end
  return final
end

--- The command `publish`.
-- @tparam table args profile, experiments (paths; an empty list stands for all of the paper's)
function M.run(args)
  local paths = #args.experiments > 0 and args.experiments or chapters.experiments()
  local list = {}
  for i, path in ipairs(paths) do list[i] = experiment.load(path) end
  for _, exp in ipairs(list) do
    io.stdout:write(("published %s\n"):format(M.set(exp, args.profile)))
  end
end

-- ------------------------------------------------------------------ checking a set

-- The lines of a table without its notes.
local function value_lines(csv)
  local lines = {}
  for line in csv:gmatch "([^\n]*)\n" do
    if line:sub(1, 1) ~= "#" then lines[#lines + 1] = line end
  end
  return table.concat(lines, "\n")
end

-- Check that the files of a table hold the cells that its set gives.
local function check_cells(dir, name, t, wrong)
  local tables = require "flowmap.report.table"
  local stem = ("%s/%s"):format(dir, name)
  local csv, markdown = files.read(stem .. ".csv"), files.read(stem .. ".md")
  if not csv or value_lines(csv) ~= value_lines(tables.csv(t)) then
    wrong(name .. ".csv does not hold the values of runs/")
  end
  if not markdown or not agreement.same_printed(markdown, tables.markdown(t)) then
    wrong(name .. ".md does not hold the values of runs/")
  end
end

local function check_files(dir, index, wrong)
  for _, name in ipairs(files.below(dir)) do
    if name ~= "set.json" and not index.files[name] then wrong(name .. " is not in set.json") end
  end
  for _, name in ipairs(tree.keys(index.files)) do
    local path = dir .. "/" .. name
    if not files.exists(path) then
      wrong(name .. " is missing")
    elseif core.sha256_file(path) ~= index.files[name].sha256 then
      wrong(name .. " was changed since it was published")
    end
  end
end

-- Check runs or stages against the list of them, and that their ids are those of their records.
local function check_runs(list, runs, wrong)
  local listed, found = {}, {}
  for _, run in ipairs(list) do listed[run.name .. " " .. run.id] = true end
  for _, run in ipairs(runs) do
    local name = base_name(run.dir)
    found[name .. " " .. run:id()] = true
    if not listed[name .. " " .. run:id()] then wrong(name .. " is not a run of set.json") end
    if run.manifest then
      local inputs = core.sha256(json.encode(record.need(run.dir, "inputs")))
      if run:id() ~= record.id(inputs, run.manifest.files) then
        wrong(name .. " has an id that is not that of its inputs and results")
      end
    end
  end
  for run in pairs(listed) do
    if not found[run] then wrong("the set lacks the run " .. run) end
  end
end

-- Check that the teacher of each run is the one whose record lies beside it: the run's inputs have
-- the checksum of its weights.
local function check_teachers(profile, runs, wrong)
  local weights = {}
  for _, run in ipairs(runs) do
    local files_of = run.manifest and run.manifest.files or {}
    weights[base_name(run.dir)] = files_of["checkpoint.safetensors"]
  end
  for _, run in ipairs(runs) do
    local place, name = (run.config.teacher or ""):match "([^/]+)/([^/]+)/checkpoint%.safetensors$"
    local taught = place == profile or place == profile .. "-stages"
    if taught and record.need(run.dir, "inputs").teacher ~= weights[name] then
      wrong(("%s was not taught by the run %s of this set"):format(base_name(run.dir), name))
    end
  end
end

local function same_list(a, b) return table.concat(a, " ") == table.concat(b, " ") end

-- Check that the tables hold the values of the runs beside them and name those runs.
local function check_tables(dir, exp, set, index, wrong)
  if files.read(dir .. "/values.csv") ~= M.values(set) then
    wrong "values.csv does not hold the values of runs/"
  end
  for _, entry in ipairs(render.entries(exp, set)) do
    local part = render.selected(entry, set)
    for _, kind in ipairs { "csv", "md", "svg", "png" } do
      local name = entry.name .. "." .. kind
      local text = index.files[name] and files.read(dir .. "/" .. name)
      if text and kind ~= "png" and not text:find(part:signature(), 1, true) then
        wrong(name .. " does not name the runs beside it")
      elseif text and not same_list(index.files[name].runs, part:ids()) then
        wrong("set.json names other runs for " .. name)
      end
    end
    local t = render.description(exp, entry, set)
    -- A table that the experiment has had only since is in no set.
    if t and index.files[entry.name .. ".csv"] then check_cells(dir, entry.name, t, wrong) end
  end
end

--- Check a published set's files against one another.
-- @tparam string dir
-- @tparam table exp its experiment
-- @treturn {string,...} the problems found; empty if there are none
function M.check(dir, exp)
  local problems = {}
  local function wrong(text) problems[#problems + 1] = dir .. ": " .. text end
  local ok, err = pcall(function()
    local index = record.need(dir, "set")
    check_files(dir, index, wrong)
    local set = results.copies(dir .. "/runs")
    local all, stages = set:all(), {}
    for i, name in ipairs(files.folders(dir .. "/stages")) do
      stages[i] = results.run(dir .. "/stages/" .. name, true)
    end
    check_runs(index.runs, all, wrong)
    check_runs(index.stages or {}, stages, wrong)
    check_teachers(index.profile, table.move(stages, 1, #stages, #all + 1, all), wrong)
    check_tables(dir, exp, set, index, wrong)
  end)
  if not ok then wrong(tostring(err)) end
  return problems
end

return M
