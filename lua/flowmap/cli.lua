--- The command line. A failure is one sentence on standard error and an exit code: 0 ok, 1 a
-- failed check, 2 usage, 3 data missing or damaged, 4 numerical failure, 75 interrupted.
-- @module flowmap.cli

local errors = require "flowmap.errors"

local M = {}

local DOC = {
  description = "Flow maps by self-distillation: train, sample, compare.",
  run = "Train and evaluate one run of an experiment.",
  reproduce = "Run all experiments and render tables, figures and the paper.",
  repl = "Try things at a prompt.",
  sample = "Draw samples from a checkpoint.",
  params = "Print the number of parameters of an experiment's network.",
  gradcheck = "Check the derivatives of every operation.",
  data = "List, download, import or verify data sets of images.",
  info = "Print version, instruction set, BLAS kernel and threads.",
  paper = "Weave experiments and results into one HTML page.",
  explain = "Print the program of a training step with FLOPs, bytes and time per operation.",
}

local EPILOG = [[
Exit codes: 0 ok, 1 failed check, 2 usage, 3 data missing or damaged, 4 numerical failure,
75 interrupted but resumable.]]

local function version() return "flowmap " .. require("flowmap.core").info().version end

-- An option that takes a whole number of at least `low`.
local function whole(command, option, meaning, low)
  local name = option:match "^%S+"
  return command:option(option, meaning):convert(function(text)
    local value = math.tointeger(tonumber(text))
    if value and value >= low then return value end
    return nil, ("%s: expected a whole number of at least %d, found '%s'"):format(name, low, text)
  end)
end

local function assignment(text)
  local key, value = text:match "^([%w_.]+)=(.+)$"
  if key then return { key = key, value = require("flowmap.settings").parse(value) } end
  return nil, ("--set: expected key=value, found '%s'"):format(text)
end

local function add_version(command)
  command:flag("--version", "Show the version and exit."):action(function()
    print(version())
    os.exit(0)
  end)
  -- Before or after the command: argparse empties an option's own field where it is not repeated.
  command:flag("--traceback", "Show where in the program an error arose.")
    :action(function(args) args.trace = true end)
  whole(command, "--threads", "Worker threads (default: one per processor).", 1)
    :action(function(args, _, count) args.workers = count end)
end

-- "3" -> 1, 2, 3; "4,5" -> 4, 5
local function seeds(text)
  local list = {}
  for part in (text .. ","):gmatch "([^,]*)," do
    local seed = math.tointeger(tonumber(part))
    list[#list + 1] = seed
    if not seed or seed < 0 then
      return nil, ("--seeds: expected a number or a list such as 1,2, found '%s'"):format(text)
    end
  end
  if #list > 1 then return list end
  local count = list[1] or 0
  for k = 1, count do list[k] = k end
  return list
end

-- What run, params and explain share: which run of which experiment.
local function add_choice(command)
  command:argument("experiment", "Experiment, e.g. experiments/checkerboard.lua.")
  command:option("--profile", "smoke, laptop (default), long or paper.")
  command:option("--method", "Method, e.g. lsd, esd, psd-u, psd-m.")
  whole(command, "--seed", "Seed (default 1).", 0)
  command:option("--set", "Change a setting: key=value; may be repeated."):argname "KEY=VALUE"
    :count "*":convert(assignment)
end

local function add_run(parser)
  local run = parser:command("run", DOC.run)
  add_choice(run)
  run:option("--out", "Folder for the results (default: below results/).")
  run:flag("--dry-run", "Tell memory and time, and write nothing.")
  run:flag("--resume", "Continue from the run's checkpoint.")
  run:flag("--force", "Run even if a current result is there.")
end

local function add_sample(parser)
  local sample = parser:command("sample", DOC.sample)
  sample:argument("checkpoint", "A checkpoint.safetensors.")
  whole(sample, "--steps", "Number of steps N (default 1).", 1):default "1"
  whole(sample, "--count", "Number of samples (default 10000).", 1)
    :default "10000"
  whole(sample, "--seed", "Seed of the base noise (default 0).", 0):default "0"
  whole(sample, "--ema", "Average to use, from 1; 0: the weights (default: as evaluated).", 0)
  sample:option("--out", "FILE.png, FILE.npy or FILE.csv."):count(1)
end

local function add_data(parser)
  local data = parser:command("data", DOC.data):require_command(true):command_target "action"
  data:command("list", "What is there, and where.")
  data:command("fetch", "Download a data set and import it."):argument("name", "Data set.")
  local import = data:command("import", "Pack an archive or a folder of images.")
  import:argument("name", "Data set: afhq, celeba or cifar10.")
  import:argument("path", "Archive (zip, tar.gz, tar.xz, ...) or folder.")
  data:command("verify", "Compare packed images with their checksum.")
    :argument("name", "Data set.")
end

local function add_reproduce(parser)
  local it = parser:command("reproduce", DOC.reproduce)
  it:argument("experiments", "Experiments (default: all of the paper)."):args "*"
  it:option("--profile", "smoke, laptop, long or paper."):default "laptop"
  it:option("--seeds", "Seeds: 3 means 1 to 3; or a list, 4,5 (default: the experiment's).")
    :convert(seeds)
  whole(it, "--jobs -j", "Runs at the same time (default: one per processor).", 1)
  it:flag("--force", "Run even what is current.")
end

--- The parser of the command line.
-- @treturn table an argparse parser
function M.parser()
  local parser = require "argparse"("flowmap", DOC.description, EPILOG)
  parser:require_command(true):command_target "command"
  add_run(parser)
  add_reproduce(parser)
  parser:command("repl", DOC.repl)
  add_sample(parser)
  add_choice(parser:command("params", DOC.params))
  local check = parser:command("gradcheck", DOC.gradcheck)
  check:argument("op", "One operation (default: all)."):args "?"
  add_data(parser)
  parser:command("info", DOC.info)
  parser:command("paper", DOC.paper):option("--profile", "Whose results to weave."):default "laptop"
  add_choice(parser:command("explain", DOC.explain))
  add_version(parser)
  for _, command in ipairs(parser._commands) do add_version(command) end
  return parser
end

local function execute(args)
  if args.workers then require("flowmap.core").set_threads(args.workers) end
  return require("flowmap.commands")[args.command:gsub("%-", "_")](args) or 0
end

-- The exit code of an error, after its sentence.
local function fail(err, traceback)
  local known = type(err) == "table" and errors.status[err.code]
  io.stdout:flush()
  io.stderr:write("flowmap: ", tostring(type(err) == "table" and err.message or err), "\n")
  if traceback then io.stderr:write(traceback, "\n") end
  return known or 1
end

--- Run a command line.
-- @tparam {string,...} argv arguments; argv[0] is the program, which `reproduce` runs again
-- @treturn integer exit code
function M.main(argv)
  local ok, args = M.parser():pparse(argv)
  if ok then args.program = argv[0] end
  if not ok then
    io.stderr:write("flowmap: ", tostring(args), "; flowmap --help lists commands and options\n")
    return errors.status.usage
  end
  local trace
  local done, result = xpcall(execute, function(err)
    if args.trace then trace = debug.traceback(nil, 2) end
    return err
  end, args)
  if done then return result end
  return fail(result, trace)
end

return M
