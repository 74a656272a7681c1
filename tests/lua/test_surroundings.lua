-- Adverse surroundings: limits of the shell, closed streams, pipes and devices in place of files,
-- texts of megabytes, folders with colliding or hostile names, error values that raise errors.

local t = require "harness"
local errors = require "flowmap.base.errors"
local experiment = require "flowmap.experiment"
local files = require "flowmap.base.files"
local fm = require "flowmap"
local json = require "flowmap.base.json"
local lfs = require "lfs"
local repl = require "flowmap.app.repl"
local sandbox = require "sandbox"

local program, suite, work, write = sandbox.program, sandbox.here, sandbox.root, sandbox.write

-- Exit code and all output of a shell command in the work folder, in which %s is the program.
local function run(command)
  command = command:gsub("%%s", (program:gsub("%%", "%%%%")))
  return sandbox.run("ulimit -c 0; " .. command)
end

local BOARD = ("%s/experiments/checkerboard.lua --profile smoke --set width=8 --set steps=5 "
  .. "--set log_every=5 --set eval_samples=100 --set nfe=1 "):format(suite)

-- ------------------------------------------------------------------ what a shell sets

t.test("ulimit -s: workers have their own stacks; too small a stack gives a sentence", function()
  for _, limit in ipairs { "600", "1024", "2048", "unlimited" } do
    local code, text = run(("ulimit -s %s && %%s run %s --threads 2 --out stack-%s"):format(limit,
      BOARD, limit))
    t.eq(code, 0, limit .. ": " .. text)
  end
  local code, text = run "ulimit -s 64; %s info"
  t.eq(code, 2, text)
  t.eq(text:find "^flowmap: memory: the stack is limited to 64 KiB[^\n]*\n$" ~= nil, true, text)
end)

t.test("a closed standard stream is not replaced by the next opened file", function()
  write(work .. "/lines", "f = io.open('out', 'w')\nf:write 'mine'\nf:flush()\n"
    .. "io.stderr:write 'an error'\nprint 'a line'\nio.stdout:flush()\nf:close()\n")
  for _, closed in ipairs { ">&-", "2>&-", ">&- 2>&-" } do
    run("%s repl <lines " .. closed)
    t.eq(files.read(work .. "/out"), "mine", closed)
  end
  local code, text = run "%s info >&-"
  t.eq(code, 3, text)
  t.eq(text:find "standard output could not be written" ~= nil, true, text)
end)

t.test("no file left to open: sentences, not Lua's words", function()
  run(("%%s run %s --out few"):format(BOARD))
  for count = 4, 11 do
    for _, command in ipairs { "sample few/checkpoint.safetensors --count 9 --out few.png",
      "run " .. BOARD .. "--out few" } do
      local code, text = run(("ulimit -n %d; exec %%s %s"):format(count, command))
      t.eq(code == 0 or code == 2 or code == 3, true, ("%d: %s: %s"):format(count, command, text))
      t.eq(text:find "nil value" or text:find "error handling" or text:find "%.lua:%d", nil, text)
    end
  end
end)

t.test("an environment variable that is misspelt is not passed over", function()
  for set, words in pairs { ["FM_ISA=AVX2"] = "variable FM_ISA is 'AVX2', expected sca",
    ["FM_THREADS=2x"] = "variable FM_THREADS is '2x', expected a whole number from 1" } do
    local code, out = sandbox.run(("%s %s info"):format(set, files.quote(sandbox.program)))
    t.eq({ code, out:find(words, 1, true) ~= nil }, { 2, true }, out)
  end
end)

-- ------------------------------------------------------------------ pipes, devices, folders

local function fifo(path) os.execute("mkfifo " .. path) end
local function device(path) lfs.link("/dev/zero", path, true) end

