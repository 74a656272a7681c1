-- The rooms and floors of lua/flowmap and core, read from the sources: a file names those of its
-- own floor and of the floors below, there is no circle, and the rooms whose sources are no input
-- of a run (see flowmap.runs.cache) call no numerical operation.

local t = require "harness"
local core = require "flowmap.core"
local files = require "flowmap.base.files"
local tree = require "flowmap.tree"

-- ------------------------------------------------------------------ the floors of lua/flowmap

-- From the ground up: modules, and rooms ("base.*"). A module's own entry counts before its room's.
local FLOORS = {
  { "core", "tree", "base.*", "runs.source", "runs.meaning" },
  { "*", "data.*", "nets.*", "losses.*" }, -- the mathematics: the root and its three folders
  { "experiment.*", "measure.measures", "runs.schema", "runs.record", "runs.folder", "runs.journal",
    "runs.revision", "runs.pin", "runs.numerics" },
  { "job", "checkpoint", "trainer" },
  { "measure.*" },
  { "runs.*" },
  { "report.*" },
  { "app.*" },
}

-- Arrows that close a circle, and why they may.
local CIRCLES = {
  ["base.errors -> base.blame"] = "loaded when an error that is not ours is explained",
}

local floors = {}
for height, names in ipairs(FLOORS) do
  for _, name in ipairs(names) do floors[name] = height end
end

local function floor_of(name)
  local room = name:match "^([^.]*)%."
  if not room and floors[name .. ".*"] then room = name end -- a folder's init.lua
  return floors[name] or floors[room and room .. ".*" or "*"]
end

-- ------------------------------------------------------------------ arrows

-- Lua without its comments; the texts in quotes are cut out where `bare`.
local function code_of(path, bare)
  local lines = {}
  for line in io.lines(path) do
    line = line:gsub("^%s*%-%-.*$", ""):gsub("%s%-%- .*$", "")
    lines[#lines + 1] = bare and line:gsub('"[^"]*"', '""') or line
  end
  return table.concat(lines, "\n")
end

local modules = { core = false } -- name without "flowmap." -> path
for _, path in ipairs(files.below "lua/flowmap") do
  local name = path:gsub("/", "."):match "^(.*)%.lua$"
  if name then modules[name == "init" and "flowmap" or name:gsub("%.init$", "")] =
    "lua/flowmap/" .. path end
end

-- The module that `fm.NAME` loads, if it loads one.
local function loaded_as(name)
  if core[name] ~= nil then return nil end
  for _, room in ipairs { "", "measure.", "report.", "experiment.", "runs.", "base.", "app." } do
    if modules[room .. name] then return room .. name end
  end
end

-- Names of all modules that a module requires, at once or in a function.
local function arrows_of(name)
  local found, path = {}, modules[name]
  local text = code_of(path)
  for word in text:gmatch '"flowmap%.([%w_%.]+)"' do found[word] = true end
  if text:find 'require "flowmap"' then found.flowmap = true end
  for word in text:gmatch 'use[ (]"([%w_%.]+)"' do found[word] = true end
  for word in code_of(path, true):gmatch "%f[%w_.]fm%.([%a_][%w_]*)" do
    local module = loaded_as(word)
    if module then found[module] = true end
  end
  found[name] = nil
  local list = {}
  for _, word in ipairs(tree.keys(found)) do
    if modules[word] ~= nil then list[#list + 1] = word end
  end
  return list
end

local arrows = {}
for name, path in pairs(modules) do arrows[name] = path and arrows_of(name) or {} end

-- A circle among named things, as text, or nil. `allowed` are arrows that are left out.
local function circle(graph, allowed)
  local state, trail = {}, {}
  local function visit(name)
    if state[name] == "done" then return nil end
    trail[#trail + 1] = name
    if state[name] then
      local first = 1
      while trail[first] ~= name do first = first + 1 end
      return table.concat(trail, " -> ", first)
    end
    state[name] = "open"
    for _, other in ipairs(graph[name] or {}) do
      local found = not allowed[name .. " -> " .. other] and visit(other)
      if found then return found end
    end
    state[name], trail[#trail] = "done", nil
  end
  for _, name in ipairs(tree.keys(graph)) do
    local found = visit(name)
    if found then return found end
  end
end

t.test("every module of lua/flowmap stands on a floor", function()
  t.eq(tree.keys(modules)[1] ~= nil, true)
  for name in pairs(modules) do
    t.eq(math.type(floor_of(name)), "integer", name .. " is in a folder without a floor")
  end
end)

t.test("arrows of lua/flowmap point down, or along a floor", function()
  for name, list in pairs(arrows) do
    for _, other in ipairs(list) do
      t.eq(floor_of(other) <= floor_of(name), true, ("%s (floor %d) requires %s (floor %d)"):format(
        name, floor_of(name), other, floor_of(other)))
    end
  end
end)

t.test("no circle among the modules of lua/flowmap", function()
  t.eq(circle(arrows, CIRCLES), nil)
  for arrow in pairs(CIRCLES) do
    t.eq(circle(arrows, {}):find(arrow, 1, true) ~= nil, true, arrow .. " closes no circle")
  end
end)

-- ------------------------------------------------------------------ rooms that make no numbers

-- Every operation of the core, and the functions that are made of operations.
local numerical = { jvp = true, grad = true, value_and_grad = true, program = true, eigh = true,
  optimiser = true, optim = true, probe = true, tensor = true }
for _, op in ipairs(core.ops()) do numerical[op.name] = true end
for name in code_of("lua/flowmap/tensor.lua"):gmatch "\nfunction M%.([%w_]+)" do
  numerical[name] = true
end

-- Modules of these rooms that call operations all the same, and why none is a number of a result.
local HARMLESS = {
  ["runs.numerics"] = "its numbers are the fingerprint, which is compared itself",
  ["report.sheet"] = "lays out the pixels of a picture",
  ["report.figure.grid"] = "lays out the pixels of a picture",
  ["app.samples"] = "converts samples for their file",
  ["app.commands"] = "tensors of zeros, to count a network's parameters",
}

t.test("rooms whose sources are no input of a run call no numerical operation", function()
  local rooms, called = require("flowmap.runs.cache").NO_NUMBERS, {}
  t.eq(next(rooms) ~= nil, true)
  for name, path in pairs(modules) do
    if path and rooms[name:match "^[^.]*"] then
      for _, library in ipairs { "fm", "core" } do
        for word in code_of(path, true):gmatch("%f[%w_.]" .. library .. "%.([%a_][%w_]*)") do
          if numerical[word] then
            called[name] = true
            t.eq(HARMLESS[name] ~= nil, true, ("%s calls %s.%s"):format(name, library, word))
          end
        end
      end
    end
  end
  for name in pairs(HARMLESS) do t.eq(called[name], true, name .. " calls none") end
end)

t.done()
