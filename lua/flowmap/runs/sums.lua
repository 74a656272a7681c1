--- Checksums of files that have not changed since another process made them, kept in the user's
-- cache folder, one file for each working folder. A file counts as unchanged if its number, size
-- and times are the same, as in git's index: whatever writes to it changes the last of these.
-- `audit`, `why` and `runs --verify` read every file all the same.
-- @module flowmap.runs.sums

local files = require "flowmap.base.files"
local fm = require "flowmap"
local regular = require "flowmap.base.regular"
local places = require "flowmap.data.packed.places"
local record = require "flowmap.runs.record"

local M = {}

local HEAD = "flowmap checksums 1\n"

-- The file for this working folder; nil if there is no cache folder.
local function path()
  local ok, folder = pcall(places.cache)
  if not ok or not files.exists(folder) then return nil end
  return ("%s/checksums-%s"):format(folder, fm.sha256(regular.here()):sub(1, 32))
end

--- Read what was kept. Lines that are not checksums are left out.
function M.load()
  local from = path()
  local text = from and files.read(from) or ""
  if text:sub(1, #HEAD) ~= HEAD then return end
  for sum, look, name in text:gmatch "(%x+)\t([%d ]+)\t([^\n]+)\n" do
    if #sum == 64 then record.known[name] = { look = look, sum = sum } end
  end
end

--- Keep the checksums that this process has used. It is a cache: the folder may be read-only.
function M.save()
  local to, lines = path(), { HEAD }
  if not to then return end
  for name, it in pairs(record.known) do
    if it.used and not name:find "\n" then
      lines[#lines + 1] = ("%s\t%s\t%s\n"):format(it.sum, it.look, name)
    end
  end
  pcall(fm.write_file, to, table.concat(lines))
end

return M
