--- The command line. A failure is one sentence on standard error and one of `M.exit_codes`.
--
-- One table, `M.commands`, holds all commands and options; a new option is one line of that table.
-- @module flowmap.app.cli

local errors = require "flowmap.base.errors"
local kinds = require "flowmap.app.kinds"
require "flowmap.base.blame" -- loaded now: the error may be that no further file can be opened

local M = {}

local COLUMNS = 80 -- of the help

--- The exit codes and their meanings.
M.exit_codes = { { 0, "ok" }, { 1, "failed check" }, { 2, "usage or out of memory" },
  { 3, "data missing or damaged" }, { 4, "numerical failure" },
  { 75, "interrupted but resumable" } }

--- The day of the release whose command line this is: for the manual page.
M.released = "2026-11-30"

--- The purpose of the program, for help and manual page.
M.purpose = "Flow maps by self-distillation: train, sample, compare."

--- The kinds whose values are names of files or folders.
M.kinds = { folder = kinds.folder, file = kinds.file }

local file, folder, whole, one_of = kinds.file, kinds.folder, kinds.whole, kinds.one_of
local MAX_THREADS, seed, seeds, methods = kinds.MAX_THREADS, kinds.seed, kinds.seeds, kinds.methods

-- ------------------------------------------------------------------ commands

--- The arguments that select a run, shared by the commands with the field `choice`.
M.choice = {
  { "experiment", "Experiment, e.g. experiments/checkerboard.lua.", kind = file },
  { "--profile", "smoke, laptop (default), long or paper.", kind = kinds.profile },
  { "--method", "Method, e.g. lsd, esd, psd-u, psd-m." },
  { "--seed", "Seed (default: 1).", kind = seed },
  { "--set", "Change a setting; may be repeated.", kind = kinds.assignment, count = "*",
    value = "KEY=VALUE" },
}

--- The options of every command.
M.everywhere = {
  { "--threads", "Worker threads (default: one per processor).", kind = whole(1, MAX_THREADS),
    -- Given before or after the command; argparse clears the option's own field where it is absent.
    action = function(args, _, count) args.workers = count end },
  { "--traceback", "Show where in the program an error arose.", flag = true,
    action = function(args) args.trace = true end },
}

--- The switches of every command that print a text instead of running the command.
M.information = {
  { "-h --help", "Show this help and exit.", flag = true },
  { "--version", "Show the version and exit.", flag = true },
}

-- How Slurm makes runs: the last options of `reproduce` and `slurm`. Defaults:
-- flowmap.app.slurm.array.
local CLUSTER = {
  { "--hours", "With Slurm: time limit of a job in hours; a longer run continues in further jobs "
    .. "(default: 24).", kind = whole(1, 10000) },
  { "--ranks", "With Slurm: processes that share a run, started by srun (default: 1).",
    kind = whole(1, 100000) },
  { "--nodes", "With --ranks: nodes of a run (default: as Slurm chooses).", kind = whole(1) },
  { "--mpi", "With --ranks: the value of srun --mpi (default: pmix)." },
  { "--option", "With Slurm: a further option of sbatch such as partition=long; may be repeated.",
    kind = kinds.sbatch_option, count = "*", value = "NAME=VALUE" },
}

