--- Files that describe a machine for `plan`: one JSON object.
-- @module flowmap.app.plan.machine

local errors = require "flowmap.base.errors"
local files = require "flowmap.base.files"
local json = require "flowmap.base.json"
local text = require "flowmap.base.text"

local M = {}

--- The keys: { name, what it is, default; nil: the key is required, false: it may be absent },
-- `whole`: a whole number, `zero`: it may be 0.
M.keys = {
  { "name", "a line of text" },
  { "cores", "cores of a node", whole = true },
  { "ranks", "ranks of a node; its cores are divided among them", 1, whole = true },
  { "gflops", "float32 multiply-adds of a core, two FLOP each, in GFLOP/s" },
  { "bf16_gflops", "the same of products in bfloat16", false },
  { "memory_gbs", "memory bandwidth of a node in GB/s" },
  { "latency_us", "from the start of a message to its arrival, in microseconds" },
  { "message_us", "microseconds for which a message occupies the link besides its bytes", 0,
    zero = true },
  { "bandwidth_gbits", "of a node's link, each way, in Gbit/s" },
  { "price", "of a node for an hour, in any currency", false, zero = true },
  { "share", "for each kind of step, the share of `gflops` that it reaches, above 1 for Winograd's "
    .. "convolutions, whose FLOPs are those of the direct method; `other`: of all kinds that are "
    .. "not listed" },
  { "moved_gbs", "for kinds of steps whose time grows with the bytes that they move, in GB/s of a "
    .. "core", {} },
}

-- Of every number but 0: within these limits all results are finite.
local LEAST, MOST, MOST_CORES = 1e-12, 1e12, 4096

-- A number of a machine file.
local function check_number(path, name, value, spec)
  local most = spec.whole and MOST_CORES or MOST
  local fine = type(value) == "number" and value <= most
    and (value >= LEAST or spec.zero and value == 0)
  if fine and spec.whole then fine = math.type(value) == "integer" end
  if not fine then
    errors.data("%s: %s is %s, expected a %snumber from %g to %g%s (%s)", path, name,
      type(value) == "table" and "a table" or text.line(tostring(value), 40),
      spec.whole and "whole " or "", spec.whole and 1 or LEAST, most, spec.zero and ", or 0" or "",
      spec[2])
  end
end

-- A table of numbers by kinds of steps.
local function check_kinds(path, name, value)
  if type(value) ~= "table" or value[1] ~= nil then
    errors.data("%s: %s is %s, expected an object of numbers", path, name,
      type(value) == "table" and "a list" or text.line(tostring(value), 40))
  end
  for kind, x in pairs(value) do check_number(path, name .. "." .. kind, x, { nil, "a rate" }) end
end

local function known_keys(path, it)
  local names = {}
  for k, spec in ipairs(M.keys) do names[k] = spec[1] end
  for name in pairs(it) do
    if type(name) ~= "string" then errors.data("%s is a list, expected an object", path) end
    local found = false
    for _, known in ipairs(names) do found = found or known == name end
    if not found then
      errors.data("%s: there is no key '%s'%s", path, text.line(name, 40), errors.near(name, names))
    end
  end
end

--- Check a machine and fill in its defaults.
-- @tparam table it as read from a file
-- @tparam string path for messages
-- @treturn table it
function M.checked(it, path)
  known_keys(path, it)
  for _, spec in ipairs(M.keys) do
    local name, default = spec[1], spec[3]
    if it[name] == nil then
      if default == nil then errors.data("%s: the key '%s' is missing: %s", path, name, spec[2]) end
      it[name] = default or nil
    elseif name == "name" then
      local fault = text.fault(it.name, 80)
      if fault then errors.data("%s: name %s", path, fault) end
    elseif name == "share" or name == "moved_gbs" then
      check_kinds(path, name, it[name])
    else
      check_number(path, name, it[name], spec)
    end
  end
  if not it.share.other then errors.data("%s: share has no 'other'", path) end
  if it.cores < it.ranks then
    errors.data("%s: %d ranks share %d cores, expected at least one core for each", path, it.ranks,
      it.cores)
  end
  return it
end

-- The first name that valid JSON gives to two fields of one object, or nil. Decoding keeps the last
-- of them.
local function repeated(object)
  local seen, at = {}, 1 -- a set of names for each object or list that is open
  while true do
    at = object:find('["{}%[%]]', at)
    local mark = object:match("^.", at or #object + 1)
    if mark == nil then return nil end
    local past = at + 1
    if mark == '"' then
      repeat
        past = object:find('["\\]', past)
        local ends = object:sub(past, past) == '"'
        past = past + (ends and 1 or 2)
      until ends
      local name = object:find("^%s*:", past) and object:sub(at + 1, past - 2)
      if name and seen[#seen][name] then return name end
      if name then seen[#seen][name] = true end
    else
      seen[mark:find "[{%[]" and #seen + 1 or #seen] = mark:find "[{%[]" and {} or nil
    end
    at = past
  end
end

--- Read a machine.
-- @tparam string path
-- @treturn table
function M.read(path)
  if not files.exists(path) then errors.usage("there is no machine file %s", path) end
  local contents, why = files.read(path)
  if not contents then errors.data("cannot read %s", why) end
  local it, message = json.decode(contents)
  if type(it) ~= "table" then
    errors.data("%s is not a JSON object%s", path, message and ": " .. message or "")
  end
  local twice = repeated(contents)
  if twice then errors.data("%s: the key '%s' is given twice", path, text.line(twice, 40)) end
  return M.checked(it, path)
end

--- The seconds that a step takes on one core.
-- @tparam table machine
-- @tparam table cost { kind =, flops =, bytes =, bf16 =, double = } of one execution
-- @tparam integer active cores of the node that share its memory bandwidth
-- @treturn number
function M.seconds(machine, cost, active)
  local peak = (cost.bf16 and machine.bf16_gflops or machine.gflops) * 1e9
  if cost.double then peak = peak / 2 end
  local moved = machine.moved_gbs[cost.kind]
  if cost.flops == 0 and not moved then return cost.bytes * active / (machine.memory_gbs * 1e9) end
  local share = machine.share[cost.kind] or machine.share.other
  return cost.flops / (share * peak) + (moved and cost.bytes / (moved * 1e9) or 0)
end

return M
