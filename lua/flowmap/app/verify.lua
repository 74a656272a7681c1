--- The command `verify`: is a published set what its experiment gives? First its files are checked
-- against one another: tables and figures must follow from the values of its own runs. Then the
-- runs are made again, in a folder apart, and compared with the published ones.
-- @module flowmap.app.verify

local Status = require "flowmap.base.status"
local agreement = require "flowmap.report.agreement"
local errors = require "flowmap.base.errors"
local experiment = require "flowmap.experiment"
local files = require "flowmap.base.files"
local fm = require "flowmap"
local publish = require "flowmap.app.publish"
local render = require "flowmap.report.render"
local reproduce = require "flowmap.app.reproduce"
local results = require "flowmap.report.results"
local settings = require "flowmap.experiment.settings"
local tables = require "flowmap.report.table"
local tree = require "flowmap.tree"
local verified = require "flowmap.report.verified"

local M = {}

local function base_name(path) return path:match "[^/]+$" end

local function runs_text(count) return count == 1 and "1 run" or ("%d runs"):format(count) end

-- ------------------------------------------------------------------ which sets and runs

-- A folder of one profile's sets, as `flowmap paper` takes, is that profile in the folder above. It
-- has none of another profile.
local function settle_folder(args)
  for _, name in ipairs(files.folders(args.results)) do
    if files.exists(("%s/%s/set.json"):format(args.results, name)) then
      local above, profile = ("./" .. args.results):match "^(.*)/([^/]+)/*$"
      if (args.profile or profile) ~= profile or profile:find "^%.%.?$" then return end
      args.results, args.profile = above:gsub("^%./(.)", "%1"), profile
      return
    end
  end
end

-- The file of a set's experiment: the one that the user named, or one of the suite's.
local function file_of(name, given, dir)
  if given and given:find "%.lua$" then return given end
  local path = ("experiments/%s.lua"):format(name)
  if not (files.exists(path) or files.exists(files.installed(path))) then
    errors.usage("verify: %s is of the experiment '%s', which is not one of the suite's; name its "
      .. "file, such as %s.lua", dir, name, name)
  end
  return path
end

