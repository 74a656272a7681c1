-- Sentences of the book and of RESULTS.md that say "in the long set" (one: "the laptop profile")
-- are typed, since a page is woven from one set: each of them is checked here against the committed
-- set that it names.

local t = require "harness"
local experiment = require "flowmap.experiment"
local render = require "flowmap.report.render"
local results = require "flowmap.report.results"
local tree = require "flowmap.tree"

local LEVEL = 0.05

local sets = {}

local function set_of(name, profile)
  local path = ("paper/results/%s/%s/runs"):format(profile or "long", name)
  sets[path] = sets[path] or results.copies(path)
  return sets[path]
end

-- The rows of a table of a long set by their heads: "head | head" -> means of the cells.
local function table_of(name, entry)
  local exp, set, out = experiment.load(("experiments/%s.lua"):format(name)), set_of(name), {}
  for _, it in ipairs(render.entries(exp, set)) do
    if it.name == entry then
      for _, row in ipairs(render.description(exp, it, set).rows) do
        local cells = {}
        for k, cell in ipairs(row.cells) do
          cells[k] = type(cell) == "table" and cell.mean or cell
        end
        out[table.concat(row.heads, " | ")] = cells
      end
    end
  end
  return out
end

local function holds(condition, what) t.eq(condition and true or false, true, what) end

-- ------------------------------------------------------------------ the exact map

local MIXTURES = { "modes1", "modes2", "modes16" }

