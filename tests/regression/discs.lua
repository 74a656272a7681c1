--- Small images for the gate: a bright disc on a dark ground, drawn by formula, so that no data set
-- has to be present. Two classes: warm and cold colours.
-- @module discs

local fm = require "flowmap"

local SIDE, COUNT = 16, 128

-- The bytes of all images, (COUNT, SIDE, SIDE, 3), and their labels.
local function draw()
  local u = fm.uniform({ COUNT, 4 }, { seed = 1, stream = "discs" })
  local function column(k) return fm.reshape(fm.slice(u, 2, k, 1), { COUNT, 1, 1, 1 }) end
  local at = fm.reshape((fm.arange(SIDE) + 0.5) / SIDE, { 1, SIDE, 1, 1 })
  local dx = fm.reshape(at, { 1, 1, SIDE, 1 }) - (0.3 + 0.4 * column(2))
  local dy = at - (0.3 + 0.4 * column(1))
  local edge = (0.12 + 0.15 * column(3)) - fm.sqrt(fm.square(dx) + fm.square(dy))
  local disc = fm.sigmoid(24 * edge)
  local cold = fm.lt(column(4), 0.5)
  local warmth = fm.concat({ 1 - 0.7 * cold, 0.6 + 0 * cold, 0.3 + 0.7 * cold }, 4)
  local bytes = {}
  for i, value in ipairs((0.1 + 0.85 * disc * warmth):flat()) do
    bytes[i] = string.char(math.floor(255 * value))
  end
  return fm.from_bytes(table.concat(bytes), { COUNT, SIDE, SIDE, 3 }), fm.reshape(cold, { COUNT })
end

local pixels, labels = draw()

local discs = { name = "discs", methods = { "lsd", "esd", "psd-m", "psd-u" } }

discs.data = { discs = {
  shape = { SIDE, SIDE, 3 }, sd = 0.5, dim = SIDE * SIDE * 3, table = pixels, labels = labels,
  count = COUNT, classes = 2, hash = fm.sha256(pixels:bytes()),
  sample = function() error "images are drawn from the table" end,
} }

discs.settings = {
  data = "discs", net = "edm2", sigma = 0.5, model_channels = 4, mult = { 1, 2 }, num_blocks = 1,
  attention = { 8 }, dropout = 0.1, optimiser = "adamw", b2 = 0.99,
}

discs.profiles = {
  smoke = { batch = 8, micro = 4, steps = 20, lr = 2e-2, schedule = "linear", ema = { 0.9 },
    nfe = { 1, 2 }, eval_samples = 64 },
}

return discs
