--- A Gaussian in the plane with different deviations of the coordinates: its flow map is affine,
-- see flowmap.exact.
-- @module flowmap.data.normal2

return require("flowmap.mixture").data({ weights = { 1 }, means = { { 0.5, -0.3 } },
  sds = { { 0.25, 0.7 } } }, { -3, 3 })
