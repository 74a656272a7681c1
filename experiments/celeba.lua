-- # CelebA-64
--
-- Faces at $64 \times 64$: the aligned images of CelebA, whose central $140 \times 140$ pixels are
-- averaged down to this size. The network, objectives and metrics are those of
-- [CIFAR-10](#cifar-10), with a fourth level in the U-Net; the features of FD-cnn are still those
-- of the classifier of CIFAR-10. The tables name the data that a run used: where CelebA itself is
-- not available, openly licensed faces or the suite's own drawings stand in for it, and their
-- numbers are not comparable with the paper's.

local images = require "flowmap.experiment.image_template"

local celeba = {
  name = "celeba",
  title = "CelebA-64",
  settings = { data = "celeba", attention = { 16, 8 }, dropout = 0 },
  metrics_at = { 1, 4 },
}

-- ## Profiles
--
-- `paper` has {{published.reference.params %,d}} parameters, sees
-- {{published.reference.samples %,d}} images and computes wide matrix products in bfloat16; its
-- $3 \times 3$ convolutions stay in float32, for which there is Winograd's algorithm. `laptop`
-- trains at $32 \times 32$ (`resolution`), with the small network and the many large steps of
-- [CIFAR-10](#cifar-10), on about half as many images. `long` trains at $64 \times 64$.

celeba.profiles = {
  smoke = {
    resolution = 32, model_channels = 4, mult = { 1, 1 }, num_blocks = 1, attention = {},
    batch = 8, micro = 4, steps = 6, lr = 1e-2, schedule = "linear", log_every = 2,
    ema = { 0.9 }, nfe = { 1, 4 }, eval_samples = 256,
  },
  laptop = {
    methods = { "lsd", "psd-m" }, resolution = 32,
    model_channels = 16, mult = { 1, 2, 4 }, num_blocks = 1, attention = {},
    batch = 16, micro = 8, steps = 2500, lr = 5e-2, b2 = 0.99, schedule = "linear",
    log_every = 50, ema = { 0.999 }, eval_samples = 1000, checkpoints = 2,
    image_metrics = { "all" }, seeds = { 11 },
  },
  long = {
    model_channels = 16, mult = { 1, 2, 4, 8 }, num_blocks = 1, attention = {},
    batch = 16, micro = 4, steps = 10000, lr = 3e-2, b2 = 0.99, schedule = "linear",
    log_every = 100, ema = { 0.9995 }, eval_samples = 2000, checkpoints = 2,
    image_metrics = { "all" }, seeds = { 11 },
  },
  paper = {
    model_channels = 128, mult = { 1, 2, 3, 4 }, num_blocks = 3, precision = "bfloat16",
    batch = 512, micro = 2, steps = 400000, log_every = 50, eval_samples = 50000, checkpoints = 20,
  },
}

-- ## Results
--
-- {{table fd_cnn}}
--
-- ![Samples: one row per number of steps, the same eight base samples in every row; images of the
-- data set at the left.](figure:samples)
--
-- {{table kid_cnn}}
--
-- {{table sw}}
--
-- PSD-M against LSD by both distances:
--
-- - FD-cnn at $N = 1$: {{ratio fd_cnn.PSD-M.N1 fd_cnn.LSD.N1 %.2f}};
-- - sliced Wasserstein at $N = 1$: {{ratio sw.PSD-M.N1 sw.LSD.N1 %.2f}};
-- - FD-cnn at $N = 4$: {{ratio fd_cnn.PSD-M.N4 fd_cnn.LSD.N4 %.2f}};
-- - sliced Wasserstein at $N = 4$: {{ratio sw.PSD-M.N4 sw.LSD.N4 %.2f}}.
--
-- {{table metrics-N1}}
--
-- {{table metrics-N4}}
--
-- ![Training traces: loss, off-diagonal term and gradient norm before clipping against the samples
-- seen, one line per method and seed. A cross marks where the values of a run ceased to be
-- finite.](figure:traces)

return images.experiment(celeba)
