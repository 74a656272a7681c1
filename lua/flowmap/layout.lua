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

--- The fewest diagonal rows of a batch: 1, because a map that is its own velocity would learn
-- nothing of the data without them. At eta = 0 it is 0 where the data enter off the diagonal, as
-- the velocity of the sample or of a frozen map.
-- @tparam table cfg settings eta, velocity, target
-- @treturn integer
function M.least(cfg)
  if cfg.eta ~= 0 then return 1 end -- nothing else is read, and counts as a setting in use
  local elsewhere = cfg.velocity == "sample" or cfg.velocity == "teacher" or cfg.target == "frozen"
  return elsewhere and 0 or 1
end

-- Diagonal rows among `rows` (1e-9: eta times rows may be whole except for rounding).
local function diagonal_rows(eta, rows, least)
  return math.max(least or 1, math.floor(eta * rows + 1e-9)) -- [eq:split]
end

--- The counts of a batch.
-- @tparam number eta diagonal fraction
-- @tparam integer batch samples
-- @tparam ?integer devices default 1
-- @tparam ?integer least the fewest diagonal rows of a part, see `least`; default 1
-- @treturn table { diagonal = rows of the diagonal term, from_off = of these, drawn off the
--   diagonal, from_diagonal = rows of the off-diagonal term that were drawn on the diagonal }
function M.counts(eta, batch, devices, least)
  devices = devices or 1
  if batch % devices ~= 0 then
    errors.usage("a batch of %d samples cannot be cut into %d equal parts, one per device", batch,
      devices)
  end
  local part = batch // devices
  local drawn, entering = diagonal_rows(eta, batch, least), diagonal_rows(eta, part, least)
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
-- @tparam ?integer least
-- @treturn table as `counts` returns
function M.rows(eta, batch, devices, first, last, least)
  local all = M.counts(eta, batch, devices, least)
  local from, to = first * all.diagonal // batch, last * all.diagonal // batch
  return {
    diagonal = to - from,
    from_off = share(all.from_off, all.diagonal, from, to),
    from_diagonal = share(all.from_diagonal, batch - all.diagonal, first - from, last - to),
  }
end

return M
