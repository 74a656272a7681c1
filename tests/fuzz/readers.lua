--- The readers in Lua, for the fuzzer (lua.c). Each takes bytes, or refuses them: by an error with
-- a code and a sentence, or by nil and a message. An error of Lua's own is a fault.
-- @module readers

local MOST = 64 -- choices of a round of the target `calls` that the bytes make, at most

-- ------------------------------------------------------------------ verdicts

local CODES = { usage = true, data = true, numeric = true, memory = true }

-- Call a reader; nil if it refused, by a sentence.
local function read(reader, ...)
  local found = table.pack(pcall(reader, ...))
  if found[1] then return table.unpack(found, 2, found.n) end
  local err = found[2]
  if type(err) == "string" and err:find "not enough memory" then return nil end
  if type(err) ~= "table" or not CODES[err.code] then error("no sentence: " .. tostring(err), 0) end
  if #err.message < 10 or err.message:find "[%c\127]" then
    error(("a bad sentence: %q"):format(err.message), 0)
  end
end

-- ------------------------------------------------------------------ readers: name -> maker

local readers = {}

function readers.json()
  local json = require "flowmap.base.json"
  return function(bytes)
    local value, why = json.decode(bytes)
    if value == nil then return end
    local ok, text = pcall(json.encode, value)
    if not ok then return end -- nested too deep, names beside places, or a number beyond 2^53
    local again = json.decode(text)
    if again == nil or json.encode(again) ~= text then
      error(("written and read again, another value: %q %s"):format(text, why or ""), 0)
    end
  end
end

function readers.jsonl()
  local record = require "flowmap.runs.record"
  return function(bytes)
    for _, kind in ipairs { "metrics", "history", "chain" } do
      read(record.lines, kind, bytes, "it")
    end
  end
end

-- The records of a run: the bytes as the body of one whose checksum is right, and as they are.
function readers.record()
  local core = require "flowmap.core"
  local record, schema = require "flowmap.runs.record", require "flowmap.runs.schema"
  local kinds = { "config", "inputs", "eval", "manifest", "diverged", "accepted", "state" }
  return function(bytes)
    read(record.unseal, bytes, "it")
    local sealed = ('%s,\n  "sha256": "%s"\n}\n'):format(bytes, core.sha256(bytes))
    local value = read(record.unseal, sealed, "it")
    if not value then return end
    for _, kind in ipairs(kinds) do read(schema.check, kind, value, "it") end
  end
end

function readers.settings()
  local settings = require "flowmap.experiment.settings"
  return function(bytes)
    local key, text = bytes:match "^([^=]*)=(.*)$"
    if not key then return end
    local value = read(settings.check, key, settings.parse(text), "it")
    if value == nil then return end
    local again = read(settings.check, key, settings.parse(settings.text(value)), "it")
    if settings.text(again) ~= settings.text(value) then
      error(("%s = %q is read as something else"):format(key, settings.text(value)), 0)
    end
  end
end

-- A checkpoint whose file is whole, but says anything: settings, options, pinned code, state.
function readers.checkpoint()
  local checkpoint, fm = require "flowmap.checkpoint", require "flowmap"
  local meta
  fm.load_safetensors = function() return { ["params.a"] = fm.ones { 2 } }, meta end
  return function(bytes)
    local field = { "config", "options", "code", "state", "step" }
    local which, rest = bytes:byte(1) or 0, bytes:sub(2)
    meta = { format = "flowmap 1", config = '{"net":"mlp"}', step = "3" }
    meta[field[which % #field + 1]] = rest
    read(checkpoint.load, "it")
  end
end

-- The description in the header of packed images.
function readers.header()
  local header = require "flowmap.data.packed.header"
  return function(bytes) read(header.decode, "it", bytes:sub(2), bytes:byte(1) or 0) end
end

-- Tables of points.
function readers.csv()
  local load_csv = require "flowmap.load_csv"
  return function(_, path) read(load_csv, path) end
end

function readers.npyfile()
  local npy = require "flowmap.npy"
  return function(_, path) read(npy.load, path) end
end

-- Requests to `serve`.
function readers.http()
  local http = require "flowmap.app.live.http"
  return function(bytes)
    local status, path = http.parse(bytes, 8000)
    if type(status) ~= "number" or type(path) ~= "string" then
      error(("an answer %s, %s"):format(tostring(status), tostring(path)), 0)
    end
  end
end

-- The command line, one argument in each line.
function readers.arguments()
  local state = {} -- receives the text of --help and --version, which end the parsing
  local parser = require("flowmap.app.cli").parser(state)
  return function(bytes)
    local argv = {}
    for word in (bytes .. "\n"):gmatch "([^\n\0]*)[\n\0]" do argv[#argv + 1] = word end
    state.print = nil
    local fine, why = pcall(parser.pparse, parser, argv)
    if not fine and not state.print then error(why, 0) end
  end
end

-- Calls of the binding. Four bytes are one choice; after the last, choices follow from it.
function readers.calls(root)
  local bytes, at, state = "", 1, 0
  local function draw()
    if at + 3 <= #bytes and at < 4 * MOST then
      state = string.unpack("<I4", bytes, at)
      at = at + 4
    else
      state = (state * 1664525 + 1013904223) % (1 << 32)
    end
    return state
  end
  local one_round = assert(loadfile(root .. "/tests/fuzz/calls.lua"))(draw)
  local count = 0
  return function(given)
    bytes, at, state = given, 1, #given
    one_round()
    count = count + 1
    if count % 64 == 0 then collectgarbage() end
  end
end

return function(name, root)
  if not readers[name] then error("there is no target " .. name, 0) end
  require "flowmap"
  return readers[name](root)
end
