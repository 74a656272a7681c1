-- # Four switches from ESD to MeanFlow
--
-- MeanFlow [@geng2025] trains well on images; ESD, which minimises the same residual, does not.
-- Three choices lie between them; a fourth, an average of the weights as the target, is what
-- consistency models add. In the notation of the [linear model](#a-model-that-can-be-solved) of
-- Eulerian self-distillation:
--
-- | switch | off, as in ESD | on |
-- |:--|:--|:--|
-- | `stop` | `full`: gradient through $\partial_s X_{s,t}$ | `target`: gradient through $v_{s,t}$ |
-- | `velocity` | `self`: $v_{s,s}$ | `sample`: $\dot I_s$ |
-- | `p` | 0: the square of $r$ | 1: weight $(1 + \lvert r\rvert^2/c^2)^{-1}$, $c = 0.1$ |
-- | `target` | `current` weights | `ema`: an average of the weights, here of decay 0.999 |
--
-- MeanFlow has the first three on and reads the current weights. The linear model predicts that
-- `stop` cures the instability, that `velocity` does nothing in expectation, that `p` cannot
-- prevent it but limits its damage, and that a slow average raises its threshold. This chapter
-- trains all 16 combinations. Diagonal fraction 0.75, uniform times and a square loss on the
-- diagonal are common to all; MeanFlow's own law of times and weight of the diagonal are not among
-- the switches. Since the diagonal keeps the weight 1, the weight of `p = 1` is normalised to 1 at
-- small residuals: it is $c^2$ times MeanFlow's $(\lvert r\rvert^2 + c^2)^{-1}$.

local fm = require "flowmap"

local switches = {
  name = "switches",
  title = "Four switches from ESD to MeanFlow",
  methods = { "esd" },
  seeds = 1,
}

local FACTORS = {
  { key = "stop", off = "full", on = "target" },
  { key = "velocity", off = "self", on = "sample" },
  { key = "p", off = 0, on = 1 },
  { key = "target", off = "current", on = "ema" },
}

-- ## The trainings
--
-- There are three laws: a mixture of Gaussians in two dimensions and one in sixteen, where the true
-- flow map is known ([the exact map](#the-exact-map)), and the checkerboard. The network reads
-- sines and cosines of its input, so that it resolves short waves early; the rate is constant. With
-- neither, ESD takes longer to explode on the checkerboard. These settings were chosen on seeds 101
-- and 102, which are not reported.

local DATA = { "modes2", "modes16", "checkerboard" }

-- All combinations of the four switches on one law.
local function points_of(data)
  local points = { { data = data, metrics = { data == "checkerboard" and "none" or "map" } } }
  for _, it in ipairs(FACTORS) do
    local more = {}
    for _, point in ipairs(points) do
      for _, value in ipairs { it.off, it.on } do
        local longer = { [it.key] = value }
        for key, given in pairs(point) do longer[key] = given end
        more[#more + 1] = longer
      end
    end
    points = more
  end
  return points
end

switches.grid = {}
for _, data in ipairs(DATA) do
  for _, point in ipairs(points_of(data)) do table.insert(switches.grid, point) end
end

switches.settings = {
  net = "mlp", depth = 4, features = 6, time_input = "standard", optimiser = "radam",
  schedule = "constant", clip = 10, eta = 0.75, target_decay = 0.999, nfe = { 1, 4 },
}

switches.metrics = { map = fm.map_error.metrics.map }

switches.profiles = {
  smoke = {
    width = 8, depth = 2, features = 1, batch = 64, micro = 64, steps = 20, lr = 4e-3,
    log_every = 5, gradients_every = 10, ema = { 0.9 }, eval_samples = 1000,
  },
  laptop = {
    width = 64, batch = 256, micro = 256, steps = 10000, lr = 4e-3, log_every = 100,
    gradients_every = 100, ema = { 0.999 }, eval_samples = 20000,
  },
  long = {
    width = 64, batch = 256, micro = 256, steps = 10000, lr = 4e-3, log_every = 100,
    gradients_every = 100, ema = { 0.999 }, eval_samples = 50000, seeds = 8,
  },
}

-- ## What is measured
--
-- A training *explodes* at the first line of its log (a mean over 100 steps) whose off-diagonal
-- loss exceeds a hundred times the median of the lines before, of which there are at least 20: a
-- spike before these, as ESD has one in sixteen dimensions, does not count. Clipping and RAdam keep
-- most exploded trainings finite; one whose values cease to be finite ends there, and both are
-- results.
-- The law of the gradient's norm is described by its median, its 99 % quantile and its maximum over
-- the lines. The cosine between the gradients of both terms of the objective is measured at every
-- hundredth step, on the next batch. The result is the map error relative to the variance of the
-- data on the mixtures, and the KL divergence at $N = 4$ on the checkerboard.
--
-- The effect of a switch *from all off* is the difference between ESD with that switch alone and
-- ESD itself (*all together*: with all four). *On average* it is the mean, over the eight settings
-- of the other switches, of the difference between this switch on and off. Both are paired over
-- seeds, which share initial weights, data and times.

switches.figures = {
  explosive = { writes = "table", draw = fm.stability.cells },
  cures = { writes = "table", draw = fm.stability.effects },
}

-- The trace of each cell with the lowest seed.
switches.figures.explosions = function(set)
  return fm.stability.traces(set, { switches = FACTORS })
end

switches.render = {}

local RESULTS = { modes2 = { "map_error", 1, "map error" }, modes16 = { "map_error", 1,
  "map error" }, checkerboard = { "kl", 4, "KL" } }
local NAMES = { modes2 = "the mixture in two dimensions", modes16 = "the mixture in sixteen "
  .. "dimensions", checkerboard = "the checkerboard" }

for _, data in ipairs(DATA) do
  local metric, N, label = table.unpack(RESULTS[data])
  for _, kind in ipairs { "explosive", "cures" } do
    table.insert(switches.render, { kind = kind, name = kind .. "-" .. data,
      where = { data = data }, switches = FACTORS, metric = metric, N = N, label = label,
      title = (kind == "explosive" and "All settings of the switches on %s."
        or "Effects of the switches on %s."):format(NAMES[data]) })
  end
  table.insert(switches.render, { kind = "explosions", name = "explosions-" .. data,
    where = { data = data } })
end

-- ## The mixture in two dimensions
--
-- The first note below each table of effects says whether ESD exploded, with which switches alone
-- no seed did, and for which of them that is shown.
--
-- {{table cures-modes2}}
--
-- {{table explosive-modes2}}
--
-- ![The off-diagonal loss in training on the mixture in two dimensions, of the lowest seed alone:
-- one panel per `stop` and `velocity`, one line per `p` and `target`. Every panel has a vertical
-- scale of its own.](figure:explosions-modes2)
--
-- ## The mixture in sixteen dimensions
--
-- {{table cures-modes16}}
--
-- {{table explosive-modes16}}
--
-- ![The off-diagonal loss in training on the mixture in sixteen dimensions, of the lowest seed
-- alone: one panel per `stop` and `velocity`, one line per `p` and `target`. Every panel has a
-- vertical scale of its own.](figure:explosions-modes16)
--
-- ## The checkerboard
--
-- {{table cures-checkerboard}}
--
-- {{table explosive-checkerboard}}
--
-- ![The off-diagonal loss in training on the checkerboard, of the lowest seed alone: one panel per
-- `stop` and `velocity`, one line per `p` and `target`. Every panel has a vertical scale of its
-- own.](figure:explosions-checkerboard)
--
-- ## Which switch cures it
--
-- The findings are those of the eight seeds of `long`; the numbers are those of the set that is
-- woven here. A p in this section is that of one question; the tables correct for several.
--
-- *Each of three switches alone does.* On the mixture in two dimensions, where ESD exploded, no
-- training exploded with `stop = target`, with `velocity = sample` or with `p = 1` alone
-- (@tab:explosive-modes2), and each of the three shortens the tail of the gradient's norm. In
-- `long` both are shown, also after Holm's correction. The map error changes by
--
-- - {{ratio map_error.ESD.N1[stop=target:full] data=modes2 velocity=self p=0 target=current %.2g}};
-- - {{ratio map_error.ESD.N1[velocity=sample:self] data=modes2 stop=full p=0 target=current %.2g}};
-- - {{ratio map_error.ESD.N1[p=1:0] data=modes2 stop=full velocity=self target=current %.2g}}.
--
-- After the correction that is shown for `stop` and `p`, and not for the sampled velocity. In
-- sixteen dimensions and on the checkerboard no difference in explosions is shown: ESD exploded in
-- fewer seeds there. There, too, each of the three alone makes the largest gradient smaller
-- relative to the median, which is shown.
--
-- Which trainings explode, and when, is decided by rounding. The same seeds, trained once before
-- with other kernels of BLAS, exploded in other numbers. Then a lower map error was shown for the
-- sampled velocity, and fewer explosions for none of the three.
--
-- *An average of the weights as the target is no cure.* Together with `stop = target` and without
-- `p = 1` it made trainings explode that are calm with `stop = target` alone, in most seeds on the
-- mixture in two dimensions:
--
-- - {{ratio map_error.ESD.N1[target=ema:current] data=modes2 stop=target velocity=self p=0 %.2g}}.
--
-- On average over the other switches, too, it makes the map error there larger. With ESD's own
-- stop-gradient fewer trainings exploded, and later, as the linear model has it; for
-- `stop = target` the model was not worked out with an average.
--
-- *The sampled velocity was predicted to change nothing in expectation.* In two dimensions it keeps
-- ESD from exploding all the same. The reason is open: its noise also enters the residual, so
-- clipping and RAdam act on another gradient.
--
-- *Which setting gives the best map depends on the law.* On the mixture in two dimensions it is
-- `stop = target` alone, with an error of
-- {{map_error.ESD.N1 data=modes2 stop=target velocity=self p=0 target=current %.2g}} of the
-- variance of the data; that of ESD is
-- {{map_error.ESD.N1 data=modes2 stop=full velocity=self p=0 target=current %.2g}}, with `p = 1`
-- alone {{map_error.ESD.N1 data=modes2 stop=full velocity=self p=1 target=current %.2g}}, and with
-- MeanFlow's three switches
-- {{map_error.ESD.N1 data=modes2 stop=target velocity=sample p=1 target=current %.2g}}: the weight
-- acts there on a residual that contains the noise of $\dot I$ and moves its minimum. In sixteen
-- dimensions the error of `stop = target` alone is
-- {{map_error.ESD.N1 data=modes16 stop=target velocity=self p=0 target=current %.2g}}, but with the
-- sampled velocity and the average it is
-- {{map_error.ESD.N1 data=modes16 stop=target velocity=sample p=0 target=ema %.2g}}, the smallest
-- of all. The average helps there:
--
-- {{ratio map_error.ESD.N1[target=ema:current] data=modes16 stop=target velocity=sample p=0 %.2g}}.
--
-- On the checkerboard, at four steps, the sampled velocity alone has a KL of
-- {{kl.ESD.N4 data=checkerboard stop=full velocity=sample p=0 target=current %.2f}}, `stop =
-- target` alone {{kl.ESD.N4 data=checkerboard stop=target velocity=self p=0 target=current %.2f}}.
--
-- A training without explosions need not learn the right map.

return switches