--- The commands in the order of the help: { name, summary, argument, ... }. An argument is
-- { name, meaning, kind =, default = as it would be typed, count =, value =, flag =, args =,
-- action =, hidden =, target = its field, otherwise = its value if it is given without one }. A
-- name with a leading dash is an option or, with `flag`, a switch; any other name is a positional
-- argument. `choice` adds the arguments in M.choice; if it is "optional", the experiment may be
-- omitted.
M.commands = {
  { "run", "Train and evaluate one run of an experiment.", choice = true,
    { "--out", "Folder for the results (default: below results/).", kind = folder },
    { "--dry-run", "Print memory and time without writing anything.", flag = true },
    { "--json", "With --dry-run: print one line of JSON.", flag = true },
    { "--resume", "Continue from the run's checkpoint.", flag = true },
    { "--force", "Run even if an up-to-date result exists.", flag = true },
    -- Set by `reproduce` and `verify`: their process id, and the folder of the stages' results.
    { "--parent", "", kind = whole(1), hidden = true },
    { "--base", "", kind = folder, hidden = true },
    -- Set in job arrays: continue what was interrupted, the stages are other elements; and the
    -- seconds between two reports for `reproduce`.
    { "--element", "", flag = true, hidden = true },
    { "--reports", "", kind = whole(1), hidden = true },
  },
  { "reproduce", "Run all experiments and render tables, figures and the paper.",
    { "experiments", "Experiments (default: all of the paper's).", args = "*", kind = file },
    { "--profile", "smoke, laptop, long or paper", kind = kinds.profile, default = "laptop" },
    { "--seeds", "A count (3 means 1 to 3) or a list such as 4,5 (default: the experiment's).",
      kind = seeds },
    { "--methods", "Methods such as lsd,psd-m (default: the experiment's).", kind = methods },
    { "--until", "Add seeds until the 95 % interval of a difference is narrow enough, e.g. "
      .. "\"kl.LSD.N1 - kl.PSD-M.N1 +- 0.005\" (one experiment)." },
    { "--cap", "With --until: the largest number of seeds, chosen beforehand (default: 20).",
      kind = whole(2, 100) },
    { "--jobs -j", "Concurrent runs (default: one per processor).",
      kind = whole(1, MAX_THREADS) },
    { "--dry-run", "List the runs, why each runs or is reused, and the time, memory and disk space "
      .. "they need, without making them.", flag = true },
    { "--force", "Repeat runs whose results are up to date.", flag = true },
    { "--render", "Make no runs: name the missing ones, and render the experiments that are "
      .. "complete.", flag = true },
    { "--executor", "Where the runs are made: local, in child processes (default), or slurm, in "
      .. "jobs of a cluster.", kind = one_of("local", "slurm") },
    table.unpack(CLUSTER),
  },
  { "slurm", "Print a script that submits all runs as job arrays of Slurm, or submit it.",
    { "experiments", "Experiments (default: all of the paper's).", args = "*", kind = file },
    { "--profile", "smoke, laptop, long or paper", kind = kinds.profile, default = "laptop" },
    { "--seeds", "A count (3 means 1 to 3) or a list such as 4,5 (default: the experiment's).",
      kind = seeds },
    { "--methods", "Methods such as lsd,psd-m (default: the experiment's).", kind = methods },
    { "--submit", "Submit the jobs instead of printing the script.", flag = true },
    table.unpack(CLUSTER),
  },
  { "runs", "List runs: settings that differ, a result, processor time, state.",
    { "experiments", "Names of experiments, or files of your own (default: all).", args = "*" },
    { "--profile", "Only runs of this profile.", kind = kinds.profile },
    { "--results", "Folder of runs or of published sets", kind = folder, default = "results" },
    { "--metric", "A column of the results (default: the first)." },
    { "--N", "Number of steps of the sampler (default: the smallest evaluated).",
      kind = whole(1) },
    { "--sort", "method, seeds, result, cpu, state or a setting (default: method)." },
    { "--each", "One line per run instead of one for all seeds.", flag = true },
    { "--verify", "Compare the checksums of all files, too. Exit code 3: some differ.",
      flag = true },
    { "--csv", "Print CSV.", flag = true },
  },
  { "diff", "Compare two runs: settings, inputs, results, traces, bits. Exit code 1: they differ.",
    { "first", "Folder of a run.", kind = folder },
    { "second", "Folder of another run.", kind = folder },
  },
  { "why", "Tell what a run is made from, what has changed since, and what shows it.",
    { "run", "Folder of a run.", kind = folder },
    { "--experiment", "The run's experiment, if it is not one of the suite's.", kind = file },
  },
  { "accept", "Declare that a change since a run does not affect its result.",
    { "run", "Folder of a finished run.", kind = folder },
    { "--why", "The reason, printed below every table." },
    { "--experiment", "The run's experiment, if it is not one of the suite's.", kind = file },
  },
  { "audit", "Repeat parts of a run and compare them with its record.",
    { "run", "Folder of a finished run.", kind = folder },
    { "--segments", "How many parts of the training, chosen at random (default: 3).",
      kind = whole(0, 1000) },
    { "--all", "Repeat the whole training.", flag = true },
    { "--today", "Repeat parts even if the sources have changed since.", flag = true },
    { "--experiment", "The run's experiment, if it is not one of the suite's.", kind = file },
  },
  { "graph", "Show what chapters are made from and which parts are out of date, also as SVG.",
    { "experiments", "Experiments (default: all of the paper's).", args = "*", kind = file },
    { "--profile", "smoke, laptop (default), long or paper.", kind = kinds.profile },
    { "--results", "A folder of published sets, e.g. paper/results/long.", kind = folder },
    { "--out", "Output: FILE.svg", kind = file, default = "paper/build/graph.svg" },
  },
  { "watch", "Show running and finished runs in the terminal: progress, loss, time left.",
    { "run", "Folder of a run (default: all below --results).", args = "?", kind = folder },
    { "--results", "Folder of runs (default: results).", kind = folder },
    { "--once", "Print the state of all runs once and end.", flag = true },
  },
  { "serve", "Show running and finished runs as a page for a browser on this machine.",
    { "run", "Folder of a run (default: all below --results).", args = "?", kind = folder },
    { "--results", "Folder of runs (default: results).", kind = folder },
    { "--port", "Port on 127.0.0.1; 0 chooses a free one", kind = whole(0, 65535),
      default = "8137" },
  },
  { "repl", "Start an interactive prompt." },
  { "lua", "Run a Lua file that uses the library.",
    { "file", "A Lua file, e.g. experiments/hello.lua.", kind = file },
    { "arguments", "Arguments passed to the file.", args = "*" },
  },
  { "sample", "Draw samples from a checkpoint.",
    { "checkpoint", "A checkpoint.safetensors file.", kind = file },
    -- All steps are one program: compiling 100,000 of a small network takes half a minute and 2 GB.
    { "--steps", "Number of steps N (default: 1).", kind = whole(1, 100000) },
    { "--sampler --method", "map, consistency, or a solver of the probability flow: euler, heun or "
      .. "dopri5 (default: as evaluated)." },
    { "--rtol", "dopri5: relative tolerance (default: as evaluated).", kind = kinds.real },
    { "--atol", "dopri5: absolute tolerance (default: as evaluated).", kind = kinds.real },
    { "--class", "Class of all samples, from 0 (default: each class in turn).", kind = whole(0) },
    { "--guidance", "v_null + guidance (v_class - v_null) in place of the velocity of the class "
      .. "(default: as evaluated).", kind = kinds.real },
    { "--count", "Number of samples", kind = whole(1), default = "10000" },
    { "--seed", "Seed of the base noise", kind = seed, default = "0" },
    { "--ema", "Which weight average, from 1; 0 selects the weights (default: as evaluated).",
      kind = whole(0) },
    { "--experiment", "Experiment that defines the network, if the suite does not; its code must "
      .. "match the checkpoint.", kind = file },
    { "--out", "Output: FILE.png, FILE.npy or FILE.csv.", kind = file, count = 1 },
  },
  { "new", "Make NAME.lua, a documented experiment file that runs as it is.",
    { "name", "Letters, digits, - and _; an existing file is never overwritten." },
    { "--loss", "With a loss of your own (default: every kind of part).", flag = true },
    { "--net", "With a network of your own.", flag = true },
    { "--data", "With a data set of your own.", flag = true },
  },
  { "settings", "List what --set takes: type, range, default, meaning, and when it is read.",
    { "name", "One setting (default: all).", args = "?" },
    { "--experiment", "Experiment whose own settings and values are added.", kind = file },
    { "--profile", "With --experiment: its profile (default: laptop).", kind = kinds.profile },
    { "--method", "With --experiment: the method (default: its first)." },
  },
  { "params", "Print the number of parameters of an experiment's network.", choice = true },
  { "plan", "Simulate a training step on 1 to 1,024 ranks of a machine: time, efficiency, price.",
    choice = true,
    { "--machine", "File that describes the machine, e.g. paper/scaling/nodes-100g.json.",
      kind = file, count = 1 },
    { "--ranks", "Further numbers of ranks, e.g. 3,48.", kind = kinds.counts },
    { "--json", "Print one line of JSON.", flag = true },
    { "--csv", "Print CSV.", flag = true },
  },
  { "calibrate", "Measure this machine for `plan`, in less than a minute.",
    { "--out", "Output (default: standard output).", kind = file },
  },
  { "gradcheck", "Check the derivatives of every operation.",
    { "op", "One operation (default: all).", args = "?" },
  },
  { "methods", "List the published methods as coordinates, or describe one.",
    { "name", "Method, e.g. lsd (default: all).", args = "?" },
  },
  { "data", "List, download, import or verify data sets of images.", commands = {
    { "list", "List the data sets and where they are." },
    { "fetch", "Download a data set and import it.", { "name", "Data set." } },
    { "import", "Pack an archive or a folder of images.",
      { "name", "Data set: afhq, celeba or cifar10." },
      { "path", "Archive (zip, tar.gz, tar.xz, ...) or folder.", kind = file } },
    { "verify", "Compare packed images with their checksum.", { "name", "Data set." } },
  } },
  { "info", "Print version, instruction set, BLAS kernel and threads." },
  { "paper", "Weave experiments and results into one HTML page.",
    { "chapters", "Chapters (default: all of the paper's).", args = "*", kind = file },
    { "--profile", "Profile whose results are woven (default: laptop).", kind = kinds.profile },
    { "--results", "Weave published sets as they are, e.g. paper/results/long; no run is needed.",
      kind = file },
    { "--pdf", "Write a PDF as well, by LuaLaTeX.", flag = true },
  },
  { "publish", "Copy a profile's runs, tables and figures to paper/results.",
    { "profile", "smoke, laptop, long or paper.", kind = kinds.profile },
    { "experiments", "Experiments (default: all of the paper's).", args = "*", kind = file },
  },
  { "verify", "Make the runs of published sets again and compare every value. Exit code 1: some "
    .. "differ.",
    { "experiments", "Names of published sets, or files of your own experiments (default: all).",
      args = "*" },
    { "--profile", "Only sets of this profile.", kind = kinds.profile },
    { "--records", "Only check that tables, figures and values follow from the set's own runs.",
      flag = true },
    { "--seed", "Only runs of this seed.", kind = seed },
    { "--seeds", "Only runs of these seeds, a count or a list.", kind = seeds },
    { "--methods", "Only runs of these methods.", kind = methods },
    { "--runs", "Only this many runs of each set: those begun before, then random ones.",
      kind = whole(1) },
    { "--jobs -j", "Concurrent runs (default: one per processor).", kind = whole(1, MAX_THREADS) },
    { "--dry-run", "List the runs and how long they take without making them.", flag = true },
    { "--keep", "Keep a line in RESULTS/verified.jsonl for each run that has the same bits again; "
      .. "`graph` then shows it.", flag = true },
    { "--results", "Folder of published sets", kind = folder, default = "paper/results" },
    { "--out", "Folder of the new runs, in which an interrupted verification continues",
      kind = folder, default = "build/verify" },
  },
  { "completion", "Print a shell's completion of this command line.",
    { "shell", "bash or zsh." },
  },
  { "manual", "Print the manual page as mdoc source, for man -l or mandoc." },
  { "explain", "Print the program of a training step with FLOPs, bytes and time per operation.",
    choice = "optional",
    { "--program", "Print the program as text, after the named pass (default: the last).",
      value = "[=PASS]", otherwise = "plan", target = "pass" },
    { "--passes", "List the passes of the compiler.", flag = true },
  },
}

