-- Run folders: ownership, concurrent writers, and data that must never be lost.

local t = require "harness"
local core = require "flowmap.core"
local files = require "flowmap.base.files"
local folder = require "flowmap.runs.folder"
local lfs = require "lfs"
local own_files = require "own_experiment"
local sandbox = require "sandbox"

local work, put = sandbox.root, sandbox.write
sandbox.link "experiments"

local SMALL = "run experiments/checkerboard.lua --profile smoke --set width=8 --set depth=1 "
  .. "--set steps=20 --set eval_samples=256 --set nfe=1,2 --set batch=32 --set bins=8 "

local flowmap = sandbox.flowmap

local function fails(arguments, expected, pattern)
  local code, out = flowmap(arguments)
  t.eq(code, expected, arguments .. ": " .. out)
  t.eq(out:find(pattern) ~= nil, true, arguments .. ": " .. out)
  t.eq(out:find "traceback", nil)
end

-- Names and hashes of all files in a folder, except those that a killed process was writing.
local function contents(dir)
  local out = {}
  for name in lfs.dir(dir) do
    if lfs.attributes(dir .. "/" .. name, "mode") == "file" and not name:find "%.tmp%." then
      out[name] = core.sha256_file(dir .. "/" .. name)
    end
  end
  return out
end

local function flip(path, at)
  local text = files.read(path)
  at = at or #text // 2
  put(path, text:sub(1, at - 1) .. string.char(text:byte(at) ~ 1) .. text:sub(at + 1))
end

-- The folders into which a run was put aside, sorted.
local function aside(dir) return files.folders(dir .. "-outdated") end

-- A finished run, made once and copied.
local finished = work .. "/finished"
t.eq((flowmap(SMALL .. "--out " .. finished)), 0)

local function copy(name)
  local dir = work .. "/" .. name
  sandbox.run(("cp -a %s %s"):format(finished, dir))
  return dir
end

-- An interrupted run. It has more steps than it takes in its time, and a checkpoint.
local LONG = SMALL:gsub("steps=20", "steps=2000000") .. "--set save_every=0.02 "

-- Start it in the background; returns its process number once it has two checkpoints, or the file
-- that is named.
local function started(dir, arguments, name)
  local _, pid = sandbox.run(("%s %s --out %s >started 2>&1 & echo $!"):format(sandbox.program,
    arguments or LONG, dir))
  local start = core.clock()
  repeat
    sandbox.run "sleep 0.05"
  until files.exists(("%s/%s"):format(dir, name or "checkpoint.safetensors.prev"))
    or core.clock() - start > 60
  return pid:match "%d+"
end

-- Kill it, and wait until it is gone.
local function kill(pid, dir)
  sandbox.run("kill -9 " .. pid)
  local start = core.clock()
  repeat
    local lock = core.lock(dir .. "/.flowmap")
    if lock then lock:release() end
  until lock or core.clock() - start > 60
end

local function interrupted(name)
  local dir = work .. "/" .. name
  kill(started(dir), dir)
  t.eq(files.exists(dir .. "/checkpoint.safetensors"), true)
  return dir
end

t.test("names that are not a run's own folder are refused", function()
  for _, name in ipairs { "''", "' '", "/" } do fails(SMALL .. "--out " .. name, 2, "expected") end
  put(work .. "/file", "x")
  fails(SMALL .. "--out " .. work .. "/file", 2, "is a file, expected a folder")
  for _, name in ipairs { "", " ", ".", "..", "/", "//", "x/..", "x/.", "x/./", "x\0y" } do
    t.eq(t.raises(function() folder.name(name) end, "%-%-out: ").code, "usage")
  end
  t.eq(folder.name "a/b//", "a/b")
end)

t.test("a folder with files and without our mark is refused and left as it is", function()
  local dir = work .. "/foreign"
  files.mkdir(dir)
  for _, name in ipairs { "config.json", "data.npy", "weights-1.safetensors", "inputs.json" } do
    put(dir .. "/" .. name, name)
  end
  for _, mark in ipairs { false, "another program's\n" } do
    if mark then put(dir .. "/.flowmap", mark) end
    local before = contents(dir)
    for _, option in ipairs(mark and { "" } or { "", "--force", "--resume", "--dry-run" }) do
      fails(SMALL .. option .. " --out " .. dir, 2, "no mark of a flowmap run")
    end
    t.eq(contents(dir), before)
  end
  -- an empty folder is taken, also one whose mark was begun by a process that was killed
  local empty = work .. "/empty"
  files.mkdir(empty)
  folder.make(empty):release()
  put(empty .. "/.flowmap", "")
  folder.make(empty):release()
  t.eq(folder.is_run(empty), true)
  put(empty .. "/.flowmap", "") -- whoever was killed so early may continue like anybody else
  t.eq((flowmap(SMALL .. "--resume --out " .. empty)), 0)
end)

