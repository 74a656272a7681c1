--- The fields of each record of a run: their types and ranges, declared once and checked when a
-- record is written and when it is read (see flowmap.runs.record).
-- @module flowmap.runs.schema

local errors = require "flowmap.base.errors"
local texts = require "flowmap.base.text"
local tree = require "flowmap.tree"

local M = {}

-- ------------------------------------------------------------------ kinds of values

-- A check is called with a value. It returns nothing if the value is valid, otherwise the
-- expectation in words and the path of the field inside the value, outermost name first.

local function text(v) return type(v) ~= "string" and "text" or nil end

local function number(v) return (type(v) ~= "number" or v - v ~= 0) and "a finite number" or nil end

local function whole(low)
  return function(v)
    return not (math.type(v) == "integer" and v >= low)
      and ("a whole number of at least %d"):format(low) or nil
  end
end

local function within(low, high)
  return function(v)
    return (number(v) or v < low or v > high) and ("a number from %g to %g"):format(low, high)
      or nil
  end
end

local function like(pattern, words)
  return function(v) return not (type(v) == "string" and v:find(pattern)) and words or nil end
end

local at_least_0 = within(0, math.huge)
local hash = like("^" .. ("%x"):rep(64) .. "$", "a SHA-256 in hex")
local id = like("^" .. ("%x"):rep(12) .. "$", "12 hex digits")
local time = like("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%dZ$", "a time such as 2025-01-31T12:00:00Z")

local function one_of(...)
  local checks = { ... }
  return function(v)
    for _, check in ipairs(checks) do
      if not check(v) then return nil end
    end
    local words = {}
    for i, check in ipairs(checks) do words[i] = check(v) end
    return table.concat(words, " or ")
  end
end

local function inner(check, value, name)
  local expected, path = check(value)
  if expected then return expected, path and name .. "." .. path or name end
end

local function list(check, least)
  return function(v)
    if type(v) ~= "table" or #v < (least or 0) then
      return ("a list of at least %d"):format(least or 0)
    end
    local count = 0
    for i, x in pairs(v) do
      if math.type(i) ~= "integer" then return "a list" end
      local expected, path = inner(check, x, tostring(i))
      if expected then return expected, path end
      count = count + 1
    end
    return count ~= #v and "a list without gaps" or nil
  end
end

local function map(check)
  return function(v)
    if type(v) ~= "table" then return "an object" end
    for name, x in pairs(v) do
      if type(name) ~= "string" then return "an object" end
      local expected, path = inner(check, x, name)
      if expected then return expected, path end
    end
  end
end

-- An object with these fields; "name?" may be absent. `rest` checks others; nil: none allowed.
local function object(fields, rest)
  local known = {}
  for name, check in pairs(fields) do
    known[name:gsub("%?$", "")] = { check = check, optional = name:find "%?$" ~= nil }
  end
  local names = tree.keys(known)
  local function field(v, name)
    if type(name) ~= "string" then return "an object" end
    local check = known[name] and known[name].check or rest
    if not check then return "no such field", name end
    return inner(check, v[name], name)
  end
  return function(v)
    if type(v) ~= "table" then return "an object" end
    for _, name in ipairs(names) do
      local it = known[name]
      if v[name] == nil and not it.optional then return it.check(nil) or "a value", name end
    end
    for any in pairs(v) do
      if field(v, any) then -- of several faults the first by name
        for _, name in ipairs(tree.keys(v)) do
          local expected, path = field(v, name)
          if expected then return expected, path end
        end
      end
    end
  end
end

local function boolean(v) return type(v) ~= "boolean" and "true or false" or nil end

local scalar = one_of(text, number, boolean)

-- ------------------------------------------------------------------ the records

local row = object({ N = whole(1), samples = whole(1), ["about?"] = map(text) }, number)

-- A run of a published set.
local published = object { name = text, id = id, method = text, seed = whole(0),
  ["diverged?"] = whole(1) }

-- { field, head, format }: the format is used, so it must take exactly one number.
local function column(v)
  local expected, path = list(text, 3)(v)
  if expected then return expected, path end
  if #v ~= 3 then return "a field, a head and a format" end
  return inner(like("^%%%.?%d*[efgd]$", "a format of one number, such as %.4f"), v[3], "3")