-- seed -> method -> value; diverged runs have none.
local function by_seed(data, field)
  local out = {}
  for _, run in ipairs(set_of("exact"):select({ data = data }).runs) do
    local seed = run:field("config", "seed")
    out[seed] = out[seed] or {}
    out[seed][run:method()] = run:value(field, 1)
  end
  t.eq(#tree.keys(out) > 1, true, "seeds of " .. data)
  return out
end

local function best_in_each_seed(data, best)
  for seed, values in pairs(by_seed(data, "map_error")) do
    t.eq(#tree.keys(values) > 3, true, ("%s, seed %s"):format(data, seed))
    for method, value in pairs(values) do
      holds(values[best] <= value, ("%s, seed %s: %s, not %s"):format(data, seed, method, best))
    end
  end
end

t.test("exact: LSD's map is the nearest on every mixture, ESD convex's on normal16", function()
  for _, data in ipairs(MIXTURES) do best_in_each_seed(data, "LSD") end
  best_in_each_seed("normal16", "ESD-CONVEX")
end)

t.test("exact: with the paper's stop-gradient ESD learns the map of no mixture", function()
  for _, data in ipairs { "modes1", "modes2" } do
    for _, values in pairs(by_seed(data, "map_error")) do
      holds(values.ESD, "a run diverged on " .. data)
      holds(values.ESD > 100 * values.LSD, "ESD is near on " .. data)
    end
  end
  for _, values in pairs(by_seed("modes16", "map_error")) do t.eq(values.ESD, nil) end
  for _, values in pairs(by_seed("normal16", "map_error")) do holds(values.ESD < 0.01) end
end)

t.test("exact: what the bounds say", function()
  local function bound(field, data, method)
    return set_of("exact"):select({ data = data, method = method }):summary(field, 1).mean
  end
  for _, data in ipairs(MIXTURES) do
    for _, method in ipairs { "LSD", "ESD-CONVEX", "PSD-M", "PSD-U" } do
      holds(bound("map_bound_lsd", data, method) > 1, "Lagrangian, " .. data)
      local eulerian = bound("map_bound_esd", data, method)
      holds(data == "modes16" or eulerian <= 1, "Eulerian, " .. data)
      holds(eulerian <= bound("map_bound_esd", data, "LSD"), "the largest on " .. data)
    end
  end
end)

-- ------------------------------------------------------------------ the four switches

t.test("switches: which settings exploded", function()
  local function exploded(data, cell) return table_of("switches", "explosive-" .. data)[cell][1] end
  holds(exploded("modes2", "full | self | 0 | current") > 0.5)
  for _, cell in ipairs { "target | self | 0 | current", "full | sample | 0 | current",
    "full | self | 1 | current" } do
    for _, data in ipairs { "modes2", "modes16", "checkerboard" } do
      t.eq(exploded(data, cell), 0, data .. " " .. cell)
    end
  end
  for _, data in ipairs { "modes16", "checkerboard" } do
    holds(exploded(data, "full | self | 0 | current") < exploded("modes2",
      "full | self | 0 | current"), data)
  end
  holds(exploded("modes2", "target | sample | 0 | ema") > 0.5)
  t.eq(exploded("modes2", "target | sample | 0 | current"), 0)
  for _, data in ipairs { "modes2", "modes16", "checkerboard" } do
    holds(exploded(data, "target | self | 0 | ema") > 0.5, data)
    t.eq(exploded(data, "target | self | 0 | current"), 0, data)
  end
end)

t.test("switches: which effects are shown", function()
  local SWITCHES = { "stop = target", "velocity = sample", "p = 1" }
  local function effect(data, switch)
    return table_of("switches", "cures-" .. data)[("from all off | %s alone"):format(switch)]
  end
  for _, switch in ipairs(SWITCHES) do
    local _, p, gradient, p_gradient, result, p_result = table.unpack(effect("modes2", switch))
    holds(p <= LEVEL and gradient < 0 and p_gradient <= LEVEL, switch)
    t.eq(result < 0 and p_result <= LEVEL, switch ~= "velocity = sample", switch)
    for _, data in ipairs { "modes16", "checkerboard" } do
      local it = effect(data, switch)
      holds(it[3] < 0 and it[4] <= LEVEL and it[2] > LEVEL, ("%s, %s"):format(data, switch))
    end
  end
end)

t.test("switches: which setting has the best map", function()
  for data, best in pairs { modes2 = "target | self | 0 | current",
    modes16 = "target | sample | 0 | ema" } do
    local cells = table_of("switches", "explosive-" .. data)
    t.eq(#tree.keys(cells) > 8, true, data)
    for cell, values in pairs(cells) do holds(cells[best][6] <= values[6], cell) end
  end
end)

-- ------------------------------------------------------------------ the ablations

t.test("ablations: LSD is ahead on every law, and what four steps change", function()
  local one, four = table_of("ablations", "methods-N1"), table_of("ablations", "methods-N4")
  for _, method in ipairs { "ESD", "ESD-CONVEX", "PSD-M", "PSD-U" } do
    local name = method .. " / LSD, N = 1 | "
    for k = 1, 5 do
      holds(one[name .. "log ratio"][k] > 0 and one[name .. "p"][k] <= LEVEL, name)
    end
  end
  local function ratios(method)
    return one[method .. " / LSD, N = 1 | log ratio"][1],
      four[method .. " / LSD, N = 4 | log ratio"][1]
  end
  local first, fourth = ratios "PSD-M"
  holds(fourth < first)
  first, fourth = ratios "ESD"
  holds(fourth >= first)
  holds(four["ESD-CONVEX / LSD, N = 4 | p"][3] > LEVEL)
end)

t.test("ablations: which choices matter, by method", function()
  local METHODS = { "LSD", "ESD", "PSD-M", "PSD-U" }
  -- "higher" or "lower" of each method; nil where no difference is shown
  local function shown(effects, factor)
    local out = {}
    for k, method in ipairs(METHODS) do
      if effects[factor .. " | p"][k] <= LEVEL then
        out[method] = effects[factor .. " | log ratio"][k] > 0 and "higher" or "lower"
      end
    end
    return out
  end
  local one, four = table_of("ablations", "effects-N1"), table_of("ablations", "effects-N4")
  t.eq(shown(one, "times"), { LSD = "higher", ESD = "higher", ["PSD-M"] = "higher",
    ["PSD-U"] = "higher" })
  t.eq(shown(one, "p"), { LSD = "higher", ["PSD-U"] = "higher" })
  t.eq(shown(one, "eta"), { ["PSD-M"] = "lower", ["PSD-U"] = "lower" })
  t.eq(shown(one, "stop"), { ESD = "lower" })
  t.eq(shown(four, "interpolant"), { ["PSD-M"] = "higher", ["PSD-U"] = "higher" })
end)

-- ------------------------------------------------------------------ the design space

-- The description of a table of a long set.
local function described(name, entry)
  local exp, set = experiment.load(("experiments/%s.lua"):format(name)), set_of(name)
  for _, it in ipairs(render.entries(exp, set)) do
    if it.name == entry then return render.description(exp, it, set) end
  end
end

-- The cells "energy - 2 LSD" of each row's changes, of those that end within twice LSD's and of the
-- others, which end with the words "no further change was made".
local function changes_of(rows)
  local brought, outside = {}, {}
  for _, row in ipairs(rows) do
    local name, change = table.unpack(row.heads)
    if change == "no further change was made" then
      outside[name], brought[name] = brought[name], nil
    else
      brought[name] = brought[name] or {}
      table.insert(brought[name], row.cells[4])
    end
  end
  return brought, outside
end

t.test("methods: ten rows within twice LSD's, eleven brought there, six not", function()
  local it = described("methods", "inside")
  local names = it.notes[#it.notes]:match ": (.*)%.$"
  t.eq(select(2, names:gsub("[^, ]+", "")), 10, names)
  local brought, outside = changes_of(it.rows)
  t.eq(#tree.keys(brought), 11)
  t.eq(tree.keys(outside), { "ALPHAFLOW", "CT", "ESD", "ICT", "MEANFLOW", "SCT" })
  local function shown(cell) return cell.mean - cell.half > 0 end
  for _, name in ipairs { "ESD", "CT" } do
    for _, cell in ipairs(outside[name]) do holds(shown(cell), name) end
  end
  for _, name in ipairs { "ALPHAFLOW", "MEANFLOW", "SCT" } do
    local cells = outside[name]
    holds(not shown(cells[#cells]), name)
  end
  holds(not shown(outside.ICT[1]), "ICT")
  local function mean(method) return set_of("methods"):select({ method = method }):summary(
    "law_energy", 4).mean end
  holds(mean "CT-CURRENT" > 0.9 * mean "CT", "CT: not nearer with current weights")
end)

t.test("images, laptop: LSD leads by SW; PSD-M by FD-cnn, except on cats from N = 4 on", function()
  for _, name in ipairs { "cifar10", "celeba", "afhq" } do
    local set = set_of(name, "laptop")
    for _, n in ipairs { 1, 2, 4, 8, 16 } do
      local function ahead(field, method, other)
        local value = {}
        for _, it in ipairs { method, other } do
          value[it] = set:select({ method = it }):summary(field, n).mean
        end
        holds(value[method] < value[other], ("%s, %s, N = %d"):format(name, field, n))
      end
      ahead("sw", "LSD", "PSD-M")
      if name == "afhq" and n >= 4 then
        ahead("fd_cnn", "LSD", "PSD-M")
      else
        ahead("fd_cnn", "PSD-M", "LSD")
      end
    end
  end
end)

t.done()