-- ------------------------------------------------------------------ the parser

-- An argparse converter whose error sentence names the argument.
local function converter(name, kind)
  return function(value)
    local result, expected = kind(value)
    if result ~= nil then return result end
    return nil, ("%s: expected %s, found '%s'"):format(name, expected, value)
  end
end

-- Stores the value of an option. Users extend a command by options that it already has: the last
-- one counts, and a note says so, as for --set.
local function keep_last(name)
  return function(args, target, value)
    if args[target] ~= nil and args[target] ~= value then
      io.stderr:write(("note: %s is given twice; the last one counts\n"):format(name))
    end
    args[target] = value
  end
end

local function add_argument(command, spec)
  local name = spec[1]:match "^%S+"
  local arg
  if spec.flag then
    arg = command:flag(spec[1], spec[2])
  elseif name:find "^%-" then
    arg = command:option(spec[1], spec[2])
    if not spec.count or spec.count == 1 then arg:action(keep_last(name)) end
  else
    arg = command:argument(spec[1], spec[2])
  end
  if spec.kind then arg:convert(converter(name, spec.kind)) end
  if spec.value then arg:argname(spec.value) end
  for _, key in ipairs { "args", "default", "count", "action", "hidden", "target" } do
    if spec[key] then arg[key](arg, spec[key]) end
  end
  return arg
