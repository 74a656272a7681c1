-- What belongs to others, is in use, damaged or too large is left alone, made again or refused:
-- files in folders of runs and pages, the cache, downloads, environment variables, records.

local t = require "harness"
local core = require "flowmap.core"
local errors = require "flowmap.base.errors"
local files = require "flowmap.base.files"
local fm = require "flowmap"
local lfs = require "lfs"
local own = require "own_experiment"
local record = require "flowmap.runs.record"
local sandbox = require "sandbox"

local work, write, flowmap = sandbox.root, sandbox.write, sandbox.flowmap

local OWN = [[
return { name = "own", %s, profiles = { smoke = { steps = 2, batch = 8, micro = 8, width = 8,
  depth = 1, eval_samples = 50, nfe = { 1 }, bins = 4, log_every = 1 } } }]]

write("own.lua", OWN:format "methods = { 'lsd' }")
local RUN = "run own.lua --profile smoke --out run"
local code, out = flowmap(RUN)
t.eq(code, 0, out)

-- ------------------------------------------------------------------ what is not ours

t.test("a run's folder keeps files that are being written, and those of others", function()
  local live, dead = "run/samples.npy.tmp.999999901.0", "run/samples.npy.tmp.999999902.0"
  local held = core.lock(work .. "/" .. live) -- as its writer does
  write(dead, "left by a killed writer")
  write("run/mine.tmp.1.2.csv", "1,2")
  code, out = flowmap(RUN)
  t.eq({ code, out:find "^run reused: nothing changed" ~= nil }, { 0, true }, out)
  t.eq({ sandbox.exists(live), sandbox.exists(dead), sandbox.exists "run/mine.tmp.1.2.csv" },
    { true, false, true })
  held:release()
end)

t.test("a chapter is not overwritten by the page that is woven from it", function()
  local text = "# Mine\n\n2 + 2\n"
  write("paper/build/mine.md", text)
  code, out = flowmap "paper paper/build/mine.md"
  t.eq({ code, out:find "paper/build/mine.md would be overwritten" ~= nil }, { 2, true }, out)
  t.eq(sandbox.read "paper/build/mine.md", text)
end)

t.test("the folder of a typesetting that holds something else is left as it is", function()
  local page = require "flowmap.report.page"
  sandbox.needs "lualatex"
  write("x.latex/book.aux", "")
  write("x.latex/notes.txt", "mine")
  local function refused(words)
    local err = t.raises(function() page.printing("x.md", work .. "/x.pdf", {}) end, words)
    t.eq(err.code, "usage")
  end
  refused "x.latex/notes.txt is no file of an interrupted typesetting"
  t.eq(files.below(work .. "/x.latex"), { "book.aux", "notes.txt" })
  os.remove(work .. "/x.latex/notes.txt")
  local lock = core.lock(work .. "/x.latex/lock")
  refused "x.latex is in use: another process makes this PDF"
  lock:release()
end)

-- ------------------------------------------------------------------ what was kept, damaged

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

t.test("a teacher that cannot be read is an error, not another teacher", function()
  local cache, experiment = require "flowmap.runs.cache", require "flowmap.experiment"
  local it = experiment.load(work .. "/own.lua")
  local cfg = experiment.resolve(it, { profile = "smoke", set = { start = work } })
  t.eq(t.raises(function() cache.inputs(it, cfg) end, "it is a folder").code, "data")
end)

t.test("what is drawn depends on the font of formulas and on whether the page was woven", function()
  local rendered, page = require "flowmap.app.rendered", require "flowmap.report.page"
  local it, font = { require("flowmap.experiment").load(work .. "/own.lua") }, page.math_font
  local key = rendered.key(it, "smoke", false)
  t.eq({ rendered.key(it, "smoke", false) == key, rendered.key(it, "smoke", true) == key },
    { true, false })
  page.math_font = write("font.ttf", "")
  t.eq(rendered.key(it, "smoke", false) == key, false)
  page.math_font = font
end)

t.test("an experiment that is named twice", function()
  code, out = flowmap "reproduce own.lua own.lua --profile smoke --dry-run"
  t.eq({ code, out:find "own.lua is named twice" ~= nil }, { 2, true }, out)
end)

t.test("figures are drawn in their folder, whatever CDPATH and GNUTERM say", function()
  sandbox.needs "gnuplot"
  write("draw.lua", [[require("flowmap.report.gnuplot").render("drawn", "a",
    { width = 100, height = 100, script = "plot x\n" }) ]])
  write("elsewhere/drawn/a.gp", "print 'the script of another folder'\n")
  for _, path in ipairs { ".", "elsewhere" } do
    code, out = sandbox.run(("GNUTERM=none CDPATH=%s %s lua draw.lua"):format(path,
      files.quote(sandbox.program)))
    t.eq({ code, out, sandbox.exists "drawn/a.svg" }, { 0, "", true })
    os.remove(work .. "/drawn/a.svg")
  end
end)

-- ------------------------------------------------------------------ two at once

t.test("of two downloads to one file the second is refused; then it is there", function()
  local fetch = require "flowmap.data.packed.fetch"
  local from, to = write("from", "text"), work .. "/got"
  local lock = core.lock(to .. ".lock")
  local err = t.raises(function() fetch.run("file://" .. from, to, nil) end,
    "got is being downloaded by another process")
  t.eq({ err.code, files.exists(to .. ".part") }, { "usage", false })
  lock:release()
  fetch.run("file://" .. from, to, core.sha256 "text")
  fetch.run("file://" .. work .. "/none", to, core.sha256 "text") -- another has downloaded it
  t.eq({ files.read(to), files.exists(to .. ".lock") }, { "text", false })
end)

