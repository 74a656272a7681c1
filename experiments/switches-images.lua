-- # Four switches from ESD to MeanFlow: images
--
-- In an earlier run on CIFAR-10 ESD exploded within a few hundred steps. This chapter repeats [the
-- four switches](#four-switches-from-esd-to-meanflow) on CIFAR-10 with a small network, for a
-- fraction of the combinations: ESD, ESD with each switch alone, and with all four.

local images = require "flowmap.experiment.image_template"
local fm = require "flowmap"

local switches = {
  name = "switches-images",
  title = "Four switches from ESD to MeanFlow: images",
  methods = { "esd" },
  settings = { data = "cifar10", mult = { 1, 2, 4 }, num_blocks = 1, attention = {}, eta = 0.75,
    target_decay = 0.99 },
}

local FACTORS = {
  { key = "stop", off = "full", on = "target" },
  { key = "velocity", off = "self", on = "sample" },
  { key = "p", off = 0, on = 1 },
  { key = "target", off = "current", on = "ema" },
}

-- The point with the given switch on, with none (0) or with all (5).
local function point(which)
  local out = {}
  for j, it in ipairs(FACTORS) do
    out[it.key] = (which == j or which == #FACTORS + 1) and it.on or it.off
  end
  return out
end

switches.grid = {}
for which = 0, #FACTORS + 1 do switches.grid[which + 1] = point(which) end

-- ## The trainings
--
-- Network, optimiser and learned weight $w(s,t)$ are those of [CIFAR-10](#cifar-10) with fewer
-- channels. The scale $c$ of the weight $(1 + |r|^2/c^2)^{-p}$ grows with the number of values,
-- $c = \sqrt{32 \times 32 \times 3}\,/\,10 \approx 5.5$. Nothing was tuned. When a training
-- explodes depends on rounding: one run is one run, and two seeds cannot show a difference at level
-- 0.05. The tables describe what happened.

switches.profiles = {
  smoke = {
    seeds = { 1 },
    model_channels = 4, mult = { 1, 1 }, batch = 16, micro = 8, steps = 4, lr = 1e-2, c = 5.5,
    schedule = "linear", log_every = 1, gradients_every = 2, ema = { 0.9 }, nfe = { 1, 4 },
    eval_samples = 256,
  },
  laptop = {
    seeds = { 1 },
    model_channels = 8, mult = { 1, 2 }, batch = 16, micro = 8, steps = 150, lr = 3e-2, b2 = 0.99,
    c = 5.5, schedule = "linear", log_every = 5, gradients_every = 25, ema = { 0.9 },
    nfe = { 1, 4 }, eval_samples = 256,
  },
  long = {
    seeds = { 1, 2 },
    model_channels = 8, batch = 16, micro = 8, steps = 3500, lr = 3e-2, b2 = 0.99, c = 5.5,
    schedule = "linear", log_every = 10, gradients_every = 100, ema = { 0.995 },
    nfe = { 1, 4 }, eval_samples = 1000,
  },
}

switches.figures = {
  explosive = { writes = "table", draw = fm.stability.cells },
  cures = { writes = "table", draw = fm.stability.effects },
  explosions = function(set) return fm.stability.traces(set, { switches = FACTORS }) end,
}

-- The result is FD-cnn, the Fréchet distance in the features of our own classifier, at four steps.

switches.render = {
  { kind = "cures", name = "cures", switches = FACTORS, metric = "fd_cnn", N = 4, label = "FD-cnn",
    title = "Effects of the switches on CIFAR-10." },
  { kind = "explosive", name = "explosive", switches = FACTORS, metric = "fd_cnn", N = 4,
    label = "FD-cnn", title = "Settings of the switches on CIFAR-10." },
  { kind = "explosions", name = "explosions" },
}

-- ## Results
--
-- FD-cnn at four steps of ESD with one switch alone, against ESD:
--
-- - {{ratio fd_cnn.ESD.N4[stop=target:full] velocity=self p=0 target=current %.2f}};
-- - {{ratio fd_cnn.ESD.N4[velocity=sample:self] stop=full p=0 target=current %.2f}};
-- - {{ratio fd_cnn.ESD.N4[p=1:0] stop=full velocity=self target=current %.2f}};
-- - {{ratio fd_cnn.ESD.N4[target=ema:current] stop=full velocity=self p=0 %.2f}}.
--
-- The tables say which trainings exploded, and when.
--
-- {{table cures}}
--
-- {{table explosive}}
--
-- ![The off-diagonal loss in training, of the lowest seed alone: one panel per `stop` and
-- `velocity`, one line per `p` and `target`. Every panel has a vertical scale of its
-- own.](figure:explosions)

return images.experiment(switches)
