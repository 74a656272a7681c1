--- Which files a run is made from, recorded as they are loaded: the idea of a compiler's dependency
-- file. Loading this module (flowmap does so first) puts recorders around Lua's ways to read a
-- file, `require`, `dofile`, `loadfile`, `io.open`, `io.lines`, and around the core's readers. Each
-- adds an edge from the file whose code reads to the file that is read. The inputs of a run are the
-- files reachable from its roots, which code that only reports (tables, figures, commands) is not.
--
-- Code is read once: the hash is that of the bytes that run, even if the file changes meanwhile.
-- @module flowmap.runs.source

local core = require "flowmap.core"
local lfs = require "lfs"
local regular = require "flowmap.base.regular"

local M = {}

local getinfo, open, lines, getenv = debug.getinfo, io.open, io.lines, os.getenv
local popen, read_input = io.popen, io.read
local list_names, attributes, sha256_file = core.folder_names, lfs.attributes, core.sha256_file
local base_require, base_loadfile, searchpath = require, loadfile, package.searchpath

-- ------------------------------------------------------------------ files and edges

-- By absolute path: { kind = "code", "experiment", "data", "absent" or "fact", text = of code,
-- data = hash of the others, hash = of what it means, module = name, uses = {...} }. The path of
-- a fact is a word and what it is about: "variable NAME" (of the environment), "listing FOLDER"
-- (the names in it), "exists PATH", "size FILE".
local nodes = {}
local modules = {}  -- name -> path
local absolute = {} -- name of a chunk -> path: the working folder may change
local heard         -- called when an edge is new
local telling       -- whether it is being called: files that it reads are not inputs
local aside = false -- see `aside`
local epoch = 0     -- grows when an experiment is loaded (again)

--- A path from the root of the file system, without "." and empty parts.
-- @tparam string path
-- @treturn string
function M.absolute(path)
  if path:sub(1, 1) ~= "/" then path = regular.here() .. "/" .. path end
  while path:find "/%.?/" do path = path:gsub("/%.?/", "/") end
  return path
end

local function node(path)
  nodes[path] = nodes[path] or { uses = {} }
  return nodes[path]
end

local function edge(from, to, in_function)
  if aside and in_function then return end
  local it = node(from)
  if it.uses[to] then return end
  it.uses[to] = true
  if not heard or telling then return end
  telling = true
  local ok, message = pcall(heard)
  telling = false
  if not ok then error(message, 0) end
end

-- ------------------------------------------------------------------ who reads

local here = M.absolute(getinfo(1, "S").source:sub(2))
local SUITE = here:match "^(.*/)[^/]*/"

--- The folder of the suite's modules, with its slash.
M.folder = SUITE

-- Files of the suite that read on behalf of their callers.
local READERS = { [here] = true, [SUITE .. "base/files.lua"] = true,
  [SUITE .. "base/json.lua"] = true }

local CHECKPOINTS = SUITE .. "checkpoint.lua"

