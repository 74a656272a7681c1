--- The tables of the reproduction report: published values and settings beside ours, with verdicts
-- that are computed (flowmap.report.verdict), in columns that name their origin. In prose:
--
--     {{reproduction conditions cifar10}}    how both were obtained
--     {{reproduction values cifar10}}        every published value, ours, and the verdict; without
--                                            runs the published values alone, as not attempted
--     {{reproduction orders cifar10}}        the order of every two methods at every N
--     {{reproduction settings}}              the profile `paper` against the published settings
--     {{reproduction stability}}             how many trainings of each method diverged
--     {{reproduction tally}}                 all verdicts of the report, counted, as a sentence
--
-- All but the last stand on a line of their own. Without runs there are no conditions and orders.
-- @module flowmap.report.reproduction

local attempt = require "flowmap.report.attempt"
local axes = require "flowmap.report.axis"
local errors = require "flowmap.base.errors"
local experiments = require "flowmap.experiment"
local inserted = require "flowmap.report.insert_table"
local measured = require "flowmap.report.measured"
local paired = require "flowmap.measure.paired"
local provenance = require "flowmap.report.provenance"
local published = require "flowmap.experiment.published"
local results = require "flowmap.report.results"
local settings = require "flowmap.experiment.settings"
local tree = require "flowmap.tree"
local verdict = require "flowmap.report.verdict"

local M = {}

local ALPHA = 0.05
local FORMATS = { kl = "%.4f", fid = "%.2f" } -- of the paper's tables

-- The paper's experiments that have published values, in the order of the book.
local EXPERIMENTS = { "checkerboard", "cifar10", "celeba", "afhq" }

