--- Every bit of a file that is read back is flipped: the reader refuses the file in a sentence with
-- the code "data", or reads exactly what it did before. A point is a byte, all of its eight bits.
-- @module flips

local checkpoint = require "flowmap.checkpoint"
local core = require "flowmap.core"
local errors = require "flowmap.base.errors"
local files = require "flowmap.base.files"
local folder = require "flowmap.runs.folder"
local header = require "flowmap.data.packed.header"
local json = require "flowmap.base.json"
local lfs = require "lfs"
local place = require "place"
local results = require "flowmap.report.results"
local tree = require "flowmap.tree"

local M = { what = "a bit of a file is flipped", unit = "flipped bits" }

-- ------------------------------------------------------------------ readers: path -> text

local function read_checkpoint(path)
  local it = checkpoint.load(path)
  local parts = { json.encode { it.cfg, it.step, it.sums or false, it.pinned, it.metrics or false,
    it.chain or false } }
  for _, name in ipairs(tree.keys(it.tensors)) do
    local x = it.tensors[name]
    parts[#parts + 1] = ("%s %s %s %s"):format(name, x.dtype, table.concat(x.shape, " "),
      core.sha256(core.bytes(x)))
  end
  return table.concat(parts, "\n")
end

local function read_pack(path)
  local it = core.pack_look(path)
  core.pack_verify(path)
  header.decode(path, it.text, it.classes)
  local table_, labels = core.pack_map(path, 0, it.train)
  it.sum, it.labels = core.sha256(core.bytes(table_)), labels and core.sha256(core.bytes(labels))
  return json.encode(it)
end

-- A finished run as tables and figures read it; `.flowmap` says whose folder it is.
local function read_run(path)
  local dir = path:match "^(.*)/"
  if folder.state(dir) ~= "ours" then errors.data("%s is not a run's folder", dir) end
  local run = results.run(dir)
  return json.encode { run.config, run.manifest, run.eval, run:metrics(), run:id() }
end

-- ------------------------------------------------------------------ flipping

local function write_byte(file, at, byte)
  assert(file:seek("set", at))
  assert(file:write(string.char(byte)))
  assert(file:flush())
end

-- A fault of an answer to a damaged file, or nil.
local function wrong(ok, found, good)
  if ok then return found ~= good and "it is read as something else" or nil end
  if type(found) ~= "table" then return "not a sentence: " .. tostring(found) end
  if found.code ~= "data" then return ("the code %s: %s"):format(found.code, found.message) end
  if #found.message < 20 then return "a short sentence: " .. found.message end
end

local function case(path, read)
  local bytes, good
  return { name = path:gsub("/", ":"),
    count = function()
      bytes, good = files.read(path), read(path)
      return #bytes
    end,
    try = function(k)
      if not bytes then bytes, good = files.read(path), read(path) end
      local file <close> = assert(io.open(path, "r+b"))
      local byte, what = bytes:byte(k), nil
      for bit = 0, 7 do
        write_byte(file, k - 1, byte ~ 1 << bit)
        local ok, found = errors.pcall(read, path)
        local why = wrong(ok, found, good)
        what = what or why and ("byte %d, bit %d of %s: %s"):format(k - 1, bit, path, why)
      end
      write_byte(file, k - 1, byte)
      return what, 8
    end }
end

function M.cases()
  place.enter()
  local list, readers = {}, {}
  for _, name in ipairs(files.below "kept") do
    local state = name:find "^state%-" or name == "checkpoint.safetensors"
    readers["kept/" .. name] = state and read_checkpoint or read_run
  end
  for _, name in ipairs(files.below "imported") do
    if name:find "%.images$" then readers["imported/" .. name] = read_pack end
  end
  for _, path in ipairs(tree.keys(readers)) do
    if lfs.attributes(path, "size") > 0 then list[#list + 1] = case(path, readers[path]) end
  end
  return list
end

return M
