--- Packed images are foreign data: texts in their headers, bytes that change, files that
-- shrink during use; and which files may be written, and when.
local fm = require "flowmap"
local header = require "flowmap.data.packed.header"
local images = require "flowmap.data.packed"
local text = require "flowmap.base.text"
local t = require "harness"
local sandbox = require "sandbox"

local root, data, run, read, write = sandbox.root, sandbox.data, sandbox.run, sandbox.read,
  sandbox.write
sandbox.link "experiments"

-- All files and folders below a folder, as one text.
local function tree(folder) return select(2, run("find " .. folder .. " | LC_ALL=C sort")) end

local function lua(script) -- in a process of its own
  return sandbox.lua('local fm = require "flowmap"\n' .. script)
end

-- A pack of `n` images of 64 x 64 with that description.
local function pack(path, n, described)
  local p <close> = fm.pack(path, { count = n, train = n, classes = 3, shape = { 64, 64, 3 },
    text = described })
  p:draw("animals", 1, 0, n)
  p:finish()
end

local path = data .. "/afhq.images"

-- ------------------------------------------------------------------ texts

t.test("an invalid description is refused, in any form of output", function()
  local long, bad = ("x"):rep(201), "evil\u{202e}"
  for _, it in ipairs {
    { "no JSON", "no JSON object" }, { "[1]", "the title is a nil" }, { "7", "no JSON object" },
    { '{"title": 7}', "the title is a number" }, { '{"title": {}}', "the title is a table" },
    { '{"title": "a\\u0007"}', "the title has control characters" },
    { '{"title": "a\\n"}', "the title has control characters" },
    { '{"title": "a\\u0000b"}', "the title has control characters" },
    { '{"title": "\\u0085"}', "the title has control characters" },
    { '{"title": "' .. bad .. '"}', "the title has control characters" },
    { '{"title": "' .. long .. '"}', "the title has 201 bytes, expected at most 200" },
    { '{"title": "\xff"}', "the title is not UTF%-8" },
    { '{"title": "t", "standin": 1}', "the kind of stand%-in is a number" },
    { '{"title": "t", "classes": "abc"}', "the names of the classes are a string" },
    { '{"title": "t", "classes": ["a"]}', "the names of the classes are 1, expected 3" },
    { '{"title": "t", "classes": ["a", "b", "\\u001b[2J"]}', "number 3 has control characters" },
    { '{"title": "t", "source_sha256": "../../x"}', "hash is no SHA%-256" },
    { '{"title": "t", "source": "\\u007f"}', "source has control characters" },
  } do
    pack(path, 1, it[1])
    local e = t.raises(function() images.look(path) end, it[2])
    t.eq({ e.code, tostring(e):find "[%c\x80-\xff]" }, { "data", nil }, it[1])
  end
  local code, out = sandbox.flowmap "run experiments/afhq.lua --profile smoke"
  t.eq(code ~= 0 and out:find "[\0-\9\11-\31\127]" == nil, true, out)
end)

t.test("a valid description is kept unchanged", function()
  local title = "Tiere „Füße“ `id` $(id) <svg onload=1> \\ ' \""
  pack(path, 1, header.encode({ title = title, classes = { "a", "b", "c" } }, fm.pack_text))
  local meta = images.look(path).meta
  t.eq({ meta.title, meta.classes }, { title, { "a", "b", "c" } })
end)