end

local segment = { step = whole(0), time = time, revision = text, version = text, isa = text,
  blas = text, threads = whole(1), ["bfloat16?"] = text, ["fingerprint?"] = text }

-- Losses found by `make soak`, and the sums of its sessions.
local loss = { part = text, point = text, what = text, revision = text, date = text,
  ["mended?"] = text }
local session = { points = whole(0), seed = whole(0), seconds = at_least_0, revision = text,
  date = text }

-- And the terms of the step by name.
local sums = object({ norm = number, count = whole(0), ["lr?"] = number }, number)

local side = object { inputs = hash, fingerprint = text }

--- The checks of all records.
M.kinds = {
  config = object({ experiment = text, profile = text, method = text, seed = whole(0),
    ["steps?"] = whole(1), ["batch?"] = whole(1) }, one_of(scalar, list(scalar))),
  inputs = map(text),
  eval = object({ rule = text, ema = within(0, 1), columns = list(column, 1), rows = list(row, 1),
    ["checkpoints?"] = list(object { step = whole(1), rows = list(row, 1) }) }, scalar),
  manifest = object { experiment = text, profile = text, method = text, seed = whole(0),
    steps = whole(1), samples_seen = whole(1), wall_s = at_least_0, ["cpu_s?"] = at_least_0,
    revision = text, version = text, isa = text, blas = text, precision = text,
    ["bfloat16?"] = text, threads = whole(1), params = whole(1), inputs_hash = hash,
    checkpoint_rule = text, ema = within(0, 1), started = time, finished = time,
    peak_bytes = whole(0), ["fingerprint?"] = text,
    dataset = object { name = text, title = text, size = whole(0), hash = text,
      ["count?"] = whole(1) },
    id = id, files = map(hash),
    history = list(object(segment), 1) },
  diverged = object { step = whole(1), message = text, files = map(hash) },
  -- changes declared not to matter, see flowmap.runs.accept; `run` is the manifest's inputs_hash
  accepted = object { run = hash, inputs = map(text), entries = list(object { time = time,
    why = text, changes = list(text, 1), was = side, now = side }, 1) },
  -- a published set: where its files come from
  set = object { profile = text, experiment = text, published = time, renderer = text,
    revision = text, version = text, isa = text, blas = text, ["fingerprint?"] = text,
    runs = list(published, 1), ["stages?"] = list(published),
    files = map(object { sha256 = hash, runs = list(id, 1) }) },
  soak = object { losses = list(object(loss)), parts = map(list(object(session), 1)) },
  -- lines
  verified = object { id = id, run = text, revision = text, changed = map(text),
    gone = list(text) },
  metrics = object({ step = whole(1), samples = whole(1), lr = number, loss = number,
    grad_norm = number }, number),
  chain = object { step = whole(1), state = hash, link = hash },
  history = one_of(object(segment), object { step = whole(0), wall_s = at_least_0,
    ["cpu_s?"] = at_least_0 }),
  -- the part of a checkpoint's metadata that continues a run
  state = object { sums = sums, metrics = hash, ["chain?"] = hash },
}

local function shown(v)
  if type(v) == "string" then return ("%q"):format(v:sub(1, 40)):gsub("\n", "n") end
  return type(v) == "table" and "a table" or tostring(v)
end

local function follow(value, path)
  for name in path:gmatch "[^.]+" do
    if type(value) ~= "table" then return nil end
    value = value[name] == nil and value[tonumber(name)] or value[name]
  end
  return value
end

--- Check a record.
-- @tparam string kind a key of `kinds`
-- @param value
-- @tparam string where the file, and perhaps its line, for the sentence
-- @return value
function M.check(kind, value, where)
  local expected, path = M.kinds[kind](value)
  if not expected then return value end
  if not path then
    errors.data("%s: expected %s, found %s", where, expected, shown(value))
  end
  local found = follow(value, path)
  errors.data("%s: the field %s is %s, expected %s", where, texts.line(path, 100),
    found == nil and "missing" or shown(found), expected)
end

return M
