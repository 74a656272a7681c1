-- Published sets: the committed ones are consistent, and none that is mixed, outdated,
-- unfinished or damaged can be published.

local t = require "harness"
local core = require "flowmap.core"
local experiment = require "flowmap.experiment"
local files = require "flowmap.base.files"
local json = require "flowmap.base.json"
local lfs = require "lfs"
local mini = require "mini_set"
local publish = require "flowmap.app.publish"
local record = require "flowmap.runs.record"
local render_list = require "flowmap.experiment.render_list"
local sandbox = require "sandbox"
local verified = require "flowmap.report.verified"

local work, put = sandbox.root, sandbox.write

local function sums(dir)
  local out = {}
  for _, name in ipairs(files.below(dir)) do out[name] = core.sha256_file(dir .. "/" .. name) end
  return out
end

-- ------------------------------------------------------------------ the committed sets

-- Files from before the publish command existed: SHA-256 and name, as sha256sum writes them.
local function legacy()
  local known = {}
  for line in (files.read "paper/results/legacy.sha256" or ""):gmatch "[^\n]+" do
    local sum, name = line:match "^(%x+)  (.+)$"
    known[name] = sum
  end
  return known
end

-- Each line of verified.jsonl is of a published run.
local function check_verified(lines)
  local listed = {}
  for _, profile in ipairs(files.folders "paper/results") do
    for _, name in ipairs(files.folders("paper/results/" .. profile)) do
      local set = ("%s/%s"):format(profile, name)
      for _, run in ipairs(record.read("paper/results/" .. set, "set").runs) do
        listed[run.id] = ("%s/%s"):format(set, run.name)
      end
    end
  end
  for id, line in pairs(lines) do t.eq(line.run, listed[id], "verified.jsonl") end
end

t.test("every committed table, figure and manifest agrees with its set", function()
  local known = legacy()
  for _, name in ipairs(files.below "paper/results") do
    local profile, it = name:match "^([^/]+)/([^/]+)/"
    if it then
      t.eq(files.exists(("paper/results/%s/%s/set.json"):format(profile, it)), true, name)
    elseif name:find "^bench/" then -- written by tests/bench, or converted
      t.eq(files.read("paper/results/" .. name):sub(1, 2), "# ", name .. " states no origin")
    elseif name == "verified.jsonl" then
      check_verified(verified.read "paper/results")
    elseif name ~= "legacy.sha256" and name ~= "soak.json" then -- the latter by make soak
      t.eq(core.sha256_file("paper/results/" .. name), known[name], name)
      known[name] = nil
    end
  end
  t.eq(known, {}, "listed in legacy.sha256, but not there")
  for _, profile in ipairs(files.folders "paper/results") do
    for _, name in ipairs(files.folders("paper/results/" .. profile)) do
      local it = experiment.load(("experiments/%s.lua"):format(name))
      local dir = ("paper/results/%s/%s/"):format(profile, name)
      t.eq(publish.check(dir:sub(1, -2), it), {})
      for _, entry in ipairs(it.render) do -- or the page could not be woven from it
        local is_table = render_list.writes(entry.kind, it.figures) == "table"
        t.eq(files.exists(dir .. entry.name .. (is_table and ".md" or ".png")), true,
          dir .. entry.name)
      end
    end
  end
end)

t.test("the files of paper/results that README and RESULTS show exist", function()
  local count = 0
  local text = files.read "README.md" .. files.read "RESULTS.md"
  for path in text:gmatch "paper/results/[%w_./-]*%w" do
    t.eq(files.exists(path), true, path)
    count = count + 1
  end
  t.eq(count > 0, true)
end)

-- ------------------------------------------------------------------ a small set

local MINI, stamp = mini.text, mini.stamp
local root, final = mini.root, mini.final
local flowmap = sandbox.flowmap
mini.make({ "lsd", "psd-m" }, { 1 })

local function refused(expected, pattern, before)
  local was = files.exists(final) and sums(final)
  local code, out = flowmap("publish smoke mini.lua", before)
  t.eq(code, expected, out)
  t.eq(out:find(pattern) ~= nil, true, out)
  t.eq(out:find "traceback", nil, out)
  if was then t.eq(sums(final), was) end
  if not was then t.eq(files.exists(final), false) end
  for _, name in ipairs(was and files.below(work .. "/paper/results") or {}) do
    t.eq(name:find "^smoke/mini/" ~= nil, true, "left behind: " .. name)
  end
