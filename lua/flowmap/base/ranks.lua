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

--- What a function returns on the first rank, where alone it is called. Its error, too, is raised
-- on all ranks.
-- @tparam function f returns values that JSON can hold
-- @return them
function M.from_first(f)
  if M.count == 1 then return f() end
  local told = ""
  if M.first then
    local values = table.pack(errors.pcall(f))
    local err = not values[1] and values[2]
    if err and type(err) ~= "table" then err = { message = tostring(err) } end
    told = json.encode(err and { code = err.code or "", message = err.message }
      or { values = { table.unpack(values, 2, values.n) } })
  end
  local it = json.decode(core.ranks_copy(told))
  if it.values then return table.unpack(it.values) end
  error(setmetatable({ code = it.code ~= "" and it.code or nil, message = it.message },
    { __tostring = function(e) return e.message end }), 0)
end

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
