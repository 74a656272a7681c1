-- A method of a user's own joins the chapter on the design space by one entry of its losses: a row
-- of coordinates, or a loss. The study trains it, and tables and figure show it.

local t = require "harness"
local coordinates = require "flowmap.report.coordinates"
local experiment = require "flowmap.experiment"
local files = require "flowmap.base.files"
local sandbox = require "sandbox"

local OWN = [[
local varied = {
  mine = { family = "lagrangian", stops = { "none" }, eta = 0.5 },
  own = function(a)
    local X, u = a.map, 0.5 * (a.s + a.t)
    return fm.losses.norm2(X(a.s, a.t, a.x) - fm.stop(X(u, a.t, X(a.s, u, a.x))))
  end,
]]

local text = files.read "experiments/methods.lua"
local start = "local varied = {\n"
local first, last = text:find(start, 1, true)
sandbox.write("methods.lua", text:sub(1, first - 1) .. OWN .. text:sub(last + 1))

t.test("a row and a loss join the study, the tables and the figure", function()
  sandbox.needs "gnuplot"
  local code, out = sandbox.run(sandbox.program .. " reproduce methods.lua --profile smoke "
    .. "--methods lsd,mine,own")
  t.eq(code, 0, out)
  local root = sandbox.root .. "/results/methods/smoke"
  for _, name in ipairs { "energy", "map" } do
    local shown = files.read(("%s/tables/%s.md"):format(root, name))
    for _, row in ipairs { "\n| LSD | ", "\n| MINE | ", "\n| OWN | " } do
      t.eq(shown:find(row, 1, true) ~= nil, true, name .. row .. shown)
    end
  end
  local drawn = files.read(root .. "/figures/rows.gp")
  t.eq(drawn:match "set ytics (%b())", "('LSD' -1, 'MINE' -2, 'OWN' -3)")
end)

t.test("without naming it: every profile trains it, and the table of methods lists it", function()
  local exp = experiment.load(sandbox.root .. "/methods.lua")
  local function count(profile)
    local found = 0
    for _, name in ipairs(exp.profiles[profile].methods or exp.methods) do
      if name == "mine" or name == "own" then found = found + 1 end
    end
    return found
  end
  t.eq({ count "smoke", count "laptop", count "long" }, { 2, 2, 2 })
  local page = coordinates.markdown(exp.losses)
  t.eq(page:find("\n| mine | lagrangian | self | current | none | 0 | 0 | ", 1, true) ~= nil, true)
  t.eq(page:find("\n| own | own loss | ", 1, true) ~= nil, true)
end)

t.done()
