-- The command `accept`: a change that does not matter to a run, which then goes on or is reused.

local t = require "harness"
local experiment = require "flowmap.experiment"
local files = require "flowmap.base.files"
local fm = require "flowmap"
local own_files = require "own_experiment"
local record = require "flowmap.runs.record"
local sandbox = require "sandbox"

local load, run, decided, root = own_files.small, own_files.run, own_files.decided, sandbox.root

local LATE = [[
local calls = 0
own.metrics = { m = function()
  calls = calls + 1
  if calls > 1 then %s end
  return 1
end }]]

local function accept(dir, path)
  require("flowmap.runs.accept").run { run = dir, why = "the metric alone", experiment = path }
end

for what, failure in pairs { ["an error"] = 'error("late")', ["not a number"] = "return 0 / 0" } do
  t.test("a metric fails after the training (" .. what .. "): once fixed, it is only evaluated",
    function()
      local it = load(LATE:format(failure))
      local dir = root .. "/late"
      t.raises(function() run(it, {}, dir) end, what == "an error" and "late" or "finite number")
      t.eq(files.exists(dir .. "/diverged.json"), false)
      for key in pairs(record.need(dir, "inputs")) do
        t.eq(key:find "^variable" or key:find "^exists", nil, "what recording looks at: " .. key)
      end
      fm.write_file(it.path, (files.read(it.path):gsub("if calls.-end", "")))
      it = experiment.load(it.path)
      local trained = fm.sha256(files.read(dir .. "/checkpoint.safetensors"))
      t.raises(function() run(it, {}, dir, { resume = true }) end,
        "declare by flowmap accept that the change does not matter")
      accept(dir, it.path)
      t.raises(function() run(it, {}, dir) end, "holds this run, interrupted: %-%-resume continues")
      run(it, {}, dir, { resume = true })
      t.eq(fm.sha256(files.read(dir .. "/checkpoint.safetensors")), trained)
      t.eq(record.need(dir, "eval").rows[2].m, 1)
      local decision, why = decided(it.path, dir)
      t.eq({ decision, why:find "but what was accepted" ~= nil }, { "reuse", true })
      local words = require("flowmap.runs.accept").words(record.need(dir, "accepted"))
      t.eq(words[1]:find "the metric alone %(experiment changed" ~= nil, true, words[1])
      fm.write_file(it.path, files.read(it.path) .. "-- no change\n")
      accept(dir, it.path) -- a result, as before, so that there is nothing to accept
      os.execute("rm -rf " .. files.quote(dir))
    end)
end

t.test("accept refuses diverged runs and runs without a checkpoint", function()
  local dir = run(load "")
  os.remove(dir .. "/manifest.json")
  record.write(dir, "diverged", { step = 1, message = "x", files = {} })
  t.raises(function() accept(dir) end, "diverged; only a result or an interrupted run")
  os.remove(dir .. "/diverged.json")
  os.remove(dir .. "/checkpoint.safetensors")
  t.raises(function() accept(dir) end, "is not finished and has no checkpoint to go on from")
end)

t.test("a change is accepted and then taken back: the run's own inputs count, no work is lost",
  function()
    local it, dir = load "own.metrics = { m = function() return 1 end }", root .. "/back"
    run(it, {}, dir)
    local text = files.read(it.path)
    local function accept_and_take_back()
      fm.write_file(it.path, (text:gsub("return 1", "return 2")))
      accept(dir, it.path)
      fm.write_file(it.path, text)
    end
    accept_and_take_back()
    local action, why = decided(it.path, dir)
    t.eq({ action, why:find "accepted" }, { "reuse" })
    os.remove(dir .. "/accepted.json")
    os.remove(dir .. "/manifest.json") -- as if it had been interrupted
    accept_and_take_back()
    t.eq((decided(it.path, dir)), "run")
    run(experiment.load(it.path), {}, dir)
    local aside = files.folders(dir .. "-outdated")
    t.eq(#aside, 1)
    t.eq(files.exists(("%s-outdated/%s/checkpoint.safetensors"):format(dir, aside[1])), true)
  end)

t.done()
