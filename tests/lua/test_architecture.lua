-- The examples of ARCHITECTURE.md are what the program prints, and the files that it names exist.

local t = require "harness"
local files = require "flowmap.base.files"
local fm = require "flowmap"
local page = require "page"
local sandbox = require "sandbox"

local text = assert(files.read(sandbox.here .. "/ARCHITECTURE.md"))

-- Fenced blocks of a language.
local function blocks(language)
  local list = {}
  for body in text:gmatch("\n```" .. language .. "\n(.-\n)```\n") do list[#list + 1] = body end
  return list
end

t.test("the worked example, pass by pass", function()
  local env = setmetatable({ fm = fm }, { __index = _G })
  assert(load(blocks("lua")[1], "=ARCHITECTURE.md", "t", env))()
  local programs = blocks "text"
  t.eq(#programs >= 2, true)
  for _, program in ipairs(programs) do
    local after = program:match "^; program 1 after (%a+)"
    local found = fm.show(fm.grad(env.step), env.w, env.x, env.dx, { after = after })
    t.eq(found:match "; program .*$":gsub("%s+$", "") .. "\n", program, after) -- without its legend
  end
end)

t.test("the commands", function()
  sandbox.link "experiments"
  local count = 0
  for _, body in ipairs(blocks "console") do
    for _, it in ipairs(page.commands(body)) do
      count = count + 1
      page.check(it, sandbox.run((it.command:gsub("^%./flowmap", files.quote(sandbox.program)))))
    end
  end
  for command in text:gmatch "`%./flowmap (explain [^`]*)`" do
    local profile = command:find "lua" and " --profile smoke" or ""
    local code, out = sandbox.flowmap(command .. profile)
    t.eq(code, 0, out)
    count = count + 1
  end
  t.eq(count > 1, true)
end)

t.test("every file and folder that the page names", function()
  local count = 0
  for name in text:gmatch "`([%w_./]+)`" do
    if name:find "^core/" or name:find "^lua/" or name:find "^tests/" or name:find "%.md$" then
      count = count + 1
      t.eq(files.exists(sandbox.here .. "/" .. name), true, name)
    end
  end
  t.eq(count > 30, true)
end)

t.done()
