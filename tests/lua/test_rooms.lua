-- The rooms and floors of lua/flowmap and core, read from the sources: a file names those of its
-- own floor and of the floors below, there is no circle, and the rooms whose sources are no input
-- of a run (see flowmap.runs.cache) call no numerical operation.

local t = require "harness"
local core = require "flowmap.core"
local files = require "flowmap.base.files"
local sandbox = require "sandbox"
local tree = require "flowmap.tree"

-- ------------------------------------------------------------------ the floors of lua/flowmap

-- From the ground up: modules, and rooms ("base.*"). A module's own entry counts before its room's.
local FLOORS = {
  { "core", "tree", "base.*", "runs.source", "runs.meaning" },
  { "*", "data.*", "nets.*", "losses.*", "methods.*" }, -- the mathematics: the root, four folders
  { "experiment.*", "measure.measures", "runs.schema", "runs.record", "runs.folder", "runs.journal",
    "runs.revision", "runs.pin", "runs.numerics" },
  { "job", "checkpoint", "runs.chain", "trainer" },
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

-- Names without their room -> names: what `fm.NAME` may load.
local short = {}
for name in pairs(modules) do
  local room, rest = name:match "^(%w+)%.([%w_]+)$"
  if not room or floors[room .. ".*"] ~= floors["data.*"] then
    rest = rest or name
    short[rest] = short[rest] or {}
    table.insert(short[rest], name)
  end
end

-- The module that `fm.NAME` loads, if it loads one.
local function loaded_as(name)
  return core[name] == nil and short[name] and short[name][1] or nil
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

t.test("no two rooms have a module of one name, which fm.NAME could mean", function()
  for name, list in pairs(short) do t.eq(#list, 1, name) end
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

t.test("ARCHITECTURE.md names what stands on another floor than its room", function()
  local page, count = files.read(sandbox.here .. "/ARCHITECTURE.md"), 0
  local rooms = page:match "\n## Layers\n(.-)\n## "
  for name in pairs(floors) do
    local file = modules[name] and name:match "[^.]+$" .. ".lua`"
    if file then
      count = count + 1
      t.eq(rooms:find("[`/]" .. file:gsub("%p", "%%%0")) ~= nil, true, name)
    end
  end
  t.eq(count > 10, true)
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
  ["app.plan.calibrate"] = "what it computes is timed and dropped",
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

-- ------------------------------------------------------------------ the floors of core

-- What the files of a folder may name, in `#include` and as symbols of other object files.
local BELOW = {
  core = { core = true, kernels = true, mpi = true },
  mpi = { mpi = true },
  kernels = { core = true, kernels = true },
  ops = { core = true, kernels = true, ops = true },
  program = { core = true, kernels = true, ops = true, program = true },
  run = { core = true, kernels = true, ops = true, program = true, run = true },
  io = { core = true, io = true },
  standin = { core = true, io = true, standin = true },
  bind = { core = true, kernels = true, ops = true, program = true, run = true, io = true,
    standin = true, bind = true },
}

-- Files that stand on another floor than their folder, and why.
local APART = {
  ["core/apply.c"] = { floor = "ops", why = "computes an operation at once" },
  ["core/op.h"] = { floor = "ops", why = "what an operation is" },
  ["core/op_names.h"] = { floor = "ops", why = "which operations there are" },
  ["core/ops.def"] = { floor = "ops", why = "the list of operations" },
}

local function folder_of(path)
  return APART[path] and APART[path].floor or path:match "^core/(%w+)/" or "core"
end

-- The path without `..` that an #include of a file means.
local function included(path, name)
  local where = path:match "^(.*/)" .. name
  local count
  repeat where, count = where:gsub("[^/]+/%.%./", "") until count == 0
  return where
end

local includes = {} -- path -> paths
for _, file in ipairs(files.below "core") do
  local path = "core/" .. file
  if path:find "%.[ch]$" or path:find "%.def$" then
    includes[path] = {}
    for name in files.read(path):gmatch '\n#include "([^"]+)"' do
      table.insert(includes[path], included(path, name))
    end
  end
end

t.test("includes of core point down, without a circle; lua.h is for bind, mpi.h for mpi", function()
  for path, list in pairs(includes) do
    for _, other in ipairs(list) do
      t.eq(includes[other] ~= nil, true, path .. " includes " .. other)
      t.eq(BELOW[folder_of(path)][folder_of(other)], true, path .. " includes " .. other)
    end
    if not path:find "^core/bind/" then
      for _, header in ipairs { "lua", "lauxlib", "lualib" } do
        t.eq(files.read(path):find("#include <" .. header .. ".h>", 1, true), nil, path)
      end
    end
  end
  for path in pairs(includes) do
    local known = files.read(path):find("#include <mpi.h>", 1, true) ~= nil
    t.eq(known, path == "core/mpi/shim.c", path)
  end
  t.eq(circle(includes, {}), nil)
end)
-- ------------------------------------------------------------------ who calls whom in core

-- Files that need each other, and why. All other files of core form no circle.
local TOGETHER = {
  { "core/ops/", "core/program/emit.c", "core/program/derive.c", "core/program/prog.c",
    why = "registration: rules look at nodes and emit others; emitting calls the rules" },
  { "core/bind/", why = "registration: bind.c opens the libraries of all files, which call it" },
}

-- One name for files that may form a circle.
local function unit_of(path)
  for number, it in ipairs(TOGETHER) do
    for _, start in ipairs(it) do
      if path:sub(1, #start) == start then return "unit " .. number end
    end
  end
  return path
end

-- Object files of the sources, those of one instruction set left out: object -> source.
local function objects()
  local found = {}
  for path in pairs(includes) do
    local stem = sandbox.build .. "/" .. path:gsub("%.c$", "")
    for _, object in ipairs { stem .. ".o", stem .. ".rules.o" } do
      if path:find "%.c$" and files.exists(object) then found[object] = path end
    end
  end
  return found
end

-- Symbols that object files define and need: name -> source, source -> names.
local function symbols(sources)
  local defined, needed = {}, {}
  local nm <close> = io.popen("nm -gA " .. table.concat(tree.keys(sources), " "))
  for line in nm:lines() do
    local object, kind, name = line:match "^([^:]+):%x* *(%a) (%S+)$"
    local source = sources[object]
    if kind == "U" then
      needed[source] = needed[source] or {}
      table.insert(needed[source], name)
    elseif source then
      defined[name] = source
    end
  end
  return defined, needed
end

local defined, needed = symbols(objects())

t.test("symbols of core's object files point down, except within a registration", function()
  t.eq(next(needed) ~= nil, true, "nm found nothing in " .. sandbox.build)
  for source, names in pairs(needed) do
    for _, name in ipairs(names) do
      local other = defined[name]
      if other and unit_of(other) ~= unit_of(source) then
        t.eq(BELOW[folder_of(source)][folder_of(other)], true,
          ("%s needs %s of %s"):format(source, name, other))
      end
    end
  end
end)

t.test("no circle among the object files of core except by registration", function()
  local calls = {}
  for source, names in pairs(needed) do
    local from = unit_of(source)
    calls[from] = calls[from] or {}
    for _, name in ipairs(names) do
      local to = defined[name] and unit_of(defined[name])
      if to and to ~= from then table.insert(calls[from], to) end
    end
  end
  t.eq(circle(calls, {}), nil)
end)

t.done()
