--- Three unequal Gaussians on the line: the exact flow map is known by quantiles, see
-- flowmap.exact.
-- @module flowmap.data.modes1

return require("flowmap.mixture").data({ weights = { 0.3, 0.5, 0.2 },
  means = { { -0.8 }, { 0.1 }, { 0.9 } }, sds = { { 0.1 }, { 0.15 }, { 0.1 } } }, { -2, 2 })
