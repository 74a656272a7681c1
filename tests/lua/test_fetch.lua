--- Downloads: https alone, and a hash that is known, or said not to be, before a file is used.
local lfs = require "lfs"
local fm = require "flowmap"
local t = require "harness"

local root, _ <close> = fm.private_folder()
local program = os.getenv "FLOWMAP" or lfs.currentdir() .. "/flowmap"
assert(lfs.mkdir(root .. "/data") and lfs.mkdir(root .. "/cache"))

local function exists(path) return lfs.attributes(path, "mode") ~= nil end

local function flowmap(arguments)
  local _, _, code = os.execute(("cd %s && XDG_CACHE_HOME=%s/cache FLOWMAP_DATA=%s/data '%s' %s "
    .. ">out 2>&1"):format(root, root, root, program, arguments))
  local file <close> = assert(io.open(root .. "/out"))
  return code, file:read "a"
end

t.test("plain http is refused in a sentence, before anything is written", function()
  for _, url in ipairs { "http://127.0.0.1:1/x", "ftp://127.0.0.1/x", "127.0.0.1/x" } do
    local e = t.raises(function() fm.fetch(url, root .. "/got") end, "an address with https")
    t.eq({ e.code, exists(root .. "/got") }, { "usage", false })
  end
end)

t.test("a link where the download would go is not followed", function()
  assert(lfs.link(root .. "/victim", root .. "/got", true))
  local from = assert(io.open(root .. "/from", "w"))
  from:write "text"
  from:close()
  t.raises(function() fm.fetch("file://" .. root .. "/from", root .. "/got") end, "cannot write")
  t.eq(exists(root .. "/victim"), false)
end)

t.test("an archive that is there already is compared with its hash before it is used", function()
  local path = root .. "/data/cifar-10-binary.tar.gz"
  local file = assert(io.open(path, "w"))
  file:write "not the archive"
  file:close()
  local code, text = flowmap "data fetch cifar10"
  t.eq(code, 3, text)
  t.eq(text:find("has the SHA%-256 %x+, expected c4a38c50") ~= nil, true, text)
  os.remove(path)
end)

t.test("where no hash is known, that is said before the file is used", function()
  local file = assert(io.open(root .. "/data/afhq_v2.zip", "w"))
  file:write "not the archive"
  file:close()
  local code, text = flowmap "data fetch afhq"
  t.eq(code, 3, text)
  local said, used = text:find "none is known to compare with", text:find "importing"
  t.eq(said and used and said < used, true, text)
end)

t.test("whether a folder can be written to is told without writing", function()
  t.eq({ fm.folder_writable(root), fm.folder_writable(root .. "/none") }, { true, false })
  local before = {}
  for name in lfs.dir(root .. "/data") do before[#before + 1] = name end
  require("flowmap.data.images.places").output()
  local after = {}
  for name in lfs.dir(root .. "/data") do after[#after + 1] = name end
  t.eq(after, before)
end)

t.done()
