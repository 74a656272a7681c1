-- Teachers that a run trains first: which runs these are, what they teach, and that the chain can
-- be interrupted anywhere.

local t = require "harness"
local fm = require "flowmap"
local sandbox = require "sandbox"

local experiment, trainer = fm.experiment, fm.trainer
local flowmap = sandbox.flowmap

local TEXT = [[
return { name = "chain", methods = { "fm", "lmd", "pd" }, seeds = 1,
  settings = { data = "gaussians", width = 16, depth = 2, nfe = { 1, 2 }, bins = 16 },
  profiles = { smoke = { steps = 60, batch = 32, micro = 16, lr = 5e-3, ema = { 0.9 },
    eval_samples = 1000, log_every = 10, save_every = 0,
    by_method = { fm = { lr = 4e-3 }, pd = { teacher_steps = 4 } } } } }
]]
local path = sandbox.write("chain.lua", TEXT)
local chain = experiment.load(path)

local function staged(method, set, point)
  return experiment.staged(chain, { profile = "smoke", method = method, set = set, point = point })
end

local function names(stages)
  local list = {}
  for i, stage in ipairs(stages) do list[i] = stage.dir:match "results/chain/(.*)$" end
  return table.concat(list, " ")
end

t.test("the stages of a run", function()
  local cfg, stages = staged "lmd"
  t.eq(names(stages), "smoke/fm-seed1") -- the experiment's own run
  t.eq(cfg.teacher, "results/chain/smoke/fm-seed1/checkpoint.safetensors")
  t.eq({ stages[1].cfg.eta, stages[1].cfg.lr, stages[1].cfg.sampler }, { 1.0, 4e-3, "euler" })
  t.eq(names(select(2, staged "lsd")), "")
  t.eq(names(select(2, staged("lsd", { teacher = "auto" }))), "smoke/fm-seed1")
  t.eq(names(select(2, staged "pfmm")), "smoke-stages/fmm-seed1")
  -- settings that the teacher reads are passed on, and what both must share
  t.eq(names(select(2, staged("lmd", { width = 8, off_weight = 2, eta = 0.5, stop = "convex" }))),
    "smoke-stages/fm-width=8-seed1")
  cfg, stages = staged "scd"
  t.eq(names(stages), "smoke-stages/fm-interpolant=trig-seed1")
  t.eq({ cfg.interpolant, stages[1].cfg.interpolant }, { "trig", "trig" })
  -- a teacher that is given needs no stage
  cfg, stages = staged("lmd", { teacher = "other.safetensors" })
  t.eq({ cfg.teacher, #stages }, { "other.safetensors", 0 })
end)

t.test("progressive distillation halves the steps down to the student's", function()
  local cfg, stages = staged("pd", { teacher_steps = 16 })
  t.eq(names(stages), "smoke/fm-seed1 smoke-stages/pd-student_steps=8-teacher_steps=16-seed1 "
    .. "smoke-stages/pd-student_steps=4-teacher_steps=16-seed1 "
    .. "smoke-stages/pd-student_steps=2-teacher_steps=16-seed1")
  for i = 2, 4 do
    t.eq(stages[i].cfg.teacher, stages[i - 1].dir .. "/checkpoint.safetensors")
    t.eq(stages[i].cfg.nfe, { stages[i].cfg.student_steps })
  end
  t.eq(cfg.teacher, stages[4].dir .. "/checkpoint.safetensors")
  -- an own metric might read any setting, and yet the teacher does not get the student's steps
  local measured = experiment.load(sandbox.write("measured.lua", (TEXT:gsub("methods =",
    "metrics = { one = function() return 1 end }, %0"))))
  stages = select(2, experiment.staged(measured, { profile = "smoke", method = "pd" }))
  t.eq(names(stages), "smoke/fm-seed1 smoke-stages/pd-student_steps=2-seed1")
  local given = select(2, staged("pd", { teacher = "other.safetensors" }))
  t.eq({ #given, given[1].cfg.teacher }, { 1, "other.safetensors" })
  t.raises(function() staged("pd", { teacher_steps = 6 }) end,
    "halving 6 steps %(teacher_steps%) does not lead to 1")
  t.raises(function() staged("pd", { student_steps = 4 }) end, "halving 4 steps")
end)

t.test("the first teacher is not told the steps of students, where metrics may read any", function()
  local exact = experiment.load "experiments/exact.lua"
  local _, stages = experiment.staged(exact, { profile = "smoke", method = "pd",
    set = { data = "modes2" } })
  t.eq({ stages[1].set.student_steps, stages[1].set.data }, { nil, "modes2" })
end)

t.test("flow matching has no map and no off-diagonal term", function()
  t.raises(function() staged("fm", { sampler = "map" }) end, "trains no map, only its velocity")
  t.raises(function() staged("fm", { eta = 0.5 }) end, "eta has no effect: .* diagonal alone")
  t.raises(function() staged("fm", { stop = "none" }) end, "stop has no effect")
end)

t.test("the law of a student's steps", function()
  local a = fm.uniform({ 512, 1 }, { seed = 1, stream = "a" })
  local s, u = fm.times.steps(a, nil, { student_steps = 3 })
  local seen = {}
  for i = 1, 512 do
    t.near(u:get(i, 1) - s:get(i, 1), 1 / 3, 1e-6)
    seen[math.floor(3 * s:get(i, 1) + 0.5)] = true
  end
  t.eq(seen, { [0] = true, true, true })
end)

local function weights(dir, group)
  local parts, found = {}, fm.load_safetensors(sandbox.path(dir) .. "/checkpoint.safetensors")
  for _, name in ipairs(fm.tree.keys(found)) do
    if not group or name:find("^" .. group) then
      parts[#parts + 1] = (group and name:gsub("^[^.]*", "") or name) .. fm.bytes(found[name])
    end
  end
  return fm.sha256(table.concat(parts))
end

local RUN = "run chain.lua --profile smoke --method pd --out "
local STAGES = { "fm-seed1", "pd-student_steps=2-seed1" }

t.test("one command trains the chain; each number of steps is its student's", function()
  local code, out = flowmap(RUN .. "whole")
  t.eq(code, 0, out)
  local function row(dir, k) return fm.json.read(sandbox.path(dir) .. "/eval.json").rows[k] end
  local two = row("whole-stages/" .. STAGES[2], 1)
  t.eq(row("whole", 2), two)
  t.eq({ row("whole", 1).N, two.N }, { 1, 2 })
  code, out = flowmap(RUN .. "whole")
  t.eq(code, 0, out)
  t.eq(select(2, out:gsub("reused: nothing changed", "")), 3, out)
end)

t.test("a student starts from its teacher's average, a teacher by Euler's steps", function()
  local first = sandbox.path("whole-stages/" .. STAGES[1] .. "/checkpoint.safetensors")
  local cfg = experiment.resolve(chain, { profile = "smoke", method = "pd",
    set = { student_steps = 2, teacher = first } })
  local job = trainer.new(chain, cfg)
  local _, taught = trainer.load(cfg.teacher)
  t.eq(fm.bytes(job.params[1].w), fm.bytes(taught[1].w))
  t.eq(fm.bytes(job.shared.teacher[1].w), fm.bytes(taught[1].w))
  trainer.step(job)
  t.eq(fm.bytes(job.params[1].w) == fm.bytes(taught[1].w), false)
  t.eq(fm.bytes(job.shared.teacher[1].w), fm.bytes(taught[1].w)) -- which stays as it was
  local s, x = fm.full({ 3, 1 }, 0.25), fm.ones { 3, 2 }
  t.eq(fm.bytes(job.teacher_net.v(taught, s, 2 * s, x)), fm.bytes(job.net.v(taught, s, s, x)))
  t.eq(fm.bytes(job.net.v(taught, s, 2 * s, x)) == fm.bytes(job.net.v(taught, s, s, x)), false)
  -- a student's own map is used as it is
  cfg.teacher = sandbox.path("whole-stages/" .. STAGES[2] .. "/checkpoint.safetensors")
  job = trainer.new(chain, cfg)
  t.eq(fm.bytes(job.teacher_net.v(taught, s, 2 * s, x)), fm.bytes(job.net.v(taught, s, 2 * s, x)))
end)

t.test("interrupted in each stage and resumed: the bits of an undisturbed chain", function()
  local resume = ""
  for _, dir in ipairs { "cut-stages/" .. STAGES[1], "cut-stages/" .. STAGES[2], "cut" } do
    local code, out = sandbox.interrupt(RUN .. "cut" .. resume, "TERM", dir .. "/metrics.jsonl")
    t.eq(code, 75, out)
    resume = " --resume"
  end
  local code, out = flowmap(RUN .. "cut")
  t.eq(code, 2, out)
  t.eq(out:find "%-%-resume continues it" ~= nil, true, out)
  code, out = flowmap(RUN .. "cut --resume")
  t.eq(code, 0, out)
  for _, dir in ipairs { "-stages/" .. STAGES[1], "-stages/" .. STAGES[2], "" } do
    t.eq(weights("cut" .. dir), weights("whole" .. dir), dir)
  end
  t.eq(sandbox.read "cut/samples-N1.npy", sandbox.read "whole/samples-N1.npy")
end)

t.test("reproduce makes a shared teacher once, first, and again when it changed", function()
  local code, out = flowmap "reproduce chain.lua --profile smoke --jobs 2"
  t.eq(code, 0, out)
  t.eq(out:find "\n4 runs, 4 of them to make" ~= nil, true, out)
  t.eq(out:find "chain/lmd%-seed1 runs: chain/fm%-seed1 runs first" ~= nil, true, out)
  t.eq(out:find "pd%-seed1 runs: chain/pd%-student_steps=2%-seed1 runs first" ~= nil, true, out)
  t.eq(out:find "%[1/4%] chain/fm%-seed1 done" ~= nil, true, out)
  local root = "results/chain/smoke"
  t.eq(weights(root .. "/fm-seed1"), weights("whole-stages/" .. STAGES[1]))
  t.eq(weights(root .. "/pd-seed1"), weights "whole")
  t.eq(sandbox.exists(root .. "-stages/fm-seed1"), false)
  sandbox.write("chain.lua", (TEXT:gsub("lr = 4e%-3", "lr = 6e-3")))
  code, out = flowmap "run chain.lua --profile smoke --method lmd"
  t.eq(code, 0, out)
  t.eq(out:find "fm%-seed1 runs: lr changed.*lmd%-seed1 runs: teacher changed" ~= nil, true, out)
end)

t.test("a teacher that diverges leaves no student", function()
  local wild = "lr = 900, clip = 0, depth = 8, optimiser = 'adamw'"
  sandbox.write("chain.lua", (TEXT:gsub("lr = 4e%-3", wild)))
  local code, out = flowmap "run chain.lua --profile smoke --method lmd --out lost"
  t.eq(code, 4, out)
  t.eq(out:find "fm%-seed1, which is the teacher, diverged: step" ~= nil, true, out)
  t.eq(sandbox.exists "lost", false)
  code, out = flowmap "reproduce chain.lua --profile smoke --jobs 1"
  t.eq(code, 0, out)
  t.eq(out:find "lmd%-seed1 does not run: chain/fm%-seed1, its teacher, diverged" ~= nil, true, out)
  t.eq(out:find "pd%-seed1 does not run: .*, its teacher, diverged" ~= nil, true, out)
  out = select(2, flowmap "reproduce chain.lua --profile smoke --dry-run")
  t.eq(out:find "lmd%-seed1 diverged: chain/fm%-seed1, its teacher, did" ~= nil, true, out)
end)

t.done()
