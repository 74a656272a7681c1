--- Which leaves of a sum's tree a rank runs, and into how many complete subtrees they fall: as
-- core/run/sums.c and core/run/share_open.c divide them.
-- @module flowmap.app.plan.blocks

local M = {}

--- The leaves of a rank: from .. to - 1.
-- @tparam integer leaves
-- @tparam integer ranks
-- @tparam integer rank from 0
-- @treturn integer from
-- @treturn integer to
function M.range(leaves, ranks, rank)
  if leaves == 1 or ranks == 1 then return 0, leaves end
  return rank * leaves // ranks, (rank + 1) * leaves // ranks
end

--- The number of complete subtrees among the leaves from .. to - 1; the last one of the tree may
-- reach beyond its leaves.
-- @tparam integer leaves
-- @tparam integer from
-- @tparam integer to
-- @treturn integer
function M.count(leaves, from, to)
  local count = 0
  while from < to do
    local size = 1
    while size < leaves and from % (2 * size) == 0 and (from + 2 * size <= to or to == leaves) do
      size = 2 * size
    end
    count, from = count + 1, from + size
  end
  return count
end

--- The subtrees of all ranks.
-- @tparam integer leaves
-- @tparam integer ranks
-- @treturn integer of all together
-- @treturn integer of the rank that has most
function M.all(leaves, ranks)
  local total, most = 0, 0
  for rank = 0, ranks - 1 do
    local count = M.count(leaves, M.range(leaves, ranks, rank))
    total, most = total + count, math.max(most, count)
  end
  return total, most
end

return M
