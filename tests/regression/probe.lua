--- A case: one short training, and what the first two tiers compare of it.
-- @module probe

local fm = require "flowmap"
local chain = require "flowmap.runs.chain"
local checkpoint = require "flowmap.checkpoint"
local core = require "flowmap.core"
local losses = require "flowmap.losses"

local M = {}

--- The first steps, whose loss and gradient norm are stored.
M.TRACED = 20

local SEED, STEPS, TAUGHT = 101, 100, 40 -- seed of all cases; steps of a case; of its teacher
local SAMPLES = 64

local loaded = {} -- path -> experiment

--- The experiment of a study.
-- @tparam table study see studies.lua
-- @treturn table
function M.experiment(study)
  local path = study.experiment
  loaded[path] = loaded[path] or fm.experiment.load(path)
  return loaded[path]
end

--- The name of a study.
-- @tparam table study
-- @treturn string
function M.name(study) return study.name or M.experiment(study).name end

--- The methods of a study.
-- @tparam table study
-- @treturn {string,...}
function M.methods(study)
  if study.methods == "all" then return losses.names() end
  return study.methods or M.experiment(study).methods
end

--- The names of all cases, also of those that this machine does not train.
-- @tparam {table,...} list see studies.lua
-- @treturn table "STUDY/METHOD" -> true
function M.names(list)
  local names = {}
  for _, study in ipairs(list) do
    for _, method in ipairs(M.methods(study)) do names[M.name(study) .. "/" .. method] = true end
  end
  return names
end

--- The instruction sets of this machine, the simplest first.
-- @treturn {string,...}
function M.isas()
  local list, now = {}, core.info().isa
  for _, name in ipairs { "scalar", "avx2", "avx512", "neon" } do
    local known, used = pcall(core.set_isa, name) -- those of other architectures are unknown
    if known and used == name then list[#list + 1] = name end
  end
  core.set_isa(now)
  return list
end

-- ------------------------------------------------------------------ the training

local folder, guard -- of teachers; removed when the program ends

local function merged(...)
  local out = {}
  for _, set in ipairs { ... } do
    for key, value in pairs(set) do out[key] = value end
  end
  return out
end

-- A checkpoint of the method that teaches another, trained for a few steps.
local function teacher(study, method, seed)
  if not folder then folder, guard = core.private_folder() end
  local path = ("%s/%s-%s-%d-%s.safetensors"):format(folder, M.name(study), method, seed,
    core.info().isa)
  local job = M.job(study, method, { seed = seed, set = { steps = TAUGHT } })
  for _ = 1, TAUGHT do fm.trainer.step(job) end
  checkpoint.save_weights(path, job, job.params, TAUGHT)
  return path
end

--- A job of a study.
-- @tparam table study
-- @tparam string method
-- @tparam table how { seed =, set = settings over those of the study }
-- @treturn table job see flowmap.job
function M.job(study, method, how)
  local it = M.experiment(study)
  local row = losses.find(method, it.losses).row
  local set = merged({ steps = study.steps or STEPS }, study.set or {},
    study.by_method and study.by_method[method] or {}, how.set or {})
  if row and row.taught_by then set.teacher = teacher(study, row.taught_by, how.seed) end
  local cfg = fm.experiment.resolve(it, { profile = study.profile or "smoke", method = method,
    seed = how.seed, set = set })
  return fm.trainer.new(it, cfg)
end

-- ------------------------------------------------------------------ what is compared

local function total(job, terms)
  local sum, rows = 0, 0
  for _, term in ipairs(job.terms) do
    if not term.beside then sum, rows = sum + terms[term.name], rows + term.rows end
  end
  return sum / rows
end

-- Samples of the averaged weights, by two numbers of steps.
local function samples(job)
  local bits, squares = {}, {}
  for i, N in ipairs { 1, 3 } do
    local x = fm.sampler.generator(job, job.opt:ema(1), N)(SAMPLES, 1)
    bits[i] = core.sha256(x:bytes())
    squares[i] = fm.mean(fm.square(fm.cast(x, "float64"))):item()
  end
  return core.sha256(table.concat(bits)), squares
end

--- Train a case on the instruction set in use.
-- @tparam table study
-- @tparam string method
-- @treturn table { bits = "STATE SAMPLES", the hashes of weights, moments and averages after the
--   last step and of samples from the averages; loss = and norm = lists, samples = mean squares of
--   the samples by 1 and 3 steps, bytes = of arena and partial sums }
function M.case(study, method)
  local job = M.job(study, method, { seed = SEED })
  local out = { loss = {}, norm = {} }
  for k = 1, study.steps or STEPS do
    local it = fm.trainer.step(job)
    if k <= M.TRACED then out.loss[k], out.norm[k] = total(job, it.terms), it.norm end
  end
  local state = chain.state(chain.tensors(job))
  local drawn, squares = samples(job)
  out.samples = squares
  out.bits = ("%s %s"):format(state:sub(1, 16), drawn:sub(1, 16))
  local stats = job.program:stats(job.cfg.batch)
  out.bytes = stats.arena + stats.sums
  return out
end

--- The key of bits in the baseline: what they may depend on besides the sources.
-- @treturn string
function M.numerics()
  local info = core.info()
  return ("%s %s"):format(info.isa, info.blas)
end

--- Remove the teachers.
function M.close()
  if guard then guard:close() end
  folder, guard = nil, nil
end

return M
