--- The description in the header of a packed file: JSON from an untrusted source. Each field is
-- checked before it is used.
-- @module flowmap.data.packed.header

local errors = require "flowmap.base.errors"
local json = require "flowmap.base.json"
local text = require "flowmap.base.text"

local M = {}

--- Bytes of a text in a description, at most.
M.most = { title = 200, class = 64, standin = 64, source = 300 }

local function list_fault(classes, count)
  if type(classes) ~= "table" then return ("are a %s, expected a list"):format(type(classes)) end
  local n = 0
  for _ in pairs(classes) do n = n + 1 end
  if n ~= #classes or n ~= count and n > 0 then
    return ("are %d, expected %d"):format(n, count)
  end
  for k, name in ipairs(classes) do
    local fault = text.fault(name, M.most.class)
    if fault then return ("number %d %s"):format(k, fault) end
  end
end

local function source_fault(hash)
  if type(hash) == "string" and #hash == 64 and not hash:find "[^0-9a-f]" then return nil end
  return "is no SHA-256"
end

-- The fault of a description, or nil; known fields are copied to `meta`.
local function fault_of(it, classes, meta)
  if type(it) ~= "table" then return "it is no JSON object" end
  local function take(key, what, fault)
    meta[key] = it[key]
    return fault and ("%s %s"):format(what, fault)
  end
  return take("title", "the title", text.fault(it.title, M.most.title))
    or take("standin", "the kind of stand-in",
      it.standin and text.fault(it.standin, M.most.standin))
    or take("source", "the name of the source", it.source and text.fault(it.source, M.most.source))
    or take("source_sha256", "the source's hash",
      it.source_sha256 and source_fault(it.source_sha256))
    or take("classes", "the names of the classes", it.classes and list_fault(it.classes, classes))
end

--- Decode a description.
-- @tparam string path of the packed file, for sentences
-- @tparam string described the JSON
-- @tparam integer classes how many the header states
-- @treturn table { title =, standin =, classes =, source =, source_sha256 = }
function M.decode(path, described, classes)
  local meta = {}
  local fault = fault_of(json.decode(described), classes, meta)
  if fault then
    errors.data("'%s' has a description that cannot be used: %s; import it again", path, fault)
  end
  if meta.classes and #meta.classes == 0 then meta.classes = nil end
  return meta
end

--- Encode a description: texts from an archive's names are sanitised, and the names of classes are
-- left out if they do not fit into the header together.
-- @tparam table meta
-- @tparam integer room bytes available
-- @treturn string JSON
function M.encode(meta, room)
  local it = {}
  for key, value in pairs(meta) do
    it[key] = type(value) == "string" and M.most[key] and text.line(value, M.most[key]) or value
  end
  it.classes = {}
  for k, name in ipairs(meta.classes or {}) do it.classes[k] = text.line(name, M.most.class) end
  local described = json.encode(it)
  if #described < room then return described end
  it.classes = {}
  return json.encode(it)
end

return M
