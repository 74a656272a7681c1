-- An experiment's own parts: each kind is found by name and may declare settings.

local t = require "harness"
local experiment = require "flowmap.experiment"
local fm = require "flowmap"
local json = require "flowmap.base.json"
local notes = require "flowmap.experiment.notes"
local own_files = require "own_experiment"
local record = require "flowmap.runs.record"
local sandbox = require "sandbox"

local root = sandbox.root

local OWN = [[
local fm = require "flowmap"
local own = { name = "own", methods = { "MyLoss" } }
own.losses = {
  MyLoss = { new = function(cfg)
    return function(a)
      return fm.losses.norm2(a.map.v(a.s, a.t, a.x) - a.dx) * cfg.pull
    end
  end, options = { pull = 2.0 } },
  ["plain-loss"] = function(a) return fm.losses.norm2(a.map.v(a.s, a.t, a.x) - a.dx) end,
}
own.nets = { wavy = { options = { waves = 8 }, new = function(cfg)
  local net = {}
  function net.init(rng) return { w = rng({ 4 + cfg.dim, cfg.dim }, "lecun") } end
  function net.v(p, s, t, x)
    return fm.matmul(fm.concat({ s, t, fm.sin(x * cfg.waves), x }, 2), p.w)
  end
  return net
end } }
own.data = { square = { options = { side = 1.0 }, new = function(cfg)
  local a = cfg.side
  return { dim = 2, sd = a / math.sqrt(3),
    sample = function(b) return (b:uniform({ 2 }, "data") * 2 - 1) * a end,
    inside = function(x, y) return math.abs(x) <= a and math.abs(y) <= a end,
    mass = function(x0, x1, y0, y1)
      local function side(l, h) return math.max(0, math.min(h, a) - math.max(l, -a)) / (2 * a) end
      return side(x0, x1) * side(y0, y1)
    end }
end } }
own.times = { late = function(a, c) return fm.minimum(a, c) * 0 + a, a + (1 - a) * c end }
own.interpolants = { bent = { new = function(cfg)
  return { alpha = function(t) return 1 - t end,
    beta = function(t) return t + cfg.bend * t * (1 - t) end }
end, options = { bend = 0.25 } } }
own.metrics = {
  centre = { head = "centre", measure = function(x) return fm.mean(fm.square(x)) end },
  both = function(x, context)
    return { mean = fm.mean(x):item(), data = fm.mean(context.data(x.shape[1])):item() }
  end,
}
own.figures = { plot = { options = { label = "x" }, draw = function(set, spec)
  return { panels = { { title = spec.label, xlabel = "N", ylabel = spec.metric, series = { {
    kind = "linespoints", key = "ours", label = "ours", colour = 6, point = 7,
    rows = { { 1, set:summary(spec.metric, 1).mean }, { 2, set:summary(spec.metric, 2).mean } },
  } } } } }
end } }
own.render = { { kind = "plot", name = "own", metric = "centre" },
  { kind = "compare", name = "both", metric = "both_mean", title = "both" } }
own.profiles = { smoke = { net = "wavy", data = "square", times = "late", interpolant = "bent",
  steps = 4, batch = 32, micro = 32, eval_samples = 2000, nfe = { 1, 2 }, log_every = 2 } }
return own
]]

local load = own_files.load

local own = load(OWN)

local function resolve(set, method)
  return experiment.resolve(own, { profile = "smoke", method = method, set = set })
end

t.test("fields of a figure of one's own mean what it says, whatever their names", function()
  local text = OWN:gsub('options = { label = "x" }', [[options = { label = "x", factors = 2,
    columns = 3, rows = "none", metrics = "all", format = "words", range = 1, series = 4 }]])
    :gsub('name = "own", metric = "centre"', [[%0, factors = 3, columns = 2, rows = "some",
    metrics = "few", format = "short", range = 2, series = 5]])
  t.eq(load(text).render[1].factors, 3)
end)

