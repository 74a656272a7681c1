--- Renewing the baselines. Changes are measured against the old ones first, and the result is kept
-- with the reason.
-- @module renewal

local core = require "flowmap.core"
local errors = require "flowmap.base.errors"
local probe = require "probe"
local quality = require "quality"
local speed = require "speed"
local store = require "store"
local studies = require "studies"
local tiers = require "tiers"

local M = {}

-- Whether a case has not changed as far as can be seen: on a machine of a new kind its trace is the
-- stored one except for rounding, and there are no bits to compare.
local function is_as_before(it)
  return it.verdict == "same" or it.verdict == "rounding" and it.unstored
end

-- The new bits: those of other machines are kept for cases that have not changed.
local function renew_bits(stored, cases)
  local bits, moved, known = {}, {}, probe.names(studies.list)
  for _, it in ipairs(cases) do
    if not is_as_before(it) then moved[it.name] = true end
  end
  for numerics, hashes in pairs(stored.bits) do
    bits[numerics] = {}
    for name, hash in pairs(hashes) do
      bits[numerics][name] = known[name] and not moved[name] and hash or nil
    end
  end
  for _, it in ipairs(cases) do
    local numerics = ("%s %s"):format(it.isa, core.info().blas)
    bits[numerics] = bits[numerics] or {}
    bits[numerics][it.name] = it.found.bits
  end
  return bits
end

-- The new traces are those of the best instruction set. A case that has not changed keeps its own,
-- so that they do not depend on which machine renewed others; so does one that this machine does
-- not train.
local function renew_shadow(stored, cases)
  local shadow = {}
  for name in pairs(probe.names(studies.list)) do shadow[name] = stored.shadow[name] end
  for _, it in ipairs(cases) do
    if not is_as_before(it) or not shadow[it.name] then shadow[it.name] = tiers.shadow(it.found) end
  end
  return shadow
end

--- The stored runs of a study, trained again.
-- @tparam table gate the module
-- @tparam table plan see quality.plan
-- @treturn table { methods =, runs = }
function M.bank(gate, plan)
  local it = { methods = plan.methods, runs = {} }
  for k = 1, quality.STORED do
    it.runs[k] = gate.trained(plan, quality.FIRST + k - 1)
    for _, method in ipairs(plan.methods) do
      if it.runs[k][method].logs[1] == math.huge then
        errors.numeric("%s/%s diverges at seed %d and cannot be stored", plan.name, method,
          quality.FIRST + k - 1)
      end
    end
  end
  return it
end

local function same_list(a, b) return table.concat(a, " ") == table.concat(b, " ") end

-- The stored runs that are still valid, and the plans of the studies whose runs are not.
local function split_quality(gate, stored, cases)
  local moved, kept, plans = {}, {}, {}
  for _, it in ipairs(cases) do
    if (it.verdict == "changed" or it.verdict == "new") and gate.has_quality(it) then
      moved[it.study] = true
    end
  end
  for _, study in ipairs(studies.list) do
    local plan = quality.plan(study)
    local old = plan and stored.quality[plan.name]
    if old and not moved[plan.name] and same_list(old.methods, plan.methods) then
      kept[plan.name] = old
    elseif plan then
      plans[#plans + 1] = plan
    end
  end
  return kept, plans
end

local function names_of(cases, verdict)
  local seen, list = {}, {}
  for _, it in ipairs(cases) do
    if it.verdict == verdict and not seen[it.name] then
      seen[it.name], list[#list + 1] = true, it.name
    end
  end
  return list
end

-- The line of reasons.jsonl: what changed, and by how much.
local function line_of(how, cases, results)
  local line = { why = how.update, rounding = #names_of(cases, "rounding"),
    changed = names_of(cases, "changed"), new = #names_of(cases, "new"), effects = {} }
  for _, it in ipairs(results) do
    if it.tier == "quality" and it.effect then
      line.effects[#line.effects + 1] = { name = it.name, log_ratio = it.effect, half = it.half,
        worse = it.verdict == "fail" }
    end
  end
  return line
end

--- Renew the baselines.
-- @tparam table gate the module
-- @tparam table how options; update = the reason
function M.run(gate, how)
  how.short, how.native, how.isa, how.judge = nil, nil, nil, nil
  local _, results, more = gate.run(how)
  local stored, cases = more.stored, more.cases
  for _, it in ipairs(cases) do
    if not it.found then errors.numeric("%s on %s: %s", it.name, it.isa, it.text) end
  end
  local kept, plans = split_quality(gate, stored, cases)
  local new = { bits = renew_bits(stored, cases), shadow = renew_shadow(stored, cases),
    quality = kept, speed = stored.speed }
  if more.ratios then
    new.speed[speed.machine()] = more.ratios
  end
  store.write(new, line_of(how, cases, results))
  for _, plan in ipairs(plans) do -- an interrupted renewal goes on here
    print(("%d seeds of %s are trained"):format(quality.STORED, plan.name))
    store.set("quality", plan.name, M.bank(gate, plan))
  end
  print(("the baselines are renewed, and the reason is kept in %s/reasons.jsonl"):format(
    store.folder))
end

return M
