-- The reference: every function that is reachable from `fm` is in it once, and every example is
-- true. That there are comments and examples, test_described checks. LDoc itself runs only where it
-- is installed.

local t = require "harness"
local core = require "flowmap.core"
local core_functions = require "flowmap.app.core_functions"
local examples = require "flowmap.app.examples"
local files = require "flowmap.base.files"
local lfs = require "lfs"
local reference = require "flowmap.app.reference"
local sandbox = require "sandbox"

local modules = reference.modules()

t.test("all of fm is in the reference, each function once", function()
  local seen, fm = {}, nil
  for _, module in ipairs(modules) do
    if module.name == "flowmap" then fm = module end
    for _, item in ipairs(module.items) do
      local key = module.name .. " " .. item.name
      t.eq(seen[key], nil, key)
      local where = item.place and item.place .. item.name:match "[%w_]+$" or key
      t.eq(where ~= key and seen[where] or nil, nil, where)
      seen[key], seen[where] = true, true
    end
  end
  for name, value in pairs(core) do
    if type(value) == "function" then t.eq(seen["flowmap " .. name], true, name) end
  end
  for _, item in ipairs(fm.items) do t.eq(type(core[item.name]), "function", item.name) end
  for name in pairs(core_functions.public) do t.eq(core_functions.internal[name], nil, name) end
end)

t.test("a module's comment names it as it is required", function()
  for _, module in ipairs(modules) do
    local named
    for _, line in ipairs(module.comment) do named = named or line:match "^%-%- @module (%S+)$" end
    t.eq(named, module.name, module.path)
  end
end)

t.test("an undocumented function is found", function()
  local stats = require "flowmap.measure.stats"
  stats.not_described = load("return function(x) return x end", "@" .. package.searchpath(
    "flowmap.measure.stats", package.path))()
  local found
  for _, module in ipairs(reference.modules()) do
    for _, item in ipairs(module.items) do
      if item.name == "not_described" then found = #item.comment end
    end
  end
  stats.not_described = nil
  t.eq(found, 0)
end)

t.test("every example is true", function()
  assert(lfs.chdir(sandbox.root)) -- some write files
  local threads, count = core.info().threads, 0
  for name, text in pairs(examples.text) do
    local list = examples.run(text, name)
    t.eq(#list > 0, true, name)
    for _, it in ipairs(list) do
      t.eq(it.found, it.expected, it.line)
      count = count + 1
    end
  end
  core.set_threads(threads)
  assert(lfs.chdir(sandbox.here))
  t.eq(count > 100, true)
end)

t.test("make doc gives pages without a warning, or a sentence without LDoc", function()
  local out = sandbox.path "reference"
  local code, text = sandbox.run(("make -C %s -o all doc PROGRAM=%s B=%s"):format(
    files.quote(sandbox.here), files.quote(sandbox.program), files.quote(out)))
  if not sandbox.has "ldoc" then
    t.eq(code, 2, text)
    t.eq(text:find("lua-ldoc", 1, true) ~= nil, true, text)
    return t.skip("pages of the reference", "lua-ldoc is not installed")
  end
  t.eq(code, 0, text)
  t.eq(text:find "%.lua:%d+:", nil, text)
  for _, module in ipairs(modules) do
    local page = files.read(("%s/reference/modules/%s.html"):format(out, module.name))
    t.eq(page ~= nil, true, module.name)
    for _, item in ipairs(module.items) do
      t.eq(page:find(('id="%s"'):format(item.name:gsub(":", ".")), 1, true) ~= nil, true,
        module.name .. " " .. item.name)
    end
  end
end)

t.done()
