--- One run from settings to files: train, evaluate, record where every number comes from.
-- @module flowmap.run

local fm = require "flowmap"
local cache = require "flowmap.cache"
local checkpoint = require "flowmap.checkpoint"
local data = require "flowmap.data"
local errors = require "flowmap.errors"
local evaluate = require "flowmap.evaluate"
local files = require "flowmap.files"
local json = require "flowmap.json"
local lfs = require "lfs"
local sampler = require "flowmap.sampler"
local trainer = require "flowmap.trainer"
local tree = require "flowmap.tree"

local M = {}

local function say(...) io.stdout:write(string.format(...), "\n") end

local function now() return os.date "!%Y-%m-%dT%H:%M:%SZ" end

-- The project's revision, or "unknown" outside a working copy.
local function revision()
  local folder = package.searchpath("flowmap.run", package.path):match "^(.*)/" or "."
  local command = ("git -C %s describe --always --dirty --abbrev=12 2>/dev/null"):format(
    files.quote(folder))
  local pipe <close> = assert(io.popen(command))
  return pipe:read "l" or "unknown"
end

local function manifest(job, inputs, started, result)
  local cfg, info = job.cfg, fm.info()
  return {
    experiment = cfg.experiment, profile = cfg.profile, method = cfg.method, seed = cfg.seed,
    steps = job.done, samples_seen = job.done * cfg.batch, wall_s = job.wall_s,
    dataset = { name = cfg.data, title = job.set.title or cfg.data, size = cfg.dataset_size,
      hash = job.set.hash or data.hash(job.set), count = job.set.count },
    revision = revision(), version = info.version, isa = info.isa, blas = info.blas,
    precision = cfg.precision, bfloat16 = cfg.precision == "bfloat16" and info.bfloat16 or nil,
    threads = info.threads, params = tree.count(job.params), inputs_hash = cache.hash(inputs),
    checkpoint_rule = result.rule, ema = result.ema, started = started, finished = now(),
    peak_bytes = info.peak,
  }
end

-- Results of an earlier run must not outlive the inputs they were made from.
local function clear(dir)
  for _, name in ipairs { "eval.json", "manifest.json", "metrics.jsonl", "inputs.json",
    "diverged.json", "checkpoint.safetensors", "checkpoint.safetensors.prev" } do
    os.remove(dir .. "/" .. name)
  end
  for name in lfs.dir(dir) do
    if name:find "^weights%-%d+%.safetensors" then os.remove(dir .. "/" .. name) end
  end
end

local function load_saved(dir)
  local saved = checkpoint.load(dir .. "/checkpoint.safetensors")
  say("resuming after step %d", saved.step)
  return saved
end

-- Without the processor's own products the numbers are the same, but the speed is not.
local function note_precision(cfg)
  if cfg.precision == "bfloat16" and fm.info().bfloat16 == "emulated" then
    say("note: bfloat16 products without AVX512_BF16 are made of float32 ones and slower than "
      .. "those; precision = float32 is faster here")
  end
end

local function execute(experiment, cfg, dir, inputs, resume)
  local started = now()
  note_precision(cfg)
  local job = trainer.new(experiment, cfg, resume and load_saved(dir) or nil)
  if not resume then
    files.mkdir(dir)
    clear(dir)
    fm.write_file(dir .. "/config.json", json.encode(job.cfg, "") .. "\n")
    cache.record(dir, inputs)
  end
  local ok, result = pcall(function()
    trainer.train(job, dir)
    local before = fm.clock()
    local it = evaluate.run(job, dir)
    job.wall_s = job.wall_s + fm.clock() - before
    return it
  end)
  if not ok then
    -- Everything is deterministic: the same run would diverge again, so that is its result.
    if type(result) == "table" and result.code == "numeric" then
      fm.write_file(dir .. "/diverged.json",
        json.encode({ step = job.done + 1, message = result.message }, "") .. "\n")
    end
    error(result, 0)
  end
  fm.write_file(dir .. "/manifest.json",
    json.encode(manifest(job, inputs, started, result), "") .. "\n")
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

--- Make a run unless a current result is there.
-- @tparam table experiment
-- @tparam table cfg resolved settings
-- @tparam string dir
-- @tparam[opt] table how { resume = boolean, force = boolean }
function M.run(experiment, cfg, dir, how)
  how = how or {}
  if experiment.run then return experiment.run(cfg, dir, how) end
  local inputs = cache.inputs(experiment, cfg)
  local action, why = cache.decide(dir, inputs)
  if how.force and action ~= "run" then action, why = "run", "--force" end
  if how.resume and action == "run" and files.exists(dir .. "/checkpoint.safetensors") then
    errors.usage("cannot resume %s: %s; run it without --resume to start anew", dir, why)
  end
  if action == "resume" and not how.resume then
    action, why = "run", "an interrupted one is there, but --resume was not given"
  end
  local words = { reuse = "reused", resume = "resumes", run = "runs", diverged = "diverged" }
  say("%s %s: %s", dir, words[action], why)
  if action == "diverged" then
    errors.numeric("%s", why)
  elseif action == "reuse" then
    report(json.read(dir .. "/eval.json"), dir)
  else
    report(execute(experiment, cfg, dir, inputs, action == "resume"), dir)
  end
end

-- Seconds per training sample and per evaluation of the map for a sample, from a small batch.
local function pace(experiment, cfg)
  local small = {}
  for key, value in pairs(cfg) do small[key] = value end
  small.batch = math.min(cfg.batch, 2048)
  local job = trainer.new(experiment, small)
  trainer.step(job) -- the first step also traces and plans
  local start, steps = fm.clock(), 0
  repeat
    trainer.step(job)
    steps = steps + 1
  until steps == 20 or fm.clock() - start > 1
  local train = (fm.clock() - start) / (steps * small.batch)
  local draw, count = sampler.generator(job, job.params, 1), job.set.shape and 64 or 2048
  draw(count, 0)
  start = fm.clock()
  draw(count, 1)
  return job, train, (fm.clock() - start) / count
end

--- Tell memory and time of a run without making it: a few small steps are timed. Micro-batches are
-- those of the run, so that the memory is, too.
-- @tparam table experiment
-- @tparam table cfg resolved settings
-- @tparam string dir where the run would go
function M.dry_run(experiment, cfg, dir)
  if experiment.run then
    errors.usage("%s trains no flow map, and has no --dry-run", experiment.path)
  end
  local job, train, map = pace(experiment, cfg)
  local info, duration = fm.info(), require("flowmap.progress").duration
  local evaluations = evaluate.evaluations(cfg)
  say("experiment   %s, profile %s, method %s, seed %d", cfg.experiment, cfg.profile, cfg.method,
    cfg.seed)
  say("folder       %s", dir)
  say("parameters   %d", tree.count(job.params))
  say("memory       %.0f MiB with %d threads", info.peak / 2^20, info.threads)
  say("step         %.2f ms, %.0f samples/s", 1e3 * train * cfg.batch, 1 / train)
  say("training     %d steps of %d samples, about %s", cfg.steps, cfg.batch,
    duration(train * cfg.batch * cfg.steps))
  say("evaluation   %d evaluations of the map, about %s", evaluations,
    duration(map * evaluations))
end

return M
