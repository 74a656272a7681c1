-- Weights that are products themselves: w w, w w', powers, recurrences. Calls that share an operand
-- are merged; these do not share one, although each is an operand of the next.

local t = require "harness"
local fm = require "flowmap"

local function matrix(shape, seed)
  return fm.normal(shape, { seed = seed, stream = "composed", dtype = "float64" })
end

local w, x = matrix({ 3, 3 }, 5), matrix({ 4, 3 }, 1)
local m = fm.matmul

local LOSSES = {
  ["a layer with w, then one with w w"] = function(a) return m(fm.tanh(m(x, a)), m(a, a)) end,
  ["a layer times w w'"] = function(a) return m(fm.tanh(m(x, a)), m(a, a, false, true)) end,
  ["u u with u = tanh(w)"] = function(a) local u = fm.tanh(a) return m(m(x, u), m(u, u)) end,
  ["the third power"] = function(a) return m(x, m(a, m(a, a))) end,
  ["a recurrence"] = function(a)
    local h = x
    for _ = 1, 3 do h = fm.tanh(m(h, m(a, a))) end
    return m(h, a)
  end,
}

-- The sum of the gradient times `along`, from values of the loss alone.
local function difference(loss, along)
  local h = 1e-5
  local function at(step) return fm.sum(fm.square(loss(w + along * step))):item() end
  return (at(h) - at(-h)) / (2 * h)
end

for name, loss in pairs(LOSSES) do
  t.test("gradient: " .. name, function()
    local along = matrix({ 3, 3 }, 7)
    local gradient = fm.grad(function(a) return fm.sum(fm.square(loss(a))) end)(w)
    local found, expected = fm.sum(gradient * along):item(), difference(loss, along)
    t.eq(math.abs(found - expected) < 1e-7 * (1 + math.abs(expected)), true,
      ("%.9g, by differences %.9g"):format(found, expected))
  end)
end

t.done()
