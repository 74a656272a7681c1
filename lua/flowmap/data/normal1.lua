--- A Gaussian on the line, off the origin: its flow map is affine, see flowmap.exact.
-- @module flowmap.data.normal1

return require("flowmap.mixture").data({ weights = { 1 }, means = { { 0.5 } }, sds = { { 0.4 } } },
  { -2, 3 })
