--- Calibrates the image metrics on recognisable changes: held-out real images unchanged, with
-- noise, blur or a tint, and fewer of them. The first line of each metric is its floor.
-- @module flowmap.measure.calibration

local fm = require "flowmap"
local distances = require "flowmap.measure.image_distances"

local M = {}

local function noise(sd)
  return function(x, first)
    return x + sd * fm.normal(x.shape, { seed = 1, stream = "calibration", row0 = first })
  end
end

local function tint(by) -- towards warmer colours
  return function(x) return x + fm.reshape(fm.tensor { by, 0, -by }, { 1, 1, 1, 3 }) end
end

--- The changes: { name, function of images (n, h, w, 3) and the number of the first, part used }.
M.changes = {
  { "none", function(x) return x end, 1 },
  { "none, a fifth of the images", function(x) return x end, 0.2 },
  { "tint of 0.1", tint(0.1), 1 },
  { "noise of 0.1", noise(0.1), 1 },
  { "noise of 0.3", noise(0.3), 1 },
  { "means of 2 x 2", function(x) return fm.upsample(fm.downsample(x)) end, 1 },
}

--- Measure every change of a data set's images.
-- @tparam table reference see flowmap.measure.image_distances
-- @tparam function images images(index) -> (n, h, w, 3): the held-out images, numbered from 0
-- @tparam integer n number of held-out images
-- @tparam[opt] table options see flowmap.measure.image_distances
-- @treturn {table,...} rows of flowmap.measure.image_distances, each with its `change`
function M.rows(reference, images, n, options)
  local metrics, out = distances.new(reference, options), {}
  for _, entry in ipairs(M.changes) do
    local name, change, part = table.unpack(entry)
    local function samples(first, count) return change(images(fm.arange(count) + first), first) end
    for _, row in ipairs(metrics:measure(samples, math.floor(part * n))) do
      row.change = name
      out[#out + 1] = row
    end
  end
  return out
end

--- The rows as CSV.
-- @tparam {table,...} rows
-- @treturn string
function M.csv(rows)
  local lines = { "change,metric,value,interval,n,n_reference,reference,split,protocol,features" }
  for _, r in ipairs(rows) do
    lines[#lines + 1] = ('"%s",%s,%.5g,%s,%d,%d,%s,%s,%s,%s'):format(r.change, r.metric, r.value,
      r.interval and ("%.2g"):format(r.interval) or "", r.n, r.n_reference, r.reference, r.split,
      r.protocol, r.features and r.features:sub(1, 12) or "")
  end
  return table.concat(lines, "\n") .. "\n"
end

return M
