-- An installed copy, under a folder with a space in its name, used from another folder.

local t = require "harness"
local files = require "flowmap.base.files"
local lfs = require "lfs"
local sandbox = require "sandbox"

local work, sh = sandbox.root, sandbox.run
sandbox.mkdir "elsewhere"
local root = work .. "/a root"

-- `-o all` installs the existing build as it is.
local function make(target)
  return sh(("make -C %s -o all %s DESTDIR=%s PREFIX=/usr PROGRAM=%s B=%s"):format(
    files.quote(sandbox.here), target, files.quote(root), files.quote(sandbox.program),
    files.quote(sandbox.build)))
end

-- Run the installed program in another folder, with an empty environment.
local function flowmap(arguments)
  return sh(("cd %s && env -i HOME=%s PATH=/usr/bin:/bin %s %s"):format(
    files.quote(work .. "/elsewhere"), files.quote(work), files.quote(root .. "/usr/bin/flowmap"),
    arguments))
end

-- Every file, folder and link below the root, with the time and mode of the files.
local function listing()
  local _, list = sh(("cd %s && find . -type d -printf '%%p/\\n' -o -printf '%%p %%T@ %%m %%l\\n' "
    .. "| LC_ALL=C sort"):format(files.quote(root)))
  return list
end

sandbox.write("a root/usr/bin/other", "of somebody else\n")
sandbox.mkdir "a root/usr/share/man/man1" -- empty, and to be kept
local before = listing()

t.test("make install with a space in DESTDIR", function()
  local code, out = make "install"
  t.eq(code, 0, out)
  t.eq(files.exists(root .. "/usr/share/flowmap/paper/published.lua"), true)
  t.eq(lfs.attributes(root .. "/usr/share/lua/5.4/flowmap/init.lua", "mode"), "file")
  code, out = flowmap "info"
  t.eq(code, 0, out)
end)

t.test("an installed copy finds its files and writes to the current folder", function()
  sandbox.write("elsewhere/own.lua", [[
    return { name = "checkerboard", profiles = { smoke = { steps = 3, width = 8, depth = 1,
        batch = 32, eval_samples = 500, nfe = { 1 }, log_every = 1 } },
      render = { { kind = "compare", name = "kl", metric = "kl", title = "KL",
        published = true } } }]])
  local code, out = flowmap "reproduce own.lua --profile smoke --seeds 1"
  t.eq(code, 0, out)
  t.eq(out:find "results/checkerboard/smoke/tables/kl.md" ~= nil, true, out)
  t.eq(files.exists(work .. "/elsewhere/results/checkerboard/smoke/lsd-seed1/eval.json"), true)
  code, out = flowmap "params experiments/checkerboard.lua --profile paper" -- an installed one
  t.eq(code, 0, out)
  t.eq(out, "1054210\n")
end)

t.test("make installcheck tries program, page, shells, and the modules of a stock Lua", function()
  local code, out = make "installcheck"
  t.eq(code, 0, out)
  t.eq(out:find("works\n", 1, true) ~= nil, true, out)
  t.eq(sh("mv 'a root/usr/share/man/man1/flowmap.1' kept"), 0)
  code, out = make "installcheck"
  t.eq(code ~= 0 and out:find("the manual page is missing", 1, true) ~= nil, true, out)
  t.eq(sh("mv kept 'a root/usr/share/man/man1/flowmap.1'"), 0)
end)

t.test("a later installation removes files that it no longer has", function()
  local record = root .. "/usr/share/flowmap/installed.txt"
  sandbox.write("a root/usr/share/flowmap/lua/old.lua", "")
  sandbox.write(record, files.read(record) .. "share/flowmap/lua/old.lua\n../../outside\n")
  sandbox.write("outside", "")
  local code, out = make "install"
  t.eq(code, 0, out)
  t.eq(files.exists(root .. "/usr/share/flowmap/lua/old.lua"), false)
  t.eq(sandbox.exists "outside", true)
  t.eq(files.read(record):find("old.lua", 1, true), nil)
end)

t.test("make uninstall leaves what was there before, and nothing else", function()
  local code, out = make "uninstall"
  t.eq(code, 0, out)
  t.eq(listing(), before)
  code, out = make "uninstall"
  t.eq(code, 0, out)
  t.eq(out:find("nothing is installed below", 1, true) ~= nil, true, out)
end)

t.test("what an interrupted installation left can be removed", function()
  sandbox.write("tree/bin/one", "x")
  sandbox.write("tree/share/flowmap/two", "x")
  sandbox.write("place/bin/other", "of somebody else\n")
  sandbox.write("broken/tar", "#!/bin/sh\nPATH=/usr/bin:/bin tar \"$@\"\n"
    .. "case $* in *-xpomf*) kill -9 $PPID ;; esac\n")
  local script = files.quote(sandbox.here .. "/.ci/installed.sh")
  sh(("chmod +x broken/tar; PATH=$PWD/broken:$PATH %s install tree place"):format(script))
  t.eq(sandbox.exists "place/bin/one", true)
  local code, out = sh(script .. " uninstall place")
  t.eq(code, 0, out)
  t.eq({ sandbox.exists "place/bin/one", sandbox.exists "place/share",
    sandbox.exists "place/bin/other" }, { false, false, true })
end)

t.test("others may enter the folders of an installation, whatever umask and CDPATH say", function()
  sandbox.write("tree/bin/one", "x")
  local code, out = sh(("umask 077; export CDPATH=.; %s install tree placed"):format(
    files.quote(sandbox.here .. "/.ci/installed.sh")))
  t.eq({ code, lfs.attributes(work .. "/placed/bin/one", "mode"),
    lfs.attributes(work .. "/placed/bin", "permissions") }, { 0, "file", "rwxr-xr-x" }, out)
end)

t.test("a name of a folder is no shell command", function()
  local hostile = work .. "/it's \"own\" `touch " .. work .. "/PWNED`"
  local code, out = sh(("make -s -C %s uninstall DESTDIR=%s PREFIX=/usr"):format(
    files.quote(sandbox.here), files.quote(hostile)))
  t.eq({ code, sandbox.exists "PWNED" }, { 0, false }, out)
  t.eq(out:find("nothing is installed below " .. hostile .. "/usr\n", 1, true) ~= nil, true, out)
end)

t.done()
