--- The code behind a checkpoint. A checkpoint is data: it names the code that it was trained with
-- and pins that code's hash, but nothing in it is ever loaded. Only a network of an experiment's
-- own needs code besides the suite's; it is taken from an experiment that the user names, provided
-- that this file and the files it loads are the code that the checkpoint pins.
-- @module flowmap.runs.pin

local errors = require "flowmap.base.errors"
local escape = require "flowmap.base.escape"
local files = require "flowmap.base.files"
local json = require "flowmap.base.json"
local lfs = require "lfs"
local regular = require "flowmap.base.regular"
local source = require "flowmap.runs.source"

local M = {}

-- A path for messages: below the current folder, or only the file's name. A checkpoint must not
-- depend on the folder in which it was made, nor tell whose it was. Names are escaped, since a path
-- need not be UTF-8.
local function named(path)
  local here = regular.here() .. "/"
  return escape.line(path:sub(1, #here) == here and path:sub(#here + 1) or path:match "[^/]*$")
end

-- Files from outside the suite that an experiment has loaded so far: { name =, hash =, path = as
-- the function `show` has it }.
local function loaded_by(path, show)
  local list = {}
  local closure = source.closure({ path }, source.is_suite)
  for at, found in pairs(closure) do
    if at ~= path and (found.kind == "code" or found.kind == "data") then
      list[#list + 1] = { name = escape.line(at:match "[^/]*$"), hash = found.hash,
        path = show(at) }
    end
  end
  table.sort(list, function(a, b)
    return a.name .. " " .. a.hash < b.name .. " " .. b.hash
  end)
  return list
end

--- The description of its code that a checkpoint holds.
-- @tparam table job see flowmap.job: experiment, cfg
-- @treturn string JSON
function M.text(job)
  local it, cfg = job.experiment, job.cfg
  local pinned = { own_net = it.nets ~= nil and it.nets[cfg.net] ~= nil }
  if it.path and lfs.attributes(it.path, "mode") == "file" then
    local path = source.absolute(it.path)
    pinned.experiment = { path = named(path), hash = source.today(path, "experiment"),
      loads = loaded_by(path, named) }
  end
  return json.encode(pinned)
end

local function are_text(it, ...)
  if type(it) ~= "table" then return false end
  for _, key in ipairs { ... } do
    if type(it[key]) ~= "string" then return false end
  end
  return true
end

--- Parse and check what a checkpoint pins.
-- @tparam string text
-- @treturn table { own_net =, experiment = { path =, hash =, loads = {...} } }, or nil if it is
--   malformed
function M.parse(text)
  local it = json.decode(text)
  if type(it) ~= "table" or type(it.own_net) ~= "boolean" then return nil end
  local of = it.experiment
  if of == nil then return { own_net = it.own_net } end
  if not are_text(of, "path", "hash") or type(of.loads) ~= "table" then return nil end
  for _, file in pairs(of.loads) do
    if not are_text(file, "name", "hash", "path") then return nil end
  end
  return { own_net = it.own_net, experiment = of }
end

-- A text from a file as messages show it: without control characters.
local function shown(text) return (text:gsub("[%c\x7f]", "?")) end

local function short(hash) return shown(hash):sub(1, 12) end

--- The experiment whose network a checkpoint needs.
-- @tparam table saved what flowmap.checkpoint.load returned
-- @tparam[opt] table code { path = the file that the user named, option = by what option,
--   experiment = or one that is loaded already }
-- @treturn table the experiment; none of its own code runs unless it is the pinned code
function M.experiment(saved, code)
  local pinned = saved.pinned.experiment
  if not pinned then
    errors.data("%s was trained with a network of an experiment's own, but does not pin its code",
      saved.path)
  end
  local path = code.path or code.experiment and code.experiment.path
  if not path then
    errors.usage("%s was trained with the network '%s' of the experiment %s (hash %s); a "
      .. "checkpoint never loads code, so name that file by %s", saved.path, saved.cfg.net,
      shown(pinned.path), short(pinned.hash), code.option)
  end
  if not files.exists(path) then errors.usage("there is no experiment '%s'", path) end
  local hash = source.today(source.absolute(path), "experiment")
  if hash ~= pinned.hash then
    errors.data("%s pins the code of the experiment %s, hash %s; %s has the hash %s: it has "
      .. "changed since the training, or is another one%s", saved.path, shown(pinned.path),
      short(pinned.hash), path, short(hash),
      code.path and "" or ("; %s names the right one"):format(code.option))
  end
  return code.path and require("flowmap.experiment").load(path) or code.experiment
end

--- Check that everything an experiment has loaded so far is pinned by the checkpoint.
-- @tparam table saved what flowmap.checkpoint.load returned
-- @tparam table experiment
function M.verify(saved, experiment)
  local pinned = {}
  for _, file in pairs(saved.pinned.experiment.loads) do
    pinned[file.name .. " " .. file.hash], pinned[file.name] = true, file
  end
  for _, file in ipairs(loaded_by(source.absolute(experiment.path), escape.line)) do
    local was = pinned[file.name]
    if not pinned[file.name .. " " .. file.hash] then
      errors.data("%s: %s, which %s loads, has the hash %s; pinned is %s", saved.path, file.path,
        experiment.path, short(file.hash), was and ("%s (%s)"):format(short(was.hash),
          shown(was.path)) or "no file of that name")
    end
  end
end

return M
