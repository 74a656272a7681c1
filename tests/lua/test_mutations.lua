-- The faults that the mutation tests of tests/regression plant fit the sources as they are.

package.path = "tests/regression/mutations/?.lua;" .. package.path

local t = require "harness"
local csv = require "flowmap.report.csv"
local faults = require "list"
local files = require "flowmap.base.files"
local lfs = require "lfs"
local mutants = require "rule_mutants"

t.test("the text of every fault occurs once in its file", function()
  for _, fault in ipairs(faults) do
    local name, file, old, new = table.unpack(fault)
    local text = files.read(file)
    local first, last = text:find(old, 1, true)
    t.eq(first ~= nil, true, name)
    t.eq(text:find(old, last + 1, true), nil, name)
    t.eq(old == new, false, name)
  end
end)

t.test("the table has a row for each fault, in their order", function()
  local rows, wanted, found = csv.rows(files.read "tests/regression/mutations/table.csv"), {}, {}
  for k, fault in ipairs(faults) do wanted[k] = { fault[1], fault[2] } end
  for k, row in ipairs(rows) do found[k] = { row.fault, row.file } end
  t.eq(found, wanted)
end)

local all, rules, kinds = {}, {}, {}
for name in lfs.dir "core/ops" do
  if name:find "%.c$" then
    local text = files.read("core/ops/" .. name)
    for _, it in ipairs(mutants.of(name, text)) do
      all[#all + 1], rules[it.rule], kinds[it.kind] = it, true, (kinds[it.kind] or 0) + 1
    end
  end
end

t.test("errors of rules: of all kinds, in all rules, each in one place of the file", function()
  t.eq(#all > 400, true, tostring(#all))
  for _, kind in ipairs { "sign", "factor", "operands", "term" } do
    t.eq((kinds[kind] or 0) > 20, true, kind)
  end
  for _, it in ipairs(all) do
    local text = files.read("core/ops/" .. it.file)
    t.eq(it.text == text, false, it.rule)
    t.eq(#it.text - #text, #it.new - #it.old, it.rule)
    t.eq(it.rule:find "^fold_", nil)
  end
  local without = {}
  for name in lfs.dir "core/ops" do
    local text = name:find "%.c$" and files.read("core/ops/" .. name) or ""
    for rule in text:gmatch "\nstatic [%w_]+ ([jv][jv]p_[%w_]+)%(" do
      if not rules[rule] then without[#without + 1] = rule end
    end
  end
  t.eq(without, {})
end)

t.test("an error of each kind, by hand", function()
  local text = "#ifdef FM_RULES\n\nstatic fm_val jvp_f(fm_prog *p, fm_val y, const fm_val *dx) {\n"
    .. "  return fm_sub(p, fm_scale(p, dx[0], 2), fm_mul(p, y, dx[1])); /* a + b */\n}\n"
  local found = {}
  for _, it in ipairs(mutants.of("f.c", text)) do
    t.eq({ it.file, it.rule, it.line }, { "f.c", "jvp_f", 4 })
    found[it.kind .. " " .. it.text:match "return ([^\n]*);"] = true
  end
  t.eq(found, {
    ["sign fm_add(p, fm_scale(p, dx[0], 2), fm_mul(p, y, dx[1]))"] = true,
    ["term FM_NONE"] = true,
    ["term fm_scale(p, dx[0], 2)"] = true,
    ["operands fm_sub(p, fm_mul(p, y, dx[1]), fm_scale(p, dx[0], 2))"] = true,
    ["factor fm_sub(p, fm_scale(p, dx[0], 2 * (2)), fm_mul(p, y, dx[1]))"] = true,
    ["sign fm_sub(p, fm_scale(p, dx[0], -(2)), fm_mul(p, y, dx[1]))"] = true,
    ["term fm_sub(p, fm_scale(p, dx[0], 2), y)"] = true,
    ["term fm_sub(p, fm_scale(p, dx[0], 2), dx[1])"] = true,
    ["operands fm_sub(p, fm_scale(p, dx[1], 2), fm_mul(p, y, dx[1]))"] = true,
    ["operands fm_sub(p, fm_scale(p, dx[0], 2), fm_mul(p, y, dx[0]))"] = true,
  })
end)

t.test("a choice depends on the seed alone, and names none twice", function()
  local list = {}
  for k = 1, 100 do list[k] = k end
  t.eq(mutants.choose(list, 10, 3), mutants.choose(list, 10, 3))
  t.eq(table.concat(mutants.choose(list, 10, 3), " ") == table.concat(mutants.choose(list, 10, 4),
    " "), false)
  local every = mutants.choose(list, 1000, 1)
  t.eq(#every, 100)
  table.sort(every)
  t.eq(every, list)
end)

t.done()
