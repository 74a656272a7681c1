-- # CIFAR-10
--
-- This chapter moves from the plane to images: the objectives are the same, the distribution now
-- has $32 \times 32 \times 3$ values. The data are scaled to $[-1, 1]$; the base is
-- $x_0 \sim N(0, \sigma^2 I)$ with $\sigma = 1/2$. The interpolant, flow map and losses are those
-- of [the checkerboard](#the-checkerboard).

local images = require "flowmap.experiment.image_template"

-- ## The network
--
-- $v_{s,t}$ is the EDM2 U-Net [@karras2024] with two times. It reads $s$ and $t - s$, each through
-- a positional embedding, and all its layers preserve magnitudes: weights are normalised where they
-- are used and again after every optimiser step, sums and concatenations are rescaled, and there
-- are no biases. The output gain starts at 0, so that $v = 0$ and the flow map starts as the
-- identity. A small separate network learns a weight $w(s,t)$, which turns a term $L$ of the loss
-- into $e^{-w} L + w$. At the optimum $e^{w}$ is the mean of $L$ at $(s,t)$, so that all pairs of
-- times contribute equally. Dropout acts only in the diagonal term.

local cifar10 = {
  name = "cifar10",
  title = "CIFAR-10",
  settings = { data = "cifar10", attention = { 16 } },
}

-- ## Profiles
--
-- `paper` is the reference configuration: 54.7 million parameters and 204.8 million images. The
-- published LSD row came from a run with diagonal fraction 0.9 (`--set eta=0.9`), the PSD rows from
-- runs with 0.75. One pass of that network takes 44 GFLOP per image, so a processor needs about a
-- second per image and training step.
--
-- The other profiles can afford a thousandth of those images, and then many large updates matter
-- most. The following comes from short runs (`paper/exploration-images.csv`); the numbers are the
-- diagonal loss after 40,000 images, summed over the 3,072 values:
--
-- - The paper's learning rate of 1e-2 is far too low for so few updates: at batch 32 it reached
--   507, 3e-2 reached 424 and 1e-1 reached 381. Higher rates have a limit: 1.5e-1 at batch 16
--   diverged.
-- - RAdam with $\beta_2 = 0.999$ spends its first two thousand updates warming up; with 0.99 it
--   needs two hundred, and a rate of 4e-2 was then as good as 1e-1 before.
-- - Half the batch and twice the updates gave the best result, 365 at batch 16.
-- - Merging each square of $2 \times 2$ pixels into one pixel with 12 channels makes a step twice
--   as fast with four times the weights (107 ms of processor time for 32 images instead of 205),
--   but each image teaches less: 365 after 40,000 images with merging, 356 after 20,800 without, in
--   the same time. Of two longer runs, the one without merging (and with `mult` 1, 2, 4) led by 12
--   to 23 throughout the five minutes that were compared; on faces its FD-cnn was a third lower in
--   equal time. Squares of $4 \times 4$ were much worse. The suite no longer offers merging.

cifar10.profiles = {
  smoke = {
    model_channels = 4, mult = { 1, 1 }, num_blocks = 1, attention = {}, dropout = 0.13,
    batch = 8, micro = 4, steps = 6, lr = 1e-2, schedule = "linear", log_every = 2,
    ema = { 0.9 }, nfe = { 1, 2 }, eval_samples = 256, checkpoints = 2,
  },
  laptop = {
    methods = { "lsd", "psd-m" },
    model_channels = 16, mult = { 1, 2, 4 }, num_blocks = 1, attention = {}, dropout = 0,
    batch = 16, micro = 8, steps = 7500, lr = 5e-2, b2 = 0.99, schedule = "linear",
    log_every = 50, ema = { 0.999 }, eval_samples = 1000, checkpoints = 2,
  },
  long = {
    model_channels = 16, mult = { 1, 2, 4 }, num_blocks = 1, attention = {}, dropout = 0,
    batch = 16, micro = 8, steps = 20000, lr = 3e-2, b2 = 0.99, schedule = "linear",
    log_every = 100, ema = { 0.9995 }, eval_samples = 5000, checkpoints = 2,
    by_method = { lsd = { eta = 0.9 } },
  },
  paper = {
    model_channels = 128, mult = { 2, 2, 2 }, num_blocks = 4, dropout = 0.13,
    batch = 512, micro = 4, steps = 400000, log_every = 50, eval_samples = 50000, checkpoints = 20,
  },
}

-- The objective of ESD contains the network's Jacobian in space, $\nabla v_{s,t}\, v_{s,s}$, and
-- the paper calls its training on images unstable. `long` shows this instability (with `full`,
-- which passes no gradient through that product, as in the reference): between steps 201 and 300
-- the off-diagonal term rises from 350 to $10^{10}$ and the norm of the gradient, before clipping,
-- from 1.4 to $6 \cdot 10^5$. Afterwards the diagonal term stays above 1,500, whereas those of the
-- other methods end at 290 to 295. The final network answers every $x$, $s$ and $t$ with the same
-- field, of root mean square 0.05: the off-diagonal term is exactly 0, and at every $N$ the samples
-- are shifted base noise. The run was neither stopped nor omitted; its row, grid and trace stand
-- beside the others.

-- When trained on classes (`--set classes=10`), the network also takes a label, which is dropped
-- for one tenth of the samples. Classifier-free guidance then samples with
-- $v = v_\varnothing + g\,(v_\text{label} - v_\varnothing)$, e.g. with `--set guidance=1.5`.

-- ## How the samples are judged
--
-- The paper's FID uses the features of a network that we may not distribute. Ours are those of a
-- classifier trained by this suite (`experiments/classifier.lua`): **FD-cnn** is the Frechet
-- distance between their normal approximations and **KID-cnn** the kernel distance, both to the
-- training set; neither is comparable with a published FID. A sliced Wasserstein distance of
-- patches needs no network at all. To compute FID as well, set `FLOWMAP_INCEPTION` to a safetensors
-- file of Inception-v3 with the FID weights. Few samples bias a Frechet distance upwards: compare
-- only values from equal numbers of samples.
--
-- One number hides much: a single normal distribution in place of the features' law has a perfect
-- FD-cnn. `--set image_metrics=all` measures more in the same features: precision and recall,
-- density and coverage, the Frechet distance extrapolated to infinitely many samples, a sliced
-- Wasserstein-2 distance, how well a classifier tells samples from images, whether the labels have
-- the right shares, and whether samples are nearer to training than to test images, with exact
-- p-values. Each stands beside what true images and one normal distribution give.

-- ## Results
--
-- {{table fd_cnn}}
--
-- ![Samples: one row per number of steps, the same eight base samples in every row; images of the
-- data set at the left.](figure:samples)
--
-- ![FD-cnn against the number of steps.](figure:fd_cnn)
--
-- {{table kid_cnn}}
--
-- {{table sw}}
--
-- ![Training traces: loss, off-diagonal term and gradient norm before clipping. Zeros lie on the
-- lower edge; a cross marks where the values of a run ceased to be finite.](figure:traces)

return images.experiment(cifar10)
