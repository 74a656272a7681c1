--- The gate: has the suite become worse?
--
--     ./flowmap lua tests/regression/gate.lua -- [OPTION...]        (make regress)
--
--     --update WHY         renew the baselines and keep the reason
--     --short              few cases on the best instruction set, tiers 1 and 2 alone
--     --accept-changed     a changed course of training passes if its quality holds
--     --native             the best instruction set alone
--     --isa NAME           that instruction set alone
--     --judge STUDY        tier 3 for that study alone
--     --no-speed           leave speed out
--     --busy               judge speed even where the machine is busy
--     --out FOLDER         of junit.xml, results.tap and results.json; default: build/regress
--
-- Tiers, cheapest first: bits and shadow (tiers.lua), quality (quality.lua), and beside them memory
-- and speed (speed.lua). Cases are listed in studies.lua, baselines kept by store.lua. Exit code 1
-- if anything fails: quality, memory, speed, or a course of training that has changed beyond
-- rounding while the baselines do not say why.
-- @module gate

package.path = "tests/regression/?.lua;" .. package.path

local fm = require "flowmap"
local core = require "flowmap.core"
local errors = require "flowmap.base.errors"
local files = require "flowmap.base.files"
local probe = require "probe"
local quality = require "quality"
local reports = require "reports"
local speed = require "speed"
local store = require "store"
local studies = require "studies"
local tiers = require "tiers"

local M = {}

local say = print

-- ------------------------------------------------------------------ tiers 1 and 2

local function contains(list, value)
  for _, it in ipairs(list) do
    if it == value then return true end
  end
  return false
end

-- Whether a study is trained on an instruction set. In the short form, and for `--native`, that is
-- the best alone.
local function applies(study, isa, how)
  if how.short and not study.short then return false end
  return not study.isas or contains(study.isas, isa)
end

-- Train one case and compare it; an error in it is a change, too.
local function judge(study, method, stored, name)
  local start = os.clock()
  local ok, found = errors.pcall(probe.case, study, method)
  local it
  if ok then
    local bits = stored.bits[probe.numerics()]
    it = tiers.compare(found, bits and bits[name], stored.shadow[name], study.tolerance)
  else
    it = { verdict = "changed", tier = 2, text = "it does not train: " .. tostring(found) }
  end
  it.found, it.name, it.isa = ok and found or nil, name, core.info().isa
  it.study, it.method = probe.name(study), method
  it.seconds = os.clock() - start
  return it
end

