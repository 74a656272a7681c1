--- JSON with sorted keys and shortest exact numbers: equal values give equal bytes, which the
-- cache compares and which keeps diffs of committed results small. A value that JSON cannot hold
-- exactly (NaN, infinity, whole numbers beyond 2^53, functions, tables that are neither a list nor
-- an object) raises an error that names the field. Decoding uses lua-cjson.
-- @module flowmap.base.json

local errors = require "flowmap.base.errors"
local files = require "flowmap.base.files"

local M = {}

local EXACT = 2^53 -- a double holds every whole number up to here
local DEEPEST = 100

local escapes = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\t"] = "\\t", ["\r"] = "\\r" }

local function quote(s)
  return '"' .. s:gsub('[%c"\\]', function(c)
    return escapes[c] or ("\\u%04x"):format(c:byte())
  end) .. '"'
end

local function refuse(code, at, found)
  local where = #at > 0 and "the field " .. table.concat(at, ".") or "the value"
  errors.raise(code, "%s is %s, which JSON cannot hold", where, found)
end

-- The decimal point is a dot in every locale.
local function number(x, at)
  if math.type(x) == "integer" then
    if x > EXACT or x < -EXACT then refuse("usage", at, x .. ", beyond 2^53") end
    return tostring(x)
  end
  if x - x ~= 0 then refuse("numeric", at, ("%s, not a finite number"):format(x)) end
  local short = ("%.15g"):format(x)
  if tonumber(short) ~= x then short = ("%.17g"):format(x) end
  return (short:gsub("[^%d+e-]", "."))
end

local encode

local function array(t, inner, at)
  local parts, count = {}, 0
  for _ in pairs(t) do count = count + 1 end
  if count ~= #t then refuse("usage", at, "a list with gaps or names") end
  for i, v in ipairs(t) do
    at[#at + 1] = i
    parts[i] = encode(v, inner, at)
    at[#at] = nil
  end
  return "[" .. table.concat(parts, ", ") .. "]"
end

local function object(t, indent, inner, at)
  local keys, parts = {}, {}
  for k in pairs(t) do
    if type(k) ~= "string" then refuse("usage", at, "a table with the key " .. tostring(k)) end
    keys[#keys + 1] = k
  end
  table.sort(keys)
  for i, k in ipairs(keys) do
    at[#at + 1] = k
    parts[i] = quote(k) .. ": " .. encode(t[k], inner, at)
    at[#at] = nil
  end
  if not indent then return "{" .. table.concat(parts, ", ") .. "}" end
  local open, close = "\n" .. inner, "\n" .. indent
  return "{" .. open .. table.concat(parts, "," .. open) .. close .. "}"
end

function encode(value, indent, at)
  local kind = type(value)
  if kind == "table" then
    if #at > DEEPEST then errors.usage("a table is nested more than %d deep", DEEPEST) end
    local inner = indent and indent .. "  "
    if value[1] ~= nil or next(value) == nil then return array(value, inner, at) end
    return object(value, indent, inner, at)
  elseif kind == "number" then
    return number(value, at)
  elseif kind == "string" then
    return quote(value)
  elseif kind == "boolean" or kind == "nil" then
    return value == nil and "null" or tostring(value)
  end
  return refuse("usage", at, "a " .. kind)
end

--- Encode a value. A table with a first element (or none at all) is an array.
-- @param value nil, boolean, number, string or table
-- @tparam[opt] string indent "" for one key per line; nil for a single line
-- @treturn string
function M.encode(value, indent) return encode(value, indent, {}) end

-- A decoder that accepts only numbers of the JSON standard: no NaN, no hexadecimal.
local function strict()
  local cjson = require("cjson").new()
  cjson.decode_invalid_numbers(false)
  return cjson
end

-- Convert null to nil and floats without a fraction to integers; reject 1e999, read as infinity.
local function plain(v, null)
  if v == null then return nil end
  if type(v) == "table" then
    for k, x in pairs(v) do v[k] = plain(x, null) end
  elseif math.type(v) == "float" then
    if v - v ~= 0 then error("a number is out of range", 0) end
    if v % 1 == 0 and math.abs(v) < EXACT then return math.tointeger(v) end
  end
  return v
end

--- A decoder for many texts, as long as the locale stays the same.
M.decoder = strict

--- Decode JSON text; null becomes nil.
-- @tparam string text
-- @param[opt] cjson what `decoder` returned
-- @return the value, or nil and a message
function M.decode(text, cjson)
  cjson = cjson or strict() -- it keeps the locale in which it was created
  local ok, value = pcall(cjson.decode, text)
  if ok then ok, value = pcall(plain, value, cjson.null) end
  if ok then return value end
  if value == "not enough memory" then error(value, 0) end
  return nil, value
end

--- Read a JSON file.
-- @tparam string path
-- @return the value, or nil and a message
function M.read(path)
  local text, message = files.read(path)
  if not text then return nil, message end
  return M.decode(text)
end

return M
