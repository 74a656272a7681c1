-- The archive of `make dist` and the rock: the same commit gives the same bytes, an archive knows
-- its revision, and what the rockspec installs is found by a stock Lua.

local t = require "harness"
local files = require "flowmap.base.files"
local fm = require "flowmap"
local sandbox = require "sandbox"

local sh, q = sandbox.run, files.quote
local version = fm.info().version
local here = q(sandbox.here)

-- A rockspec is Lua, run without any function.
local function rockspec()
  local name, spec = ("flowmap-%s-1.rockspec"):format(version), {}
  assert(load(assert(files.read(name), name), name, "t", spec))()
  return spec
end

t.test("the rockspec is that of the version and names what there is", function()
  local spec, makefile = rockspec(), files.read "Makefile"
  t.eq(spec.version, version .. "-1")
  t.eq(spec.source.url:match "[^/]*$", ("flowmap-%s.tar.gz"):format(version))
  for _, target in ipairs { spec.build.build_target, spec.build.install_target } do
    t.eq(makefile:find("\n" .. target .. ":", 1, true) ~= nil, true, target)
  end
  local packages, count = files.read ".ci/packages.txt", 0
  local debian = { argparse = "lua-argparse", ["lua-cjson"] = "lua-cjson", luv = "lua-luv",
    luafilesystem = "lua-filesystem", lua = "lua5.4" }
  for _, dependency in ipairs(spec.dependencies) do
    local package = debian[dependency:match "^%S+"]
    t.eq(packages:find("\n" .. package .. " ", 1, true) ~= nil, true, dependency)
    count = count + 1
  end
  t.eq(count, 5)
end)

t.test("what the rockspec installs works in a stock Lua and as a program", function()
  local rock, tree = sandbox.path "a `touch gone` 'rock'", sandbox.path "tree"
  local lua = tree .. "/share/lua/5.4"
  local code, out = sh(("make -C %s -o all install-rock PROGRAM=%s B=%s PREFIX=%s LUADIR=%s "
    .. "LIBDIR=%s/lib BINDIR=%s/bin"):format(here, q(sandbox.program), q(sandbox.build), q(rock),
    lua, tree, tree))
  t.eq(code, 0, out)
  t.eq(files.exists(sandbox.here .. "/gone"), false, "a folder's name was run")
  sandbox.mkdir "empty"
  local try = ("cd empty && env -i HOME=/ PATH=/usr/bin:/bin LUA_PATH='%s/?.lua;%s/?/init.lua;;' "
    .. "LUA_CPATH='%s/lib/?.so;;' "):format(lua, lua, tree)
  code, out = sh(try .. [[lua5.4 -e 'local fm = require "flowmap"
    print(fm.info().version, fm.published.read().source ~= nil, fm.losses.names()[1])']])
  t.eq(code, 0, out)
  t.eq(out:match "^(%S+)\ttrue\t", version, out)
  code, out = sh(("%s %s/bin/flowmap params experiments/checkerboard.lua"):format(try, tree))
  t.eq(code, 0, out)
end)

local function dist(from, to)
  local code, out = sh(("make -C %s dist B=%s"):format(q(from), q(sandbox.path(to))))
  t.eq(code, 0, out)
  return out:match "\n(%x+)  flowmap" or out
end

-- A repository of the parts that an archive is about; the whole one takes seconds to compress.
local function repository()
  local code, head = sh(([[set -e
    mkdir -p small/lua
    cp -R %s/Makefile %s/.gitattributes %s/core small
    cp -R %s/lua/flowmap small/lua
    cd small
    git init -q
    git add .
    git -c user.name=test -c user.email=test@example.org commit -qm small
    git rev-parse HEAD]]):format(here, here, here, here))
  t.eq(code, 0, head)
  return sandbox.path "small", head
end

-- The revision that the sources in a folder find for themselves.
local function revision(folder)
  local code, out = sh(([[env LUA_PATH='%s/lua/?.lua;%s/lua/?/init.lua' LUA_CPATH='%s/?.so;;' \
    lua5.4 -e 'io.write(require("flowmap.runs.revision").now())']]):format(folder, folder,
    sandbox.build))
  t.eq(code, 0, out)
  return out
end

-- A clone without the tag could not find what a tag names.
t.test("a revision is a hash, with a tag and without, and says whether files differ", function()
  local small, head = repository()
  t.eq(revision(small), head:sub(1, 12))
  local code, out = sh([[cd small && git -c user.name=test -c user.email=test@example.org \
    tag -a v1 -m v1]])
  t.eq(code, 0, out)
  t.eq(revision(small), head:sub(1, 12))
  sh "echo >>small/lua/flowmap/init.lua"
  t.eq(revision(small), head:sub(1, 12) .. "-dirty")
  sh "rm -rf small"
end)

t.test("an archive has the same bytes in any clone, and knows its revision", function()
  local small, head = repository()
  local hash = dist(small, "one")
  local code, out = sh "git clone -q --depth 1 file://$PWD/small clone && touch clone/core/fm.h"
  t.eq(code, 0, out)
  t.eq(dist(sandbox.path "clone", "two"), hash)
  local name = "flowmap-" .. version
  code, out = sh(("tar xzf one/%s.tar.gz"):format(name))
  t.eq(code, 0, out)
  t.eq(sandbox.exists(name .. "/core/fm.h"), true)
  local folder = sandbox.path(name)
  t.eq(revision(folder), head:sub(1, 12))
  code, out = sh(("make -C %s dist"):format(q(folder)))
  t.eq(code, 2)
  t.eq(out:find("not a git working copy", 1, true) ~= nil, true, out)
end)

t.done()