end

t.test("dirty revisions, mixed and incomplete sets are refused", function()
  stamp("lsd-seed1", "revision", "abc123-dirty")
  stamp("psd-m-seed1", "revision", "abc123")
  refused(1, "revision abc123%-dirty: commit first; mixed: revision is abc123%-dirty in lsd%-seed1")
  stamp("lsd-seed1", "revision", "unknown")
  refused(1, "revision unknown")
  stamp("lsd-seed1", "revision", "abc123")
  stamp("lsd-seed1", "isa", "mips")
  refused(1, "mixed: isa is mips in lsd%-seed1 but %w+ in psd%-m%-seed1")
  stamp("lsd-seed1", "isa", core.info().isa)
  os.rename(root .. "/psd-m-seed1", work .. "/psd")
  refused(1, "psd%-m%-seed1 is not current: there is no result yet")
  os.rename(work .. "/psd", root .. "/psd-m-seed1")
end)

local it = experiment.load(work .. "/mini.lua")
local function check() return publish.check(final, it) end

t.test("a clean set is written completely and is consistent", function()
  local code, out = flowmap "publish smoke mini.lua"
  t.eq(code, 0, out)
  t.eq(check(), {})
  local found = sums(final)
  for _, name in ipairs { "set.json", "values.csv", "kl.csv", "kl.md", "lsd.csv", "traces.png",
    "traces.svg", "traces.figure.csv", "runs/lsd-seed1/metrics.jsonl",
    "runs/psd-m-seed1/config.json" } do
    t.eq(found[name] ~= nil, true, name)
  end
  t.eq(found["runs/lsd-seed1/checkpoint.safetensors"], nil)
  local index, ids = record.read(final, "set"), {}
  for _, run in ipairs(index.runs) do ids[run.method] = run.id end
  t.eq(index.files["lsd.csv"].runs, { ids.LSD })
  t.eq(#index.files["traces.png"].runs, 2)
  for _, name in ipairs { "kl.csv", "kl.md", "traces.svg", "traces.figure.csv" } do
    local text = files.read(final .. "/" .. name)
    t.eq(select(2, text:gsub(ids.LSD, "")), 1, name)
  end
  -- again, replacing the first, which a killed process has left under another name
  sandbox.run "cd paper/results/smoke && mv mini .mini.1.old && mkdir .mini.2 && touch .mini.2/a"
  code, out = flowmap "publish smoke mini.lua"
  t.eq(code, 0, out)
  t.eq(check(), {})
  t.eq({ sandbox.run "ls -A paper/results/smoke" }, { 0, "mini\n" })
end)

t.test("a published set is woven without any run, and without PDF where there is no TeX", function()
  sandbox.needs "pandoc"
  put(work .. "/mini-page.md", "KL {{mini/kl.LSD.N1 %.3f}}.\n\n{{table mini/kl}}\n\n"
    .. "![Traces.](figure:mini/traces)\n\nSee @fig:mini/traces.\n")
  os.rename(work .. "/results", work .. "/hidden")
  local code, out = flowmap("paper mini-page.md --results paper/results/smoke --pdf")
  os.rename(work .. "/hidden", work .. "/results")
  t.eq(code, 0, out)
  local html = files.read(work .. "/paper/build/mini-page.html")
  t.eq(html:find("Figure\u{a0}1", 1, true) ~= nil, true)
  t.eq(html:find "<td[^>]*>LSD</td>" ~= nil, true)
  local printed = files.exists(work .. "/paper/build/mini-page.pdf")
  t.eq(out:find "no PDF: it needs LuaLaTeX" == nil, printed, out)
  t.eq(printed, sandbox.has "lualatex", out)
  sandbox.mkdir "no sets" -- a chapter that needs no set does not count as one
  local both = "mini-page.md mini.lua"
  for chapters, folder in pairs { ["mini.lua"] = "nowhere", [both] = "no sets" } do
    code, out = flowmap(("paper %s --results '%s'"):format(chapters, folder))
    t.eq({ code, out:find("no published sets in " .. folder, 1, true) ~= nil }, { 2, true }, out)
  end
end)

t.test("unfinished, outdated, foreign and damaged runs: refused, and the old set stays", function()
  local one = root .. "/lsd-seed1/"
  local whole = files.read(one .. "eval.json")
  put(one .. "eval.json", (whole:gsub("0", "1", 1)))
  refused(3, "eval.json")
  put(one .. "eval.json", whole)
  os.rename(one .. "manifest.json", work .. "/manifest.json")
  refused(1, "lsd%-seed1 is not current: it was interrupted")
  os.rename(work .. "/manifest.json", one .. "manifest.json")
  put(work .. "/mini.lua", (MINI:gsub("width = 8", "width = 9")))
  refused(1, "is not current: width changed from 8 to 9")
  put(work .. "/mini.lua", MINI)
  sandbox.run "cp -a results/mini/smoke/lsd-seed1 results/mini/smoke/lsd-copy"
  refused(1, "lsd%-copy is not one of the experiment's runs")
  sandbox.run "rm -rf results/mini/smoke/lsd-copy"
  refused(3, "gnuplot", "PATH=/none")
  os.rename(final .. "/set.json", work .. "/set.json")
  refused(2, "holds no published set")
  os.rename(work .. "/set.json", final .. "/set.json")
  put(final .. "/runs/notes.txt", "mine")
  refused(2, "smoke/mini/runs/notes.txt is not a file of the published set")
  os.remove(final .. "/runs/notes.txt")
  os.rename(final, work .. "/kept")
  assert(lfs.link(work .. "/kept", final, true))
  local code, out = flowmap "publish smoke mini.lua"
  t.eq({ code, out:find "smoke/mini is a link" ~= nil }, { 2, true }, out)
  os.remove(final)
  os.rename(work .. "/kept", final)
  t.eq(check(), {})
end)

t.test("any edit in a set is found, with or without adjusted checksums", function()
  local function found(pattern)
    local problems = table.concat(check(), "; ")
    t.eq(problems:find(pattern) ~= nil, true, pattern .. ": " .. problems)
  end
  local function edited(name, change, pattern, resum)
    local path, index = final .. "/" .. name, files.read(final .. "/set.json")
    local text = files.read(path)
    local other = change(text)
    t.eq(other ~= text, true, name)
    put(path, other)
    if resum then
      local set = record.read(final, "set")
      set.files[name].sha256 = core.sha256_file(path)
      record.write(final, "set", set)
    end
    found(pattern)
    put(path, text)
    put(final .. "/set.json", index)
  end
  local function digit(text)
    return (text:gsub("(,N = 1,)(%d)", function(a, d) return a .. (d + 1) % 10 end, 1))
  end
  for name in pairs(sums(final)) do
    edited(name, function(text) return text .. " " end, name == "set.json" and "damaged"
      or name:gsub("%p", "%%%0") .. " was changed")
  end
  edited("kl.csv", digit, "kl.csv does not hold the values of runs/", true)
  edited("values.csv", function(text) return (text:gsub("(%d)\n$", "%11\n")) end,
    "values.csv does not hold", true)
  edited("traces.svg", function(text) return (text:gsub("run ids %w", "run ids x")) end,
    "traces.svg does not name the runs", true)
  edited("runs/lsd-seed1/eval.json", function(text)
    local it_ = record.unseal(text, "x")
    it_.rows[1].kl = it_.rows[1].kl / 2
    return record.seal(it_)
  end, "eval.json is damaged", true)
  edited("runs/lsd-seed1/manifest.json", function(text)
    local it_ = record.unseal(text, "x")
    it_.id = ("0"):rep(12)
    return record.seal(it_)
  end, "is not a run of set.json", true)
  put(final .. "/extra.csv", "")
  found "extra.csv is not in set.json"
  os.remove(final .. "/extra.csv")
  os.rename(final .. "/kl.md", work .. "/kl.md")
  found "kl.md is missing"
  os.rename(work .. "/kl.md", final .. "/kl.md")
  t.eq(check(), {})
  t.eq(json.decode(files.read(final .. "/set.json")).profile, "smoke")
end)

t.done()
