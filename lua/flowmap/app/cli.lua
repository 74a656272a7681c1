--- The command line. A failure is one sentence on standard error and an exit code: 0 ok, 1 a
-- failed check, 2 usage, 3 data missing or damaged, 4 numerical failure, 75 interrupted.
--
-- Commands and their options are one table, `M.commands`. A new option is one line of it.
-- @module flowmap.app.cli

local errors = require "flowmap.base.errors"
require "flowmap.base.blame" -- an error may be that no more file can be opened

local M = {}

local EPILOG = [[
Exit codes: 0 ok, 1 failed check, 2 usage, 3 data missing or damaged, 4 numerical failure,
75 interrupted but resumable.]]

-- ------------------------------------------------------------------ kinds of values

-- A kind turns the text of an argument into its value, or into nil and what was expected.

local MANY = 0x7fffffff      -- no option counts further, except seeds
local MAX_THREADS = 256      -- as in core/ctx.c

-- Whole numbers in decimal digits: "1e3", "0x10" and "3.0" are not accepted, since what is recorded
-- would not be what was typed.
local function whole(low, high)
  high = high or MANY
  return function(text)
    local value = text:find "^%-?%d+$" and math.tointeger(tonumber(text))
    if value and value >= low and value <= high then return value end
    return nil, ("a whole number from %d to %d"):format(low, high)
  end
end

local seed = whole(0, 1 << 53) -- what JSON can hold exactly

local function text(what)
  return function(value)
    if value ~= "" then return value end
    return nil, what
  end
end

local folder, file = text "a folder", text "a file"

local function assignment(value)
  local key, right = value:match "^([%w_.]+)=(.+)$"
  if key then return { key = key, value = require("flowmap.experiment.settings").parse(right) } end
  return nil, "key=value"
end

local SEEDS = "how many (3 means 1, 2, 3), or a list without repetition such as 4,5"
local MANY_SEEDS = 10000