end

local function version() return "flowmap " .. require("flowmap.core").info().version end

-- `main` prints help and version, because it can tell whether writing succeeded.
local function add_information(command, state)
  local texts = { function() return command:get_help() end, version }
  for k, switch in ipairs(M.information) do
    command:flag(switch[1], switch[2]):action(function()
      state.print = texts[k]()
      error("printed by main", 0)
    end)
  end
end

local function epilog()
  local codes = {}
  for k, code in ipairs(M.exit_codes) do codes[k] = ("%d %s"):format(code[1], code[2]) end
  return "Exit codes: " .. table.concat(codes, ", ") .. "."
end

local function fill(command, spec, state)
  add_information(command, state)
  for k, choice in ipairs(spec.choice and M.choice or {}) do
    local arg = add_argument(command, choice)
    if k == 1 and spec.choice == "optional" then arg:args "?" end
  end
  for k = 3, #spec do add_argument(command, spec[k]) end
  for _, argument in ipairs(M.everywhere) do add_argument(command, argument) end
  if spec.commands then command:require_command(true):command_target "action" end
  for _, inner in ipairs(spec.commands or {}) do
    fill(command:command(inner[1], inner[2]):add_help(false), inner, state)
  end
end

--- The parser of the command line.
-- @tparam[opt] table state receives `print`, the text requested by --help or --version
-- @treturn table an argparse parser
function M.parser(state)
  local parser = require "argparse"("flowmap", M.purpose, epilog())
  parser:add_help(false):require_command(true):command_target "command"
  parser:help_max_width(COLUMNS)
  fill(parser, {}, state or {})
  for _, spec in ipairs(M.commands) do
    fill(parser:command(spec[1], spec[2]):add_help(false), spec, state or {})
  end
  return parser
