-- The index from equations to code and tests: its tags, and two equations without a test elsewhere.

local t = require "harness"
local equations = require "flowmap.report.equations"
local fm = require "flowmap"
local weave = require "flowmap.report.weave"

t.test("every tag names an equation; every equation has code and a test", function()
  local code, tests = equations.found()
  t.eq(equations.problems(equations.list(), code, tests), {})
end)

t.test("tags stand at the end of a line or above it", function()
  local source = "local x = 1 -- <a>\n-- text <b>\n-- <c> <d>\n\nreturn x\n"
  t.eq(equations.tags((source:gsub("<(.)>", "[" .. "eq:%1]"))), { { name = "a", line = 1 },
    { name = "b", line = 5 }, { name = "c", line = 5 },
    { name = "d", line = 5 } })
end)

t.test("dangling tags, and equations without code, test or entry, are named", function()
  local list = { { name = "a" }, { name = "b" } }
  local function tag(name) return { name = name, path = "x.lua", line = 3 } end
  t.eq(equations.problems(list, { tag "a", tag "b" }, { tag "a", tag "b" }, {}), {})
  local numbered = { { name = "d", path = "y" } }
  t.eq(equations.problems(list, { tag "a", tag "c" }, { tag "a" }, numbered), {
    "no line of code is the equation 'b', [eq:b]", "no test is the equation 'b', [eq:b]",
    "x.lua:3: there is no equation 'c' in paper/equations.lua",
    "y: the equation 'd' is numbered, but not in paper/equations.lua" })
end)

t.test("the page's table has a row per equation with links", function()
  local page = weave.chapter("paper/equations.md", { profile = "smoke" })
  t.eq(select(2, page:gsub("\n| %w[^|]+ | %$%S[^|\n]*%S%$ | %[", "")), #equations.list())
  t.eq(page:find "%[residuals\\?%.lua\\?:%d+%]" ~= nil, true)
  t.eq(page:find("(<../../lua/flowmap/residuals.lua>)", 1, true) ~= nil, true)
  t.eq(page:find("(<../../tests/lua/test_losses.lua>)", 1, true) ~= nil, true)
end)

t.test("base samples are normal with the data's standard deviation", function() -- [eq:base]
  local cfg = fm.experiment.resolve(fm.experiment.load "experiments/checkerboard.lua",
    { profile = "smoke", method = "lsd", set = { width = 16, depth = 2 } })
  local job = fm.trainer.new({}, cfg)
  local program = fm.program(function(_, b)
    local x0 = fm.step.draw(job, {}, b).x0
    return { sum = { one = fm.sum(x0), two = fm.sum(fm.square(x0)),
      four = fm.sum(fm.square(fm.square(x0))) } }
  end, { shared = job.shared, rows = {}, micro = 64 })
  local n, sigma = 65536, job.cfg.sigma
  local sum = program:run { shared = job.shared, batch = n, seed = 1, step = 0 }.sum
  local variance = sigma ^ 2
  t.near(sigma, 1 / math.sqrt(3), 1e-12)
  t.near(sum.one:item() / (2 * n), 0, 5 * sigma / math.sqrt(2 * n))
  t.near(sum.two:item() / (2 * n), variance, 5 * variance * math.sqrt(2 / (2 * n)))
  t.near(sum.four:item() / (2 * n), 3 * variance ^ 2, 5 * variance ^ 2 * math.sqrt(96 / (2 * n)))
end)

t.done()
