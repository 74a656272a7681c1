--- The inputs of a finished run, and whether its result is still current.
--
-- The inputs of a run are its settings, compared exactly, the numerics (see flowmap.runs.numerics
-- and flowmap.runs.fingerprint), and every file that was loaded for it, recorded by
-- flowmap.runs.source: modules of the suite and of others, the experiment, and the files that these
-- read. Code is compared by its meaning, without comments and layout. A decision about a run
-- compares the recorded inputs with the same files as they are now, so no dependency has to be
-- declared. Every loaded file counts, except the modules of NO_NUMBERS.
-- @module flowmap.runs.cache

local fm = require "flowmap"
local data = require "flowmap.data"
local errors = require "flowmap.base.errors"
local files = require "flowmap.base.files"
local fingerprint = require "flowmap.runs.fingerprint"
local folder = require "flowmap.runs.folder"
local json = require "flowmap.base.json"
local numerics = require "flowmap.runs.numerics"
local places = require "flowmap.data.packed.places"
local record = require "flowmap.runs.record"
local settings = require "flowmap.experiment.settings"
local source = require "flowmap.runs.source"
local tree = require "flowmap.tree"

local M = {}

-- Settings that cannot change a result: when to save, and how much.
local IGNORED = { save_every = true, audit_bytes = true, shard = true }

--- Folders whose modules make no numbers: they find and keep files, check and resolve settings
-- (which are compared themselves), report errors and progress. Their sources are no run's inputs.
M.NO_NUMBERS = { base = true, experiment = true, runs = true, report = true, app = true }

-- Exceptions: these write the digits of metrics.jsonl and eval.json, and fm.show displays programs.
local WRITES_NUMBERS = { ["base/json.lua"] = true, ["base/text.lua"] = true,
  ["runs/journal.lua"] = true }
local DISPLAYS = { ["show.lua"] = true }

