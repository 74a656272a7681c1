--- Do the tests notice a wrong derivative? Plants errors into the derivative rules of core/ops, one
-- at a time, in a copy of the sources: a sign, a factor, exchanged operands, a term left out (see
-- rule_mutants.lua). First gradcheck looks for it, then the tests of operations, then nothing does.
-- An error that nothing notices is a gap of the tests, unless the program is the same as before.
--
--     ./flowmap lua tests/regression/mutations/rules.lua [COUNT [SEED [FILE...]]]
--
-- COUNT: how many, default 20, of several hundred, chosen by SEED (default 1); FILE: names such as
-- softmax, default all. An error takes some seconds: one object is compiled.
-- @module rules

package.path = "tests/regression/mutations/?.lua;" .. package.path

local copy = require "copy"
local core = require "flowmap.core"
local errors = require "flowmap.base.errors"
local files = require "flowmap.base.files"
local fm = require "flowmap"
local lfs = require "lfs"
local mutants = require "rule_mutants"

local TESTS = "derive gradcheck facts ops imops conv limits"

io.stdout:setvbuf "line"
local quote = files.quote

-- The errors of all files, or of those with these names.
local function all(names)
  if #names == 0 then
    for name in lfs.dir "core/ops" do names[#names + 1] = name:match "^(.*)%.c$" end
    table.sort(names)
  end
  local list = {}
  for _, name in ipairs(names) do
    local file = ("core/ops/%s.c"):format(name)
    local more = mutants.of(file, files.read(file) or errors.usage("there is no %s", file))
    table.move(more, 1, #more, #list + 1, list)
  end
  if #list == 0 then errors.usage("core/ops: no rule of %s", table.concat(names, ", ")) end
  return list
end

-- Write the wrong text. Only what differs is compiled: objects of kernels are as they were.
local function plant(folder, it)
  local objects = quote(folder .. "/build/" .. it.file:gsub("%.c$", "."))
  fm.write_file(folder .. "/" .. it.file, it.text)
  copy.run(folder, ("touch %s*.o && rm %srules.o"):format(objects, objects))
end

-- The checks that notice an error that is in the copy.
local function noticed(folder)
  if copy.build(folder, "flowmap") ~= 0 then return "compiler" end
  if copy.run(folder, "timeout 60 ./flowmap gradcheck") ~= 0 then return "gradcheck" end
  return copy.build(folder, ("test T='%s'"):format(TESTS)) ~= 0 and "tests" or "nothing"
end

local function short(text) return (text:gsub("%s+", " ")) end

local function number(text, what)
  return math.tointeger(tonumber(text)) or errors.usage("%s is '%s', expected a whole number", what,
    text)
end

local function main(count, seed, ...)
  local list = mutants.choose(all { ... }, number(count or "20", "COUNT"),
    number(seed or "1", "SEED"))
  local folder, guard <close> = core.private_folder() -- luacheck: ignore guard
  copy.make(folder, "tests/c tests/lua tests/run.sh")
  copy.run(folder, ("mkdir %s && cp -a build/tests/c %s"):format(quote(folder .. "/build/tests"),
    quote(folder .. "/build/tests")), ".") -- where there are any
  if copy.build(folder, ("all test T='%s'"):format(TESTS)) ~= 0 then
    errors.data("without an error the tests fail: %s", copy.log(folder))
  end
  local counts = { compiler = 0, gradcheck = 0, tests = 0, nothing = 0 }
  for _, it in ipairs(list) do
    plant(folder, it)
    local by = noticed(folder)
    copy.restore(folder, it.file, true)
    counts[by] = counts[by] + 1
    print(("%-9s %s:%d %s, %s: %s -> %s"):format(by, it.file, it.line, it.rule, it.kind,
      short(it.old), short(it.new)))
  end
  print(("%d errors: %d noticed by gradcheck, %d by tests, %d by nothing, %d by the compiler")
    :format(#list, counts.gradcheck, counts.tests, counts.nothing, counts.compiler))
end

main(...)
