--- Paired differences in a table: rows, and notes that say what the data support. A case is one
-- comparison of two sets of runs, of methods or of values of a setting.
-- @module flowmap.report.comparison

local axes = require "flowmap.report.axis"
local errors = require "flowmap.base.errors"
local measured = require "flowmap.report.measured"
local paired = require "flowmap.measure.paired"
local power = require "flowmap.measure.power"
local stats = require "flowmap.measure.stats"

local M = {}

local ALPHA = 0.05

-- The method that the others are compared with, and the others, in the order of the table.
local function sides(set, against)
  local reference, others = nil, {}
  for _, method in ipairs(set:methods()) do
    local chosen = against and method:upper() == against:upper() or not against and not reference
    if chosen then reference = method else others[#others + 1] = method end
  end
  if not reference then
    errors.usage("%s: there is no method '%s' to compare with%s", set.root, against,
      errors.near(against, others))
  end
  return reference, others
end

-- The compared pairs of methods { this one, reference }, and what the references are in notes.
local function pairs_of(set, against)
  local list = {}
  if against == "previous" then
    local methods = set:methods()
    for k = 2, #methods do list[k - 1] = { methods[k], methods[k - 1] } end
    return list, "the method before"
  end
  local reference, others = sides(set, against)
  for k, method in ipairs(others) do list[k] = { method, reference } end
  return list, reference
end

-- The cell of one difference: what paired.difference returns, { lost = } where a value is missing
-- or not finite, nil without a shared seed.
local function difference(a, b, metric, N)
  local values, counts = {}, { diverged = #a.diverged + #b.diverged, ["–"] = 0 }
  for side, set in ipairs { a, b } do
    values[side] = measured.by_seed(set, metric, N)
    for seed, value in pairs(values[side]) do
      if not value or not axes.finite(value) then
        local why = value and "diverged" or "–"
        counts[why], values[side][seed] = counts[why] + 1, nil
      end
    end
  end
  for _, why in ipairs { "diverged", "–" } do
    if counts[why] > 0 then return { lost = why, count = 0, n = 0 } end
  end
  return paired.difference(values[1], values[2])
end

-- Every question of the family: case, N, and its difference, with Holm's p over all of them. Each
-- case gets its `cells`, one for each N, and its `ps`.
local function family(cases, spec)
  local list, ps = {}, {}
  for _, case in ipairs(cases) do
    case.cells, case.ps = {}, {}
    for i, N in ipairs(spec.steps) do
      local it = difference(case.a, case.b, spec.metric, N)
      case.cells[i] = it
      if it and it.p then
        list[#list + 1] = { case = case, N = N, it = it, column = i }
        ps[#ps + 1] = it.p
      end
    end
  end
  for i, p in ipairs(paired.holm(ps)) do
    local q = list[i]
    q.p, q.case.ps[q.column] = p, p
  end
  return list
end

local function smallest_and_largest(list, value)
  local low, high
  for _, it in ipairs(list) do
    local v = value(it)
    if v then low, high = math.min(low or v, v), math.max(high or v, v) end
  end
  return low, high
end

local function range(format, low, high)
  local a, b = format:format(low), format:format(high)
  return a == b and a or a .. " to " .. b
end

-- ------------------------------------------------------------------ notes

-- How p was computed, and how small it can be. `what` is compared: differences or ratios.
local function method_note(list, what)
  local few, many = smallest_and_largest(list, function(q) return q.it.n end)
  local _, best = smallest_and_largest(list, function(q) return -q.it.smallest end)
  local adjusted = math.min(1, -best * #list)
  local kind = list[1].it.draws and ("%d random sign patterns"):format(list[1].it.draws)
    or "exact"
  local text = ("%s are paired over %s that both sides share. p is the two-sided sign-flip "
    .. "p (%s) after Holm over the %d %s of this table. The smallest p that these seeds allow is "
    .. "%s, after Holm %s"):format(what:gsub("^%l", string.upper),
    range("%d", few, many) .. (many == 1 and " seed" or " seeds"), kind, #list, what,
    paired.p_text(-best), paired.p_text(adjusted))
  if adjusted <= ALPHA then return text .. "." end
  local n = many
  while paired.smallest_p(n) * #list > ALPHA do n = n + 1 end
  return ("%s: no difference can be shown at level %g with fewer than %d seeds."):format(text,
    ALPHA, n)
end

-- "ESD at N = 1, 2; PSD-M at N = 1": the questions that satisfy `wanted`, by case. A question may
-- have another name than N, as `at`.
local function listed(list, wanted)
  local parts, last = {}, nil
  for _, q in ipairs(list) do
    if wanted(q) then
      if last == q.case then
        parts[#parts] = ("%s, %s"):format(parts[#parts], q.at or q.N)
      else
        parts[#parts + 1] = q.at and ("%s: %s"):format(q.case.name, q.at)
          or ("%s at N = %d"):format(q.case.name, q.N)
      end
      last = q.case
    end
  end
  return #parts > 0 and table.concat(parts, "; ") or nil
end

-- A number with the sign of a difference, or of a ratio's logarithm.
local function sign(it) return it.mean or math.log(it.ratio) end

-- The differences that the data support; if `brief`, one sentence where they support nothing.
local function verdict_note(list, reference, brief)
  local kinds = {
    { "Above " .. reference, function(q) return q.p <= ALPHA and sign(q.it) > 0 end },
    { "Below " .. reference, function(q) return q.p <= ALPHA and sign(q.it) < 0 end },
    { "No difference from " .. reference .. " shown", function(q) return q.p > ALPHA end },
  }
  local shown, out = listed(list, kinds[1][2]) or listed(list, kinds[2][2]), {}
  if brief and not shown then
    return ("At level %g no difference from %s is shown."):format(ALPHA, reference)
  end
  for _, kind in ipairs(kinds) do
    local text = listed(list, kind[2])
    if text then out[#out + 1] = ("%s: %s."):format(kind[1], text) end
  end
  return ("At level %g. "):format(ALPHA) .. table.concat(out, " ")
end

-- The gain of pairing over independent runs; nil with fewer than three seeds, which say nothing.
local function pairing_note(list)
  local gains = {}
  for _, q in ipairs(list) do
    if q.it.n > 2 then gains[#gains + 1] = q.it.gain end
  end
  if #gains == 0 then return nil end
  local low, high = smallest_and_largest(list, function(q)
    return q.it.n > 2 and q.it.correlation or nil
  end)
  local gain = stats.quantile(gains, 0.5)
  return ("Pairing: the correlation of both sides over seeds is %s; independent runs would need "
    .. "%s times as many seeds (median over the differences)."):format(
    low and range("%.2f", low, high) or "undefined",
    (gain < 10 and "%.1f" or "%.0f"):format(gain))
end

-- How many seeds a difference of 10 % needs at the spread found here; nil if it is not defined.
local function seeds_note(reference, list, metric)
  local spreads = {}
  for _, q in ipairs(list) do
    local base = q.case.b:summary(metric, q.N).mean
    if q.it.sd and base > 0 then spreads[#spreads + 1] = q.it.sd / base end
  end
  if #spreads == 0 then return nil end
  local spread = stats.quantile(spreads, 0.5)
  local function seeds(questions)
    return power.seeds { difference = 0.1, spread = spread / math.sqrt(2), correlation = 0,
      questions = questions }
  end
  local one, all = seeds(1), seeds(#list)
  return ("The standard deviation of the differences is %.2g %% of the value of %s (median); to "
    .. "show a difference of 10 %% with probability 80 %% takes %s paired seeds, or %s in a family "
    .. "of %d."):format(100 * spread, reference, one or "over 10,000", all or "over 10,000", #list)
end

-- "[devices=4,eta=0.9]" -> { devices = "4", eta = "0.9" }, "devices = 4, eta = 0.9"
local function own_settings(text, name)
  local where, words = {}, {}
  for part in text:gmatch "[^%[%],]+" do
    local key, value = part:match "^([%w_]+)=(.+)$"
    if not key then
      errors.data("'%s' has '%s' in brackets; expected settings such as [devices=4]", name, part)
    end
    where[key], words[#words + 1] = value, key .. " = " .. value
  end
  return where, table.concat(words, ", ")
end

-- "kl.LSD.N1" or "kl.LSD.N1[devices=4]" -> the values by seed of the selected runs, or nil if some
-- of these diverged; and the name of the side.
local function named_values(set, name, where)
  local metric, method, N, own = name:match "^([%a_][%w_]*)%.([%w-]+)%.N(%d+)(%[?[^%[%]]*%]?)$"
  if not metric then
    errors.data("'%s' does not name a result; expected METRIC.METHOD.N<steps>, such as kl.LSD.N1 "
      .. "or kl.LSD.N1[eta=0.5]", name)
  end
  local only, words = own_settings(own, name)
  words = words == "" and method or ("%s (%s)"):format(method, words)
  local wanted = { method = method }
  for _, settings in ipairs { where, only } do
    for key, value in pairs(settings) do wanted[key] = value end
  end
  if set:all_diverged(wanted) then return nil, words end
  local chosen = set:select(wanted)
  N = math.tointeger(tonumber(N))
  local summary = chosen:summary(metric, N) -- refuses two runs of one seed, and missing values
  local finite = #chosen.diverged == 0 and axes.finite(summary.mean)
  return finite and measured.by_seed(chosen, metric, N) or nil, words
end

-- Names that tell two results of one method apart: by their steps, or by their metrics.
local function told_apart(a, b, first, second)
  if first ~= second then return first, second end
  local x, y = a:match "%.N(%d+)", b:match "%.N(%d+)"
  if x ~= y then return ("%s at N = %s"):format(first, x), ("%s at N = %s"):format(second, y) end
  return a:match "^[%w_]+" .. " of " .. first, b:match "^[%w_]+" .. " of " .. second
end

--- The comparison of two results as a sentence for prose: "A is below B: difference ..., 95 %
-- interval ..., p = ..., n paired seeds", or "no difference shown between A and B: ...", also
-- where runs diverged or a value has no ratio. p is that of one question.
-- @tparam Set set
-- @tparam string kind "difference" or "ratio"
-- @tparam string a such as "kl.LSD.N1", or "kl.LSD.N1[devices=4]" of the runs with that setting
-- @tparam string b such as "kl.PSD-M.N1"
-- @tparam table where further selection by config fields
-- @tparam ?string format of the numbers
-- @treturn string
function M.sentence(set, kind, a, b, where, format)
  local it, first, second, lost = M.named(set, kind, a, b, where)
  if not it then
    return ("no difference shown between %s and %s: %s"):format(first, second, lost)
  end
  return paired.words(it, { a = first, b = second, format = format })
end

--- The comparison behind `sentence`.
-- @treturn ?table what paired.difference or paired.ratio returns; nil: runs diverged, or a value
--   is not positive and has no ratio
-- @treturn string name of the first side
-- @treturn string of the second
-- @treturn ?string why there is no comparison
function M.named(set, kind, a, b, where)
  local x, first = named_values(set, a, where)
  local y, second = named_values(set, b, where)
  first, second = told_apart(a, b, first, second)
  if not (x and y) then
    return nil, first, second, ("runs of %s diverged"):format(x and second or y and first or "both")
  end
  local it, not_positive = paired[kind](x, y)
  if not_positive then return nil, first, second, "a value is not positive and has no ratio" end
  if not it then errors.data("%s and %s have no %s: no seed in common", a, b, kind) end
  return it, first, second
end

--- The differences of several cases, one family of questions.
-- @tparam {table,...} cases { name= (in notes), a=, b= (sets of one configuration) }; each gets
--   cells= (of the differences a - b) and ps= (after Holm), one for each of the steps
-- @tparam table spec {metric=, steps=, reference= (what all b are, in notes)}
-- @treturn {string,...} notes
function M.differences(cases, spec)
  local list = family(cases, spec)
  if #list == 0 then return {} end
  local notes = { method_note(list, "differences"), verdict_note(list, spec.reference) }
  notes[#notes + 1] = pairing_note(list)
  notes[#notes + 1] = seeds_note(spec.reference, list, spec.metric)
  return notes
end

--- Notes on a table of ratios, which are one family of questions.
-- @tparam {table,...} list { case = { name = }, at = (what is compared), it = (a paired.ratio) };
--   each gets p= (after Holm)
-- @tparam string reference what the ratios are to
-- @treturn {string,...}
function M.ratios(list, reference)
  local ps = {}
  for i, q in ipairs(list) do ps[i] = q.it.p end
  for i, p in ipairs(paired.holm(ps)) do list[i].p = p end
  return #list > 0 and { method_note(list, "ratios"), verdict_note(list, reference, true) }
    or {}
end

--- Rows of paired differences of methods and of their p, and notes, for flowmap.report.table.
-- @tparam Set set runs of one configuration per method
-- @tparam table spec {metric=, steps=, against= (the reference method; default the table's first;
--   "previous": for each method the one before it)}
-- @treturn {table,...} rows; none if there are not two methods
-- @treturn {string,...} notes
function M.paired(set, spec)
  local list, reference = pairs_of(set, spec.against)
  local cases, out = {}, {}
  for i, pair in ipairs(list) do
    cases[i] = { name = pair[1], head = ("%s minus %s"):format(pair[1], pair[2]),
      a = set:select { method = pair[1] }, b = set:select { method = pair[2] } }
  end
  local notes = M.differences(cases,
    { metric = spec.metric, steps = spec.steps, reference = reference })
  for _, case in ipairs(cases) do
    out[#out + 1] = { heads = { case.head, "difference" }, cells = case.cells }
    out[#out + 1] = { heads = { case.head, "p" }, cells = case.ps, format = "%.2g" }
  end
  return out, notes
end

return M
