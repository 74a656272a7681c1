--- The command `audit`: is a run what its record says? Checksums, inputs and the chain of hashes
-- (see flowmap.runs.chain) are checked in seconds; then randomly chosen parts of the training are
-- repeated from kept states, and the evaluation for one number of steps from the last weights. With
-- the numerics of the run, every bit must be the same; with others, the losses are compared.
-- @module flowmap.runs.audit

local accept = require "flowmap.runs.accept"
local cache = require "flowmap.runs.cache"
local chain = require "flowmap.runs.chain"
local checkpoint = require "flowmap.checkpoint"
local errors = require "flowmap.base.errors"
local evaluate = require "flowmap.measure.evaluate"
local files = require "flowmap.base.files"
local fm = require "flowmap"
local folder = require "flowmap.runs.folder"
local jobs = require "flowmap.job"
local record = require "flowmap.runs.record"
local settings = require "flowmap.experiment.settings"
local stats = require "flowmap.measure.stats"
local trainer = require "flowmap.trainer"
local tree = require "flowmap.tree"

local M = {}

local SEGMENTS = 3 -- parts that are repeated
local NEAR = 0.02 -- mean relative difference of losses that other numerics may make at any time

local Audit = {}
Audit.__index = Audit

local function to_stdout(text)
  io.stdout:write(text)
  io.stdout:flush()
end

function Audit:say(about, ...)
  self.write(("  %-11s %s\n"):format(about, string.format(...)))
end

-- Tell what a check found: nothing wrong, or a fault.
function Audit:found(about, ok, ...)
  if not ok then
    self.faults = self.faults + 1
    self.at_fault[about] = true
  end
  self:say(about, "%s%s", ok and "" or "WRONG: ", string.format(...))
end

-- ------------------------------------------------------------------ what needs no training

-- The record of the run's end, if it has ended.
local function ended(dir)
  return record.read(dir, "manifest") or record.read(dir, "diverged")
end

