-- Lists are derived from one source each: what a folder or a registry holds is what there is, in
-- commands, settings and documents alike.

local t = require "harness"
local errors = require "flowmap.base.errors"
local fm = require "flowmap"
local chapters = require "flowmap.experiment.chapters"
local experiment = require "flowmap.experiment"
local files = require "flowmap.base.files"
local render_list = require "flowmap.experiment.render_list"
local settings = require "flowmap.experiment.settings"
local tree = require "flowmap.tree"

local function set_of(list)
  local set = {}
  for _, name in ipairs(list) do set[name] = true end
  return set
end

-- Names of the Lua files of a folder, besides some.
local function files_of(folder, ...)
  local set, except = {}, set_of { "init", ... }
  for _, path in ipairs(files.below(folder)) do
    local name = path:match "^([%w_-]+)%.lua$"
    if name and not except[name] then set[name] = true end
  end
  return set
end

-- Other files may lie there, too: experiments of one's own.
t.test("every chapter of the paper is a file of experiments", function()
  local there = files_of "experiments"
  for _, path in ipairs(chapters.experiments()) do
    local name = path:match "^experiments/(.*)%.lua$"
    t.eq(name and there[name], true, path)
  end
end)

t.test("the list of chapters that is not installed is data, in a sentence", function()
  local installed = files.installed
  files.installed = function() return "none.lua" end -- luacheck: ignore
  local err = t.raises(chapters.experiments, "cannot read the list of chapters")
  files.installed = installed -- luacheck: ignore
  t.eq(errors.explain(err), 3)
end)

t.test("published values are those of chapters, under the names of their experiments", function()
  local names = {}
  for _, path in ipairs(chapters.experiments()) do names[experiment.load(path).name] = true end
  for name, of in pairs(require("flowmap.experiment.published").read()) do
    if type(of) == "table" then t.eq(names[name], true, name) end
  end
end)

t.test("files of losses (except the diagonal) and methods are methods or their families", function()
  local entries = {}
  for _, name in ipairs(fm.losses.names()) do
    local loss = fm.losses.find(name)
    local folder = loss.row and "methods" or "losses"
    t.eq(loss.file, ("flowmap.%s.%s"):format(folder, loss.entry))
    t.eq(name == loss.entry or name:sub(1, #loss.entry + 1) == loss.entry .. "-", true, name)
    entries[loss.entry] = true
  end
  local listed = files_of("lua/flowmap/losses", "diagonal")
  for name in pairs(files_of "lua/flowmap/methods") do listed[name] = true end
  t.eq(entries, listed)
end)

t.test("every file of nets and data is found by its name", function()
  t.eq(set_of(fm.nets.names()), files_of "lua/flowmap/nets")
  t.eq(set_of(fm.data.names()), files_of "lua/flowmap/data")
end)

t.test("laws of times and interpolants: what the modules define", function()
  local laws, pairs_of_two = {}, {}
  for name, it in pairs(fm.times) do
    if type(it) == "function" and name ~= "find" then laws[name] = true end
  end
  t.eq(set_of(fm.times.names), laws)
  for name, it in pairs(fm.interpolants) do
    if type(it) == "table" and it.alpha and it.beta then pairs_of_two[name] = true end
  end
  t.eq(set_of(fm.interpolants.names), pairs_of_two)
end)

t.test("the meaning of a setting names all of its choices", function()
  for key, names in pairs { schedule = tree.keys(fm.schedule.shapes),
    interpolant = fm.interpolants.names, decay_start = tree.keys(fm.schedule.with_start),
    optimiser = { "radam", "adamw" } } do
    for _, name in ipairs(names) do
      t.eq(settings.by_key[key].meaning:find(name, 1, true) ~= nil, true, key .. ": " .. name)
    end
  end
  for _, kind in ipairs { "radam", "adamw" } do
    fm.optimiser { kind = kind, params = { fm.zeros { 1 } } }
  end
end)

t.test("every kind of a render list can be drawn", function()
  for _, kind in ipairs(render_list.registry:names()) do
    local writes = render_list.writes(kind)
    local drawn = writes == "table" and fm.table[kind] or writes == "figure" and fm.figure[kind]
      or writes == "images" and require("flowmap.report.figure.grid")[kind]
    t.eq(type(drawn), "function", kind)
  end
end)

t.test("instruction sets: the one in use is among those that can be chosen", function()
  local ok, message = pcall(fm.set_isa, "none")
  t.eq({ ok, tostring(message):find(fm.info().isa, 1, true) ~= nil }, { false, true })
end)

t.done()
