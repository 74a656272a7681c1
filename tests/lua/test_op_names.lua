-- Passes ask an operation for its facts (core/op.h) and do not know it by name; the table of
-- operations says where each of them lives.

local lfs = require "lfs"
local t = require "harness"

local core = lfs.currentdir() .. "/core"

local function must(ok, message) t.eq(ok and true or false, true, message) end

local function read(path)
  local f <close> = assert(io.open(path))
  return f:read "a"
end

--- The C files of a folder of core: name to text without comments.
local function sources(folder)
  local found = {}
  for name in lfs.dir(core .. folder) do
    if name:find "%.[ch]$" then
      found[name] = read(core .. folder .. "/" .. name):gsub("/%*.-%*/", " ")
    end
  end
  return found
end

-- Where a pass rewrites the very operation that it names.
local REWRITES = {
  ["stack.c"] = { add = "a sum of calls becomes one call" },
  ["stack_sums.c"] = { add = "collects the summands of a sum" },
  ["optimise.c"] = { mul = "reassociates products" },
  ["emit.c"] = { affine = "an affine function of an affine function is one" },
}

-- Nodes that stand for the entries of a program's own lists.
local PORTS = { input = true, constant = true }

t.test("passes and replay do not classify operations by name", function()
  local seen, texts = {}, sources "/program"
  for file, text in pairs(sources "/run") do texts[file] = text end
  for file, text in pairs(texts) do
    local function named(op)
      local allowed = REWRITES[file] or {}
      if not PORTS[op] and not allowed[op] then
        error(("core: %s asks for the operation '%s' by name: make what it wants to know a "
          .. "fact of fm_op, or give the reason for the rewriting here"):format(file, op))
      end
      seen[file .. op] = true
    end
    for op in text:gmatch "[!=]=%s*&fm_op_([%w_]+)" do named(op) end
    for op in text:gmatch "&fm_op_([%w_]+)%s*[!=]=" do named(op) end
    for op in text:gmatch 'strcmp%([^;]-op%->name,%s*"([%w_]+)"' do named(op) end
  end
  for file, ops in pairs(REWRITES) do
    for op, reason in pairs(ops) do
      must(seen[file .. op], ("core: %s does not name '%s' any more (%s)"):format(file, op, reason))
    end
  end
end)

t.test("every heading of ops.def names the file of the operations below it", function()
  local files, file = sources "/ops", nil
  local headed = { ["ops.h"] = true, ["table.c"] = true }
  for line in read(core .. "/ops.def"):gmatch "[^\n]+" do
    local heading, op = line:match "^/%* ops/([%w_]+%.c): ", line:match "^FM_%u+%(([%w_]+)%)$"
    if heading then
      file = heading
      headed[file] = true
    elseif op then
      local text = files[file] or error("no file core/ops/" .. tostring(file))
      must(text:find("fm_op_" .. op .. " =", 1, true) or text:find("\n%u+%(" .. op .. "[,)]"),
        ("core/ops/%s does not define '%s': ops.def needs a heading with the file that does")
          :format(file, op))
    end
  end
  for name in pairs(files) do must(headed[name], "ops.def has no heading for ops/" .. name) end
end)

t.done()
