--- Registry of the features for Frechet and kernel distances. Each kind of features is a file in
-- this folder, whose `open(protocol, options)` returns
--
--     { label = "FD-cnn", kernel = "KID-cnn",   -- names of its two distances
--       dim =, protocol =, hash =,              -- hash: SHA-256 of the weights' file
--       offset =,                               -- of flowmap.measure.frechet's distance
--       extract = function(x) ... end,          -- (n, h, w, 3) in [-1, 1] -> (n, dim)
--       suffix = "cnn",                         -- of the names of flowmap.measure.feature_metrics
--       logits = function(f) ... end }          -- (n, dim) -> (n, classes)
--
-- `suffix` and `logits` are absent if the features serve the two distances alone.
--
-- @module flowmap.measure.features

local fm = require "flowmap"
local errors = require "flowmap.base.errors"
local files = require "flowmap.base.files"

local M = {}

--- Open a kind of features.
-- @tparam string name e.g. "cnn" or "inception"
-- @tparam[opt] string protocol default: the kind's first
-- @tparam[opt] table options of the kind, e.g. { path = weights }
-- @treturn table
function M.open(name, protocol, options)
  errors.choice("features", name, files.modules "flowmap.measure.features")
  local kind = require("flowmap.measure.features." .. name)
  protocol = errors.choice("protocol of " .. name, protocol or kind.protocols[1], kind.protocols)
  return kind.open(protocol, options or {})
end

--- Turn a traced function into one that extracts features from any number of images. It always runs
-- on the same number of images at a time, and the last batch is padded with zeros, so the bits of
-- an image's features do not depend on its batch.
-- @tparam function f (micro, h, w, 3) -> (micro, dim), from tensor operations
-- @tparam integer micro images at a time
-- @treturn function (n, h, w, 3) -> (n, dim)
function M.extractor(f, micro)
  local programs = {} -- indexed by image size
  return function(x)
    if #x.shape ~= 4 or x.shape[4] ~= 3 or x.shape[1] < 1 then
      errors.usage("features: images of the shape (%s) found, expected (n, h, w, 3)",
        table.concat(x.shape, ", "))
    end
    local n, h, w = x.shape[1], x.shape[2], x.shape[3]
    local size = h .. "x" .. w
    programs[size] = programs[size] or fm.program(function(_, b)
      return { rows = f(b.rows.x) }
    end, { rows = { x = { h, w, 3 } }, micro = micro })
    local missing = -n % micro
    if missing > 0 then x = fm.concat({ x, fm.zeros { missing, h, w, 3 } }, 1) end
    local y = programs[size]:run { rows = { x = x }, batch = n + missing }.rows
    return missing > 0 and fm.slice(y, 1, 1, n) or y
  end
end

return M
