-- Every command and every Lua snippet in README.md, its companions and the template runs, in smoke
-- form: in a scratch folder, with few steps. A command that no rule below covers is a failure. (The
-- recipes of CONTRIBUTING.md: see test_contributing.)

local t = require "harness"
local cli = require "flowmap.app.cli"
local files = require "flowmap.base.files"
local fm = require "flowmap"
local lfs = require "lfs"
local sandbox = require "sandbox"

local here, work, sh = sandbox.here, sandbox.root, sandbox.run
for _, name in ipairs { "lua", "paper", "core", "tests", ".ci", "Makefile" } do
  sandbox.link(name)
end
assert(lfs.link(sandbox.program, work .. "/flowmap", true))
assert(lfs.link(sandbox.build, work .. "/build", true))
sandbox.mkdir "experiments"
for name in lfs.dir(here .. "/experiments") do
  if name:find "%.lua$" and name ~= "template.lua" then sandbox.link("experiments/" .. name) end
end

local readme = assert(files.read(here .. "/README.md"))
local template = assert(files.read(here .. "/experiments/template.lua"))

-- Fenced blocks by language, and the indented lines outside of them that follow an empty line or
-- each other; others continue an item of a list.
local function parse(text)
  local fences, commands, open, follows = {}, {}, nil, false
  for line in (text .. "\n"):gmatch "([^\n]*)\n" do
    local fence = line:match "^```(%w*)$"
    if fence and open then
      open = nil
    elseif fence then
      open = { language = fence }
      fences[#fences + 1] = open
    elseif open then
      open[#open + 1] = line
    elseif follows and line:find "^    %S" then
      commands[#commands + 1] = line:gsub("%s+#.*$", ""):gsub("^%s+", "")
    end
    follows = line == "" or follows and line:find "^    %S" ~= nil
  end
  return fences, commands
end

local fences, commands = parse(readme)
local pages = { readme }
for _, name in ipairs { "RESULTS.md", "REPRODUCIBILITY.md", "CONTRIBUTING.md" } do
  pages[#pages + 1] = assert(files.read(here .. "/" .. name))
  local _, more = parse(pages[#pages])
  table.move(more, 1, #more, #commands + 1, commands)
end
for line in template:gmatch "\n%-%-     (%./[^\n]*)" do commands[#commands + 1] = line end

-- The template with README's loss pasted into it.
local snippet
for _, it in ipairs(fences) do
  if it.language == "lua" then snippet = table.concat(it, "\n") end
end
local head, rest = template:match "^(.-\ntemplate%.losses = [^\n]*\n)(.*)$"
sandbox.write("experiments/template.lua", head .. snippet .. "\n" .. rest)

-- Settings that make a run quick.
local QUICK = " --set steps=4 --set eval_samples=2000 --set nfe=1,2 --set log_every=2"

local function quick(command)
  return command .. (command:find "--profile" and "" or " --profile smoke") .. QUICK
end

-- Parse a command as the program does; raises its error.
local function parsed(command)
  local words = {}
  command:gsub("^%./flowmap ", ""):gsub('"([^"]*)"', function(text)
    return (text:gsub(" ", "\0"))
  end):gsub("%S+", function(word) words[#words + 1] = word:gsub("%z", " ") end)
  local ok, args = cli.parser():pparse(words)
  t.eq(ok, true, tostring(args))
end

-- Rules: the first match determines how a command is tried.
local RULES = {
  { "^make%f[%A]", function(command) return (command:gsub("^make", "make -n")) end },
  { "^%./flowmap run ", function(command) return quick(command) end },
  { "^%./flowmap lua experiments/hello", parsed }, -- see test_hello
  { "^%./flowmap explain ", function(command) return command .. " --profile smoke" end },
  { "^%./flowmap sample ", function(command) return (command:gsub("10000", "100")
    :gsub("%.png", ".csv")) end },
  { "^%./flowmap reproduce experiments/template.*%-%-methods", function(command)
    return command .. " --seeds 1"
  end },
  { "^%./flowmap reproduce experiments/template", function(command)
    return command .. " --dry-run"
  end },
  { "^OPENBLAS_CORETYPE=%w+ (%./flowmap .*)$", function(_, command) parsed(command) end },
  { "^mpirun %-n %d+ (%./flowmap .*)$", function(_, command) parsed(command) end },
  { "^%./flowmap data list", function(command) return command end },
  { "^%./flowmap new ", function(command) return command end },
  { "^%./flowmap settings", function(command) return command end },
  -- These take too long or are tested elsewhere; only their parsing is checked.
  { "^%./flowmap %a+", parsed },
  { "^LUA_PATH=", function(command) return command .. " -e 'print(flowmap)'" end },
}

local function try(command)
  for _, rule in ipairs(RULES) do
    local found, _, part = command:find(rule[1])
    if found then
      local line = rule[2](command, part)
      if not line then return end
      local code, out = sh(line)
      return t.eq(code, 0, line .. ": " .. out)
    end
  end
  error("no rule of this test covers: " .. command, 0)
end

t.test("README has commands, a loss and a prompt", function()
  t.eq(#commands > 10, true)
  t.eq(snippet ~= nil, true)
end)

for _, command in ipairs(commands) do
  t.test("README: " .. command, function() try(command) end)
end

t.test("every target of make and every test that a page names in its text exist", function()
  local targets, tests, count = {}, {}, 0
  for _, text in ipairs(pages) do
    for words in text:gmatch "`make%s+([^`]*)`" do
      for name in (words:match '%f[%a]T="([^"]*)"' or words:match "%f[%a]T=(%S+)" or "")
        :gmatch "%S+" do tests[name] = true end
      targets[words:match "^[%a-]*%f[%s\0]" or ""] = true
      count = count + 1
    end
  end
  t.eq(count > 30, true)
  targets[""] = nil -- as in `make WRAP=`
  targets.test = nil -- needs the tests
  local code, out = sh("make -n " .. table.concat(fm.tree.keys(targets), " "))
  t.eq(code, 0, out)
  code, out = sh(("make known-tests T='%s'"):format(table.concat(fm.tree.keys(tests), " ")))
  t.eq(code, 0, out)
end)

t.test("README's comparison has the same numbers for its LSD and the suite's", function()
  local rows = {}
  local path = "results/template/smoke/tables/radius.md"
  for method, values in assert(sandbox.read(path)):gmatch "\n| ([%u-]+) |([^\n]*)" do
    rows[method] = values
  end
  t.eq(rows.LSD ~= nil and rows.LSD:find "%d%.%d" ~= nil, true)
  t.eq(rows, { LSD = rows.LSD, ["MY-LSD"] = rows.LSD })
end)

t.test("README's LSD pasted into the template is LSD, to the bit", function()
  local function weights(method)
    local dir = ("%s/results/template/smoke/%s-seed1"):format(work, method)
    local list = {}
    for name, tensor in pairs((fm.load_safetensors(dir .. "/checkpoint.safetensors"))) do
      list[name] = fm.sha256(fm.bytes(tensor))
    end
    return list
  end
  t.eq(weights "my-lsd", weights "lsd")
end)

t.test("CONTRIBUTING's page for users of PyTorch and JAX", function()
  local text = assert(files.read(here .. "/CONTRIBUTING.md"))
  local code = assert(text:match "\n## From PyTorch and JAX\n.-\n```lua\n(.-)```\n")
  local path = sandbox.write("from.lua", 'local fm = require "flowmap"\n' .. code)
  local status, out = sh("./flowmap lua " .. path)
  t.eq(status, 0, out)
end)

t.test("README's prompt", function()
  for _, it in ipairs(fences) do
    if it[1] and it[1]:find "repl$" then
      local lines = {}
      for k = 2, #it do lines[#lines + 1] = it[k]:gsub("^> ", "") .. "\n" end
      local code, out = sh("./flowmap repl <" .. sandbox.write("input", table.concat(lines)))
      t.eq(code, 0, out)
      t.eq(out:find "error", nil, out)
      return
    end
  end
  error "README shows no prompt"
end)

t.done()
