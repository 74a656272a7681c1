--- What the library's sources and this file say of a function or module: for `fm.help`.
-- @module flowmap.app.described

local core = require "flowmap.core"
local counted = require "flowmap.base.counted"
local source = require "flowmap.runs.source"

local M = {}

--- The functions of the core for users that are not operations: their arguments, and a sentence.
-- All others that are not described in a Lua file serve the library itself.
M.CORE = {
  arange = { "(n [, dtype])", "The numbers 0 to n - 1." },
  bytes = { "(tensor)", "The values as a string of little-endian bytes." },
  copy_from = { "(tensor, other)", "Overwrite the values of a tensor by those of another." },
  eigh = { "(a)", "Eigenvalues of a symmetric matrix, ascending, and its eigenvectors as rows." },
  finite = { "(tensor)", "Whether all values are finite; if not, also the index of the first that "
    .. "is not, counted from 1." },
  flat = { "(tensor)", "The values as a list." },
  from_bytes = { "(text, shape)", "The bytes of a string as a uint8 tensor." },
  full = { "(shape, number [, dtype])", "A tensor of equal values." },
  get = { "(tensor, i, ...)", "The value at an index, from 1 in each axis." },
  gradcheck = { "([name])", "Check the derivatives of one operation, or of all." },
  info = { "()", "Version, instruction set, BLAS kernel and threads." },
  is_tensor = { "(value)", "Whether a value is a tensor." },
  item = { "(tensor)", "The value of a tensor that has only one." },
  load_image = { "(path)", "A PNG or JPEG file as a uint8 tensor (H, W, 3)." },
  load_npy = { "(path)", "The tensor in a .npy file. One of the shape (n, d) is a data set, "
    .. "see points." },
  load_safetensors = { "(path)", "The tensors of a file by name, and its metadata." },
  neg = { "(tensor)", "The values with the opposite sign." },
  normal = { "(shape, {seed=, stream=, step=, row0=, dtype=})", "Standard normal numbers." },
  ops = { "()", "The table of operations." },
  save_npy = { "(path, tensor)", "Write a .npy file." },
  save_png = { "(path, tensor)", "Write an image (H, W, 3): uint8, or float in [-1, 1]." },
  save_safetensors = { "(path, tensors [, metadata, keep])", "Write tensors by name." },
  set_threads = { "(n)", "Use this number of threads." },
  sort = { "(tensor)", "Every row in ascending order." },
  tensor = { "(numbers [, dtype])", "A tensor of a number or of nested lists of numbers." },
  tostring = { "(tensor)", "Format, shape and first values as text." },
  totable = { "(tensor)", "The values as nested lists." },
  uniform = { "(shape, {seed=, stream=, step=, row0=, dtype=})", "Uniform numbers in [0, 1)." },
  view = { "(tensor, first, n)", "Some entries of the first axis, sharing their memory." },
}

--- The function whose source describes another, which may guard or record it.
-- @tparam function f
-- @treturn function
function M.original(f) return counted.original[f] or source.original[f] or f end

-- ------------------------------------------------------------------ comments

local function lines_of(path)
  local lines, file = {}, io.open(path)
  if not file then return lines end
  for line in file:lines() do lines[#lines + 1] = line end
  file:close()
  return lines
end

-- The lines of the LDoc comment that ends above line `at`, without their dashes. A one-line local
-- may stand between the two.
local function comment_above(lines, at)
  local last = at - 1
  while lines[last] and lines[last]:find "^[%w].*=" do last = last - 1 end
  local first = last
  while lines[first] and lines[first]:find "^%-%-" and not lines[first]:find "^%-%-%-" do
    first = first - 1
  end
  if not (lines[first] and lines[first]:find "^%-%-%-") then return {} end
  return table.move(lines, first, last, 1, {})
end

-- The first sentence of a comment.
local function sentence(comment)
  local text = {}
  for _, line in ipairs(comment) do
    local words = line:gsub("^%-+ ?", "")
    if words:find "^@" or words == "" then break end
    text[#text + 1] = words
  end
  text = table.concat(text, " ")
  return (text .. " "):match "^(.-%.) %u" or text
end


-- "f: function of one argument" for each parameter that the comment explains.
local function parameters(comment)
  local list, open = {}, false
  for _, line in ipairs(comment) do
    local tagged = line:match "^%-+ @(t?param.*)$"
    local more = line:match "^%-+ ([^@].*)$"
    if tagged then
      local typed, rest = tagged:match "^(t?)param%S* +(.*)$"
      local kind, name, what = "", rest:match "^(%S+) ?(.*)$"
      if typed == "t" then kind, name, what = rest:match "^(%S+) (%S+) ?(.*)$" end
      kind = (kind or ""):gsub("^%?(.*)", "%1, optional")
      if tagged:find "^t?param%[opt" then kind = kind .. ", optional" end
      kind = kind ~= "" and (" (%s)"):format(kind:gsub("|", " or "), nil) or ""
      list[#list + 1] = ("  %s%s: %s"):format(name, kind, what):gsub(": ?$", "")
    elseif line:find "^%-+ @" then
      open = false
    elseif open and more then
      list[#list] = list[#list] .. " " .. more
    end
    open = tagged ~= nil or open and more ~= nil
  end
  return list
end

-- ------------------------------------------------------------------ descriptions

local function names_of(f)
  local names, u = {}, debug.getinfo(f, "u")
  for k = 1, u.nparams do names[k] = debug.getlocal(f, k) end
  if u.isvararg then names[#names + 1] = "..." end
  return table.concat(names, ", ")
end

--- Describe a function of the library: its arguments, the first sentence about it, its parameters.
-- @tparam string name
-- @tparam function f
-- @treturn ?string nil for one without a description
function M.of_function(name, f)
  local it = M.CORE[name]
  if it and rawequal(core[name], f) then return ("%s%s  %s"):format(name, it[1], it[2]) end
  f = M.original(f)
  local at = debug.getinfo(f, "S")
  if at.what == "C" then return nil end
  local comment = comment_above(lines_of(at.source:sub(2)), at.linedefined)
  if #comment == 0 then return nil end
  local head = ("%s(%s)  %s"):format(name, names_of(f), sentence(comment))
  local place = ("  See %s, line %d."):format(at.short_src, at.linedefined)
  return table.concat({ head, table.unpack(parameters(comment)) }, "\n") .. "\n" .. place
end

--- Describe a module.
-- @tparam string name as in fm.NAME
-- @tparam string path of its file
-- @treturn string
function M.of_module(name, path)
  local comment = {}
  for _, line in ipairs(lines_of(path)) do
    if not line:find "^%-%-" then break end
    comment[#comment + 1] = line
  end
  return ("%s  module: %s\n  See %s."):format(name, sentence(comment), path)
end

return M
