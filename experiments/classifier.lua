-- # A classifier for features
--
-- The distance between sampled and real images is measured in the features of a network. The usual
-- network, Inception-v3, comes as a file of 90 MB that nobody may ship with a program; so the suite
-- also trains a small one of its own, on CIFAR-10, with its own core. Distances in its features are
-- called FD-cnn. They order models as one would wish, but they are no FID, and no published number
-- compares with them.
--
--     ./flowmap run experiments/classifier.lua
--
-- writes `cifar10-cnn.safetensors`, which lies trained in `lua/flowmap/features/`; only a copy put
-- there changes what is measured.

local fm = require "flowmap"

local classifier = {
  name = "classifier",
  title = "A classifier for features",
  methods = { "cross-entropy" },
}

-- ## The network
--
-- Six convolutions and 418,634 parameters, for the file has to stay below 2 MiB
-- (`flowmap.measure.features.cnn`). There is no batch norm: it makes an image's features depend on
-- the
-- training's batches and means one more thing to freeze. In its place every pixel's channels are
-- divided by their root mean square. The first convolution halves the resolution at once, which
-- costs little accuracy at this size and saves two thirds of the time. Features are the means of
-- 128 channels before the last layer: few enough for the covariance of some thousand samples to
-- have full rank, which 2048 of them would not.

classifier.nets = {
  cnn = function() return { init = require("flowmap.measure.features.cnn").init } end,
}

-- ## The loss
--
-- Cross-entropy with smoothed labels, $q = (1 - \epsilon)\,[k = \text{label}] + \epsilon / 10$:
-- $$L = -\sum_k q_k \log \mathrm{softmax}(z)_k.$$
-- Smoothing keeps the logits, and so the features, from growing without bound.

classifier.losses = {
  ["cross-entropy"] = function(a)
    return fm.classifier.cross_entropy(a.logits, a.label, a.smoothing)
  end,
}

-- ## Training in two phases
--
-- At first the network sees windows of 24 x 24 pixels at random places, half of them mirrored: they
-- cost 9/16 of a whole image and show it at its true scale. From step `whole_from` on it sees whole
-- images, shifted by up to two pixels, and the learning rate, constant until then, falls linearly
-- to zero. The weights that are kept are an average over some five hundred steps.

classifier.options = {
  label_smoothing = 0.1, -- epsilon
  window = 24,           -- pixels, in the first phase
  whole_from = 1000,     -- first step of the second phase
  shift = 2,             -- pixels, in the second phase
  calibration = 10000,   -- test images for calibration.csv; 0: no such file
}

classifier.settings = {
  data = "cifar10", net = "cnn", eta = 1.0,
  batch = 64, micro = 32, optimiser = "adamw", b1 = 0.9, b2 = 0.99, weight_decay = 0.05, clip = 1.0,
  lr = 2e-3, warmup = 200, schedule = "late", ema = { 0.998, 0.9995 }, log_every = 50,
}

classifier.profiles = {
  smoke = { steps = 20, decay_start = 10, whole_from = 10, warmup = 5, log_every = 5,
    calibration = 0 },
  laptop = { steps = 12000, decay_start = 9000, whole_from = 9000 },
}

-- ## A run
--
-- Training by the trainer of the flow maps; then the accuracy on the test images, which served for
-- nothing else, goes into the file with the weights. `calibration.csv` says what the new features
-- make of those images as they are (the floor of each measure), with noise, blurred and tinted:
-- `flowmap.measure.calibration`.

function classifier.run(cfg, dir, how)
  return fm.classifier.run(classifier, cfg, dir, how)
end

return classifier