--- Train and compare all cases.
-- @tparam table stored see store.lua
-- @tparam table how { short =, native =, isa = }
-- @treturn {table,...} see tiers.compare, with name =, study =, isa =, found =, seconds =
function M.cases(stored, how)
  local list, isas, best = {}, probe.isas(), core.info().isa
  if how.short or how.native or how.isa then isas = { how.isa or best } end
  for _, isa in ipairs(isas) do
    if core.set_isa(isa) ~= isa then errors.usage("this machine has no %s", isa) end
    for _, study in ipairs(studies.list) do
      local methods = how.short and study.short or probe.methods(study)
      for _, method in ipairs(applies(study, isa, how) and methods or {}) do
        list[#list + 1] = judge(study, method, stored, probe.name(study) .. "/" .. method)
      end
    end
    probe.close()
  end
  core.set_isa(best)
  return list
end

-- One line per instruction set.
local function summarise(cases)
  local by_isa, order = {}, {}
  for _, it in ipairs(cases) do
    if not by_isa[it.isa] then
      by_isa[it.isa], order[#order + 1] = { seconds = 0, same = 0, rounding = 0, changed = 0,
        new = 0, cases = 0 }, it.isa
    end
    local sum = by_isa[it.isa]
    sum[it.verdict], sum.seconds = sum[it.verdict] + 1, sum.seconds + it.seconds
    sum.cases = sum.cases + 1
  end
  for _, isa in ipairs(order) do
    local it = by_isa[isa]
    say(("%-7s %3d cases: %d with the same bits, %d rounded otherwise, %d changed, %d new (%.1f s)")
      :format(isa, it.cases, it.same, it.rounding, it.changed, it.new, it.seconds))
  end
end

-- ------------------------------------------------------------------ tier 3

--- The trainings of tier 3.
-- @tparam string name of a study
-- @treturn ?table see quality.plan
function M.plan(name)
  for _, study in ipairs(studies.list) do
    if probe.name(study) == name then return quality.plan(study) end
  end
end

--- Whether tier 3 has something to train for a case.
-- @tparam table it one of `cases`
-- @treturn boolean
function M.has_quality(it)
  local plan = M.plan(it.study)
  return plan ~= nil and contains(plan.methods, it.method)
end

-- The studies with a changed case that tier 3 trains, and the instruction set to train them on: the
-- best one on which a case has changed.
local function suspects(cases)
  local list, isa = {}, {}
  for _, it in ipairs(cases) do
    if it.verdict == "changed" and M.has_quality(it) then
      if not isa[it.study] then list[#list + 1] = it.study end
      isa[it.study] = it.isa -- the best comes last
    end
  end
  return list, isa
end

--- Train one seed of all methods.
-- @tparam table plan see quality.plan
-- @tparam integer seed
-- @treturn table method -> run
function M.trained(plan, seed)
  local runs = {}
  for _, method in ipairs(plan.methods) do runs[method] = quality.train(plan, method, seed) end
  probe.close()
  return runs
end

-- A log ratio in percent.
local function percent(log) return 100 * (math.exp(log) - 1) end

-- The result of a question. Where a training diverged, the change is infinite, which JSON does not
-- hold.
local function quality_result(question, look)
  local text = ("the distance to the data changed by %+.1f %% (95 %% interval %+.1f to %+.1f %%, "
    .. "%d paired seeds), T = %.2f, limit %.2f; with 90 %% power a loss of %.1f %% is found")
  local known = look.mean < math.huge
  return { tier = "quality", name = question.name, verdict = look.alarm and "fail" or "pass",
    effect = known and look.mean or nil, half = look.half, T = known and look.T or nil,
    text = text:format(percent(look.mean), percent(look.mean - look.half),
      percent(look.mean + look.half), look.n, look.T, question.bounds[look.n],
      100 * question.smallest) }
end

--- Judge the quality of a study.
-- @tparam string name
-- @tparam table bank the stored runs of all studies
-- @treturn {table,...} results, one per question; none if the study has no stored runs
-- @treturn boolean whether its quality is known and holds
function M.judge(name, bank)
  local plan, results = M.plan(name), {}
  if not (plan and bank[name]) then return results, false end
  local own = {}
  for _, question in ipairs(quality.questions(bank)) do
    if question.study == name then own[#own + 1] = question end
  end
  local looks, alarm, runs = quality.decide(own, function(i)
    return M.trained(plan, quality.FIRST + i - 1)
  end, bank[name].runs)
  for _, question in ipairs(own) do
    results[#results + 1] = quality_result(question, looks[question.name])
  end
  for _, method in ipairs(plan.methods) do
    results[#results + 1] = { tier = "samples", name = name .. "/" .. method, verdict = "pass",
      text = quality.words(plan, method, runs, bank[name].runs) }
  end
  return results, not alarm
end

-- Results of one study, whatever happens.
local function judged(name, bank)
  local ok, found, good = errors.pcall(M.judge, name, bank)
  if ok then return found, good and #found > 0 end
  return { { tier = "quality", name = name, verdict = "fail",
    text = "it does not train: " .. tostring(found) } }, false
end

-- Judge the studies that have changed; returns study -> whether its quality holds.
local function judge_all(cases, stored, results, only)
  local names, isa = suspects(cases)
  local holds, best = {}, core.info().isa
  for _, name in ipairs(only and contains(names, only) and { only } or only and {} or names) do
    say(("%s has changed; its quality is measured on %s"):format(name, isa[name]))
    core.set_isa(isa[name])
    local found, good = judged(name, stored.quality)
    table.move(found, 1, #found, #results + 1, results)
    holds[name] = good
  end
  core.set_isa(best)
  return holds
end

-- ------------------------------------------------------------------ results

local UNEXPLAINED = "; if that is meant, make regress-update WHY=\"...\" accepts it"

-- Results of the cases; `holds`: study -> whether its quality holds.
local function case_results(cases, holds, how)
  local list = {}
  for _, it in ipairs(cases) do
    local verdict = it.verdict == "new" and "skip" or it.verdict == "changed" and "fail" or "pass"
    local text = it.text
    if it.verdict == "changed" then
      if how.accept and (holds[it.study] or not M.has_quality(it)) then
        verdict = "pass"
      else
        text = text .. UNEXPLAINED
      end
    elseif it.verdict == "new" then
      text = text .. "; make regress-update WHY=\"...\" makes one"
    end
    list[#list + 1] = { tier = it.tier == 1 and "bits" or "shadow", verdict = verdict, text = text,
      name = ("%s on %s"):format(it.name, it.isa), seconds = it.seconds }
    if it.memory then
      list[#list + 1] = { tier = "memory", name = list[#list].name, verdict = "fail",
        text = it.memory }
    end
  end
  return list
end

-- Speed, on the best instruction set.
local function speed_results(stored, results, how)
  local is_busy, load = speed.is_busy()
  local known, ratios = stored.speed[speed.machine()], speed.measure(studies.list)
  for _, name in ipairs(fm.tree.keys(ratios)) do
    local it = { tier = "speed", name = name, verdict = "skip" }
    if known and known[name] then
      local slower, text, change = speed.compare(ratios[name], known[name])
      it.text, it.change = text, change
      if is_busy and not how.busy then
        it.text = ("%s; not judged, %s"):format(text, load)
      else
        it.verdict = slower and "fail" or "pass"
      end
    else
      it.text = "no time is stored for " .. speed.machine()
    end
    results[#results + 1] = it
  end
  return ratios
end

local SHOWN = { quality = true, samples = true, speed = true } -- also where nothing failed

-- Print what is not as before, and write the files.
local function report(results, folder)
  for _, it in ipairs(results) do
    local word = it.verdict == "fail" and "FAIL" or it.verdict
    if word == "FAIL" or SHOWN[it.tier] then
      say(("%-4s %s: %s: %s"):format(word, it.tier, it.name, it.text))
    end
  end
  files.mkdir(folder)
  fm.write_file(folder .. "/junit.xml", reports.junit(results))
  fm.write_file(folder .. "/results.tap", reports.tap(results))
  fm.write_file(folder .. "/results.json", fm.json.encode(results, "") .. "\n")
  local counts = reports.counts(results)
  say(("%d passed, %d failed, %d skipped; junit.xml and results.tap are in %s"):format(counts.pass,
    counts.fail, counts.skip, folder))
  return counts.fail == 0
end

--- Run the gate.
-- @tparam table how options by name
-- @treturn boolean whether nothing has become worse
-- @treturn {table,...} results, see reports.lua
-- @treturn table { cases =, ratios = }
function M.run(how)
  core.set_threads(1)
  local stored = store.read()
  local cases = M.cases(stored, how)
  summarise(cases)
  local later = {}
  local holds = how.short and {} or judge_all(cases, stored, later, how.judge)
  local results = case_results(cases, holds, how)
  table.move(later, 1, #later, #results + 1, results)
  local ratios = not (how.short or how.quick) and speed_results(stored, results, how) or nil
  return report(results, how.out or "build/regress"), results, { cases = cases, ratios = ratios,
    stored = stored }
end

-- ------------------------------------------------------------------ command line

local FLAGS = { ["--short"] = "short", ["--accept-changed"] = "accept", ["--native"] = "native",
  ["--no-speed"] = "quick", ["--busy"] = "busy" }
local VALUES = { ["--update"] = "update", ["--out"] = "out", ["--isa"] = "isa",
  ["--judge"] = "judge" }

--- Options of the command line.
-- @tparam {string,...} words
-- @treturn table
function M.options(words)
  local how, i, names = {}, 1, {}
  while i <= #words do
    local word = words[i]
    if FLAGS[word] then
      how[FLAGS[word]] = true
    elseif VALUES[word] then
      i = i + 1
      how[VALUES[word]] = words[i] or errors.usage("%s: a value is missing", word)
    else
      errors.usage("unknown option '%s' of the gate", word)
    end
    i = i + 1
  end
  for k, study in ipairs(studies.list) do names[k] = probe.name(study) end
  if how.judge then errors.choice("study of --judge", how.judge, names) end
  return how
end

local function main(words)
  local how = M.options(words)
  if how.update then
    store.reason(how.update) -- before anything is trained
    require("renewal").run(M, how)
    return
  end
  if not M.run(how) then os.exit(1, true) end
end

if ... ~= "gate" then main { ... } end

return M
