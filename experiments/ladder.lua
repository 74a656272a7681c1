-- # The ladder on CIFAR-10
--
-- LSD as the paper trains it on [CIFAR-10](#cifar-10) has uniform times, the squared residual, the
-- network's own current weights in the target, dropout in the diagonal term alone, and no
-- augmentation. Published methods of the same family train with further ingredients. This chapter
-- adds them one at a time, each rung on top of all rungs below it, and asks what each is worth at a
-- small budget: at equal images and at equal processor time.

local images = require "flowmap.experiment.image_template"

local ladder = { name = "ladder", title = "The ladder on CIFAR-10" }

-- ## The rungs
--
-- 0. **LSD**, with the squared residual and the learned weight $w(s,t)$, but without dropout.
-- 1. **Dropout** of 13 % in both terms. Within the off-diagonal loss of a sample, all evaluations
--    of the network share their masks, as student and teacher do in consistency training
--    [@song2023]: the loss is a property of one map.
-- 2. **Flip**: half of the images are mirrored, so the law that is learned is the symmetrised one.
-- 3. **EDM** augmentation in place of plain mirroring [@karras2022]: with probability
--    {{config.3-EDM.augment_p}} each, images are turned upside down, scaled, rotated, stretched and
--    shifted. The network is told how, and samples are drawn with the labels of an untouched image.
--    Images are interpolated linearly here, without the published filter against aliasing.
-- 4. **p-Weight**: a sample of the off-diagonal term has the weight $(1 + L/c^2)^{-p}$ with
--    $p = 0.75$ and $c^2 = 10^{-3}$. Up to the constant factor $c^{2p}$ this is the weight of
--    MeanFlow on CIFAR-10 [@geng2025], which gives it to the diagonal as well; that cannot be
--    copied, see below.
-- 5. **Times**: $s$ and $t$ of the off-diagonal term are two logit-normal variates, sorted, of mean
--    2 and standard deviation 2, as in MeanFlow on CIFAR-10. The diagonal keeps its uniform times,
--    which MeanFlow's does not.
-- 6. **Target**: the velocity in the target is that of an average of the weights with decay 0.99,
--    as in terminal velocity matching [@zhou2025].
-- 7. **EMA**: the average that is evaluated has five times the length; training is that of rung 6.
--
-- MeanFlow's off-diagonal residual contains $\dot I_s$ and never vanishes. That of
-- self-distillation does, at once for $v = 0$: such a sample has the weight 1, while the diagonal,
-- where $|v - \dot I_t|^2 = |\dot I_t|^2$, would have only about $(E|\dot I_t|^2/c^2)^{-p}$. The
-- terms would pull with weights in the ratio $(E|\dot I_t|^2 / c^2)^p$, which is above $10^4$ here,
-- and hold the network at $v = 0$. Besides, a weighted diagonal learns another velocity than that
-- of the flow, see [The exact map](#a-robust-loss-on-the-diagonal). So the diagonal keeps its
-- square here, and the learned weight keeps the balance.
--
-- The worth of a rung depends on the rungs below: in another order the same ingredients may be
-- worth more or less.

local lagrangian = { family = "lagrangian", stops = { "convex", "none" } }

local rungs = {
  { "lsd", relative_cost = 1.0 },
  { "1-Dropout", dropout = 0.13, dropout_off = true, relative_cost = 1.01 },
  { "2-Flip", augment = "flip" },
  { "3-EDM", augment = "edm", relative_cost = 1.02 },
  { "4-p-Weight", p = 0.75, c = 0.0316 },
  { "5-Times", times = "logit_normal", times_mean = { 2, 2 }, times_sd = { 2, 2 } },
  { "6-Target", target = "ema", target_decay = 0.99, relative_cost = 1.04 },
  { "7-EMA" },
}

ladder.methods = { "lsd", "1-Dropout", "2-Flip", "3-EDM", "4-p-Weight", "5-Times", "6-Target",
  "7-EMA" }

ladder.losses = {
  ["1-Dropout"] = lagrangian, ["2-Flip"] = lagrangian, ["3-EDM"] = lagrangian,
  ["4-p-Weight"] = lagrangian, ["5-Times"] = lagrangian, ["6-Target"] = lagrangian,
  ["7-EMA"] = lagrangian,
}

-- A rung has its own settings and those of all rungs below, of which it replaces what it names.

-- ## Equal images, equal time
--
-- All rungs see the same number of images. Their steps cost slightly different times:
-- `relative_cost` is the processor time of a step over that of LSD, measured once on one core, with
-- the steps of all rungs interleaved, before any run that is reported. The learning rate is
-- constant, so the weights after $n$ steps are those of a training of $n$ steps, and the average
-- after (steps / `relative_cost`) steps is what a rung reaches in LSD's time. No number of a table
-- depends on a clock. The ratios are close to 1 and known to about two per cent.
--
-- The network has half the channels of CIFAR-10's `laptop` profile, so that eight rungs are
-- affordable; its learning rate is that of CIFAR-10's `long` profile. Trial runs had seed 101,
-- which is not reported. The first average has about the length, relative to the training, of the
-- paper's. `laptop` sees so few images, with one seed, that it only shows that the ladder runs.
-- `long` sees more images, with two seeds, which share initial weights and random numbers between
-- rungs: an ingredient draws from streams of its own. Two seeds hint at the size of a difference,
-- but cannot show one at level 0.05, whatever its size.

ladder.settings = { data = "cifar10", attention = {}, num_blocks = 1, schedule = "constant" }

ladder.profiles = {
  smoke = {
    model_channels = 4, mult = { 1, 1 }, batch = 8, micro = 4, steps = 6, lr = 1e-2, log_every = 2,
    nfe = { 1, 4 }, eval_samples = 256,
    by_method = images.climb(rungs, { ema = { 0.5 } }, { ema = { 0.9 } }),
  },
  laptop = {
    model_channels = 8, mult = { 1, 2, 4 }, batch = 16, micro = 8, steps = 800, lr = 3e-2,
    b2 = 0.99, log_every = 50, nfe = { 1, 4 }, eval_samples = 1000, image_metrics = { "nulls" },
    seeds = { 11 }, by_method = images.climb(rungs, { ema = { 0.96 } }, { ema = { 0.992 } }),
  },
  long = {
    model_channels = 8, mult = { 1, 2, 4 }, batch = 16, micro = 8, steps = 6000, lr = 3e-2,
    b2 = 0.99, log_every = 100, nfe = { 1, 4 }, eval_samples = 2000, image_metrics = { "nulls" },
    seeds = { 11, 12 }, by_method = images.climb(rungs, { ema = { 0.995 } }, { ema = { 0.999 } }),
  },
}

-- The figure shows one value per rung: the mean over seeds, and the single seeds.

local function rung_of(method)
  for k, rung in ipairs(rungs) do
    if rung[1]:upper() == method:upper() then return k - 1 end
  end
end

local function curve(set, metric, N, style)
  local mean, dots = {}, {}
  for _, method in ipairs(set:methods()) do
    local own, rung = set:select { method = method }, rung_of(method)
    local summary = own:summary(metric, N)
    mean[#mean + 1] = { rung, #own.diverged == 0 and summary.mean or 0 / 0 }
    for _, value in ipairs(summary.values) do dots[#dots + 1] = { rung, value } end
  end
  return { kind = "linespoints", rows = mean, key = style.key, label = style.key,
    colour = style.colour, point = style.point, dash = style.dash },
    { kind = "points", rows = dots, label = style.key .. ", single seeds", key = "single seeds",
      point = 7, size = 0.3, colour = "#404040" }
end

ladder.figures = {}

ladder.figures.rungs = function(set, spec)
  local panels, places = {}, {}
  for k in ipairs(rungs) do places[k] = k - 1 end
  for k, N in ipairs { 1, 4 } do
    local images_mean, dots = curve(set, spec.metric, N,
      { key = "equal images", colour = 6, point = 7 })
    local time_mean = curve(set, spec.metric .. "_equal_time", N,
      { key = "equal time", colour = 7, point = 4, dash = 2 })
    panels[k] = { title = "N = " .. N, xlabel = "rung", ylabel = k == 1 and spec.label,
      xtics = places, xrange = { -0.5, #rungs - 0.5 }, series = { images_mean, time_mean, dots } }
  end
  return { columns = 2, width = 360, height = 240, panels = panels }
end

local function climbed(name, metric, format, title)
  return { kind = "compare", name = name, metric = metric, format = format, title = title,
    nulls = true, paired = true, against = "previous" }
end

ladder.render = {
  climbed("fd_cnn", "fd_cnn", "%.3f", "FD-cnn of each rung at equal images, and its difference to "
    .. "the rung before"),
  climbed("fd_cnn-time", "fd_cnn_equal_time", "%.3f", "FD-cnn of each rung at equal processor "
    .. "time, and its difference to the rung before"),
  climbed("sw", "sw", "%.4f", "Sliced Wasserstein distance of each rung at equal images, and its "
    .. "difference to the rung before"),
  { kind = "rungs", name = "rungs", metric = "fd_cnn", label = "FD-cnn" },
  { kind = "grids", name = "samples" },
  { kind = "traces", name = "traces" },
}

-- ## Results
--
-- ![FD-cnn of one-step and four-step samples by rung, at equal images and at equal processor time:
-- the mean over seeds. Dots are the single seeds at equal images.](figure:rungs)
--
-- FD-cnn of one-step samples against the rung before, at equal images:
--
-- - Dropout: {{difference fd_cnn.1-Dropout.N1 fd_cnn.LSD.N1 %.2f}};
-- - Flip: {{difference fd_cnn.2-Flip.N1 fd_cnn.1-Dropout.N1 %.2f}};
-- - EDM: {{difference fd_cnn.3-EDM.N1 fd_cnn.2-Flip.N1 %.2f}};
-- - p-Weight: {{difference fd_cnn.4-p-Weight.N1 fd_cnn.3-EDM.N1 %.2f}};
-- - Times: {{difference fd_cnn.5-Times.N1 fd_cnn.4-p-Weight.N1 %.2f}};
-- - Target: {{difference fd_cnn.6-Target.N1 fd_cnn.5-Times.N1 %.2f}};
-- - EMA: {{difference fd_cnn.7-EMA.N1 fd_cnn.6-Target.N1 %.2f}}.
--
-- All rungs together, at equal images: {{difference fd_cnn.7-EMA.N1 fd_cnn.LSD.N1 %.2f}}; at equal
-- time: {{difference fd_cnn_equal_time.7-EMA.N1 fd_cnn_equal_time.LSD.N1 %.2f}}.
--
-- {{table fd_cnn}}
--
-- {{table fd_cnn-time}}
--
-- {{table sw}}
--
-- ![Samples of each rung: one row per number of steps, the same base samples in every row; images
-- of the data set at the left.](figure:samples)
--
-- ![Training traces: loss and off-diagonal term without weights, the latter also with them, and the
-- gradient norm of the weighted loss before clipping.](figure:traces)

return images.experiment(ladder)
