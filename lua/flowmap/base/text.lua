--- Text from files: checks whether it may be shown, and file names derived from it.
-- @module flowmap.base.text

local core = require "flowmap.core"

local M = {}

-- UTF-8 patterns: C0 and DEL, C1, line separators, and marks that change the writing direction.
local CONTROLS = { "[\0-\31\127]", "\xC2[\x80-\x9F]", "\xE2\x80[\xA8-\xAE]",
  "\xE2\x81[\xA6-\xA9]" }

local function has_controls(s)
  for _, pattern in ipairs(CONTROLS) do
    if s:find(pattern) then return true end
  end
  return false
end

--- Why a value is not a line of text.
-- @param s any value
-- @tparam integer most greatest length in bytes
-- @treturn ?string such as "is not UTF-8"; nil for a line of text
function M.fault(s, most)
  if type(s) ~= "string" then return ("is a %s, expected a string"):format(type(s)) end
  if #s > most then return ("has %d bytes, expected at most %d"):format(#s, most) end
  if not utf8.len(s) then return "is not UTF-8" end
  return has_controls(s) and "has control characters" or nil
end

--- A line of text made from any bytes: bytes that are not UTF-8 and control characters become
-- question marks.
-- @tparam string s
-- @tparam integer most greatest length in bytes
-- @treturn string
function M.line(s, most)
  local parts, at = {}, 1
  while at <= #s do -- valid characters, and invalid bytes
    local _, bad = utf8.len(s, at)
    parts[#parts + 1] = s:sub(at, (bad or #s + 1) - 1)
    if bad then parts[#parts + 1] = "?" end
    at = bad and bad + 1 or #s + 1
  end
  s = table.concat(parts)
  for _, pattern in ipairs(CONTROLS) do s = s:gsub(pattern, "?") end
  if #s <= most then return s end
  local last = most - 3
  while last > 0 and s:byte(last + 1) & 0xC0 == 0x80 do last = last - 1 end
  return s:sub(1, last) .. "..."
end

--- A file name made from any bytes: only letters, digits, '-', '_' and '.', no leading dot, at most
-- 64 characters. Different texts give different names: a changed text gets a hash appended.
-- @tparam string s
-- @treturn string
function M.file_name(s)
  local name = s:gsub("[^A-Za-z0-9_.-]", "-"):gsub("^[.-]+", ""):gsub("%.%.+", ".")
  if name == s and #name > 0 and #name <= 64 then return name end
  return (name == "" and "" or name:sub(1, 40) .. "-") .. core.sha256(s):sub(1, 12)
end

return M
