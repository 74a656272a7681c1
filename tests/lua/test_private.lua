--- Private folders: unpredictable names, TMPDIR honoured, nothing left behind.
local lfs = require "lfs"
local t = require "harness"
local sandbox = require "sandbox"

local root, run = sandbox.root, sandbox.run

-- The output of a second process with these variables.
local function lua(environment, script)
  return sandbox.lua('local fm = require "flowmap"\n' .. script, environment)
end

local function exists(path) return lfs.symlinkattributes(path, "mode") ~= nil end

local function count(folder)
  local n = 0
  for name in lfs.dir(folder) do
    if name ~= "." and name ~= ".." then n = n + 1 end
  end
  return n
end

t.test("a private folder admits its owner only, lies in TMPDIR, and goes when closed", function()
  assert(lfs.mkdir(root .. "/tmp"))
  local code, text = lua("TMPDIR=" .. root .. "/tmp", [[
    local lfs = require "lfs"
    local path
    do
      local folder <const>, guard <close> = fm.private_folder()
      path = folder
      io.open(folder .. "/file", "w"):close()
      lfs.mkdir(folder .. "/below")
      lfs.link("/", folder .. "/below/root", true) -- a link is removed, not followed
      print(lfs.attributes(folder, "permissions"), folder)
    end
    print((lfs.attributes(path, "mode")))
    print((fm.private_folder()))
    os.exit(0) -- without closing the Lua state
  ]])
  t.eq(code, 0, text)
  t.eq(text:match "^(%S+)%s", "rwx------")
  t.eq(text:find(root .. "/tmp/flowmap-private-", 1, true) ~= nil, true, text)
  t.eq(text:match "\n(nil)\n", "nil", text)
  t.eq(count(root .. "/tmp"), 0)
end)

t.test("a folder that cannot be locked is not left behind", function()
  sandbox.write("full.lua", [[
    local fm = require "flowmap"
    local open = {} -- until there is no descriptor left for the lock
    repeat open[#open + 1] = io.open "/dev/null" until not io.open "/dev/null"
    local _, err = pcall(fm.private_folder)
    for _, file in ipairs(open) do file:close() end
    print(err)
  ]])
  local code, text = run("ulimit -n 64 && lua5.4 full.lua", "TMPDIR=" .. root .. "/tmp")
  t.eq(code, 0, text)
  t.eq(text:find("cannot create a private folder", 1, true) ~= nil, true, text)
  t.eq(text:find("Too many open files", 1, true) ~= nil, true, text)
  t.eq(count(root .. "/tmp"), 0)
end)

t.test("the remains of a killed process are removed by the next, but not folders in use", function()
  local code, text = lua("TMPDIR=" .. root .. "/tmp", [[
    local mine = fm.private_folder()
    local pipe = io.popen("TMPDIR=" .. os.getenv "TMPDIR" ..
      [=[ lua5.4 -e 'local p = require("flowmap").private_folder()
        io.open(p .. "/x", "w"):close() print(p) io.stdout:flush()
        os.execute("kill -9 " .. require("flowmap").pid())']=])
    local left = pipe:read "l"
    pipe:close()
    local lfs = require "lfs"
    print((lfs.attributes(left, "mode")))
    fm.private_folder()
    print(lfs.attributes(left, "mode") or nil, (lfs.attributes(mine, "mode")))
  ]])
  t.eq({ code, text:gsub("Killed\n", "") .. "" }, { 0, "directory\nnil\tdirectory\n" })
  t.eq(count(root .. "/tmp"), 0)
end)

t.test("a folder or link with such a name that is not a leftover stays", function()
  local tmp = root .. "/tmp"
  assert(lfs.mkdir(tmp .. "/flowmap-private-public")) -- rights of others: not made by us
  assert(lfs.mkdir(root .. "/target"))
  assert(lfs.link(root .. "/target", tmp .. "/flowmap-private-linked", true))
  t.eq(lua("TMPDIR=" .. tmp, "fm.private_folder()"), 0)
  t.eq({ exists(tmp .. "/flowmap-private-public"), exists(tmp .. "/flowmap-private-linked"),
    exists(root .. "/target") }, { true, true, true })
  os.remove(tmp .. "/flowmap-private-linked")
  lfs.rmdir(tmp .. "/flowmap-private-public")
end)

t.test("a TMPDIR that does not exist gives a sentence instead of a Lua error", function()
  local code, text = lua("TMPDIR=" .. root .. "/none", [[
    local ok, e = pcall(fm.private_folder)
    print(ok, e.code, e.message)
  ]])
  t.eq(code, 0, text)
  t.eq(text, ("false\tdata\tcannot create a private folder in '%s/none' (set by TMPDIR): "):format(
    root) .. "No such file or directory\n")
end)

-- A picture of points goes through gnuplot, by a folder between the two programs.
t.test("sample passes data to gnuplot in a private folder", function()
  sandbox.link "experiments"
  local code, text = sandbox.flowmap("run experiments/checkerboard.lua --profile smoke "
    .. "--set steps=2 --set eval_samples=64 --out run")
  t.eq(code, 0, text)
  local sample = ("'%s' sample %s/run/checkpoint.safetensors --steps 1 --count 50 --out %s/x.png")
    :format(sandbox.program, root, root)
  code, text = run(("TMPDIR=%s/tmp %s"):format(root, sample))
  t.eq(code, 0, text)
  t.eq({ count(root .. "/tmp"), exists(root .. "/x.png") }, { 0, true })
  code, text = run(("TMPDIR=%s/none %s"):format(root, sample))
  t.eq(code, 3, text)
  t.eq(text, ("flowmap: cannot create a private folder in '%s/none' (set by TMPDIR): No such file "
    .. "or directory\n"):format(root))
end)

t.test("no source uses a predictable temporary name", function()
  local _, text = run(("cd %s && grep -rnE 'os[.]tmpname|io[.]tmpfile|te?mpnam *[(]' lua core; "
    .. "grep -rnE 'os[.]tmpname' tests"):format(sandbox.here))
  t.eq(text, "")
end)

t.done()