end

-- ------------------------------------------------------------------ running

-- Commands that run a user's own program, which may end it. Elsewhere a user's function that ended
-- it would let a command succeed that did nothing.
local PROGRAMS = { lua = true, repl = true }

local function refuse_exit()
  errors.usage "os.exit was called; an experiment returns its table, and an error stops a run"
end

-- Commands that several ranks execute together.
local SHARED = { run = true, sample = true, info = true }

local VARIABLES = { FM_THREADS = whole(1, MAX_THREADS),
  FM_ISA = one_of("scalar", "avx2", "avx512", "neon") }

-- In place of a value that it does not know, the core takes its default without a word.
local function check_variables()
  for _, name in ipairs { "FM_THREADS", "FM_ISA" } do
    local value = os.getenv(name) or ""
    local found, expected = VARIABLES[name](value)
    if value ~= "" and not found then
      errors.usage("the environment variable %s is '%s', expected %s", name, value, expected)
    end
  end
end

-- Ranks of different arguments would mix several runs, or wait for one another forever. How many
-- threads each has changes no bit.
local function check_ranks(args, argv)
  local ranks = require "flowmap.base.ranks"
  if ranks.count == 1 then return end
  if not SHARED[args.command] then
    errors.usage("flowmap %s runs as one process, found %d ranks of a launcher; only flowmap run "
      .. "and sample divide their work among ranks", args.command, ranks.count)
  end
  local text = table.concat(argv, "\0"):gsub("%-%-threads[=%z]%d+", "")
  if ranks.differ(text) then
    errors.usage("the %d ranks of the launcher were given different arguments, but make one run "
      .. "together; flowmap reproduce and slurm make several runs at a time", ranks.count)
  end
