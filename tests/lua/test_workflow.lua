-- The workflow of the hosted continuous integration: it is valid YAML, runs only what exists, has
-- no list of packages of its own, and asks for no permission that it does not use.

local t = require "harness"
local files = require "flowmap.base.files"
local json = require "flowmap.base.json"
local lfs = require "lfs"
local sandbox = require "sandbox"

local path = ".github/workflows/check.yml"
local text = assert(files.read(path))

-- A value of pandoc's metadata as a table, or the texts of its words joined.
local function plain(value)
  local kind, c = value.t, value.c
  if kind == "MetaMap" then
    local map = {}
    for key, inner in pairs(c) do map[key] = plain(inner) end
    return map
  elseif kind == "MetaList" then
    local list = {}
    for k, inner in ipairs(c) do list[k] = plain(inner) end
    return list
  end
  return value
end

local function parsed()
  sandbox.write("meta.yml", text)
  local code, out = sandbox.run "pandoc -f markdown -t json --metadata-file meta.yml /dev/null"
  t.eq(code, 0, out)
  return plain { t = "MetaMap", c = json.decode(out).meta }
end

t.test("the workflow is valid YAML and has its six jobs", function()
  local it, names = parsed(), {}
  for name, job in pairs(it.jobs) do
    names[#names + 1] = name
    t.eq(type(job.steps), "table", name)
    t.eq(job["runs-on"] ~= nil, true, name)
  end
  table.sort(names)
  t.eq(names, { "arm", "check", "musl", "page", "publish", "regress" })
end)

local commands = {}
for line in text:gmatch "\n *%-? *run: ([^\n]+)" do
  for command in (line .. " && "):gmatch "(.-) && " do commands[#commands + 1] = command end
end

t.test("every command exists: make's targets, scripts of .ci, tools of any Debian", function()
  local makefile, seen = files.read "Makefile", {}
  local tools = { git = true, ["apt-get"] = true, mkdir = true, cp = true }
  for _, command in ipairs(commands) do
    local program = command:match "^%S+"
    seen[command] = true
    if program == "make" then
      local target = command:match "^make (%S+)"
      t.eq(makefile:find("\n" .. target .. ":", 1, true) ~= nil, true, command)
    elseif program:find "^%.ci/" then
      t.eq(sandbox.run("test -x " .. files.quote(sandbox.here .. "/" .. program)), 0, command)
    else
      t.eq(tools[program], true, command)
    end
  end
  for _, command in ipairs { ".ci/run", "make regress", "make paper RESULTS=paper/results/long" } do
    t.eq(seen[command], true, command)
  end
  t.eq(files.exists(text:match "RESULTS=(%S+)"), true)
end)

t.test("every test of kernels runs for Arm, too", function()
  local list = files.read(".ci/arm.sh"):match '\ntests="([^"]+)"'
  for name in lfs.dir "tests/c" do
    local test = name:match "^test_([%w_]+)%.c$"
    if test and files.read("tests/c/" .. name):find("fm_set_isa", 1, true) then
      t.eq((" " .. list .. " "):find(" " .. test .. " ", 1, true) ~= nil, true, test)
    end
  end
end)

t.test("packages come from .ci/packages.txt alone", function()
  local before = { ["ca-certificates"] = true, git = true } -- what fetches the sources
  for _, command in ipairs(commands) do
    local list = command:match "^apt%-get install (.*)$"
    for word in (list or ""):gmatch "%S+" do
      t.eq(word:find "^%-" ~= nil or before[word], true, command)
    end
  end
  for _, name in ipairs { ".ci/run", "Makefile", ".ci/installcheck.sh" } do
    t.eq(files.read(name):find "apt%-get +install", nil, name)
  end
  local _, found = sandbox.run(("grep -rlE 'apt-get[^|]* install' %s/.ci %s/.github"):format(
    files.quote(sandbox.here), files.quote(sandbox.here)))
  t.eq(select(2, found:gsub("\n", "")), 2, found) -- .ci/deps.sh and this workflow
end)

t.test("actions have a major version, and only publishing may write", function()
  local count = 0
  for action in text:gmatch "uses: (%S+)" do
    t.eq(action:find "^actions/[%w-]+@v%d+$" ~= nil, true, action)
    count = count + 1
  end
  t.eq(count > 0, true)
  t.eq(text:find "\npermissions:\n  contents: read\n\n" ~= nil, true)
  local publish = text:match "\n  publish:\n.*$"
  t.eq(select(2, text:gsub(": write", "")), select(2, publish:gsub(": write", "")))
  t.eq(text:find("write-all", 1, true), nil)
  t.eq(text:find("secrets", 1, true), nil)
end)

t.done()
