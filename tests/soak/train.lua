-- Trains tests/soak/tiny.lua for many steps and looks at memory a hundred times; exit code 1 and
-- one line for each kind of memory that has grown. The first tenth is not judged.
--
--   flowmap lua tests/soak/train.lua -- STEPS

local fm = require "flowmap"
local experiment = require "flowmap.experiment"
local files = require "flowmap.base.files"
local runs = require "flowmap.runs.run"
local trainer = require "flowmap.trainer"

local steps = math.tointeger(tonumber(arg[#arg]))
local every = math.max(1, steps // 100)

local PAGE = 4096
local function resident()
  local pages = (files.read "/proc/self/statm" or "0 0"):match "^%d+ (%d+)"
  return tonumber(pages) * PAGE
end

-- Bytes by kind, and how much each may grow: not at all; a line of metrics.jsonl and of the chain
-- for each of a hundred looks; that and what the allocator keeps in pieces.
local ALLOWED = { core = 0, lua = 200000, process = 4000000 }
local function look()
  collectgarbage()
  collectgarbage()
  return { core = fm.info().bytes, lua = math.floor(collectgarbage "count" * 1024),
    process = resident() }
end

local seen = {}
local step = trainer.step
function trainer.step(job)
  local out = step(job)
  if job.done % every == 0 then seen[#seen + 1] = look() end
  return out
end

local exp = experiment.load "tiny.lua"
local cfg, stages = experiment.staged(exp, { profile = "smoke", seed = 1,
  set = { steps = steps, log_every = every, save_every = 60, checkpoints = 1 } })
runs.run(exp, cfg, "steps", { stages = stages })

local first, last, failed = seen[math.max(1, #seen // 10)], seen[#seen], false
for kind, allowed in pairs(ALLOWED) do
  local grown = last[kind] - first[kind]
  print(("%s: %d bytes, grown by %d"):format(kind, last[kind], grown))
  if grown > allowed then
    failed = true
    io.stderr:write(("flowmap: the memory of %s grew by %d bytes in %d steps\n"):format(kind, grown,
      steps))
  end
end
os.exit(not failed)
