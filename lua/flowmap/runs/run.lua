--- One run from settings to files: train, evaluate, record where every number comes from.
-- @module flowmap.runs.run

local fm = require "flowmap"
local Progress = require "flowmap.base.progress"
local cache = require "flowmap.runs.cache"
local checkpoint = require "flowmap.checkpoint"
local data = require "flowmap.data"
local errors = require "flowmap.base.errors"
local escape = require "flowmap.base.escape"
local evaluate = require "flowmap.measure.evaluate"
local files = require "flowmap.base.files"
local folder = require "flowmap.runs.folder"
local jobs = require "flowmap.job"
local numerics = require "flowmap.runs.numerics"
local place = require "flowmap.experiment.place"
local ranks = require "flowmap.base.ranks"
local record = require "flowmap.runs.record"
local rehearse = require "flowmap.runs.rehearse"
local revision = require "flowmap.runs.revision"
local settings = require "flowmap.experiment.settings"
local trainer = require "flowmap.trainer"
local tree = require "flowmap.tree"

local M = {}

-- The files from which a run continues.
local CONTINUED = { "config.json", "inputs.json", "checkpoint.safetensors", "metrics.jsonl",
  "history.jsonl", "chain.jsonl" }

-- Tell the user, unless `reproduce` started this process and reports its progress itself.
local function say(...)
  if not Progress.reports then io.stdout:write(string.format(...), "\n") end
end

local function now() return os.date "!%Y-%m-%dT%H:%M:%SZ" end

