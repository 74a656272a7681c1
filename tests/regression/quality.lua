--- The third tier: is a changed training worse? Small trainings are compared with stored ones,
-- which the code made as it was.
--
-- A cell is a method with a number of sampling steps; its value is the logarithm of KL(data ||
-- model), or of the sliced Wasserstein distance where no exact law is known. A question asks about
-- the mean y over the cells of a study, or of one method. New seeds are paired with stored ones: of
-- n new values y and the S stored ones z, of which the first n are their partners,
--
--     D = mean of y_i - (m + b (z_i - m)),   m = mean of all z,   b = 1/2
--
-- estimates the change. A partner's deviation is subtracted by half, the best choice if values of
-- equal seeds correlate by 1/2; all of it (b = 1) would make the verdict depend on the luck of n
-- stored seeds. In the gate partners have equal seeds, so initial weights and random numbers are
-- the same where the change leaves them alone. A correlation only reduces the variance of D; the
-- level is computed without one, where T = D / (s sqrt(1/n + b^2/n + (1 - b^2)/S)), with the
-- standard deviation s of the stored values, has the law of Student's t with S - 1 degrees of
-- freedom.
--
-- Looks are taken after 3 and after 6 seeds. Of 1/200, the probability of an alarm of any question
-- when nothing has become worse, half goes to the studies and half to their methods, in equal
-- parts; each part is spent over the two looks as in flowmap.measure.sequential. After three seeds
-- a study ends as well if no T exceeds 1/2, which costs less than 1 % of the power.
-- @module quality

local fm = require "flowmap"
local data = require "flowmap.data"
local metrics = require "flowmap.measure.metrics"
local power = require "flowmap.measure.power"
local probe = require "probe"
local sequential = require "flowmap.measure.sequential"
local sliced = require "flowmap.measure.sliced"
local stats = require "flowmap.measure.stats"

local M = { ALPHA = 1 / 200, LOOKS = { 3, 6 }, STORED = 24, FIRST = 201, CALM = 0.5, SHARE = 0.5 }

local STEPS, POINTS, PARTS = 400, 20000, 10 -- default steps; samples of a cell; parts of a curve
local BINS, IMAGES = 32, 256

-- ------------------------------------------------------------------ trainings

--- The trainings of tier 3 for a study, or nil.
-- @tparam table study see studies.lua
-- @treturn ?table a study of its own
function M.plan(study)
  local it = study.quality
  if it == false then return nil end
  it = it or {}
  return { name = probe.name(study), experiment = study.experiment, profile = study.profile,
    set = it.set or study.set, by_method = study.by_method, steps = it.steps or STEPS,
    methods = it.methods or probe.methods(study), N = it.N or { 1, 4 }, metric = it.metric }
end

local function flat(x)
  local width = 1
  for axis = 2, #x.shape do width = width * x.shape[axis] end
  return fm.reshape(x, { x.shape[1], width })
end

local known = {} -- masses and reference samples, by the data set's name

-- The function (samples) -> distance of a job's data.
local function distance(job, metric)
  local set, name = job.set, job.cfg.data
  metric = metric or (set.mass and not set.shape and "kl" or "sliced")
  if metric == "kl" then
    known[name] = known[name] or metrics.masses(set, BINS)
    return function(x) return metrics.kl(known[name], metrics.histogram(x, BINS, set)) end, POINTS
  end
  local count = set.shape and math.min(IMAGES, set.count) or POINTS // 10
  known[name] = known[name] or flat(set.shape and data.images(set, set.table, fm.arange(count))
    or data.draw(set, count, 1))
  return function(x)
    return sliced.distance(flat(x), fm.slice(known[name], 1, 1, x.shape[1]))
  end, count
end

