--- Four unequal Gaussians in the plane, without symmetry: the exact flow map is integrated, see
-- flowmap.exact.
-- @module flowmap.data.modes2

return require("flowmap.mixture").data({ weights = { 0.35, 0.25, 0.25, 0.15 },
  means = { { -0.7, -0.3 }, { 0.6, -0.6 }, { 0.3, 0.7 }, { -0.5, 0.8 } },
  sds = { { 0.2, 0.12 }, { 0.15, 0.15 }, { 0.12, 0.2 }, { 0.1, 0.1 } } }, { -2, 2 })