t.test("settings of a part are settings of the runs that use it", function()
  local cfg = resolve()
  t.eq({ cfg.method, cfg.pull, cfg.waves, cfg.side, cfg.bend },
    { "MyLoss", 2.0, 8, 1.0, 0.25 })
  cfg = resolve({ waves = 3, pull = 1 })
  t.eq({ cfg.waves, cfg.pull, math.type(cfg.pull) }, { 3, 1.0, "float" })
  t.raises(function() resolve { waves = "many" } end, "waves must be a whole number such as 8")
  t.raises(function() resolve { wave = 3 } end, "unknown setting 'wave'; did you mean waves%?")
  t.eq(resolve({}, "lsd").pull, nil)
  t.raises(function() resolve({ pull = 3 }, "lsd") end,
    "pull has no effect here; it is a setting of the method 'MyLoss'")
  t.raises(function() resolve { net = "mlp", waves = 3 } end, "a setting of the net 'wavy'")
end)

t.test("names are found as written, otherwise without regard to case", function()
  t.eq(resolve({}, "myloss").method, "MyLoss")
  t.eq(resolve({}, "LSD").method, "lsd")
  t.eq(resolve({}, "plain-loss").method, "plain-loss")
  t.raises(function() resolve({}, "MyLos") end, "unknown method 'MyLos'; did you mean MyLoss%?")
  for key, near in pairs { net = "wavy", data = "square", times = "late", interpolant = "bent" } do
    t.raises(function() resolve { [key] = near .. "x" } end, "did you mean " .. near)
  end
  t.raises(function() resolve { metrics = "centr" } end, "did you mean centre")
  t.eq(resolve({ metrics = "both" }).metrics, { "both" })
  t.eq(resolve({ metrics = "none" }).metrics, {})
  t.eq(resolve().metrics, { "both", "centre" })
end)

t.test("names that differ only in capitals", function()
  local loss = "function(a) return fm.losses.norm2(a.map:b(a.t, a.x) - a.dx) end"
  own_files.refused_run("own.losses = { My = " .. loss .. ", my = " .. loss .. " }",
    "there is already a '[Mm]y', and names that differ only in capitals are the same")
  own_files.refused_run("own.losses = { LSD = " .. loss .. " }", "there is already a 'lsd'")
end)

t.test("metrics have no names that select metrics or are those of other results", function()
  for _, name in ipairs { "all", "None" } do
    own_files.refused(("metrics = { %s = function() return 1 end }"):format(name),
      "metrics%['" .. name .. "'%] has a name by which the setting metrics selects")
  end
  own_files.write("twins.lua", "metrics = { KL = function() return 1 end }")
  local code, out = sandbox.flowmap "run twins.lua --profile smoke --dry-run"
  t.eq({ code, out:find "'KL' and 'kl', names that differ only in capitals" ~= nil }, { 2, true },
    out)
end)

t.test("a run with nothing but own parts: trained, measured, rendered", function()
  local cfg, dir = resolve(), root .. "/results/own/smoke/MyLoss-seed1"
  fm.run.run(own, cfg, dir)
  local eval = json.read(dir .. "/eval.json")
  local row, heads = eval.rows[1], {}
  for i, column in ipairs(eval.columns) do heads[i] = column[2] end
  t.eq(table.concat(heads, " "):match "both data.*", "both data both mean centre")
  local x = fm.load_npy(dir .. "/samples-N1.npy")
  t.near(row.centre, fm.mean(fm.square(x)):item(), 1e-6)
  t.near(row.both_mean, fm.mean(x):item(), 1e-6)
  t.near(row.both_data, 0, 0.05)
  local made = table.concat(fm.render.experiment(own, "smoke", root .. "/results"), " ")
  t.eq(made:find("figures/own.png", 1, true) ~= nil, true, made)
  t.eq(made:find("tables/both.md", 1, true) ~= nil, true, made)
end)

t.test("training uses an experiment's own interpolant", function()
  local job = fm.job.parts(own, resolve { bend = 0.5 })
  local half = fm.full({ 1, 1 }, 0.5, "float64")
  t.near(job.interpolant.beta(half):item(), 0.5 + 0.5 * 0.25, 1e-12)
  local s, later = job.times(half, half)
  t.eq({ s:item(), later:item() }, { 0.5, 0.75 })
end)

t.test("the linear interpolant as two functions of one's own trains to the same bits", function()
  local line = { alpha = function(at) return 1 - at end, beta = function(at) return at end }
  local it = { name = "line", path = "line", profiles = { smoke = {} }, methods = { "meanflow" },
    interpolants = { mine = line } }
  local found = {}
  for k, name in ipairs { "linear", "mine" } do
    local job = fm.trainer.new(it, fm.experiment.resolve(it, { profile = "smoke",
      set = { interpolant = name, width = 8, depth = 2, batch = 32, micro = 16, steps = 3 } }))
    for _ = 1, 3 do fm.trainer.step(job) end
    found[k] = fm.bytes(job.params[1].w)
  end
  t.eq(found[1], found[2])
end)