local function manifest(job, inputs, result, sums)
  local cfg, info, last = job.cfg, fm.info(), job.history[#job.history]
  local inputs_hash = cache.hash(inputs)
  return {
    experiment = cfg.experiment, profile = cfg.profile, method = cfg.method, seed = cfg.seed,
    steps = job.done, samples_seen = job.done * cfg.batch,
    wall_s = jobs.seconds(job.wall_s), cpu_s = jobs.seconds(job.cpu_s),
    dataset = { name = cfg.data, title = job.set.title or cfg.data, size = cfg.dataset_size,
      hash = job.set.hash or data.hash(job.set), count = job.set.count },
    revision = last.revision, version = info.version, isa = info.isa, blas = info.blas,
    precision = cfg.precision, bfloat16 = last.bfloat16, fingerprint = last.fingerprint,
    threads = info.threads, params = tree.count(job.params), inputs_hash = inputs_hash,
    checkpoint_rule = result.rule, ema = result.ema, started = job.history[1].time,
    finished = now(), peak_bytes = info.peak, history = job.history, files = sums,
    id = record.id(inputs_hash, sums),
  }
end

-- A checkpoint from elsewhere may fit the network. (sigma = 0 is completed by a run.)
local function check_saved(saved, cfg)
  for _, key in ipairs(tree.keys(cfg)) do
    local was, is = settings.text(saved.cfg[key]), settings.text(cfg[key])
    if cache.counts(key) and was ~= is and not (key == "sigma" and cfg.sigma == 0) then
      errors.data("%s is of another run: %s is %s in it, expected %s", saved.path, key, was, is)
    end
  end
end

local function load_saved(dir, cfg)
  local path = dir .. "/checkpoint.safetensors"
  local ok, saved = pcall(checkpoint.load, path)
  if not ok then
    if type(saved) == "table" and saved.code == "data" and files.exists(path .. ".prev") then
      errors.data("%s; %s.prev is the one before: given its name, the run continues from there",
        saved.message, path)
    end
    error(saved, 0)
  end
  check_saved(saved, cfg)
  say("resuming after step %d", saved.step)
  io.stdout:flush() -- a log shows it before the first progress, which may come much later
  return saved
end

-- Emulated bfloat16 products give the same numbers at another speed.
local function note_precision(cfg)
  if cfg.precision == "bfloat16" and fm.info().bfloat16 == "emulated" then
    say("note: bfloat16 products are emulated here, without instructions for them (AVX512_BF16, "
      .. "FEAT_BF16 of Arm), and slower than those of float32; precision = float32 is faster here")
  end
end

-- The folder of a new run. Its contents are put aside first, unless they are only the beginning of
-- the same run, before its first checkpoint (`begun`). If the folder was not locked, because it did
-- not exist, another process may have made a run in it while this one rehearsed.
local function fresh(dir, held, begun)
  if held and (begun or not folder.has_work(dir)) then return held end
  if held then
    say("%s: its contents are put aside in %s", dir, folder.put_aside(dir))
    held:release()
  end
  held = folder.make(dir)
  if folder.has_work(dir) then
    held:release()
    errors.usage("%s: another process has made a run there meanwhile, which is left as it is", dir)
  end
  return held
end

-- Runs are deterministic: this one would diverge again, so the divergence is its result.
local function keep_divergence(job, dir, message)
  folder.check(dir)
  local kept = { ["config.json"] = true, ["inputs.json"] = true, ["metrics.jsonl"] = true,
    ["history.jsonl"] = true, ["chain.jsonl"] = true }
  record.write(dir, "diverged", { step = job.done + 1, message = message,
    files = record.checksums(dir, function(name) return kept[name] end) })
end

-- If the evaluation fails, say how to continue without repeating the training.
local function note_trained(job, dir, err)
  if job.done < job.cfg.steps or type(err) == "table" and err.code == "interrupted" then return end
  if not folder.holds(dir) then return end
  say("the training is finished and kept in %s: once the cause is fixed, declare the change by\n"
    .. "flowmap accept %s --experiment %s --why TEXT, and --resume only evaluates", dir,
    escape.word(dir), escape.word(job.experiment.path))
end

-- Train and evaluate; record a divergence before passing the error on.
local function make(job, dir, how)
  local ok, result = errors.pcall(function()
    trainer.train(job, dir, how)
    local before = fm.clock()
    local it = evaluate.run(job, dir)
    folder.check(dir)
    job.wall_s = job.wall_s + fm.clock() - before
    return it
  end)
  if ok then return result end
  if type(result) == "table" and result.code == "numeric" and not result.of_metric then
    keep_divergence(job, dir, result.message)
  else
    note_trained(job, dir, result)
  end
  error(result, 0)
end

-- Tell about changed hardware or sources; the manifest keeps them. A version that leaves the
-- fingerprint as it was has the same numerics.
local function note_changes(starts)
  local was, is = starts[#starts - 1], starts[#starts]
  local same = was and was.fingerprint and was.fingerprint == is.fingerprint
  for _, key in ipairs { "isa", "blas", "bfloat16", "fingerprint", "version" } do
    if was and was[key] ~= is[key] then
      say("note: %s was %s up to step %d and is %s from there on; %s, and the manifest says so",
        key, tostring(was[key]), is.step, tostring(is[key]),
        same and "the fingerprint of the numerics is the same"
          or "the bits are not those of an uninterrupted run")
    end
  end
end

-- The checkpoints of the students that taught this one, by their number of steps.
local function students_of(cfg, stages)
  local students = {}
  for _, stage in ipairs(stages or {}) do
    if stage.cfg.method == cfg.method then
      students[stage.cfg.student_steps] = stage.dir .. "/checkpoint.safetensors"
    end
  end
  return students
end

-- Refuse ranks that would not compute the same: their machines have other numerics, data, sources
-- or variables of the environment than that of the first. What a part reads when it is called is
-- known only after the rehearsal.
local function check_equal(inputs, dir)
  if ranks.count == 1 then return end
  local own = setmetatable({}, getmetatable(inputs))
  for key, value in pairs(inputs) do own[key] = value end
  cache.add_loaded(own, dir)
  local first = ranks.from_first(function() return own end)
  ranks.parts(ranks.count, function()
    local changes = cache.differences(first, own)
    if #changes > 0 then
      errors.data("rank %d cannot share the run of the first rank: %s%s", ranks.rank,
        table.concat(changes, "; ", 1, math.min(3, #changes)),
        first.fingerprint ~= own.fingerprint and "; " .. numerics.REMEDY or "")
    end
    return {}
  end)
end

local function execute(experiment, cfg, it)
  local dir = it.dir
  note_precision(cfg)
  local how = { about = { revision = revision.now(), fingerprint = it.inputs.fingerprint },
    on_start = note_changes }
  local saved = it.resume and load_saved(dir, cfg) or nil
  local job = place.within(experiment.path, { quoted = true }, function()
    local made = trainer.new(experiment, cfg, saved)
    made.students = students_of(cfg, it.stages)
    rehearse.check(made, cfg)
    return made
  end)
  check_equal(it.inputs, dir)
  local held <close> = it.resume and it.held or fresh(dir, it.held, it.begun) -- luacheck: ignore
  if not it.resume then record.write(dir, "config", job.cfg) end
  local result
  do -- files loaded only for the records are not inputs
    local recording <close> = cache.record(dir, it.inputs, it.resume) -- luacheck: ignore
    result = make(job, dir, how)
  end
  -- The last checkpoint is complete; which one is kept before it depends on the clock.
  os.remove(dir .. "/checkpoint.safetensors.prev")
  record.write(dir, "manifest", manifest(job, it.inputs, result, record.checksums(dir)))
  return result
end

-- A line per N with the judge's columns.
local function report(result, dir)
  local head = { ("%5s"):format "N" }
  for _, column in ipairs(result.columns) do head[#head + 1] = ("%10s"):format(column[2]) end
  say("%s", table.concat(head, "  "))
  for _, row in ipairs(result.rows) do
    local line = { ("%5d"):format(row.N) }
    for _, column in ipairs(result.columns) do
      line[#line + 1] = ("%10s"):format(column[3]:format(row[column[1]]))
    end
    say("%s", table.concat(line, "  "))
  end
  say("written to %s", dir)
end

-- The decision about a run, see cache.decide; the first rank, which alone has to see the folder,
-- decides. With --force, unreadable records are put aside.
local function decide(dir, inputs, how)
  if how.force then return "run", "--force" end
  local ok, action, why, begun = pcall(ranks.from_first, function()
    return cache.decide(dir, inputs)
  end)
  if ok then return action, why, begun end
  if type(action) == "table" and action.code == "data" then
    errors.data("%s; --force puts the run aside and makes it again", action.message)
  end
  error(action, 0)
end

-- Check that --resume is given where a run resumes, and only there. To the stages of a run it only
-- applies where they were interrupted; an element of a job array always continues.
local function check_resume(dir, action, why, how)
  if how.element then return end
  local work = files.exists(dir .. "/checkpoint.safetensors")
  if how.resume and not how.force and action == "run" and work and not how.stage then
    errors.usage("cannot resume %s: %s; run it without --resume to start over, or declare by "
      .. "flowmap accept that the change does not matter", dir, why)
  elseif action == "resume" and not how.resume then
    errors.usage("%s holds this run, interrupted: --resume continues it, --force puts it aside and "
      .. "starts over", dir)
  end
end

-- An experiment with a `run` of its own keeps no records that would show whether a result is
-- current.
local function run_own(experiment, cfg, dir, how)
  if ranks.count > 1 then
    errors.usage("%s has a `run` of its own, which is one process, found %d ranks of a launcher",
      experiment.path, ranks.count)
  end
  local held = folder.take(dir)
  if held and folder.has_work(dir) and how.element then how.resume = true end
  if held and folder.has_work(dir) and not (how.resume or how.force) then
    held:release()
    errors.usage("%s holds a run: --resume continues it, --force puts it aside and starts over",
      dir)
  end
  if not (how.resume and held) then held = fresh(dir, held) end
  local _ <close> = held
  return experiment.run(cfg, dir, how)
end

-- Make a stage, unless there is a current result. The decision takes no lock, because other runs
-- may share the stage.
local function make_stage(experiment, stage, how)
  local action, why = decide(stage.dir, cache.inputs(experiment, stage.cfg), how)
  if action == "reuse" then return say("%s reused: %s", stage.dir, why) end
  M.make(experiment, stage.cfg, stage.dir, how)
end

-- Make the stages of a run, see flowmap.experiment.stages. One that diverged cannot teach.
local function make_stages(experiment, how)
  for i, stage in ipairs(how.stages) do
    say("stage %d of %d", i, #how.stages)
    local before = table.move(how.stages, 1, i - 1, 1, {})
    local ok, err = errors.pcall(make_stage, experiment, stage,
      { resume = how.resume, stage = true, stages = before })
    if not ok and type(err) == "table" and err.code == "numeric" then
      errors.numeric("%s, which is the teacher, diverged: %s", stage.dir, err.message)
    elseif not ok then
      error(err, 0)
    end
  end
end

-- Check that the stages of a run, which other jobs make, have results.
local function check_stages(experiment, how)
  for _, stage in ipairs(how.stages) do
    local action, why = decide(stage.dir, cache.inputs(experiment, stage.cfg), how)
    if action == "diverged" then
      errors.numeric("it does not run: %s, its teacher, diverged", stage.dir)
    elseif action ~= "reuse" then
      errors.data("it does not run: %s, its teacher, has no result: %s", stage.dir, why)
    end
  end
end

--- Run, unless there is a current result; first its stages, if it has some.
-- @tparam table experiment
-- @tparam table cfg resolved settings
-- @tparam string dir
-- @tparam[opt] table how { resume = boolean, force = boolean, stages = see experiment.staged,
--   made = whether `reproduce` has made the stages, element = whether it is one of a job array,
--   whose stages are others }
function M.run(experiment, cfg, dir, how)
  how = how or {}
  how.stages = how.stages or {}
  dir = folder.name(dir)
  local is_run = ranks.from_first(function()
    return folder.is_run(dir) or folder.was_begun(dir)
  end)
  if how.resume and not is_run and #how.stages == 0 then
    errors.usage("there is no run at %s that could be resumed", dir)
  end
  if experiment.run then return run_own(experiment, cfg, dir, how) end
  if how.element then check_stages(experiment, how) elseif not how.made then
    make_stages(experiment, how)
  end
  M.make(experiment, cfg, dir, how)
end

-- Decide about a run, see cache.decide, and take its folder; the first rank decides.
local function begin(dir, inputs, how)
  local held
  local ok, action, why, begun = errors.pcall(ranks.from_first, function()
    held = folder.take(dir)
    local action, why, begun = decide(dir, inputs, how)
    check_resume(dir, action, why, how)
    return action, why, begun
  end)
  if ok then return held, action, why, begun end
  if held then held:release() end -- a refused run leaves its folder to others of this process
  error(action, 0)
end

-- Ranks beside the first keep their records in a private folder, which is removed at the end. There
-- they get what a run continues from.
local function own_folder(dir, action)
  if ranks.first then
    if action == "resume" then ranks.copy_files(dir, dir, CONTINUED) end
    return dir
  end
  local own, removed = fm.private_folder()
  local held = folder.make(own)
  if action == "resume" then ranks.copy_files(dir, own, CONTINUED) end
  return own, held, removed
end

--- As `run`, where the stages have been made.
-- @tparam table experiment
-- @tparam table cfg resolved settings
-- @tparam string dir
-- @tparam table how as for `run`; stage = whether this run is a stage of another
function M.make(experiment, cfg, dir, how)
  local inputs = cache.inputs(experiment, cfg)
  check_equal(inputs, dir)
  local held <close>, action, why, begun = begin(dir, inputs, how)
  local words = { reuse = "reused", resume = "resumes", run = "runs", diverged = "diverged" }
  say("%s %s: %s", dir, words[action], why)
  if action == "diverged" then
    errors.numeric("%s", why)
  elseif action == "reuse" then
    if ranks.first then report(record.need(dir, "eval"), dir) end
  else
    local own, its, removed = own_folder(dir, action)
    local _ <close> = removed
    local taken <close> = its or held -- luacheck: ignore
    report(execute(experiment, cfg, { dir = own, inputs = inputs, held = taken,
      stages = how.stages, resume = action == "resume", begun = begun }), dir)
  end
end

-- A machine is called busy if steps are so many times slower, and a run so many seconds longer.
local BUSY, LONG = 1.5, 10

local function span(seconds)
  return seconds < 60 and ("%.1f s"):format(seconds) or Progress.duration(seconds)
end

--- Estimate memory and time of a run without running it. Time is that of an idle machine.
-- @tparam table experiment
-- @tparam table cfg resolved settings
-- @tparam string dir where the run would go
-- @tparam {table,...} stages see experiment.staged
-- @tparam[opt] boolean as_json print what `estimate.measure` returned, on one line
function M.dry_run(experiment, cfg, dir, stages, as_json)
  folder.is_run(folder.name(dir)) -- refuses a folder that is not ours
  numerics.keep = false -- nothing is written, not even a cache
  if experiment.run then
    errors.usage("%s trains no flow map, and has no --dry-run", experiment.path)
  end
  local estimate = require "flowmap.runs.estimate"
  local pace = estimate.measure(experiment, cfg, stages)
  if as_json then
    pace.train_s, pace.evaluation_s, pace.all_cpu_s = estimate.seconds(cfg, pace)
    io.stdout:write(require("flowmap.base.json").encode(pace), "\n")
    return
  end
  local train, evaluation, cpu = estimate.seconds(cfg, pace)
  local busy = pace.now_s * cfg.batch * cfg.steps
  say("experiment   %s, profile %s, method %s, seed %d", cfg.experiment, cfg.profile, cfg.method,
    cfg.seed)
  say("folder       %s", dir)
  for _, stage in ipairs(stages) do say("first        %s", stage.dir) end
  say("parameters   %d", pace.params)
  say("memory       %.0f MiB with %d threads", pace.memory / 2^20, pace.threads)
  say("disk         %.1f MiB", pace.disk / 2^20)
  say("step         %.2f ms, %.0f samples/s", 1e3 * pace.sample_s * cfg.batch, 1 / pace.sample_s)
  say("start        loading, tracing, rehearsal, about %s", span(pace.start_s))
  say("training     %d steps of %d samples, about %s", cfg.steps, cfg.batch, span(train))
  say("evaluation   %d evaluations of the map, about %s", evaluate.evaluations(cfg),
    span(evaluation))
  say("in all       about %s, of processors %s", span(pace.start_s + train + evaluation),
    span(cpu))
  if busy > BUSY * train and busy - train > LONG then
    say("note: this machine is busy: at its present pace the training would take %s", span(busy))
  end
end

return M