-- Methods with published values, in the paper's order.
local function methods_of(it)
  local list = {}
  for _, method in ipairs(results.methods) do
    if it.values[method] then list[#list + 1] = method end
  end
  return list
end

local function titled(it) return attempt.experiment(it.name).title end

-- ------------------------------------------------------------------ values

-- The verdict on one published value, with our last and best checkpoint.
local function judge(it, method, N)
  local last, absent = it:value(method, N)
  local best = last and it:has_best() and it:value(method, N, "_best") or nil
  local by_best = best and it.reference.rule[it.metric] == "best"
  local ours = by_best and best or last
  local reasons = ours and not ours.lost
    and verdict.reasons(it:conditions(method, by_best and "best" or "last")) or {}
  return { method = method, N = N, theirs = it.values[method][N], last = last, best = best,
    verdict = verdict.value(it.values[method][N], ours, reasons, absent) }
end

-- All verdicts on the values of an experiment.
local function judged_values(it)
  local list = {}
  for _, method in ipairs(methods_of(it)) do
    for _, N in ipairs(it:steps()) do list[#list + 1] = judge(it, method, N) end
  end
  return list
end

-- Letters for the reasons behind verdicts, in the order in which they first appear.
local function lettered(list)
  local letters, order = {}, {}
  for _, value in ipairs(list) do
    local why = value.verdict.why
    if why and not letters[why] then
      order[#order + 1] = why
      letters[why] = string.char(96 + #order)
    end
  end
  return letters, order
end

-- Profile, seeds, samples and share of our runs, for captions.
local function our_words(it)
  local set = it.set
  local seen = set:first():field("manifest", "samples_seen")
  return ("Ours: profile %s, seed%s %s, %s training samples (%.2g %% of the paper's), %s, %s "
    .. "samples judged"):format(attempt.listed(set, "manifest", "profile"),
    #set:distinct "seed" == 1 and "" or "s", attempt.listed(set, "manifest", "seed"),
    attempt.listed(set, "manifest", "samples_seen"), 100 * seen / it:budget(), it:estimator(),
    it:judged())
end

-- The published values of an experiment of which there are no runs.
local function unattempted(it)
  local t = { heads = { "method" }, columns = {}, rows = {}, format = FORMATS[it.metric],
    widths = { 6, 12, 12, 12, 12, 12 },
    notes = { "Published: " .. it.reference.place[it.metric] .. "." },
    title = ("%s: the published values of %s by number of steps. Not attempted: there are no runs "
      .. "of this experiment in this set."):format(titled(it), attempt.name_of(it.metric)) }
  for k, N in ipairs(it:steps()) do t.columns[k] = "published, N = " .. N end
  for i, method in ipairs(methods_of(it)) do
    local cells = {}
    for k, N in ipairs(it:steps()) do cells[k] = it.values[method][N] end
    t.rows[i] = { heads = { method }, cells = cells, theirs = true }
  end
  return t
end

-- A row of the table of values; without any value of ours, its columns stay empty.
local function value_row(value, best, letters)
  local word = value.verdict.word
  if value.verdict.why then word = ("%s (%s)"):format(word, letters[value.verdict.why]) end
  local cells = { value.theirs, value.last }
  if best then cells[3] = value.best end
  return { heads = { value.method, tostring(value.N), word }, cells = cells }
end

--- A table of every published value beside ours, with its verdict.
-- @tparam table it
-- @treturn table
function M.values(it)
  local list = judged_values(it)
  local letters, order = lettered(list)
  local best = it:has_best()
  local ours = attempt.name_of(it.ours)
  local t = { heads = { "method", "N", "verdict" }, rows = {}, notes = {},
    widths = { 8, 4, 16, 14, 16, 16 },
    columns = { "published " .. attempt.name_of(it.metric), "ours, " .. ours },
    format = FORMATS[it.metric],
    title = ("%s: every published value of %s (from %s), ours, and the verdict; smaller is better. "
      .. "%s"):format(titled(it), attempt.name_of(it.metric), it.reference.place[it.metric],
      our_words(it) .. ".") }
  if best then t.columns[2], t.columns[3] = t.columns[2] .. ", last", t.columns[2] .. ", best" end
  for i, value in ipairs(list) do t.rows[i] = value_row(value, best, letters) end
  for i, why in ipairs(order) do t.notes[i] = ("(%s) %s."):format(letters[why], why) end
  return t
end

-- ------------------------------------------------------------------ orders

-- Our paired difference of two methods at N steps; nil and why not.
local function difference(it, a, b, N)
  local first, why = it:part(a, N)
  local second, other = it:part(b, N)
  if not (first and second) then return nil, why or other end
  if #first.diverged + #second.diverged > 0 then return nil, "diverged" end
  local x, y = measured.by_seed(first, it.ours, N), measured.by_seed(second, it.ours, N)
  for _, side in ipairs { x, y } do
    for _, value in pairs(side) do
      if not axes.finite(value) then return nil, "diverged" end
    end
  end
  return paired.difference(x, y)
end

local function pairs_of(it)
  local list, methods = {}, methods_of(it)
  for i = 1, #methods do
    for k = i + 1, #methods do list[#list + 1] = { methods[i], methods[k] } end
  end
  return list
end

-- The verdicts on the order of all pairs at N steps, one family of questions.
local function judged_orders(it, N)
  local list, found, ps = {}, {}, {}
  for i, pair in ipairs(pairs_of(it)) do
    local a, b = it.values[pair[1]][N], it.values[pair[2]][N]
    local ours, why = difference(it, pair[1], pair[2], N)
    list[i] = { below = a < b, word = why == "diverged" and "not shown" or "not attempted" }
    if ours then
      list[i].difference, found[#found + 1], ps[#ps + 1] = ours.mean, list[i], ours.p
      list[i].seeds = ours.n
    end
  end
  for i, p in ipairs(paired.holm(ps)) do
    found[i].word = verdict.order(found[i].below, found[i].difference, p, ALPHA)
  end
  return list
end

-- "< supported": the paper's sign and our verdict; an order that is not shown with its own sign.
local function order_text(order)
  local text = ("%s %s"):format(order.below and "<" or ">", order.word)
  if order.word == "not shown" and order.difference then
    text = ("%s (%s)"):format(text, (order.difference < 0) == order.below and "same" or "other")
  end
  return text
end

local function smallest_p_note(it, count)
  local n = #it.set:distinct "seed"
  return ("p of the paired sign-flip test, two-sided, after Holm over the %d pairs of a number of "
    .. "steps; with %d seed%s it is %s at the least."):format(count, n, n == 1 and "" or "s",
    paired.p_text(math.min(1, count * paired.smallest_p(n))))
end

--- A table of the order of every two methods, in the paper and in our runs.
-- @tparam table it
-- @treturn table
function M.orders(it)
  local list, columns = pairs_of(it), {}
  local t = { heads = { "first, second" }, columns = columns, rows = {}, notes = {}, format = "%s",
    widths = { 10, 14, 14, 14, 14, 14 },
    title = ("%s: the order of every two methods. The sign is the paper's (< means that the first "
      .. "has the smaller %s), the word our runs' verdict on it by %s; where it is not shown, "
      .. "whether our means have the same order or the other. %s."):format(titled(it),
      attempt.name_of(it.metric), attempt.name_of(it.ours), our_words(it)) }
  for i, pair in ipairs(list) do
    t.rows[i] = { heads = { pair[1] .. ", " .. pair[2] }, cells = {} }
  end
  for k, N in ipairs(it:steps()) do
    columns[k] = "N = " .. N
    for i, order in ipairs(judged_orders(it, N)) do
      t.rows[i].cells[k] = { text = order_text(order) }
    end
  end
  t.notes[1] = smallest_p_note(it, #list)
  return t
end

-- ------------------------------------------------------------------ conditions

-- Numbers are equal or not whatever their type: 10 and 10.0 have one text.
local function text_of(value)
  if type(value) ~= "number" then return settings.text(value) end
  local whole = math.tointeger(value)
  if not whole then return ("%.10g"):format(value) end
  return whole >= 10000 and provenance.grouped(whole) or tostring(whole)
end

-- The published settings that our runs changed: both texts of each.
local function changed_settings(it)
  local theirs, ours = {}, {}
  for _, key in ipairs(tree.keys(it.reference.settings)) do
    local published_text = text_of(it.reference.settings[key])
    local own = attempt.listed(it.set, "config", key)
    if key == "dataset_size" and own == "0" then own = "0 (samples are always new)" end
    if own ~= published_text and key ~= "eta" then
      theirs[#theirs + 1] = ("%s %s"):format(key, published_text)
      ours[#ours + 1] = ("%s %s"):format(key, own)
    end
  end
  return table.concat(theirs, "; "), table.concat(ours, "; ")
end

local function published_eta(it)
  local parts = { ("%g"):format(it.reference.settings.eta) }
  for _, method in ipairs(tree.keys(it.reference.eta)) do
    parts[#parts + 1] = ("%s %g"):format(method, it.reference.eta[method])
  end
  return table.concat(parts, "; ")
end

local RULES = { best = "the best of the saved ones, for each N separately", last = "the last" }

--- A table of the conditions of the paper and of our runs.
-- @tparam table it
-- @treturn table
function M.conditions(it)
  local set, of, metric = it.set, it.reference, it.metric
  local seen = set:first():field("manifest", "samples_seen")
  local theirs, ours = changed_settings(it)
  local rows = {
    { "data", of.data, attempt.listed(set, "manifest", "dataset.title") },
    { "training samples seen", provenance.grouped(it:budget()),
      ("%s, %.2g %% of the paper's"):format(attempt.listed(set, "manifest", "samples_seen"),
        100 * seen / it:budget()) },
    { "network's parameters", provenance.grouped(of.params),
      attempt.listed(set, "manifest", "params") },
    { "diagonal fraction", published_eta(it), attempt.listed(set, "config", "eta") },
    { "measure", of.estimator[metric] or "not stated", it:estimator() },
    { "samples judged", of.eval_samples[metric] and provenance.grouped(of.eval_samples[metric])
      or "not stated", it:judged() },
    { "checkpoint", RULES[of.rule[metric] or ""] or "not stated", it:has_best()
      and "the last, and the best beside it" or RULES[attempt.listed(set, "manifest",
      "checkpoint_rule")] or "mixed" },
    { "average of the weights", metric == "fid" and settings.text(of.settings.ema[1])
      or "not stated", attempt.listed(set, "manifest", "ema") },
    { "profile", "–", attempt.listed(set, "manifest", "profile") },
    { "seeds", "not stated", attempt.listed(set, "manifest", "seed") },
    { "settings that differ", theirs, ours },
  }
  local t = { heads = { "condition", "published", "ours" }, columns = {}, rows = {},
    widths = { 4, 7, 7 }, notes = measured.provenance(set), format = "%s",
    title = ("%s: how the published values and ours were obtained."):format(titled(it)) }
  for i, row in ipairs(rows) do t.rows[i] = { heads = row, cells = {} } end
  return t
end

-- ------------------------------------------------------------------ settings

-- The settings of the profile `paper` that are equal to the published ones, and those that are not.
local function against_profile(name, of)
  local equal, different = 0, {}
  local function resolved(method)
    return experiments.resolve(attempt.experiment(name), { profile = "paper", method = method })
  end
  local cfg = resolved "lsd"
  for _, key in ipairs(tree.keys(of.settings)) do
    local theirs, ours = text_of(of.settings[key]), text_of(cfg[key])
    if verdict.equal(theirs, ours) == "equal" then
      equal = equal + 1
    else
      different[#different + 1] = ("%s: published %s, ours %s"):format(key, theirs, ours)
    end
  end
  for _, method in ipairs(tree.keys(of.eta)) do
    local ours = resolved(method:lower()).eta
    if ours ~= of.eta[method] then
      different[#different + 1] = ("eta of %s: published %g, ours %g"):format(method,
        of.eta[method], ours)
    end
  end
  return equal, different
end

local function settings_table()
  local t = { heads = { "experiment", "different" }, columns = { "equal" }, rows = {},
    notes = { "From paper/published.lua and the profiles of the experiments." }, format = "%d",
    title = "The published settings and those of the profile paper: how many are equal, and "
      .. "which are not. This table reads settings alone, no runs." }
  for i, name in ipairs(EXPERIMENTS) do
    local equal, different = against_profile(name, published.read()[name].reference)
    t.rows[i] = { heads = { attempt.experiment(name).title, #different == 0 and "none"
      or table.concat(different, "; ") }, cells = { equal } }
  end
  return t
end

-- ------------------------------------------------------------------ divergence

-- "1 of 3" for the trainings of a method that diverged; nil if there are none.
local function lost_of(set, method)
  local lost, n = 0, 0
  for _, runs in ipairs { set.runs, set.diverged } do
    for _, run in ipairs(runs) do
      if run:method() == method then n = n + 1 end
    end
  end
  for _, run in ipairs(set.diverged) do
    if run:method() == method then lost = lost + 1 end
  end
  return n > 0 and { text = ("%d of %d"):format(lost, n), mean = lost, n = n } or nil
end

local function stability_table(context)
  local t = { heads = { "experiment" }, columns = { table.unpack(results.methods) }, rows = {},
    notes = { "Origin of the runs: see the tables of conditions below." }, format = "%d",
    title = "Trainings that diverged, because their values ceased to be finite, of all trainings; "
      .. "– means that there are none in this set." }
  for i, name in ipairs(EXPERIMENTS) do
    local it = attempt.of(context, name)
    t.rows[i] = { heads = { titled(it) }, cells = {} }
    for k, method in ipairs(results.methods) do
      t.rows[i].cells[k] = it.set and lost_of(it.set, method) or nil
    end
  end
  return t
end

-- ------------------------------------------------------------------ all verdicts

-- "38 not comparable, 27 not attempted"
local function count(words, order)
  local parts = {}
  for _, word in ipairs(order) do
    if words[word] then parts[#parts + 1] = ("%d %s"):format(words[word], word) end
  end
  return table.concat(parts, ", ")
end

local function tally(context)
  local values, orders, all, pairs_count = {}, {}, 0, 0
  for _, name in ipairs(EXPERIMENTS) do
    local it = attempt.of(context, name)
    for _, value in ipairs(judged_values(it)) do
      local word = value.verdict.word
      values[word], all = (values[word] or 0) + 1, all + 1
    end
    for _, N in ipairs(it:steps()) do
      for _, order in ipairs(judged_orders(it, N)) do
        orders[order.word], pairs_count = (orders[order.word] or 0) + 1, pairs_count + 1
      end
    end
  end
  return ("%d published values (%s) and the %d orders of two methods that follow from them (%s)")
    :format(all, count(values, verdict.on_values), pairs_count, count(orders, verdict.on_claims))
end

local function placed(context, what, name, t)
  return inserted.block(context, "reproduction", what .. "-" .. name, t,
    "lua/flowmap/report/reproduction.lua")
end

--- The text of {{reproduction ...}}.
-- @tparam Context context see flowmap.report.context
-- @tparam string words "values cifar10", ...
-- @treturn string Markdown
function M.text(context, words)
  local what, name = words:match "^(%a+)%s*(%S*)$"
  if what == "tally" then return tally(context) end
  if what == "stability" then return placed(context, what, "runs", stability_table(context)) end
  if what == "settings" then return placed(context, what, "paper", settings_table()) end
  local known = { conditions = M.conditions, values = M.values, orders = M.orders }
  if not known[what] then
    errors.data("reproduction: expected conditions, values, orders, settings, "
      .. "stability or tally, found '%s'",
      words)
  end
  local it = attempt.of(context, name)
  if it.set then return placed(context, what, name, known[what](it)) end
  return what == "values" and placed(context, what, name, unattempted(it)) or ""
end

return M