t.test("a pipe, device or folder in place of a file gives a sentence at once", function()
  fifo(work .. "/pipe.lua")
  device(work .. "/device.lua")
  lfs.mkdir(work .. "/folder.lua")
  for name, word in pairs { pipe = "a pipe", device = "a device", folder = "a folder" } do
    local path = ("%s/%s.lua"):format(work, name)
    local code, text = run(("exec timeout -s KILL 30 %%s params %s"):format(path))
    t.eq(code, 2, text)
    t.eq(text, ("flowmap: %s: it is %s, expected a file\n"):format(path, word))
    t.eq(select(2, files.read(path)), ("%s: it is %s, expected a file"):format(path, word))
    t.eq(select(2, json.read(path)), ("%s: it is %s, expected a file"):format(path, word))
  end
  for _, record in ipairs { ".flowmap", "inputs.json", "manifest.json" } do
    for _, make in ipairs { fifo, device } do
      run("rm -rf copy; cp -r few copy; rm copy/" .. record)
      make(work .. "/copy/" .. record)
      local code, text = run(("exec timeout -s KILL 30 %%s run %s --out copy"):format(BOARD))
      t.eq(code, 3, record .. ": " .. text)
      t.eq(text:find(record .. ": it is a", 1, true) ~= nil, true, text)
    end
  end
end)

t.test("a file that is too large for a picture is not read", function()
  sandbox.run "truncate -s 67108865 large.png"
  local err = t.raises(function() fm.load_image(work .. "/large.png") end,
    "large.png': 67108865 bytes found, expected at most 67108864")
  t.eq(err.code, "data")
end)

t.test("figures are drawn in their folder, whatever CDPATH and GNUTERM say", function()
  sandbox.needs "gnuplot"
  write("draw.lua", [[require("flowmap.report.gnuplot").render("drawn", "a",
    { width = 100, height = 100, script = "plot x\n" }) ]])
  write("elsewhere/drawn/a.gp", "print 'the script of another folder'\n")
  for _, path in ipairs { ".", "elsewhere" } do
    local code, out = sandbox.run(("GNUTERM=none CDPATH=%s %s lua draw.lua"):format(path,
      files.quote(sandbox.program)))
    t.eq({ code, out, sandbox.exists "drawn/a.svg" }, { 0, "", true })
    os.remove(work .. "/drawn/a.svg")
  end
end)

-- ------------------------------------------------------------------ very long texts

local tensors, meta = {}, {}

local function sample(settings, changed)
  local out, config = {}, json.decode(meta.config)
  for key, value in pairs(meta) do out[key] = value end
  for key, value in pairs(settings) do config[key] = value end
  out.config = json.encode(config)
  for key, value in pairs(changed or {}) do out[key] = value end
  fm.save_safetensors(work .. "/forged.safetensors", tensors, out, false)
  return run "exec timeout -s KILL 30 %s sample forged.safetensors --count 9 --out forged.npy"
end

