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

t.test("make uninstall removes the installed files", function()
  local code, out = make "uninstall"
  t.eq(code, 0, out)
  local _, left = sh("find " .. files.quote(root) .. " ! -type d")
  t.eq(left, "")
  t.eq(files.folders(root .. "/usr"), {})
end)

t.done()