local function makes_no_numbers(path)
  local name = source.is_suite(path) and path:sub(#source.folder + 1)
  if not name or WRITES_NUMBERS[name] then return false end
  return M.NO_NUMBERS[name:match "^(%w+)/"] or DISPLAYS[name] or false
end

--- Whether a setting can change a result.
-- @tparam string key
-- @treturn boolean
function M.counts(key) return not IGNORED[key] end

-- ------------------------------------------------------------------ inputs known before a run

local KEYS = { module = true, file = true, suite = true, experiment = true, variable = true,
  listing = true, exists = true, size = true }

-- Whether an input is a file or an environment variable, which each decision looks up again.
local function is_looked_up(key) return KEYS[key:match "^%w+"] end

--- The inputs of a run that are known before it, name -> text. Those that it loads are added by
-- `record`.
-- @tparam table it an experiment
-- @tparam table cfg resolved settings
-- @tparam[opt] table known what other calls found out, for many runs at one time
-- @treturn table
function M.inputs(it, cfg, known)
  known = known or {}
  local probed = ("training %s %s"):format(cfg.method, cfg.net)
  known.numerics = known.numerics or numerics.text()
  known[probed] = known[probed] or fingerprint.training(cfg)
  local inputs = { fingerprint = known.numerics, training = known[probed] }
  for key, value in pairs(cfg) do
    if not IGNORED[key] then inputs["setting " .. key] = settings.text(value) end
  end
  for _, key in ipairs { "teacher", "start" } do
    local named = cfg[key] ~= "" and cfg[key] ~= "teacher"
    if named then inputs[key] = fm.sha256(files.read_if_there(cfg[key]) or "") end
  end
  local set = data.reduced(data.find(cfg.data, it.data, cfg), cfg.resolution)
  inputs[set.points and "points" or "images"] = set.hash
  return setmetatable(inputs, { experiment = it, cfg = cfg })
end

--- Identify a set of inputs.
-- @tparam table inputs
-- @treturn string SHA-256 in hex
function M.hash(inputs)
  return fm.sha256(json.encode(inputs))
end

-- ------------------------------------------------------------------ files that a run loads

-- The files that define the functions of an experiment, whichever code loaded them.
local function add_functions(value, roots, seen)
  if type(value) == "function" then
    local of = debug.getinfo(value, "S").source
    if of:sub(1, 1) == "@" then roots[#roots + 1] = source.absolute(of:sub(2)) end
  elseif type(value) == "table" and not seen[value] then
    seen[value] = true
    for key, x in next, value do
      if key ~= "render" and key ~= "figures" then add_functions(x, roots, seen) end
    end
  end
end

local function roots_of(it, cfg)
  local roots = { source.path_of "flowmap.trainer", source.path_of "flowmap.measure.evaluate" }
  for _, path in ipairs { it.path or "", cfg.teacher_experiment } do
    if path ~= "" and files.exists(path) then roots[#roots + 1] = source.absolute(path) end
  end
  add_functions(it, roots, {})
  return roots
end

-- The folder of an experiment, with a trailing slash; names of files are relative to it.
local function home_of(it)
  return it.path and source.absolute(it.path):match "^(.*/)" or ""
end

local function name_of(path, found, it)
  if it.path and path == source.absolute(it.path) then return "experiment" end
  if found.module then return "module " .. found.module end
  if source.is_suite(path) then return "suite " .. path:sub(#source.folder + 1) end
  local word, about = "file", path
  if found.kind == "fact" then word, about = path:match "^(%w+) (.*)$" end
  local home = home_of(it)
  local inside = home ~= "" and about:sub(1, #home) == home and #about > #home
  return word .. " " .. (inside and about:sub(#home + 1) or about)
end

-- The path and the kind of an input.
local function place_of(key, value, it)
  local kind, word, name = value:match "^%w+", key:match "^(%w+) ?(.*)$"
  if word == "experiment" then
    return it.path and source.absolute(it.path) or "", kind
  elseif word == "module" then
    return source.found(name) or "", kind
  elseif word == "suite" then
    return source.folder .. name, kind
  elseif word == "variable" then
    return key, kind
  end
  local path = name:sub(1, 1) == "/" and name or home_of(it) .. name
  return kind == "fact" and word .. " " .. path or path, kind
end

--- Add the files that a run has loaded so far.
-- @tparam table inputs see `inputs`, changed in place
-- @tparam string dir what the run makes, which is not an input
-- @tparam[opt] {string,...} also further files that the run loads
function M.add_loaded(inputs, dir, also)
  local of = getmetatable(inputs)
  local roots = roots_of(of.experiment, of.cfg)
  table.move(also or {}, 1, #(also or {}), #roots + 1, roots)
  local outputs = { source.absolute(dir) .. "/" }
  local known, kept = pcall(places.cache) -- files that can be made again, if kept
  if known then outputs[2] = source.absolute(kept) .. "/" end
  local closure = source.closure(roots, function(path)
    for _, folder_of_outputs in ipairs(outputs) do
      if path:sub(1, #folder_of_outputs) == folder_of_outputs then return true end
    end
    return makes_no_numbers(path)
  end)
  for path, found in pairs(closure) do
    inputs[name_of(path, found, of.experiment)] = found.kind .. " " .. found.hash
  end
end

-- ------------------------------------------------------------------ decisions

-- "the numerics changed: instruction set avx512 -> avx2"
local function numerics_changed(was, now)
  local words = {}
  local a, b = numerics.parts(was), numerics.parts(now)
  for _, field in ipairs { { "isa", "instruction set" }, { "blas", "BLAS kernel" } } do
    local key, name = table.unpack(field)
    if a[key] ~= b[key] then
      words[#words + 1] = ("%s %s -> %s"):format(name, a[key], b[key])
    end
  end
  return "the numerics changed: " .. (#words > 0 and table.concat(words, ", ")
    or "another program or library gives other bits")
end

-- The difference of one input in words.
local function difference(key, was, now)
  local kind, name = key:match "^(%w+) (.*)$"
  if kind == "setting" and was and now then
    return ("%s changed from %s to %s"):format(name, was == "" and "none" or was,
      now == "" and "none" or now)
  elseif key == "fingerprint" and was and now then
    return numerics_changed(was, now)
  elseif key == "training" and was and now then
    return "trial steps of its method give other bits: the suite changed where no file of the run "
      .. "shows it"
  elseif was and now and not now:find "absent$" then
    return ("%s %s"):format(name or key, was:find "absent$" and "is new" or "changed")
  end
  return ("%s is %s"):format(name or key, was and "gone" or "new")
end

-- Whether a difference of the training's bits is explained by other differences.
local function is_said(key, was, now)
  if key == "training" and was.fingerprint ~= now.fingerprint then return true end
  for other in pairs(key == "training" and was or {}) do
    if other:find "^module flowmap" and was[other] ~= now[other] then return true end
  end
end

--- Differences between two sets of inputs, as parts of a sentence.
-- @tparam table was
-- @tparam table now
-- @treturn {string,...}
function M.differences(was, now)
  local changed, out = {}, {}
  for _, inputs in ipairs { was, now } do
    for key in pairs(inputs) do changed[key] = was[key] ~= now[key] or nil end
  end
  for _, key in ipairs(tree.keys(changed)) do
    if not is_said(key, was, now) then
      out[#out + 1] = difference(key, was[key], now[key])
    end
  end
  return out
end

-- A recorded input as it is now.
local function looked_up(key, value, it)
  local path, kind = place_of(key, value, it)
  local now = kind .. " " .. source.today(path, kind)
  return value == "absent absent" and now:find "absent$" and value or now
end

--- The inputs of a recorded run as they are now.
-- @tparam table was what it recorded
-- @tparam table inputs what is known beforehand, see `inputs`
-- @tparam[opt] table known what other calls found out about files, for many runs at one time
-- @treturn table
function M.today(was, inputs, known)
  known = known or {}
  local of, now = getmetatable(inputs), {}
  for key, value in pairs(inputs) do
    if not is_looked_up(key) then now[key] = value end
  end
  known[of.experiment] = known[of.experiment] or {}
  for key, value in pairs(was) do
    if is_looked_up(key) then
      local found = known[of.experiment][key] or {}
      found[value] = found[value] or looked_up(key, value, of.experiment)
      now[key], known[of.experiment][key] = found[value], found
    end
  end
  return now
end

local function sentence(changes)
  local more = #changes > 3 and (" and %d more"):format(#changes - 3) or ""
  return table.concat(changes, "; ", 1, math.min(3, #changes)) .. more
end

--- Differences between the inputs of a recorded run and the inputs as they are now.
-- @tparam table was what it recorded
-- @tparam table inputs see `inputs`
-- @tparam[opt] table known see `today`
-- @treturn {string,...} parts of a sentence
function M.changes(was, inputs, known)
  return M.differences(was, M.today(was, inputs, known))
end

--- Differences between the inputs of a finished run and the inputs as they are now. What was
-- accepted for it counts in place of its own inputs, unless these are the same again.
-- @tparam table own inputs that it recorded
-- @tparam ?table accepted those accepted in their place
-- @tparam table inputs see `inputs`
-- @tparam[opt] table known see `today`
-- @treturn {string,...} parts of a sentence
-- @treturn boolean whether the run counts as made from what was accepted
function M.changes_since(own, accepted, inputs, known)
  local changes = M.changes(accepted or own, inputs, known)
  if accepted and #changes > 0 and #M.changes(own, inputs, known) == 0 then return {}, false end
  return changes, accepted ~= nil
end

--- The inputs that a run without a result counts as made from so far: its own, or what was accepted
-- in their place.
-- @tparam string dir
-- @tparam table was its own
-- @treturn table
function M.unfinished(dir, was)
  local accepted = record.read(dir, "accepted")
  return accepted and accepted.run == M.hash(was) and accepted.inputs or was
end

-- Decide about an interrupted run. It may continue with other numerics, but says so.
local function interrupted(dir, was, inputs)
  was = M.unfinished(dir, was)
  local now = M.today(was, inputs)
  local other = was.fingerprint ~= now.fingerprint
    and "; " .. numerics_changed(was.fingerprint or "", now.fingerprint) or ""
  now.fingerprint, now.training = was.fingerprint, was.training
  local changes = M.differences(was, now)
  if #changes > 0 then return "run", sentence(changes) end
  if files.exists(dir .. "/checkpoint.safetensors") then
    return "resume", "it was interrupted" .. other
  end
  return "run", "it was interrupted before its first checkpoint", true
end

--- The inputs that a finished run counts as made from: its own, or what was accepted in their
-- place (see flowmap.runs.accept); an error if a file of the run is not what it was at its end.
-- @tparam string dir
-- @tparam table ended its manifest, or the record of its divergence
-- @treturn table
-- @treturn boolean whether they were accepted
function M.recorded(dir, ended)
  local was = record.need(dir, "inputs")
  if ended.inputs_hash and ended.inputs_hash ~= M.hash(was) then
    errors.data("%s: manifest.json and inputs.json are of two runs (their hashes differ)", dir)
  end
  record.verify(dir, ended.files)
  local accepted = record.read(dir, "accepted")
  if accepted and accepted.run ~= M.hash(was) then
    errors.data("%s: accepted.json is of another run than manifest.json", dir)
  end
  return accepted and accepted.inputs or was, accepted ~= nil
end

--- Decide what to do with a run.
-- @tparam string dir its folder
-- @tparam table inputs see `inputs`
-- @tparam[opt] table known see `today`
-- @treturn string "reuse", "resume", "run", or "diverged": it would end the same way again
-- @treturn string why, for people
-- @treturn ?boolean whether the folder holds nothing but the beginning of this very run, before its
--   first checkpoint, so that the run may overwrite it
function M.decide(dir, inputs, known)
  local was = folder.is_run(dir) and record.read(dir, "inputs")
  if not was then
    if record.read(dir, "manifest") then errors.data("%s has lost its inputs.json", dir) end
    return "run", "there is no result yet"
  elseif was.version then
    return "run", "it was recorded by an earlier version, which did not record all of its inputs"
  end
  local manifest, diverged = record.read(dir, "manifest"), record.read(dir, "diverged")
  if not (manifest or diverged) then return interrupted(dir, was, inputs) end
  local counts, accepted = M.recorded(dir, manifest or diverged)
  local changes
  changes, accepted = M.changes_since(was, accepted and counts or nil, inputs, known)
  if #changes > 0 then return "run", sentence(changes) end
  if diverged and not manifest then return "diverged", diverged.message end
  return "reuse", "nothing changed since " .. manifest.finished
    .. (accepted and " but what was accepted" or "")
end

-- ------------------------------------------------------------------ recording

-- Transfer a declaration made while a run was interrupted to the run that continues.
local function keep_accepted(dir, inputs, hash)
  local accepted = record.read(dir, "accepted")
  if not accepted then return end
  accepted.run, accepted.inputs = hash, inputs
  record.write(dir, "accepted", accepted)
end

--- Record the inputs of a run, now and whenever it loads another file, until the returned value is
-- closed.
-- @tparam string dir
-- @tparam table inputs see `inputs`; what the run loads is added to it
-- @tparam[opt] boolean resumed files loaded before the interruption count as well
-- @treturn table to be closed at the run's end: local recording <close> = ...
function M.record(dir, inputs, resumed)
  for key, value in pairs(resumed and M.unfinished(dir, record.need(dir, "inputs")) or {}) do
    if is_looked_up(key) then inputs[key] = value end
  end
  local written, busy
  local function write()
    if busy then return end
    busy = true
    M.add_loaded(inputs, dir)
    local hash = M.hash(inputs)
    if hash ~= written then
      record.write(dir, "inputs", inputs)
      keep_accepted(dir, inputs, hash)
    end
    written, busy = hash, false
  end
  write()
  source.listen(write)
  return setmetatable({}, { __close = function() source.listen(nil) end })
end

return M