t.test("a checkpoint's texts are bounded, and so are the sentences about them", function()
  tensors, meta = fm.load_safetensors(work .. "/few/checkpoint.safetensors")
  local long = ("x"):rep(100000)
  for _, it in ipairs {
    { { net = ("x"):rep(10000000) }, "config in its metadata has 1000%d%d%d%d bytes" },
    { { net = long }, "net must be a name" }, { { dtype = long }, "dtype must be" },
    { { [long] = 1 }, "unknown setting" }, { { metrics = { 1, 2 } }, "metrics must be a list" },
    { {}, "was trained with the network", json.encode { own_net = true, experiment = { path = long,
      hash = long, loads = {} } } },
    { { ema = {} }, "there is no average 1" },
  } do
    local code, text = sample(it[1], { code = it[3] })
    t.eq(code, it[3] and 2 or 3, text:sub(1, 300))
    t.eq(text:find(it[2]) ~= nil, true, text:sub(1, 300))
    t.eq(#text < 2200, true, #text)
  end
  local e = t.raises(function() errors.usage("%s", ("é"):rep(3000)) end, "é")
  t.eq(#e.message < 2100 and utf8.len(e.message) ~= nil, true)
  t.eq(errors.near(long, { "net" }), "")
end)

-- ------------------------------------------------------------------ names

t.test("different settings have different folders, whose names fit", function()
  local names = {}
  for _, text in ipairs { "a/b", "a:b", "a b", "a_b", "`a`", "$a$", ("x"):rep(300),
    ("x"):rep(301), ("x"):rep(60) .. "/y", ("x"):rep(60) .. "_y", "" } do
    local name = experiment.run_name({ method = "lsd", seed = 1, label = text }, { label = text })
    t.eq(names[name], nil, name)
    t.eq(name:find "^lsd%-label=[%w.,+_-]*%-seed1$" ~= nil and #name < 240, true, name)
    names[name] = true
  end
  local many = { method = "lsd", seed = 7 }
  for k = 1, 40 do many["key" .. k] = ("v"):rep(50) end
  local set = {}
  for key, value in pairs(many) do set[key] = key:find "^key" and value or nil end
  local name = experiment.run_name(many, set)
  t.eq(#name < 240 and name:find "%-seed7$" ~= nil, true, name)
  many.key40 = "w"
  t.eq(experiment.run_name(many, set) ~= name, true)
  t.eq(experiment.run_name({ method = "psd-m", seed = 2, eta = 0.5, nfe = { 1, 2 } },
    { eta = 0.5, nfe = { 1, 2 } }), "psd-m-eta=0.5-nfe=1,2-seed2")
end)

local OWN = [[
return { name = "own", options = { label = "x" }, profiles = { smoke = { steps = 5, batch = 8,
  width = 8, depth = 1, eval_samples = 50, nfe = { 1 }, log_every = 5 } }, %s }
]]

t.test("a text that no checkpoint can hold is refused before the first step", function()
  for text, fault in pairs { ["\\xff"] = "is not UTF-8", ["a\\nb"] = "has control characters" } do
    write(work .. "/own.lua", OWN:format(('settings = { label = "%s" }'):format(text)))
    local code, said = run "%s run own.lua --profile smoke --out own"
    t.eq(code, 2, said)
    t.eq(said:find("label must be a line of text, found one that " .. fault, 1, true) ~= nil, true,
      said)
    t.eq(lfs.attributes(work .. "/own"), nil)
  end
end)

t.test("an experiment may lie in a folder of any name", function()
  local dir = work .. "/a\xff `id`\n\"'$(id)"
  lfs.mkdir(dir)
  write(dir .. "/own.lua", OWN:format "seeds = 1")
  local code, text = run(("%%s run %s --profile smoke --out any"):format(
    files.quote(dir .. "/own.lua")))
  t.eq(code, 0, text)
  local _, pinned = fm.load_safetensors(work .. "/any/checkpoint.safetensors")
  t.eq(json.decode(pinned.code).experiment.path:find "\u{FFFD} `id` " ~= nil, true)
end)

-- ------------------------------------------------------------------ misleading errors

t.test("an error value with a foreign metatable cannot end the prompt", function()
  local function never() error "again" end
  for _, mt in ipairs { { __tostring = never }, { __tostring = function() return {} end },
    { __index = never, __eq = never, __tostring = never }, { __metatable = 1, __tostring = never },
    { __name = {} } } do
    for _, code in ipairs { "usage", "data", {}, 1 } do
      local err = setmetatable({ code = code, message = {} }, mt)
      local status, text = errors.explain(err)
      t.eq(type(text) == "string" and math.type(status) == "integer", true)
      local ok, noted = errors.pcall(error, err)
      t.eq(ok, false)
      t.eq(type(select(2, errors.explain(noted))), "string")
    end
  end
  t.eq(repl.evaluate("error(1)", {}), false)
  write(work .. "/lies", "error(setmetatable({ code = 'usage' }, { __tostring = function()"
    .. " return {} end }))\nprint 'still here'\n")
  local code, text = run "%s repl <lies"
  t.eq(code == 0 and text:find "still here" ~= nil, true, text)
end)

t.done()
