--- Endurance: what the suite does when memory, disks, files and processes fail it.
--
--     make soak                       all parts, an hour; MINUTES=5, PARTS="alloc calls", SEED=2
--     make soak POINT=calls/run/EIO/7 one point again, as a failed one prints it
--     EACH=2 SOME=5                   two points of five cases of each part, as in make check
--
-- A part has cases, a case a number of points. A session goes on where the last one ended. Points
-- come in an order that the seed shuffles, so that a short session reaches all of a case evenly.
-- Time is shared equally among the cases of a part, and among parts. Exit code 1: a point was lost.
-- @module soak

package.path = "tests/soak/?.lua;tests/soak/parts/?.lua;" .. package.path

local errors = require "flowmap.base.errors"
local fm = require "flowmap"
local ledger = require "ledger"
local lfs = require "lfs"

local PARTS = { "alloc", "calls", "kills", "flips", "fuzz", "threads", "pairs",
  "places", "steps" }
local AGAIN = 4 -- every so manieth point, the disturbed command is repeated undisturbed

io.stdout:setvbuf "line"
local home = lfs.currentdir()
package.path = package.path:gsub("tests/soak/", home .. "/tests/soak/")

local function option(name, default)
  local value = os.getenv(name)
  return value ~= nil and value ~= "" and value or default
end

local function number(name, default)
  local text = option(name, tostring(default))
  return tonumber(text) or errors.usage("%s is '%s', expected a number", name, text)
end

-- ------------------------------------------------------------------ order of points

-- A permutation of 1 .. n: multiplication by a number without common factor, then a shift.
local function shuffled(index, n, seed)
  local function common(a, b) return b == 0 and a or common(b, a % b) end
  local step = math.floor(n * 0.6180339887) + seed * 7919 % n
  while step < 1 or common(step, n) ~= 1 do step = step + 1 end
  return (index * step + seed * 104729) % n + 1
end

-- ------------------------------------------------------------------ points

local function say(...) print(string.format(...)) end

local function failed(book, part, point, what)
  book:lose(part, point, what)
  say("LOST %s\n  %s\n  again: make soak POINT=%s SEED=%d", point, what:gsub("\n", "\n  "), point,
    book.seed)
end

-- One point of a case; the count of points that it stands for.
local function try(book, part, case, k, again)
  local what, points = case.try(k, again)
  if what then failed(book, part, ("%s/%s/%d"):format(part, case.name, k), what) end
  return what, points or 1
end

local function next_case(cases)
  local least
  for _, it in ipairs(cases) do
    if not least or it.spent < least.spent then least = it end
  end
  return least
end

-- The cases of a part; in the short form only SOME of them, which the seed chooses.
local function chosen(part, seed)
  local cases, some, list = part.cases(seed), option "SOME" and number("SOME", 0), {}
  if not some or some >= #cases then return cases end
  for i = 1, some do list[i] = cases[shuffled(i, #cases, seed)] end
  return list
end

-- Try points of a part until the clock reaches `till`, or a number of points of each case; a part
-- that would repeat itself has each point once.
local function work(book, name, part, till, each)
  local cases, lost, tried = chosen(part, book.seed), 0, 0
  for _, it in ipairs(cases) do it.spent, it.done = 0, 0 end
  while fm.clock() < till and not fm.interrupted() do
    local case, from = next_case(cases), fm.clock()
    if case.done >= (part.once and 1 or each or math.huge) then break end
    case.n = case.n or each and case.about or case.count()
    local key = ("%s/%s"):format(name, case.name)
    local index = book:reached(key)
    local k = case.n > 0 and shuffled(index, case.n, book.seed)
    local what, points
    if k then what, points = try(book, name, case, k, index % AGAIN == 0) end
    local seconds = fm.clock() - from
    case.spent, case.done = each and case.done + 1 or case.spent + seconds, case.done + 1
    book:advance(key)
    if k then book:count(name, points, seconds) end
    lost, tried = lost + (what and 1 or 0), tried + (points or 0)
    book:save_now_and_then()
  end
  return tried, lost
end

-- ------------------------------------------------------------------ sessions

local function load_part(name)
  for _, known in ipairs(PARTS) do
    if known == name then return require(name) end
  end
  errors.usage("there is no part '%s'; there are: %s", name, table.concat(PARTS, ", "))
end

-- The point that a text names; an error if there is none.
local function one_point(book, text)
  local name, case_name, k = text:match "^(%w+)/(.+)/(%d+)$"
  if not name then errors.usage("POINT is '%s', expected PART/CASE/NUMBER", text) end
  for _, case in ipairs(load_part(name).cases(book.seed)) do
    if case.name == case_name then
      local what = case.try(math.tointeger(tonumber(k)), true)
      return name, what
    end
  end
  errors.usage("POINT is '%s': the part '%s' has no such case", text, name)
end

-- Points that were lost before are tried first; what holds now was mended.
local function retry(book, names)
  for _, it in ipairs(book:open_losses()) do
    if (" " .. names .. " "):find(" " .. it.part .. " ", 1, true) then
      local _, what = one_point(book, it.point)
      if what then
        failed(book, it.part, it.point, what)
      else
        it.mended = book.revision
        say("mended: %s", it.point)
      end
      lfs.chdir(home)
    end
  end
end

-- One part until the clock reaches `till`; the number of points lost.
local function session_of(book, name, till, each)
  local part = load_part(name)
  local why = part.unable and part.unable()
  if why then
    say("%s: left out: %s", name, why)
    return 0
  end
  local tried, lost = work(book, name, part, till, each)
  say("%s: %d %s, %d lost", name, tried, part.unit, lost)
  return lost
end

local function session(book)
  local names = option("PARTS", table.concat(PARTS, " "))
  local each = option "EACH" and number("EACH", 1)
  local list, lost = {}, 0
  for name in names:gmatch "%S+" do list[#list + 1] = name end
  if not each then retry(book, names) end
  local finish = fm.clock() + 60 * number("MINUTES", 60)
  for i, name in ipairs(list) do
    local share = math.max(0, finish - fm.clock()) / (#list - i + 1)
    lost = lost + session_of(book, name, each and math.huge or fm.clock() + share, each)
    assert(lfs.chdir(home))
    book:save()
    if fm.interrupted() then break end
  end
  return each and lost or #book:open_losses()
end

local book = ledger.open { seed = math.tointeger(number("SEED", 1)),
  state = require("place").build .. "/state.json",
  results = option("RESULTS", home .. "/paper/results/soak.json") }
fm.watch_signals()
say("seed %d, revision %s", book.seed, book.revision)
local lost
if option "POINT" then
  local name, what = one_point(book, option "POINT")
  if what then failed(book, name, option "POINT", what) end
  lost = what and 1 or 0
  say("%d lost", lost)
else
  lost = session(book)
end
os.exit(lost == 0 and 0 or 1)
