-- Explosions of trainings and effects of switches, on small synthetic runs.

local t = require "harness"
local made_run = require "made_run"
local results = require "flowmap.report.results"
local sandbox = require "sandbox"
local stability = require "flowmap.report.stability"
local tables = require "flowmap.report.table"

local function lines_of(jump, norm)
  local lines = {}
  for i = 1, 40 do
    lines[i] = { step = 10 * i, samples = 100 * i, off = i >= jump and 500 or 1 + 0.01 * i,
      grad_norm = i == 40 and 100 * norm or norm, grad_cos = i % 10 == 0 and 0.25 or nil }
  end
  return lines
end

t.test("a training explodes where a line exceeds 100 times the median before it", function()
  t.eq(stability.explosion(lines_of(31, 1)), 310)
  t.eq(stability.explosion(lines_of(99, 1)), nil)
  t.eq(stability.explosion(lines_of(5, 1)), nil, "the first lines have no median to compare with")
  t.eq(stability.explosion(lines_of(20, 1)), 210, "not the 20th line, which has 19 before it")
end)

-- Two switches: stop ends explosions; p does nothing but halve the result.
local root = sandbox.mkdir "switched"
for seed = 1, 6 do
  for _, stop in ipairs { "full", "target" } do
    for _, p in ipairs { 0.0, 1.0 } do
      local dir = ("%s/%s-%g-seed%d"):format(root, stop, p, seed)
      local config = { method = "esd", seed = seed, stop = stop, p = p, eta = 0.75, steps = 400 }
      local lines = lines_of(stop == "full" and 25 + seed or 99, 2.0)
      if stop == "full" and p == 0 and seed == 3 then
        made_run.diverged(dir, { config = config, step = 211,
          metrics = table.move(lines, 1, 21, 1, {}) })
      else
        local kl = (stop == "full" and 4 or 1) * (1 + 0.01 * seed) / (1 + p)
        made_run.finished(dir, { config = config, metrics = lines, rows = { { N = 1, kl = kl } } })
      end
    end
  end
end

local set = results.open(root)
local SPEC = { title = "Switched", metric = "kl", N = 1, label = "KL", switches = {
  { key = "stop", off = "full", on = "target" }, { key = "p", off = 0, on = 1 } } }

t.test("cells: explosions with the first step, quantiles, cosine, result", function()
  local text = tables.markdown(stability.cells(set, SPEC)):gsub("\\", ""):gsub("\u{a0}", " ")
  t.eq(text:find("| full | 0 | 6 of 6, from step 211 | 2 | ", 1, true) ~= nil, true, text)
  t.eq(text:find("|  | 1 | 6 of 6, from step 260 | 2 | 1.2e+02 | 2e+02 | 0.25 ± 0.00 | 2.07 ±", 1,
    true) ~= nil, true, text)
  t.eq(text:find("| target | 0 | none of 6 | ", 1, true) ~= nil, true, text)
  t.eq(text:find("(5 of 6) |", 1, true) ~= nil, true, "a diverged run has no result: " .. text)
  t.eq(text:find("of the lines before, of which there were at least 20, or", 1, true) ~= nil, true,
    "a spike before them does not count, which the note says: " .. text)
end)

t.test("effects: alone and on average, with Holm over the switches", function()
  local d = stability.effects(set, SPEC)
  local rows = {}
  for i, row in ipairs(d.rows) do
    rows[i] = table.concat(row.heads, " ") .. " " .. row.cells[1].text .. " p " .. row.cells[2].text
  end
  t.eq(rows, { "from all off stop = target alone -1.00 ± 0.00 p 0.094",
    "from all off p = 1 alone 0.00 ± 0.00 p 1.00",
    "from all off all together -1.00 ± 0.00 p 0.094",
    "on average stop = target -1.00 ± 0.00 p 0.062",
    "on average p = 1 0.00 ± 0.00 p 1.00" })
  t.near(d.rows[5].cells[5].mean, -math.log(2, 10), 0.01, "p halves the result")
  t.eq(d.notes[1], "The cell with all switches off exploded in 6 of 6 seeds. No seed exploded with "
    .. "one switch alone: stop = target. Fewer explosions are shown at level 0.05 for: none.")
  t.eq(d.notes[2]:match "With 6 seeds it is [%d.]+", "With 6 seeds it is 0.031")
end)

t.test("a run that ended before its first line has no gradients; runs may all lack a result",
  function()
    local lost = sandbox.mkdir "lost"
    for seed = 1, 6 do
      for _, stop in ipairs { "full", "target" } do
        local early = stop == "full" and seed < 3
        made_run.diverged(("%s/%s-seed%d"):format(lost, stop, seed), { step = early and 3 or 211,
          config = { method = "esd", seed = seed, stop = stop, p = 0.0, eta = 0.75, steps = 400 },
          metrics = early and {} or table.move(lines_of(99, 2.0), 1, 21, 1, {}) })
      end
    end
    local row = stability.effects(results.open(lost), SPEC).rows[1]
    t.eq({ row.cells[1].n, row.cells[3].n, row.cells[5] }, { 6, 4 })
  end)

t.test("with a fraction of the cells there are only effects alone", function()
  local part = results.open(root)
  for i = #part.runs, 1, -1 do
    local c = part.runs[i].config
    if c.stop == "target" and c.p == 1 then table.remove(part.runs, i) end
  end
  local d = stability.effects(part, SPEC)
  t.eq(#d.rows, 3)
  t.eq(#stability.cells(part, SPEC).rows, 3)
  t.raises(function() stability.effects(part:select { stop = "target" }, SPEC) end,
    "no run with all switches off")
end)

t.done()
