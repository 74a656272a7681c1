--- The layout of a batch: how many of its rows enter the diagonal term, and with which times.
--
-- On one device a row drawn on the diagonal (s = t) enters the diagonal term and a row drawn off it
-- the off-diagonal term, as the paper has it. The official code lays a batch out as [drawn on the
-- diagonal | drawn off it], cuts it into equal parts, one per device, and every device splits its
-- part again: the first rows, a fraction eta, enter the diagonal term and the others the
-- off-diagonal term, however they were drawn. So some rows cross:
--
--     from_diagonal   off-diagonal rows drawn on the diagonal: s = t, where every residual is 0
--     from_off        diagonal rows drawn off it: they enter at their time t
--
-- Rows are drawn independently, so these counts determine the law of a batch. They are spread
-- evenly over the micro-batches.
-- @module flowmap.layout

local errors = require "flowmap.base.errors"

local M = {}

-- Diagonal rows among `rows`: at least one (1e-9: eta times rows may be whole but for rounding).
local function diagonal_rows(eta, rows)
  return math.max(1, math.floor(eta * rows + 1e-9))
end

--- The counts of a batch.
-- @tparam number eta diagonal fraction
-- @tparam integer batch samples
-- @tparam ?integer devices default 1
-- @treturn table { diagonal = rows of the diagonal term, from_off = of these, drawn off the
--   diagonal, from_diagonal = rows of the off-diagonal term that were drawn on the diagonal }
function M.counts(eta, batch, devices)
  devices = devices or 1
  if batch % devices ~= 0 then
    errors.usage("a batch of %d samples cannot be cut into %d equal parts, one per device", batch,
      devices)
  end
  local part = batch // devices
  local drawn, entering = diagonal_rows(eta, batch), diagonal_rows(eta, part)
  local counts = { diagonal = devices * entering, from_off = 0, from_diagonal = 0 }
  for device = 0, devices - 1 do
    local here = math.max(0, math.min(part, drawn - device * part)) -- drawn on the diagonal
    counts.from_off = counts.from_off + math.max(0, entering - here)
    counts.from_diagonal = counts.from_diagonal + math.max(0, here - entering)
  end
  return counts
end

-- How many of `count` rows, spread evenly over `all`, are among the rows first .. last - 1.
local function share(count, all, first, last)
  return all > 0 and last * count // all - first * count // all or 0
end

--- The counts of the rows first .. last - 1 of a batch.
-- @tparam number eta
-- @tparam integer batch
-- @tparam ?integer devices
-- @tparam integer first from 0
-- @tparam integer last
-- @treturn table as `counts` returns
function M.rows(eta, batch, devices, first, last)
  local all = M.counts(eta, batch, devices)
  local from, to = first * all.diagonal // batch, last * all.diagonal // batch
  return {
    diagonal = to - from,
    from_off = share(all.from_off, all.diagonal, from, to),
    from_diagonal = share(all.from_diagonal, batch - all.diagonal, first - from, last - to),
  }
end

return M
