-- Denormals are zero while the core computes, eagerly and in programs, on every thread and with
-- every instruction set; the arithmetic of the surrounding program is unchanged.

local t = require "harness"
local fm = require "flowmap"

local SMALL = 1e-39 -- a denormal float32; 2e-39, 3e-39 are denormal, too

local function values(x) return x:flat() end

t.test("an operation reads and writes denormals as zero, with every instruction set", function()
  local best = fm.info().isa
  for _, isa in ipairs { "scalar", "avx2", "avx512", "neon" } do
    local known, used = pcall(fm.set_isa, isa)
    if known and used == isa then
      t.eq(values(fm.tensor { SMALL, -SMALL, 1e-30 } * 2), { 0, 0, fm.tensor { 2e-30 }:flat()[1] },
        isa)
      t.eq(values(fm.tensor { 1e-20 } * fm.tensor { 1e-20 }), { 0 }, isa)
      t.eq(values(fm.matmul(fm.full({ 1, 256 }, SMALL), fm.full({ 256, 8 }, 1e30))),
        { 0, 0, 0, 0, 0, 0, 0, 0 }, isa)
      t.eq(values(fm.tensor({ 1e-310 }, "float64") * 2), { 0 }, isa)
    end
  end
  fm.set_isa(best)
end)

t.test("a program does the same with any number of threads", function()
  local p = fm.program(function(_, b)
    return { sum = { y = fm.sum(b.rows.x * 1e38) }, rows = { z = b.rows.x * 0.5 } }
  end, { rows = { x = { 3 } }, micro = 4 })
  local was = fm.info().threads
  for _, threads in ipairs { 1, 2, 4 } do
    fm.set_threads(threads)
    local out = p:run { batch = 64, rows = { x = fm.full({ 64, 3 }, SMALL) } }
    t.eq(out.sum.y:item(), 0)
    t.eq(fm.max_reduce(fm.abs(out.rows.z)):item(), 0)
  end
  fm.set_threads(was)
end)

t.test("Lua's own numbers keep their denormals", function()
  local _ = fm.ones { 64 } * 2
  t.eq(5e-324 * 1.0 > 0, true)
  t.eq(2.3e-308 / 4 > 0, true)
end)

t.done()