t.test("names of an archive become lines of text, and fit into a header", function()
  t.eq(text.line("a\nb\xffc\u{85}d\0", 20), "a?b?c?d?")
  t.eq(text.line(("ä"):rep(50), 20), ("ä"):rep(8) .. "...")
  t.eq(text.line("\xff\xfe\xe2\x80", 9), "????")
  local names = {}
  for k = 1, 256 do names[k] = ("%d"):format(k) .. ("é"):rep(100) end
  local described = header.encode({ title = "t\7", source = "\xff", classes = names }, fm.pack_text)
  t.eq(#described < fm.pack_text, true)
  t.eq(header.decode("p", described, 256), { title = "t?", source = "?" })
end)

t.test("a text that becomes a file name uses a fixed alphabet and remains distinct", function()
  local seen, hostile = {}, { "", ".", "..", "../../etc/passwd", "/etc/passwd", "a/b", "a b", "-rf",
    ".hidden", "a\0b", "a\nb", "`id`", "$(id)", "a\\b", "C:x", "~", "ä", "\xff", "CON",
    ("x"):rep(300), ("x"):rep(301), ("../"):rep(100), "a..b", "x;rm", "*", "a-b" }
  for _, s in ipairs(hostile) do
    local name = text.file_name(s)
    t.eq(name:find "^[A-Za-z0-9_-][A-Za-z0-9_.-]*$" ~= nil and #name <= 64
      and not name:find("..", 1, true) and name:sub(1, 1) ~= "-", true, name)
    t.eq(seen[name], nil, name)
    seen[name] = true
  end
  t.eq(text.file_name "CIFAR-10_v1.0", "CIFAR-10_v1.0")
end)

t.test("no path contains a title: statistics with a hostile one stay in the cache", function()
  local metrics = require "flowmap.measure.image_distances"
  local set = { name = "../../../escaped */`touch x`", split = "train", n = 8,
    hash = ("0"):rep(64),
    images = function(index) return fm.full({ index.shape[1], 8, 8, 3 }, 0.5) end }
  local kind = { label = "../kind", kernel = "K", dim = 2, protocol = "p", hash = "h",
    offset = 0,
    extract = function(x) return fm.full({ x.shape[1], 2 }, 0.5) end }
  local it = metrics.new(set, { metrics = { kind }, cache = sandbox.cache .. "/stats" })
  pcall(it.measure, it, set.images(fm.zeros { 8 }))
  t.eq(tree(sandbox.cache .. "/stats"):gsub(("%x"):rep(12) .. "+", "#") .. "",
    ("%s/stats\n%s/stats/reference-escaped----touch-x--#-kind-#-#.safetensors\n")
      :format(sandbox.cache, sandbox.cache))
end)

-- ------------------------------------------------------------------ bytes

local good = header.encode({ title = "animals", classes = { "cat", "dog", "wild" } }, fm.pack_text)
local use = ([[
  local set = require "flowmap.data".find "afhq"
  local verify, times = fm.pack_verify, 0
  require("flowmap.core").pack_verify = function(...) times = times + 1 return verify(...) end
  fm.pack_verify = function(...) times = times + 1 return verify(...) end
  local ok, e = pcall(function() return set.count end)
  print(times, ok and e or e.code .. " " .. e.message)
]])
local function used() return select(2, lua(use)) end

t.test("packed images are compared with their hash once, and again after the file has changed",
  function()
    pack(path, 30, good)
    t.eq(used(), "1\t30\n")
    run("touch -d '1 minute ago' " .. path) -- the time of its inode stays young for two seconds
    local whole = read(path)
    os.execute "sleep 2.1"
    t.eq({ used(), used() }, { "1\t30\n", "0\t30\n" })
    for _, at in ipairs { 4097, 100000, #whole } do
      write(path, whole:sub(1, at - 1) .. string.char(whole:byte(at) ~ 4) .. whole:sub(at + 1))
      run("touch -d '1 minute ago' " .. path) -- an old time stamp does not hide the change
      t.eq(used():match "^1\tdata '.-afhq.images' is damaged: its images have the SHA%-256" ~= nil,
        true)
    end
    write(path, whole)
    t.eq(used(), "1\t30\n")
  end)

t.test("the file that is mapped is the file that was compared", function()
  local stamp = fm.pack_stamp(path)
  t.eq(fm.pack_map(path, 0, 30, stamp).shape, { 30, 64, 64, 3 })
  pack(path, 30, good)
  t.raises(function() fm.pack_map(path, 0, 30, stamp) end, "changed after it was verified")
end)

-- ------------------------------------------------------------------ changes during use

-- A sum of pixels by a program of several threads, whose mapped file `harm` changes in between.
local function harmed(harm)
  collectgarbage() -- an earlier file that was lost is an error as long as it is there
  pack(path, 30, good)
  local pixels = fm.pack_map(path, 0, 30)
  local sums = fm.program(function(input, b)
    local index = fm.reshape(fm.floor(30 * b:uniform({ 1 }, "index")), { b.n })
    return { sum = { s = fm.sum(fm.pixels(input.pixels, index)) } }
  end, { shared = { pixels = pixels }, rows = {}, micro = 8 })
  local function step()
    return sums:run { shared = { pixels = pixels }, rows = {}, batch = 256, seed = 1,
      step = 0 }.sum.s:item()
  end
  local before = step()
  harm(read(path))
  return before, step, pixels
end

local function truncate(bytes) return run(("truncate -s %d %s"):format(bytes, path)) end

for _, left in ipairs { 0, 5000, 200000, 4096 + 30 * 64 * 64 * 3 - 2000 } do
  t.test(("truncating a file to %d bytes during use is an error"):format(left), function()
    local _, step, pixels = harmed(function() truncate(left) end)
    for _ = 1, 2 do -- and stays one
      t.eq(t.raises(step, "afhq.images' became shorter .*while it was in use").code, "data")
    end
    t.raises(function() return fm.cast(pixels, "float32") end, "became shorter")
    t.raises(function() return pixels:flat() end, "became shorter")
    t.raises(function() fm.save_png(root .. "/x.png", fm.reshape(fm.slice(pixels, 1, 30, 1),
      { 64, 64, 3 })) end, "became shorter")
    t.raises(function() fm.save_npy(root .. "/x.npy", pixels) end, "became shorter")
    t.eq(sandbox.exists(root .. "/x.npy"), false)
  end)
end

t.test("changed bytes in the file are detected; rewriting the same bytes is not an error",
  function()
    local before, step = harmed(function(whole)
      local file <close> = assert(io.open(path, "r+b"))
      file:write(whole)
    end)
    t.eq(step(), before)
    step = select(2, harmed(function()
      local file <close> = assert(io.open(path, "r+b"))
      file:seek("set", 100000)
      file:write "other bytes"
    end))
    t.raises(step, "is damaged: its images have the SHA%-256")
  end)

t.test("importing a file again does not affect the copy in use", function()
  local before, step = harmed(function() pack(path, 20, good) end)
  t.eq(step(), before)
end)

t.test("training on a file that is truncated ends with exit code 3", function()
  pack(path, 30, good)
  local code, out = lua(([[
    local t = require("flowmap.data").find "afhq".table
    os.execute "truncate -s 4096 %s"
    local ok, e = pcall(function() return fm.cast(t, "float32") end)
    os.exit(require("flowmap.base.errors").status[e.code])]]):format(path))
  t.eq(code, 3, out)
end)

-- ------------------------------------------------------------------ what is written

t.test("--dry-run writes nothing, with FLOWMAP_DATA and without", function()
  os.remove(path)
  run("rm -rf " .. sandbox.cache)
  local all = root .. "/.."
  local before = tree(all)
  for _, variables in ipairs { "", "-u FLOWMAP_DATA" } do
    local code, out = run(("env %s %s run experiments/cifar10.lua --profile smoke --dry-run")
      :format(variables, sandbox.program))
    t.eq({ code, out:find "drawing" }, { 0, nil }, out)
    t.eq(out:find "step +%d" ~= nil, true, out)
  end
  t.eq(tree(all), before)
end)

t.test("--dry-run with an archive counts its images and imports nothing", function()
  run(("mkdir -p %s/afhq/train/cat %s/afhq/train/dog"):format(data, data))
  for k = 1, 6 do
    fm.save_png(("%s/afhq/train/%s/%d.png"):format(data, k % 2 == 0 and "cat" or "dog", k),
      fm.full({ 64, 64, 3 }, 0.5))
  end
  local before = tree(data)
  local code, out = lua([[
    require("flowmap.data.packed").imagine()
    local set = require("flowmap.data").find "afhq"
    print(set.count, set.classes, set.table.shape[1], set.title, fm.info().bytes < 1e5)]])
  t.eq({ code, out }, { 0, "6\t2\t6\tblank images for AFHQ\ttrue\n" })
  t.eq(tree(data), before)
  run(("rm -r %s/afhq"):format(data))
end)

t.test("the remains of killed imports are removed by the next start of any command", function()
  pack(path, 3, good)
  for k = 1, 24 do write(("%s.tmp.%d.0"):format(path, 999999900 + k), "left") end
  write(path .. ".tmp.mine", "")
  t.eq(sandbox.flowmap "data list", 0)
  t.eq(tree(data), ("%s\n%s\n%s.tmp.mine\n"):format(data, path, path))
  os.remove(path .. ".tmp.mine")
end)

t.test("an interrupted drawing or import leaves nothing, a killed one until the next", function()
  local start = ("setsid lua5.4 -e 'require(\"flowmap.data\")"
    .. ".find(\"celeba\").standin_count = 200000; local ok, e = pcall(require("
    .. "\"flowmap.data.packed.standin\").draw, require(\"flowmap.data\").find \"celeba\", \"%s/s\")"
    .. " os.exit(require(\"flowmap.base.errors\").status[e.code])' & p=$!; while ! ls %s/s/*.tmp.*"
    .. " >/dev/null 2>&1; do sleep 0.02; done; kill -%s $p; wait $p; echo exit $?")
  local out
  for _ = 1, 5 do -- on a busy machine the drawing may end before the signal is sent
    run(("rm -rf %s/s"):format(root))
    out = select(2, run(start:format(root, root, "INT")))
    if not out:find "exit 0" then break end
  end
  t.eq({ out:match "exit (%d+)", tree(root .. "/s") }, { "75", root .. "/s\n" }, out)
  run(start:format(root, root, "KILL"))
  t.eq(tree(root .. "/s"):find "celeba%-standin.images.tmp.%d+.0" ~= nil, true)
  require("flowmap.data.packed.standin").draw({ name = "celeba", official = "CelebA", size = 64,
    drawing = "faces", standin_count = 3, standin_train = 3 }, root .. "/s")
  t.eq(tree(root .. "/s"), ("%s/s\n%s/s/celeba-standin.images\n"):format(root, root))
end)

t.done()