t.test("a file whose name looks like an option is no option of the runs either", function()
  write("-own.lua", OWN:format "methods = { 'lsd' }")
  code, out = flowmap "reproduce --profile smoke --seeds 1 --dry-run -- -own.lua"
  t.eq({ code, out:find "own/lsd%-seed1 runs" ~= nil }, { 0, true }, out)
end)

t.test("modules of the suite are found by a script that has replaced package.path", function()
  write("own.path.lua", "package.path = 'mine/?.lua' " .. OWN:format "methods = { 'lsd' }")
  code, out = flowmap "run own.path.lua --profile smoke --dry-run"
  t.eq(code, 0, out)
  write("path.lua", [[package.path = 'mine/?.lua'
    print(type(require("flowmap").losses), (pcall(require, "flowmap.none"))) ]])
  code, out = flowmap "lua path.lua"
  t.eq({ code, out }, { 0, "table\tfalse\n" })
end)

t.test("a variable of the environment that is misspelt is not passed over", function()
  for set, words in pairs { ["FM_ISA=AVX2"] = "FM_ISA of the environment is 'AVX2', expected sca",
    ["FM_THREADS=2x"] = "FM_THREADS of the environment is '2x', expected a whole number from 1" } do
    code, out = sandbox.run(("%s %s info"):format(set, files.quote(sandbox.program)))
    t.eq({ code, out:find(words, 1, true) ~= nil }, { 2, true }, out)
  end
end)

-- ------------------------------------------------------------------ sizes, pipes

t.test("a file that is too large for a picture is not read", function()
  sandbox.run "truncate -s 67108865 large.png"
  local err = t.raises(function() fm.load_image(work .. "/large.png") end,
    "large.png': 67108865 bytes found, expected at most 67108864")
  t.eq(err.code, "data")
end)

t.test("more samples than there is memory for are refused before the work", function()
  code, out = sandbox.run("timeout 20 " .. files.quote(sandbox.program)
    .. " sample run/checkpoint.safetensors --count 2147483647 --out x.csv")
  t.eq({ code, out:find "%-%-count: 2147483647 samples of 2 values need at least 32 GiB" ~= nil },
    { 2, true }, out)
end)

t.test("a pipe in place of a journal holds up nobody who looks at runs", function()
  sandbox.run "mkdir -p seen && cp -a run seen/ && cd seen/run && rm manifest.json history.jsonl "
  sandbox.run "mkfifo seen/run/history.jsonl"
  code, out = sandbox.run("timeout 20 " .. files.quote(sandbox.program) .. " runs --results seen")
  t.eq({ code, out:find "interrupted at 0" ~= nil }, { 0, true }, out)
end)

-- ------------------------------------------------------------------ records

t.test("a part cannot change the settings that the run has recorded", function()
  write("sets.lua", OWN:format "nets = { mlp = function(cfg) cfg.lr = 1; return cfg end }")
  code, out = flowmap "run sets.lua --profile smoke --out sets"
  t.eq({ code, out:find "sets.lua:1: the settings of a run are read%-only: a part sets 'lr'" ~= nil,
    sandbox.exists "sets" }, { 2, true, false }, out)
  local cfg = { nfe = { 1, 4 } }
  local view = require("flowmap.experiment.effect").view(cfg, {})
  for _, value in pairs(view) do value[1] = 9 end
  view.nfe[2] = 9
  t.eq(cfg, { nfe = { 1, 4 } })
end)

t.test("a checkpoint of another run is not continued from", function()
  t.eq((flowmap "run own.lua --profile smoke --seed 2 --out other"), 0)
  sandbox.run "cp -a run cut && cd cut && rm manifest.json eval.json"
  local resumed = { flowmap "run own.lua --profile smoke --out cut --resume" }
  t.eq(resumed[1], 0, resumed[2])
  sandbox.run "rm cut/manifest.json cut/eval.json && cp other/checkpoint.safetensors cut"
  code, out = flowmap "run own.lua --profile smoke --out cut --resume"
  t.eq({ code, out:find "is of another run: seed is 2 in it, expected 1" ~= nil }, { 3, true }, out)
end)

t.test("a run and its copy are no two seeds of an interval", function()
  sandbox.run "mkdir twice && cp -a run twice/one && cp -a run twice/two"
  code, out = flowmap "runs --results twice --csv"
  t.eq({ code, select(2, out:gsub(",lsd,,1,1,kl,1,1,", "")) }, { 0, 2 }, out)
end)

-- ------------------------------------------------------------------ names

t.test("metrics have no names that select metrics or are those of other results", function()
  for _, name in ipairs { "all", "None" } do
    own.refused(("metrics = { %s = function() return 1 end }"):format(name),
      "metrics%['" .. name .. "'%] has a name by which the setting metrics selects")
  end
  write("twins.lua", OWN:format "metrics = { KL = function() return 1 end }")
  code, out = flowmap "run twins.lua --profile smoke --dry-run"
  t.eq({ code, out:find "'KL' and 'kl', names that differ only in capitals" ~= nil }, { 2, true },
    out)
end)

t.test("a whole number of any kind is the same setting, as the records have it", function()
  local text = require("flowmap.experiment.settings").text
  t.eq({ text(1e15), text(10 ^ 15 // 1 | 0), text(-0.5), text(1e16), text(2.0 ^ 53) },
    { "1000000000000000", "1000000000000000", "-0.5", "1e+16", "9007199254740992" })
end)

t.test("the list of chapters that is not installed is data, in a sentence", function()
  local chapters, installed = require "flowmap.experiment.chapters", files.installed
  files.installed = function() return work .. "/none.lua" end -- luacheck: ignore
  local err = t.raises(chapters.experiments, "cannot read the list of chapters")
  files.installed = installed -- luacheck: ignore
  t.eq(errors.explain(err), 3)
end)

t.done()
