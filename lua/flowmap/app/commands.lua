--- The commands. Each takes the parsed arguments and flowmap.app.cli, and returns an exit code (nil
-- stands for 0).
-- @module flowmap.app.commands

local fm = require "flowmap"

local M = {}

-- Modules are loaded by the command that needs them, so that the prompt appears at once.
local function use(name)
  local module = require("flowmap." .. name)
  return module
end

local function say(...) io.stdout:write(string.format(...), "\n") end

-- The settings that are set, key -> value. Of a setting that is set again the last value counts, so
-- that a command can be extended; the user is told.
local function settings_of(args)
  local set = {}
  for _, assignment in ipairs(args.set) do
    local key, value = assignment.key, assignment.value
    local function text(it)
      return use("base.text").line(use("experiment.settings").text(it), 100)
    end
    if set[key] ~= nil and text(set[key]) ~= text(value) then
      use("base.status").new(2):say(("note: --set: %s is set to %s and then to %s, which counts")
        :format(key, text(set[key]), text(value)))
    end
    set[key] = value
  end
  return set
end

-- The experiment and the resolved settings that a command's `choice` (flowmap.app.cli) selects.
local function resolve(args)
  local experiment, set = use "experiment", settings_of(args)
  local exp = experiment.load(args.experiment)
  -- The stages of a run in a folder of its own lie beside it, unless it is one of many.
  local started = args.parent or args.element
  local stages = args.out and not started and args.out:gsub("(.)/+$", "%1") .. "-stages"
  local cfg, before = experiment.staged(exp, { profile = args.profile, method = args.method,
    seed = args.seed, set = set, stages = stages or nil })
  return exp, cfg, set, before
end

-- As `resolve`, for commands that describe the training step of a flow map.
local function resolve_step(args, command)
  local exp, cfg, _, stages = resolve(args)
  if exp.run then
    use("base.errors").usage("%s trains no flow map; `%s` describes the training step of one",
      exp.path, command)
  end
  return exp, cfg, stages
end

-- Refuse options of `run` that would have no effect.
local function check_run(args)
  local errors = use "base.errors"
  if args.json and not args.dry_run then errors.usage "--json requires --dry-run" end
  for _, name in ipairs { "resume", "force" } do
    if args.dry_run and args[name] then
      errors.usage("--dry-run makes no run: --%s has no effect", name)
    end
  end
  if args.resume and args.force then
    errors.usage "--resume continues a run and --force makes it again: give one of them"
  end
end

--- Train and evaluate one run.
function M.run(args)
  if args.base then use("experiment").base = args.base end
  if args.parent then
    fm.follow_parent(args.parent)
    use("base.progress").reports = 0.25
  end
  if args.reports then use("base.progress").reports = args.reports end
  check_run(args)
  local exp, cfg, set, stages = resolve(args)
  local dir = args.out or use("experiment").run_dir(cfg, set)
  if args.dry_run then return use("runs.run").dry_run(exp, cfg, dir, stages, args.json) end
  use("runs.run").run(exp, cfg, dir, { resume = args.resume, force = args.force,
    stages = stages, made = args.parent ~= nil, element = args.element })
end

--- Run all experiments and render their results.
function M.reproduce(args) return use("app.reproduce").run(args) end

--- Print or submit job arrays of Slurm.
function M.slurm(args) return use("app.slurm.command").run(args) end

--- List runs.
function M.runs(args) return use("app.listing").run(args) end

--- Compare two runs.
function M.diff(args) return use("runs.difference").run(args) end

--- Tell what a run is made from.
function M.why(args) return use("app.why").run(args) end

--- Accept a change since a run as irrelevant to its result.
function M.accept(args) use("runs.accept").run(args) end

--- Repeat parts of a run and compare them with its record.
function M.audit(args) return use("runs.audit").run(args) end

-- Give an option its default, or refuse it beside an argument that makes it void.
local function complete(args, option, default, other)
  if args[option] and args[other] then
    use("base.errors").usage("%s: --%s has no effect beside %s", args.command, option,
      other == "run" and "the folder of a run" or "--" .. other)
  end
  args[option] = args[option] or default
end

--- Show runs in the terminal.
function M.watch(args)
  complete(args, "results", "results", "run")
  use("app.live.watch").run(args)
end

--- Show runs as a page.
function M.serve(args)
  complete(args, "results", "results", "run")
  use("app.live.serve").run(args)
end

