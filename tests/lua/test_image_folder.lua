-- A folder of images of one's own as a data set: classes, parts, sizes, damage, change.

local t = require "harness"
local fm = require "flowmap"
local lfs = require "lfs"
local sandbox = require "sandbox"

-- A picture of one colour, with a border of another at the left and right.
local function picture(name, height, width, colour)
  sandbox.mkdir(name:match "^(.*)/")
  local border = fm.full({ height, (width - height) // 2, 3 }, -1)
  local middle = fm.full({ height, height, 3 }, colour)
  local x = width > height and fm.concat({ border, middle, border }, 2) or middle
  fm.save_png(sandbox.path(name), x)
end

for k = 1, 4 do
  picture(("photos/cat/%d.png"):format(k), 8, 12, 1)
  picture(("photos/dog/%d.png"):format(k), 8, 8, 0)
end
picture("photos/test/dog/5.png", 16, 16, 0)
sandbox.write("photos/cat/notes.txt", "not an image")
sandbox.write("photos/dog/.hidden.png", "not an image")

assert(lfs.chdir(sandbox.root))

-- Run a script with the caches of the sandbox.
local function lua(script) return sandbox.lua("local fm = require 'flowmap'\n" .. script) end

t.test("classes are subfolders, test images are apart, the central square is taken", function()
  local code, out = lua [[
    local set = fm.image_folder("photos", { size = 4 })
    print(table.concat(set.table.shape, " "), set.count, set.classes, set.test.count, set.title)
    print(table.concat(set.class_names, " "), table.concat(set.labels:flat(), " "))
    local x = fm.data.images(set, set.table, fm.arange(8))
    print(fm.mean(fm.slice(x, 1, 1, 4)):item(), set.hash)]]
  t.eq(code, 0, out)
  t.eq(out:find("8 4 4 3\t8\t2\t1\tphotos\n", 1, true) ~= nil, true, out)
  t.eq(out:find("cat dog\t0.0 0.0 0.0 0.0 1.0 1.0 1.0 1.0\n", 1, true) ~= nil, true, out)
  t.eq(out:find "\n1.0\t%x+\n" ~= nil, true, out) -- of the border nothing is left
end)

local function hash(more)
  local code, out = lua(("io.write(fm.image_folder('photos', { size = 4 %s }).hash)"):format(
    more or ""))
  t.eq(code, 0, out)
  return out:match "%x+$"
end

t.test("other files before, between and behind images are left out", function()
  for k = 1, 4 do picture(("mixed/b%d.png"):format(k), 4, 4, 1) end
  for _, name in ipairs { ".DS_Store", "README.txt", "b1.json", "b25.txt", "b3.json", "z.txt" } do
    sandbox.write("mixed/" .. name, "no image")
  end
  local code, out = lua [[
    local set = fm.image_folder("mixed", { size = 4 })
    local x = fm.data.images(set, set.table, fm.arange(4))
    print(set.table.shape[1], set.count, fm.mean(x):item())]]
  t.eq(code, 0, out)
  t.eq(out:find("4\t4\t1.0\n", 1, true) ~= nil, true, out)
end)

t.test("another picture, file or crop is other data; a touched file is the same", function()
  local before = hash()
  t.eq(hash(), before)
  assert(lfs.touch("photos/cat/1.png", 1000000000))
  t.eq(hash(), before)
  t.eq(hash ", crop = 6" == before, true) -- the pictures are of one colour
  -- other pixels in a file of the same size that has its old time
  local old = fm.files.read "photos/cat/2.png"
  assert(lfs.touch("photos/cat/2.png", 1000000000))
  t.eq(hash(), before)
  picture("photos/cat/2.png", 8, 12, 0.98)
  t.eq(#fm.files.read "photos/cat/2.png", #old)
  assert(lfs.touch("photos/cat/2.png", 1000000000))
  local other = hash()
  t.eq(other ~= before, true)
  fm.write_file("photos/cat/2.png", old)
  assert(lfs.touch("photos/cat/2.png", 1000000000))
  t.eq(hash(), before)
  picture("photos/dog/6.png", 8, 8, 0.5)
  t.eq(hash() ~= before, true)
end)

local function refused(script, said)
  local code, out = lua(script)
  t.eq(code ~= 0 and out:find(said, 1, true) ~= nil, true, out)
end

t.test("a single subfolder is no class, an image beside two is refused; titles are kept", function()
  picture("one/1.png", 8, 8, 0)
  picture("one/cat/1.png", 8, 8, 0)
  local look = "s = fm.image_folder('one', { size = 4, title = %q }) print(s.title, s.classes)"
  for _, title in ipairs { "A", "B" } do
    local code, out = lua(look:format(title))
    t.eq(code == 0 and out:find(title .. "\tnil\n", 1, true) ~= nil, true, out)
  end
  picture("one/dog/1.png", 8, 8, 0)
  refused(look:format "A", "1.png is in no folder of a class, of which there are 2 (cat, ...)")
end)

t.test("what cannot be used is named", function()
  local use = "print(fm.image_folder('%s', { size = %s }).hash)"
  refused(use:format("nowhere", "4"), "there is no folder 'nowhere'")
  refused(use:format("photos", "0"), "size must be a whole number from 1 to 1024, found 0")
  refused(use:format("photos", "nil"), "size must be a whole number from 1 to 1024, found nil")
  refused("fm.image_folder('photos', { size = 8, crop = 4 })", "crop is 4, expected at least")
  refused("fm.image_folder('photos', { sise = 8 })", "did you mean size")
  refused("fm.image_folder('photos', { size = 4, title = 5 })", "the title is a number, expected")
  refused("fm.image_folder('photos')", "expected a folder and a table")
  refused(use:format("photos", "9"), "image 'cat/1.png': 12 x 8 pixels found, "
    .. "expected at least 9 x 9")
  picture("wide/a.png", 8, 8000, 1) -- takes longer than the next one, which fails as well
  picture("wide/b.png", 8, 12, 1)
  refused(use:format("wide", "9"), "image 'a.png': 8000 x 8 pixels found")
  sandbox.mkdir "empty"
  refused(use:format("empty", "4"), "holds no images")
  picture("bad/a.png", 8, 8, 0)
  local bytes = sandbox.read "bad/a.png"
  sandbox.write("bad/b.png", bytes:sub(1, #bytes // 2))
  refused(use:format("bad", "4"), "b.png")
  sandbox.write("bad/b.png", "<html>")
  refused(use:format("bad", "4"), "b.png")
end)

t.test("a picture that would be missing without a word is named", function()
  local use = "print(fm.image_folder('others', { size = 4 }).hash)"
  picture("others/cat/1.png", 8, 8, 0)
  picture("others/dog/1.png", 8, 8, 1)
  sandbox.write("others/bird/1.webp", "of a third class")
  refused(use, "has a file 'bird/1.webp' that is not a .jpg, .jpeg or .png; convert it, or")
  os.remove "others/bird/1.webp"
  assert(lfs.link("../../photos/cat/9.png", "others/bird/9.png", true))
  refused(use, "has a file 'bird/9.png' that is a link to no file")
  os.remove "others/bird/9.png"
  assert(lfs.link("../photos/cat", "others/mouse", true))
  refused(use, "has a file 'mouse' that is a link to a folder, which is not followed")
end)

t.test("an experiment of one line trains on it, and the documented example is that line", function()
  sandbox.write("own.lua", [[
    local fm = require "flowmap"
    local experiment = { name = "own", profiles = { smoke = { net = "edm2", model_channels = 8,
      mult = { 1 }, num_blocks = 1, attention = {}, classes = 2 } } }
    experiment.data = fm.image_folder("photos", { size = 8 })
    return experiment]])
  local code, out = sandbox.flowmap "params own.lua --profile smoke"
  t.eq({ code, tonumber(out) ~= nil }, { 0, true }, out)
  code, out = sandbox.flowmap "run own.lua --profile smoke --out o"
  t.eq({ code, out:find("the features of FD-cnn need squares of", 1, true) ~= nil }, { 2, true },
    out)
  local text = fm.files.read(sandbox.here .. "/lua/flowmap/image_folder.lua")
  local example = text:match "\n%-%-     (experiment[^\n]*)"
  code, out = lua("local experiment = {}\n" .. example .. "\nprint(experiment.data.shape[1])")
  t.eq({ code, out }, { 0, "32\n" })
end)

t.done()
