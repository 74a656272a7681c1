-- Designs of two-level factors: balance, orthogonality and confounding against textbook facts.

local t = require "harness"
local fm = require "flowmap"
local design = fm.design

local function text(rows)
  local lines = {}
  for i, row in ipairs(rows) do
    local signs = {}
    for j, level in ipairs(row) do signs[j] = level > 0 and "+" or "-" end
    lines[i] = table.concat(signs)
  end
  return lines
end

t.test("a full factorial has every cell once and confounds nothing", function()
  t.eq(text(design.factorial(2)), { "--", "+-", "-+", "++" })
  for k = 1, 4 do
    local rows, seen = design.factorial(k), {}
    for _, line in ipairs(text(rows)) do seen[line] = true end
    t.eq(#require("flowmap.tree").keys(seen), 2 ^ k // 1)
    t.eq(design.resolution(rows), nil)
    t.eq(design.aliases(rows), {})
  end
end)

t.test("Plackett and Burman's designs are balanced and orthogonal", function()
  for _, n in ipairs { 8, 12, 20, 24 } do
    local rows = design.plackett_burman(n, n - 1)
    t.eq({ #rows, #rows[1] }, { n, n - 1 })
    t.eq(text(rows)[n], ("-"):rep(n - 1))
    for j = 1, n - 1 do
      t.eq(design.word(rows, { j }), 0.0, "balance")
      for i = 1, j - 1 do t.eq(design.word(rows, { i, j }), 0.0, "orthogonality") end
    end
    t.eq(design.resolution(rows), 3)
  end
  t.raises(function() design.plackett_burman(16, 3) end, "8, 12, 20 or 24 rows")
  t.raises(function() design.plackett_burman(8, 8) end, "fewer factors than rows")
end)

t.test("folding over gives resolution 4", function()
  for _, n in ipairs { 8, 12, 24 } do
    local rows = design.fold_over(design.plackett_burman(n, 6))
    t.eq(#rows, 2 * n)
    t.eq(design.resolution(rows), 4)
    t.eq(design.mirror(rows[1]), rows[2])
  end
end)

t.test("what the 16-cell fraction of six factors confounds", function()
  -- 2^(6-2), resolution IV: three words of four letters (Box, Hunter, Hunter), nine pairs.
  local pairs_of = design.aliases(design.fold_over(design.plackett_burman(8, 6)))
  t.eq(#pairs_of, 9)
  for _, it in ipairs(pairs_of) do t.eq(math.abs(it[3]), 1.0, "fully confounded") end
  for _, it in ipairs(design.aliases(design.fold_over(design.plackett_burman(12, 6)))) do
    t.near(math.abs(it[3]), 1 / 3, 1e-15, "Plackett-Burman: partly")
  end
end)

t.test("the settings of a cell", function()
  local levels = { { { p = 0 }, { p = 1, c = 0.1 } }, { {}, { eta = 0.5 } } }
  t.eq(design.point(levels, { -1, -1 }, { seed = 3 }), { p = 0, seed = 3 })
  t.eq(design.point(levels, { 1, 1 }), { p = 1, c = 0.1, eta = 0.5 })
end)

t.done()
