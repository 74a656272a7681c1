--- Forced weight normalisation: weights put back on their sphere after every step of the optimiser.
-- @module flowmap.renew

local fm = require "flowmap"
local tree = require "flowmap.tree"

local M = {}

local TASK = 65536 -- values of a micro-batch

--- The axes of a weight over which it is normalised: all but the output's.
-- @param w (outputs, ...)
-- @treturn {integer,...} 2, 3, ...
function M.inner(w)
  local axes = {}
  for k = 2, #w.shape do axes[k - 1] = k end
  return axes
end

-- The program for weights of one shape, cut by rows: the renewed weight, the averages moved along.
local function program(f, w, decays)
  local row = table.move(w.shape, 2, #w.shape, 1, { dtype = w.dtype })
  local size, rows = 1, { w = row }
  for _, n in ipairs(row) do size = size * n end
  for k in ipairs(decays) do rows["e" .. k] = row end
  return fm.program(function(_, b)
    local out = { w = f(b.rows.w) }
    for k, decay in ipairs(decays) do
      out["e" .. k] = b.rows["e" .. k] + (1 - decay) * (out.w - b.rows.w)
    end
    return { rows = out }
  end, { rows = rows, micro = math.max(1, TASK // size) })
end

--- The function `renew` of a network, see flowmap.nets, from what it does to one weight.
--
-- Averages that an optimiser has updated, e = d e' + (1-d) w, become those of the renewed weight
-- w*, e + (1-d) (w* - w): they follow the weights that the network trains with.
-- @tparam function f w -> renewed w, row by row; asked for weights only, not for gains (scalars)
-- @treturn function renew(params, averages): in place; averages = { { decay =, params = }, ... } or
-- nothing
function M.of(f)
  local programs = {}
  local function one(w, averages, decays)
    local key = table.concat({ w.dtype, #decays, table.unpack(w.shape) }, " ")
    programs[key] = programs[key] or program(f, w, decays)
    local rows = { w = w }
    for k, e in ipairs(averages) do rows["e" .. k] = e end
    local out = programs[key]:run { rows = rows, batch = w.shape[1], reuse = true }.rows
    for name, x in pairs(rows) do x:copy_from(out[name]) end
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
