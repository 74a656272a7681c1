--- Forced weight normalisation: weights are projected onto their sphere after every optimiser step.
-- @module flowmap.renew

local fm = require "flowmap"
local tree = require "flowmap.tree"

local M = {}

local TASK = 65536 -- values of a micro-batch
local PART = 2 * TASK -- values renewed at a time, since the results take memory

--- The axes of a weight over which it is normalised: all but the output's.
-- @param w (outputs, ...)
-- @treturn {integer,...} 2, 3, ...
function M.inner(w)
  local axes = {}
  for k = 2, #w.shape do axes[k - 1] = k end
  return axes
end

-- Number of rows renewed at a time: the largest that divides the weight into equal parts.
local function part_of(shape)
  local rows, size = shape[1], 1
  for k = 2, #shape do size = size * shape[k] end
  for count = 1, rows do
    if rows % count == 0 and rows // count * size <= PART then return rows // count, size end
  end
  return 1, size
end

-- The function that renews a weight of one shape and its averages in place.
local function renewal(f, w, decays)
  local part, size = part_of(w.shape)
  local row = table.move(w.shape, 2, #w.shape, 1, { dtype = w.dtype })
  local inputs = { w = row }
  for k in ipairs(decays) do inputs["e" .. k] = row end
  local program = fm.program(function(_, b)
    local out = { w = f(b.rows.w) }
    for k, decay in ipairs(decays) do
      out["e" .. k] = b.rows["e" .. k] + (1 - decay) * (out.w - b.rows.w)
    end
    return { rows = out }
  end, { rows = inputs, micro = math.max(1, TASK // size) })
  return function(weights)
    for first = 1, w.shape[1], part do
      local rows = {}
      for name, x in pairs(weights) do rows[name] = x:view(first, part) end
      local out = program:run { rows = rows, batch = part, reuse = true }.rows
      for name, x in pairs(rows) do x:copy_from(out[name]) end
    end
  end
end

--- Make the function `renew` of a network (see flowmap.nets) from a function of one weight.
--
-- Averages that an optimiser has updated, e = d e' + (1-d) w, become those of the renewed weight
-- w*, e + (1-d) (w* - w): they follow the weights that the network trains with.
-- @tparam function f w -> renewed w, row by row; called for weights, not for gains (scalars)
-- @treturn function renew(params, averages): in place; averages = { { decay =, params = }, ... } or
-- nothing
function M.of(f)
  local renewals = {}
  local function one(w, averages, decays)
    local key = table.concat({ w.dtype, #decays, table.unpack(w.shape) }, " ")
    renewals[key] = renewals[key] or renewal(f, w, decays)
    local weights = { w = w }
    for k, e in ipairs(averages) do weights["e" .. k] = e end
    renewals[key](weights)
  end
  return function(params, averages)
    averages = averages or {}
    local decays, by_name = {}, {}
    for k, it in ipairs(averages) do
      decays[k], by_name[k] = it.decay, {}
      tree.each(function(e, name) by_name[k][name] = e end, it.params)
    end
    tree.each(function(w, name)
      if #w.shape == 0 then return end
      local list = {}
      for k, names in ipairs(by_name) do list[k] = names[name] end
      one(w, list, decays)
    end, params)
  end
end

return M
