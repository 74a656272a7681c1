-- README.md and RESULTS.md are what the committed results give; see flowmap.report.readme.

local t = require "harness"
local files = require "flowmap.base.files"
local readme = require "flowmap.report.readme"
local results = require "flowmap.report.results"
local sandbox = require "sandbox"

local board = "paper/results/long/checkerboard"

local function part(template, result, folder)
  return ("Before.\n\n<!-- woven from %s\n%s\n-->\n%s<!-- woven -->\n\nAfter.\n"):format(
    folder or "paper/results/long", template, result)
end

t.test("README.md and RESULTS.md are as `make readme` writes them", function()
  local count = 0
  for _, page in ipairs(readme.pages) do
    local text = results.read_file(page)
    count = count + select(2, text:gsub("<!%-%- woven from", ""))
    t.eq(readme.woven(page, text), text, page .. " differs from the results: run `make readme`")
  end
  t.eq(count >= 7, true)
end)

t.test("a typed value is replaced, the rest stays; weaving twice changes nothing", function()
  local template = "LSD has {{checkerboard/kl.LSD.N1.n %d}} seeds\nand\n{{seeds checkerboard}}."
  local made = readme.woven("page", part(template, "LSD has 99 seeds.\n"))
  local count = #results.copies(board .. "/runs"):select({ method = "LSD" }).runs
  t.eq(made:find(("-->\nLSD has %d seeds and 11 to "):format(count), 1, true) ~= nil, true, made)
  t.eq({ made:find "99", made:match "^Before%.", made:match "After%.\n$" },
    { nil, "Before.", "After.\n" })
  t.eq(readme.woven("page", made), made)
end)

t.test("cells, CSV and JSON files", function()
  local folder = sandbox.root .. "/bench"
  sandbox.write("bench/a.csv", "# a note\nnet,task,ours,theirs\n"
    .. 'small,"one, two",1.50,3\nbig,x,,4\n')
  sandbox.write("bench/run-1.json", '{"wall": {"s": 60}}')
  sandbox.write("bench/run-2.json", '{"wall": {"s": 180}}')
  local function gives(template)
    return readme.woven("page", part(template, "", folder)):match "%-%->\n(.-)\n<!%-%- woven"
  end
  t.eq(gives "| {{csv a.csv net=small,task=one_two ours,theirs}} |", "| 1.50 | 3 |")
  t.eq(gives "{{csv a.csv net=big theirs times=10 %.1f}}", "40.0")
  t.eq(gives "{{json run-*.json wall.s times=0.5 %d}} s, {{json run-1.json wall.s}}",
    "30 to 90 s, 60")
  for bad, message in pairs { ["{{csv a.csv net=none ours}}"] = "has no row with net=none",
    ["{{csv a.csv net=big our}}"] = "has no column 'our'",
    ["{{json run-3.json wall.s}}"] = "there is no file",
    ["{{json run-1.json wall.h}}"] = "has no number 'wall.h'" } do
    t.raises(function() gives(bad) end, "page: .*" .. message)
  end
end)

t.test("a missing set, and a part that does not end, are errors", function()
  t.raises(function() readme.woven("page", part("{{none/kl.LSD.N1}}", "")) end, "page: {{none/kl")
  local open = part("x", ""):gsub("<!%-%- woven %-%->", "")
  t.raises(function() readme.woven("page", open) end, "1 woven parts begin, 0 end")
end)

t.test("long lines are filled, and items keep their indentation", function()
  local made = readme.woven("page", part("- " .. ("word "):rep(30) .. "\n- b", ""))
  t.eq(made:find("\n%- word [^\n]*word\n  word [^\n]*\n%- b\n<!%-%-") ~= nil, true, made)
end)

t.test("`make readme` writes the pages of the folder", function()
  for _, page in ipairs(readme.pages) do sandbox.write(page, part("x", "y\n", "none")) end
  local code, out = sandbox.flowmap("lua " .. files.installed "paper/readme.lua")
  t.eq(code, 0, out)
  t.eq(sandbox.read("README.md"):find "\n%-%->\nx\n<!" ~= nil, true)
end)

t.done()
