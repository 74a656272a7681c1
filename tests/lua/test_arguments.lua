-- Arguments of the command line: ranges, error sentences, help and version.

local t = require "harness"
local cli = require "flowmap.app.cli"
local files = require "flowmap.base.files"
local sandbox = require "sandbox"

-- Run the program without a shell's help in the arguments; returns exit code and standard error.
local function flowmap(words)
  local line = { files.quote(sandbox.program) }
  for _, word in ipairs(words) do line[#line + 1] = files.quote(word) end
  return sandbox.run(("%s 2>&1 >/dev/null"):format(table.concat(line, " ")))
end

local RUN, SAMPLE = { "run", "experiments/checkerboard.lua" }, { "sample", "x", "--out", "a.csv" }

-- { the words in front, the option, a value out of range, the expected sentence }
local REFUSED = {
  { { "info" }, "--threads", "4294967297", "a whole number from 1 to 256" },
  { { "info" }, "--threads", "0", "a whole number from 1 to 256" },
  { { "info" }, "--threads", "1e1", "a whole number from 1 to 256" },
  { { "info" }, "--threads", "0x2", "a whole number from 1 to 256" },
  { { "info" }, "--threads", "2.0", "a whole number from 1 to 256" },
  { { "reproduce" }, "--seeds", "0", "how many" },
  { { "reproduce" }, "--seeds", "1,1", "without repetition" },
  { { "reproduce" }, "--seeds", "1,", "how many" },
  { { "reproduce" }, "--seeds", "", "how many" },
  { { "reproduce" }, "--seeds", "99999999999", "how many" },
  { { "reproduce" }, "--seeds", "1e1", "how many" },
  { { "reproduce" }, "--jobs", "0", "a whole number from 1 to 256" },
  { { "reproduce" }, "--jobs", "-1", "a whole number from 1 to 256" },
  { RUN, "--seed", "9007199254740993", "from 0 to 9007199254740992" },
  { RUN, "--seed", "1e3", "from 0 to 9007199254740992" },
  { RUN, "--seed", "", "from 0 to 9007199254740992" },
  { RUN, "--seed", " 1", "from 0 to 9007199254740992" },
  { RUN, "--out", "", "a folder, found ''" },
  { RUN, "--set", "steps", "key=value" },
  { RUN, "--set", "steps=", "key=value" },
  { { "run" }, "--", "", "a file, found ''" },
  { SAMPLE, "--steps", "99999999999", "a whole number from 1 to 100000" },
  { SAMPLE, "--steps", "0", "a whole number from 1 to 100000" },
  { SAMPLE, "--count", "0", "a whole number from 1 to 2147483647" },
  { SAMPLE, "--count", "9999999999999999999", "a whole number from 1 to" },
  { SAMPLE, "--ema", "-1", "a whole number from 0 to 2147483647" },
  { { "publish" }, "--", "../x", "the name of a profile such as smoke, found '../x'" },
  { { "graph" }, "--profile", "a/b", "the name of a profile such as smoke, found 'a/b'" },
  { { "info" }, "--", "\27[31m\7", "too many arguments" },
  { { "run" }, "--", "a\nb.lua", "no experiment 'a%?b.lua'" },
  { RUN, "--set", "bins=1", "bins must be from 2 to 2048, found 1" }, -- of which KL is always 0
  { RUN, "--resume", "--force", "give one of them" },
  { RUN, "--dry-run", "--resume", "makes no run: %-%-resume has no effect" },
  { RUN, "--dry-run", "--force", "makes no run: %-%-force has no effect" },
  { { "verify", "--records" }, "--seeds", "4,5", "makes no run: %-%-seeds has no effect" },
  { { "verify", "--records" }, "--dry-run", "--", "makes no run: %-%-dry%-run has no effect" },
  { { "watch", "x" }, "--results", "y", "%-%-results has no effect beside the folder of a run" },
  { { "serve", "x" }, "--results", "y", "%-%-results has no effect beside the folder of a run" },
  { { "paper", "--results", "x" }, "--profile", "long", "no effect beside %-%-results" },
  { { "graph", "--results", "x" }, "--profile", "long", "no effect beside %-%-results" },
  { { "audit", "x", "--all" }, "--segments", "2", "%-%-segments has no effect" },
  { { "\27]0;title\7" }, "\xff", "", "unknown command '%?%]0;title%?'" },
}

t.test("a value out of range gives exit code 2 and a sentence with range and value", function()
  for _, case in ipairs(REFUSED) do
    local words = table.move(case[1], 1, #case[1], 1, {})
    table.move(case, 2, 3, #words + 1, words)
    local what = table.concat(words, " ")
    local code, said = flowmap(words)
    t.eq(code, 2, what .. ": " .. said)
    t.eq(said:find(case[4]) ~= nil, true, what .. ": " .. said)
    t.eq(said:find "[%c\x7f-\xff][^\n]", nil, "nothing steers the terminal: " .. said)
    t.eq(select(2, said:gsub("\n", "")), 1, "one line: " .. said)
  end
end)

t.test("seeds: a number is a count, a list names the seeds", function()
  local function seeds(text)
    local ok, args = cli.parser():pparse { "reproduce", "--seeds", text }
    return ok and args.seeds
  end
  t.eq(seeds "3", { 1, 2, 3 })
  t.eq(seeds "0,4", { 0, 4 })
  t.eq(seeds "9007199254740992,1", { 1 << 53, 1 })
end)

t.test("words behind -- reach a program as they are", function()
  sandbox.write("words.lua", "print(...)")
  local code, said = sandbox.flowmap "lua words.lua -- --program -x"
  t.eq({ code, said }, { 0, "--program\t-x\n" })
end)

t.test("every command has complete help, and a version", function()
  for _, spec in ipairs(cli.commands) do
    local state = {}
    pcall(cli.parser(state).pparse, cli.parser(state), { spec[1], "--help" })
    for k = 3, #spec do
      t.eq(state.print:find(spec[k][1]:match "^%S+", 1, true) ~= nil, not spec[k].hidden, spec[1])
    end
    t.eq(state.print:find "%-%-threads" ~= nil, true, spec[1])
    t.eq(type(require("flowmap.app.commands")[spec[1]]), "function", spec[1])
  end
end)

t.test("of an option that is given twice the last value counts, and is said to", function()
  local checkerboard = sandbox.here .. "/experiments/checkerboard.lua"
  local function params(...)
    return { flowmap { "params", checkerboard, "--profile", "smoke", ... } }
  end
  t.eq(params("--seed", "1", "--seed", "2"),
    { 0, "note: --seed is given twice; the last one counts\n" })
  t.eq(params("--seed", "1", "--seed", "1", "--profile", "smoke"), { 0, "" })
  t.eq(params("--set", "width=8", "--set", "depth=2"), { 0, "" })
end)

t.done()
