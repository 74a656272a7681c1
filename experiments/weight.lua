-- # The learned weight
--
-- On images the paper's network learns a weight $w(s,t)$ beside the velocity: a residual with the
-- squared norm $L$ enters the objective as $e^{-w} L + w$. This chapter derives what the weight
-- does and asks what it is worth, for LSD and PSD-M, on a small network.
--
-- ## What the weight does
--
-- Let $M(s,t) = E[L \mid s, t]$. Given the network, the objective is smallest at
-- $e^{w(s,t)} = M(s,t)$, where it becomes
-- $$E_{s,t}\bigl[\,1 + \log M(s,t)\,\bigr], \qquad
--   \text{with the gradient} \quad E_{s,t}\bigl[\nabla M / M\bigr].$$
-- The weight thus replaces the arithmetic mean of the residuals over the times by their geometric
-- mean. This has two effects of different size.
--
-- - **Among the times of one term** it equalises the influence of pairs $(s,t)$ whose residuals
--   differ.
-- - **Between the terms** it changes the balance. On the diagonal $L$ is never small:
--   $M(t,t) \ge E\,|\dot I_t - b_t(I_t)|^2$, the variance that flow matching cannot explain. The
--   residuals of the map have no such bound. As they fall, the weight multiplies their gradients
--   by $1/M(s,t)$, which grows, whereas without it the diagonal dominates the gradient more and
--   more. A learned weight therefore acts like a rising weight of the off-diagonal term.
--
-- $M$ jumps at $s = t$ from the map's residual to the diagonal's, and $w$ is a smooth function of
-- both times. Close to the diagonal, where most rows of a batch lie, it has to follow the larger of
-- the two, so short jumps keep the small weight of the diagonal.
--
-- A constant weight does neither. It scales the gradient, to which RAdam is insensitive after its
-- first steps, except through the bound of 1 on the gradient's norm. Without a weight, $L$ sums
-- over $32 \times 32 \times 3$ values and the bound is exceeded throughout; with one, only at the
-- start. A third kind of run, with $w = 6$ constant (about the logarithm of the diagonal's
-- residual), tells the two effects of the weight from that of the bound. It is the suite's network
-- with another weight:

local fm = require "flowmap"
local images = require "flowmap.experiment.image_template"

local CONSTANT = 6.0

local function constant_weight(cfg)
  local net = fm.nets.build(setmetatable({ net = "edm2" }, { __index = cfg }))
  net.weight = function(_, s) return fm.full({ s.shape[1] }, CONSTANT, s.dtype) end
  net.constant_weight = true
  return net
end

local weight = {
  name = "weight",
  title = "The learned weight",
  methods = { "lsd", "psd-m" },
  nets = { constant = constant_weight },
  settings = { data = "cifar10", mult = { 1, 2, 4 }, num_blocks = 1, attention = {}, eta = 0.75 },
  grid = {
    { net = "edm2", learned_weight = true }, { net = "edm2", learned_weight = false },
    { net = "constant", learned_weight = false },
  },
}

