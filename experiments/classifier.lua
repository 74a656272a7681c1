-- # A classifier for features
--
-- The distance between sampled and real images is measured in the features of a network. The usual
-- network, Inception-v3, is a large file that may not be distributed with a program. The suite
-- therefore trains a small network of its own, on CIFAR-10 and with its own core. Distances in its
-- features are called FD-cnn. They grow when images are tinted, blurred or noisy
-- (`calibration.csv`, below), but they are not FID, and no published number is comparable with
-- them.
--
--     ./flowmap run experiments/classifier.lua
--
-- writes `cifar10-cnn.safetensors`. The suite reads its trained copy in
-- `lua/flowmap/measure/features/`; retraining changes no measurement until the new file is copied
-- there.

local fm = require "flowmap"

local classifier = {
  name = "classifier",
  title = "A classifier for features",
  methods = { "cross-entropy" },
}

-- ## The network
--
-- The network has six convolutions and few channels, because the file has to stay small
-- (`flowmap.measure.features.cnn`). It has no batch norm, which would make an image's features
-- depend on the batches of the training and add statistics that have to be frozen. Instead, the
-- channels of every pixel are divided by their root mean square. The first convolution halves the
-- resolution, which costs little accuracy at this size and saves two thirds of the time. The
-- features are the means of the channels before the last layer: few enough for the covariance of a
-- few thousand samples to have full rank, which the features of Inception-v3 would not allow.

classifier.nets = {
  cnn = function() return { init = require("flowmap.measure.features.cnn").init } end,
}

-- ## The loss
--
-- Cross-entropy with smoothed labels, $q = (1 - \epsilon)\,[k = \text{label}] + \epsilon / 10$:
-- $$L = -\sum_k q_k \log \mathrm{softmax}(z)_k.$$
-- Smoothing keeps the logits, and with them the features, from growing without bound.

classifier.losses = {
  ["cross-entropy"] = function(a)
    return fm.classifier.cross_entropy(a.logits, a.label, a.smoothing)
  end,
}

-- ## Training in two phases
--
-- In the first phase the network sees windows of 24 x 24 pixels at random places, half of them
-- mirrored; they cost 9/16 of a whole image and show it at its true scale. From step `whole_from`
-- on it sees whole images, shifted by up to two pixels, and the learning rate, constant until then,
-- falls linearly to zero. The weights that are written are an average over about five hundred
-- steps.

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
  lr = 2e-3, warmup = 200, schedule = "cooldown", ema = { 0.998, 0.9995 }, log_every = 50,
}

classifier.profiles = {
  smoke = { steps = 20, decay_start = 10, whole_from = 10, warmup = 5, log_every = 5,
    calibration = 0 },
  laptop = { steps = 12000, decay_start = 9000, whole_from = 9000 },
}

-- ## A run
--
-- The trainer is that of the flow maps. After training, the accuracy on the test images, which are
-- used for nothing else, is recorded in the file with the weights. `calibration.csv` lists the
-- distances that the new features assign to the test images: unchanged (the floor of each metric),
-- with noise, blurred and tinted (see `flowmap.measure.calibration`).

function classifier.run(cfg, dir, how)
  return fm.classifier.run(classifier, cfg, dir, how)
end

return classifier