--- Train once.
-- @tparam table plan
-- @tparam string method
-- @tparam integer seed
-- @treturn table { logs = of the cells, in the order of plan.N, curve = logs of the last cell
--   after each tenth of the steps, from a quarter of the samples }; infinity where it diverged
function M.train(plan, method, seed)
  local job = probe.job(plan, method, { seed = seed })
  local measure, count = distance(job, plan.metric)
  local draw, out = {}, { logs = {}, curve = {} }
  for i, N in ipairs(plan.N) do draw[i] = fm.sampler.generator(job, job.opt:ema(1), N) end
  local function log(i, n)
    local value = measure(draw[i](n, 1))
    return value == value and value > 0 and math.log(value) or math.huge
  end
  local ok = pcall(function()
    for k = 1, plan.steps do
      fm.trainer.step(job)
      if k % (plan.steps // PARTS) == 0 then
        out.curve[#out.curve + 1] = log(#draw, count // 4)
      end
    end
  end)
  for i in ipairs(plan.N) do out.logs[i] = ok and log(i, count) or math.huge end
  out.batch = job.cfg.batch
  return out
end

-- ------------------------------------------------------------------ questions

local function mean(list)
  local sum = 0
  for _, x in ipairs(list) do sum = sum + x end
  return sum / #list
end

-- The value of a seed for a question: the mean over the methods of their mean log.
local function value_of(question, runs)
  local values = {}
  for i, method in ipairs(question.methods) do values[i] = mean(runs[method].logs) end
  return mean(values)
end

-- Boundaries of T at the looks for a one-sided level, with the smallest shift that is found with
-- probability 0.9 at the last look, in units of the standard error.
local function boundaries(alpha, df)
  local first, last = table.unpack(M.LOOKS)
  local rule = sequential.rule { first = first, by = last - first, cap = last, half = 0,
    alpha = 2 * alpha }
  local bounds = {}
  for _, n in ipairs(M.LOOKS) do bounds[n] = stats.t_quantile(df, 1 - rule.levels[n]) end
  local low, high = 0, 60
  for _ = 1, 40 do
    local mid = (low + high) / 2
    if power.t_power(df, mid, rule.levels[last]) < 0.9 then low = mid else high = mid end
  end
  return bounds, high
end

-- The standard error of D.
local function standard_error(question, n)
  local b2 = M.SHARE ^ 2
  return question.sd * math.sqrt((1 + b2) / n + (1 - b2) / question.count)
end

--- Set mean and spread of a question, and the loss that can be found, from stored runs.
-- @tparam table question with bounds and delta
-- @tparam {table,...} runs
function M.measure(question, runs)
  local values = {}
  for i, it in ipairs(runs) do values[i] = value_of(question, it) end
  local s = stats.summary(values)
  question.mean, question.sd, question.count = s.mean, s.sd, s.n
  question.smallest = math.exp(question.delta * standard_error(question, M.LOOKS[2])) - 1
end

--- The questions about all stored studies.
-- @tparam table bank study -> { methods =, runs = { seed -> method -> what `train` returned } }
-- @treturn {table,...} { study =, name =, methods =, mean =, sd =, count = of the stored values,
--   bounds = look -> T,
--   delta = the shift of T that is found with probability 0.9, smallest = that as a relative
--   increase of the distance }
function M.questions(bank)
  local list, methods, studies = {}, 0, 0
  for _, study in ipairs(fm.tree.keys(bank)) do
    local it = bank[study]
    studies, methods = studies + 1, methods + #it.methods
    list[#list + 1] = { study = study, name = study, methods = it.methods }
    for _, method in ipairs(it.methods) do
      list[#list + 1] = { study = study, name = study .. "/" .. method, methods = { method } }
    end
  end
  for _, question in ipairs(list) do
    local parts, runs = question.name == question.study and studies or methods,
      bank[question.study].runs
    question.bounds, question.delta = boundaries(M.ALPHA / 2 / parts, #runs - 1)
    M.measure(question, runs)
  end
  return list
end

--- The state of a question after n seeds.
-- @tparam table question
-- @tparam {table,...} new what the new seeds gave, method -> run
-- @tparam {table,...} stored likewise; the first n are their partners
-- @treturn table { n =, T =, mean = D, half = of its 95 % interval, alarm = boolean }
function M.look(question, new, stored)
  local n, sum, b, m = #new, 0, M.SHARE, question.mean
  for i, runs in ipairs(new) do
    sum = sum + value_of(question, runs) - (m + b * (value_of(question, stored[i]) - m))
  end
  local error_ = standard_error(question, n)
  local T = sum / n / error_
  return { n = n, mean = sum / n, T = T, half = 2 * error_, alarm = T > question.bounds[n] }
end

--- Look after 3 seeds and, unless that decides, after 6.
-- @tparam {table,...} questions of one study
-- @tparam function new (i) -> method -> run: trains the i-th new seed
-- @tparam {table,...} stored
-- @tparam[opt] number calm the study ends early if no T exceeds this; default: CALM
-- @treturn table question's name -> look
-- @treturn boolean whether any raises an alarm
-- @treturn {table,...} the new runs
function M.decide(questions, new, stored, calm)
  local runs, looks = {}, {}
  for _, n in ipairs(M.LOOKS) do
    for i = #runs + 1, n do runs[i] = new(i) end
    local alarm, largest = false, -math.huge
    for _, question in ipairs(questions) do
      local look = M.look(question, runs, stored)
      looks[question.name] = look
      alarm, largest = alarm or look.alarm, math.max(largest, look.T)
    end
    if alarm then return looks, true, runs end
    if largest <= (calm or M.CALM) then break end
  end
  return looks, false, runs
end

-- ------------------------------------------------------------------ samples to a quality

--- The level whose crossing is timed: what the stored runs reach after 7/10 of the steps.
-- @tparam {table,...} stored method -> run
-- @tparam string method
-- @treturn number a logarithm
function M.level(stored, method)
  local logs = {}
  for i, runs in ipairs(stored) do logs[i] = runs[method].curve[7] end
  return mean(logs)
end

--- The samples after which a curve first reaches a level, interpolated between its points.
-- @tparam table run
-- @tparam number level
-- @tparam integer steps of the training
-- @treturn ?number nil: it is not reached
function M.reached(run, level, steps)
  local each = steps // PARTS * run.batch
  for k, log in ipairs(run.curve) do
    if log <= level then
      local before = run.curve[k - 1]
      if not before or before == math.huge then return k * each end
      return (k - (level - log) / (before - log)) * each
    end
  end
end

--- Both measures of a method as a sentence.
-- @tparam table plan
-- @tparam string method
-- @tparam {table,...} new
-- @tparam {table,...} stored all stored runs; the first #new are paired with the new ones
-- @treturn string without a full stop
function M.words(plan, method, new, stored)
  local level, texts = M.level(stored, method), {}
  for side, runs in ipairs { new, table.move(stored, 1, #new, 1, {}) } do
    local logs, counts = {}, {}
    for i, run in ipairs(runs) do
      logs[i] = run[method].logs[#plan.N]
      counts[#counts + 1] = M.reached(run[method], level, plan.steps)
    end
    texts[side] = ("%.3f at the end, %s samples to reach %.3f"):format(math.exp(mean(logs)),
      #counts == #runs and ("%.0f"):format(mean(counts)) or ("more than %d"):format(
        plan.steps * runs[1][method].batch), math.exp(level))
  end
  local N = plan.N[#plan.N]
  return ("distance by %d step%s: %s; stored: %s"):format(N, N == 1 and "" or "s", texts[1],
    texts[2])
end

return M