--- Whether a file is one of the suite's modules.
-- @tparam string path absolute
-- @treturn boolean
function M.is_suite(path) return path:sub(1, #SUITE) == SUITE end

-- The file of a function, false if it is none of Lua; whether the function is a chunk of a file.
local file_of, is_chunk = setmetatable({}, { __mode = "k" }), setmetatable({}, { __mode = "k" })

local function look_at(f)
  local info = getinfo(f, "S")
  local name = info.source
  if name:sub(1, 1) == "@" then absolute[name] = absolute[name] or M.absolute(name:sub(2)) end
  file_of[f], is_chunk[f] = absolute[name] or false, info.what == "main"
  return file_of[f]
end

-- The file whose code reads; the calling file outside the suite, if any; and whether a function
-- reads, not a chunk that is being loaded. Asked at each opened file, for all of a deep stack.
local function asking(reading)
  if telling then return "" end
  local nearest, in_function
  for level = 3, math.huge do
    local info = getinfo(level, "f")
    if not info then return nearest or "", nil, in_function end
    local path = file_of[info.func]
    if path == nil then path = look_at(info.func) end
    if path and not (reading and READERS[path] or path == here) then
      if not nearest then nearest, in_function = path, not is_chunk[info.func] end
      if not M.is_suite(path) then return nearest, path, in_function end
    end
  end
end

-- ------------------------------------------------------------------ reading

local NO_MEMORY = 12 -- errno

-- io.open that reports lack of memory as an error, as elsewhere in Lua, not as an absent file.
local function open_told(path, mode)
  local file, message, code = open(path, mode)
  if code == NO_MEMORY then error("not enough memory to open " .. tostring(path), 0) end
  return file, message, code
end

local function read(path)
  local fault = regular.fault(path)
  if fault then return nil, fault end
  local file <close>, message = open_told(path, "rb")
  if not file then return nil, message end
  local text, wrong = file:read "a" -- nil for a folder
  if not text then return nil, path .. ": " .. wrong end
  return text
end

local function remember(path, kind, text, hash)
  local it = node(path)
  if kind == "experiment" then epoch, it.uses = epoch + 1, {} end
  -- A file that changed while in use is of no later run; code reloaded with an experiment may be.
  it.mixed = it.epoch == epoch and (it.text ~= text or it.data ~= hash)
  it.epoch = epoch
  if it.kind ~= "experiment" then it.kind = kind end
  it.text, it.data, it.hash = text, hash, hash
end

-- A chunk of a file's text; `kind` is "code" or "experiment".
local function compile(path, kind, ...)
  local at, name = M.absolute(path), "@" .. path
  local text, message = read(path)
  if not text then
    remember(at, "absent")
    return nil, "cannot open " .. message
  end
  remember(at, kind, text)
  absolute[name] = at
  return load((text:gsub("^\xEF\xBB\xBF", ""):gsub("^#[^\n]*", "")), name, "t", ...)
end

-- The current folder may provide modules, but neither replace a library of the suite's, which may
-- be in C, nor add to the suite: it is searched last (core/bind/host.c).
local HERE = "./?.lua;./?/init.lua"

local function find(name)
  local path, message = searchpath(name, package.path)
  if path or name:find "^flowmap%f[^%w_]" or searchpath(name, package.cpath) then
    return path, message
  end
  local beside, absent = searchpath(name, HERE)
  return beside, message .. "\n\t" .. (absent or "")
end

local function search(name)
  local path, message = find(name)
  if not path then return message end
  local chunk, wrong = compile(path, "code")
  if not chunk then
    if wrong:find "^cannot open " then require("flowmap.base.errors").data("%s", wrong) end
    error(("error loading module '%s' from file '%s':\n\t%s"):format(name, path, wrong), 0)
  end
  modules[name] = M.absolute(path)
  node(modules[name]).module = name
  return chunk, path
end

--- Load a module without making it an input of the caller, for listings.
-- @tparam string name
-- @return the module
function M.peek(name) return base_require("flowmap.base.modules").value(name, base_require) end

local function is_nowhere(name)
  return type(name) == "string" and package.loaded[name] == nil and package.preload[name] == nil
    and not find(name) and not searchpath(name, package.cpath)
end

-- A missing module: the message names the line of the caller, not the one here.
local function require_nowhere(name)
  local ok, value, where = pcall(base_require, name)
  if not ok and type(value) == "string" then
    value = value:gsub("^[^\n]-:%d+: ", ""):gsub("^[^\n]*", function(line)
      return line:gsub(":$", "") .. base_require("flowmap.base.modules").moved(name) .. ":"
    end)
  end
  if not ok then error(value, 3) end
  return value, where
end

-- A module that is missing is an input of a user's code, which may do without it.
local function note_nowhere(name, from, in_function)
  if from == "" or M.is_suite(from) or name:find "\n" then return end
  local it = node("module " .. name)
  it.kind, it.hash, it.module = "absent", "absent", name
  edge(from, "module " .. name, in_function)
end

local function recording_require(name)
  local from, _, in_function = asking()
  local nowhere = is_nowhere(name)
  if nowhere then note_nowhere(name, from, in_function) end
  local value, where = (nowhere and require_nowhere or base_require)(name)
  if modules[name] then
    edge(from, modules[name], in_function)
  elseif type(where) == "string" and not M.is_suite(from) and attributes(where, "mode") then
    M.note(where, from) -- a C library
  end
  return value, where
end

local function recording_loadfile(path, _, ...)
  if path == nil then return base_loadfile(nil, "t", ...) end
  local from = asking()
  local kind = from == SUITE .. "experiment/init.lua" and "experiment" or "code"
  local chunk, message = compile(path, kind, ...)
  edge(from, M.absolute(path))
  return chunk, message
end

local function recording_dofile(path)
  if path == nil then return assert(base_loadfile(nil, "t"))() end
  local from = asking()
  local chunk, message = compile(path, "code")
  edge(from, M.absolute(path))
  if not chunk then error(message, 0) end
  return chunk()
end

-- EINTR, EIO, ENOMEM, ENFILE, EMFILE: they tell nothing about whether a file is there. Others, such
-- as a folder that may not be entered, do: to this user the file is absent.
local PASSING = { [4] = true, [5] = true, [12] = true, [23] = true, [24] = true }

local function unread(why) require("flowmap.base.errors").data("cannot read %s", why) end

local function mode_of(path)
  local mode, why, errno = attributes(path, "mode")
  if PASSING[errno] then require("flowmap.base.errors").data("%s", why) end
  return mode
end

local function hash_of(path)
  local mode = mode_of(path)
  if mode == "file" then return sha256_file(path) end
  return not mode and "absent" or nil
end

--- Record that a file is read as data; an absent file is recorded as well.
-- @tparam string path
-- @tparam string from absolute path of the file whose code reads it
function M.note(path, from)
  local at = M.absolute(path)
  local hash = hash_of(at)
  if not hash then return end -- a folder, a pipe
  remember(at, hash == "absent" and hash or "data", nil, hash)
  edge(from, at)
end

-- Files that a user's code reads, directly or through the suite.
local function note_outside(path)
  if type(path) ~= "string" then return end
  local _, outside = asking(true)
  if outside then M.note(path, outside) end
end

-- Files that the suite's code reads itself are hashed when they turn out to be inputs.
local function note_any(path)
  if type(path) ~= "string" then return end
  local nearest, outside = asking(true)
  if outside then return M.note(path, outside) end
  if nearest == CHECKPOINTS then return end -- a run's own, and its teacher, an input by itself
  local it = node(M.absolute(path))
  it.kind = it.kind or "data"
  edge(nearest, M.absolute(path))
end

local function note_direct(path) -- the suite hashes files for ends of its own
  local nearest, outside = asking(true)
  if nearest == outside then note_outside(path) end
end

--- The functions that recorders replace: recorder -> function.
M.original = setmetatable({}, { __mode = "k" })

local function recorded(reader, note)
  local function recorder(path, ...)
    note(path)
    return reader(path, ...)
  end
  M.original[recorder] = reader
  return recorder
end

local function recording_open(path, mode)
  if mode == nil or mode:find "^r" then note_outside(path) end
  return open_told(path, mode)
end

-- ------------------------------------------------------------------ facts

local FACTS = {}

function FACTS.variable(name)
  local value = getenv(name)
  return value and core.sha256(value)
end

function FACTS.listing(path)
  if attributes(path, "mode") ~= "directory" then return nil end
  local names = list_names(path)
  table.sort(names)
  return core.sha256(table.concat(names, "\n"))
end

FACTS.exists = mode_of

function FACTS.size(path)
  if attributes(path, "mode") ~= "file" then return nil end
  return core.sha256(("%d"):format(attributes(path, "size")))
end

local function fact(id)
  local word, about = id:match "^(%w+) (.*)$"
  return FACTS[word] and FACTS[word](about) or "absent"
end

-- Facts that a user's code asks for, directly or through the suite.
local function note_fact(word)
  return function(about)
    if type(about) ~= "string" then return end
    local _, outside = asking(true)
    local at = word == "variable" and about or M.absolute(about)
    if not outside or M.is_suite(at) then return end -- of the suite, only code counts
    local id = word .. " " .. at
    remember(id, "fact", nil, fact(id))
    edge(outside, id)
  end
end

local note_exists, note_size = note_fact "exists", note_fact "size"

local function recording_attributes(path, ...)
  local sized = (...) ~= "mode" and attributes(path, "mode") == "file"; -- which is to exist, too
  (sized and note_size or note_exists)(path)
  return attributes(path, ...)
end

local told = {} -- sentences that the user has read

-- Tell that an experiment's code gets what no run records.
local function tell(does)
  local nearest, outside = asking(true)
  if not outside or nearest ~= outside or epoch == 0 then return end
  local sentence = ("note: %s %s, which is not recorded: if it changes, no run becomes outdated")
    :format(outside, does)
  if told[sentence] then return end
  told[sentence] = true
  base_require("flowmap.base.status").new(2):say(sentence)
end

local function telling_popen(command, mode)
  if type(command) == "string" and (mode == nil or mode == "r") then
    tell(("reads the output of '%s'"):format(base_require("flowmap.base.text").line(command, 60)))
  end
  return popen(command, mode)
end

local function telling_read(...)
  if io.input() == io.stdin then tell "reads the standard input" end
  return read_input(...)
end

local function replace(library, functions)
  for name, f in pairs(functions) do library[name] = f end
end

-- Install the recorders, once. Modules loaded before are this one and the one that loads it.
local function install()
  package.searchers[2] = search
  replace(_G, { require = recording_require, loadfile = recording_loadfile,
    dofile = recording_dofile })
  replace(io, { open = recording_open, lines = recorded(lines, note_outside),
    input = recorded(io.input, note_outside), popen = telling_popen, read = telling_read })
  replace(os, { getenv = recorded(getenv, note_fact "variable") })
  replace(lfs, { dir = recorded(lfs.dir, note_fact "listing"),
    attributes = recording_attributes,
    symlinkattributes = recorded(lfs.symlinkattributes, note_exists) })
  core.folder_names = recorded(list_names, note_fact "listing")
  for name, note in pairs { load_npy = note_any, load_safetensors = note_any,
    load_image = note_outside, pack_map = note_outside, pack_look = note_outside,
    source = note_outside, sha256_file = note_direct } do
    core[name] = core[name] and recorded(core[name], note)
  end
  for name, file in pairs { flowmap = "init.lua", ["flowmap.runs.source"] = "runs/source.lua" } do
    modules[name] = SUITE .. file
    remember(modules[name], "code", (read(modules[name])))
    node(modules[name]).module = name
  end
end

-- ------------------------------------------------------------------ closures and hashes

local known = {} -- kind and text -> hash

local function meaning(text, kind)
  local of, key = base_require "flowmap.runs.meaning", kind .. text
  known[key] = known[key] or (kind == "experiment" and of.of_experiment or of.of)(text)
  return known[key]
end

--- Hash of a file as it is now; code is hashed by its meaning.
-- @tparam string path absolute
-- @tparam string kind "code", "experiment", "data", "absent" or "fact"
-- @treturn string SHA-256 in hex, or "absent"
function M.today(path, kind)
  if kind == "fact" then return fact(path) end
  local is_code = kind == "code" or kind == "experiment"
  local text, why = nil, nil
  if is_code then text, why = read(path) end
  if text then return meaning(text, kind) end
  local hash = hash_of(path) or "absent"
  if is_code and hash ~= "absent" then unread(why) end -- another hash would say that it changed
  return hash
end

-- The hash of a file as it was loaded.
local function loaded(path, it)
  if it.mixed then return "changed while it was in use" end
  it.kind = it.kind or "code" -- read before the recorders were there
  it.hash = it.hash or it.text and meaning(it.text, it.kind) or M.today(path, it.kind)
  return it.hash
end

--- All files reachable from some.
-- @tparam {string,...} roots absolute paths
-- @tparam function skip of a path: whether the file is left out
-- @treturn table path -> { kind =, hash =, module = name or nil }
function M.closure(roots, skip)
  local out, todo = {}, table.move(roots, 1, #roots, 1, {})
  while #todo > 0 do
    local path = table.remove(todo)
    local it = node(path)
    local found_since = it.kind == "absent" and it.module and modules[it.module]
    if not (out[path] or found_since or skip(path)) then
      local hash = loaded(path, it)
      out[path] = { kind = it.kind, module = it.module, hash = hash }
      for to in pairs(it.uses) do todo[#todo + 1] = to end
    end
  end
  return out
end

--- The text of a file of Lua as it was loaded last.
-- @tparam string path
-- @treturn string
function M.text_of(path) return nodes[M.absolute(path)].text end

--- Where a module was loaded from, or would be.
-- @tparam string name
-- @treturn string absolute path, or nil
function M.path_of(name) return modules[name] or M.found(name) end

--- Where a module would be found now, even if it is loaded; otherwise where it was loaded from.
-- @tparam string name
-- @treturn string absolute path, or nil
function M.found(name)
  local path = find(name)
  return path and M.absolute(path) or modules[name]
end

--- Call a function whose reads are not inputs of its caller. (Files that a chunk reads while it is
-- loaded are recorded all the same: it is loaded only once.)
-- @tparam function f
-- @return what f returns first
function M.aside(f, ...)
  local before = aside
  aside = true
  local ok, result = pcall(f, ...)
  aside = before
  if not ok then error(result, 0) end
  return result
end

--- Call a function whenever a file is read that was not read before.
-- @tparam ?function f
function M.listen(f) heard = f end

install()

return M
