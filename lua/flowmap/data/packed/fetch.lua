--- Downloads that can be continued: PATH.part holds the bytes until they are complete and verified.
-- @module flowmap.data.packed.fetch

local fm = require "flowmap"
local errors = require "flowmap.base.errors"
local files = require "flowmap.base.files"
local Notice = require "flowmap.base.notice"

local M = {}

local function megabytes(n) return ("%.1f MB"):format(n / 1e6) end

-- Download, continuing `part`; returns the hash of the complete file.
local function get(url, part)
  local notice <close> = Notice.new("downloading " .. url, nil, megabytes)
  fm.watch_signals()
  local ok, message = pcall(fm.fetch, url, part, function(now, total)
    notice.total = total > 0 and total or nil
    notice:update(now)
    return not fm.interrupted()
  end)
  if fm.interrupted() then
    errors.raise("interrupted", "interrupted; %s keeps the bytes so far, this command continues",
      part)
  end
  if not ok then error(message, 0) end
  return fm.sha256_file(part)
end

local function tell(path, found, sha256)
  io.stderr:write(("%s: SHA-256 %s%s\n"):format(path, found,
    sha256 and ", as expected" or " (none is known to compare with)"))
end

--- Check a file against its known hash; without one, say that the file cannot be verified before
-- anything is done with it.
-- @tparam string path
-- @tparam[opt] string sha256 expected
function M.check(path, sha256)
  local found = fm.sha256_file(path)
  if sha256 and found ~= sha256 then
    errors.data("%s has the SHA-256 %s, expected %s; flowmap data import takes it if you trust it",
      path, found, sha256)
  end
  tell(path, found, sha256)
end

local function rename(from, to)
  local ok, message = os.rename(from, to)
  if not ok then errors.data("cannot rename %s: %s", from, message) end
end

-- Lock a download until the returned value is closed: two processes would both add to one part.
local function hold(path)
  local name = path .. ".lock"
  local lock = fm.lock(name)
  if not lock then errors.usage("%s is being downloaded by another process", path) end
  return setmetatable({}, { __close = function()
    os.remove(name) -- before another process gets the lock
    lock:release()
  end })
end

--- Download, unless another process has done so meanwhile.
-- @tparam string url
-- @tparam string path
-- @tparam[opt] string sha256 expected; without one, a note precedes the download. A file with
--   another hash is kept under another name: it may be a valid new edition
function M.run(url, path, sha256)
  local part, _ <close> = path .. ".part", hold(path)
  if files.exists(path) then return M.check(path, sha256) end
  if not sha256 then
    io.stderr:write(("no SHA-256 is known for %s: the download cannot be verified, and is only as "
      .. "trustworthy as that site\n"):format(url))
  end
  local continued = files.exists(part)
  local found = get(url, part)
  if sha256 and found ~= sha256 and continued then -- the part belonged to another file
    os.remove(part)
    found = get(url, part)
  end
  if sha256 and found ~= sha256 then
    local kept = path .. ".unexpected"
    rename(part, kept)
    errors.data("%s has the SHA-256 %s, expected %s; it is kept as %s, and flowmap data import "
      .. "takes it if you trust it", url, found, sha256, kept)
  end
  rename(part, path)
  tell(path, found, sha256)
end

return M
