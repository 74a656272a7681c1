-- # A batch on several devices: images
--
-- On several devices the reference implementation splits each device's part of a batch again, so
-- that with a diagonal fraction $\eta = 3/4$ on four devices the map is trained on $1/16$ of a
-- batch instead of $1/4$, and the diagonal at later times. The chapter on [the
-- plane](#a-batch-on-several-devices) derives this and measures it on the checkerboard; here the
-- data are CIFAR-10 and the network is a small EDM2 U-Net, whose learned weight $w(s,t)$ also sees
-- the rows with $s = t$. The published image runs are the ones that several devices would have
-- affected. How many they used is not stated.

local images = require "flowmap.experiment.image_template"

local devices = {
  name = "devices-images",
  title = "A batch on several devices: images",
  methods = { "lsd", "psd-m" },
  settings = { data = "cifar10", mult = { 1, 2, 4 }, num_blocks = 1, attention = {}, eta = 0.75 },
}

-- ## The comparison
--
-- A run shares network, optimiser and highest learning rate with those of [the
-- ladder](#the-ladder-on-cifar-10). Its objective is the paper's; it is shorter, and its rate falls
-- linearly to zero. Nothing was tuned here. In `long`, LSD and PSD-M have six paired seeds, the
-- fewest with which one difference can be shown at level 0.05. ESD, with its stop-gradient on the
-- velocity alone, costs about half as much again per step and has two seeds, with which none can be
-- shown: its rows describe those runs. A batch of 16 on four devices holds one row that trains the
-- map.

local LAYOUTS = {}
for _, count in ipairs { 1, 4 } do
  for _, point in ipairs { { method = "lsd" }, { method = "psd-m" },
    { method = "esd-convex", seed = 11 }, { method = "esd-convex", seed = 12 } } do
    point.devices = count
    LAYOUTS[#LAYOUTS + 1] = point
  end
end

devices.grid = { devices = { 1, 4 } }

devices.profiles = {
  smoke = {
    seeds = { 1 },
    model_channels = 4, mult = { 1, 1 }, batch = 16, micro = 8, steps = 4, lr = 1e-2,
    schedule = "linear", log_every = 2, ema = { 0.9 }, nfe = { 1, 4 }, eval_samples = 256,
  },
  laptop = {
    seeds = { 11 },
    model_channels = 8, batch = 16, micro = 8, steps = 300, lr = 3e-2, b2 = 0.99,
    schedule = "linear", log_every = 50, ema = { 0.98 }, nfe = { 1, 4 }, eval_samples = 1000,
  },
  long = {
    methods = { "lsd", "esd-convex", "psd-m" }, grid = LAYOUTS,
    seeds = { 11, 12, 13, 14, 15, 16 },
    model_channels = 8, batch = 16, micro = 8, steps = 1300, lr = 3e-2, b2 = 0.99,
    schedule = "linear", log_every = 50, ema = { 0.995 }, nfe = { 1, 4, 16 },
    eval_samples = 1000,
  },
}

local function distance(name, metric, format, title)
  return { kind = "switch", name = name, metric = metric, switch = "devices",
    rows = { "method" }, format = format, title = title }
end

devices.render = {
  distance("fd_cnn", "fd_cnn", "%.2f",
    "Fréchet distance in the features of our own classifier (FD-cnn, not FID), by devices."),
  distance("sw", "sw", "%.3f", "Sliced Wasserstein distance of image patches, by devices."),
  { kind = "traces", name = "traces-1", where = { devices = 1 } },
  { kind = "traces", name = "traces-4", where = { devices = 4 } },
}

-- ## Results
--
-- FD-cnn with four devices against one, at one step:
--
-- - {{difference fd_cnn.LSD.N1[devices=4:1] %.2f}};
-- - {{difference fd_cnn.PSD-M.N1[devices=4:1] %.2f}};
--
-- and at four steps:
--
-- - {{difference fd_cnn.LSD.N4[devices=4:1] %.2f}};
-- - {{difference fd_cnn.PSD-M.N4[devices=4:1] %.2f}}.
--
-- The sliced Wasserstein distance, at one step:
--
-- - {{difference sw.LSD.N1[devices=4:1] %.3f}};
-- - {{difference sw.PSD-M.N1[devices=4:1] %.3f}}.
--
-- The comparison of methods under either layout, PSD-M over LSD in FD-cnn at one step: on one
-- device, {{ratio fd_cnn.PSD-M.N1 fd_cnn.LSD.N1 devices=1 %.2f}}; on four,
-- {{ratio fd_cnn.PSD-M.N1 fd_cnn.LSD.N1 devices=4 %.2f}}.
--
-- {{table fd_cnn}}
--
-- {{table sw}}
--
-- ![Training traces on one device. The off-diagonal term is the mean over all rows of the
-- term.](figure:traces-1)
--
-- ![Training traces on four devices. Three quarters of the rows of the off-diagonal term have $s =
-- t$ and the residual 0.](figure:traces-4)

return images.experiment(devices)
