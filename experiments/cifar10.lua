-- # CIFAR-10
--
-- From the plane to images: the same objectives, now for a law on $32 \times 32 \times 3$ values.
-- The data are scaled to $[-1, 1]$, the base is $x_0 \sim N(0, \sigma^2 I)$ with $\sigma = 1/2$,
-- and interpolant, flow map and losses are those of [the checkerboard](#the-checkerboard).

local images = require "flowmap.experiment.image_template"

-- ## The network
--
-- $v_{s,t}$ is the EDM2 U-Net [@karras2024] with two times. It reads $s$ and $t - s$, each through
-- a positional code, and everything in it preserves magnitudes: weights are normalised where they
-- are used and once more after every step of the optimiser, sums and concatenations are rescaled,
-- there are no biases. Its output gain starts at 0, so that $v = 0$ and the flow map starts as the
-- identity. A small network beside it learns the weight $w(s,t)$, with which a term $L$ of the loss
-- becomes $e^{-w} L + w$: at its optimum $e^{w}$ is the mean of $L$ at $(s,t)$, and every pair of
-- times contributes alike. Dropout acts in the diagonal term alone.

local cifar10 = {
  name = "cifar10",
  title = "CIFAR-10",
  settings = { data = "cifar10", attention = { 16 } },
}

-- ## Profiles
--
-- `paper` is the reference configuration: 54.7 million parameters and 204.8 million images. The
-- published LSD row came from a run with diagonal fraction 0.9 (`--set eta=0.9`), the PSD rows from
-- runs with 0.75. One pass of that network takes 44 GFLOP an image, so that a processor needs about
-- a second per image and training step.
--
-- A thousandth of those images fits into the other profiles, and what counts then is to make many
-- updates and large ones. What short runs taught (`paper/exploration-images.csv`; the numbers are
-- the diagonal loss after 40,000 images, its sum over the 3,072 values):
--
-- - The paper's rate of 1e-2 is far too low for so few updates: at batch 32 it led to 507, 3e-2 to
--   424, 1e-1 to 381. Up to a point: 1.5e-1 at batch 16 diverged.
-- - RAdam with $\beta_2 = 0.999$ spends its first two thousand updates warming up; with 0.99 it
--   needs two hundred: 4e-2 was then as good as 1e-1 before.
-- - Half the batch and twice the updates: 365 at batch 16, the best.
-- - Squares of $2 \times 2$ pixels, taken as one pixel with 12 channels, make a step twice as fast
--   with four times the weights (107 ms of processor time for 32 images against 205), but each
--   image teaches less: 365 after 40,000 images with them, 356 after 20,800 without, in the same
--   time; of two longer runs, the one without (and with `mult` 1, 2, 4) led by 12 to 23 all
--   through the five minutes that were compared. On faces it had a third less FD-cnn in equal time.
--   Squares of $4 \times 4$ were much worse. The suite no longer has them.

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

-- ESD's objective holds the network's Jacobian in space, $\nabla v_{s,t}\, v_{s,s}$, and the paper
-- calls its training on images unstable. `long` shows it (`full`, no gradient through that product,
-- as in the reference): within the steps 201 to 300 the off-diagonal term rises from 350 to
-- $10^{10}$ and the gradient's norm, before clipping, from 1.4 to $6 \cdot 10^5$; afterwards the
-- diagonal term stays above 1,500, where the other methods' ends at 290 to 295. At the end the
-- network answers every $x$, $s$ and $t$ with one and the same field, of root mean square 0.05: the
-- off-diagonal term is exactly 0, and the samples are the base's noise, shifted, at every $N$. The
-- run is neither stopped nor left out; its row, grid and trace stand beside the others.

-- Trained on classes (`--set classes=10`), the network takes a label, which is dropped in one tenth
-- of the samples; classifier-free guidance then samples with
-- $v = v_\varnothing + g\,(v_\text{label} - v_\varnothing)$, `--set guidance=1.5` for instance.

-- ## How the samples are judged
--
-- The paper's FID needs features of a network that we may not ship. Ours are those of a classifier
-- that this suite trains itself (`experiments/classifier.lua`): **FD-cnn** is the Frechet distance
-- of their normal approximations and **KID-cnn** the kernel distance, both against the training
-- set, and neither compares with a published FID. A sliced Wasserstein distance of patches needs no
-- network at all. Whoever has Inception-v3 with the FID weights as safetensors sets
-- `FLOWMAP_INCEPTION` and gets FID, too. Small numbers of samples bias a Frechet distance upwards:
-- values compare only where the number of samples is equal.

-- ## Results
--
-- {{table fd_cnn}}
--
-- ![Samples: a row for each number of steps, eight base samples, the same in all rows; at the left,
-- images of the data set.](figure:samples)
--
-- ![FD-cnn against the number of steps.](figure:fd_cnn)
--
-- {{table kid_cnn}}
--
-- {{table sw}}
--
-- ![Training traces: loss, off-diagonal term, gradient norm before clipping; what is 0 lies on the
-- lower edge, a cross marks the end of a run whose numbers stopped being finite.](figure:traces)

return images.experiment(cifar10)
