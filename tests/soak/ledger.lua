--- The record of trials and losses, kept between sessions.
--
-- build/soak/state.json holds how far each case has come, so that a session goes on where the last
-- one ended; paper/results/soak.json the sums, from which the page's table is made:
--
--     { parts: { PART: [ { date, revision, seed, points, seconds } ] },
--       losses: [ { point, part, what, date, revision, mended: revision or absent } ] }
-- @module ledger

local core = require "flowmap.core"
local errors = require "flowmap.base.errors"
local files = require "flowmap.base.files"
local json = require "flowmap.base.json"
local lfs = require "lfs"
local revision = require "flowmap.runs.revision"

local M = {}
M.__index = M

local function read(path, otherwise)
  if not lfs.attributes(path) then return otherwise end
  local value, why = json.read(path)
  return value or errors.data("%s: %s", path, why)
end

local PROJECT = lfs.currentdir() -- a part may go elsewhere

-- What was seen, without the folders of the machine where it was seen: the results are published.
local function portable(what)
  local places = { { lfs.currentdir(), "." }, { PROJECT, "." },
    { os.getenv "TMPDIR" or "/tmp", "TMPDIR" }, { os.getenv "HOME" or "", "~" } }
  for _, place in ipairs(places) do
    local folder = place[1]:gsub("/+$", "")
    if folder ~= "" then what = what:gsub(folder:gsub("%p", "%%%0") .. "%f[^%w_.%-]", place[2]) end
  end
  return what
end

--- Open the two files.
-- @tparam table how results, state = paths; seed
function M.open(how)
  files.mkdir(how.state:match "^(.*)/")
  return setmetatable({ how = how, seed = how.seed,
    revision = revision.now "paper/results/soak.json", date = os.date "!%Y-%m-%d",
    state = read(how.state, {}), results = read(how.results, { parts = {}, losses = {} }) }, M)
end

-- The entry of a part for this revision and seed.
function M:entry(part)
  local list = self.results.parts[part] or {}
  self.results.parts[part] = list
  local last = list[#list]
  if last and last.revision == self.revision and last.seed == self.seed then return last end
  last = { revision = self.revision, seed = self.seed, points = 0, seconds = 0, date = self.date }
  list[#list + 1] = last
  return last
end

--- Count points of a part.
-- @tparam string part
-- @tparam integer points
-- @tparam number seconds
function M:count(part, points, seconds)
  local it = self:entry(part)
  it.points, it.date = it.points + points, self.date
  it.seconds = math.floor((it.seconds + seconds) * 10 + 0.5) / 10
end

--- Record a loss; one that is known already is only brought up to date.
-- @tparam string part
-- @tparam string point
-- @tparam string what
function M:lose(part, point, what)
  what = portable(what)
  for _, it in ipairs(self.results.losses) do
    if it.point == point and not it.mended then
      it.what = what
      return
    end
  end
  table.insert(self.results.losses, { part = part, point = point, what = what, date = self.date,
    revision = self.revision })
end

--- The points that were lost and not mended.
-- @treturn {table,...}
function M:open_losses()
  local list = {}
  for _, it in ipairs(self.results.losses) do
    if not it.mended then list[#list + 1] = it end
  end
  return list
end

--- How far a case has come: the number of its points that were tried.
-- @tparam string case
function M:reached(case) return self.state[case] or 0 end

function M:advance(case) self.state[case] = self:reached(case) + 1 end

local OFTEN = 10 -- seconds between two savings

--- Write both files, unless that was done a moment ago.
function M:save_now_and_then()
  if core.clock() - (self.saved or 0) >= OFTEN then self:save() end
end

--- Write both files.
function M:save()
  self.saved = core.clock()
  core.write_file(self.how.state, json.encode(self.state, "") .. "\n")
  core.write_file(self.how.results, json.encode(self.results, "") .. "\n")
end

return M
