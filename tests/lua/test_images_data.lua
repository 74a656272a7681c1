--- Image data sets through the program: import, list, verify, stand-ins and refusals.
-- Folders and archives are made here; nothing outside of a scratch folder is touched.
local lfs = require "lfs"
local fm = require "flowmap"
local t = require "harness"
local sandbox = require "sandbox"

local root, data, cache, run, flowmap, exists, read, write = sandbox.root, sandbox.data,
  sandbox.cache, sandbox.run, sandbox.flowmap, sandbox.exists, sandbox.read, sandbox.write

local function works(arguments)
  local code, text = flowmap(arguments)
  t.eq(code, 0, arguments .. ": " .. text)
  return text
end

-- One sentence on standard error, that exit code, and no trace of Lua.
local function fails(arguments, expected, pattern, before)
  local code, text = run(("%s %s %s"):format(before or "", sandbox.program, arguments))
  t.eq(code, expected, arguments .. ": " .. text)
  if not text:find(pattern) then error(("'%s' lacks '%s'"):format(text, pattern), 2) end
  t.eq(text:find "traceback" or text:find "%.lua:", nil, text)
end

-- The only files of a folder, those that begin with a dot included.
local function holds(folder, expected)
  local found = {}
  for name in lfs.dir(folder) do
    if name ~= "." and name ~= ".." then found[#found + 1] = name end
  end
  table.sort(found)
  t.eq(found, expected, folder)
end

-- A picture of one colour that tells class and number.
local function picture(path, side, class, number)
  local values = {}
  for k = 1, side * side do
    values[3 * k - 2], values[3 * k - 1], values[3 * k] = 50 * class, 10 * number, 99
  end
  fm.save_png(path, fm.reshape(fm.tensor(values, "uint8"), { side, side, 3 }))
end

-- Three classes of `count` pictures to train on, one each to test.
local function make_folder(path, count)
  for class, name in ipairs { "cat", "dog", "wild" } do
    run(("mkdir -p %s/train/%s %s/test/%s"):format(path, name, path, name))
    for k = 1, count do picture(("%s/train/%s/%d.png"):format(path, name, k), 70, class, k) end
    picture(("%s/test/%s/1.png"):format(path, name), 70, class, 9)
  end
  write(path .. "/train/cat/readme.txt", "no picture")
end

local packed = data .. "/afhq.images"

t.test("counting parameters neither looks for data nor draws stand-ins", function()
  local celeba = lfs.currentdir() .. "/experiments/celeba.lua"
  t.eq(works("params " .. celeba .. " --profile paper"), "124264485\n")
  holds(data, {})
  holds(cache, {})
end)

t.test("a folder with classes is imported, listed and verified", function()
  make_folder(root .. "/animals", 4)
  t.eq(works("data import afhq animals"):match "(15 images[^\n]*) in AFHQ's form", "15 images")
  holds(data, { "afhq.images" })
  local listed = works "data list"
  if not listed:find("afhq\n  packed   " .. packed, 1, true) then error(listed) end
  if not listed:find "cifar10\n  nothing; an experiment would draw" then error(listed) end
  t.eq(works("data verify afhq"):match "15 images.-: ok\n" ~= nil, true)
  local images, labels = fm.pack_map(packed, 0, 15)
  t.eq(images.shape, { 15, 64, 64, 3 })
  t.eq(fm.cast(fm.slice(images, 1, 15, 1), "float32"):flat()[1], 150.0) -- by name: all of "train"
  local first = {}                                                      -- and "test" in one
  for k, v in ipairs(labels:flat()) do first[k] = v end
  t.eq(first, { 0.0, 1.0, 2.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0 })
end)

t.test("a flipped byte is found by verify, one of the header by list", function()
  local whole = read(packed)
  for _, at in ipairs { 30, 5000, #whole } do
    write(packed, whole:sub(1, at - 1) .. string.char(whole:byte(at) ~ 1) .. whole:sub(at + 1))
    fails("data verify afhq", 3, "afhq.images' is damaged: ")
    if at == 30 then t.eq(works("data list"):match "is damaged: its header" ~= nil, true) end
  end
  write(packed, whole:sub(1, -2))
  fails("data verify afhq", 3, "is damaged: %d+ bytes found, expected %d+")
  write(packed, whole)
  works "data verify afhq"
end)

t.test("whole and truncated archives; a failure does not touch the earlier packed file", function()
  local whole = read(packed)
  t.eq(run "tar cf a.tar animals && tar czf a.tar.gz animals", 0)
  for _, name in ipairs { "a.tar", "a.tar.gz" } do
    works("data import afhq " .. name)
    t.eq(read(packed):sub(4097), whole:sub(4097), "the same images from " .. name)
    local archive, before = read(root .. "/" .. name), read(packed)
    for part = 1, 3 do
      write(root .. "/cut", archive:sub(1, #archive * part // 4 - 100))
      fails("data import afhq cut", 3, "cut' is damaged or not an archive: ")
      t.eq(read(packed) == before, true)
      holds(data, { "afhq.images" })
    end
  end
end)

t.test("data that cannot be imported are refused, and nothing is left behind", function()
  local before = read(packed)
  run("mkdir -p " .. root .. "/bad/cat " .. root .. "/bad/dog " .. root .. "/empty")
  picture(root .. "/bad/cat/1.png", 70, 1, 1)
  local good = read(root .. "/bad/cat/1.png")
  for _, it in ipairs {
    { good:sub(1, -20), "image 'dog/1.png': " }, { "GIF89a", "is neither a JPEG nor a PNG" },
    { "", "it is empty" }, { good:sub(1, 40) .. "\0" .. good:sub(42), "image 'dog/1.png': " },
  } do
    write(root .. "/bad/dog/1.png", it[1])
    fails("data import afhq bad", 3, it[2])
  end
  picture(root .. "/bad/dog/1.png", 63, 1, 1)
  fails("data import afhq bad", 3, "63 x 63 pixels found, expected at least 64 x 64")
  fails("data import celeba animals", 3, "70 x 70 pixels found, expected 178 x 218")
  fails("data import afhq empty", 3, "empty holds no images: JPEG or PNG files expected")
  fails("data import afhq nowhere", 3, "there is no nowhere")
  fails("data import nonsense animals", 2, "nonsense")
  fails("data verify cifar10", 3, "there are no packed images of cifar10")
  fails("data verify checkerboard", 2, "checkerboard")
  t.eq(read(packed) == before, true)
  holds(data, { "afhq.images" })
  holds(cache, {})
end)

t.test("CIFAR-10's batches: a record too few, a wrong label, a batch missing", function()
  run("mkdir -p " .. root .. "/batches")
  local batch = ("\1" .. ("\7"):rep(3072)):rep(10000)
  for k = 1, 6 do
    local name = k < 6 and ("data_batch_%d.bin"):format(k) or "test_batch.bin"
    if k == 6 then fails("data import cifar10 batches", 3, "test_batch.bin is missing") end
    write(("%s/batches/%s"):format(root, name), k < 6 and batch or batch:sub(1, -2))
  end
  fails("data import cifar10 batches", 3, "9999 records and 3072 bytes found, expected 10000")
  write(root .. "/batches/test_batch.bin", batch .. "\0")
  fails("data import cifar10 batches", 3, "more than the expected 10000 records")
  write(root .. "/batches/test_batch.bin", "\10" .. batch:sub(2))
  fails("data import cifar10 batches", 3, "label 10 found in record 1, expected 0 to 9")
  holds(data, { "afhq.images" })
  run("rm -r " .. root .. "/batches")
end)

t.test("a write-protected data folder: packed files go to the cache", function()
  os.remove(packed)
  run("chmod a-w " .. data)
  local text = works "data import afhq animals"
  run("chmod u+w " .. data)
  t.eq(text:match "^[^\n]*\n([^\n]+)\n" == cache .. "/flowmap/afhq.images"
    or text:find(cache .. "/flowmap/afhq.images", 1, true) ~= nil, true, text)
  holds(data, {})
  works "data verify afhq"
end)

t.test("a disk that is full, as a limit on a file's size, leaves nothing", function()
  run("rm -r " .. cache .. "/flowmap")
  fails("data import afhq animals", 3, "cannot write '.*afhq.images'",
    "trap '' XFSZ; ulimit -f 20; exec env")
  holds(data, {})
end)

t.test("a FLOWMAP_DATA that does not exist is reported", function()
  os.rename(data, data .. "-gone")
  fails("data import afhq animals", 3, "FLOWMAP_DATA names .*/data, which does not exist")
  os.rename(data .. "-gone", data)
end)

t.test("without data the stand-in is drawn, identically each time", function()
  local images = require "flowmap.data.packed"
  local draw = require("flowmap.data.packed.standin").draw
  local hash
  for _, folder in ipairs { root .. "/s1", root .. "/s2" } do
    local path = draw({ name = "cifar10", official = "CIFAR-10", drawing = "objects",
      standin_count = 40, standin_train = 30 }, folder)
    fm.pack_verify(path)
    local it = images.look(path)
    t.eq({ it.count, it.train, it.classes }, { 40, 30, 10 })
    t.eq(it.meta.title, "procedural stand-in for CIFAR-10")
    t.eq(hash or it.hash, it.hash)
    hash = it.hash
  end
end)

t.test("a file that is fetched is continued, compared with its hash, and kept if that is wrong",
  function()
    local fetch = require("flowmap.data.packed.fetch").run
    local from, to = root .. "/a.tar.gz", root .. "/got"
    fetch("file://" .. from, to, fm.sha256_file(from))
    t.eq(read(to) == read(from), true)
    os.remove(to)
    write(to .. ".part", read(from):sub(1, 1000))
    fetch("file://" .. from, to, fm.sha256_file(from))
    t.eq(read(to) == read(from), true)
    os.remove(to)
    write(to .. ".part", ("x"):rep(1000)) -- of something else
    fetch("file://" .. from, to, fm.sha256_file(from))
    t.eq(read(to) == read(from), true)
    os.remove(to)
    t.raises(function() fetch("file://" .. from, to, ("0"):rep(64)) end, "expected 0000")
    t.eq(exists(to), false)
    t.eq(read(to .. ".unexpected") == read(from), true)
    t.raises(function() fetch("file://" .. root .. "/none", to) end, "cannot download")
    t.eq(exists(to .. ".part"), false)
  end)

t.test("an interrupted download gives the exit code for resumable work", function()
  local fetch = require("flowmap.data.packed.fetch").run
  local interrupted = fm.interrupted
  fm.interrupted = function() return true end
  local ok, e = pcall(fetch, "file://" .. root .. "/a.tar.gz", root .. "/later")
  fm.interrupted = interrupted
  t.eq({ ok, e.code, exists(root .. "/later") }, { false, "interrupted", false })
end)

t.test("without HOME the account's folder is the user's", function()
  local code, text = sandbox.run("unset HOME XDG_DATA_HOME XDG_CACHE_HOME FLOWMAP_DATA; "
    .. sandbox.program .. " data list")
  t.eq(code, 0, text)
  local account = io.popen("getent passwd $(id -u)"):read("a"):match "([^:]*):[^:]*$"
  t.eq(text:find(account .. "/.local/share/flowmap", 1, true) ~= nil, true, text)
end)

t.done()