end

local function execute(args, argv)
  check_variables()
  check_ranks(args, argv)
  if args.workers then require("flowmap.core").set_threads(args.workers) end
  if not PROGRAMS[args.command] then os.exit = refuse_exit end -- luacheck: ignore 122
  return require("flowmap.app.commands")[args.command:gsub("%-", "_")](args, M) or 0
end

-- Print an error's sentence; returns the exit code.
local function fail(err, traceback)
  local status, sentence = errors.explain(err)
  io.stdout:flush()
  io.stderr:write("flowmap: ", sentence, "\n")
  if traceback then io.stderr:write(traceback, "\n") end
  return status
end

-- Expand "--program" without a value to "--program=plan": an option with an optional value would
-- take the experiment as its value; and "help COMMAND" to "COMMAND --help". Join "--count", "-3" to
-- "--count=-3" and "-j", "-3" to "-j-3": argparse would take the number for an option of its own.
-- Words behind "--" are not ours.
local function expanded(argv)
  if argv[1] == "help" then argv = { argv[2] or "--help", argv[2] and "--help" } end
  local values, list = {}, {}
  for _, command in ipairs(M.commands) do
    for k = 3, #command do values[command[k][1]] = command[k].otherwise end
  end
  local ours = true
  for k, word in ipairs(argv) do
    ours = ours and word ~= "--"
    local option = ours and word:find "^%-%.?%d" and (argv[k - 1] or ""):match "^%-%-?%a[%a-]*$"
    if option then
      list[#list] = option .. (option:find "^%-%-" and "=" or "") .. word
    else
      list[#list + 1] = ours and values[word] and word .. "=" .. values[word] or word
    end
  end
  return list
end

-- The arguments by name, or nil and the exit code.
local function parse(argv)
  local state = {}
  local parser = M.parser(state)
  local fine, ok, args = pcall(parser.pparse, parser, expanded(argv))
  if fine and ok then return args end
  if state.print then
    io.stdout:write(state.print, "\n")
    return nil, 0
  end
  -- argparse puts "Did you mean" on a line of its own.
  local words = tostring(fine and args or ok):gsub("\nDid you", "; did you"):gsub("\n", "; ")
  local sentence = errors.new("usage", words).message
  io.stderr:write("flowmap: ", sentence, "; flowmap --help lists commands and options\n")
  return nil, errors.status.usage
end

--- Run a command line.
-- @tparam {string,...} argv arguments; argv[0] is the program
-- @treturn integer exit code
function M.main(argv)
  local args, code = parse(argv)
  if not args then return code end
  args.program = argv[0]
  local done, result = errors.pcall(execute, args, argv)
  if done then return result end
  return fail(result, args.trace and errors.traceback(result))
end

return M