function Audit:check_files()
  local absent, wrong = {}, {}
  local names = tree.keys(self.ended.files)
  for _, name in ipairs(names) do
    local path = self.dir .. "/" .. name
    if name:find "/" or not files.exists(path) then
      absent[#absent + 1] = name
    elseif fm.sha256_file(path) ~= self.ended.files[name] then
      wrong[#wrong + 1] = name
    end
  end
  local gone = #absent > 0 and (", %d of its files are not here (a published set keeps records "
    .. "without weights and samples)"):format(#absent) or ""
  self:found("files", #wrong == 0, #wrong == 0 and "%d have the checksums of the record%s"
    or "%s: not what was recorded when the run ended%s", #wrong == 0 and #names - #absent
    or table.concat(wrong, ", "), gone)
end

-- config.json holds what a run completed its settings by; only those that were inputs count.
local function keep_inputs(now, was)
  for key in pairs(now) do
    if key:find "^setting " and (not was[key] or key == "setting sigma" and was[key] == "0") then
      now[key] = was[key]
    end
  end
end

function Audit:check_inputs()
  local was = record.need(self.dir, "inputs")
  local changes = {}
  if self.ended.inputs_hash and self.ended.inputs_hash ~= cache.hash(was) then
    changes[1] = "manifest.json and inputs.json are of two runs"
  end
  local now = cache.today(was, cache.inputs(self.experiment, self.cfg))
  self.same_numerics = now.fingerprint == was.fingerprint
  self.numerics_note = cache.differences({ fingerprint = was.fingerprint },
    { fingerprint = now.fingerprint })[1]
  now.fingerprint, now.training = was.fingerprint, was.training
  keep_inputs(now, was)
  for _, change in ipairs(cache.differences(was, now)) do changes[#changes + 1] = change end
  for _, key in ipairs { "experiment", "profile", "method", "seed", "steps" } do
    if self.ended.experiment and self.cfg[key] ~= self.ended[key] then
      changes[#changes + 1] = ("manifest.json says %s = %s"):format(key, tostring(self.ended[key]))
    end
  end
  self:found("inputs", #changes == 0, "%s", #changes == 0
    and ("%d settings, sources and data as they were"):format(#tree.keys(was))
    or table.concat(changes, "; "))
  if not self.same_numerics then
    self:say("numerics", "%s: where bits differ, losses are compared", self.numerics_note)
  end
  return #changes == 0
end

-- The lines of a journal up to a step, as values and as texts.
function Audit:lines(kind)
  local path = ("%s/%s.jsonl"):format(self.dir, kind)
  local contents = files.read(path)
  if not contents then return nil end
  return record.lines(kind, contents, path)
end

-- Recompute every link from the lines; returns whether all follow.
function Audit:check_chain()
  self.trace, self.trace_texts = self:lines "metrics"
  self.links, self.link_texts = self:lines "chain"
  if not (self.links and self.trace) or #self.links == 0 then
    errors.data("%s has no chain.jsonl and metrics.jsonl: it was made before runs kept them, and "
      .. "cannot be audited", self.dir)
  end
  local before, text, at = nil, {}, 1
  for _, link in ipairs(self.links) do
    while self.trace[at] and self.trace[at].step <= link.step do
      text[at], at = self.trace_texts[at], at + 1
    end
    local expected = chain.link(before, link.step, link.state, fm.sha256(table.concat(text)))
    if expected ~= link.link then
      self:found("chain", false, "the link of step %d does not follow from its state, the link "
        .. "before and metrics.jsonl", link.step)
      return false
    end
    before = link.link
  end
  local last = self.links[#self.links].step
  local whole = last == self.cfg.steps or self.ended.step ~= nil
  self:found("chain", whole, whole and "%d links follow from one another and from metrics.jsonl"
    or "%d links, but the last is of step " .. last, #self.links)
  return whole
end

-- ------------------------------------------------------------------ parts of the training

function Audit:state_path(step) return ("%s/state-%d.safetensors"):format(self.dir, step) end

-- The parts that can be repeated: from the beginning, and from each kept state, to the next link.
function Audit:parts()
  local parts = { { from = 0, to = self.links[1].step } }
  for k = 1, #self.links - 1 do
    local link = self.links[k]
    if files.exists(self:state_path(link.step)) then
      parts[#parts + 1] = { from = link.step, to = self.links[k + 1].step, link = link }
    end
  end
  return parts
end

-- Some of the parts, at random, in their order.
local function chosen(parts, count)
  math.randomseed() -- not predictable by who made the run
  for k = #parts, 2, -1 do
    local other = math.random(k)
    parts[k], parts[other] = parts[other], parts[k]
  end
  local some = table.move(parts, 1, math.min(count, #parts), 1, {})
  table.sort(some, function(a, b) return a.from < b.from end)
  return some
end

-- The text of a journal's lines up to a step.
local function up_to(values, texts, step)
  local kept = {}
  for i, value in ipairs(values) do
    if value.step <= step then kept[#kept + 1] = texts[i] end
  end
  return table.concat(kept)
end

-- A checkpoint, or nil and why it cannot be read.
local function load(path)
  local ok, saved = errors.pcall(checkpoint.load, path)
  if ok then return saved end
  return nil, type(saved) == "table" and saved.message or tostring(saved)
end

-- The state at the start of a part, or nil and what is wrong with it.
function Audit:state_of(part)
  if part.from == 0 then return nil end
  local path = self:state_path(part.from)
  local saved, fault = load(path)
  if fault then return nil, fault end
  if saved.step ~= part.from or chain.state(saved.tensors) ~= part.link.state then
    return nil, ("%s does not hold the state of step %d"):format(path, part.from)
  end
  for kind, of in pairs { metrics = { self.trace, self.trace_texts },
    chain = { self.links, self.link_texts } } do
    if saved[kind] ~= fm.sha256(up_to(of[1], of[2], part.from)) then
      return nil, ("%s was written when %s.jsonl had other lines"):format(path, kind)
    end
  end
  return saved
end

-- Train from one step to another in a folder of its own, as the run did.
function Audit:train(part, saved, dir)
  for kind, of in pairs { metrics = { self.trace, self.trace_texts },
    chain = { self.links, self.link_texts } } do
    fm.write_file(("%s/%s.jsonl"):format(dir, kind), up_to(of[1], of[2], part.from))
  end
  fm.write_file(dir .. "/history.jsonl", "")
  local cfg = settings.complete(self.cfg)
  cfg.audit_bytes, cfg.save_every = 0, 1e9
  local job = trainer.new(self.experiment, cfg, saved)
  local ok, err = errors.pcall(trainer.train, job, dir, { last = part.to })
  if not ok and type(err) == "table" and err.code == "interrupted" then
    errors.raise("interrupted", "the audit was interrupted; it changed nothing")
  elseif not ok then
    error(err, 0)
  end
end

-- With other numerics: the mean of log(loss / recorded loss) over the lines of a part must be
-- small, or its 95 % interval contain 0.
local function near(trace, again, part)
  local logs, recorded = {}, {}
  for _, line in ipairs(trace) do recorded[line.step] = line.loss end
  for _, line in ipairs(again) do
    if line.step > part.from and recorded[line.step] then
      logs[#logs + 1] = math.log(line.loss / recorded[line.step])
    end
  end
  if #logs == 0 then return true, "no line of metrics.jsonl lies in this part" end
  local it = stats.summary(logs)
  local close = math.abs(it.mean) <= NEAR or it.half and math.abs(it.mean) <= it.half or false
  return close, ("losses differ by %.2f %% on average over %d lines"):format(
    100 * (math.exp(it.mean) - 1), #logs)
end

-- Repeat one part and compare.
function Audit:check_part(part)
  local about = "steps"
  local saved, fault = self:state_of(part)
  if fault then return self:found(about, false, "%s", fault) end
  local dir <const>, _ <close> = fm.private_folder()
  self:train(part, saved, dir)
  local again, texts = record.lines("chain", files.read(dir .. "/chain.jsonl"), dir)
  local differs
  for k, text in ipairs(texts) do
    if text ~= self.link_texts[k] then differs = differs or k end
  end
  if not differs then
    self:found(about, true, "%d to %d: the same bits", part.from + 1, part.to)
  elseif self.same_numerics then
    self:found(about, false, "%d to %d: the %s at step %d is not what was recorded",
      part.from + 1, part.to, again[differs].state ~= self.links[differs].state and "state"
      or "trace", again[differs].step)
  else
    local lines = record.lines("metrics", files.read(dir .. "/metrics.jsonl"), dir)
    local ok, words = near(self.trace, lines, part)
    self:found(about, ok, "%d to %d: %s", part.from + 1, part.to, words)
  end
end

-- ------------------------------------------------------------------ the result

-- The last weights are those of the last link, and give the recorded numbers.
function Audit:check_result()
  local path = self.dir .. "/checkpoint.safetensors"
  if self.ended.step then return self:say("result", "the run diverged: there is none") end
  if not files.exists(path) then
    return self:say("result", "not judged again: its weights are not here")
  end
  local saved, fault = load(path)
  if fault then return self:found("result", false, "%s", fault) end
  if chain.state(saved.tensors) ~= self.links[#self.links].state then
    return self:found("result", false, "the weights are not those of the last link")
  end
  local job = trainer.new(self.experiment, self.cfg, saved)
  local N = self.cfg.nfe[1]
  local dir <const>, _ <close> = fm.private_folder()
  local again = evaluate.run(jobs.with(job, { nfe = { N }, checkpoints = 1 }), dir).rows[1]
  local was = record.need(self.dir, "eval").rows[1]
  local wrong = {}
  for field, value in pairs(again) do
    local recorded = was[field]
    local agrees = value == recorded or type(value) ~= "number" or not self.same_numerics
      and recorded and math.abs(value - recorded) <= NEAR * math.abs(value)
    if not agrees then
      wrong[#wrong + 1] = ("%s is %.6g, recorded was %.6g"):format(field, value,
        recorded or 0 / 0)
    end
  end
  table.sort(wrong)
  self:found("result", #wrong == 0, "%s at N = %d", #wrong == 0
    and (self.same_numerics and "the same numbers" or "numbers within 2 %")
    or table.concat(wrong, "; "), N)
end

-- The result of all checks as a sentence; `same`: the inputs are those of the run.
function Audit:conclusion(same)
  if self.faults == 0 then return "nothing was found that differs from the record" end
  local names = tree.keys(self.at_fault)
  local text = ("%d of the checks found a difference: %s"):format(self.faults,
    table.concat(names, ", "))
  if same or #names > 1 or not self.repeated then return text end
  return text .. "; it changes nothing in the steps that were repeated"
end

-- ------------------------------------------------------------------ the command

--- Audit a run.
-- @tparam string dir
-- @tparam table how experiment = a file or nil, segments = how many parts are repeated, by default
--   3; all = repeat the whole training instead, today = also if inputs have changed,
--   write = function(text), default: to standard output
-- @treturn integer number of faults; they are printed
-- @treturn string what they amount to, in a sentence
function M.audit(dir, how)
  local config = settings.complete(record.need(dir, "config"))
  local self = setmetatable({ dir = dir, cfg = config, faults = 0, at_fault = {},
    ended = ended(dir),
    write = how.write or to_stdout,
    experiment = accept.experiment_of(config, how.experiment, "audit") }, Audit)
  if not self.ended then errors.usage("audit: the run at %s has not ended", dir) end
  self.write(("%s: %s, %s, seed %d, %d steps\n"):format(dir, config.experiment, config.method,
    config.seed, config.steps))
  self:check_files()
  local same, sound = self:check_inputs(), self:check_chain()
  if sound and not same and how.today then
    self:say("steps", "repeated with today's sources all the same")
  elseif not (same and sound) then
    self:say("steps", "not repeated, for the reason above%s", sound and not same
      and "; --today repeats them with what there is today" or "")
    return self.faults, self:conclusion(same)
  end
  local parts = how.all and { { from = 0, to = self.links[#self.links].step } }
    or chosen(self:parts(), how.segments or SEGMENTS)
  for _, part in ipairs(parts) do self:check_part(part) end
  self.repeated = #parts > 0
  self:check_result()
  return self.faults, self:conclusion(same)
end

--- The command.
-- @tparam table args run = a folder, segments, all, experiment
-- @treturn integer exit code
function M.run(args)
  if args.all and args.segments then
    errors.usage "audit: --all repeats every part: --segments has no effect"
  end
  local dir = folder.given(args.run)
  if not files.exists(dir .. "/config.json") then
    errors.usage("audit: there is no run at %s", dir)
  end
  local faults, conclusion = M.audit(dir, args)
  io.stdout:write(conclusion, "\n")
  return faults == 0 and 0 or errors.status.check
end

return M
