--- A reproducibility checklist whose answers come from the manifests of the runs of a page: the
-- questions of the checklists of machine-learning conferences, in our words. In prose, on a line of
-- its own:
--
--     {{checklist}}         questions and answers
--     {{checklist runs}}    the runs of each experiment: seeds, samples, revisions, cost
--     {{dates}}             inline: when the results were made, by their manifests; the profile
--                           `smoke` has no date, because its page is the same on every day
-- @module flowmap.report.checklist

local attempt = require "flowmap.report.attempt"
local chapters = require "flowmap.experiment.chapters"
local document = require "flowmap.report.document"
local errors = require "flowmap.base.errors"
local inserted = require "flowmap.report.insert_table"
local provenance = require "flowmap.report.provenance"
local tree = require "flowmap.tree"

local M = {}

local REHEARSAL = "smoke" -- a profile that tries the machinery; its times are of no interest

-- ------------------------------------------------------------------ all runs of the page

-- The experiments of the book that have runs: { { title =, set = }, ... }.
local function experiments_of(context)
  local list = {}
  for _, path in ipairs(chapters.experiments()) do
    local name = path:match "([^/]+)%.lua$"
    local set = attempt.runs(context, name)
    if set then list[#list + 1] = { title = attempt.experiment(name).title, set = set } end
  end
  if #list == 0 then errors.data("there are no runs of any chapter for a checklist") end
  return list
end

-- All runs as one set, for what they share.
local function together(list)
  local all = { runs = {}, diverged = {}, unfinished = {} }
  for _, it in ipairs(list) do
    for key, runs in pairs(all) do
      table.move(it.set[key], 1, #it.set[key], #runs + 1, runs)
    end
  end
  return all
end

-- The distinct values of a field of the manifests, as text.
local function distinct(all, path, change)
  local seen = {}
  for _, run in ipairs(all.runs) do
    local value = run:field("manifest", path)
    seen[change and change(value) or value] = true
  end
  local texts = tree.keys(seen)
  for i, value in ipairs(texts) do texts[i] = tostring(value) end
  return table.concat(texts, ", "), #texts == 1 and "" or "s"
end

local function is_rehearsal(context) return context.profile == REHEARSAL end

-- ------------------------------------------------------------------ answers

-- The terms of the data that runs may name, by the beginning of their titles.
local TERMS = {
  { "CIFAR-10", "its authors state no licence" },
  { "CelebA", "its authors allow non-commercial research" },
  { "AFHQ", "CC BY-NC 4.0" },
  { "open faces", "stated by the sources of the images" },
  { "procedural stand-in", "drawn by this suite" },
}

-- Data without images are drawn by the suite while it trains.
local function terms_of(set)
  for _, term in ipairs(TERMS) do
    if set.title:sub(1, #term[1]) == term[1] then return term[2] end
  end
  return set.count and "stated by their source" or "drawn by this suite"
end

local function data_sets(all)
  local seen = {}
  for _, run in ipairs(all.runs) do
    local set = run:field("manifest", "dataset")
    local text = ("%s (SHA-256 %s%s; %s)"):format(set.title, set.hash:sub(1, 12),
      set.count and (", %s images"):format(provenance.grouped(set.count)) or "", terms_of(set))
    seen[text] = true
  end
  return table.concat(tree.keys(seen), "; ")
end

local function stand_ins(all)
  for _, run in ipairs(all.runs) do
    if run:field("manifest", "dataset.title"):find "stand%-in" then
      return "Yes; their titles say so, and no value on them is compared with a published one."
    end
  end
  return "No."
end

local function peak_memory(all)
  local most = 0
  for _, run in ipairs(all.runs) do
    most = math.max(most, run:field("manifest", "peak_bytes"))
  end
  return ("%.0f MiB"):format(most / 2 ^ 20)
end

local function with_chain(all)
  local n = 0
  for _, run in ipairs(all.runs) do
    if run:field("manifest", "files")["chain.jsonl"] then n = n + 1 end
  end
  return n
end

local function seeds_of(list)
  local low, high
  for _, it in ipairs(list) do
    local n = #it.set:distinct "seed"
    low, high = math.min(low or n, n), math.max(high or n, n)
  end
  return low == high and tostring(low) or ("%d to %d"):format(low, high)
end

local function plural(n, what)
  return ("%s %s%s"):format(provenance.grouped(n), what, n == 1 and "" or "s")
end

local function hardware(context, all)
  local isa, isas = distinct(all, "isa")
  local blas, kernels = distinct(all, "blas")
  local text = ("A processor with the instruction set%s %s, BLAS kernel%s %s, threads per run: %s")
    :format(isas, isa, kernels, blas, (distinct(all, "threads")))
  if is_rehearsal(context) then return text .. "." end
  return ("%s, at most %s of memory per run."):format(text, peak_memory(all))
end

local function compute(context, all)
  if is_rehearsal(context) then
    return "Not stated for a rehearsal; other profiles state it here, and each table has its own."
  end
  return ("For the runs of this page: %s. Runs that only served to choose settings are not "
    .. "counted; paper/exploration.csv and paper/exploration-images.csv list those of the "
    .. "checkerboard and of images."):format(provenance.cost(all))
end

local function runs_text(list, all)
  return ("%s that ended and %s that diverged, in %s; seeds of each: %s. Unfinished runs, which "
    .. "contribute to no number: %d."):format(plural(#all.runs, "run"),
    plural(#all.diverged, "run"), plural(#list, "experiment"), seeds_of(list),
    #all.unfinished - #all.diverged)
end

-- Whether any run was judged by FID, with weights from elsewhere.
local function foreign_weights(all)
  for _, run in ipairs(all.runs) do
    for _, row in ipairs(run:field("eval", "rows")) do
      if row.fid then return "Inception-v3 with the weights for FID, to judge images." end
    end
  end
  return "No. The classifier that judges images is trained by this suite."
end

local function short(hash) return (hash:gsub("^(%x+)", function(h) return h:sub(1, 12) end)) end

local function versions(all)
  local version, several = distinct(all, "version")
  local revision, revisions = distinct(all, "revision", short)
  return ("Version%s %s; revision%s %s."):format(several, version, revisions, revision)
end

-- The checklist, in two parts: group, question, answer.
local function on_what_was_made(context, all)
  local software = document.software()
  return {
    { "Methods", "Is every objective given by an equation and by code?",
      "Yes: numbered equations stand beside the source text that computes them." },
    { "", "Are assumptions and limits stated?", "Yes, in the chapter on limits." },
    { "", "Does every claim name its evidence?",
      "Yes: verdicts are computed from the results when the page is woven." },
    { "Data", "Which data sets, under which terms?", data_sets(all) .. "." },
    { "", "Do other data stand in for those of the paper?", stand_ins(all) },
    { "", "Can the data be had and checked?", "The suite names the archives, checks their sums "
      .. "and does not redistribute them; drawn data need none." },
    { "Code", "Is the code available, under which licence?", software.license
      .. "; all sources are in one repository." },
    { "", "Which versions made the results?", versions(all) },
    { "", "Is there a list of what it depends on?",
      "Yes: .ci/packages.txt; make reproduce installs missing packages, if permitted." },
    { "", "Which commands make the results and this page?",
      ("./flowmap reproduce --profile %s; ./flowmap paper --profile %s. Each table and figure "
      .. "has its own below it."):format(context.profile, context.profile) },
    { "", "Are weights from elsewhere used?", foreign_weights(all) },
  }
end

local function on_runs(context, list, all)
  return {
    { "Training", "Are all settings recorded?",
      "Yes: config.json of each run has every setting, inputs.json every source and data set." },
    { "", "How were settings chosen?", "By short runs with seeds that the tables of their chapter "
      .. "do not report; paper/exploration.csv and paper/exploration-images.csv list those of the "
      .. "checkerboard and of images." },
    { "", "Which checkpoint is reported?", ("The %s; none is selected by its result, except in "
      .. "rows that say so."):format(distinct(all, "checkpoint_rule")) },
    { "Statistics", "How many runs?", runs_text(list, all) },
    { "", "What are the intervals?", "95 % Student-t intervals of the mean over seeds; of several "
      .. "laws together, those of a bootstrap. A single seed has none." },
    { "", "Which tests, and how are several of them handled?", "Two-sided paired sign-flip tests, "
      .. "exact up to 32 seeds, and t tests of the main effects of a fractional design; Holm's "
      .. "correction over each family of questions." },
    { "Compute", "Which hardware?", hardware(context, all) },
    { "", "How much computation?", compute(context, all) },
    { "Repetition", "Are the results deterministic?", "Yes: equal bits for any number of threads "
      .. "and after any interruption, on one instruction set and BLAS kernel." },
    { "", "Can a result be verified without all of its training?", ("%s of %s carry a chain of "
      .. "hashes, parts of which ./flowmap audit repeats."):format(
      provenance.grouped(with_chain(all)), plural(#all.runs, "run")) },
  }
end

local function answers(context)
  local list = experiments_of(context)
  local all = together(list)
  local first, second = on_what_was_made(context, all), on_runs(context, list, all)
  return table.move(second, 1, #second, #first + 1, first)
end

local function placed(context, name, t)
  return inserted.block(context, "checklist", name, t, "lua/flowmap/report/checklist.lua")
end

local function questions(context)
  local t = { title = "Reproducibility checklist. Numbers, names and hashes are those of the runs "
    .. "of this page.", heads = { "topic", "question", "answer" }, columns = {}, rows = {},
    notes = {}, widths = { 5, 14, 22 }, format = "%s" }
  for i, row in ipairs(answers(context)) do t.rows[i] = { heads = row, cells = {} } end
  t.notes[1] = "Answers are filled from manifest.json of every run of the page."
  return placed(context, "questions", t)
end

local function runs_table(context)
  local t = { title = "The runs behind this page, by experiment.",
    heads = { "experiment", "seeds", "training samples per run", "revision", "cost" },
    columns = { "runs", "diverged" }, rows = {},
    notes = { "Filled from the manifests." }, format = "%d", widths = { 9, 6, 10, 8, 14, 4, 5 } }
  for i, it in ipairs(experiments_of(context)) do
    local cost = is_rehearsal(context) and "not stated" or provenance.cost(it.set)
    local low, high = math.huge, 0
    for _, run in ipairs(it.set.runs) do
      local seen = run:field("manifest", "samples_seen")
      low, high = math.min(low, seen), math.max(high, seen)
    end
    t.rows[i] = { heads = { it.title, attempt.listed(it.set, "manifest", "seed"),
      low == high and provenance.grouped(low) or ("%s to %s"):format(provenance.grouped(low),
      provenance.grouped(high)), distinct(it.set, "revision", short), cost },
      cells = { #it.set.runs, #it.set.diverged } }
  end
  return placed(context, "runs", t)
end

--- The text of {{checklist ...}}.
-- @tparam Context context see flowmap.report.context
-- @tparam string words "" or "runs"
-- @treturn string Markdown
function M.text(context, words)
  if words == "" then return questions(context) end
  if words == "runs" then return runs_table(context) end
  errors.data("checklist: expected nothing or runs, found '%s'", words)
end

--- When the results of the page were made, as text.
-- @tparam Context context
-- @treturn string "2026-11-28 to 2026-11-29"
function M.dates(context)
  if is_rehearsal(context) then return "not dated, because this is a rehearsal" end
  local first, last
  for _, run in ipairs(together(experiments_of(context)).runs) do
    local day = run:field("manifest", "finished"):sub(1, 10)
    first, last = not first and day or day < first and day or first, not last and day
      or day > last and day or last
  end
  return first == last and first or ("%s to %s"):format(first, last)
end

return M