-- The published sets of some experiments (names or files; none: all) and profiles (nil: all).
local function chosen_sets(args)
  local names, wanted, found, list = {}, {}, {}, {}
  for k, given in ipairs(args.experiments) do
    names[k] = experiment.name_of(given)
    wanted[names[k]] = given
  end
  for _, profile in ipairs(files.folders(args.results)) do
    for _, name in ipairs(files.folders(args.results .. "/" .. profile)) do
      local dir = ("%s/%s/%s"):format(args.results, profile, name)
      local fits = (#args.experiments == 0 or wanted[name]) and profile == (args.profile or profile)
      if fits and files.exists(dir .. "/set.json") then
        local path = file_of(name, wanted[name], dir)
        found[name] = true
        list[#list + 1] = { dir = dir, profile = profile, experiment = experiment.load(path) }
      end
    end
  end
  for k = 1, math.max(1, #names) do
    if #list == 0 or names[k] and not found[names[k]] then
      errors.usage("verify: %s holds no published set of %s%s", args.results,
        args.experiments[k] or "any experiment", args.profile and ", profile " .. args.profile
          or "")
    end
  end
  return list
end

local function in_list(list, value)
  for _, other in ipairs(list or { value }) do
    if tostring(other):upper() == tostring(value):upper() then return true end
  end
  return false
end

-- A set's published runs, diverged ones included, of the wanted seeds and methods, by name.
local function published_runs(set, args)
  local out = {}
  for _, run in ipairs(set:all()) do
    if in_list(args.seeds, run.config.seed) and in_list(args.methods, run:method()) then
      out[base_name(run.dir)] = run
    end
  end
  return out
end

-- Restrict the runs to a number of them: those that an earlier verification began, then at random.
local function restrict(runs, count, root)
  local begun, rest = {}, {}
  for _, name in ipairs(tree.keys(runs)) do
    table.insert(files.exists(root .. "/" .. name) and begun or rest, name)
  end
  math.randomseed()
  while #begun < count and #rest > 0 do
    begun[#begun + 1] = table.remove(rest, math.random(#rest))
  end
  for k = count + 1, #begun do runs[begun[k]] = nil end
  for _, name in ipairs(rest) do runs[name] = nil end
end

-- ------------------------------------------------------------------ what can be made again

-- Settings that name a file or say what is kept; they cannot change a result by themselves.
local APART = { teacher = true, audit_bytes = true, save_every = true, shard = true }

-- How the settings of a run differ from the published ones; nil if they do not.
local function other_settings(was, now)
  for _, key in ipairs(tree.keys(now)) do
    local before = was[key]
    local derived = before == nil or key == "sigma" and settings.text(now[key]) == "0"
    if not (APART[key] or derived) and settings.text(before) ~= settings.text(now[key]) then
      return ("%s is %s now, published is %s"):format(key, settings.text(now[key]),
        settings.text(before))
    end
  end
end

-- Remove the runs that the experiment as it is now would not make, or not with these settings, and
-- tell of them.
local function check_planned(it, runs, wrong)
  local seeds, planned = {}, {}
  for _, run in pairs(runs) do seeds[run.config.seed] = true end
  for _, run in ipairs(experiment.runs(it.experiment, it.profile, tree.keys(seeds))) do
    planned[base_name(run.dir)] = run
  end
  for _, name in ipairs(tree.keys(runs)) do
    local fault = not planned[name] and "the experiment has no such run now"
      or other_settings(runs[name].config, planned[name].cfg)
    if fault then
      wrong("%s: %s", name, fault)
      runs[name] = nil
    end
  end
  return tree.keys(seeds)
end

-- ------------------------------------------------------------------ comparison

-- The runs made again, in the order of their names.
local function made(runs, root)
  local out = {}
  for _, name in ipairs(tree.keys(runs)) do
    local dir = root .. "/" .. name
    if files.exists(dir .. "/manifest.json") then
      out[#out + 1] = results.run(dir)
    elseif files.exists(dir .. "/diverged.json") then
      out[#out + 1] = results.diverged(dir)
    end
  end
  return out
end

-- The lines of a table of values that are not those of the published one.
local function changed_cells(it, set, wrong)
  for _, entry in ipairs(render.entries(it.experiment, set)) do
    local t = render.description(it.experiment, entry, set)
    local before = {}
    for line in (t and files.read(("%s/%s.csv"):format(it.dir, entry.name)) or "")
      :gmatch "[^\n]+" do
      before[line] = true
    end
    for line in (t and tables.csv(t) or ""):gmatch "[^\n]+" do
      if line:sub(1, 1) ~= "#" and not before[line] then
        wrong("%s.csv: made again, a cell is %s", entry.name, line)
      end
    end
  end
end

-- The published set with the runs that were made again in place of the published ones.
local function merged(set, again)
  local by_name, runs = {}, {}
  for _, run in ipairs(again) do by_name[base_name(run.dir)] = run end
  for i, run in ipairs(set.runs) do
    local other = by_name[base_name(run.dir)]
    runs[i] = other and other.manifest and other or run
  end
  return setmetatable({ root = set.root, runs = runs, unfinished = set.unfinished,
    diverged = set.diverged }, getmetatable(set))
end

-- Compare runs that have the numerics of the published ones, bit by bit.
local function compare_bits(it, set, pairs_of, wrong)
  local again, faults = {}, 0
  for _, pair in ipairs(pairs_of) do
    again[#again + 1] = pair.now
    for _, difference in ipairs(pair.differences) do
      wrong("%s", agreement.line(difference))
      faults = faults + 1
    end
    if #pair.differences == 0 then it.same[#it.same + 1] = pair end
  end
  if faults > 0 then changed_cells(it, merged(set, again), wrong) end
  return faults
end

local function version_of(run) return (run:segments()[1] or {}).version end

-- The runs whose bits must be the published ones, in pairs, and the others: those with other
-- numerics, and those whose bits differ from an earlier version's, which may round otherwise.
local function sorted(it, runs)
  local same, others, versions = {}, {}, 0
  for _, run in ipairs(made(runs, it.root)) do
    local was = runs[base_name(run.dir)]
    local differences = agreement.comparable(was, run) and agreement.bits(was, run)
    if not differences then
      others[#others + 1] = run
    elseif #differences > 0 and version_of(was) ~= version_of(run) then
      others[#others + 1], versions = run, versions + 1
    else
      same[#same + 1] = { was = was, now = run, differences = differences }
    end
  end
  return same, others, versions
end

-- Tell how the processor's numerics may be those of the published runs.
local function say_numerics(runs, others, say)
  for _, run in ipairs(others) do
    local was, is = runs[base_name(run.dir)].manifest or {}, run.manifest or {}
    if was.isa and is.isa and (was.isa ~= is.isa or was.blas ~= is.blas) then
      say("  published with the instruction set %s and OpenBLAS's kernels %s, made again with %s "
        .. "and %s; FM_ISA=%s OPENBLAS_CORETYPE=%s in front of the command chooses the former, "
        .. "where the processor has them", was.isa, was.blas, is.isa, is.blas, was.isa, was.blas)
      return
    end
  end
end

local function compare(it, set, runs, say, wrong)
  local same, now, versions = sorted(it, runs)
  if #same > 0 and compare_bits(it, set, same, wrong) == 0 then
    say("  %s: the same bits", runs_text(#same))
  end
  if versions > 0 then
    say("  %s: other bits than those of the version that was published, see CHANGELOG.md",
      runs_text(versions))
  end
  if #now > 0 then
    say_numerics(runs, now, say)
    local differ, agree, open = agreement.intervals(set:all(), now)
    for _, difference in ipairs(differ) do wrong("%s", agreement.line(difference)) end
    say("  %s with other numerics, compared by interval: %d cells agree, %d differ, %d of one seed "
      .. "cannot be judged", runs_text(#now), agree, #differ, open)
  end
  local lost = #tree.keys(runs) - #same - #now
  if lost > 0 then wrong("%s could not be made again", runs_text(lost)) end
end

-- ------------------------------------------------------------------ what is kept

-- The clean revision that made a run, or nil and another that made a part of it.
local function revision_of(run)
  local first
  for _, part in ipairs(run:segments()) do
    first = first or part.revision
    local clean = part.revision ~= "unknown" and not part.revision:find "%-dirty$"
    if not clean or part.revision ~= first then return nil, part.revision end
  end
  return first, "unknown"
end

-- Keep the runs of all sets that have the same bits again. They are written last: a changed file
-- would spoil the revision of the runs that follow.
local function keep(list, dir, say)
  local lines = {}
  for _, it in ipairs(list) do
    for _, pair in ipairs(it.same) do
      local revision, other = revision_of(pair.now)
      if revision then
        lines[#lines + 1] = verified.line(pair.was, pair.now,
          ("%s/%s"):format(it.profile, it.experiment.name), revision)
      else
        say("%s is not kept: a part of it was made from the revision %s",
          base_name(pair.now.dir), other)
      end
    end
  end
  if #lines > 0 then say("%s kept in %s", runs_text(#lines), verified.keep(dir, lines)) end
end

-- ------------------------------------------------------------------ the command

-- Verify one set; returns the number of differences.
local function verify(it, args, status, say)
  local faults = 0
  it.same = {} -- pairs of runs that have the same bits
  local function wrong(...)
    faults = faults + 1
    say("  DIFFERS: %s", string.format(...))
  end
  say("%s", it.dir)
  local problems = publish.check(it.dir, it.experiment)
  for _, problem in ipairs(problems) do wrong("%s", problem) end
  if #problems == 0 then say "  its tables and values follow from its own runs" end
  it.faulty = #problems > 0
  if args.records or it.faulty then return faults end
  local set = results.copies(it.dir .. "/runs")
  local runs = published_runs(set, args)
  if not next(runs) then
    say "  it has no run of the seeds and methods that were asked for"
    return faults
  end
  it.chosen = true
  local seeds = check_planned(it, runs, wrong)
  it.root = experiment.root(it.experiment.name, it.profile)
  if args.runs then restrict(runs, args.runs, it.root) end
  if not next(runs) then
    say "  no run of it was chosen that could be made again"
    return faults
  end
  reproduce.make(status, say, { experiments = { it.experiment.path }, profile = it.profile,
    seeds = seeds, jobs = args.jobs, dry_run = args.dry_run,
    wanted = function(run) return runs[base_name(run.dir)] ~= nil end })
  if not args.dry_run then compare(it, set, runs, say, wrong) end
  return faults
end

-- Refuse seeds and methods that no set has: nothing was compared.
local function check_chosen(list, args)
  local chosen = args.records
  for _, it in ipairs(list) do chosen = chosen or it.chosen or it.faulty end
  if not chosen then errors.usage "verify: no published run has these seeds and methods" end
end

-- Refuse options that exclude each other or would have no effect.
local function check_options(args)
  if args.seed and args.seeds then
    errors.usage "verify: --seed and --seeds exclude each other"
  end
  for _, name in ipairs { "seed", "seeds", "methods", "runs", "jobs", "dry_run", "keep" } do
    if args.records and args[name] then
      errors.usage("verify: --records makes no run: --%s has no effect", (name:gsub("_", "-")))
    end
  end
  if args.dry_run and args.keep then
    errors.usage "verify: --dry-run makes no run: --keep has no effect"
  end
end

--- The command.
-- @tparam table args experiments = names or files, profile, results = the folder of the sets,
--   seed or seeds, methods, runs = how many, records = make no run, dry_run, jobs, keep = note runs
--   that have the same bits, out = folder of the new runs
-- @treturn integer exit code
function M.run(args)
  check_options(args)
  args.seeds = args.seed and { args.seed } or args.seeds
  settle_folder(args)
  local list, faults = chosen_sets(args), 0
  local out <close> = setmetatable({ was = experiment.base }, { __close = function(self)
    experiment.base = self.was
  end })
  assert(out)
  experiment.base = args.out
  fm.ignore_broken_pipes()
  local status <close> = Status.new()
  local function say(...) status:say(string.format(...)) end
  for _, it in ipairs(list) do faults = faults + verify(it, args, status, say) end
  check_chosen(list, args)
  if args.keep then keep(list, args.results, say) end
  if args.dry_run then return faults == 0 and 0 or errors.status.check end
  say("%s", faults == 0 and "nothing differs from what was published"
    or ("%d differences from what was published"):format(faults))
  return faults == 0 and 0 or errors.status.check
end

return M
