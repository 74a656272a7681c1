--- Processes that make one run together, started by mpirun or srun (core/ranks.h). All of them
-- execute the same code on the same values; the core shares the programs' micro-batches among them
-- and gives each the same results. Only the first writes to the run's folder.
--
-- Code that all ranks execute must not depend on what they do not share, such as the clock, a
-- signal or a file. Where it has to, the ranks agree by the functions of this module, which all of
-- them call.
-- @module flowmap.base.ranks

local core = require "flowmap.core"
local errors = require "flowmap.base.errors"
local files = require "flowmap.base.files"
local json = require "flowmap.base.json"
local tree = require "flowmap.tree"

local M = {}

--- The number of this rank, from 1, and of all ranks.
M.rank, M.count = core.ranks()

--- Whether this rank writes to the run's folder.
M.first = M.rank == 1

--- Whether a condition holds on any rank.
-- @tparam boolean condition on this one
-- @treturn boolean
function M.any(condition)
  if M.count == 1 then return condition end
  return core.ranks_most(condition and 1 or 0) == 1
end

--- The largest of the whole numbers of all ranks.
-- @tparam integer n this one's
-- @treturn integer
function M.most(n) return M.count == 1 and n or core.ranks_most(n) end

--- Call a function as one process would: programs that it makes run on this rank alone, and so
-- ranks may call it at different times, or only some of them, as the contents of caches decide.
-- What it makes must not be used afterwards.
-- @tparam function f
-- @param ... its arguments
-- @return its first result
function M.alone(f, ...)
  if M.count == 1 then return f(...) end
  local count = M.count
  M.count = 1
  core.ranks_alone(true)
  local ok, result = errors.pcall(f, ...)
  core.ranks_alone(false)
  M.count = count
  if not ok then error(result, 0) end
  return result
end

-- An error as another rank gets it.
local function told(err)
  if type(err) ~= "table" then err = { message = tostring(err) } end
  return { code = err.code or "", message = err.message }
end

local function raise(it)
  error(setmetatable({ code = it.code ~= "" and it.code or nil, message = it.message },
    { __tostring = function(e) return e.message end }), 0)
end

--- Call a function on the first rank alone; its results are those of all ranks. Its error, too, is
-- raised on all ranks.
-- @tparam function f returns values that JSON can hold
-- @return them
function M.from_first(f)
  if M.count == 1 then return f() end
  local text = ""
  if M.first then
    local values
    M.alone(function() values = table.pack(errors.pcall(f)) end)
    text = json.encode(not values[1] and told(values[2])
      or { values = { table.unpack(values, 2, values.n) } })
  end
  local it = json.decode(core.ranks_copy(text))
  if it.values then return table.unpack(it.values) end
  raise(it)
end

--- Whether a text is another one on some rank.
-- @tparam string text this one's
-- @treturn boolean
function M.differ(text)
  return M.any(text ~= M.from_first(function() return text end))
end

-- ------------------------------------------------------------------ work that is divided

local AT_ONCE = 128 -- numbers packed at a time

local function packed(list)
  local text = {}
  for k = 1, #list, AT_ONCE do
    local n = math.min(AT_ONCE, #list - k + 1)
    text[#text + 1] = string.pack(("d"):rep(n), table.unpack(list, k, k + n - 1))
  end
  return table.concat(text)
end

local function unpacked(text)
  local list, size = {}, string.packsize "d"
  for at = 1, #text, AT_ONCE * size do
    local n = math.min(AT_ONCE, (#text - at + 1) // size)
    table.move({ string.unpack(("d"):rep(n), text, at) }, 1, n, #list + 1, list)
  end
  return list
end

--- Lists of numbers that the ranks compute together: each calls `f` for its part of 1 .. n, and all
-- get the lists of all. An error of `f` is raised on all ranks. The core's programs are shared
-- already: `f` runs none, and calls no function of this module.
-- @tparam integer n
-- @tparam function f (first, last) -> {number,...}; last is first - 1 where there is no part left
-- @treturn {table,...} the lists, in the order of the parts
function M.parts(n, f)
  if M.count == 1 then return { f(1, n) } end
  local lists, wrong = {}, nil
  local ok, own = errors.pcall(f, (M.rank - 1) * n // M.count + 1, M.rank * n // M.count)
  local failed = M.any(not ok)
  local text = not failed and packed(own) or ok and "" or json.encode(told(own))
  for rank = 1, M.count do
    local it = core.ranks_copy(text, rank)
    if not failed then
      lists[rank] = unpacked(it)
    elseif not wrong and it ~= "" then
      wrong = json.decode(it)
    end
  end
  if wrong then raise(wrong) end
  return lists
end

--- As `parts`, for lists of whole numbers of equal length, which are added up.
-- @tparam integer n
-- @tparam function f (first, last) -> {integer,...}
-- @treturn {integer,...} the sums
function M.total(n, f)
  local lists = M.parts(n, f)
  local sums = lists[1]
  if M.count == 1 then return sums end
  for k = 1, #sums do
    local sum = 0
    for _, list in ipairs(lists) do sum = sum + math.tointeger(list[k]) end
    sums[k] = sum
  end
  return sums
end

-- ------------------------------------------------------------------ copies

--- Copy files of the first rank's folder to those of the others.
-- @tparam string from the first rank's folder
-- @tparam string to this rank's
-- @tparam {string,...} names those that do not exist are left out
function M.copy_files(from, to, names)
  if M.count == 1 then return end
  for _, name in ipairs(names) do
    local contents = M.first and files.read_if_there(from .. "/" .. name)
    local there = M.any(contents and true or false)
    local text = there and core.ranks_copy(contents or "")
    if there and not M.first then core.write_file(to .. "/" .. name, text) end
  end
end

--- Give the tensors of a tree the values that they have on the first rank.
-- @tparam table params
-- @treturn table params
function M.copy_values(params)
  if M.count > 1 then tree.each(function(tensor) core.ranks_copy(tensor) end, params) end
  return params
end

return M
