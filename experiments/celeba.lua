-- # CelebA-64
--
-- Faces at $64 \times 64$: the aligned images of CelebA, their central $140 \times 140$ pixels
-- averaged down. The network, objectives and metrics are those of [CIFAR-10](#cifar-10), with a
-- fourth level in the U-Net. The tables name the data that a run used: where CelebA itself is not
-- available, openly licensed faces or the suite's own drawings stand in for it, and their numbers
-- are not comparable with the paper's.

local images = require "flowmap.experiment.image_template"

local celeba = {
  name = "celeba",
  title = "CelebA-64",
  settings = { data = "celeba", attention = { 16, 8 }, dropout = 0 },
}

-- ## Profiles
--
-- `paper` has 124.3 million parameters, sees 204.8 million images and computes wide matrix products
-- in bfloat16. Its $3 \times 3$ convolutions stay in float32, where Winograd's algorithm is three
-- to five times as fast as direct convolution (`tests/bench/conv.c`); bfloat16 speeds up matrix
-- products only by a factor of 1.8. `laptop` trains at $32 \times 32$ (`resolution`), with the
-- small network and the many large steps of [CIFAR-10](#cifar-10). `long`, at $64 \times 64$, has
-- been run only for LSD, on the stand-in (`paper/results/long`); its measured pace amounts to 80
-- minutes of training on one core.

celeba.profiles = {
  smoke = {
    resolution = 32, model_channels = 4, mult = { 1, 1 }, num_blocks = 1, attention = {},
    batch = 8, micro = 4, steps = 6, lr = 1e-2, schedule = "linear", log_every = 2,
    ema = { 0.9 }, nfe = { 1, 2 }, eval_samples = 256,
  },
  laptop = {
    methods = { "lsd", "psd-m" }, resolution = 32,
    model_channels = 16, mult = { 1, 2, 4 }, num_blocks = 1, attention = {},
    batch = 16, micro = 8, steps = 7500, lr = 5e-2, b2 = 0.99, schedule = "linear",
    log_every = 50, ema = { 0.999 }, eval_samples = 1000, checkpoints = 2,
  },
  long = {
    model_channels = 16, mult = { 1, 2, 4, 8 }, num_blocks = 1, attention = {},
    batch = 16, micro = 4, steps = 10000, lr = 3e-2, b2 = 0.99, schedule = "linear",
    log_every = 100, ema = { 0.9995 }, eval_samples = 2000, checkpoints = 2,
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
-- ![Training traces.](figure:traces)

return images.experiment(celeba)