--- Show what the chapters are made from.
function M.graph(args)
  complete(args, "profile", "laptop", "results")
  use("app.show_graph").run(args)
end

--- Start an interactive prompt.
function M.repl() use("app.repl").run() end

--- Run a Lua file of the user's. It is loaded here, since it is not an experiment whose inputs are
-- recorded.
function M.lua(args)
  local path = use("experiment").file(args.file, "file", "experiments/hello.lua")
  local chunk = use("experiment").valid(path, loadfile(path, "t"))
  local arg = table.move(args.arguments, 1, #args.arguments, 1, { [0] = path })
  rawset(_G, "arg", arg) -- as the program lua sets it
  chunk(table.unpack(arg))
end

--- Draw samples from a checkpoint.
function M.sample(args) use("app.samples").write(args) end

--- Make an experiment file.
function M.new(args) use("app.new").run(args) end

--- List what --set takes.
function M.settings(args) use("app.setting_list").run(args) end

--- Print the number of parameters.
function M.params(args)
  local exp, cfg = resolve_step(args, "params")
  cfg.dataset_size = 0 -- counting needs no data
  local job = use("job").parts(exp, cfg)
  local rng = function(shape) return fm.zeros(shape, cfg.dtype) end
  say("%d", use("tree").count(job.net.init(rng)))
end

--- Check the derivatives of the operations and print a table.
function M.gradcheck(args)
  local failed, list = 0, fm.gradcheck(args.op)
  local row = "%-15s %6s %-8s %-24s %8s %8s  %s"
  say(row, "operation", "sample", "dtype", "check", "error", "bound", "result")
  for _, check in ipairs(list) do
    if not check.ok then failed = failed + 1 end
    say(row, check.op, check.sample > 0 and check.sample or "", check.dtype, check.check,
      ("%.1e"):format(check.error), ("%.1e"):format(check.bound), check.ok and "ok" or "FAILED")
  end
  say("%d passed, %d failed", #list - failed, failed)
  return failed == 0 and 0 or 1
end

--- Print the published methods as a table, or one of them with its equation and citation.
function M.methods(args)
  local coordinates = use "report.coordinates"
  say("%s", args.name and coordinates.describe(args.name) or coordinates.table())
end

--- Data sets of images: list, fetch, import, verify.
function M.data(args) return use("app.image_data")[args.action](args) end

--- Print the version and the machine's properties.
function M.info()
  local info = fm.info()
  say("version          %s", info.version)
  say("instruction set  %s", info.isa)
  say("bfloat16         %s", info.bfloat16)
  say("BLAS kernel      %s", info.blas)
  say("threads          %d", info.threads)
end

--- Print the costs of a training step's program, or its text, or the passes that compile it.
function M.explain(args)
  local show, errors = use "show", use "base.errors"
  if args.passes then
    for _, name in ipairs { "experiment", "profile", "method", "seed", "pass" } do
      if args[name] then errors.usage("explain: --passes takes no %s", name) end
    end
    if #args.set > 0 then errors.usage "explain: --passes takes no settings" end
    return say("%s", show.passes())
  end
  if not args.experiment then errors.usage "explain: no experiment found, expected a file" end
  local pass = args.pass and show.pass(args.pass)
  local exp, cfg, stages = resolve_step(args, "explain")
  local job = use("trainer").new(exp, cfg, nil, stages[#stages])
  if pass then return io.stdout:write(job.program:text(cfg.batch, pass)) and nil end
  io.stdout:write(job.program:explain { shared = job.shared, batch = cfg.batch, seed = cfg.seed },
    "\n")
end

--- Simulate a training step on many ranks.
function M.plan(args)
  local exp, cfg, stages = resolve_step(args, "plan")
  use("app.plan.command").run(args, exp, cfg, stages)
end

--- Write a machine file for this machine.
function M.calibrate(args) use("app.plan.calibrate").run(args) end

--- Publish runs in paper/results.
function M.publish(args) use("app.publish").run(args) end

--- Make published runs again and compare.
function M.verify(args) return use("app.verify").run(args) end

--- Weave the paper's page.
function M.paper(args)
  complete(args, "profile", "laptop", "results")
  return use("report.weave").run(args)
end

--- Print the completion of a shell.
function M.completion(args, line) io.stdout:write(use("app.completion").text(args.shell, line)) end

--- Print the manual page.
function M.manual(_, line) io.stdout:write(use("app.manual").text(line)) end

return M
