-- The linter of numbers in prose: measured ones are looked up, see flowmap.report.prose.

local t = require "harness"
local files = require "flowmap.base.files"
local formulas = require "flowmap.report.formulas"
local literate = require "flowmap.report.literate"
local prose = require "flowmap.report.prose"

local function numbers(source, path)
  local list = {}
  for i, it in ipairs(prose.find(source, path or "a.md")) do list[i] = it.number end
  return list
end

-- The files of chapters and pages of the book.
local function chapters()
  local paths = {}
  for _, folder in ipairs { "experiments", "paper" } do
    for _, name in ipairs(files.below(folder)) do
      if name:find(folder == "paper" and "^[^/]+%.md$" or "^[^/]+%.lua$") then
        paths[#paths + 1] = folder .. "/" .. name
      end
    end
  end
  return paths
end

t.test("no chapter and no page has a typed number that is not of a permitted kind", function()
  local paths = chapters()
  table.move({ "README.md", "RESULTS.md" }, 1, 2, #paths + 1, paths)
  t.eq(#paths > 20, true)
  t.eq(prose.check(paths), {})
end)

t.test("measured numbers are found", function()
  for text, number in pairs {
    ["LSD reaches 0.14."] = "0.14", ["It took 37 minutes."] = "37", ["it takes 3 minutes"] = "3",
    ["right on 85.6 % of the images"] = "85.6", ["12 % of them"] = "12", ["3 times faster"] = "3",
    ["2.7× as fast"] = "2.7", ["diverged at step 212"] = "212", ["KL is $0.14$"] = "0.14",
    ["about $\\approx 1.5\\,$"] = "1.5", ["0.139 ± 0.018"] = "0.139", ["interval of ± 3"] = "3",
    ["116,482 parameters"] = "116,482", ["at N = 4 it is 0.2"] = "0.2", ["204 million"] = "204",
    ["| LSD | 0.139 |"] = "0.139", ["a 9 MiB arena"] = "9", ["- 0.14 is reached"] = "0.14",
    ["PSD-M: 0.57"] = "0.57", ["the 1,950 runs"] = "1,950", ["x^2^ is **0.3**"] = "0.3",
    ["![KL falls to 0.14.](figure:kl)"] = "0.14", ["in 1.5e3 steps"] = "1.5e3",
    ["it is 5e-3"] = "5e-3" } do
    t.eq(numbers(text)[1], number, text)
  end
end)

t.test("permitted kinds are left alone", function()
  for _, text in ipairs { "in 2024 and 1998", "4 × 4 squares, 64 x 64 cells", "CIFAR-10, AVX-512",
    "Lua 5.4 on Debian 12", "$|K| = 4.01$ and $3 \\times 3$", "$$ a = 0.14 $$", "`--set lr=0.14`",
    "# LSD reaches 0.14", "[a page](x-0.14.html)", "{{kl.LSD.N1 %.3f}}", "see @fig:kl-0.14",
    "[@boffi2025, section 4.2]", "Section 3.2 and Table 17", "the 95 % interval", "level 0.05",
    "its 99 % quantile", "seeds 101, 102 and 103", "at N = 64", "8 layers", "float32 in x86",
    "```sh\nsleep 0.14\n```", "    sleep 0.14", "<!-- 0.14 -->", "https://a.org/0.14",
    "<!-- woven from x\n{{y}}\n-->\n0.14\n<!-- woven -->", "1/2 of them" } do
    t.eq(numbers(text), {}, text)
  end
end)

t.test("settings of the code beside are permitted; places are lines of the file", function()
  local source = "-- With 60,000 steps at 2e-3 and 75 %,\n-- LSD reaches 0.14.\n\n"
    .. "local x = { steps = 60000, lr = 2e-3, eta = 0.75 }\n\n-- Then 0.15.\n"
  local found = prose.find(source, "a.lua")
  t.eq({ #found, found[1].number, found[1].line, found[2].number, found[2].line },
    { 2, "0.14", 2, "0.15", 6 })
  t.eq(numbers("-- At 5e-3.\n\nlocal lr = 5e-3\n", "a.lua"), {})
end)

t.test("formulas that pandoc would show as they are typed are errors", function()
  for _, path in ipairs(chapters()) do
    local split = path:find "%.md$" and literate.markdown or literate.split
    for _, block in ipairs(split(assert(files.read(path)))) do
      if block.kind == "prose" then formulas.check(block, path) end
    end
  end
  for _, line in ipairs { "with $G = $ 3", "$ x$", "a $x$5", "$x$ and $y $." } do
    t.raises(function() formulas.check({ "one", line, first = 7 }, "a.lua") end, "a%.lua:8: %$")
  end
  for _, line in ipairs { "$x$ and $y$: $|a|$-fold", "`$ x $`, {{kl $ }} and \\$5 or \\$ 6",
    "$$ x = 1 $$", "from $a$ on, $b$" } do
    formulas.check({ line, first = 1 }, "a.lua")
  end
end)

t.done()
