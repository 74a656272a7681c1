-- The command `sample`: solvers, seeds, classes and guidance, each with reproducible bits.

local t = require "harness"
local fm = require "flowmap"
local sandbox = require "sandbox"

-- Images whose colour is that of their class.
local colours = { shape = { 8, 8, 3 }, sd = 0.5, classes = 2 }

function colours.sample(b)
  local labels = fm.reshape(fm.floor(2 * b:uniform({ 1 }, "class")), { b.n })
  local colour = fm.reshape(labels - 0.5, { b.n, 1, 1, 1 })
  return fm.broadcast(colour, { b.n, 8, 8, 3 }) + 0.1 * b:normal({ 8, 8, 3 }, "noise"), labels
end

local painting = { name = "painting", path = "tests", methods = { "lsd" },
  profiles = { smoke = {} }, data = { colours = colours } }

-- A checkpoint of a small network after a few steps.
local function trained(name, set)
  local all = { data = "colours", net = "edm2", model_channels = 8, mult = { 1, 2 }, num_blocks = 1,
    attention = { 4 }, classes = 2, batch = 32, micro = 8, steps = 20, clip = 1, lr = 2e-2,
    ema = { 0.5 }, label_dropout = 0.3 }
  for key, value in pairs(set or {}) do all[key] = value end
  local job = fm.trainer.new(painting, fm.experiment.resolve(painting,
    { profile = "smoke", set = all }))
  for _ = 1, all.steps do fm.trainer.step(job) end
  fm.checkpoint.save(sandbox.path(name), job, { step = all.steps })
end

-- The file and the samples that a command line draws.
local function drawn(name, options)
  local path = sandbox.path "x.npy"
  local code, out = sandbox.flowmap(("sample %s --count 6 --out x.npy %s"):format(name, options))
  t.eq(code, 0, out)
  return fm.files.read(path), fm.load_npy(path)
end

local function refused(name, options, said)
  local code, out = sandbox.flowmap(("sample %s --count 6 --out x.npy %s"):format(name, options))
  t.eq({ code, out:find(said, 1, true) ~= nil }, { 2, true }, out)
end

trained "classes.safetensors"

t.test("--class draws one class from the same noise as each class in turn", function()
  local all = select(2, drawn("classes.safetensors", "--seed 3"))
  for class = 0, 1 do
    local one = select(2, drawn("classes.safetensors", "--seed 3 --class " .. class))
    for k = 0, 5 do -- sample k is of the class k mod 2
      t.eq(fm.bytes(fm.slice(one, 1, k + 1, 1)) == fm.bytes(fm.slice(all, 1, k + 1, 1)),
        k % 2 == class, class .. "/" .. k)
    end
  end
end)

t.test("guidance moves samples along the difference of the velocities, linearly in one step",
  function()
    local x = {}
    for _, g in ipairs { 0, 1, 2 } do
      x[g] = select(2, drawn("classes.safetensors", "--class 1 --guidance " .. g))
    end
    local off = fm.max_reduce(fm.abs(x[2] - (2 * x[1] - x[0]))):item()
    t.near(off, 0, 1e-5)
    t.eq(fm.bytes(x[0]) ~= fm.bytes(x[1]), true)
    t.eq(drawn("classes.safetensors", "--class 1"),
      (drawn("classes.safetensors", "--class 1 --guidance 1")))
  end)

t.test("solvers and seeds: equal words give equal bits, others do not", function()
  local found, count = {}, 0
  for _, words in ipairs { "--method euler --steps 3", "--method heun --steps 3", "--method dopri5",
    "--method dopri5 --rtol 1e-2 --atol 1e-2", "--method euler --steps 3 --seed 1",
    "--method map --steps 3" } do
    local bytes = drawn("classes.safetensors", words)
    t.eq(drawn("classes.safetensors", words .. " --threads 1"), bytes, words)
    t.eq(found[bytes], nil, words)
    found[bytes], count = words, count + 1
  end
  t.eq(count, 6)
  t.eq(drawn("classes.safetensors", "--sampler euler --steps 3"),
    (drawn("classes.safetensors", "--method euler --steps 3")))
end)

t.test("what has no effect or no meaning is refused", function()
  trained("labels.safetensors", { label_dropout = 0, steps = 1 })
  trained("plain.safetensors", { classes = 0, label_dropout = 0.1, steps = 1 })
  refused("plain.safetensors", "--class 0", "--class has no effect: the network of "
    .. "plain.safetensors was trained without labels (classes is 0)")
  refused("plain.safetensors", "--guidance 2", "--guidance has no effect")
  refused("classes.safetensors", "--class 2", "--class: expected a whole number from 0 to 1, "
    .. "found 2: the network of classes.safetensors knows 2 classes")
  refused("classes.safetensors", "--guidance=-1", "--guidance: guidance must be from 0 to 1000")
  refused("labels.safetensors", "--guidance 2", "label_dropout is 0")
  refused("classes.safetensors", "--method rk4", "--sampler: sampler must be one of map, ")
  refused("classes.safetensors", "--method heun --rtol 1e-3", "--rtol has no effect: only the "
    .. "sampler dopri5 has tolerances, and this one is heun")
end)

t.test("a picture shows the points, whatever the units of their file", function()
  if not sandbox.has "gnuplot" then return print "gnuplot is not installed: not tested" end
  for _, it in ipairs { { "far", 100, 10 }, { "small", 0, 1e-3 } } do
    local name, lines = it[1], {}
    local x = fm.normal({ 200, 2 }, { seed = 1, stream = "x" }):flat()
    for i = 1, #x, 2 do
      lines[#lines + 1] = ("%.9g,%.9g"):format(it[2] + it[3] * x[i], it[3] * x[i + 1] - it[2])
    end
    sandbox.write(name .. ".csv", table.concat(lines, "\n") .. "\n")
    sandbox.write(name .. ".lua", ([[
      return { name = "own", methods = { "lsd" }, data = require("flowmap").load_csv "%s.csv",
        profiles = { smoke = { steps = 2, batch = 8, micro = 8, width = 8, depth = 1, nfe = { 1 },
          eval_samples = 50, log_every = 1 } } }]]):format(name))
    local code, out = sandbox.flowmap(("run %s.lua --profile smoke --out %s"):format(name, name))
    t.eq(code, 0, out)
    local draw = "sample %s/checkpoint.safetensors --count 200 --out %s.png"
    code, out = sandbox.flowmap(draw:format(name, name))
    t.eq(code, 0, out)
    local pixels, blue = fm.load_image(sandbox.path(name .. ".png")):flat(), 0
    for i = 1, #pixels, 3 do blue = blue + (pixels[i + 2] - pixels[i] > 50 and 1 or 0) end
    t.eq(blue > 300, true, name .. ": " .. blue)
  end
end)

t.test("options without effect are refused", function()
  refused("classes.safetensors", "--sampler dopri5 --steps 3",
    "--steps has no effect: the sampler dopri5 chooses its steps by its tolerances")
  refused("classes.safetensors", "--experiment " .. sandbox.here .. "/experiments/spirals.lua",
    "--experiment FILE has no effect: the network of classes.safetensors, 'edm2', is one of the "
      .. "suite's")
end)

t.test("more samples than there is memory for are refused before the work", function()
  local code, out = sandbox.run("timeout 20 " .. fm.files.quote(sandbox.program)
    .. " sample classes.safetensors --count 2147483647 --out x.npy")
  t.eq(code, 2, out)
  t.has(out, "--count: 2147483647 samples of 192 values need at least 3072 GiB")
end)

t.done()