t.test("of two runs in one folder the second is refused until the first has died", function()
  local dir = work .. "/two"
  local pid = started(dir)
  for _, more in ipairs { "--set steps=10 ", "--force " } do
    fails(LONG .. more .. "--out " .. dir, 2, "is in use: another process")
  end
  t.eq(#aside(dir), 0)
  kill(pid, dir)
  fails(LONG .. "--out " .. dir, 2, "%-%-resume continues it")
end)

t.test("a run whose folder was removed leaves alone what is there now", function()
  local dir = work .. "/again" -- the first run writes now and then alone
  local pid = started(dir, SMALL:gsub("steps=20", "steps=100000"), "history.jsonl")
  sandbox.run(("kill -STOP %s; rm -r %s"):format(pid, dir))
  t.eq((flowmap(SMALL .. "--out " .. dir)), 0)
  local before = contents(dir)
  sandbox.run("kill -CONT " .. pid)
  local start = core.clock()
  repeat
    local said = sandbox.read "started":find "flowmap: "
  until said or core.clock() - start > 60
  local text = sandbox.read "started"
  t.eq(text:find "was removed or renamed while this run was writing" ~= nil, true, text)
  t.eq(contents(dir), before)
  local held = folder.make(work .. "/held")
  os.rename(work .. "/held", work .. "/renamed")
  t.eq(folder.holds(work .. "/held"), false)
  held:release()
  t.eq(folder.holds(work .. "/held"), true, "a folder that is not taken")
end)

t.test("a lock excludes, ends with release, and follows its file, not its name", function()
  local dir = work .. "/lock"
  local held = folder.make(dir)
  t.eq(t.raises(function() folder.take(dir) end, "in use").code, "usage")
  local to = folder.put_aside(dir)
  local new <close> = folder.make(dir)
  t.eq(new ~= nil, true)
  t.raises(function() folder.take(to) end, "in use")
  held:release()
  held:release()
  folder.take(to):release()
end)

t.test("a checkpoint that exists only under its old name is found", function()
  local dir = interrupted "moved"
  local path = dir .. "/checkpoint.safetensors"
  os.rename(path, path .. ".prev")
  folder.take(dir):release()
  t.eq({ files.exists(path), files.exists(path .. ".prev") }, { true, false })
end)

t.test("a damaged checkpoint is not continued from, and nothing is lost", function()
  local dir = interrupted "checkpoint"
  local path = dir .. "/checkpoint.safetensors"
  flip(path, #files.read(path) - 2)
  local before = contents(dir)
  fails(LONG .. "--resume --out " .. dir, 3, "is damaged.*%.prev is the one")
  t.eq(contents(dir), before)
end)

t.test("an inaccessible path is not taken for absent", function()
  t.eq(files.exists(work .. "/none"), false)
  t.eq(files.exists(put("log", "") .. "/none"), false)
  sandbox.run "ln -s loop loop"
  t.eq(t.raises(function() files.exists(work .. "/loop") end, "loop").code, "data")
end)

t.test("in a folder that was removed, one sentence", function()
  local code, out = sandbox.run(("mkdir gone && cd gone && rmdir ../gone && '%s' runs"):format(
    sandbox.program))
  t.eq({ code, out:match "^flowmap: the current folder cannot be determined" ~= nil }, { 3, true },
    out)
end)

t.test("a repeated command never deletes an interrupted run", function()
  local dir = interrupted "repeated"
  local before = contents(dir)
  fails(LONG .. "--out " .. dir, 2, "%-%-resume continues it, %-%-force puts it aside")
  t.eq(contents(dir), before)
  fails(SMALL .. "--resume --out " .. dir, 2, "cannot resume .*steps changed")
  t.eq(contents(dir), before)
  local code, out = flowmap(SMALL .. "--out " .. dir) -- other settings
  t.eq(code, 0, out)
  t.eq(out:find "put aside in" ~= nil, true, out)
  t.eq(contents(dir .. "-outdated/" .. aside(dir)[1]), before)
  fails(SMALL .. "--resume --out " .. work .. "/typo", 2, "there is no run at .*typo")
  t.eq(files.exists(work .. "/typo"), false)
end)

t.test("a finished run is never deleted: other settings and --force put it aside", function()
  local dir = copy "kept"
  local before = contents(dir)
  t.eq((flowmap(SMALL .. "--set lr=1e-3 --out " .. dir)), 0)
  t.eq((flowmap(SMALL .. "--set lr=1e-3 --force --out " .. dir)), 0)
  local names = aside(dir)
  t.eq(#names, 2)
  t.eq(contents(dir .. "-outdated/" .. names[1]), before)
  t.eq(contents(dir)["eval.json"], contents(dir .. "-outdated/" .. names[2])["eval.json"])
  local link = work .. "/link"
  sandbox.run(("ln -s %s %s"):format(dir, link))
  fails(SMALL .. "--force --out " .. link, 2, "is a link")
end)

t.test("an unreadable record or a damaged file gives exit code 3, and nothing is moved", function()
  local dir = copy "damaged"
  local function check(pattern)
    local before = contents(dir)
    fails(SMALL .. "--out " .. dir, 3, pattern)
    t.eq(contents(dir), before)
    t.eq(#aside(dir), 0)
  end
  for _, name in ipairs { "inputs.json", "manifest.json", "eval.json", "samples-N1.npy" } do
    local path, whole = dir .. "/" .. name, files.read(dir .. "/" .. name)
    flip(path)
    check(name:gsub("%p", "%%%0") .. ".*%-%-force puts the run aside")
    put(path, whole)
  end
  t.eq((flowmap(SMALL .. "--out " .. dir)), 0)
  -- a read that fails is not an absence: here a folder, and a link that leads to itself
  local path = dir .. "/inputs.json"
  os.rename(path, work .. "/inputs.json")
  check "has lost its inputs.json"
  files.mkdir(path)
  check "cannot read"
  os.remove(path)
  sandbox.run(("ln -s inputs.json %s"):format(path))
  check "cannot read"
  local code, out = flowmap(SMALL .. "--force --out " .. dir)
  t.eq(code, 0, out)
  t.eq(#aside(dir), 1)
end)

t.test("samples do not overwrite a run's files", function()
  local dir = copy "sampled"
  local before = contents(dir)
  for _, name in ipairs { "samples-N1.npy", "data.npy" } do
    fails(("sample %s/checkpoint.safetensors --count 10 --out %s/%s"):format(dir, dir, name), 2,
      "is a file of the run")
  end
  sandbox.run "ln -s sampled/data.npy near.npy; ln -s near.npy far.npy; ln -s sampled alias"
  local back = ("../%s/alias/./metrics.jsonl"):format(work:match "[^/]+$")
  for _, name in ipairs { "far.npy", "alias/data.npy", back } do
    local path = work .. "/" .. name
    t.raises(function() folder.check_output(path) end, "is a file of the run in ")
  end
  t.eq(contents(dir), before)
  for _ = 1, 2 do
    local code, out = flowmap(("sample %s/checkpoint.safetensors --count 10 --out %s/own.npy")
      :format(dir, dir))
    t.eq(code, 0, out)
  end
  t.eq((flowmap(SMALL .. "--out " .. dir)), 0)
end)

t.test("an output that cannot be written is refused before the work", function()
  for name, why in pairs { ["/none/x.json"] = "No such file or directory",
    ["/finished"] = "it is a folder, expected a file", ["/log/x.json"] = "Not a directory" } do
    put(work .. "/log", "")
    local path = work .. name
    local err = t.raises(function() folder.check_output(path) end, "^cannot write .*" .. why)
    t.eq(err.code, "data")
  end
  folder.check_output "new.npy"
  local code, out = sandbox.run("timeout 5 " .. sandbox.program .. " calibrate --out none/x.json")
  t.eq({ code, out }, { 3, "flowmap: cannot write 'none/x.json': No such file or directory\n" })
end)

t.test("removing a folder leaves what its links, and a link in its place, lead to", function()
  put(work .. "/linked/file", "x")
  sandbox.mkdir "tree"
  for _, name in ipairs { "tree/link", "instead" } do
    assert(lfs.link(work .. "/linked", work .. "/" .. name, true))
  end
  for _, name in ipairs { "tree", "instead" } do
    files.remove_tree(work .. "/" .. name)
    t.eq(lfs.symlinkattributes(work .. "/" .. name, "mode"), nil)
  end
  t.eq(files.read(work .. "/linked/file"), "x")
end)

t.test("records of two runs in one folder are noticed", function()
  local dir, other = copy "mixed", work .. "/other"
  t.eq((flowmap(SMALL .. "--seed 2 --out " .. other)), 0)
  local results = require "flowmap.report.results"
  for _, name in ipairs { "eval.json", "inputs.json", "config.json", "manifest.json",
    "metrics.jsonl", "samples-N1.npy" } do
    sandbox.run(("cp %s/%s %s/"):format(other, name, dir))
    t.eq(t.raises(function() results.run(dir) end, dir:gsub("%p", "%%%0")).code, "data", name)
    sandbox.run(("cp %s/%s %s/"):format(finished, name, dir))
  end
  t.eq(results.run(dir).manifest.id, results.run(finished).manifest.id)
end)

t.test("nothing optional fails a run: no git, a shell that cannot be started", function()
  local dir = work .. "/nogit"
  t.eq((flowmap(SMALL .. "--out " .. dir, "PATH=/none")), 0)
  local record, revision = require "flowmap.runs.record", require "flowmap.runs.revision"
  t.eq(record.read(dir, "manifest").revision, "unknown")
  local popen = io.popen
  for _, broken in ipairs { function() return nil, "Too many open files", 24 end, error } do
    io.popen = broken -- luacheck: ignore
    t.eq(revision.now(), "unknown")
  end
  io.popen = popen -- luacheck: ignore
  -- nor does the environment choose another repository
  t.eq((flowmap("info", "GIT_DIR=/none")), 0)
end)

t.test("no disk space: exit code 3 and a sentence at any file, and existing files remain",
  function()
    local dir, k = work .. "/full", 0
    for _, blocks in ipairs { 0, 1, 3, 9, 20, 40 } do
      local limit = ("ulimit -f %d;"):format(blocks)
      local resume = files.exists(dir .. "/checkpoint.safetensors") and "--resume " or ""
      local _, out = sandbox.run(("(%s %s %s %s --out %s; echo code $?) 2>&1 | cat"):format(limit,
        sandbox.program, SMALL, resume, dir))
      local code = out:match "code (%d+)"
      t.eq(code == "0" or code == "3" and out:find "flowmap: .*large" ~= nil, true, out)
      if code == "3" then k = k + 1 end
    end
    t.eq(k > 2, true, "the limits were met")
    local code, out = flowmap(SMALL .. "--resume --out " .. dir)
    t.eq(code, 0, out)
    t.eq(contents(dir)["eval.json"], contents(finished)["eval.json"])
    t.eq(contents(dir)["metrics.jsonl"], contents(finished)["metrics.jsonl"])
  end)

t.test("a run's folder keeps files that are being written, and those of others", function()
  local dir = copy "written"
  local live, dead = dir .. "/samples.npy.tmp.999999901.0", dir .. "/samples.npy.tmp.999999902.0"
  local held = core.lock(live) -- as its writer does
  put(dead, "left by a killed writer")
  put(dir .. "/mine.tmp.1.2.csv", "1,2")
  local code, out = flowmap(SMALL .. "--out " .. dir)
  t.eq({ code, out:find "reused: nothing changed" ~= nil }, { 0, true }, out)
  t.eq({ files.exists(live), files.exists(dead), files.exists(dir .. "/mine.tmp.1.2.csv") },
    { true, false, true })
  held:release()
end)

t.test("a checkpoint of another run is not continued from", function()
  copy "cut"
  t.eq((flowmap(SMALL .. "--seed 2 --out another")), 0)
  sandbox.run "rm cut/manifest.json cut/eval.json"
  local resumed = { flowmap(SMALL .. "--out cut --resume") }
  t.eq(resumed[1], 0, resumed[2])
  sandbox.run "rm cut/manifest.json cut/eval.json && cp another/checkpoint.safetensors cut"
  fails(SMALL .. "--out cut --resume", 3, "is of another run: seed is 2 in it, expected 1")
end)

t.test("a run that another process makes in the folder during the rehearsal is left as it is",
  function()
    local made, dir = own_files.run(own_files.small ""), work .. "/meanwhile"
    local copying = "own.metrics = { m = function() os.execute [[cp -a %s %s]] return 1 end }"
    local it = own_files.small(copying:format(made, dir))
    local err = t.raises(function() own_files.run(it, {}, dir) end,
      "another process has made a run there")
    t.eq({ err.code, (own_files.decided(own_files.small("").path, dir)) }, { "usage", "reuse" })
  end)

t.done()