-- "3" -> 1, 2, 3; "4,5" -> 4, 5
local function seeds(value)
  local list, seen = {}, {}
  for part in (value .. ","):gmatch "([^,]*)," do
    local it = seed(part)
    if not it or seen[it] then return nil, SEEDS end
    list[#list + 1], seen[it] = it, true
  end
  if #list > 1 then return list end
  local count = list[1]
  if count < 1 or count > MANY_SEEDS then return nil, SEEDS end
  for k = 1, count do list[k] = k end
  return list
end

-- ------------------------------------------------------------------ commands

-- What run, params and explain share: which run of which experiment.
local CHOICE = {
  { "experiment", "Experiment, e.g. experiments/checkerboard.lua.", kind = file },
  { "--profile", "smoke, laptop (default), long or paper." },
  { "--method", "Method, e.g. lsd, esd, psd-u, psd-m." },
  { "--seed", "Seed (default 1).", kind = seed },
  { "--set", "Change a setting: key=value; may be repeated.", kind = assignment, count = "*",
    value = "KEY=VALUE" },
}

local EVERYWHERE = {
  { "--threads", "Worker threads (default: one per processor).", kind = whole(1, MAX_THREADS),
    -- Before or after the command: argparse empties an option's own field where it is not repeated.
    action = function(args, _, count) args.workers = count end },
  { "--traceback", "Show where in the program an error arose.", flag = true,
    action = function(args) args.trace = true end },
}

--- The commands in the order of the help: { name, summary, argument, ... }. An argument is
-- { name, meaning, kind =, default =, count =, value =, flag =, args =, action =, hidden =,
-- target = its field, otherwise = its value if it stands alone }: with a dash in front an option
-- or, by `flag`, a switch; without, by position. `choice` adds those of CHOICE; "optional": the
-- experiment may be missing.
M.commands = {
  { "run", "Train and evaluate one run of an experiment.", choice = true,
    { "--out", "Folder for the results (default: below results/).", kind = folder },
    { "--dry-run", "Tell memory and time, and write nothing.", flag = true },
    { "--json", "With --dry-run: as one line of JSON.", flag = true },
    { "--resume", "Continue from the run's checkpoint.", flag = true },
    { "--force", "Run even if a current result is there.", flag = true },
    { "--parent", "", kind = whole(1), hidden = true }, -- `reproduce`: its process id
  },
  { "reproduce", "Run all experiments and render tables, figures and the paper.",
    { "experiments", "Experiments (default: all of the paper).", args = "*", kind = file },
    { "--profile", "smoke, laptop, long or paper.", default = "laptop" },
    { "--seeds", "Seeds: 3 means 1 to 3; or a list, 4,5 (default: the experiment's).",
      kind = seeds },
    { "--jobs -j", "Runs at the same time (default: one per processor).",
      kind = whole(1, MAX_THREADS) },
    { "--dry-run", "Tell each run, why it runs or is reused, time, memory and disk; write nothing.",
      flag = true },
    { "--force", "Run even what is current.", flag = true },
  },
  { "accept", "Declare that what changed since a run does not matter for its result.",
    { "run", "Folder of a finished run.", kind = folder },
    { "--why", "The reason; printed below every table." },
    { "--experiment", "The run's experiment, if it is none of the suite's.", kind = file },
  },
  { "repl", "Try things at a prompt." },
  { "sample", "Draw samples from a checkpoint.",
    { "checkpoint", "A checkpoint.safetensors.", kind = file },
    { "--steps", "Number of steps N (default 1).", kind = whole(1, 1000000), default = "1" },
    { "--count", "Number of samples (default 10000).", kind = whole(1), default = "10000" },
    { "--seed", "Seed of the base noise (default 0).", kind = seed, default = "0" },
    { "--ema", "Average to use, from 1; 0: the weights (default: as evaluated).",
      kind = whole(0) },
    { "--experiment", "Experiment of a network of its own: its code must be what the file pins.",
      kind = file },
    { "--out", "FILE.png, FILE.npy or FILE.csv.", kind = file, count = 1 },
  },
  { "params", "Print the number of parameters of an experiment's network.", choice = true },
  { "gradcheck", "Check the derivatives of every operation.",
    { "op", "One operation (default: all).", args = "?" },
  },
  { "data", "List, download, import or verify data sets of images.", commands = {
    { "list", "What is there, and where." },
    { "fetch", "Download a data set and import it.", { "name", "Data set." } },
    { "import", "Pack an archive or a folder of images.",
      { "name", "Data set: afhq, celeba or cifar10." },
      { "path", "Archive (zip, tar.gz, tar.xz, ...) or folder.", kind = file } },
    { "verify", "Compare packed images with their checksum.", { "name", "Data set." } },
  } },
  { "info", "Print version, instruction set, BLAS kernel and threads." },
  { "paper", "Weave experiments and results into one HTML page.",
    { "--profile", "Whose results to weave.", default = "laptop" },
  },
  { "publish", "Put the runs of a profile, with tables and figures, into paper/results.",
    { "profile", "smoke, laptop, long or paper." },
    { "experiments", "Experiments (default: all of the paper).", args = "*", kind = file },
  },
  { "explain", "Print the program of a training step with FLOPs, bytes and time per operation.",
    choice = "optional",
    { "--program", "Print its text instead, as this pass leaves it (default: the last one).",
      value = "PASS", otherwise = "plan", target = "pass" },
    { "--passes", "List the passes of the compiler.", flag = true },
  },
}

-- ------------------------------------------------------------------ the parser

-- An argparse converter that names the argument in its sentence.
local function converter(name, kind)
  return function(value)
    local result, expected = kind(value)
    if result ~= nil then return result end
    return nil, ("%s: expected %s, found '%s'"):format(name, expected, value)
  end
end

local function add_argument(command, it)
  local name = it[1]:match "^%S+"
  local arg
  if it.flag then
    arg = command:flag(it[1], it[2])
  elseif name:find "^%-" then
    arg = command:option(it[1], it[2])
  else
    arg = command:argument(it[1], it[2])
  end
  if it.kind then arg:convert(converter(name, it.kind)) end
  if it.value then arg:argname(it.value) end
  for _, key in ipairs { "args", "default", "count", "action", "hidden", "target" } do
    if it[key] then arg[key](arg, it[key]) end
  end
  return arg
end

local function version() return "flowmap " .. require("flowmap.core").info().version end

-- Help and version are printed by `main`, which can tell whether that worked.
local function add_information(command, state)
  local function switch(names, meaning, of)
    command:flag(names, meaning):action(function()
      state.print = of()
      error("printed by main", 0)
    end)
  end
  switch("-h --help", "Show this help and exit.", function() return command:get_help() end)
  switch("--version", "Show the version and exit.", version)
end

local function fill(command, spec, state)
  add_information(command, state)
  for k, it in ipairs(spec.choice and CHOICE or {}) do
    local arg = add_argument(command, it)
    if k == 1 and spec.choice == "optional" then arg:args "?" end
  end
  for k = 3, #spec do add_argument(command, spec[k]) end
  for _, it in ipairs(EVERYWHERE) do add_argument(command, it) end
  if spec.commands then command:require_command(true):command_target "action" end
  for _, it in ipairs(spec.commands or {}) do
    fill(command:command(it[1], it[2]):add_help(false), it, state)
  end
end

--- The parser of the command line.
-- @tparam[opt] table state gets `print`, the text that --help or --version asked for
-- @treturn table an argparse parser
function M.parser(state)
  local parser = require "argparse"("flowmap",
    "Flow maps by self-distillation: train, sample, compare.", EPILOG)
  parser:add_help(false):require_command(true):command_target "command"
  fill(parser, {}, state or {})
  for _, spec in ipairs(M.commands) do
    fill(parser:command(spec[1], spec[2]):add_help(false), spec, state or {})
  end
  return parser
end

-- ------------------------------------------------------------------ running

local function execute(args)
  if args.workers then require("flowmap.core").set_threads(args.workers) end
  return require("flowmap.app.commands")[args.command:gsub("%-", "_")](args) or 0
end

-- The exit code of an error, after its sentence.
local function fail(err, traceback)
  local status, sentence = errors.explain(err)
  io.stdout:flush()
  io.stderr:write("flowmap: ", sentence, "\n")
  if traceback then io.stderr:write(traceback, "\n") end
  return status
end

-- "--program" alone is "--program=plan": an option that takes the next word if there is one would
-- take the experiment.
local function expanded(argv)
  local values, list = {}, {}
  for _, command in ipairs(M.commands) do
    for k = 3, #command do values[command[k][1]] = command[k].otherwise end
  end
  for k, word in ipairs(argv) do
    list[k] = values[word] and word .. "=" .. values[word] or word
  end
  return list
end

-- The arguments by name; or nil, and the exit code.
local function parse(argv)
  local state = {}
  local parser = M.parser(state)
  local fine, ok, args = pcall(parser.pparse, parser, expanded(argv))
  if fine and ok then return args end
  if state.print then
    io.stdout:write(state.print, "\n")
    return nil, 0
  end
  local sentence = tostring(fine and args or ok):gsub("\n", "; ") -- "Did you mean" has a line
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
  local done, result = errors.pcall(execute, args)
  if done then return result end
  return fail(result, args.trace and errors.traceback(result))
end

return M
