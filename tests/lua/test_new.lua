-- The command `new`: files that run as they are, made of the template's text, never over others.

local t = require "harness"
local files = require "flowmap.base.files"
local fm = require "flowmap"
local lfs = require "lfs"
local sandbox = require "sandbox"

local function new(arguments)
  return sandbox.flowmap("new " .. arguments)
end

local function set_of_lines(...)
  local set = {}
  for _, text in ipairs { ... } do
    for line in text:gmatch "[^\n]*" do set[line] = true end
  end
  return set
end

-- Names that are variables of the template, and words of Lua, are names of experiments, too.
local MADE = { ["mine-1"] = "--loss", disc = "--data", fm = "--net", ["end"] = "--net --data",
  whole = "" }

t.test("every kind of file runs at once", function()
  for name, options in pairs(MADE) do
    local code, out = new(name .. " " .. options)
    t.eq(code, 0, out)
    t.eq(out:find("flowmap run " .. name .. ".lua --profile smoke", 1, true) ~= nil, true, out)
    code, out = sandbox.flowmap(("run %s.lua --profile smoke --set steps=5 --out out-%s")
      :format(name, name))
    t.eq(code, 0, out)
    code, out = sandbox.run(("luacheck -q --no-config --no-max-line-length %s.lua"):format(name))
    if sandbox.has "luacheck" then t.eq(code, 0, out) end
  end
end)

t.test("a file has the parts that are asked for", function()
  local function parts(name)
    local it = fm.experiment.load(sandbox.path(name .. ".lua"))
    t.eq(it.name, name)
    return { it.losses ~= nil, it.nets ~= nil, it.data ~= nil, it.metrics ~= nil }
  end
  t.eq(parts "mine-1", { true, false, false, false })
  t.eq(parts "disc", { false, false, true, false })
  t.eq(parts "end", { false, true, true, false })
  t.eq(parts "whole", { true, true, true, true })
end)

t.test("every line is one of the template or of CONTRIBUTING.md", function()
  local known = set_of_lines(files.read(sandbox.here .. "/experiments/template.lua"),
    (files.read(sandbox.here .. "/CONTRIBUTING.md"):gsub("\n", "\n-- ")))
  local text = sandbox.read("whole.lua"):gsub("%f[%w]whole%.lua", "experiments/template.lua")
    :gsub("%f[%w_]whole%f[^%w_]", "template")
  for line in text:gmatch "[^\n]+" do
    t.eq(line == "-- # template" or known[line], true, line)
  end
  t.eq(text:find("| `a.x0`, `a.x1` | the samples of base and data", 1, true) ~= nil, true)
end)

t.test("nothing is overwritten: no file, no folder, no dangling link", function()
  sandbox.write("held.lua", "mine")
  sandbox.mkdir "folder.lua"
  assert(lfs.link("nowhere", sandbox.path "dangling.lua", true))
  for _, name in ipairs { "held", "folder", "dangling" } do
    local code, out = new(name)
    t.eq({ code, out:find("already; it is left as it is", 1, true) ~= nil }, { 2, true }, out)
  end
  t.eq(sandbox.read "held.lua", "mine")
  t.eq(sandbox.exists "nowhere", false)
  for name in lfs.dir(sandbox.root) do t.eq(name:find "^%.[^.]", nil, name) end -- no drafts
end)

t.test("a file that cannot be written is called by its name, not by that of its draft", function()
  -- no file may hold a byte
  local _, out = sandbox.run(("(ulimit -f 0; trap '' XFSZ; %s new big; echo $?) 2>&1 | cat"):format(
    sandbox.program))
  t.eq(out, "flowmap: new: cannot write 'big.lua': File too large\n3\n")
  for name in lfs.dir(sandbox.root) do t.eq(name:find "^%.[^.]", nil, name) end
end)

t.test("names that are not safe are refused with the reason", function()
  local none = "cannot name an experiment; expected letters, digits, - and _"
  for name, said in pairs { ["../up"] = none, ["a/b"] = none, ["."] = none, [".."] = none,
    [".hidden"] = none, ["x y"] = none, ["$(touch pwned)"] = none, ["x;y"] = none, ["1st"] = none,
    ["naïve"] = none, ["x\ny"] = none, ["mine.lua"] = "(without .lua)", ["_x"] = none,
    [("x"):rep(65)] = "expected at most 64", checkerboard = "an experiment of the suite" } do
    local code, out = new(files.quote(name))
    t.eq({ code, out:find(said, 1, true) ~= nil }, { 2, true }, name .. ": " .. out)
  end
  t.eq(new "''", 2)
  t.eq(sandbox.exists "pwned" or sandbox.exists "../up.lua", false)
end)

t.done()
