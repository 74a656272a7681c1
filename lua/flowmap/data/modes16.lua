--- Four Gaussians in 16 dimensions, with means at corners of a cube that differ in half of their
-- coordinates: the exact flow map is integrated, see flowmap.exact.
-- @module flowmap.data.modes16

local means, sds = {}, {}
for k = 0, 3 do
  means[k + 1], sds[k + 1] = {}, {}
  for i = 0, 15 do
    local bits = (i & k) ~ ((i & k) >> 1) -- the parity of i & k: a row of a Hadamard matrix
    means[k + 1][i + 1] = bits & 1 == 0 and 0.4 or -0.4
    sds[k + 1][i + 1] = 0.25
  end
end

return require("flowmap.mixture").data { weights = { 0.4, 0.3, 0.2, 0.1 }, means = means,
  sds = sds }
