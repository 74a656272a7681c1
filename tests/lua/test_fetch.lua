--- Downloads use only https, and a file's hash is checked, or reported as unknown, before its use.
local core = require "flowmap.core"
local files = require "flowmap.base.files"
local lfs = require "lfs"
local fm = require "flowmap"
local t = require "harness"
local sandbox = require "sandbox"

local root, data, exists, flowmap = sandbox.root, sandbox.data, sandbox.exists, sandbox.flowmap

t.test("plain http is refused in a sentence, before anything is written", function()
  for _, url in ipairs { "http://127.0.0.1:1/x", "ftp://127.0.0.1/x", "127.0.0.1/x" } do
    local e = t.raises(function() fm.fetch(url, root .. "/got") end, "expected an https:// address")
    t.eq({ e.code, exists(root .. "/got") }, { "usage", false })
  end
end)

t.test("a link in place of the download is not followed", function()
  assert(lfs.link(root .. "/victim", root .. "/got", true))
  sandbox.write("from", "text")
  t.raises(function() fm.fetch("file://" .. root .. "/from", root .. "/got") end, "cannot write")
  t.eq(exists(root .. "/victim"), false)
end)

t.test("an error of the function that is told of the progress is that of the download", function()
  local from, to = "file://" .. sandbox.write("from", "text"), root .. "/told"
  t.raises(function() fm.fetch(from, to, function() error("own words", 0) end) end, "^own words$")
  t.raises(function() fm.fetch(from, to, function() return false end) end, "cannot download")
  local e = t.raises(function() fm.fetch(from, to, 7) end, "argument 3 is .*, expected a function")
  t.eq(e.code, "usage")
end)

t.test("an existing archive is compared with its hash before use", function()
  local path = sandbox.write(data .. "/cifar-10-binary.tar.gz", "not the archive")
  local code, text = flowmap "data fetch cifar10"
  t.eq(code, 3, text)
  t.eq(text:find("has the SHA%-256 %x+, expected c4a38c50") ~= nil, true, text)
  os.remove(path)
end)

t.test("an unknown hash is reported before the file is used", function()
  sandbox.write(data .. "/afhq_v2.zip", "not the archive")
  local code, text = flowmap "data fetch afhq"
  t.eq(code, 3, text)
  local said, used = text:find "none is known to compare with", text:find "importing"
  t.eq(said and used and said < used, true, text)
end)

t.test("whether a folder is writable is determined without writing", function()
  t.eq({ fm.folder_writable(root), fm.folder_writable(root .. "/none") }, { true, false })
  local before = {}
  for name in lfs.dir(data) do before[#before + 1] = name end
  require("flowmap.data.packed.places").output()
  local after = {}
  for name in lfs.dir(data) do after[#after + 1] = name end
  t.eq(after, before)
end)

t.test("of two downloads to one file the second is refused; then it is there", function()
  local fetch = require "flowmap.data.packed.fetch"
  local from, to = sandbox.write("from", "text"), root .. "/got"
  local lock = core.lock(to .. ".lock")
  local err = t.raises(function() fetch.run("file://" .. from, to, nil) end,
    "got is being downloaded by another process")
  t.eq({ err.code, files.exists(to .. ".part") }, { "usage", false })
  lock:release()
  fetch.run("file://" .. from, to, core.sha256 "text")
  fetch.run("file://" .. root .. "/none", to, core.sha256 "text") -- another has downloaded it
  t.eq({ files.read(to), files.exists(to .. ".lock") }, { "text", false })
end)

t.done()
