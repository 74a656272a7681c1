-- Typical mistakes in an experiment of one's own: each is one sentence with the file and the line.

local t = require "harness"
local experiment = require "flowmap.experiment"
local fm = require "flowmap"
local sandbox = require "sandbox"

-- An experiment without mistakes, one part of it per line.
local GOOD = [[
local fm = require "flowmap"
local rate = 2e-3
local own = { name = "own", methods = { "mine", "lsd" }, seeds = 2 }
own.settings = { width = 8, depth = 1, batch = 16, micro = 16, steps = 2, eval_samples = 500,
  nfe = { 1 }, log_every = 1, lr = rate,
  data = "square", times = "uniform", interpolant = "linear", net = "mlp" }
local function mine(a) return fm.losses.norm2(a.map.v(a.s, a.t, a.x) - a.dx) end
own.losses = { mine = mine }
own.data = { square = { dim = 2, sd = 1 / math.sqrt(3),
  sample = function(b) return b:uniform({ 2 }, "data") * 2 - 1 end } }
own.nets = { small = { options = { waves = 8 }, new = function(cfg) return {
  init = function(rng) return { w = rng({ cfg.dim, cfg.dim }, "lecun") } end,
  v = function(p, s, t, x) return fm.matmul(x, p.w) end } end } }
own.metrics = { far = function(x) return fm.mean(fm.abs(x)):item() end }
own.grid = { eta = { 0.5, 0.75 } }
own.render = { { kind = "compare", name = "far", metric = "far", title = "Far",
  where = { eta = 0.5 } } }
own.profiles = {
  smoke = { clip = 1, by_method = { mine = { eta = 0.5 } } },
  laptop = { steps = 40, batch = 32 },
}
return own
]]

-- { what is written, in place of what, the line, the sentence }
local MISTAKES = {
  { 'metods = { "mine"', 'methods = { "mine"', 3, "unknown field 'metods'; did you mean methods?" },
  { '"mine", "lds"', '"mine", "lsd"', 3, "unknown method 'lds'; did you mean lsd?" },
  { "seeds = 0", "seeds = 2", 3, "seeds must be a whole number from 1 to 1000" },
  { 'name = "my own"', 'name = "own"', 3, "an experiment is named by letters" },
  { "widht = 8", "width = 8", 4, "settings: unknown setting 'widht'; did you mean width?" },
  { 'batch = "many"', "batch = 16", 4, "settings: batch must be a whole number such as 256, found "
    .. "many" },
  { "lr = rat,", "lr = rate,", 5, "there is no variable 'rat'; _G.rat may be nil" },
  { "nfe = { 0 }", "nfe = { 1 }", 5, "settings: nfe must be a list of numbers, each from 1 to" },
  { 'net = "mpl"', 'net = "mlp"', 6,
    "unknown net 'mpl'; did you mean mlp?" },
  { "fm.norm2(a", "fm.losses.norm2(a", 7, "fm.norm2: no such function or module" },
  { "return a.dx end", "return fm.losses.norm2(a.map.v(a.s, a.t, a.x) - a.dx) end", 7,
    "the loss 'mine' returned" },
  { "loss = { mine", "losses = { mine", 8, "unknown field 'loss'; did you mean losses" },
  { "losses = { mine = min }", "losses = { mine = mine }", 8, "there is no variable 'min'" },
  { 'dim = "2"', "dim = 2", 9, "the field dim must be a number, found a string" },
  { "dimension = 2", "dim = 2", 9, "unknown field 'dimension'" },
  { "sd = 1,", "sd = 1 / math.sqrt(3),", 9, "the data set 'square': sd is 1, but 65536 draws" },
  { "b:uniform({ 3 }", "b:uniform({ 2 }", 10, "sample of the data set returned a tensor" },
  { "option = { waves", "options = { waves", 11, "unknown field 'option'; did you mean options?" },
  { "return x end", 'return fm.mean(fm.abs(x)):item() end', 14, "the metric 'far' returned" },
  { "return x.y + 1 end", 'return fm.mean(fm.abs(x)):item() end', 14,
    "tensor: no field or method 'y' found, expected shape, dtype" },
  { "eta = { 0.5, 7.5 }", "eta = { 0.5, 0.75 }", 15, "grid, eta: eta must be between 0 and 1" },
  { 'kind = "comprae"', 'kind = "compare"', 16, "did you mean compare?" },
  { "cilp = 1", "clip = 1", 19, "profile smoke: unknown setting 'cilp'; did you mean clip?" },
  { "min = { eta = 0.5", "mine = { eta = 0.5", 19, "unknown method 'min'; did you mean mine?" },
  { "mine = { eat = 0.5", "mine = { eta = 0.5", 19, "by_method 'mine': unknown setting 'eat'" },
  { "steps = -1", "steps = 40", 20, "profile laptop: steps must be from 1 to" },
  { "steps = 40 batch", "steps = 40, batch", 20, "'}' expected" },
}

local function try(text)
  local path = sandbox.write("own.lua", text)
  return pcall(function()
    local it = experiment.load(path)
    local cfg = experiment.resolve(it, { profile = "smoke" })
    fm.run.run(it, cfg, sandbox.path "out", { force = true })
  end)
end

t.test("without a mistake it runs", function()
  local ok, err = try(GOOD)
  t.eq(ok, true, tostring(err))
end)

for _, case in ipairs(MISTAKES) do
  local wrong, right, line, said = table.unpack(case)
  t.test(wrong, function()
    local first, last = GOOD:find(right, 1, true)
    local ok, err = try(GOOD:sub(1, first - 1) .. wrong .. GOOD:sub(last + 1))
    t.eq(ok, false)
    local text = tostring(err)
    t.eq(text:find(("own.lua:%d: "):format(line), 1, true) ~= nil, true, text)
    t.eq(text:find(said, 1, true) ~= nil, true, text)
    t.eq(text:find "[\n]", nil, text)
  end)
end

t.test("math.random in a loss is told: its number is the same in every step", function()
  local loss = "fm.losses.norm2(a.map.v(a.s, a.t, a.x) - a.dx)"
  local first, last = GOOD:find(loss, 1, true)
  for words, told in pairs { [" * math.random()"] = 1, [" * (math.pi - 3)"] = 0 } do
    sandbox.write("own.lua", GOOD:sub(1, last) .. words .. GOOD:sub(last + 1))
    local code, out = sandbox.flowmap "run own.lua --profile smoke --out drawn"
    t.eq({ code, first ~= nil }, { 0, true }, out)
    t.eq(select(2, out:gsub("note: own.lua:7: math.random is called while", "")), told, out)
    sandbox.run "rm -r drawn"
  end
end)

t.done()
