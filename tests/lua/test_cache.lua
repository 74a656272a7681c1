-- What the cache keeps between commands: where it is damaged, it is made again.

local t = require "harness"
local core = require "flowmap.core"
local files = require "flowmap.base.files"
local lfs = require "lfs"
local own_files = require "own_experiment"
local record = require "flowmap.runs.record"
local sandbox = require "sandbox"

local work, write, flowmap = sandbox.root, sandbox.write, sandbox.flowmap

own_files.write "own.lua"
local RUN = "run own.lua --profile smoke --out run"
local code, out = flowmap(RUN)
t.eq(code, 0, out)

-- Change a hexadecimal digit of the only file in the cache whose name has this beginning.
local function flip(name)
  local found
  for _, path in ipairs(files.below(sandbox.cache)) do
    if path:find(name, 1, true) then found = sandbox.cache .. "/" .. path end
  end
  local text = files.read(found)
  local changed = text:gsub("%x%x%x%x%x%x%x%x", "11111111", 1)
  t.eq(changed ~= text, true)
  write(found, changed)
end

t.test("a damaged fingerprint in the cache is computed again, not taken for other numerics",
  function()
    flip "numerics-"
    code, out = flowmap(RUN)
    t.eq({ code, out:find "^run reused: nothing changed" ~= nil }, { 0, true }, out)
  end)

t.test("a damaged checksum in the cache does not call the file damaged that it is of", function()
  local path = write("kept/file", "contents")
  local it = lfs.attributes(path)
  record.known[path] = { sum = ("0"):rep(64),
    look = ("%s %s %s %s"):format(it.ino, it.size, it.modification, it.change) }
  record.verify(work .. "/kept", { file = core.sha256 "contents" })
  t.raises(function() record.verify(work .. "/kept", { file = core.sha256 "others" }) end,
    "kept/file is damaged or was changed")
end)

t.test("a damaged pace in the cache is measured again", function()
  local name = "paces.lua"
  write(name, [[
    local paces = require "flowmap.app.paces"
    local kind = { name = "x", run = { experiment = { path = "own.lua" } },
      pace = { sample_s = 0.125, memory = 12345678 } }
    if arg[1] then paces.keep(kind, 1) end
    print((paces.kept(kind, 1) or {}).memory) ]])
  t.eq({ flowmap "lua paces.lua keep" }, { 0, "12345678\n" })
  t.eq({ flowmap "lua paces.lua" }, { 0, "12345678\n" })
  flip "pace-"
  t.eq({ flowmap "lua paces.lua" }, { 0, "nil\n" })
end)

t.done()