local refused = own_files.refused

t.test("a value that is not a part is refused when the experiment is loaded", function()
  refused("losses = { a = 3 }", "losses%['a'%] must be a function or a table, found a number")
  refused("losses = { a = { stops = {} } }", "losses%['a'%]: the field loss is missing")
  refused("losses = { a = { los = print } }", "unknown field 'los'; did you mean loss%?")
  refused("nets = { print }", "nets%['1'%]: a net is named by letters")
  refused("nets = { a = {} }", "nets%['a'%]: the field new is missing")
  refused("data = { a = print }", "data%['a'%] must be a table, found a function")
  refused("data = { a = { dim = 2 } }", "data%['a'%]: the field sample is missing")
  refused("interpolants = { a = { alpha = print } }", "the field beta is missing")
  refused("times = { a = {} }", "times%['a'%]")
  refused("metrics = { a = { measure = 1 } }", "the field measure must be a function")
  refused("figures = { a = 1 }", "figures%['a'%] must be a function or a table")
  refused("losses = { ['a/../b'] = print }", "named by letters")
  refused("nets = { a = { new = print, options = { width = 3 } } }",
    "the option width has the name of a setting")
  refused("nets = { a = { new = print, options = { w = print } } }",
    "the default of w is a function")
  refused("nets = { a = { new = print, options = { w = 1 } }, "
    .. "b = { new = print, options = { w = 2 } } }", "the option w has the default")
end)

t.test("a metric is chosen once", function()
  local it = own_files.load "return { name = 'x', metrics = { a = print }, profiles = { p = {} } }"
  local function chosen(names)
    return experiment.resolve(it, { profile = "p", set = { metrics = names } }).metrics
  end
  t.eq(chosen "a", { "a" })
  t.raises(function() chosen "a,a" end, "metrics names 'a' twice, expected each metric once")
  it = own_files.load "return { name = 'x', profiles = { p = {} } }"
  t.raises(function() chosen "a" end, "unknown metric 'a'; none is known")
end)

t.test("parts of its own that an experiment does not name are told", function()
  local head = [[local net = { new = print }
    local function law(a, c) return a, c end
    local function loss(a) return a.s end
    return { name = 'x', nets = { Mine = net, other = net }, times = { late = law },
      losses = { mine = { loss = loss, variants = { u = { g = 1 }, m = { g = 2 } } } }, ]]
  local function told(rest, want)
    local it = own_files.load(head .. rest .. " }")
    return notes.sentences(it, experiment.resolve(it, want or { profile = "smoke" }), "smoke")
  end
  t.eq(told "profiles = { smoke = {} }", {
    "the experiment's own method 'mine' is not used: nothing names it, and method is lsd",
    "the experiment's own network 'Mine' is not used: nothing names it, and net is mlp",
    "the experiment's own law of times 'late' is not used: nothing names it, and times is uniform",
  })
  t.eq(told [[methods = { "lsd", "mine-u" }, settings = { net = "mine" },
    profiles = { smoke = { times = "late" }, long = {} }]], {})
  t.eq(told [[methods = { "lsd", "mine-m" }, grid = { net = { "mlp", "other" } },
    profiles = { smoke = { by_method = { lsd = { times = "late" } } } }]], {})
  t.eq(#told("profiles = { smoke = {} }", { profile = "smoke", method = "mine-u",
    set = { net = "other", times = "late" } }), 0)
end)

t.test("points by columns, and an average that stays at the initial weights, are told", function()
  local function told(data, steps, profile)
    local it = own_files.load(([[local fm = require "flowmap"
      return { name = 'x', data = fm.normal({ %s }, { seed = 1 }), profiles = { %s = {
        steps = %d } } }]]):format(data, profile, steps))
    local cfg = experiment.resolve(it, { profile = profile })
    return table.concat(notes.sentences(it, cfg, profile), "\n")
  end
  t.eq(told("3, 3", 2000, "laptop"), "")
  t.has(told("3, 4", 2000, "laptop"),
    "the data set 'points' has 3 points of 4 coordinates; a point is a row")
  t.has(told("3, 3", 50, "laptop"),
    "after 50 steps the average that is evaluated (ema 0.999) is to 95 %")
  t.eq(told("3, 3", 50, "smoke"), "") -- it only tries whether all works
end)

