--- JSON with sorted keys and shortest exact numbers: equal values give equal bytes, which the
-- cache compares and which keeps committed results small in a diff. Reading is lua-cjson's.
-- @module flowmap.json

local M = {}

local escapes = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\t"] = "\\t", ["\r"] = "\\r" }

local function quote(s)
  return '"' .. s:gsub('[%c"\\]', function(c)
    return escapes[c] or ("\\u%04x"):format(c:byte())
  end) .. '"'
end

local function number(x)
  if math.type(x) == "integer" then return tostring(x) end
  -- JSON knows neither NaN nor infinity.
  if x ~= x or x == math.huge or x == -math.huge then return "null" end
  local short = ("%.15g"):format(x)
  return tonumber(short) == x and short or ("%.17g"):format(x)
end

local encode

local function array(t, inner)
  local parts = {}
  for i, v in ipairs(t) do parts[i] = encode(v, inner) end
  return "[" .. table.concat(parts, ", ") .. "]"
end

local function object(t, indent, inner)
  local keys, parts = {}, {}
  for k in pairs(t) do keys[#keys + 1] = tostring(k) end
  table.sort(keys)
  for i, k in ipairs(keys) do parts[i] = quote(k) .. ": " .. encode(t[k], inner) end
  if not indent then return "{" .. table.concat(parts, ", ") .. "}" end
  if #parts == 0 then return "{}" end
  local open, close = "\n" .. inner, "\n" .. indent
  return "{" .. open .. table.concat(parts, "," .. open) .. close .. "}"
end

--- Encode a value. A table with a first element (or none at all) is an array.
-- @param value nil, boolean, number, string or table
-- @tparam[opt] string indent "" for one key per line; nil for a single line
-- @treturn string
function encode(value, indent)
  local kind = type(value)
  if kind == "table" then
    local inner = indent and indent .. "  "
    if value[1] ~= nil or next(value) == nil then return array(value, inner) end
    return object(value, indent, inner)
  elseif kind == "number" then
    return number(value)
  elseif kind == "string" then
    return quote(value)
  elseif kind == "boolean" then
    return tostring(value)
  end
  return "null"
end

M.encode = encode

--- Decode JSON text; null becomes nil.
-- @tparam string text
-- @return the value, or nil and a message
function M.decode(text)
  local cjson = require "cjson"
  local ok, value = pcall(cjson.decode, text)
  if not ok then return nil, value end
  local function plain(v)
    if v == cjson.null then return nil end
    if type(v) == "table" then
      for k, x in pairs(v) do v[k] = plain(x) end
    elseif math.type(v) == "float" and v % 1 == 0 and math.abs(v) < 2^53 then
      return math.tointeger(v)
    end
    return v
  end
  return plain(value)
end

--- Read a JSON file.
-- @tparam string path
-- @return the value, or nil and a message
function M.read(path)
  local file <close>, message = io.open(path, "r")
  if not file then return nil, message end
  return M.decode(file:read "a")
end

return M
