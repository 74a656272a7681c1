-- # AFHQ-64
--
-- Animal faces at $64 \times 64$: cats, dogs and wild animals, reduced from $512 \times 512$ pixels
-- by averaging. The network, objectives and metrics are those of [CIFAR-10](#cifar-10) and
-- [CelebA-64](#celeba-64); the reference's batch is half of theirs. The tables again name the data
-- that a run used; numbers from a stand-in are not comparable with the paper's.

local experiment = require "flowmap.experiment"
local images = require "flowmap.experiment.image_template"

local afhq = {
  name = "afhq",
  title = "AFHQ-64",
  settings = { data = "afhq", attention = { 16, 8 }, dropout = 0 },
  metrics_at = { 1, 4 },
}

-- ## Profiles
--
-- The profiles are those of CelebA-64, except that the reference's batch is 256. With twice the
-- steps it sees the same {{published.reference.samples %,d}} images.

afhq.profiles = images.with(experiment.load("experiments/celeba.lua").profiles, {
  paper = { batch = 256, steps = 800000 },
})

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

return images.experiment(afhq)
