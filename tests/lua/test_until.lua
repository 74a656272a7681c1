-- reproduce --until: seeds are added until the rule of flowmap.measure.sequential stops.

local t = require "harness"
local experiment = require "flowmap.experiment"
local files = require "flowmap.base.files"
local lfs = require "lfs"
local made_run = require "made_run"
local more_seeds = require "flowmap.app.more_seeds"
local sandbox = require "sandbox"

local both = 'methods = { "lsd", "psd-m" }'
for name, part in pairs { more = both, single = 'methods = { "lsd" }',
  gridded = both .. ", grid = { eta = { 0.5, 0.75 } }" } do
  sandbox.write(name .. ".lua", ([[
    return { name = "%s", %s, render = {}, profiles = { smoke = { steps = 20, width = 8,
      depth = 1, batch = 32, log_every = 10, eval_samples = 500, nfe = { 1 }, ema = { 0.5 },
      lr = 5e-3 } } }]]):format(name, part))
end

-- ------------------------------------------------------------------ on synthetic runs

local kl = { lsd = { 0.10, 0.12, 0.11, 0.12, 0.10 }, ["psd-m"] = { 0.21, 0.24, 0.21, 0.23, 0.21 } }
local cases = 0

-- Follow the command on runs with these values; returns its lines and the seeds it asked for.
local function follow(text, cap, more)
  local exp = experiment.load(sandbox.root .. "/more.lua")
  cases = cases + 1
  local base = ("%s/case%d"):format(sandbox.root, cases)
  local lines, asked, home = {}, {}, lfs.currentdir()
  files.mkdir(base)
  lfs.chdir(base)
  local args = { ["until"] = text, cap = cap, profile = "smoke" }
  for key, value in pairs(more or {}) do args[key] = value end
  local ok, err = pcall(more_seeds.run, args, exp, function(...)
    lines[#lines + 1] = string.format(...)
  end, function(seeds)
    for _, seed in ipairs(seeds) do
      asked[#asked + 1] = seed
      for method, values in pairs(kl) do
        local dir = ("results/more/smoke/%s-seed%d"):format(method, seed)
        local config = { method = method, seed = seed, steps = 9 }
        local metrics = { { step = 1, samples = 64, off = 1 } }
        if values[seed] then
          made_run.finished(dir, { config = config, metrics = metrics,
            rows = { { N = 1, kl = values[seed] } } })
        else
          made_run.diverged(dir, { config = config, step = 5, metrics = metrics })
        end
      end
    end
  end)
  lfs.chdir(home)
  if not ok then error(err, 0) end
  return lines, asked
end

local DIFFERENCE = "kl.LSD.N1 - kl.PSD-M.N1 +- "

t.test("it stops when the half width is reached", function()
  local lines, asked = follow(DIFFERENCE .. "1000", 5)
  t.eq(asked, { 1, 2, 3 })
  t.eq(#lines, 1)
  t.eq(lines[1]:find("kl.LSD.N1 - kl.PSD-M.N1 = -0.11 ±", 1, true), 1, lines[1]) -- .11 .12 .10
  t.eq(lines[1]:find "%(3 seeds, .*: ± 1000 is reached$" ~= nil, true, lines[1])
end)

t.test("it adds seeds one by one up to the cap", function()
  local lines, asked = follow(DIFFERENCE .. "1e-9", 5)
  t.eq(asked, { 1, 2, 3, 4, 5 })
  t.eq({ #lines, lines[1]:find "next look at 4 seeds" ~= nil,
    lines[3]:find "is not reached; 5 seeds are the cap$" ~= nil }, { 3, true, true }, lines[3])
  lines, asked = follow("kl.LSD.N1 +- 1e-9", 2)
  t.eq(asked, { 1, 2 })
  t.eq(lines[1]:find "^kl.LSD.N1 = 0.11 ±.*2 seeds are the cap" ~= nil, true, lines[1])
end)

t.test("a diverged run leaves no interval", function()
  local lines, asked = follow(DIFFERENCE .. "1e-9", 9)
  t.eq(asked, { 1, 2, 3, 4, 5, 6 })
  t.eq(lines[#lines],
    "--until: LSD has no finite value with seed 6, so there is no interval: no more seeds")
end)

t.test("what it cannot do is said before anything runs", function()
  for text, why in pairs {
    ["kl.LSD.N1"] = "has no half width",
    ["kl.LSD.N1 - kl.lsd.N1 +- 1"] = "both sides are kl.LSD.N1, so the difference is always 0",
    ["kl.LSD.N2 +- 1"] = "N = 2 is not evaluated; nfe is 1",
    ["kl.LDS.N1 +- 1"] = "more does not run 'LDS'; did you mean LSD",
    ["kl.LSD.N1 - kl.ESD.N1 +- 1"] = "more does not run 'ESD'",
  } do
    t.eq(t.raises(function() follow(text, 5) end, why).code, "usage")
  end
  t.raises(function() follow("kl.LSD.N1 +- 1", 5, { methods = { "psd-m" } }) end, "not run 'LSD'")
  t.raises(function() follow("kl.LSD.N1 +- 1", 5, { seeds = { 1 } }) end, "not %-%-seeds")
  t.raises(function()
    more_seeds.run({ ["until"] = "kl.LSD.N1 +- 1", profile = "smoke" },
      experiment.load(sandbox.root .. "/gridded.lua"))
  end, "gridded has a grid")
  t.raises(function() follow("fid.LSD.N1 +- 1", 5) end, "no number 'fid'")
end)

-- ------------------------------------------------------------------ as a command

local function reproduce(arguments)
  return sandbox.run(sandbox.program .. " reproduce single.lua --profile smoke " .. arguments)
end

t.test("the command makes the runs", function()
  local code, out = reproduce '--dry-run --until "kl.LSD.N1 +- 1"'
  t.eq(code, 0, out)
  t.eq(out:find "these are the first 3 seeds; others follow as needed, up to 20" ~= nil, true, out)
  t.eq(files.exists(sandbox.root .. "/results"), false)
  code, out = reproduce '--cap 2 --until "kl.LSD.N1 +- 1e-9"'
  t.eq({ code, out:find "2 runs, 2 of them to make.*2 seeds are the cap" ~= nil }, { 0, true }, out)
  code, out = reproduce "--cap 5"
  t.eq({ code, out:find "%-%-cap has no effect without %-%-until" ~= nil }, { 2, true }, out)
end)

t.done()
