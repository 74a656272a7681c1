--- The commands: each takes the parsed arguments and returns an exit code (nil: 0).
-- @module flowmap.app.commands

local fm = require "flowmap"

local M = {}

-- Modules are loaded by the command that needs them: the prompt must come at once.
local function use(name)
  local module = require("flowmap." .. name)
  return module
end

local function say(...) io.stdout:write(string.format(...), "\n") end

-- The experiment and the resolved settings that run, params and explain are about.
local function resolve(args)
  local experiment, set = use "experiment", {}
  for _, it in ipairs(args.set) do set[it.key] = it.value end
  local it = experiment.load(args.experiment)
  local cfg = experiment.resolve(it, {
    profile = args.profile, method = args.method, seed = args.seed, set = set,
  })
  return it, cfg, set
end

-- The same for commands about the training step of a flow map.
local function resolve_step(args, command)
  local it, cfg = resolve(args)
  if it.run then
    use("base.errors").usage("%s trains no flow map, and `%s` is about its step", it.path, command)
  end
  return it, cfg
end

--- Train and evaluate one run.
function M.run(args)
  if args.parent then
    fm.follow_parent(args.parent)
    use("base.progress").reports = true
  end
  if args.json and not args.dry_run then use("base.errors").usage "--json goes with --dry-run" end
  local it, cfg, set = resolve(args)
  local dir = args.out or use("experiment").run_dir(cfg, set)
  if args.dry_run then return use("runs.run").dry_run(it, cfg, dir, args.json) end
  use("runs.run").run(it, cfg, dir, { resume = args.resume, force = args.force })
end

--- Run and render everything.
function M.reproduce(args) return use("app.reproduce").run(args) end

--- A change since a run that does not matter.
function M.accept(args) use("runs.accept").run(args) end

--- An interactive prompt.
function M.repl() use("app.repl").run() end

--- Samples from a checkpoint.
function M.sample(args) use("app.samples").write(args) end

--- The parameter count alone.
function M.params(args)
  local it, cfg = resolve_step(args, "params")
  cfg.dataset_size = 0 -- counting needs no data
  local job = use("job").parts(it, cfg)
  local rng = function(shape) return fm.zeros(shape, cfg.dtype) end
  say("%d", use("tree").count(job.net.init(rng)))
end

--- Derivative checks of the operations, as a table.
function M.gradcheck(args)
  local failed, list = 0, fm.gradcheck(args.op)
  say("%-12s %-12s %10s %10s", "operation", "check", "error", "bound")
  for _, it in ipairs(list) do
    if not it.ok then failed = failed + 1 end
    say("%-12s %-12s %10.1e %10.1e  %s", it.op, it.check, it.error, it.bound,
      it.ok and "ok" or "FAILED")
  end
  say("%d passed, %d failed", #list - failed, failed)
  return failed == 0 and 0 or 1
end

--- Data sets of images: list, fetch, import, verify.
function M.data(args) return use("data.packed.command")[args.action](args) end

--- What this program is and runs on.
function M.info()
  local info = fm.info()
  say("version          %s", info.version)
  say("instruction set  %s", info.isa)
  say("bfloat16         %s", info.bfloat16)
  say("BLAS kernel      %s", info.blas)
  say("threads          %d", info.threads)
end

--- The program of a training step: its costs, or its text; or the passes that compile it.
function M.explain(args)
  local show = use "show"
  if args.passes then return say("%s", show.passes()) end
  if not args.experiment then
    use("base.errors").usage "explain: no experiment found, expected a file"
  end
  local pass = args.pass and show.pass(args.pass)
  local it, cfg = resolve_step(args, "explain")
  local job = use("trainer").new(it, cfg)
  if pass then return io.stdout:write(job.program:text(cfg.batch, pass)) and nil end
  io.stdout:write(job.program:explain { shared = job.shared, batch = cfg.batch, seed = cfg.seed },
    "\n")
end

--- Runs into paper/results.
function M.publish(args) use("app.publish").run(args) end

--- The paper's page.
function M.paper(args) return use("report.weave").run(args) end

return M