t.test("a part that a run uses and its teacher does not is used", function()
  sandbox.write("taught.lua", [[local fm = require "flowmap"
    return { name = "taught", profiles = { smoke = { width = 8, steps = 3, batch = 32, micro = 32,
      eval_samples = 200, nfe = { 1 } } }, losses = { mine = function(a)
        return fm.losses.norm2(a.map.v(a.s, a.t, a.x) - a.dx)
      end } }]])
  local code, out = sandbox.flowmap "params taught.lua --profile smoke"
  t.eq(code, 0, out)
  t.eq(out:find "own method 'mine' is not used: nothing names it, and method is lsd" ~= nil, true)
  code, out = sandbox.flowmap("params taught.lua --profile smoke --method mine "
    .. "--set teacher=auto --set velocity=teacher")
  t.eq(code, 0, out)
  t.eq(out:find "not used", nil, out)
  code, out = sandbox.flowmap "reproduce taught.lua --profile smoke --seeds 2"
  t.eq(code, 0, out)
  t.eq(select(2, out:gsub("not used", "")), 1, out) -- for all runs together
end)

t.test("an unknown setting is not nil for an experiment's own part", function()
  local net = [[own.nets = { mine = { options = { gain = 2 }, new = function(cfg)
    local net = {}
    function net.init(rng) return { a = rng({ 2, 2 }, "lecun") } end
    function net.v(p, s, t, x) return fm.matmul(x, p.a) * (cfg.%s or 2) end
    return net
  end } }
  own.settings.net = "mine"]]
  own_files.refused_run(net:format "gian", "this run has no setting 'gian'; did you mean gain")
  own_files.run(own_files.small(net:format "gain"))
  own_files.refused_run('own.metrics = { m = function(_, context) return context.cfg.bin end }',
    "no setting 'bin'")
  own_files.refused_run('own.methods = { "m" } own.losses = { m = function(a) return '
    .. "fm.losses.norm2(a.map:b(a.t, a.x) - a.dx) * (a.cfg.scale or 1) end }", "no setting 'scale'")
end)

t.test("a part cannot change the settings that the run has recorded", function()
  own_files.write("sets.lua", "nets = { mlp = function(cfg) cfg.lr = 1; return cfg end }")
  local code, out = sandbox.flowmap "run sets.lua --profile smoke --out sets"
  t.eq({ code, out:find "sets.lua:1: the settings of a run are read%-only: a part sets 'lr'" ~= nil,
    sandbox.exists "sets" }, { 2, true, false }, out)
  local cfg = { nfe = { 1, 4 } }
  local view = require("flowmap.experiment.effect").view(cfg, {})
  for _, value in pairs(view) do value[1] = 9 end
  view.nfe[2] = 9
  t.eq(cfg, { nfe = { 1, 4 } })
end)

t.test("Lua's own generator gives the same numbers in every process", function()
  local lines = [[
  local at_load = math.random()
  own.data = { d = { dim = 2, sd = 1, sample = function(b)
    return b:normal({ 2 }, "d") * (0.95 + 0.1 * math.random())
  end } }
  own.settings.data = "d"
  own.metrics = { m = function() return math.random() + at_load end }]]
  local function results(state)
    math.randomseed(state) -- it differs between processes
    local dir = own_files.run(own_files.small(lines))
    return fm.sha256(fm.files.read(dir .. "/data.npy")), record.need(dir, "eval").rows
  end
  local a, rows = results(1)
  local b, again = results(2)
  t.eq({ a, rows }, { b, again })
end)

t.test("trials before a run leave no trace in a loss that draws by Lua's generator", function()
  local lines = [[own.methods = { "m" } own.losses = { m = function(a)
    return fm.losses.norm2(a.map:b(a.t, a.x) - a.dx) * (1 + math.random()) end }]]
  local rehearse = require "flowmap.runs.rehearse"
  local check = rehearse.check
  local first = fm.files.read(own_files.run(own_files.small(lines)) .. "/metrics.jsonl")
  rehearse.check = function(...) math.random() return check(...) end
  local second = fm.files.read(own_files.run(own_files.small(lines)) .. "/metrics.jsonl")
  rehearse.check = check
  t.eq(second, first)
end)

t.done()
