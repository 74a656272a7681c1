--- A Gaussian in 16 dimensions, with deviations from 0.2 to 1: its flow map is affine, see
-- flowmap.exact.
-- @module flowmap.data.normal16

local means, sds = {}, {}
for i = 1, 16 do
  means[i] = i % 2 == 1 and 0.3 or -0.3
  sds[i] = 0.2 * 5 ^ ((i - 1) / 15)
end

return require("flowmap.mixture").data { weights = { 1 }, means = { means }, sds = { sds } }