-- ## The runs
--
-- Network, optimiser and highest learning rate are those of [the ladder](#the-ladder-on-cifar-10);
-- here the rate falls linearly to zero. Nothing was tuned. Both methods have the same diagonal
-- fraction, 0.75. All runs of a seed start from the same weights and draw the same data and times,
-- with the learned weight or without it, so differences are paired. `long` has six seeds, the
-- fewest with which one difference can be shown at level 0.05; the tables, whose families of
-- questions are larger, need more and say so.

weight.profiles = {
  smoke = {
    seeds = { 1 },
    model_channels = 4, mult = { 1, 1 }, batch = 8, micro = 4, steps = 4, lr = 1e-2,
    schedule = "linear", log_every = 2, ema = { 0.9 }, nfe = { 1, 4 }, eval_samples = 256,
    image_metrics = { "nulls", "sw2" },
  },
  laptop = {
    seeds = { 11 },
    model_channels = 8, batch = 16, micro = 8, steps = 200, lr = 3e-2, b2 = 0.99,
    schedule = "linear", log_every = 50, ema = { 0.97 }, nfe = { 1, 4 }, eval_samples = 1000,
    image_metrics = { "nulls", "sw2" },
  },
  long = {
    seeds = { 11, 12, 13, 14, 15, 16 },
    model_channels = 8, batch = 16, micro = 8, steps = 1200, lr = 3e-2, b2 = 0.99,
    schedule = "linear", log_every = 50, ema = { 0.995 }, nfe = { 1, 4 }, eval_samples = 1000,
    image_metrics = { "nulls", "sw2" },
  },
}

-- The scale $e^{w(s,t)}$ of a trained network, on a grid of times:

local TIMES = 17

weight.metrics = { scale = {
  measure = function(_, context)
    local net, s, t = fm.nets.build(context.cfg, weight.nets), {}, {}
    for i = 1, TIMES do
      for j = 1, TIMES do
        s[#s + 1], t[#t + 1] = { (i - 1) / (TIMES - 1) }, { (j - 1) / (TIMES - 1) }
      end
    end
    s, t = fm.tensor(s, context.cfg.dtype), fm.tensor(t, context.cfg.dtype)
    local w = net.weight and net.weight(context.params, s, t) or fm.zeros({ #s }, s.dtype)
    context.keep("scale", fm.reshape(fm.exp(w), { TIMES, TIMES }))
    return { start_to_end = math.exp(w:get(TIMES)), middle = math.exp(w:get(#w // 2 + 1)) }
  end,
} }

-- ## Two distances
--
-- FD-cnn compares the mean and covariance of features of a classifier, the sliced Wasserstein
-- distance (SW) patches of the images themselves. They need not agree on the order of the methods,
-- and in earlier runs of this suite they did not at few steps. The tables of the order therefore
-- have a third distance between them: SW2-cnn, the sliced Wasserstein-2 distance of the same
-- features as FD-cnn's. If it sides with FD-cnn, the features make the difference; if with SW, the
-- kind of distance does.

local function switch(name, metric, format, title)
  return { kind = "switch", name = name, metric = metric, switch = "learned_weight",
    against = "false", rows = { "method" }, where = { net = "edm2" }, format = format,
    title = title }
end

local function order(learned, N)
  return { kind = "several", name = ("order-%s-N%d"):format(learned, N), rows = { "method" }, N = N,
    where = { net = "edm2", learned_weight = learned }, format = "%.3f", order = true,
    floors = true, metrics = { "fd_cnn", "sw2_cnn", "sw" },
    columns = { "FD-cnn", "SW2-cnn", "SW" },
    title = ("Three distances at N = %d, %s the learned weight."):format(N,
      learned and "with" or "without") }
end

weight.render = {
  switch("fd_cnn", "fd_cnn", "%.2f", "FD-cnn with the learned weight and without."),
  switch("sw", "sw", "%.3f",
    "Sliced Wasserstein distance of patches with the learned weight and without."),
  { kind = "switch", name = "constant", metric = "fd_cnn", switch = "net", against = "edm2",
    rows = { "method" }, where = { learned_weight = false }, format = "%.2f",
    title = "FD-cnn with a constant weight (net = constant) and with none (net = edm2)." },
  order(true, 1), order(true, 4), order(false, 1), order(false, 4),
  { kind = "heat", name = "scale", where = { net = "edm2", learned_weight = true },
    file = "scale", label = "exp(w)" },
  { kind = "traces", name = "traces-learned", where = { net = "edm2", learned_weight = true } },
  { kind = "traces", name = "traces-none", where = { net = "edm2", learned_weight = false } },
}

-- ## Results
--
-- ![The scale $e^{w(s,t)}$ that the network learned, an estimate of the mean square of the residual
-- at each pair of times, one panel per method.](figure:scale)
--
-- ![Training traces with the learned weight: loss, off-diagonal term and gradient norm before
-- clipping against the samples seen, one line per method and seed; terms are logged without the
-- weight.](figure:traces-learned)
--
-- ![Training traces without the learned weight: loss, off-diagonal term and gradient norm before
-- clipping against the samples seen, one line per method and seed.](figure:traces-none)
--
-- With the learned weight against without, FD-cnn:
--
-- - one step: {{difference fd_cnn.LSD.N1[learned_weight=true:false] net=edm2 %.2f}};
--   {{difference fd_cnn.PSD-M.N1[learned_weight=true:false] net=edm2 %.2f}};
-- - four steps: {{difference fd_cnn.LSD.N4[learned_weight=true:false] net=edm2 %.2f}};
--   {{difference fd_cnn.PSD-M.N4[learned_weight=true:false] net=edm2 %.2f}}.
--
-- In SW:
--
-- - one step: {{difference sw.LSD.N1[learned_weight=true:false] net=edm2 %.3f}};
--   {{difference sw.PSD-M.N1[learned_weight=true:false] net=edm2 %.3f}};
-- - four steps: {{difference sw.LSD.N4[learned_weight=true:false] net=edm2 %.3f}};
--   {{difference sw.PSD-M.N4[learned_weight=true:false] net=edm2 %.3f}}.
--
-- {{table fd_cnn}}
--
-- {{table sw}}
--
-- A constant weight against none, which differ only in how often the bound on the gradient's norm
-- acts, in FD-cnn at one step:
-- {{difference fd_cnn.LSD.N1[net=constant:edm2] learned_weight=false %.2f}};
-- {{difference fd_cnn.PSD-M.N1[net=constant:edm2] learned_weight=false %.2f}}.
--
-- {{table constant}}
--
-- ## The order of the methods
--
-- With the learned weight, as in the paper, PSD-M against LSD:
--
-- - FD-cnn, one step: {{difference fd_cnn.PSD-M.N1 fd_cnn.LSD.N1 learned_weight=true %.2f}};
--   four steps: {{difference fd_cnn.PSD-M.N4 fd_cnn.LSD.N4 learned_weight=true %.2f}};
-- - SW2-cnn, one step: {{difference sw2_cnn.PSD-M.N1 sw2_cnn.LSD.N1 learned_weight=true %.3f}};
--   four steps: {{difference sw2_cnn.PSD-M.N4 sw2_cnn.LSD.N4 learned_weight=true %.3f}};
-- - SW, one step: {{difference sw.PSD-M.N1 sw.LSD.N1 learned_weight=true %.3f}}; four steps:
--   {{difference sw.PSD-M.N4 sw.LSD.N4 learned_weight=true %.3f}}.
--
-- The order is established where the three agree and show a difference; elsewhere it depends on the
-- distance, and no order of the methods is claimed.
--
-- {{table order-true-N1}}
--
-- {{table order-true-N4}}
--
-- {{table order-false-N1}}
--
-- {{table order-false-N4}}

return images.experiment(weight)
